//! The resource locks of one commit, held from validation to the end of apply.
//!
//! First the keyed mutexes of this process, then the `flock`s on the real things, which other
//! stores see too; both in the order of keys, so that two plans over the same two resources cannot
//! wait for each other in a circle.

use super::Services;
use crate::error::{LockError, ParticipantError};
use crate::id::{PlanId, ResourceKey, ResourceName};
use crate::lock::{FileLock, KeyGuard, LockWait};
use crate::sandbox::{Guard, Outcome};
use std::collections::BTreeMap;

/// Held resource locks. The files are let go before the mutexes.
#[derive(Debug)]
pub(super) struct ResourceLocks {
    _files: Vec<FileLock>,
    _mutexes: Vec<KeyGuard<ResourceKey>>,
}

/// Why the resource locks were not taken.
#[derive(Debug)]
pub(super) enum GuardFailure {
    Lock(LockError),
    Participant(ResourceName, ParticipantError),
}

impl ResourceLocks {
    /// Locks what `guards` of every participant name. The guard of the plan is the proof that the
    /// plan lock, which comes before, is held.
    pub(super) fn take(
        services: &Services,
        plan: &KeyGuard<PlanId>,
        guards: Vec<(ResourceName, Outcome<Vec<Guard>>)>,
        wait: LockWait,
    ) -> Result<Self, GuardFailure> {
        let mut by_key: BTreeMap<ResourceKey, Guard> = BTreeMap::new();
        for (name, outcome) in guards {
            let guards = outcome.map_err(|error| GuardFailure::Participant(name, error))?;
            for guard in guards {
                let keep = by_key.get(&guard.key).is_some_and(|known| !known.shared);
                if !keep {
                    by_key.insert(guard.key.clone(), guard);
                }
            }
        }
        let mut mutexes = Vec::new();
        for guard in by_key.values().filter(|guard| !guard.shared) {
            let mutex = services.resources.lock(&guard.key, wait, "commit");
            mutexes.push(mutex.map_err(GuardFailure::Lock)?);
        }
        let mut files = Vec::new();
        for (key, guard) in by_key {
            let Some(file) = guard.file else { continue };
            let lock = FileLock::acquire(file, key.as_str(), guard.shared, wait);
            files.push(lock.map_err(GuardFailure::Lock)?);
        }
        tracing::trace!(plan.id = %plan.key(), locks = files.len(), "resource.lock.hold");
        Ok(Self {
            _files: files,
            _mutexes: mutexes,
        })
    }
}
