//! Calling participants: one place where foreign code runs.
//!
//! A panic becomes [`Fault::Panicked`], so that the plan can abort in order; and while a participant
//! runs, its thread is marked, so that a call back into a manager is an error and not a deadlock.

use crate::error::{Fault, LockError, ParticipantError};
use crate::id::{PlanId, ResourceName};
use crate::sandbox::{Outcome, Sandbox};
use crate::sync::{thread, thread_local, witness};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// The plan whose participant is running on this thread.
    static INSIDE: RefCell<Option<PlanId>> = const { RefCell::new(None) };
}

/// Marks the thread for the time of one call.
struct Inside {
    before: Option<PlanId>,
}

impl Inside {
    fn enter(plan: &PlanId) -> Self {
        Self {
            before: INSIDE.with(|inside| inside.replace(Some(plan.clone()))),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.replace(self.before.take()));
    }
}

/// Refuses a call into a manager that comes from inside a participant.
///
/// A participant runs under the plan lock and the resource locks; taking any plan lock from there
/// would invert the lock order.
pub(crate) fn refuse_reentry() -> Result<(), LockError> {
    INSIDE.with(|inside| match &*inside.borrow() {
        None => Ok(()),
        Some(plan) => Err(LockError::Reentrant {
            key: plan.to_string(),
            operation: "a participant is running".to_owned(),
        }),
    })
}

/// Runs `f`, which calls a participant of `plan`.
#[track_caller]
pub(crate) fn call<T>(plan: &PlanId, f: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    witness::about_to_block("participant");
    let _inside = Inside::enter(plan);
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        tracing::error!(plan.id = %plan, panic = text, "a participant panicked");
        Err(ParticipantError::new(
            Fault::Panicked,
            format!("the participant panicked: {text}"),
        ))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// One participant to call.
pub(crate) type Seat<'a> = (&'a ResourceName, &'a mut (dyn Sandbox + 'static));

/// Runs `f` on every seat, side by side where more than one has files, and returns every outcome in
/// the order of the seats. All of them are run to their end, whatever the others do.
pub(crate) fn each<T: Send>(
    plan: &PlanId,
    seats: Vec<Seat<'_>>,
    f: &(dyn Fn(&ResourceName, &mut (dyn Sandbox + 'static)) -> Outcome<T> + Sync),
) -> Vec<(ResourceName, Outcome<T>)> {
    // A thread costs more than what a value in memory has to do.
    let with_files = seats.iter().filter(|(_, seat)| !seat.is_volatile());
    if with_files.count() < 2 {
        return seats
            .into_iter()
            .map(|(name, sandbox)| (name.clone(), call(plan, || f(name, sandbox))))
            .collect();
    }
    let lent = witness::lend();
    thread::scope(|scope| {
        let running: Vec<_> = seats
            .into_iter()
            .map(|(name, sandbox)| {
                let lent = &lent;
                let run = move || {
                    let _loan = lent.hold();
                    call(plan, || f(name, sandbox))
                };
                (name.clone(), scope.spawn(run))
            })
            .collect();
        running
            .into_iter()
            .map(|(name, thread)| {
                let outcome = thread.join().unwrap_or_else(|panic| {
                    let text = panic_text(panic.as_ref());
                    Err(ParticipantError::new(Fault::Panicked, text.to_owned()))
                });
                (name, outcome)
            })
            .collect()
    })
}
