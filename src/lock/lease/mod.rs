//! Locks between processes.
//!
//! Both kinds are `flock` on an open file that no child process inherits. The operating system
//! releases them when the holder dies, however it dies.

use crate::error::{Holder, LockError};
use crate::lock::planted::{LockFault, Planted};
use crate::lock::wait::{LockWait, Polled, poll};
use crate::sync::stage;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, open, openat, statat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A holder's record is a few hundred bytes; a file that is longer is not one of ours.
const RECORD_MAX_BYTES: u64 = 64 * 1024;

/// How often a refusal by nobody is asked again. See [`Door::is_certainly_held`].
const DOUBTS: u32 = 50;

/// The one holder of a name among all processes of this machine.
///
/// The holder is written into the lock file while it is held, for those who wait. Dropping the lease
/// releases it and leaves the file, empty; [`Lease::retire`] removes the file too.
#[derive(Debug)]
#[must_use = "the lease is released when this is dropped"]
pub struct Lease {
    door: Door,
    file: File,
    is_retired: bool,
}

impl Lease {
    /// Takes the lease on `file_name` in the directory `locks`, as `holder`.
    ///
    /// The file is made, with mode 0600, if it is not there. After the lock is taken, the name is
    /// looked at again: a file that has been retired in between is not a lease, and the next one is
    /// tried. The path of `locks` itself is resolved as the operating system does it; `file_name`
    /// is never followed.
    ///
    /// # Errors
    /// [`LockError::Busy`] or [`LockError::TimedOut`], which name the holder as far as is known;
    /// [`LockError::File`] if the file cannot be used.
    ///
    /// # Panics
    /// In a debug build, if the thread holds a latch that must not be held across I/O.
    pub fn acquire(
        locks: &Path,
        file_name: &str,
        holder: &Holder,
        wait: LockWait,
    ) -> Result<Self, LockError> {
        Self::take(Door::at(locks, file_name)?, holder, wait)
    }

    /// As [`Lease::acquire`], with a fault, for a negative control: a test that must notice.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    pub fn acquire_with_fault(
        locks: &Path,
        file_name: &str,
        holder: &Holder,
        wait: LockWait,
        fault: LockFault,
    ) -> Result<Self, LockError> {
        let mut door = Door::at(locks, file_name)?;
        door.planted = Planted::new(fault);
        Self::take(door, holder, wait)
    }

    fn take(door: Door, holder: &Holder, wait: LockWait) -> Result<Self, LockError> {
        let mut taken = None;
        // Who waits asks again anyway.
        let mut doubts = if wait == LockWait::Try { DOUBTS } else { 0 };
        let outcome = poll(wait, || {
            taken = door.attempt()?;
            while taken.is_none() && doubts > 0 && !door.is_certainly_held() {
                doubts -= 1;
                crate::sync::thread::sleep(std::time::Duration::from_millis(1));
                taken = door.attempt()?;
            }
            Ok(taken.is_some())
        });
        let outcome = outcome.map_err(|source| door.failed(source))?;
        let key = || holder.key.clone();
        match (outcome, taken) {
            (Polled::Taken, Some(file)) => {
                let lease = Self {
                    door,
                    file,
                    is_retired: false,
                };
                let written = lease.write(holder);
                written.map_err(|source| lease.door.failed(source))?;
                Ok(lease)
            }
            (Polled::TimedOut(waited_ms), _) => Err(LockError::TimedOut {
                key: key(),
                waited_ms,
                holder: door.holder().map(Box::new),
            }),
            (Polled::Busy | Polled::Taken, _) => Err(LockError::Busy {
                key: key(),
                holder: door.holder().map(Box::new),
            }),
        }
    }

    /// Who holds the lease on `file_name` in `locks` now; `None` if nobody does, or if the holder
    /// cannot be read.
    ///
    /// A record is believed only if the file is locked; that is found out with a shared lock that is
    /// let go at once, and only if there is a record. Those who try to take the lease at that
    /// instant allow for it.
    #[must_use]
    pub fn peek(locks: &Path, file_name: &str) -> Option<Holder> {
        let door = Door::at(locks, file_name).ok()?;
        let file = door.open(OFlags::RDONLY).ok()?;
        let holder = read_holder(&file)?;
        let is_free = try_flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
        if is_free {
            unlock(&file);
            return None;
        }
        Some(holder)
    }

    /// Removes the lock file and releases the lease: the last act on a name that is not needed any
    /// more. Those who wait find that the file is gone, and take the next one.
    ///
    /// A file that cannot be removed stays, empty, for a later sweep. If somebody has removed ours
    /// by hand, the name stands for the lease of another holder by now, and stays.
    pub fn retire(mut self) {
        if self.door.is_named(&self.file).unwrap_or(false) {
            stage("lease.retires");
            let removed = unlinkat(&self.door.directory, &self.door.name, AtFlags::empty());
            self.is_retired = removed.is_ok();
        }
    }

    fn write(&self, holder: &Holder) -> io::Result<()> {
        let record = serde_json::to_vec(holder)?;
        self.file.set_len(0)?;
        self.file.write_all_at(&record, 0)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_retired {
            // A record that stays is not believed, because the file will not be locked.
            drop(self.file.set_len(0));
        }
        unlock(&self.file);
    }
}

