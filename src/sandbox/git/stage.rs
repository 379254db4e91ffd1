//! From the view to a tree: what the plan made, as git objects in our own store.
//!
//! It is staged with our own git directory and a fresh copy of the index that was written with the
//! view, so that untouched files cost one `lstat` each. The plan's own git directory in the view is
//! never looked into, and neither is one below it.

use super::changes::{self, Difference, SUBMODULE};
use super::program::{Oid, Runner};
use super::record::{INDEX, NORMAL, OWN, Record, VIEW};
use super::records::Records;
use super::scan::scan;
use super::view::{check_own, copy_index, own};
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::sandbox::directory::record::{Firmness, store};
use crate::sandbox::directory::staging::maybe;
use crate::sandbox::directory::text::Bytes;
use crate::sandbox::{Changes, Outcome, Place, Work};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What the view is as a tree.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) tree: Oid,
    pub(super) changes: Changes,
}

/// A copy of our index, removed when it is dropped.
struct Scratch<'a> {
    own: &'a Dir,
    name: OsString,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // One that stays is removed with the sandbox.
        drop(self.own.remove_file(&self.name));
    }
}

impl<'a> Scratch<'a> {
    fn copy(own: &'a Dir) -> io::Result<Self> {
        let (name, file) = own.temp_file(0o600)?;
        let scratch = Self { own, name };
        match own.read_file(OsStr::new(INDEX)) {
            Ok(index) => copy_index(&index, &file)?,
            // A branch without a commit has no index; git takes no empty file for one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                own.remove_file(&scratch.name)?;
            }
            Err(error) => return Err(error),
        }
        Ok(scratch)
    }
}

/// Stages the view.
///
/// # Errors
/// [`Fault::Refused`], with the path, for what git cannot keep: a repository inside the view, a
/// submodule that moved, a name that is not allowed. [`Fault::Lost`] if the view is gone.
pub(super) fn stage(record: &Record, place: &Place, work: &Work<'_>) -> Outcome<Staged> {
    let failed = |error| ParticipantError::io("stage the view", &place.dir, error);
    check_own(record, place)?;
    let view = open_view(record, place)?;
    let mut notes = scan(&view, work)?;
    let own_dir = Dir::open(&place.dir.join(OWN)).map_err(failed)?;
    let scratch = Scratch::copy(&own_dir).map_err(failed)?;
    let bare = own(place);
    let git = bare
        .clone()
        .work_tree(view.path())
        .index(place.dir.join(OWN).join(&scratch.name));
    work.step(0, 0, "files")?;
    add(&git, place, work)?;
    let before = record.base.as_ref().unwrap_or(&record.empty);
    let mut tree = git.call("write-tree").oid()?;
    if restore(&git, (before, &tree), (&view, &odd(&own_dir)?), work)? {
        tree = git.call("write-tree").oid()?;
    }
    drop(open_view(record, place)?);
    let mut changes = changes::changes(&bare, (before, &tree), &record.reference, work)?;
    if let (Some(base), Some(section)) = (&record.base, changes.sections.first_mut()) {
        section.from = Some(base.as_str().to_owned());
    }
    notes.extend(left_out(&git, work)?);
    changes.notes = notes;
    Ok(Staged { tree, changes })
}

/// The view, if it is still the directory that was made.
fn open_view(record: &Record, place: &Place) -> Outcome<Dir> {
    let path = place.dir.join(VIEW);
    let lost = |why: &str| ParticipantError::new(Fault::Lost, why).at(&path);
    let view = Dir::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => lost("the view is gone"),
        _ => ParticipantError::io("open the view", &path, error),
    })?;
    let stat = view
        .stat()
        .map_err(|error| ParticipantError::io("open the view", &path, error))?;
    if stat.id() != record.view {
        return Err(lost("another directory is in the place of the view"));
    }
    Ok(view)
}

fn add(git: &Runner, place: &Place, work: &Work<'_>) -> Outcome<()> {
    let added = git.call("add").arg("-A");
    let added = added.stopped_by(work).answer()?;
    if added.code == 0 {
        return Ok(());
    }
    let said = added.complaint();
    let quoted = added.stderr.split(|byte| *byte == b'\'').nth(1);
    let quoted = Path::new(OsStr::from_bytes(quoted.unwrap_or_default()));
    let at: PathBuf = place.dir.join(VIEW).join(quoted).components().collect();
    if said.contains("does not have a commit checked out") {
        return Err(nested().at(at));
    }
    if said.contains("invalid path") {
        let why = "git does not allow this name, because it could reach a git directory";
        return Err(ParticipantError::new(Fault::Refused, why).at(at));
    }
    Err(added.failure().at(place.dir.join(VIEW)))
}

