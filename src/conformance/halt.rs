//! A crash in the middle of a step: the step's own report never returns.

use crate::sandbox::{Outcome, Work};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The payload of an unwinding that is meant.
struct Halt;

/// Runs `f` until it reports its step number `step`, where it is unwound; answers nothing then. One
/// that reports fewer steps runs to its end.
pub(super) fn halted_at<T>(
    step: u64,
    f: impl FnOnce(&Work<'_>) -> Outcome<T>,
) -> Option<Outcome<T>> {
    let told = AtomicU64::new(0);
    let never = AtomicBool::new(false);
    let observer = |_| {
        if told.fetch_add(1, Ordering::Relaxed) + 1 == step {
            // No panic: no hook is called and nothing is printed.
            resume_unwind(Box::new(Halt));
        }
    };
    match catch_unwind(AssertUnwindSafe(|| f(&Work::new(&observer, &never)))) {
        Ok(outcome) => Some(outcome),
        Err(payload) if payload.is::<Halt>() => None,
        Err(payload) => resume_unwind(payload),
    }
}
