//! Putting the new index in place of the old one, and back, while `index.lock` is held.
//!
//! The two change places by one rename. What is done is known from the inode that waits. A git
//! that only looks (`git status`) writes the index again with fresh stat data; that is no change of
//! what is staged, so an index is known by its entries if it is not known by its inode.

use super::super::program::Runner;
use super::changed::whole;
use super::index::{content, copy, overwrite};
use super::prepare::PRISTINE;
use super::worktree::{Settings, WorkTree};
use crate::error::{Conflict, Fault, ParticipantError, Shown};
use crate::fs::{self, Dir, FileKind, Stat, Time};
use crate::sandbox::{Outcome, Work};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The index, in the git directory of the work tree.
const NAME: &str = "index";

/// The new index while it waits, and afterwards the old one, in our own directory.
pub(super) const NEXT: &str = "index.next";

/// The new index with the stat data of the files in place.
const REFRESHED: &str = "index.refreshed";

/// One inode as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    id: (u64, u64),
    size: u64,
    mtime: Time,
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        Self {
            id: stat.id(),
            size: stat.size,
            mtime: stat.mtime,
        }
    }
}

/// What is to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    /// The new index.
    next: Seen,
    /// Its entries, as a digest.
    ours: String,
    /// The old index, if there was one.
    base: Option<Seen>,
    /// Its entries, as a digest.
    theirs: String,
}

/// Where the exchange takes place, and how git is asked about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yard<'a> {
    pub(super) git: &'a Runner,
    pub(super) tree: &'a WorkTree,
    pub(super) home: &'a Dir,
}

/// Looks at the index and copies it, for [`Swap::make`] and to make the new one from.
///
/// # Errors
/// [`Fault::Refused`] if it is not a plain file.
pub(super) fn take_copy(yard: Yard<'_>) -> Outcome<Option<Seen>> {
    let git_dir = yard.git_dir()?;
    // Looked at before it is read: whatever changes it afterwards is seen at apply.
    let stat = yard.look(&git_dir, NAME)?;
    if stat.is_some_and(|stat| stat.kind != FileKind::File) {
        let why = "the index is not a file";
        return Err(ParticipantError::new(Fault::Refused, why).at(yard.path()));
    }
    let copied = copy((&git_dir, NAME), (yard.home, PRISTINE))?;
    if copied != stat.is_some() {
        return Err(changed(None));
    }
    Ok(stat.as_ref().map(Seen::of))
}

impl Swap {
    /// Stages the new index, which is `PRISTINE` now; `theirs` is what [`entries`] said before.
    pub(super) fn make(yard: Yard<'_>, base: Option<Seen>, theirs: String) -> Outcome<Self> {
        copy((yard.home, PRISTINE), (yard.home, NEXT))?;
        if let Some(old) = yard.look(&yard.git_dir()?, NAME)? {
            // It may be shared with a group, whatever our own umask says.
            let set = yard.home.set_mode_at(OsStr::new(NEXT), old.mode & 0o777);
            set.map_err(|error| yard.failed(error))?;
        }
        for name in [PRISTINE, NEXT] {
            let file = yard.home.read_file(OsStr::new(name));
            file.and_then(fs::sync_all)
                .map_err(|error| yard.failed(error))?;
        }
        let next = yard.look(yard.home, NEXT)?.ok_or_else(lost)?;
        Ok(Self {
            next: Seen::of(&next),
            ours: entries(yard.git, &yard.home.path().join(PRISTINE))?,
            base,
            theirs,
        })
    }

    /// True if the old index waits in our directory.
    pub(super) fn is_displaced(&self, home: &Dir) -> Outcome<bool> {
        Ok(waiting(home)?.is_some_and(|stat| stat.id() != self.next.id))
    }

    /// True if something else than the new index, or nothing, waits in our directory.
    fn is_done(&self, home: &Dir) -> Outcome<bool> {
        Ok(waiting(home)?.is_none_or(|stat| stat.id() != self.next.id))
    }

    /// Puts the new index in place.
    ///
    /// # Errors
    /// [`Fault::Conflict`] if something else is staged by now.
    pub(super) fn apply(&self, yard: Yard<'_>, work: &Work<'_>) -> Outcome<()> {
        if self.is_done(yard.home)? {
            return Ok(());
        }
        let git_dir = yard.git_dir()?;
        let now = yard.look(&git_dir, NAME)?.as_ref().map(Seen::of);
        if now != self.base && !yard.has(now, &self.theirs)? {
            if work.keeps_theirs() {
                return Ok(());
            }
            return Err(changed(now));
        }
        self.refresh(yard)?;
        let (name, next) = (OsStr::new(NAME), OsStr::new(NEXT));
        if now.is_none() {
            let put = yard.home.rename_new(next, &git_dir, name);
            return put.map_err(|error| yard.failed(error));
        }
        let exchange = || git_dir.exchange(name, yard.home, next);
        exchange().map_err(|error| yard.failed(error))?;
        if yard.look(yard.home, NEXT)?.as_ref().map(Seen::of) != now {
            // Somebody who respects no lock.
            exchange().map_err(|error| yard.failed(error))?;
            return Err(changed(now));
        }
        Ok(())
    }