fn nested() -> ParticipantError {
    let why = "there is a git repository inside the work tree; its files cannot be committed from \
               here, and a mere reference to it would be worth nothing to others";
    ParticipantError::new(Fault::Refused, why)
}

/// A file that is in the branch in another form than `.gitattributes` asks for, such as with line
/// endings of its own.
#[derive(Debug, Serialize, Deserialize)]
struct Odd {
    path: Bytes,
    /// What git makes of it as it was checked out.
    made: Oid,
}

/// Finds out which files would change without anybody touching them, and writes them down.
///
/// The index takes every file of the last second for changed, and git gives a file its right form
/// whenever it looks at it: a plan must not be charged with that.
pub(super) fn note_odd(own_dir: &Dir, base: &Oid, place: &Place, work: &Work<'_>) -> Outcome<()> {
    let failed = |error| ParticipantError::io("stage the view", &place.dir, error);
    let scratch = Scratch::copy(own_dir).map_err(failed)?;
    let git = own(place)
        .work_tree(place.dir.join(VIEW))
        .index(own_dir.path().join(&scratch.name));
    add(&git, place, work)?;
    let tree = git.call("write-tree").oid()?;
    let mut odd = Vec::new();
    changes::differences(&git, (base, &tree), work, &mut |difference| {
        if difference.old_mode != SUBMODULE {
            odd.push(Odd {
                path: Bytes::from(difference.path.as_path()),
                made: difference.new,
            });
        }
        Ok(())
    })?;
    if !odd.is_empty() {
        store(own_dir, NORMAL, &odd, Firmness::Visible).map(drop)?;
    }
    Ok(())
}

fn odd(own_dir: &Dir) -> Outcome<HashMap<Vec<u8>, Oid>> {
    let failed = |error| ParticipantError::io("stage the view", own_dir.path(), error);
    let Some(file) = maybe(own_dir.read_file(OsStr::new(NORMAL))).map_err(failed)? else {
        return Ok(HashMap::new());
    };
    let odd: Vec<Odd> = serde_json::from_reader(io::BufReader::new(file))
        .map_err(|error| ParticipantError::new(Fault::Corrupt, error.to_string()))?;
    Ok(odd.into_iter().map(|one| (one.path.0, one.made)).collect())
}

/// Puts what the plan left alone back into the index as it is in the branch: submodules, and files
/// that git would give another form; true if there are any.
///
/// No submodule was in the index while git looked at the view, so every one that is in `tree` was
/// found there as a repository.
fn restore(
    git: &Runner,
    (base, tree): (&Oid, &Oid),
    (view, odd): (&Dir, &HashMap<Vec<u8>, Oid>),
    work: &Work<'_>,
) -> Outcome<bool> {
    let mut lines = Vec::new();
    changes::differences(git, (base, tree), work, &mut |difference| {
        let Difference {
            old_mode,
            mode,
            old,
            new,
            path,
        } = difference;
        let at = view.path().join(&path);
        if mode == SUBMODULE {
            return Err(if old_mode == SUBMODULE {
                let why = "the submodule was moved to another commit; a plan cannot do that";
                ParticipantError::new(Fault::Refused, why).at(at)
            } else {
                nested().at(at)
            });
        }
        let alone = if old_mode == SUBMODULE {
            view.beneath(&path).is_ok()
        } else {
            mode == old_mode && odd.get(path.as_os_str().as_bytes()) == Some(&new)
        };
        if alone {
            lines.extend_from_slice(format!("{old_mode} {old}\t").as_bytes());
            lines.extend_from_slice(path.as_os_str().as_bytes());
            lines.push(0);
        }
        Ok(())
    })?;
    if lines.is_empty() {
        return Ok(false);
    }
    let update = git.call("update-index").args(["-z", "--index-info"]);
    update.input(lines).bytes()?;
    Ok(true)
}

/// The note on what `.gitignore` left out.
fn left_out(git: &Runner, work: &Work<'_>) -> Outcome<Option<String>> {
    let (mut records, mut count) = (Records::default(), 0_u64);
    let list = git.call("ls-files").args([
        "--others",
        "--ignored",
        "--exclude-standard",
        "--directory",
        "-z",
    ]);
    let list = list.stopped_by(work).stream(&mut |piece| {
        records.cut(piece, &mut |_| {
            count += 1;
            Ok(())
        })
    })?;
    if list.code != 0 {
        return Err(list.failure());
    }
    Ok((count > 0).then(|| {
        let what = if count == 1 { "name is" } else { "names are" };
        format!("{count} {what} left out, because the repository ignores them")
    }))
}
