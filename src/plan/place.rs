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

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (PlanId, ResourceName) {
        let plan = PlanId::new("p").expect("printable");
        (plan, ResourceName::new("r").expect("printable"))
    }

    #[test]
    fn what_was_made_is_removed_and_removing_it_again_is_nothing() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let places = Places::new(home.path().join("plans"), "store".to_owned());
        let (plan, name) = names();
        let place = places.of(&plan, 1, &name);
        places.remove(&place).expect("there is nothing");
        assert!(!places.has_plan(&plan));
        for _ in 0..2 {
            places.make(&place).expect("is made");
            let rest = std::fs::read_dir(&place.dir).expect("is there");
            assert_eq!(rest.count(), 0, "made empty");
            std::fs::create_dir(place.dir.join("work")).expect("is writable");
        }
        places.remove(&place).expect("is removed");
        assert!(!place.dir.exists() && places.plan_dir(&plan).exists());
        assert!(places.has_plan(&plan));
        places.remove_plan(&plan).expect("is removed");
        assert!(!places.plan_dir(&plan).exists() && places.base().exists());
        places.remove_all().expect("is removed");
        assert!(!places.base().exists() && home.path().exists());
        places.remove_all().expect("there is nothing");
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_not_taken_for_removed() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let places = Places::new(home.path().to_owned(), "store".to_owned());
        let (plan, name) = names();
        std::fs::File::create(places.plan_dir(&plan)).expect("is writable");
        let place = places.of(&plan, 1, &name);
        let error = places.remove(&place).expect_err("a file is in the way");
        assert!(error.to_string().contains("could not remove"), "{error}");
        assert!(places.make(&place).is_err());
    }

    #[test]
    fn every_life_of_a_plan_and_every_store_has_tokens_of_its_own() {
        let (plan, name) = names();
        let token = |store: &str, generation| {
            let places = Places::new(PathBuf::from("/nowhere"), store.to_owned());
            places.of(&plan, generation, &name).token
        };
        assert_eq!(token("a", 1), token("a", 1));
        assert_ne!(token("a", 1), token("a", 2));
        assert_ne!(token("a", 1), token("b", 1));
    }
}
