//! The index of a work tree: what is staged in it, and the one that follows the branch.

use super::super::program::Runner;
use super::changed::{Changed, unreadable, whole};
use super::layout::conflict;
use super::worktree::{Settings, WorkTree};
use crate::error::{Conflict, ParticipantError};
use crate::fs::{self, CopyWish, Dir};
use crate::sandbox::{Outcome, Work};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Bound;
use std::path::Path;

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// `H`, in lower case if git is told to assume that the file is unchanged; `S` if the file is
    /// not to be there.
    tag: u8,
    mode: u32,
    oid: String,
    stage: u8,
}

/// What the index says of the changed paths.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Entries that are not those of the old commit, and entries in the way of new ones.
    pub(super) conflicts: Vec<Conflict>,
    /// Paths that the user does not want in the work tree.
    pub(super) skipped: HashSet<Vec<u8>>,
    /// Paths of which the user told git not to look at the file.
    pub(super) assumed: HashSet<Vec<u8>>,
}

/// Compares the index with the old side of `changed`.
///
/// # Errors
/// What git says.
pub(super) fn staged(git: &Runner, index: &Path, changed: &[Changed]) -> Outcome<Staged> {
    let call = git.clone().index(index).call("ls-files");
    let list = whole(call.args(["-z", "-s", "-v"]))?;
    let lines = parse(&list).ok_or_else(unreadable)?;
    let mut found = Staged::default();
    let gone: HashSet<&[u8]> = changed
        .iter()
        .filter(|change| change.new.is_none())
        .map(|change| change.path.as_slice())
        .collect();
    for change in changed {
        let here = lines
            .get(change.path.as_slice())
            .map_or(&[][..], Vec::as_slice);
        if let Some(theirs) = differs(change, here) {
            found.conflicts.push(conflict(change, theirs));
        }
        if let [line] = here {
            if line.tag.eq_ignore_ascii_case(&b'S') {
                found.skipped.insert(change.path.clone());
            }
            if line.tag.is_ascii_lowercase() {
                found.assumed.insert(change.path.clone());
            }
        }
        if change.new.is_some()
            && let Some(path) = in_the_way(&lines, change, &gone)
        {
            let path = String::from_utf8_lossy(path).escape_debug().to_string();
            found
                .conflicts
                .push(conflict(change, format!("{path} is staged")));
        }
    }
    Ok(found)
}

/// What the index has instead of the old side.
fn differs(change: &Changed, lines: &[Line]) -> Option<String> {
    match (&change.old, lines) {
        (None, []) => None,
        (Some(old), [line]) if line.stage == 0 && line.mode == old.mode && line.oid == old.oid => {
            None
        }
        (_, []) => Some("nothing is staged".to_owned()),
        (_, [line]) if line.stage == 0 => Some("something else is staged".to_owned()),
        _ => Some("an unfinished merge".to_owned()),
    }
}

/// An entry that stays, where the new path needs a directory, or below the new path.
fn in_the_way<'l>(
    lines: &BTreeMap<&'l [u8], Vec<Line>>,
    change: &Changed,
    gone: &HashSet<&[u8]>,
) -> Option<&'l [u8]> {
    let stays = |path: &[u8]| !gone.contains(path);
    for (end, _) in change
        .path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
    {
        let above = change.path.get(..end)?;
        if let Some((path, _)) = lines.get_key_value(above)
            && stays(path)
        {
            return Some(path);
        }
    }
    let mut top = change.path.clone();
    top.push(b'/');
    lines
        .range::<[u8], _>((Bound::Included(top.as_slice()), Bound::Unbounded))
        .map(|(path, _)| *path)
        .take_while(|path| path.starts_with(&top))
        .find(|path| stays(path))
}

