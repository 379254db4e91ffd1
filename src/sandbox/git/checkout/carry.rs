//! Moving the work tree along, and back.

use super::index::{content, copy, overwrite};
use super::lock::IndexLock;
use super::prepare::PRISTINE;
use super::worktree::Settings;
use super::{Bytes, Checkout, CheckoutRedo, Runner, Slot, path};
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::sandbox::{Outcome, Work};
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Moves the reference, if that is not done yet: called while `index.lock` is held.
pub(in crate::sandbox::git) type MoveRef<'a> = &'a mut dyn FnMut() -> Outcome<()>;

/// The new index with the stat data of the files in place.
const REFRESHED: &str = "index.refreshed";

/// What an apply found: the name of an empty file, so that writing it down is a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No apply came so far.
    Undecided,
    /// The branch is checked out: files and index follow.
    Go,
    /// Another branch is checked out by now: they stay.
    Stay,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Go, Self::Stay, Self::Undecided];

    fn name(self) -> &'static OsStr {
        OsStr::new(match self {
            Self::Undecided => "undecided",
            Self::Go => "go",
            Self::Stay => "stay",
        })
    }

    fn read(home: &Dir) -> io::Result<Option<Self>> {
        for verdict in Self::ALL {
            if home.stat_at(verdict.name())?.is_some() {
                return Ok(Some(verdict));
            }
        }
        Ok(None)
    }

    fn change(self, to: Self, home: &Dir) -> io::Result<()> {
        home.rename_new(self.name(), home, to.name())?;
        home.sync()
    }
}

/// Writes down that nothing is decided. The caller syncs.
pub(super) fn undecided(home: &Dir) -> Outcome<()> {
    let made = home.create_private(Verdict::Undecided.name());
    made.map(drop)
        .map_err(|error| ParticipantError::io("make the checkout", home.path(), error))
}

