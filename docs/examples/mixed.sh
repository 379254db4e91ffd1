#!/bin/sh
# A directory, a git branch and a SQLite database as one plan: a commit, a conflict, a rollback.
# Everything is made in a temporary directory that is removed at the end.
#
# Usage, from anywhere in a clone: sh docs/examples/mixed.sh
# Needs git and the sqlite3 shell: this script makes a repository and a database with them. With
# PLANBOX_BIN set it runs that planbox instead of building one.
set -eu
cd "$(dirname "$0")/../.."

for tool in git sqlite3; do
    command -v "$tool" >/dev/null || {
        echo "mixed.sh needs $tool on the PATH, to make something for planbox to work on" >&2
        exit 2
    }
done
if [ -z "${PLANBOX_BIN:-}" ]; then
    cargo build
    PLANBOX_BIN="${CARGO_TARGET_DIR:-target}/debug/planbox"
fi
case "$PLANBOX_BIN" in /*) ;; *) PLANBOX_BIN="$PWD/$PLANBOX_BIN" ;; esac
exec 2>&1

home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
cd "$home"
# Nothing of this user's git takes part.
HOME="$home" PLANBOX_STORE="$home/store" GIT_CONFIG_NOSYSTEM=1
unset XDG_CONFIG_HOME XDG_STATE_HOME GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
export HOME PLANBOX_STORE GIT_CONFIG_NOSYSTEM
git config --global user.name 'Ada Example'
git config --global user.email ada@example.org

say() { printf '\n# %s\n' "$*"; }
planbox() {
    line=planbox
    for word in "$@"; do
        case "$word" in *' '*) line="$line '$word'" ;; *) line="$line $word" ;; esac
    done
    printf '$ %s\n' "$line"
    "$PLANBOX_BIN" "$@"
}
really() {
    printf 'site:  %s\n' "$(cat site/index.html)"
    printf 'app:   %s\n' "$(git -C app log -1 --format='%s, by %an' main), version $(git -C app show main:VERSION)"
    printf 'data:  %s\n' "$(sqlite3 data.db 'SELECT group_concat(id || "=" || version, ", ") FROM released')"
}

mkdir site
echo 'We are at version 1.' >site/index.html
git init --quiet --initial-branch=main app
echo 1 >app/VERSION
git -C app add VERSION
git -C app commit --quiet -m 'Version 1'
sqlite3 data.db 'CREATE TABLE released (id INTEGER PRIMARY KEY, version TEXT NOT NULL);
                 INSERT INTO released VALUES (1, 1);'

say "A website, a repository and a database say the same. They are to change together."
really

cat >release.sh <<'SCRIPT'
# One program, three kinds of things. It knows planbox only by the paths it is given.
echo "We are at version $1." >"$PLANBOX_PATH_SITE/index.html"
echo "$1" >"$PLANBOX_PATH_APP/VERSION"
sqlite3 "$PLANBOX_PATH_DATA" "INSERT INTO released VALUES ($1, $1)"
SCRIPT

say "1. It works in a private view of each; all three are committed together."
planbox run release-2 --dir site=site --git app=app#main --sqlite data=data.db \
    -m 'Version 2' --author 'Ada Example <ada@example.org>' -- sh "$home/release.sh" 2
really

say "2. A plan that is opened, worked in and looked at before it is committed."
planbox open release-3 --dir site=site --git app=app#main --sqlite data=data.db -m 'Version 3'
planbox exec release-3 -- sh "$home/release.sh" 3
planbox diff release-3

say "3. Meanwhile somebody else adds the same row to the database: a conflict, and not one of the
#    three is changed. The website and the repository would have been fine."
sqlite3 data.db "INSERT INTO released VALUES (3, '3-beta')"
status=0
planbox commit release-3 || status=$?
echo "exit status $status"
really

say "4. The plan is given up. What it worked in is removed; the real things were never touched."
planbox rollback release-3
really

say "5. The story of the plan that was committed:"
planbox log release-2
