//! The work tree in which the branch of a plan is checked out.
//!
//! When the branch moves, the files of that work tree and its index move along, or the plan
//! conflicts: a file that is not as the old commit has it, something staged, an untracked or
//! ignored file in the way of a new one are never overwritten. What the commit does not change is
//! not looked at.
//!
//! The files are renamed by the machinery of the directory participant (see `directory/batch.rs`);
//! the index changes places with a new one that was made from a copy of it, so that everything
//! staged beside the commit stays. From the first rename until the reference is moved,
//! `index.lock` of the work tree is held, so that no git of the user comes between.
//!
//! Which branch is checked out is asked under that lock. If it is another one by then, this work
//! tree stays as it is and only the reference moves; the answer is written down before anything
//! is done, so that a redo after a crash does the same.

mod carry;
mod changed;
mod contents;
mod index;
mod layout;
mod lock;
mod prepare;
mod swap;
#[cfg(test)]
mod tests;
mod worktree;

#[cfg(test)]
use carry::MoveRef;
pub(in crate::sandbox::git) use worktree::WorkTree;

use super::program::{Oid, Runner};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::directory::text::Bytes;
use crate::sandbox::directory::{Batch, DirectoryKind, Given};
use crate::sandbox::{Kind as _, Outcome, Place, Sandbox, Work};
use lock::IndexLock;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use swap::{Swap, Yard};

/// Version of the redo.
const VERSION: u32 = 1;

/// Our directory in the place of the sandbox.
const IN_PLACE: &str = "checkout";

/// Our directory in the git directory, if the place is on another mount.
const IN_GIT_DIR: &str = "planbox";

/// The batch of the files.
const TREE: &str = "tree";

/// The redo as a file, for a caller that has none.
const REDO: &str = "redo";

/// A branch that moves: its name, its commit now (none if it has none yet), and the next one.
pub(in crate::sandbox::git) type Move<'a> = (&'a str, Option<&'a Oid>, &'a Oid);

/// The answer to [`Checkout::prepare`].
#[derive(Debug)]
pub(in crate::sandbox::git) enum CheckoutVote {
    /// Everything that apply needs is durable.
    Ready(Box<CheckoutRedo>),
    /// The work tree has nothing to do: another branch is checked out in it, or no file differs.
    Nothing,
    /// Somebody changed what the commit changes, or is in its way.
    Conflict(Vec<Conflict>),
}

/// What apply and take-back need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::git) struct CheckoutRedo {
    version: u32,
    /// The branch.
    name: String,
    /// Our own directory.
    home: Bytes,
    /// The files; none if only the index changes.
    tree: Option<Given>,
    /// The index.
    index: Swap,
}

impl CheckoutRedo {
    fn home(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.home.0))
    }
}

/// One work tree that follows its branch.
#[derive(Debug, Clone)]
pub(in crate::sandbox::git) struct Checkout {
    place: Place,
    tree: WorkTree,
}

impl Checkout {
    /// The work tree `tree` for the sandbox of `place`.
    pub(in crate::sandbox::git) fn new(place: &Place, tree: &WorkTree) -> Self {
        Self {
            place: place.clone(),
            tree: tree.clone(),
        }
    }

    /// Checks the work tree and makes ready what it needs. Throws away what an earlier call made.
    ///
    /// # Errors
    /// [`Fault::Busy`] if a git is at work in it, [`Fault::Refused`] for what cannot follow (a
    /// filter, a submodule in the place of a file); nothing real has changed.
    pub(in crate::sandbox::git) fn prepare(
        &self,
        git: &Runner,
        to: Move<'_>,
        work: &Work<'_>,
    ) -> Outcome<CheckoutVote> {
        self.clear()?;
        let vote = prepare::prepare(self, git, to, work);
        if !matches!(vote, Ok(CheckoutVote::Ready(_))) {
            // The first answer is the one to give; what stays goes with the sandbox.
            drop(self.clear());
        }
        vote
    }

    /// Forgets what `prepare` made.
    ///
    /// # Errors
    /// [`Fault::Hazard`] if it holds an original that could not be put back.
    pub(in crate::sandbox::git) fn clear(&self) -> Outcome<()> {
        for home in self.homes() {
            let Some((dir, redo)) = stored(&home)? else {
                continue;
            };
            if carry::stands(&dir)? {
                continue;
            }
            let given = redo.tree.as_ref();
            if let Some(Ok(mut part)) = given.map(|given| self.part(&home, given)) {
                part.unseal()?;
            }
            if carry::holds_index(&dir, &redo)? {
                let why = "the index from before was displaced and could not be put back";
                return Err(ParticipantError::new(Fault::Hazard, why).at(home));
            }
        }
        self.remove(&Work::silent())
    }

