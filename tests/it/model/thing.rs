//! A real thing of one kind, and a second one that is kept as the first should be.

use super::plain::Held;
use planbox::conformance::{Make, Spot, Subject};
use std::collections::BTreeMap;
use std::path::Path;

/// What went wrong.
pub(super) type Run<T = ()> = Result<T, String>;

/// Fails with `what` unless it `holds`.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Run {
    if holds { Ok(()) } else { Err(what()) }
}

/// A kind of participant that stories are played on.
pub(super) struct Cast<'a> {
    pub(super) name: &'static str,
    pub(super) make: &'a Make<'a>,
}

/// One real thing, and a second one that the model's foreign writer keeps as the first should be.
pub(super) struct Thing {
    pub(super) subject: Box<dyn Subject>,
    twin: Box<dyn Subject>,
    twin_versions: BTreeMap<Spot, u32>,
    outside: String,
}

fn outside(subject: &dyn Subject) -> Run<String> {
    let around = subject.surroundings().map_err(|error| error.to_string())?;
    let left = subject.leftovers().map_err(|error| error.to_string())?;
    Ok(format!("{around}\n{left}"))
}

impl Thing {
    /// A fresh one, with its twin.
    pub(super) fn make(cast: &Cast<'_>, home: &Path) -> Run<Self> {
        let lay_out = |role: &str| {
            let home = home.join(format!("{}-{role}", cast.name));
            std::fs::create_dir(&home).map_err(|error| error.to_string())?;
            (cast.make)(&home).map_err(|error| error.to_string())
        };
        let (subject, twin) = (lay_out("real")?, lay_out("twin")?);
        let outside = outside(&*subject)?;
        Ok(Self {
            twin_versions: Held::new(subject.spots()).versions,
            subject,
            twin,
            outside,
        })
    }

    /// It is sound, and around it all is as it was at the start.
    pub(super) fn is_clean_outside(&self) -> Run {
        let sound = self.subject.examine();
        sound.map_err(|error| format!("{:?}: {error}", self.subject))?;
        let now = outside(&*self.subject)?;
        ensure(now == self.outside, || {
            format!("outside: {now} instead of {}", self.outside)
        })
    }

    /// What the manifest is with these versions: that of the twin, once it has them.
    pub(super) fn wanted(&mut self, versions: &BTreeMap<Spot, u32>) -> Run<String> {
        for (spot, version) in versions {
            if self.twin_versions.insert(*spot, *version) != Some(*version) {
                let meddled = self.twin.meddle(*spot, *version);
                meddled.map_err(|error| error.to_string())?;
            }
        }
        self.twin.manifest().map_err(|error| error.to_string())
    }
}