/// How one attempt on an open lock file ended.
#[derive(Debug)]
enum Attempt {
    Taken(File),
    /// Somebody else has it.
    Held,
    /// The file was removed after it had been opened: the lock of nothing.
    Stale,
}

/// The place of a lock file.
#[derive(Debug)]
struct Door {
    directory: OwnedFd,
    name: String,
    path: PathBuf,
    planted: Planted,
}

impl Door {
    fn at(locks: &Path, file_name: &str) -> Result<Self, LockError> {
        let path = locks.join(file_name);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(locks, flags, Mode::empty()) {
            Ok(_) if !is_plain_name(file_name) => Err(LockError::File {
                path,
                source: io::ErrorKind::InvalidFilename.into(),
            }),
            Ok(directory) => Ok(Self {
                directory,
                name: file_name.to_owned(),
                path,
                planted: Planted::default(),
            }),
            Err(source) => Err(LockError::File {
                path,
                source: source.into(),
            }),
        }
    }

    fn failed(&self, source: io::Error) -> LockError {
        LockError::File {
            path: self.path.clone(),
            source,
        }
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(openat(&self.directory, &self.name, flags, mode)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("the lock file is not a regular file"));
        }
        Ok(file)
    }

    /// Takes the lock of this name if it is free.
    fn attempt(&self) -> io::Result<Option<File>> {
        loop {
            match self.lock(self.open(OFlags::RDWR | OFlags::CREATE)?)? {
                Attempt::Taken(file) => return Ok(Some(file)),
                Attempt::Held => return Ok(None),
                Attempt::Stale => {}
            }
        }
    }

    /// Takes the lock of `file` if it is free, and then makes sure that it is the lock of this name.
    fn lock(&self, file: File) -> io::Result<Attempt> {
        stage("lease.opened");
        if !try_flock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(Attempt::Held);
        }
        stage("lease.locked");
        if self.planted.is(LockFault::TrustedName) || self.is_named(&file)? {
            Ok(Attempt::Taken(file))
        } else {
            Ok(Attempt::Stale)
        }
    }

    /// True if the name still stands for `file`.
    fn is_named(&self, file: &File) -> io::Result<bool> {
        let ours = rustix::fs::fstat(file)?;
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn holder(&self) -> Option<Holder> {
        read_holder(&self.open(OFlags::RDONLY).ok()?)
    }

    /// False if a refusal may come from somebody who does not hold the lease: from a look at it
    /// ([`Lease::peek`]), or from a holder between the lock and its record.
    ///
    /// Such an instant passes by itself, so the caller asks again, but not for ever: a process that
    /// this one cannot see may hold it after all.
    fn is_certainly_held(&self) -> bool {
        self.holder()
            .is_some_and(|holder| holder.host != crate::lock::who::host() || is_running(holder.pid))
    }
}

/// True if `name` is one component of a path.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut record = Vec::new();
    let mut limited = file.take(RECORD_MAX_BYTES);
    limited.read_to_end(&mut record).ok()?;
    serde_json::from_slice(&record).ok()
}

/// Tries the lock once; false if somebody else has it.
fn try_flock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Releases the lock itself, not only our way to it: a child that is between fork and exec may
/// still have the file.
fn unlock(file: &File) {
    // It cannot fail on an open file; and if it did, closing the file would release the lock.
    drop(flock(file, FlockOperation::Unlock).map_err(io::Error::from));
}

/// A lock on an open file or directory: of the thing itself, whatever it is called.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Locks `file`, shared or alone; `key` names it in errors. The file should have been opened
    /// for this: a lock belongs to the open file, and two of them exclude each other in one process
    /// too.
    ///
    /// # Errors
    /// [`LockError::Busy`] or [`LockError::TimedOut`], without a holder: the file says nothing about
    /// who locked it. [`LockError::File`] if it cannot be locked; its path is `key`.
    ///
    /// # Panics
    /// In a debug build, if the thread holds a latch that must not be held across I/O.
    pub fn acquire(file: File, key: &str, shared: bool, wait: LockWait) -> Result<Self, LockError> {
        let operation = if shared {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        let outcome = poll(wait, || try_flock(&file, operation));
        let key = key.to_owned();
        match outcome {
            Ok(Polled::Taken) => Ok(Self { file }),
            Ok(Polled::Busy) => Err(LockError::Busy { key, holder: None }),
            Ok(Polled::TimedOut(waited_ms)) => Err(LockError::TimedOut {
                key,
                waited_ms,
                holder: None,
            }),
            Err(source) => Err(LockError::File {
                path: key.into(),
                source,
            }),
        }
    }

    /// The locked file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        unlock(&self.file);
    }
}

#[cfg(test)]
mod tests;