    /// Removes everything of ours, originals kept aside included. Idempotent.
    ///
    /// # Errors
    /// What the system refuses.
    pub(in crate::sandbox::git) fn discard(&self, work: &Work<'_>) -> Outcome<()> {
        self.remove(work)
    }

    fn remove(&self, work: &Work<'_>) -> Outcome<()> {
        for home in self.homes() {
            let failed = |error| ParticipantError::io("remove the checkout", &home, error);
            let Some(dir) = maybe(Dir::open(&home)).map_err(failed)? else {
                continue;
            };
            if let Ok(git_dir) = Dir::open(&self.tree.git_dir) {
                IndexLock::new(git_dir, dir, &self.place.token).release()?;
            }
            Batch::sweep(&self.tree.root, &self.inner(&home))?;
            let (Some(parent), Some(name)) = (home.parent(), home.file_name()) else {
                continue;
            };
            let parent = Dir::open(parent).map_err(failed)?;
            let mut stopped = None;
            let removed = fs::remove_tree(&parent, name, &mut |done| {
                work.step(done, 0, "entries").map_err(|error| {
                    stopped = Some(error);
                    io::Error::from(io::ErrorKind::Interrupted)
                })
            });
            if let Some(error) = stopped {
                return Err(error);
            }
            removed.map_err(failed)?;
        }
        if let Ok(git_dir) = Dir::open(&self.tree.git_dir) {
            // Others may have theirs in it; then it stays.
            drop(git_dir.remove_dir(OsStr::new(IN_GIT_DIR)));
        }
        Ok(())
    }

    /// Where our directory may be.
    fn homes(&self) -> [PathBuf; 2] {
        let inside = self.tree.git_dir.join(IN_GIT_DIR);
        [
            self.place.dir.join(IN_PLACE),
            inside.join(&self.place.token),
        ]
    }

    /// Makes our directory where renames to the work tree and to its git directory work: in the
    /// place, or in the git directory, where nobody sees it as a file of the work tree.
    fn make_home(&self) -> Outcome<PathBuf> {
        let make = || -> io::Result<PathBuf> {
            let place = Dir::open(&self.place.dir)?;
            let git_dir = Dir::open(&self.tree.git_dir)?;
            let [here, there] = self.homes();
            let (stat, root) = (git_dir.stat()?, Dir::open(&self.tree.root)?.stat()?);
            if place.stat()?.same_mount(&stat) && stat.same_mount(&root) {
                place.make_dir(OsStr::new(IN_PLACE), 0o700)?;
                place.sync()?;
                return Ok(here);
            }
            match git_dir.make_dir(OsStr::new(IN_GIT_DIR), 0o700) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let holder = git_dir.child(OsStr::new(IN_GIT_DIR))?;
            holder.make_dir(OsStr::new(&self.place.token), 0o700)?;
            holder.sync()?;
            git_dir.sync()?;
            Ok(there)
        };
        make().map_err(|error| ParticipantError::io("make the checkout", &self.place.dir, error))
    }

    /// The place of the files.
    fn inner(&self, home: &Path) -> Place {
        Place {
            dir: home.join(TREE),
            ..self.place.clone()
        }
    }

    /// The files, to carry them out.
    fn part(&self, home: &Path, given: &Given) -> Outcome<Box<dyn Sandbox>> {
        DirectoryKind.reopen(&given.record, &self.inner(home))
    }

    fn yard<'a>(&'a self, git: &'a Runner, home: &'a Dir) -> Yard<'a> {
        Yard {
            git,
            tree: &self.tree,
            home,
        }
    }
}

/// The redo that a `prepare` which came to its end left in `home`.
fn stored(home: &Path) -> Outcome<Option<(Dir, CheckoutRedo)>> {
    let failed = |error| ParticipantError::io("read the checkout", home, error);
    let Some(dir) = maybe(Dir::open(home)).map_err(failed)? else {
        return Ok(None);
    };
    let Some(bytes) = maybe(index::content(&dir, REDO)).map_err(failed)? else {
        return Ok(None);
    };
    let redo = serde_json::from_slice(&bytes).map_err(|error| {
        ParticipantError::new(Fault::Corrupt, format!("not ours to read: {error}")).at(home)
    })?;
    Ok(Some((dir, redo)))
}

/// `None` instead of "not found".
fn maybe<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
