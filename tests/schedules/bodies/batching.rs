//! The writer of the journal: one caller writes for all who wait.

use super::commit::ended;
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::world::plan;
use planbox::error::JournalError;
use planbox::sync::thread;
use planbox::{BatchedCounter, JournalFault, Upset};
use std::sync::atomic::{AtomicBool, Ordering};

/// Somebody comes while another one writes.
const MEANWHILE: Stop = stop("journal.begun", "comes");

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "journal: three callers",
        Depth::Preemptions(1),
        || callers(None),
        &[
            Control::new(
                "the hand-over of the turn",
                || callers(Some(JournalFault::NoHandOver)),
                &["deadlock"],
            )
            .stops(&[stop("journal.written", "comes")]),
            // Two writers do worse than meet. One hands its turn to a caller whose write is in the batch
            // of the other one: that caller is answered and gone, the turn lies unread in its channel, and
            // nobody takes the note away that somebody writes. Whoever queues next waits for ever, or
            // whoever closes. Or its channel is full, and who writes waits for ever to tell it.
            Control::new(
                "the note that somebody writes",
                || callers(Some(JournalFault::TwoWriters)),
                &["two writers", "order", "deadlock"],
            )
            .stops(&[stop("journal.begun", "journal.begun")]),
            Control::new(
                "the order of the queue",
                || callers(Some(JournalFault::LastFirst)),
                &["order"],
            )
            .stops(&[stop("journal.begun", "queued behind")]),
        ],
    ),
    Case::light(
        "journal: a flush fails, and nothing of it is there",
        Depth::Preemptions(1),
        || upset(Upset::LosesAt(2), None),
        &[Control::new(
            "the poison",
            || upset(Upset::LosesAt(2), Some(JournalFault::NoPoison)),
            &["not poisoned"],
        )],
    ),
    Case::light(
        "journal: a flush fails, and all of it is there",
        Depth::Preemptions(1),
        || upset(Upset::SilentAt(2), None),
        &[Control::new(
            "the poison",
            || upset(Upset::SilentAt(2), Some(JournalFault::NoPoison)),
            &["not poisoned"],
        )],
    ),
    Case::light(
        "journal: a write panics",
        Depth::Preemptions(1),
        || upset(Upset::PanicsAt(1), None),
        &[Control::new(
            "the hand-over after a panic",
            || upset(Upset::PanicsAt(1), Some(JournalFault::PanicKeepsTurn)),
            &["deadlock"],
        )
        .stops(&[MEANWHILE])],
    ),
    Case::light(
        "journal: writes, and it is closed",
        Depth::Preemptions(1),
        || closed(None),
        &[Control::new(
            "the wait for whoever writes",
            || closed(Some(JournalFault::HastyClose)),
            &["after close"],
        )
        .stops(&[
            stop("closes", "journal.begun"),
            stop("journal.begun", "closed"),
        ])],
    ),
];

fn counter(upset: Upset, fault: Option<JournalFault>) -> BatchedCounter {
    BatchedCounter::new(plan("counted"), upset, fault)
}

/// Three that write twice each; whoever finds nobody writing writes for those who come meanwhile:
///
/// ```text
/// one      queued: nobody writes ---- its own ---- the turn goes to other -- queued again ...
/// other              queued ---------------------- other and third at once ---- ...
/// third                   queued ----------------- told by other
///          one writes at a time, who was queued first is written first, nobody waits for ever
/// ```
fn callers(fault: Option<JournalFault>) -> Verdict {
    let counter = counter(Upset::Never, fault);
    let add = || {
        let mut seen = 0;
        for _ in 0..2 {
            planbox::sync::stage("comes");
            let ahead = counter.queued();
            let count = counter.add().unwrap();
            check(count > ahead && count > seen, "order", || {
                format!("{ahead} were queued before, {seen} was the last, and it is {count}")
            })?;
            seen = count;
        }
        Ok(())
    };
    let verdicts = three(&add);
    check(!counter.met(), "two writers", || "at once".to_owned())?;
    verdicts.into_iter().collect::<Verdict>()?;
    let stored = counter.stored();
    check(stored == 6, "lost", || format!("{stored} of 6"))?;
    flushed(&counter)
}