    /// Puts the old index back.
    ///
    /// # Errors
    /// [`Fault::Hazard`] if something was staged since: theirs stays.
    pub(super) fn take_back(&self, yard: Yard<'_>, work: &Work<'_>) -> Outcome<()> {
        if !self.is_done(yard.home)? {
            return Ok(());
        }
        let git_dir = yard.git_dir()?;
        let now = yard.look(&git_dir, NAME)?.as_ref().map(Seen::of);
        if now != Some(self.next) && !yard.has(now, &self.ours)? {
            let back = yard.has(now, &self.theirs)?;
            return if back || work.keeps_theirs() {
                Ok(())
            } else {
                Err(self.hazard(yard))
            };
        }
        let (name, next) = (OsStr::new(NAME), OsStr::new(NEXT));
        let done = if self.is_displaced(yard.home)? {
            git_dir.exchange(name, yard.home, next)
        } else {
            git_dir.rename_new(name, yard.home, next)
        };
        done.map_err(|error| yard.failed(error))
    }

    fn hazard(&self, yard: Yard<'_>) -> ParticipantError {
        let kept = yard.home.path().join(NEXT);
        let kept = match self.base {
            Some(_) => format!("the index from before is kept at {}", Shown(&kept)),
            None => "there was no index before".to_owned(),
        };
        let why = format!(
            "something was staged after the commit had put its index in place; that is kept, and \
             {kept}"
        );
        ParticipantError::new(Fault::Hazard, why).at(yard.path())
    }

    /// Gives the entries of the waiting index the stat data that their files have now, so that no
    /// git has to read the files to see that they are unchanged.
    ///
    /// It is written in place: it must stay the inode that is known. A crash can leave half of it;
    /// the next apply writes it again before it uses it.
    fn refresh(&self, yard: Yard<'_>) -> Outcome<()> {
        let failed = |error| yard.failed(error);
        let refreshed = || -> Outcome<Vec<u8>> {
            copy((yard.home, PRISTINE), (yard.home, REFRESHED))?;
            let file = yard.home.path().join(REFRESHED);
            let git = yard.git.clone().work_tree(&yard.tree.root).index(file);
            let args = [
                "update-index",
                "-q",
                "--unmerged",
                "--ignore-missing",
                "--refresh",
            ];
            let settings = Settings::of(yard.tree)?;
            drop(settings.call((&git, &Work::silent()), &args).answer()?);
            content(yard.home, REFRESHED).map_err(failed)
        };
        // Without them git finds out by itself; that is no reason to fail a decided step.
        let refreshed = refreshed().ok();
        let bytes = match refreshed.filter(|bytes| bytes.len() as u64 == self.next.size) {
            Some(bytes) => bytes,
            None => content(yard.home, PRISTINE).map_err(failed)?,
        };
        if bytes.len() as u64 != self.next.size {
            return Err(lost());
        }
        let file = yard.home.write_file(OsStr::new(NEXT));
        file.and_then(|file| overwrite(&file, &bytes, self.next.mtime))
            .map_err(failed)
    }
}

impl Yard<'_> {
    fn git_dir(&self) -> Outcome<Dir> {
        Dir::open(&self.tree.git_dir).map_err(|error| self.failed(error))
    }

    fn path(&self) -> std::path::PathBuf {
        self.tree.git_dir.join(NAME)
    }

    fn look(&self, dir: &Dir, name: &str) -> Outcome<Option<Stat>> {
        dir.stat_at(OsStr::new(name))
            .map_err(|error| self.failed(error))
    }

    /// True if the index there has these entries.
    fn has(&self, now: Option<Seen>, digest: &str) -> Outcome<bool> {
        Ok(now.is_some() && entries(self.git, &self.path())? == digest)
    }

    fn failed(&self, error: io::Error) -> ParticipantError {
        ParticipantError::io("change the index", self.path(), error)
    }
}

fn waiting(home: &Dir) -> Outcome<Option<Stat>> {
    home.stat_at(OsStr::new(NEXT)).map_err(|error| {
        ParticipantError::io("look at the new index", home.path().join(NEXT), error)
    })
}

/// A digest of what is staged: paths, objects, modes, and the user's marks.
pub(super) fn entries(git: &Runner, index: &Path) -> Outcome<String> {
    let call = git.clone().index(index).call("ls-files");
    let list = whole(call.args(["-z", "-s", "-v"]))?;
    Ok(blake3::hash(&list).to_hex().to_string())
}

fn changed(now: Option<Seen>) -> ParticipantError {
    let theirs = match now {
        Some(_) => "something else is staged",
        None => "there is none",
    };
    let base = "the index from before the commit".to_owned();
    let ours = "the index after the commit".to_owned();
    let conflict = Conflict::new("the index".to_owned(), base, theirs.to_owned(), ours);
    ParticipantError::conflict(vec![conflict])
}

fn lost() -> ParticipantError {
    ParticipantError::new(
        Fault::Lost,
        "the new index is gone, or not the one that was made",
    )
}
