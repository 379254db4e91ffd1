//! The table of keyed locks: one lock for each key in use, none for the others, nobody forgotten.

use super::commit::{both, ended};
use crate::case::{Case, Control, Depth, Verdict, check};
use planbox::lock::{KeyHandle, LockFault, LockTable, LockWait};
use planbox::sync::{Rank, point, thread};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SOON: LockWait = LockWait::For(Duration::from_millis(1));

/// What each thread does, one list of waits a thread; all on one key.
type Work = &'static [&'static [LockWait]];

const BLOCK: LockWait = LockWait::Block;
const TWO_BY_TWO: Work = &[&[BLOCK, BLOCK], &[BLOCK, BLOCK]];
const TWO_GIVE_UP: Work = &[&[BLOCK, BLOCK], &[SOON, BLOCK]];
const TWO_TRY: Work = &[&[LockWait::Try, BLOCK], &[BLOCK, LockWait::Try]];
const THREE: Work = &[&[BLOCK, BLOCK], &[BLOCK, SOON], &[LockWait::Try, BLOCK]];

const fn faulty(
    without: &'static str,
    body: fn() -> Verdict,
    kinds: &'static [&'static str],
) -> Control {
    Control {
        without,
        body,
        kinds,
        only_explored: true,
    }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "lock table: two threads, two locks each",
        body: || users(TWO_BY_TWO, None),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[
            faulty(
                "the look at whose entry it is",
                || users(TWO_BY_TWO, Some(LockFault::CarelessRemoval)),
                &["two holders"],
            ),
            faulty(
                "the second look before an insert",
                || users(TWO_BY_TWO, Some(LockFault::LateInsert)),
                &["two holders"],
            ),
            faulty(
                "the removal",
                || users(TWO_BY_TWO, Some(LockFault::NoRemoval)),
                &["left"],
            ),
            faulty(
                "the wake-up",
                || users(TWO_BY_TWO, Some(LockFault::NoWakeUp)),
                &["deadlock"],
            ),
        ],
    },
    Case {
        name: "lock table: one of two gives up",
        body: || users(TWO_GIVE_UP, None),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[faulty(
            "the way out of the queue",
            || users(TWO_GIVE_UP, Some(LockFault::GhostWaiter)),
            &["deadlock", "refused"],
        )],
    },
    Case {
        name: "lock table: tries and waits",
        body: || users(TWO_TRY, None),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[faulty(
            "the look at whose entry it is",
            || users(TWO_TRY, Some(LockFault::CarelessRemoval)),
            &["two holders"],
        )],
    },
    Case {
        name: "lock table: three threads",
        body: || users(THREE, None),
        depth: Depth::No,
        weight: 10,
        controls: &[
            faulty(
                "the hand-over under the latch",
                || users(THREE, Some(LockFault::OpenHandOver)),
                &["two holders", "refused", "deadlock"],
            ),
            faulty(
                "the way out of the queue",
                || users(THREE, Some(LockFault::GhostWaiter)),
                &["deadlock", "refused"],
            ),
        ],
    },
    Case {
        name: "lock table: a handle, a look-up, a question",
        body: || handles(None),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[faulty(
            "the removal",
            || handles(Some(LockFault::NoRemoval)),
            &["left"],
        )],
    },
    Case {
        name: "lock table: the order of the queue",
        body: || queue(None),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[faulty(
            "the order of arrival",
            || queue(Some(LockFault::LastFirst)),
            &["overtaken"],
        )],
    },
    Case {
        name: "lock table: two keys, two threads",
        body: || keys(false),
        depth: Depth::Preemptions(4),
        weight: 10,
        controls: &[faulty(
            "the order of keys",
            || keys(true),
            &["order of locks"],
        )],
    },
];

fn table(fault: Option<LockFault>) -> LockTable<u64> {
    fault.map_or_else(
        || LockTable::new(Rank::Plan),
        |fault| LockTable::with_fault(Rank::Plan, fault),
    )
}

/// Nobody else is inside while this thread is.
fn alone(inside: &AtomicUsize) -> Verdict {
    let others = inside.fetch_add(1, Ordering::SeqCst);
    point();
    inside.fetch_sub(1, Ordering::SeqCst);
    check(others == 0, "two holders", || {
        format!("{others} more inside")
    })
}