/// Three that write twice each, on a device that fails one transaction, or panics in it:
///
/// ```text
/// one      writes: fails ---- all of its batch are told that nobody knows -- again: refused
/// other         queued ------ told so
/// third              queued, too late for that batch: it is refused, and so is all that comes
///          nobody waits for ever; what was acknowledged is there; it goes on once it is revived
/// ```
fn upset(how: Upset, fault: Option<JournalFault>) -> Verdict {
    let counter = counter(how, fault);
    let poisoned = AtomicBool::new(false);
    let add = || {
        let mut acknowledged = 0;
        for _ in 0..2 {
            planbox::sync::stage("comes");
            let known = poisoned.load(Ordering::SeqCst);
            match counter.add() {
                Ok(_) => {
                    check(!known, "not poisoned", || "written all the same".to_owned())?;
                    acknowledged += 1;
                }
                Err(JournalError::Poisoned { .. }) => poisoned.store(true, Ordering::SeqCst),
                Err(other) => check(false, "refused", || other.to_string())?,
            }
        }
        Ok(acknowledged)
    };
    let counts = three(&add);
    let counts: Vec<u64> = counts.into_iter().collect::<Result<_, _>>()?;
    let (acknowledged, stored) = (counts.iter().sum::<u64>(), counter.stored());
    let unknown = if matches!(how, Upset::SilentAt(_)) {
        3
    } else {
        0
    };
    let right = (acknowledged..=acknowledged + unknown).contains(&stored);
    check(right, "lost", || {
        format!("{stored} are there, {acknowledged} were acknowledged")
    })?;
    // One caller may have written all alone before the device was upset, but not all of them.
    check(poisoned.into_inner(), "not poisoned", || {
        format!("{counts:?}")
    })?;
    counter.revive().unwrap();
    let next = counter.add();
    check(
        matches!(next, Ok(count) if count == stored + 1),
        "lost",
        || format!("{next:?} after {stored}"),
    )?;
    flushed(&counter)
}

/// Two that write while a third one closes the journal:
///
/// ```text
/// one      queued ---- written                 queued: refused, it is closed
/// other         queued ---- written by one
/// closer             closed: waits for who writes ---- flush
///          a write that was queued before is written, one that comes later is refused
/// ```
fn closed(fault: Option<JournalFault>) -> Verdict {
    let counter = counter(Upset::Never, fault);
    let add = || {
        let added = (0..2).filter(|_| counter.add().is_ok());
        u64::try_from(added.count()).unwrap()
    };
    let (stored, added) = thread::scope(|scope| {
        let writers = [scope.spawn(add), scope.spawn(add)];
        let closer = scope.spawn(|| {
            planbox::sync::stage("closes");
            counter.close();
            let stored = counter.stored();
            planbox::sync::stage("closed");
            stored
        });
        let stored = ended(closer.join());
        let added = writers.map(|writer| ended(writer.join()));
        (stored, added.iter().sum::<u64>())
    });
    let now = counter.stored();
    check(now == stored, "after close", || {
        format!("{stored} when it was closed, {now} now")
    })?;
    check(added == now, "lost", || {
        format!("{added} were told, {now} are there")
    })?;
    let refused = counter.add().is_err();
    check(refused, "after close", || "one more was taken".to_owned())
}

/// What each of three threads comes to.
fn three<T: Send>(work: &(impl Fn() -> T + Sync)) -> [T; 3] {
    thread::scope(|scope| {
        let running = [scope.spawn(work), scope.spawn(work), scope.spawn(work)];
        running.map(|one| ended(one.join()))
    })
}

/// The end brings everything to disk, once.
fn flushed(counter: &BatchedCounter) -> Verdict {
    counter.close();
    counter.close();
    let flushes = counter.flushes();
    check(flushes == 1, "lost", || format!("{flushes} flushes"))
}
