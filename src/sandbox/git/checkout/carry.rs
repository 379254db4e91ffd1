//! Moving the work tree along, and back.

use super::lock::IndexLock;
use super::{Checkout, CheckoutRedo, Runner, WorkTree};
use crate::error::{Conflict, Fault, ParticipantError, Shown};
use crate::fs::Dir;
use crate::sandbox::{Outcome, Work};
use std::ffi::OsStr;
use std::io;

/// Moves the reference, if that is not done yet: called while `index.lock` is held.
pub(in crate::sandbox::git) type MoveRef<'a> = dyn FnMut() -> Outcome<()> + 'a;

/// What an apply found: the name of an empty file, so that writing it down is a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No apply came so far.
    Undecided,
    /// The branch is checked out: files and index follow.
    Go,
    /// They stay as they are: another branch is checked out by now, or somebody built on ours.
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

/// True if files and index are to be as they are: what apply displaced is not wanted any more.
pub(super) fn stands(home: &Dir) -> Outcome<bool> {
    let failed = |error| ParticipantError::io("read the verdict", home.path(), error);
    Ok(Verdict::read(home).map_err(failed)? == Some(Verdict::Stay))
}

/// True if apply displaced an index that nobody put back.
pub(super) fn holds_index(home: &Dir, redo: &CheckoutRedo) -> Outcome<bool> {
    let failed = |error| ParticipantError::io("read the verdict", home.path(), error);
    let gone = Verdict::read(home).map_err(failed)? == Some(Verdict::Go);
    Ok(gone && redo.index.is_displaced(home)?)
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
        (work, move_ref): (&Work<'_>, &mut MoveRef<'_>),
    ) -> Outcome<()> {
        let Some(ends) = self.ends(redo)? else {
            return move_ref();
        };
        ends.lock.take()?;
        let applied = self.apply_locked(git, (redo, &ends.home), work);
        let moved = applied.and_then(|()| move_ref());
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
            let mut tree = self.part(&redo.home(), given)?;
            tree.apply(&given.redo, work)?;
        }
        redo.index.apply(self.yard(git, home), work)
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
        } else if WorkTree::find(&self.tree.common, name)?.is_some() {
            let theirs = "checked out in another work tree".to_owned();
            let (base, ours) = ("checked out here".to_owned(), "moved along".to_owned());
            let place = Shown(&self.tree.root).to_string();
            let conflict = Conflict::new(place, base, theirs, ours);
            return Err(ParticipantError::conflict(vec![conflict]));
        } else {
            Verdict::Stay
        };
        verdict.change(found, home).map_err(failed)?;
        Ok(found)
    }

    /// Calls `move_back`, then puts the index and the files back. Idempotent.
    ///
    /// # Errors
    /// [`Fault::Hazard`] if somebody changed what apply had put there: theirs is kept.
    /// [`Fault::Busy`] if a git is at work there.
    pub(in crate::sandbox::git) fn take_back(
        &self,
        git: &Runner,
        redo: &CheckoutRedo,
        (work, move_back): (&Work<'_>, &mut MoveRef<'_>),
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
            self.take_back_locked(git, (redo, &ends.home), work)?;
            let changed = Verdict::Go.change(Verdict::Undecided, &ends.home);
            changed.map_err(failed)
        });
        let released = ends.lock.release();
        taken.and(released)
    }

    /// Lets files and index stand as they are, because somebody built on the commit that they
    /// belong to, and the caller lets theirs stand. Idempotent.
    ///
    /// # Errors
    /// What the system refuses; it may be called again.
    pub(in crate::sandbox::git) fn leave(&self, redo: &CheckoutRedo) -> Outcome<()> {
        let Some(ends) = self.ends(redo)? else {
            return Ok(());
        };
        let failed = |error| ParticipantError::io("write the verdict", ends.home.path(), error);
        if Verdict::read(&ends.home).map_err(failed)? == Some(Verdict::Go) {
            let changed = Verdict::Go.change(Verdict::Stay, &ends.home);
            changed.map_err(failed)?;
        }
        ends.lock.release()
    }

    fn take_back_locked(
        &self,
        git: &Runner,
        (redo, home): (&CheckoutRedo, &Dir),
        work: &Work<'_>,
    ) -> Outcome<()> {
        let index = redo.index.take_back(self.yard(git, home), work);
        if index
            .as_ref()
            .is_err_and(|error| error.fault != Fault::Hazard)
        {
            return index;
        }
        if let Some(given) = &redo.tree {
            let mut tree = self.part(&redo.home(), given)?;
            tree.take_back(&given.redo, work)?;
        }
        index
    }

    /// Makes durable what apply did, or what take-back restored.
    ///
    /// # Errors
    /// What the system refuses; it may be called again.
    pub(in crate::sandbox::git) fn settle(&self, redo: &CheckoutRedo) -> Outcome<()> {
        let Some(ends) = self.ends(redo)? else {
            return Ok(());
        };
        if let Some(given) = &redo.tree {
            self.part(&redo.home(), given)?.settle(&given.redo)?;
        }
        let git_dir = &self.tree.git_dir;
        Dir::open(git_dir)
            .and_then(|dir| dir.sync())
            .and_then(|()| ends.home.sync())
            .map_err(|error| ParticipantError::io("make durable", git_dir, error))
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
