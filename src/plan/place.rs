//! Where sandboxes keep their files: `BASE/<plan>/<life>.<token>.<resource>/`, owned by the store.
//!
//! An executor that was superseded, because its lock file was removed under it, is refused by the
//! journal, but only when it asks. It may be anywhere between two questions: about to remove what it
//! was told to remove, or about to make what it has announced. So what it removes and makes has names
//! that nobody else uses: no life of a plan shares a directory with another one, and no opening shares
//! one with another opening.

use crate::error::ParticipantError;
use crate::fs;
use crate::id::{Epoch, PlanId, ResourceName};
use crate::sandbox::{Outcome, Place};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// So many characters of its token tell one opening from another in the name of its place.
const TOKEN_IN_NAME: usize = 8;

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

    /// The place of a resource that is being opened, at `epoch`, in the given life of a plan. Makes
    /// nothing.
    pub(crate) fn fresh(
        &self,
        (plan, life): (&PlanId, u64),
        epoch: Epoch,
        name: &ResourceName,
    ) -> Place {
        let who = format!("{}\0{plan}\0{life}\0{epoch}\0{name}", self.store);
        let hex = blake3::hash(who.as_bytes()).to_hex();
        let token: String = hex.as_str().chars().take(32).collect();
        self.known((plan, life), &token, name)
    }

    /// The place of a resource that was opened under `token`.
    pub(crate) fn known(
        &self,
        (plan, life): (&PlanId, u64),
        token: &str,
        name: &ResourceName,
    ) -> Place {
        let opening: String = token.chars().take(TOKEN_IN_NAME).collect();
        let dir = format!("{life}.{opening}.{}", name.file_name());
        Place {
            dir: self.plan_dir(plan).join(dir),
            token: token.to_owned(),
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

    /// Removes everything of `plan` up to its given life, which is over. Idempotent.
    ///
    /// What a later life has stays: who asks may have been superseded without knowing it.
    pub(crate) fn remove_plan(&self, plan: &PlanId, life: u64) -> Outcome<()> {
        let path = self.plan_dir(plan);
        let removed = fs::Dir::open(&self.base)
            .and_then(|base| remove_lives(&base, OsStr::new(&plan.file_name()), life));
        match removed {
            // It is gone already, or there never was a place.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| {
                ParticipantError::io("could not remove the sandbox's files", &path, error)
            }),
        }
    }

    /// Removes the base with all that is in it: for a manager that lives in memory only.
    pub(crate) fn remove_all(&self) -> Outcome<()> {
        match (self.base.parent(), self.base.file_name()) {
            (Some(parent), Some(name)) => remove_below(parent, name),
            _ => Ok(()),
        }
    }
}

