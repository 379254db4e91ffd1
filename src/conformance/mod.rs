//! What every participant must do, as one body of tests that every participant passes.
//!
//! The built-in kinds pass it in this repository; a participant of your own passes it in yours:
//! implement [`Subject`] for one real thing of its kind, and let [`conformance_tests!`] make one
//! `#[test]` per rule, or call [`run`] and look at the [`Report`]. `docs/participants.md` shows
//! both on a worked example.
//!
//! Each rule makes real things of its own, works through the traits of [`sandbox`](crate::sandbox)
//! as a plan would, and compares what it finds with a *twin*: a second real thing on which a
//! foreign writer made the same change. It answers with what it saw and never panics itself.
//!
//! # How a crash is played
//! A sandbox is dropped without any call and opened again from its record: from the one it had when
//! it was opened (which is what the journal has during a commit) and from its latest one. A crash
//! in the middle of `apply` or `take_back` is an unwinding out of
//! [`Work::step`](crate::sandbox::Work::step); a participant that reports steps can be stopped at
//! each of them. That is less than a kill: destructors run. The batteries that kill processes are
//! described in `docs/testing.md`.
//!
//! # The rules
//! [`RULES`] is the numbered list, [`Rule::sentence`] what each of them asks.
//!
//! [`conformance_tests!`]: crate::conformance_tests

use crate::sandbox::{Kind, Resource};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

mod halt;
mod partner;
mod report;
mod rig;
mod rules;
mod scratch;
mod stop;
mod tests_macro;

pub use report::{Checked, Report, Rule, Verdict, assert_rule, check, run};
pub use rules::RULES;

/// The outcome of what a subject is asked to do: any error will do, its text is shown.
pub type Tried<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Makes a fresh real thing in the directory given, which is empty, and answers with its subject.
///
/// Called several times in one rule, with another directory each time; two things made this way
/// must have the same [`manifest`](Subject::manifest).
pub type Make<'a> = dyn Fn(&Path) -> Tried<Box<dyn Subject>> + Sync + 'a;

/// A place inside the real thing: a file, a row, a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    /// The first.
    A,
    /// The second.
    B,
    /// The third.
    C,
}

impl Spot {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// `a`, `b` or `c`: for names of files, keys and the like.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
        }
    }
}

/// The private view of a plan, as a subject needs it to work in it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Where the plan works, if the view has a path.
    pub path: Option<&'a Path>,
    /// The token of the sandbox: how a view without a path is found.
    pub token: &'a str,
}

/// One real thing with the participant over it, and everything that a rule does to it.
///
/// At the start each spot is at version 0. What a version looks like inside the real thing is the
/// subject's business; two different versions must look different.
pub trait Subject: fmt::Debug + Send + Sync {
    /// A resource that means this real thing.
    fn resource(&self) -> Box<dyn Resource>;

    /// What opens its sandboxes again; none for a participant whose sandboxes die with the
    /// process.
    fn kind(&self) -> Option<Arc<dyn Kind>>;

    /// How many of [`Spot::ALL`] it has, at least 1. A thing that can only change as a whole has
    /// one, and the rules on disjoint changes do not apply to it.
    fn spots(&self) -> usize {
        Spot::ALL.len()
    }

    /// A text that a conflict at `spot` must name.
    fn name_of(&self, spot: Spot) -> String;

    /// The plan puts `spot` to `version`, inside its view.
    ///
    /// # Errors
    /// Anything, for example because the view is sealed.
    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()>;

    /// Somebody who knows nothing of plans puts `spot` of the real thing to `version`.
    ///
    /// # Errors
    /// Anything, for example because the real thing is promised to a plan. It must not wait.
    fn meddle(&self, spot: Spot, version: u32) -> Tried<()>;

    /// What a person would call the content of the real thing: equal if and only if the content
    /// is. No times, counters or ids that differ from one real thing to its twin.
    ///
    /// # Errors
    /// Anything, if it cannot be read.
    fn manifest(&self) -> Tried<String>;

    /// The same of the view: what the plan sees.
    ///
    /// # Errors
    /// Anything, if it cannot be read.
    fn seen(&self, view: View<'_>) -> Tried<String>;

    /// What lies around the real thing and is no business of the plan's: never the same text again
    /// once a neighbour was touched.
    ///
    /// # Errors
    /// Anything, if it cannot be read.
    fn surroundings(&self) -> Tried<String> {
        Ok(String::new())
    }

    /// What the participant itself keeps outside of the [`Place`](crate::sandbox::Place): staging
    /// beside the real thing, private references. As before the open once it is discarded.
    ///
    /// # Errors
    /// Anything, if it cannot be listed.
    fn leftovers(&self) -> Tried<String> {
        Ok(String::new())
    }

    /// A deep look at the real thing, by a tool that knows its format: `git fsck`,
    /// `PRAGMA integrity_check`.
    ///
    /// # Errors
    /// What is wrong with it.
    fn examine(&self) -> Tried<()> {
        Ok(())
    }
}
