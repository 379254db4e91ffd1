//! What goes wrong while callers run together, drawn from the seed.
//!
//! Either participants fail or panic, each at the n-th time that it is asked for a step, or one call on
//! the files of one plan or of one real thing fails, the n-th of those. So a fault is found by the same
//! plan or thing again, whatever the schedule, and never by another one. Never both: a take-back that
//! a participant fails while another one cannot undo its files would leave a real thing in doubt, and
//! who looks at that meanwhile sees what no order of calls explains.

use super::sequential::{Ask, PLANS, Told, VALUE};
use crate::support::seeds::Dice;
use planbox::faults::{Faults, Wrong};
use planbox::sandbox::Outcome;
use planbox::{Fault, ParticipantError};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps of a commit that fail before anything is decided, and those that are taken back.
const EARLY: [&str; 3] = ["seal", "guards", "prepare"];
const LATE: [&str; 2] = ["apply", "applied"];

/// One step that goes wrong.
#[derive(Debug, Clone, Copy)]
struct Failing {
    plan: usize,
    step: &'static str,
    /// The how many-th time that it is asked for.
    nth: u64,
    panics: bool,
}

/// What is planted in one history.
#[derive(Debug, Default)]
pub(super) struct Planted {
    failing: Vec<Failing>,
    /// Of a plan (true) or of a real thing, its number, what happens, and at which call.
    files: Option<(bool, usize, Wrong, u64)>,
    asked: Mutex<BTreeMap<(usize, String), u64>>,
    fired: Mutex<Vec<(usize, &'static str)>>,
    healed: AtomicBool,
}

impl Planted {
    /// What the seed of `dice` says.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut planted = Self::default();
        if dice.below(3) == 0 {
            let of_plan = dice.below(2) == 0;
            let number = dice.below(if of_plan { PLANS } else { VALUE } as u64);
            let errno = *dice.pick(&[Errno::IO, Errno::NOSPC, Errno::DQUOT]);
            let nth = 1 + dice.below(if of_plan { 60 } else { 12 });
            let wrong = Wrong::Once(errno.raw_os_error());
            planted.files = Some((of_plan, usize::try_from(number).unwrap(), wrong, nth));
            return planted;
        }
        for plan in 0..PLANS {
            let mut fail = |step, nth, dice: &mut Dice| {
                let panics = dice.below(3) == 0;
                planted.failing.push(Failing {
                    plan,
                    step,
                    nth,
                    panics,
                });
            };
            if dice.below(2) == 0 {
                let step = *dice.pick(&EARLY);
                fail(step, 1 + dice.below(2), dice);
            }
            if dice.below(2) == 0 {
                let step = *dice.pick(&LATE);
                fail(step, 1, dice);
                if dice.below(2) == 0 {
                    fail("take_back", 1, dice);
                }
            }
            if dice.below(4) == 0 {
                fail("discard", 1, dice);
            }
        }
        planted
    }

    /// True if something may go wrong.
    pub(super) fn is_any(&self) -> bool {
        !self.failing.is_empty() || self.files.is_some()
    }

    /// A step of the participant `id`, "beside-" and the number of its plan.
    pub(super) fn pass(&self, step: &str, id: &str) -> Outcome<()> {
        let number = id
            .strip_prefix("beside-")
            .and_then(|number| number.parse().ok());
        let Some(plan) = number.filter(|_| !self.healed.load(Ordering::SeqCst)) else {
            return Ok(());
        };
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry((plan, step.to_owned())).or_default();
        *count += 1;
        let is_it = |one: &&Failing| (one.plan, one.step, one.nth) == (plan, step, *count);
        let Some(failing) = self.failing.iter().find(is_it) else {
            return Ok(());
        };
        drop(asked);
        self.fired.lock().unwrap().push((plan, failing.step));
        let text = format!("planted in {step}");
        if failing.panics {
            // Not through the hook: nobody wants the backtraces.
            std::panic::resume_unwind(Box::new(text));
        }
        Err(ParticipantError::new(Fault::Denied, text))
    }

    /// Plants what is to strike files, once they are there.
    pub(super) fn strike(&self, home: &Path) -> Option<Faults> {
        let (of_plan, number, wrong, nth) = self.files?;
        let below = if of_plan {
            let plans = home.join("store/plans");
            plans.join(super::together::plan(number).file_name())
        } else {
            home.join(format!("real-{number}"))
        };
        let faults = Faults::below(&below).unwrap();
        faults.strike(wrong, nth);
        Some(faults)
    }

    /// From now on nothing fails.
    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// How many faults were met.
    pub(super) fn met(&self) -> usize {
        self.fired.lock().unwrap().len()
    }

    /// Every fault of a commit was told to one caller, as what it was, and nobody was told of one
    /// that was not there.
    pub(super) fn is_told(&self, told: &[(Ask, Told)], struck: bool) -> Result<(), String> {
        let count = |wanted: Told, plan: Option<usize>| {
            let is_it = |(ask, told): &&(Ask, Told)| {
                *told == wanted && plan.is_none_or(|plan| *ask == Ask::Commit(plan))
            };
            told.iter().filter(is_it).count()
        };
        if self.files.is_some() {
            let failures = [Told::Failed, Told::HalfGone, Told::InDoubt];
            let all: usize = failures.into_iter().map(|one| count(one, None)).sum();
            let right = all <= usize::from(struck);
            return right
                .then_some(())
                .ok_or_else(|| format!("{all} failures of one call that was struck: {struck}"));
        }
        let fired = self.fired.lock().unwrap();
        for plan in 0..PLANS {
            let met = |steps: &[&str]| {
                let is_it = |(whose, step): &&(usize, &str)| *whose == plan && steps.contains(step);
                fired.iter().filter(is_it).count()
            };
            let (early, late, back) = (met(&EARLY), met(&LATE), met(&["take_back"]));
            let failed = count(Told::Failed, Some(plan));
            let doubtful = count(Told::InDoubt, Some(plan));
            if (failed, doubtful) != (early + late - back, back) {
                return Err(format!(
                    "of plan {plan} {failed} commits failed and {doubtful} are in doubt: {fired:?}"
                ));
            }
        }
        Ok(())
    }
}

/// True if it is a failure that was planted.
pub(super) fn is_planted(error: &ParticipantError) -> bool {
    matches!(
        error.fault,
        Fault::Denied | Fault::Panicked | Fault::Io | Fault::NoSpace
    )
}

/// Some of the questions are to end a doubt instead.
pub(super) fn with_recoveries(asks: &mut [Vec<Ask>], dice: &mut Dice) {
    for ask in asks.iter_mut().flatten() {
        let (Ask::Open(plan, _) | Ask::Commit(plan) | Ask::RollBack(plan) | Ask::Status(plan)) =
            *ask
        else {
            continue;
        };
        if dice.below(6) == 0 {
            *ask = Ask::Recover(plan);
        }
    }
}