fn use_once(table: &LockTable<u64>, wait: LockWait, inside: &AtomicUsize) -> Verdict {
    match table.lock(&7, wait, "schedule") {
        Ok(_guard) => alone(inside),
        Err(error) => check(wait != BLOCK, "refused", || error.to_string()),
    }
}

fn empty(table: &LockTable<u64>) -> Verdict {
    check(table.is_empty(), "left", || format!("{table:?}"))
}

/// F8, F9, locks that come and go:
///
/// ```text
/// one      look up: made ---- lock ---- unlock, last user: the slot dies ---- its entry goes
/// other                             look up: dying or gone? made anew ---- lock ---- unlock
///          never two locks of one key, never an entry without a user, nobody waits for ever
/// ```
fn users(work: Work, fault: Option<LockFault>) -> Verdict {
    let table = table(fault);
    let inside = AtomicUsize::new(0);
    let verdicts: Vec<Verdict> = thread::scope(|scope| {
        let running: Vec<_> = work
            .iter()
            .map(|waits| {
                let (table, inside) = (&table, &inside);
                scope.spawn(move || {
                    let mut waits = waits.iter();
                    waits.try_for_each(|wait| use_once(table, *wait, inside))
                })
            })
            .collect();
        running.into_iter().map(|one| ended(one.join())).collect()
    });
    verdicts.into_iter().collect::<Verdict>()?;
    empty(&table)
}

/// F8, a lock that is kept by a handle and used by somebody who looks it up:
///
/// ```text
/// one      handle ---- enter ---- leave ---- the handle goes
/// other         look up ---- lock ---- unlock       who holds it?
/// ```
fn handles(fault: Option<LockFault>) -> Verdict {
    let table = table(fault);
    let inside = AtomicUsize::new(0);
    let handle = table.handle(&7);
    let by_handle = || {
        let handle: KeyHandle<u64> = handle;
        let entered = handle
            .enter(BLOCK, "schedule")
            .map(|_entered| alone(&inside));
        entered.unwrap_or_else(|error| check(false, "refused", || error.to_string()))
    };
    let by_key = || {
        use_once(&table, BLOCK, &inside)?;
        let holder = table.holder(&7).map(|holder| holder.operation);
        let known = holder.as_deref().is_none_or(|name| name == "schedule");
        check(known, "mix", || format!("{holder:?} holds it"))?;
        use_once(&table, SOON, &inside)
    };
    let (one, other) = both(by_handle, by_key);
    one.and(other)?;
    empty(&table)
}

/// A11, F9, two that wait:
///
/// ```text
/// holder   lock ------------------------------------ unlock
/// early         waits in the queue ------------------------- its turn
/// late                sees that early waits ---- waits ------------- its turn
/// ```
fn queue(fault: Option<LockFault>) -> Verdict {
    let table = table(fault);
    let handle = table.handle(&7);
    let turns = AtomicUsize::new(0);
    let wait = || {
        // Whoever is queued now comes first.
        let ahead = handle.queued();
        let entered = handle.enter(BLOCK, "schedule").unwrap();
        let before = turns.fetch_add(1, Ordering::SeqCst);
        drop(entered);
        check(before >= ahead, "overtaken", || {
            format!("{ahead} were queued, {before} had their turn")
        })
    };
    let held = handle.lock(BLOCK, "hold").unwrap();
    let (one, other) = thread::scope(|scope| {
        let (one, other) = (scope.spawn(wait), scope.spawn(wait));
        point();
        drop(held);
        (ended(one.join()), ended(other.join()))
    });
    one.and(other)?;
    drop(handle);
    empty(&table)
}

/// F7, two threads that need the same two locks:
///
/// ```text
/// one      lock 1 ---- lock 2
/// other    lock 1 ---- lock 2      the other way round the witness stops it, on any schedule
/// ```
fn keys(crossing: bool) -> Verdict {
    let table = LockTable::new(Rank::Resource);
    let take = |first: u64, second: u64| {
        let one = table.lock(&first, BLOCK, "schedule").unwrap();
        let other = table.lock(&second, BLOCK, "schedule").unwrap();
        drop((one, other));
    };
    let order = if crossing { (2, 1) } else { (1, 2) };
    both(|| take(1, 2), || take(order.0, order.1));
    empty(&table)
}
