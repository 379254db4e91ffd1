//! The same bodies on real threads. They are brought into a schedule by stops at named stages
//! ([`crate::case::Stop`]), and at their votes by [`crate::world::meet`].

use crate::case::{Explored, Stop, Verdict, Wrong};
use std::any::Any;
use std::cell::Cell;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex};
use std::thread::{ThreadId, current};
use std::time::Duration;

/// How long a thread stays at a stop if nobody comes: who is alone goes on alone.
const STOP: Duration = Duration::from_millis(50);

/// Says nothing while a control runs.
static QUIET: AtomicBool = AtomicBool::new(false);

/// The stops of the present run that nobody made yet, and who came by since it began.
static PLAY: (Mutex<Play>, Condvar) = (
    Mutex::new(Play {
        stops: &[],
        arrivals: Vec::new(),
    }),
    Condvar::new(),
);

#[derive(Debug)]
struct Play {
    stops: &'static [Stop],
    arrivals: Vec<(String, ThreadId)>,
}

thread_local! {
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn install_reports() {
    if INSTALLED.replace(true) {
        return;
    }
    planbox::sync::on_stage(arrive);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !QUIET.load(Ordering::Relaxed) {
            report(panic);
        }
    }));
}

/// A thread comes to a stage.
fn arrive(name: &str) {
    let (play, came) = &PLAY;
    let mut play = play.lock().unwrap();
    if play.stops.is_empty() && play.arrivals.is_empty() {
        return;
    }
    let me = current().id();
    play.arrivals.push((name.to_owned(), me));
    came.notify_all();
    let Some((stop, later)) = play.stops.split_first() else {
        return;
    };
    if stop.at != name {
        return;
    }
    play.stops = later;
    if stop.until.is_empty() {
        return;
    }
    let mine = play.arrivals.len();
    let alone = |play: &mut Play| {
        let others = play.arrivals.iter().skip(mine);
        !others
            .clone()
            .any(|(stage, who)| stage == stop.until && *who != me)
    };
    drop(came.wait_timeout_while(play, STOP, alone).unwrap());
}

/// Runs `body` up to `rounds` times with `stops`, until something goes wrong. Who has not ended after
/// `patience` never will: that is a deadlock, and its threads stay behind.
pub(crate) fn repeat(
    body: fn() -> Verdict,
    (rounds, patience): (usize, Duration),
    stops: &'static [Stop],
    quiet: bool,
) -> Explored {
    QUIET.store(quiet, Ordering::Relaxed);
    let mut ran = 0;
    let mut wrong = None;
    while ran < rounds && wrong.is_none() {
        ran += 1;
        let start = ("start".to_owned(), current().id());
        *PLAY.0.lock().unwrap() = Play {
            stops,
            arrivals: vec![start],
        };
        wrong = once(body, patience);
    }
    QUIET.store(false, Ordering::Relaxed);
    Explored {
        schedules: ran,
        exhausted: false,
        wrong,
    }
}

fn once(body: fn() -> Verdict, patience: Duration) -> Option<Wrong> {
    let (tell, told) = channel();
    let running = std::thread::spawn(move || {
        let outcome = match catch_unwind(|| crate::world::to_the_end(body)) {
            Ok(verdict) => verdict.err(),
            Err(panic) => Some(classify(panic.as_ref())),
        };
        drop(tell.send(outcome));
    });
    match told.recv_timeout(patience) {
        Ok(outcome) => {
            running.join().unwrap();
            outcome
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(Wrong {
            kind: "deadlock",
            text: format!("it has not ended after {patience:?}"),
        }),
    }
}

fn classify(panic: &(dyn Any + Send)) -> Wrong {
    if let Some(wrong) = panic.downcast_ref::<Wrong>() {
        return wrong.clone();
    }
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
