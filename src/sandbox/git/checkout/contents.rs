//! The contents of files: is it that of the old commit, and how is that of the new one written.
//!
//! git does both, because only git knows what line endings, encodings and executable bits mean to
//! it. It works for us with a git directory of our own, in which no filter is configured; a path
//! that wants one is refused, because what git would write there without it is not what the user
//! has.

use super::super::program::{Call, Runner};
use super::changed::{Changed, unreadable, whole};
use super::index::put;
use super::layout::conflict;
use super::worktree::{Settings, WorkTree};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::sandbox::{Outcome, Work};
use std::collections::HashSet;
use std::path::Path;

/// Compares files of the work tree with the old side of `changed`, byte by byte as git sees them.
/// `scratch` is the name of an index that does not exist yet.
///
/// # Errors
/// [`Fault::Refused`] for a path that wants a filter; what git says.
pub(super) fn verify(
    (git, settings, work): (&Runner, &Settings, &Work<'_>),
    tree: &WorkTree,
    scratch: &Path,
    changed: &[&Changed],
) -> Outcome<Vec<Conflict>> {
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let git = git.clone().work_tree(&tree.root).index(scratch);
    refuse_filters(
        settings.call((&git, work), &["check-attr", "-z", "--stdin", "filter"]),
        changed,
    )?;
    // Entries without the times of their files make git read every one of them.
    let mut lines = Vec::new();
    for change in changed {
        if let Some(old) = &change.old {
            put(
                &mut lines,
                &format!("{:o} {}", old.mode, old.oid),
                &change.path,
            );
        }
    }
    let call = settings.call((&git, work), &["update-index", "-z", "--index-info"]);
    whole(call.input(lines))?;
    let call = settings.call((&git, work), &["update-index", "-q", "--refresh"]);
    let refreshed = call.answer()?;
    if refreshed.code > 1 {
        return Err(refreshed.failure());
    }
    let call = settings.call((&git, work), &["diff-files", "-z", "--name-only"]);
    let list = whole(call)?;
    let dirty: HashSet<&[u8]> = list
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .collect();
    let known: HashSet<&[u8]> = changed
        .iter()
        .map(|change| change.path.as_slice())
        .collect();
    if !dirty.is_subset(&known) {
        return Err(unreadable());
    }
    let here = "changed in the work tree, and not committed";
    Ok(changed
        .iter()
        .filter(|change| dirty.contains(change.path.as_slice()))
        .map(|change| conflict(change, here.to_owned()))
        .collect())
}

/// Writes the new side of `changed` below the empty directory `into`, as a checkout of the commit
/// `new` would. `scratch` is the name of an index that does not exist yet.
///
/// # Errors
/// [`Fault::Refused`] for a path that wants a filter; what git says.
pub(super) fn write(
    (git, settings, work): (&Runner, &Settings, &Work<'_>),
    new: &str,
    (scratch, into): (&Path, &Path),
    changed: &[&Changed],
) -> Outcome<()> {
    if changed.is_empty() {
        return Ok(());
    }
    // With nothing in the work tree, the attributes are those of the index: of the new commit.
    let git = git.clone().work_tree(into).index(scratch);
    let call = settings.call((&git, work), &["read-tree", "--end-of-options", new]);
    whole(call)?;
    let call = ["check-attr", "-z", "--cached", "--stdin", "filter"];
    refuse_filters(settings.call((&git, work), &call), changed)?;
    let mut files = Vec::new();
    for change in changed {
        if change.has_submodule() {
            let made = std::fs::create_dir_all(into.join(change.as_path()));
            made.map_err(|error| {
                ParticipantError::io("write the new content", change.as_path(), error)
            })?;
        } else {
            files.extend_from_slice(&change.path);
            files.push(0);
        }
    }
    let call = settings.call((&git, work), &["checkout-index", "-q", "-z", "--stdin"]);
    whole(call.input(files))?;
    Ok(())
}

/// Asks `call` for the attribute `filter` of each path.
fn refuse_filters(call: Call<'_>, changed: &[&Changed]) -> Outcome<()> {
    let mut input = Vec::new();
    for change in changed {
        input.extend_from_slice(&change.path);
        input.push(0);
    }
    let answer = whole(call.input(input))?;
    let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
    for field in fields.chunks_exact(3) {
        let [path, _, value] = field else { continue };
        if !matches!(*value, b"unspecified" | b"unset") {
            use std::os::unix::ffi::OsStrExt as _;
            let value = String::from_utf8_lossy(value).escape_debug().to_string();
            let why = format!(
                "the path has the filter {value:?}, and filters are never run: the work tree in \
                 which the branch is checked out cannot follow; check out another branch there"
            );
            let path = Path::new(std::ffi::OsStr::from_bytes(path));
            return Err(ParticipantError::new(Fault::Refused, why).at(path));
        }
    }
    Ok(())
}
