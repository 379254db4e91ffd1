//! Who is alive: one lease for each job that somebody owns.

use crate::error::{Holder, LockError};
use crate::fs::Dir;
use crate::id::JobId;
use crate::lock::{Lease, LockWait, Polled, identify_holder, poll};
use crate::sync::{Mutex, Rank};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The leases of a store.
#[derive(Debug, Clone)]
pub(super) enum Leases {
    /// One lock file for each, in this directory: among processes.
    Files(PathBuf),
    /// A list in memory: the store dies with this process anyway.
    List(Arc<Mutex<BTreeMap<JobId, Holder>>>),
}

/// A job that is owned; dropping it lets the job go.
#[derive(Debug)]
#[must_use = "the job is let go when this is dropped"]
pub(super) struct Owned {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(Option<Lease>),
    Listed(JobId, Arc<Mutex<BTreeMap<JobId, Holder>>>),
}

impl Leases {
    /// Leases that live in memory.
    pub(super) fn list() -> Self {
        let list = Mutex::new(Rank::Leaf, "owners of jobs", BTreeMap::new());
        Self::List(Arc::new(list))
    }

    /// Takes the lease of `job` for `operation`, or says who has it.
    ///
    /// # Errors
    /// [`LockError::Busy`] or [`LockError::TimedOut`] with the owner, as far as is known;
    /// [`LockError::File`].
    pub(super) fn take(
        &self,
        job: &JobId,
        (operation, wait): (&'static str, LockWait),
    ) -> Result<(Owned, Holder), LockError> {
        let me = identify_holder(job.as_str(), operation);
        let kind = match self {
            Self::Files(directory) => {
                let lease = Lease::acquire(directory, &job.file_name(), &me, wait)?;
                Kind::File(Some(lease))
            }
            Self::List(list) => {
                enlist(list, job, (&me, wait))?;
                Kind::Listed(job.clone(), Arc::clone(list))
            }
        };
        Ok((Owned { kind }, me))
    }

    /// Removes the lease files of the dead, but for those named in `keep`. Who is taking one at this
    /// moment looks at the name again, and makes another.
    pub(super) fn sweep(&self, keep: &BTreeSet<String>) {
        let Self::Files(directory) = self else {
            return;
        };
        let names = Dir::open(directory).and_then(|dir| dir.entries());
        let Ok(names) = names else { return };
        for (name, _) in names.iter() {
            let Some(name) = name.to_str().filter(|name| !keep.contains(*name)) else {
                continue;
            };
            let me = identify_holder(name, "sweep jobs");
            if let Ok(lease) = Lease::acquire(directory, name, &me, LockWait::Try) {
                lease.retire();
            }
        }
    }

    /// True if somebody who is alive has the lease of `job`.
    pub(super) fn is_taken(&self, job: &JobId) -> bool {
        match self {
            Self::Files(directory) => Lease::peek(directory, &job.file_name()).is_some(),
            Self::List(list) => list.lock().contains_key(job),
        }
    }
}

/// Writes `me` into the list as the owner of `job`.
fn enlist(
    list: &Mutex<BTreeMap<JobId, Holder>>,
    job: &JobId,
    (me, wait): (&Holder, LockWait),
) -> Result<(), LockError> {
    let mut found = None;
    let outcome = poll(wait, || {
        let mut owners = list.lock();
        found = owners.get(job).cloned().map(Box::new);
        if found.is_none() {
            owners.insert(job.clone(), me.clone());
        }
        Ok(found.is_none())
    });
    let key = job.as_str().to_owned();
    match outcome {
        Ok(Polled::Taken) => Ok(()),
        Ok(Polled::TimedOut(waited_ms)) => Err(LockError::TimedOut {
            key,
            waited_ms,
            holder: found,
        }),
        Ok(Polled::Busy) | Err(_) => Err(LockError::Busy { key, holder: found }),
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        match &mut self.kind {
            // The file goes too: nothing stays of a job that is over.
            Kind::File(lease) => {
                if let Some(lease) = lease.take() {
                    lease.retire();
                }
            }
            Kind::Listed(job, list) => drop(list.lock().remove(job)),
        }
    }
}
