#!/bin/sh
# The main job on real files: a plan over two directories at once. They are copies of the pages and of
# the sources of this repository, in a temporary directory that is removed at the end.
#
# Usage, from anywhere in a clone: sh docs/examples/quickstart.sh
# With PLANBOX_BIN set it runs that planbox instead of building one.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${PLANBOX_BIN:-}" ]; then
    cargo build --release
    PLANBOX_BIN="${CARGO_TARGET_DIR:-target}/release/planbox"
fi
exec 2>&1
planbox="$PLANBOX_BIN"
case "$planbox" in /*) ;; *) planbox="$PWD/$planbox" ;; esac

home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
cp -R docs "$home/docs"
cp -R src "$home/src"
cd "$home"
PLANBOX_STORE="$home/store"
export PLANBOX_STORE

# The new word in two halves, because this file is among the copied ones.
old=participant
new="PAR""TY"
export old new

say() { printf '\n# %s\n' "$*"; }
show() { printf '$ planbox %s\n' "$*"; }
count() { grep -rl "$1" docs src | wc -l | tr -d ' '; }

say "1. A program renames a word in $(count $old) files of two directories and then fails."
show 'run rename --dir docs=docs --dir src=src -- sh rename.sh'
cat >rename.sh <<'SCRIPT'
for tree in "$PLANBOX_PATH_DOCS" "$PLANBOX_PATH_SRC"; do
    grep -rl "$old" "$tree" | while read -r file; do
        sed "s/$old/$new/g" "$file" >"$file.new" && mv "$file.new" "$file"
    done
done
echo "renamed by plan $PLANBOX_PLAN" >"$PLANBOX_PATH_DOCS/RENAMED.md"
exit "${RENAME_EXIT:-0}"
SCRIPT
status=0
RENAME_EXIT=1 "$planbox" run rename --dir docs=docs --dir src=src -- sh rename.sh || status=$?
echo "exit status $status; real files with the new word: $(count $new)"

say "2. Its work is kept. Look at it, from any process:"
show 'diff rename --stat'
"$planbox" diff rename --stat

say "3. Somebody else edits a file that the plan does not touch; then the plan is committed."
echo "edited by hand" >>docs/design/0002-the-kind-is-named-dir.md
show 'commit rename'
"$planbox" commit rename
echo "real files with the new word: $(count $new), with the old one: $(count $old)"
tail -n 1 docs/design/0002-the-kind-is-named-dir.md

say "4. A second plan loses against a human edit: nothing is overwritten."
"$planbox" open second --dir docs=docs >/dev/null
echo "by the plan" >>"$("$planbox" path second docs)/protocol.md"
echo "by a person" >>docs/protocol.md
show 'commit second'
status=0
"$planbox" commit second || status=$?
echo "exit status $status; the file ends in: $(tail -n 1 docs/protocol.md)"

say "5. The story:"
show 'log rename'
"$planbox" log rename
