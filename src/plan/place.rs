//! Where sandboxes keep their files: `BASE/<plan>/<resource>/`, owned by the store.

use crate::error::ParticipantError;
use crate::fs;
use crate::id::{PlanId, ResourceName};
use crate::sandbox::{Outcome, Place};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The directory below which every sandbox has a place of its own.
#[derive(Debug)]
pub(crate) struct Places {
    base: PathBuf,
    /// Text that tells this store from every other store of the machine.
    store: String,
}

impl Places {
    pub(crate) fn new(base: PathBuf, store: String) -> Self {
        Self { base, store }
    }

    /// The directory below which all places are.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The text that tells the store from every other one.
    #[cfg(debug_assertions)]
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    fn plan_dir(&self, plan: &PlanId) -> PathBuf {
        self.base.join(plan.file_name())
    }

    /// The place of a resource in the given life of a plan. Makes nothing.
    pub(crate) fn of(&self, plan: &PlanId, generation: u64, name: &ResourceName) -> Place {
        let who = format!("{}\0{plan}\0{generation}\0{name}", self.store);
        let hex = blake3::hash(who.as_bytes()).to_hex();
        let token = hex.as_str().chars().take(32).collect();
        Place {
            dir: self.plan_dir(plan).join(name.file_name()),
            token,
            label: plan.to_string(),
        }
    }

    /// Makes the directory of `place`, empty and private.
    pub(crate) fn make(&self, place: &Place) -> Outcome<()> {
        self.remove(place)?;
        let made = fs::make_private_dirs(&place.dir);
        made.map(drop).map_err(|error| {
            ParticipantError::io("could not make the sandbox's directory", &place.dir, error)
        })
    }

    /// Removes the directory of `place` with all that is in it. Idempotent.
    pub(crate) fn remove(&self, place: &Place) -> Outcome<()> {
        debug_assert!(
            place.dir.starts_with(&self.base),
            "a place of another store"
        );
        let (Some(parent), Some(name)) = (place.dir.parent(), place.dir.file_name()) else {
            return Ok(());
        };
        remove_below(parent, name)
    }

    /// True if there is anything of `plan`. A power cut may bring back what was removed after the
    /// journal had forgotten it.
    pub(crate) fn has_plan(&self, plan: &PlanId) -> bool {
        let base = fs::Dir::open(&self.base);
        let found = base.and_then(|base| base.stat_at(OsStr::new(&plan.file_name())));
        found.is_ok_and(|found| found.is_some())
    }

    /// Removes everything of `plan`. Idempotent.
    pub(crate) fn remove_plan(&self, plan: &PlanId) -> Outcome<()> {
        remove_below(&self.base, OsStr::new(&plan.file_name()))
    }

    /// Removes the base with all that is in it: for a manager that lives in memory only.
    pub(crate) fn remove_all(&self) -> Outcome<()> {
        match (self.base.parent(), self.base.file_name()) {
            (Some(parent), Some(name)) => remove_below(parent, name),
            _ => Ok(()),
        }
    }
}

fn remove_below(parent: &Path, name: &OsStr) -> Outcome<()> {
    let failed = |error| {
        ParticipantError::io(
            "could not remove the sandbox's files",
            parent.join(name),
            error,
        )
    };
    match fs::Dir::open(parent) {
        Ok(dir) => fs::remove_tree(&dir, name, &mut |_| Ok(())).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
