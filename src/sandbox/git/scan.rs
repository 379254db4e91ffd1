//! Looking through a view for what git would wait for or pass over without a word.

use crate::error::{Fault, ParticipantError, Shown};
use crate::fs::{Cursor, Dir, FileKind};
use crate::sandbox::{Outcome, Work};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// Most notes on single places.
const NOTES_MAX: usize = 20;

/// Files that git itself reads: one of them that is a pipe would make it wait for ever.
const READ_BY_GIT: [&str; 3] = [".gitattributes", ".gitignore", ".gitmodules"];

/// Notes on the special files of the view. The plan's own git directory is not looked into.
///
/// # Errors
/// [`Fault::Refused`] for a special file that git would read.
pub(super) fn scan(view: &Dir, work: &Work<'_>) -> Outcome<Vec<String>> {
    let failed = |error| ParticipantError::io("look through the view", view.path(), error);
    let mut cursor = Cursor::new(view).map_err(failed)?;
    let mut waiting = vec![list(cursor.dir()).map_err(failed)?];
    let mut path: Vec<OsString> = Vec::new();
    let (mut notes, mut more, mut done) = (Vec::new(), 0_u64, 0_u64);
    while let Some(entries) = waiting.last_mut() {
        let Some((name, kind)) = entries.pop() else {
            waiting.pop();
            if path.pop().is_some() {
                cursor.leave().map_err(failed)?;
            }
            continue;
        };
        done += 1;
        if done.is_multiple_of(1024) {
            work.step(done, 0, "entries")?;
        }
        let at = || path.iter().collect::<PathBuf>().join(&name);
        match kind {
            FileKind::Directory if path.is_empty() && name == ".git" => {}
            FileKind::Directory => {
                match cursor.enter(&name) {
                    Ok(()) => {}
                    // Another mount, or gone meanwhile: git will say what it thinks of it.
                    Err(_) => continue,
                }
                waiting.push(list(cursor.dir()).map_err(failed)?);
                path.push(name);
            }
            FileKind::File | FileKind::Symlink => {}
            special if READ_BY_GIT.iter().any(|read| name == *read) => {
                let why = format!("it is a {}, and git would read it", special.word());
                return Err(ParticipantError::new(Fault::Refused, why).at(view.path().join(at())));
            }
            special if notes.len() < NOTES_MAX => {
                let kind = special.word();
                notes.push(format!("{}: a {kind} is left out", Shown(&at())));
            }
            _ => more += 1,
        }
    }
    if more > 0 {
        notes.push(format!("and {more} more special files are left out"));
    }
    Ok(notes)
}

/// The directories and special files among the entries of `dir`.
fn list(dir: &Dir) -> io::Result<Vec<(OsString, FileKind)>> {
    let mut found = Vec::new();
    dir.for_each_entry(&mut |name: &OsStr, kind| {
        let kind = match kind {
            Some(kind) => kind,
            None => match dir.stat_at(name)? {
                Some(stat) => stat.kind,
                None => return Ok(()),
            },
        };
        if !matches!(kind, FileKind::File | FileKind::Symlink) {
            found.push((name.to_owned(), kind));
        }
        Ok(())
    })?;
    Ok(found)
}
