//! The example of a model router, under load and with faults; the reported algorithm as a control.

use crate::support::child;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[path = "../../docs/examples/router/app/mod.rs"]
mod app;

use app::Host;
use app::load::{Counted, Size, put};

/// Between two arguments of a router that runs in a child process.
const BETWEEN: &str = "\u{1f}";

/// A small version of what the example does by the million.
const SIZE: Size = Size {
    answers: 1_600,
    rounds: 18,
    clients: 8,
    across: 100,
    rate: 0,
    every: Duration::ZERO,
};

/// The test that children run: a router; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, _)) = child::task() else {
        return;
    };
    let arguments: Vec<String> = task.split(BETWEEN).map(str::to_owned).collect();
    app::run(&arguments, &host()).unwrap();
}

fn host() -> Host {
    Host::new(|arguments| {
        let task = arguments.join(BETWEEN);
        Ok(child::command("router::child_entry", &task, Path::new("/")))
    })
}

fn counted(broken: bool) -> Counted {
    let counted = put(&SIZE, &host(), broken).unwrap();
    println!("{counted:?}");
    assert_eq!(count(&counted.failed), 0, "every request was answered");
    assert_eq!(count(&counted.answers), SIZE.answers);
    assert_eq!(count(&counted.held), SIZE.answers / SIZE.across);
    assert!(count(&counted.activations) > 0);
    counted
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn no_answer_is_mixed_and_row_and_memory_agree_after_every_fault() {
    let counted = counted(false);
    assert_eq!(count(&counted.mixed), 0);
    assert_eq!(counted.rounds.apart(), 0);
    let by_name = |wanted: &str| {
        let mut kinds = counted.rounds.kinds.values();
        kinds.find(|(name, _)| *name == wanted).unwrap().1
    };
    for worked in ["nothing", "the other router activates"] {
        assert_eq!(by_name(worked), [2, 2, 0], "{worked}");
    }
    for refused in [
        "the artefact does not load",
        "the row is refused",
        "the row changes under the plan",
        "the database is locked",
    ] {
        assert_eq!(by_name(refused), [2, 0, 0], "{refused}");
    }
}

#[test]
fn negative_control_the_reported_router_mixes_and_comes_apart() {
    let counted = counted(true);
    assert!(count(&counted.mixed) > 0);
    assert!(counted.rounds.apart() > 0);
}