/// What waits at `path`.
pub(super) fn staged(path: &Path) -> Outcome<Option<Slot>> {
    let failed = |error| ParticipantError::io("look at the new index", path, error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let stat = Dir::open(parent).and_then(|dir| dir.stat_at(name));
    Ok(stat.map_err(failed)?.map(|stat| Slot {
        path: Bytes::from(path),
        id: stat.id(),
        size: stat.size,
        mtime: stat.mtime,
    }))
}

/// The directories that a step works in.
struct Ends {
    home: Dir,
    lock: IndexLock,
}

impl Checkout {
    /// Moves files and index to the new commit, then calls `move_ref`, all under `index.lock`.
    /// Idempotent, also in another process.
    ///
    /// # Errors
    /// [`Fault::Busy`] if a git is at work there, [`Fault::Conflict`] for a foreign change in the
    /// way, or what `move_ref` says; `apply` and `take_back` may follow.
    pub(in crate::sandbox::git) fn apply(
        &self,
        git: &Runner,
        redo: &CheckoutRedo,
        (work, move_ref): (&Work<'_>, MoveRef<'_>),
    ) -> Outcome<()> {
        let Some(ends) = self.ends(redo)? else {
            return move_ref();
        };
        ends.lock.take()?;
        crate::crash::point("checkout.locked");
        let applied = self.apply_locked(git, (redo, &ends.home), work);
        let moved = applied.and_then(|()| move_ref());
        crate::crash::point("checkout.moved");
        let released = ends.lock.release();
        moved.and(released)
    }

    fn apply_locked(
        &self,
        git: &Runner,
        (redo, home): (&CheckoutRedo, &Dir),
        work: &Work<'_>,
    ) -> Outcome<()> {
        if self.decide(&redo.name, home)? != Verdict::Go {
            return Ok(());
        }
        if let Some(given) = &redo.tree {
            let mut tree = self.part(&redo.home(), super::TREE, given)?;
            tree.apply(&given.redo, work)?;
        }
        crate::crash::point("checkout.files");
        self.refresh(git, (redo, home))?;
        let mut index = self.part(&redo.home(), super::INDEX, &redo.index)?;
        index.apply(&redo.index.redo, work)
    }

    /// Asks once which branch is checked out.
    fn decide(&self, name: &str, home: &Dir) -> Outcome<Verdict> {
        let failed = |error| ParticipantError::io("write the verdict", home.path(), error);
        let verdict = Verdict::read(home).map_err(failed)?.ok_or_else(lost)?;
        if verdict != Verdict::Undecided {
            return Ok(verdict);
        }
        let found = if self.tree.is_on(name)? {
            Verdict::Go
        } else {
            Verdict::Stay
        };
        verdict.change(found, home).map_err(failed)?;
        Ok(found)
    }

    /// Gives the entries of the waiting index the stat data that their files have now, so that no
    /// git has to read the files to see that they are unchanged.
    ///
    /// The slot is written in place: it must stay the inode that take-back knows. A crash can
    /// leave half of it; the next apply writes it again before it uses it.
    fn refresh(&self, git: &Runner, (redo, home): (&CheckoutRedo, &Dir)) -> Outcome<()> {
        let slot = path(&redo.slot.path);
        if staged(&slot)?.is_none_or(|now| now.id != redo.slot.id) {
            // In place already.
            return Ok(());
        }
        let failed = |error| ParticipantError::io("refresh the index", &slot, error);
        let refreshed = || -> Outcome<Vec<u8>> {
            copy((home, PRISTINE), (home, REFRESHED))?;
            let file = redo.home().join(REFRESHED);
            let git = git.clone().work_tree(&self.tree.root).index(file);
            let args = ["update-index", "-q", "--unmerged", "--ignore-missing", "--refresh"];
            drop(Settings::of(&self.tree)?.call(&git, &args).answer()?);
            content(home, REFRESHED).map_err(failed)
        };
        // Without them git finds out by itself; that is no reason to fail a decided step.
        let refreshed = refreshed().ok();
        let bytes = match refreshed.filter(|bytes| bytes.len() as u64 == redo.slot.size) {
            Some(bytes) => bytes,
            None => content(home, PRISTINE).map_err(failed)?,
        };
        if bytes.len() as u64 != redo.slot.size {
            return Err(lost());
        }
        let (Some(parent), Some(name)) = (slot.parent(), slot.file_name()) else {
            return Err(lost());
        };
        let file = Dir::open(parent).and_then(|dir| dir.write_file(name));
        file.and_then(|file| overwrite(&file, &bytes, redo.slot.mtime))
            .map_err(failed)
    }

    /// Calls `move_back`, then puts the index and the files back. Idempotent.
    ///
    /// # Errors
    /// [`Fault::Hazard`] if somebody changed what apply had put there: theirs is kept.
    /// [`Fault::Busy`] if a git is at work there.
    pub(in crate::sandbox::git) fn take_back(
        &self,
        redo: &CheckoutRedo,
        (work, move_back): (&Work<'_>, MoveRef<'_>),
    ) -> Outcome<()> {
        let Some(ends) = self.ends(redo)? else {
            return move_back();
        };
        let failed = |error| ParticipantError::io("read the verdict", ends.home.path(), error);
        if Verdict::read(&ends.home).map_err(failed)? != Some(Verdict::Go) {
            let moved = move_back();
            return moved.and(ends.lock.release());
        }
        ends.lock.take()?;
        let taken = move_back().and_then(|()| {
            self.take_back_locked(redo, work)?;
            let changed = Verdict::Go.change(Verdict::Undecided, &ends.home);
            changed.map_err(failed)
        });
        let released = ends.lock.release();
        taken.and(released)
    }

    fn take_back_locked(&self, redo: &CheckoutRedo, work: &Work<'_>) -> Outcome<()> {
        let mut index = self.part(&redo.home(), super::INDEX, &redo.index)?;
        let index = index.take_back(&redo.index.redo, work);
        crate::crash::point("checkout.index-back");
        if index.as_ref().is_err_and(|error| error.fault != Fault::Hazard) {
            return index;
        }
        if let Some(given) = &redo.tree {
            let mut tree = self.part(&redo.home(), super::TREE, given)?;
            tree.take_back(&given.redo, work)?;
        }
        index
    }

    /// Makes durable what apply did, or what take-back restored.
    ///
    /// # Errors
    /// What the system refuses; it may be called again.
    pub(in crate::sandbox::git) fn settle(&self, redo: &CheckoutRedo) -> Outcome<()> {
        if self.ends(redo)?.is_none() {
            return Ok(());
        }
        for (name, given) in redo.parts() {
            self.part(&redo.home(), name, given)?.settle(&given.redo)?;
        }
        Ok(())
    }

    /// Opens the directories; none if the work tree was removed.
    fn ends(&self, redo: &CheckoutRedo) -> Outcome<Option<Ends>> {
        if redo.version != super::VERSION {
            let why = format!("a checkout of version {}", redo.version);
            return Err(ParticipantError::new(Fault::Corrupt, why));
        }
        if !self.tree.git_dir.is_dir() || !self.tree.root.is_dir() {
            return Ok(None);
        }
        let home = redo.home();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => lost().at(&home),
            _ => ParticipantError::io("open the checkout", &home, error),
        };
        let dir = Dir::open(&home).map_err(failed)?;
        let git_dir = Dir::open(&self.tree.git_dir)
            .map_err(|error| ParticipantError::io("open", &self.tree.git_dir, error))?;
        let second = dir.dup().map_err(failed)?;
        Ok(Some(Ends {
            lock: IndexLock::new(git_dir, second, &self.place.token),
            home: dir,
        }))
    }
}

fn lost() -> ParticipantError {
    ParticipantError::new(Fault::Lost, "what was made ready for the work tree is gone")
}