/// `TAG MODE OID STAGE`, tab, path, NUL.
fn parse(list: &[u8]) -> Option<BTreeMap<&[u8], Vec<Line>>> {
    let mut lines: BTreeMap<&[u8], Vec<Line>> = BTreeMap::new();
    for line in list
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (head, path) = (line.get(..tab)?, line.get(tab + 1..)?);
        let mut parts = std::str::from_utf8(head).ok()?.split(' ');
        let (tag, mode) = (parts.next()?, parts.next()?);
        let (oid, stage) = (parts.next()?, parts.next()?);
        lines.entry(path).or_default().push(Line {
            tag: *tag.as_bytes().first()?,
            mode: u32::from_str_radix(mode, 8).ok()?,
            oid: oid.to_owned(),
            stage: stage.parse().ok()?,
        });
    }
    Some(lines)
}

/// Brings the index at `index` from the old to the new side of `changed`. Everything else in it,
/// staged or not, stays; so do the user's marks on the paths that change.
///
/// # Errors
/// What git says.
pub(super) fn update(
    (git, settings, work): (&Runner, &Settings, &Work<'_>),
    tree: &WorkTree,
    index: &Path,
    (changed, staged): (&[Changed], &Staged),
) -> Outcome<()> {
    let git = git.clone().work_tree(&tree.root).index(index);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for change in changed {
        if let Some(new) = &change.new {
            put(
                &mut added,
                &format!("{:o} {}", new.mode, new.oid),
                &change.path,
            );
        } else if let Some(old) = &change.old {
            let zero = "0".repeat(old.oid.len());
            put(&mut removed, &format!("0 {zero}"), &change.path);
        }
    }
    // A file makes room for a directory before something in it is added.
    removed.append(&mut added);
    let call = settings.call((&git, work), &["update-index", "-z", "--index-info"]);
    whole(call.input(removed))?;
    for (mark, paths) in [
        ("--skip-worktree", &staged.skipped),
        ("--assume-unchanged", &staged.assumed),
    ] {
        let mut input = Vec::new();
        let stay = |path: &[u8]| {
            let at = changed.binary_search_by(|change| change.path.as_slice().cmp(path));
            at.ok()
                .and_then(|at| changed.get(at))
                .is_some_and(|change| change.new.is_some())
        };
        for path in paths.iter().filter(|path| stay(path)) {
            input.extend_from_slice(path);
            input.push(0);
        }
        if !input.is_empty() {
            let call = settings.call((&git, work), &["update-index", mark, "-z", "--stdin"]);
            whole(call.input(input))?;
        }
    }
    Ok(())
}

/// A line for `update-index --index-info -z`.
pub(super) fn put(input: &mut Vec<u8>, head: &str, path: &[u8]) {
    input.extend_from_slice(head.as_bytes());
    input.push(b'\t');
    input.extend_from_slice(path);
    input.push(0);
}

/// Copies the index `name` of `from`, if there is one, with the time it was written: git tells by
/// that time which of its entries cannot be trusted.
///
/// # Errors
/// What the system refuses.
pub(super) fn copy((from, name): (&Dir, &str), (into, to): (&Dir, &str)) -> Outcome<bool> {
    let failed = |error| ParticipantError::io("copy the index", from.path().join(name), error);
    let source = match from.read_file(OsStr::new(name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed)?,
    };
    let stat = fs::stat_file(&source).map_err(failed)?;
    let copied = || -> std::io::Result<()> {
        match into.remove_file(OsStr::new(to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let copy = into.create_private(OsStr::new(to))?;
        fs::copy_file(&source, &copy, CopyWish::Copy, &mut |_| Ok(()))?;
        fs::set_file_mode(&copy, stat.mode & 0o777)?;
        fs::set_file_mtime(&copy, stat.mtime)
    };
    copied().map_err(failed)?;
    Ok(true)
}

/// Puts `bytes` over the whole content of a file of the same length, durably, and keeps its time.
pub(super) fn overwrite(mut file: &File, bytes: &[u8], mtime: fs::Time) -> std::io::Result<()> {
    file.write_all(bytes)?;
    fs::set_file_mtime(file, mtime)?;
    fs::sync_all(file)
}

/// The content of the file `name`.
pub(super) fn content(dir: &Dir, name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.read_file(OsStr::new(name))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
