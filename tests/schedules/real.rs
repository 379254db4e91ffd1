//! The same bodies on real threads, brought together at a named place ([`crate::world::meet`]).

use crate::case::{Explored, Verdict, Wrong};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Says nothing while a control runs.
static QUIET: AtomicBool = AtomicBool::new(false);

thread_local! {
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn install_reports() {
    if INSTALLED.replace(true) {
        return;
    }
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !QUIET.load(Ordering::Relaxed) {
            report(panic);
        }
    }));
}

/// Runs `body` up to `rounds` times, until something goes wrong.
pub(crate) fn repeat(body: fn() -> Verdict, rounds: usize, quiet: bool) -> Explored {
    QUIET.store(quiet, Ordering::Relaxed);
    let mut ran = 0;
    let mut wrong = None;
    while ran < rounds && wrong.is_none() {
        ran += 1;
        wrong = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(verdict) => verdict.err(),
            Err(panic) => Some(classify(panic.as_ref())),
        };
    }
    QUIET.store(false, Ordering::Relaxed);
    Explored {
        schedules: ran,
        exhausted: false,
        wrong,
    }
}

fn classify(panic: &(dyn Any + Send)) -> Wrong {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied())
        .unwrap_or("a panic without a message");
    Wrong {
        kind: crate::kind_of(text),
        text: text.to_owned(),
    }
}
