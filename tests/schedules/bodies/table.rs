//! The table of keyed locks: one lock for each key in use, none for the others, nobody forgotten.

use super::commit::{both, ended};
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::world::{stage, table, until};
use planbox::lock::{KeyHandle, LockFault, LockTable, LockWait};
use planbox::sync::{Rank, point, thread, witness};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SOON: LockWait = LockWait::For(Duration::from_millis(1));

/// What each thread does, one list of waits a thread; all on one key.
type Work = &'static [&'static [LockWait]];

const BLOCK: LockWait = LockWait::Block;
const TWO_BY_TWO: Work = &[&[BLOCK, BLOCK], &[BLOCK, BLOCK]];
const TWO_GIVE_UP: Work = &[&[BLOCK, BLOCK], &[SOON, BLOCK]];
const TWO_TRY: Work = &[&[LockWait::Try, BLOCK], &[BLOCK, LockWait::Try]];
const THREE: Work = &[&[BLOCK, BLOCK], &[SOON, BLOCK], &[LockWait::Try, BLOCK]];

/// Two that are inside together show it to each other.
const TOGETHER: Stop = stop("inside", "inside");

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "lock table: two threads, two locks each",
        Depth::Preemptions(3),
        || users(TWO_BY_TWO, None),
        &[
            Control::new(
                "the look at whose entry it is",
                || users(TWO_BY_TWO, Some(LockFault::CarelessRemoval)),
                &["two holders"],
            )
            .stops(&[stop("slot.dying", "inside"), TOGETHER]),
            Control::new(
                "the second look before an insert",
                || users(TWO_BY_TWO, Some(LockFault::LateInsert)),
                &["two holders"],
            )
            .stops(&[stop("slot.insert", "slot.insert"), TOGETHER]),
            Control::new(
                "the removal",
                || users(TWO_BY_TWO, Some(LockFault::NoRemoval)),
                &["left"],
            ),
            Control::new(
                "the wake-up",
                || users(TWO_BY_TWO, Some(LockFault::NoWakeUp)),
                &["deadlock"],
            )
            .stops(&[stop("inside", "slot.look-up")]),
            Control::new(
                "the queue under the latch of the look",
                || users(TWO_BY_TWO, Some(LockFault::LateQueue)),
                &["overtaken", "deadlock"],
            )
            .only_explored("who has looked and is not queued yet has no stage"),
        ],
    ),
    Case::light(
        "lock table: one of two gives up",
        Depth::Preemptions(3),
        || users(TWO_GIVE_UP, None),
        &[Control::new(
            "the way out of the queue",
            || users(TWO_GIVE_UP, Some(LockFault::GhostWaiter)),
            &["deadlock", "refused"],
        )
        .stops(&[stop("inside", "given up")])],
    ),
    Case::light(
        "lock table: tries and waits",
        Depth::Preemptions(3),
        || users(TWO_TRY, None),
        &[Control::new(
            "the look at whose entry it is",
            || users(TWO_TRY, Some(LockFault::CarelessRemoval)),
            &["two holders"],
        )
        .stops(&[stop("slot.dying", "inside"), TOGETHER])],
    ),
    Case::light(
        "lock table: three threads",
        Depth::Preemptions(1),
        || users(THREE, None),
        &[
            Control::new(
                "the hand-over under the latch",
                || users(THREE, Some(LockFault::OpenHandOver)),
                &["two holders", "overtaken", "refused", "deadlock"],
            )
            .stops(&[
                stop("inside", "slot.look-up"),
                stop("gate.open", "inside"),
                TOGETHER,
            ]),
            // No body counts here who was overtaken: the lock itself notices.
            Control::new(
                "the order of arrival",
                || users(THREE, Some(LockFault::LastFirst)),
                &["overtaken"],
            )
            .stops(&[stop("inside", "all are queued")]),
            Control::new(
                "the way out of the queue",
                || users(THREE, Some(LockFault::GhostWaiter)),
                &["deadlock", "refused"],
            )
            .stops(&[stop("inside", "given up")]),
        ],
    ),
    Case::light(
        "lock table: a handle, a look-up, a question",
        Depth::Preemptions(3),
        || handles(None),
        &[Control::new(
            "the removal",
            || handles(Some(LockFault::NoRemoval)),
            &["left"],
        )],
    ),
    Case::light(
        "lock table: the order of the queue",
        Depth::Preemptions(3),
        || queue(None),
        &[
            Control::new(
                "the order of arrival",
                || queue(Some(LockFault::LastFirst)),
                &["overtaken"],
            ),
            Control::new(
                "the hand-over",
                || queue(Some(LockFault::Barging)),
                &["overtaken", "deadlock"],
            )
            .only_explored("who is woken and who comes race for a free word, without a stage"),
        ],
    ),
    Case::light(
        "lock table: one that comes back at once",
        Depth::Preemptions(3),
        || comes_back(None),
        &[Control::new(
            "the hand-over",
            || comes_back(Some(LockFault::Barging)),
            &["overtaken", "deadlock"],
        )],
    ),
    Case::light(
        "lock table: two keys, two threads",
        Depth::Preemptions(3),
        || keys(false),
        &[Control::new(
            "the order of keys",
            || keys(true),
            &["order of locks"],
        )],
    ),
];