/// Removes what is in the directory `name` of a plan, but for lives after `life`, and the directory
/// itself if nothing of them is there.
fn remove_lives(base: &fs::Dir, name: &OsStr, life: u64) -> io::Result<()> {
    let Some(found) = base.stat_at(name)? else {
        return Ok(());
    };
    if found.kind != fs::FileKind::Directory {
        return base.remove_file(name);
    }
    // Somebody may have taken its permissions away.
    base.set_mode_at(name, 0o700)?;
    let dir = base.child(name)?;
    for (name, _) in dir.entries()?.iter() {
        if life_of(name) <= Some(life) {
            fs::remove_tree(&dir, name, &mut |_| Ok(()))?;
        }
    }
    match base.remove_dir(name) {
        // A later life is there.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

/// The life that a directory of a place belongs to, if it is one.
fn life_of(name: &OsStr) -> Option<u64> {
    let (life, _) = name.to_str()?.split_once('.')?;
    life.parse().ok()
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
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
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
        assert_eq!(places.store(), "store");
        let (plan, name) = names();
        let place = places.fresh((&plan, 1), Epoch(7), &name);
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
        places.remove_plan(&plan, 1).expect("is removed");
        assert!(!places.plan_dir(&plan).exists() && places.base().exists());
        places.remove_all().expect("is removed");
        assert!(!places.base().exists() && home.path().exists());
        places.remove_all().expect("there is nothing");
    }

    #[test]
    fn what_was_put_in_the_way_of_a_plan_that_is_over_is_removed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let home = tempfile::tempdir().expect("a temporary directory");
        let places = Places::new(home.path().join("plans"), "store".to_owned());
        let (plan, name) = names();
        let place = places.fresh((&plan, 1), Epoch(7), &name);
        places.make(&place).expect("is made");
        let dir = places.plan_dir(&plan);
        let none = std::fs::Permissions::from_mode(0o0);
        std::fs::set_permissions(&dir, none).expect("is ours");
        places.remove_plan(&plan, 1).expect("is removed");
        assert!(!places.has_plan(&plan));
        symlink(home.path(), &dir).expect("is writable");
        places.remove_plan(&plan, 1).expect("is removed");
        assert!(!places.has_plan(&plan) && home.path().exists());
        places.remove_plan(&plan, 1).expect("there is nothing");
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_not_taken_for_removed() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let places = Places::new(home.path().to_owned(), "store".to_owned());
        let (plan, name) = names();
        std::fs::File::create(places.plan_dir(&plan)).expect("is writable");
        let place = places.fresh((&plan, 1), Epoch(7), &name);
        let error = places.remove(&place).expect_err("a file is in the way");
        assert!(error.to_string().contains("could not remove"), "{error}");
        assert!(places.make(&place).is_err());
        #[cfg(debug_assertions)]
        {
            places.remove_plan(&plan, 1).expect("a file is removed");
            places.make(&place).expect("is made");
            places.remove(&place).expect("is removed");
            let faults = fs::faults::Faults::below(home.path()).expect("is there");
            // The first call is for the permissions.
            faults.strike(fs::faults::Wrong::Once(5), 2);
            assert!(places.remove_plan(&plan, 1).is_err());
            assert!(places.has_plan(&plan));
            places.remove_plan(&plan, 1).expect("is removed");
            std::fs::File::create(places.plan_dir(&plan)).expect("is writable");
        }
        let below_a_file = Places::new(places.plan_dir(&plan), "store".to_owned());
        let error = below_a_file.remove_plan(&plan, 1);
        let error = error.expect_err("it is no directory");
        assert!(error.to_string().contains("could not remove"), "{error}");
    }

    #[test]
    fn every_opening_in_every_life_of_a_plan_and_every_store_has_tokens_of_its_own() {
        let (plan, name) = names();
        let token = |store: &str, life, epoch| {
            let places = Places::new(PathBuf::from("/nowhere"), store.to_owned());
            let fresh = places.fresh((&plan, life), Epoch(epoch), &name);
            let known = places.known((&plan, life), &fresh.token, &name);
            assert_eq!(fresh.dir, known.dir);
            (fresh.dir, fresh.token)
        };
        assert_eq!(token("a", 1, 1), token("a", 1, 1));
        for other in [token("a", 2, 1), token("b", 1, 1), token("a", 1, 2)] {
            let first = token("a", 1, 1);
            assert!(first.0 != other.0 && first.1 != other.1);
        }
    }

    #[test]
    fn what_a_later_life_of_the_plan_has_is_not_removed() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let places = Places::new(home.path().join("plans"), "store".to_owned());
        let (plan, name) = names();
        let place = |life| places.fresh((&plan, life), Epoch(7), &name);
        let lives = [9, 10, 11].map(place);
        for place in &lives {
            places.make(place).expect("is made");
        }
        std::fs::create_dir(places.plan_dir(&plan).join("stray")).expect("is writable");
        places.remove_plan(&plan, 10).expect("is removed");
        assert_eq!(
            lives.each_ref().map(|place| place.dir.exists()),
            [false, false, true]
        );
        assert!(!places.plan_dir(&plan).join("stray").exists());
        places.remove_plan(&plan, 11).expect("is removed");
        assert!(!places.has_plan(&plan));
    }
}
