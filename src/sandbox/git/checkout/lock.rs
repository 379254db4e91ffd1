//! `index.lock` of a work tree, taken the way git takes it.
//!
//! git makes that file exclusively before it changes the index, so whoever has it keeps every
//! `git add`, `commit`, `switch` and `merge` of the user out. Ours is a file that was written
//! before and is renamed to that name, so that it is complete from its first moment: what is in it
//! tells a lock that a dead process of ours left from one of somebody else. The former is taken
//! over, the latter is waited for and never removed.

use crate::clock::Deadline;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::Outcome;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long somebody else's lock is waited for: longer than a `git add` of a usual size, shorter
/// than a person waits for an answer.
const WAIT: Duration = Duration::from_secs(2);

/// The pause between two looks at somebody else's lock.
const PAUSE: Duration = Duration::from_millis(10);

/// The lock, in the git directory of the work tree.
const NAME: &str = "index.lock";

/// The same file while nobody holds it, in our own directory.
const SPARE: &str = "lock";

/// The lock of one work tree, held or not.
#[derive(Debug)]
pub(super) struct IndexLock {
    git_dir: Dir,
    home: Dir,
    text: String,
}

impl IndexLock {
    /// The lock that the sandbox `token` takes; `home` is on the mount of the git directory.
    pub(super) fn new(git_dir: Dir, home: Dir, token: &str) -> Self {
        Self {
            git_dir,
            home,
            text: format!(
                "planbox {token}\nheld while a plan is committed; see: planbox recover\n"
            ),
        }
    }

    /// Writes the file that will be renamed. Durable, unless the caller's next sync comes later.
    pub(super) fn make(&self) -> Outcome<()> {
        fs::write_durably(&self.home, OsStr::new(SPARE), self.text.as_bytes())
            .map_err(|error| self.failed(error))
    }

    /// Waits until nobody else has it, without taking it.
    ///
    /// # Errors
    /// [`Fault::Busy`] if the wait runs out.
    pub(super) fn wait(&self) -> Outcome<()> {
        self.until(&mut || {
            let stat = self.git_dir.stat_at(OsStr::new(NAME));
            Ok(stat?.is_none() || self.is_ours()?)
        })
    }

    /// Takes it, or takes it over from a dead process of the same sandbox.
    ///
    /// # Errors
    /// [`Fault::Busy`] if somebody else has it and the wait runs out.
    pub(super) fn take(&self) -> Outcome<()> {
        self.until(&mut || {
            let (spare, name) = (OsStr::new(SPARE), OsStr::new(NAME));
            match self.home.rename_new(spare, &self.git_dir, name) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.is_ours(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.is_ours()? {
                        return Ok(true);
                    }
                    // A restart of the machine can take both names.
                    fs::write_durably(&self.home, spare, self.text.as_bytes())?;
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Lets it go if it is ours. Idempotent.
    pub(super) fn release(&self) -> Outcome<()> {
        let (spare, name) = (OsStr::new(SPARE), OsStr::new(NAME));
        let release = || -> io::Result<()> {
            if !self.is_ours()? {
                return Ok(());
            }
            match self.home.remove_file(spare) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.git_dir.rename_new(name, &self.home, spare)
        };
        release().map_err(|error| self.failed(error))
    }

    fn is_ours(&self) -> io::Result<bool> {
        match fs::read_small(&self.git_dir, OsStr::new(NAME)) {
            Ok(bytes) => Ok(bytes == self.text.as_bytes()),
            // A lock longer than ours is an index in the making.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn until(&self, done: &mut dyn FnMut() -> io::Result<bool>) -> Outcome<()> {
        let deadline = Deadline::after(WAIT);
        loop {
            if done().map_err(|error| self.failed(error))? {
                return Ok(());
            }
            if deadline.is_over() {
                return Err(self.busy());
            }
            crate::sync::thread::sleep(PAUSE.min(deadline.remaining()));
        }
    }

    fn busy(&self) -> ParticipantError {
        let stat = self.git_dir.stat_at(OsStr::new(NAME)).ok().flatten();
        let since = stat.map_or_else(String::new, |stat| {
            let time = crate::id::rfc3339_nanos(stat.mtime.0, stat.mtime.1);
            format!("; it is there since {time}")
        });
        ParticipantError::new(
            Fault::Busy,
            format!(
                "git is at work in this work tree, or a git that died left its lock there{since}. \
                 It is never removed by planbox: if no git runs, remove it"
            ),
        )
        .at(self.path())
    }

    fn failed(&self, error: io::Error) -> ParticipantError {
        ParticipantError::io("lock the index", self.path(), error)
    }

    fn path(&self) -> PathBuf {
        self.git_dir.path().join(NAME)
    }
}