/// Nobody else is inside while this thread is.
fn alone(inside: &AtomicUsize) -> Verdict {
    let others = inside.fetch_add(1, Ordering::SeqCst);
    stage("inside");
    inside.fetch_sub(1, Ordering::SeqCst);
    check(others == 0, "two holders", || {
        format!("{others} more inside")
    })
}

fn use_once(table: &LockTable<u64>, wait: LockWait, inside: &AtomicUsize) -> Verdict {
    match table.lock(&7, wait, "schedule") {
        Ok(_guard) => alone(inside).and_then(|()| {
            let locks = table.len();
            check(locks <= 1, "two holders", || {
                format!("{locks} locks of a key")
            })
        }),
        Err(error) => {
            stage(if wait == SOON { "given up" } else { "refused" });
            check(wait != BLOCK, "refused", || error.to_string())
        }
    }
}

/// Locks that come and go:
///
/// ```text
/// one      look up: made ---- lock ---- unlock, last user: the slot dies ---- its entry goes
/// other                             look up: dying or gone? made anew ---- lock ---- unlock
///          never two locks of one key, never an entry without a user, nobody waits for ever
/// ```
fn users(work: Work, fault: Option<LockFault>) -> Verdict {
    let table = table(Rank::Plan, fault);
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
    verdicts.into_iter().collect::<Verdict>()
}

/// A lock that is kept by a handle and used by somebody who looks it up:
///
/// ```text
/// one      handle ---- enter ---- leave ---- the handle goes
/// other         look up ---- lock ---- unlock       who holds it?
/// ```
fn handles(fault: Option<LockFault>) -> Verdict {
    let table = table(Rank::Plan, fault);
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
    one.and(other)
}

/// Two that wait; who came first is served first:
///
/// ```text
/// holder   lock ------------------------------------ unlock
/// early         waits in the queue ------------------------- its turn
/// late                sees that early waits ---- waits ------------- its turn
/// ```
fn queue(fault: Option<LockFault>) -> Verdict {
    let table = table(Rank::Plan, fault);
    let handle = table.handle(&7);
    let (turns, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wait = || {
        let place = came.fetch_add(1, Ordering::SeqCst);
        until(|| handle.queued() >= place);
        // Whoever is queued now comes first.
        let ahead = handle.queued();
        let entered = handle.enter(BLOCK, "schedule").unwrap();
        let before = turns.fetch_add(1, Ordering::SeqCst);
        drop(entered);
        overtaken(ahead.saturating_sub(before))
    };
    let held = handle.lock(BLOCK, "hold").unwrap();
    let (one, other) = thread::scope(|scope| {
        let (one, other) = (scope.spawn(wait), scope.spawn(wait));
        until(|| handle.queued() == 2);
        point();
        drop(held);
        (ended(one.join()), ended(other.join()))
    });
    one.and(other)?;
    drop(handle);
    Ok(())
}

/// One that waits, and one that leaves and is back before the other has woken up:
///
/// ```text
/// quick    lock ------------- unlock, lock: behind the one who waits -------------- its turn
/// waiter        queued ------------------------------------- its turn ---- unlock
/// ```
fn comes_back(fault: Option<LockFault>) -> Verdict {
    let table = table(Rank::Plan, fault);
    let handle = table.handle(&7);
    let turns = AtomicUsize::new(0);
    let wait = || {
        let entered = handle.enter(BLOCK, "wait").unwrap();
        turns.fetch_add(1, Ordering::SeqCst);
        drop(entered);
    };
    let come_back = || {
        let mut late = 0;
        let mut held = handle.enter(BLOCK, "quick").unwrap();
        until(|| handle.queued() == 1);
        for _ in 0..2 {
            let ahead = handle.queued();
            let before = turns.load(Ordering::SeqCst);
            drop(held);
            held = handle.enter(BLOCK, "quick").unwrap();
            let served = turns.load(Ordering::SeqCst) - before;
            late += ahead.saturating_sub(served);
        }
        overtaken(late)
    };
    let ((), verdict) = both(wait, come_back);
    verdict?;
    drop(handle);
    Ok(())
}

/// The bound on starvation: whoever is queued is overtaken by nobody.
fn overtaken(times: usize) -> Verdict {
    check(times == 0, "overtaken", || format!("{times} times"))
}

/// Two threads that need the same two locks:
///
/// ```text
/// one      lock 1 ---- lock 2
/// other    lock 1 ---- lock 2      the other way round the witness stops it, on any schedule
/// ```
fn keys(crossing: bool) -> Verdict {
    let table = table(Rank::Resource, None);
    let take = |first: u64, second: u64| {
        let one = table.lock(&first, BLOCK, "schedule").unwrap();
        let other = table.lock(&second, BLOCK, "schedule").unwrap();
        drop((one, other));
    };
    let other = || {
        if crossing {
            witness::planted(|| take(2, 1));
        } else {
            take(1, 2);
        }
    };
    both(|| take(1, 2), other);
    check(table.holder(&1).is_none(), "left", || format!("{table:?}"))
}
