use super::*;
use crate::sync::channel::bounded;
use crate::sync::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

/// What a test can break.
#[derive(Default)]
pub(super) struct Faults {
    /// Called by a slot that nobody uses any more, before it removes its entry.
    pub(super) on_dying: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Faults {
    pub(super) fn dying(&self) {
        if let Some(call) = &self.on_dying {
            call();
        }
    }
}

fn table<K: Key>() -> LockTable<K> {
    LockTable::new(Rank::Plan)
}

fn broken<K: Key>(planted: Planted, faults: Faults) -> LockTable<K> {
    LockTable {
        shared: Arc::new(Shared {
            rank: Rank::Plan,
            slots: Shards::new(),
            sole: Sole::default(),
            planted,
            faults,
        }),
    }
}

/// Tries to take `key` from another thread.
fn is_free<K: Key>(table: &LockTable<K>, key: &K) -> bool {
    let attempt = || table.lock(key, LockWait::Try, "look").is_ok();
    thread::scope(|scope| scope.spawn(attempt).join()).expect("an answer")
}

#[test]
fn a_lock_is_made_when_wanted_and_gone_with_its_last_user() {
    let table = table();
    assert!(table.is_empty());
    let guard = table.lock(&1_u64, LockWait::Try, "commit").expect("free");
    assert_eq!((guard.key(), table.len()), (&1, 1));
    assert!(!table.is_empty());
    assert!(!is_free(&table, &1) && is_free(&table, &2));
    drop(guard);
    assert!(table.is_empty());
    assert_eq!(table.holder(&1), None);
}

#[test]
fn a_handle_pins_its_lock_and_needs_no_table() {
    let table = table();
    let handle = table.handle(&1_u64);
    let same = handle.clone();
    assert_eq!((handle.key(), same.key()), (&1, &1));
    let entered = handle.enter(LockWait::Try, "commit").expect("free");
    assert_eq!(entered.key(), &1);
    assert!(!is_free(&table, &1));
    drop(entered);
    assert!(is_free(&table, &1));
    assert_eq!(table.len(), 1);
    let guard = same.lock(LockWait::Try, "commit").expect("free");
    drop((handle, same));
    assert!(!is_free(&table, &1));
    drop(table);
    drop(guard);
}

#[test]
fn every_exit_leaves_the_table_empty() {
    let table = table();
    let key = "k".to_owned();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = table.lock(&key, LockWait::Block, "commit").expect("free");
        std::panic::panic_any("a participant");
    }));
    assert!(panicked.is_err() && table.is_empty());
    let guard = table.lock(&key, LockWait::Block, "commit").expect("free");
    let wait = LockWait::For(Duration::from_millis(1));
    let attempt = || {
        (
            is_free(&table, &key),
            table.lock(&key, wait, "diff").is_ok(),
        )
    };
    let late = thread::scope(|scope| scope.spawn(attempt).join()).expect("an answer");
    assert_eq!(late, (false, false));
    drop(guard);
    assert!(table.is_empty());
}

#[test]
fn the_holder_is_named_with_thread_and_operation() {
    let table = Arc::new(table());
    let (ready, is_held) = bounded(0);
    let (release, released) = bounded::<()>(0);
    let theirs = Arc::clone(&table);
    let holder = thread::spawn("the-committer", move || {
        let _guard = theirs
            .lock(&7_u64, LockWait::Block, "commit")
            .expect("free");
        ready.send(()).expect("a listener");
        released.recv().expect("a release");
    })
    .expect("a thread");
    is_held.recv().expect("held");
    let before = crate::clock::now_unix_ms();
    let wait = LockWait::For(Duration::from_millis(2));
    for (wait, code) in [(LockWait::Try, "busy"), (wait, "lock-timeout")] {
        let error = table.lock(&7, wait, "diff").expect_err("held");
        assert_eq!(crate::error::Explain::code(&error), code);
        let (LockError::Busy { holder, .. } | LockError::TimedOut { holder, .. }) = error else {
            panic!("{error}");
        };
        let holder = holder.expect("a name");
        assert_eq!((&*holder.key, &*holder.operation), ("7", "commit"));
        assert_eq!(
            (&*holder.thread, holder.pid),
            ("the-committer", std::process::id())
        );
        assert!(holder.since_unix_ms >= before, "{holder:?}");
        assert_eq!(table.holder(&7), Some(*holder));
    }
    release.send(()).expect("a holder");
    holder.join().expect("an end");
    assert!(table.is_empty());
}

fn next_millisecond() {
    let now = crate::clock::now_unix_ms();
    while crate::clock::now_unix_ms() == now {
        std::hint::spin_loop();
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_handle_counts_those_who_wait() {
    let table = table();
    let handle = table.handle(&7_u64);
    let guard = handle.enter(LockWait::Try, "commit").expect("free");
    assert_eq!(handle.queued(), 0);
    let wait = || drop(table.lock(&7, LockWait::Block, "wait").expect("a turn"));
    thread::scope(|scope| {
        let waiters = [scope.spawn(wait), scope.spawn(wait)];
        while handle.queued() != 2
            && !waiters
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::yield_now();
        }
        assert_eq!(handle.queued(), 2);
        drop(guard);
    });
    assert_eq!(handle.queued(), 0);
}

#[test]
fn a_stamp_says_since_when_and_belongs_to_one_hold() {
    let table = table();
    let handle = table.handle(&7_u64);
    let guard = handle.enter(LockWait::Try, "commit").expect("free");
    let before = crate::clock::now_unix_ms();
    guard.stamp();
    let stamped = crate::clock::now_unix_ms();
    next_millisecond();
    let since = handle.holder().expect("held").since_unix_ms;
    assert!((before..=stamped).contains(&since), "{since}");
    next_millisecond();
    assert_eq!(handle.holder().expect("held").since_unix_ms, since);
    drop(guard);
    let guard = handle.lock(LockWait::Try, "commit").expect("free");
    guard.stamp();
    let stamped = crate::clock::now_unix_ms();
    next_millisecond();
    let since = handle.holder().expect("held").since_unix_ms;
    assert!(since <= stamped, "{since}");
    drop(guard);
    let _guard = handle.enter(LockWait::Try, "commit").expect("free");
    assert!(handle.holder().expect("held").since_unix_ms > since);
}

/// The witness panics on a second lock of the same key, so this shows what a release build says.
#[test]
fn a_thread_that_already_holds_it_is_told_so() {
    let table = table();
    let slot = table.shared.slot(&7_u64);
    let mark = who::mark("commit");
    slot.gate.take(mark, LockWait::Block).expect("free");
    for wait in [LockWait::Block, LockWait::Try] {
        let refusal = slot.gate.take(who::mark("diff"), wait).expect_err("held");
        let error = slot.error(refusal);
        let LockError::Reentrant { key, operation } = error else {
            panic!("{error}");
        };
        assert_eq!((&*key, &*operation), ("7", "commit"));
    }
    slot.gate.leave(mark);
}

#[test]
#[cfg(debug_assertions)]
fn the_witness_refuses_a_smaller_key_under_a_greater_one_before_any_wait() {
    let table = table();
    let _two = table.lock(&2_u64, LockWait::Block, "commit").expect("free");
    let _three = table.lock(&3, LockWait::Block, "commit").expect("free");
    let inverted = || drop(table.lock(&1, LockWait::Block, "commit"));
    let stopped = witness::planted(|| catch_unwind(AssertUnwindSafe(inverted)));
    assert!(stopped.is_err());
    assert_eq!(table.len(), 2);
}

/// The forced schedule: the last user of a lock has left, its slot is about to remove the entry, and
/// two newcomers arrive, one before and one after the removal. True if both hold the key at once.
fn two_newcomers_both_hold(careless: bool) -> bool {
    let (dying, died) = bounded(0);
    let (go, gone) = bounded::<()>(0);
    let first = AtomicBool::new(true);
    let on_dying = move || {
        if first.swap(false, Ordering::Relaxed) {
            dying.send(()).expect("a listener");
            gone.recv().expect("a go");
        }
    };
    let planted = if careless {
        Planted::new(LockFault::CarelessRemoval)
    } else {
        Planted::default()
    };
    let on_dying = Some(Box::new(on_dying) as Box<dyn Fn() + Send + Sync>);
    let table = broken(planted, Faults { on_dying });
    thread::scope(|scope| {
        let last = scope.spawn(|| drop(table.lock(&1_u64, LockWait::Block, "last")));
        died.recv().expect("a dying slot");
        let _guard = table.lock(&1, LockWait::Try, "newcomer").expect("free");
        go.send(()).expect("a dying slot");
        last.join().expect("an end");
        // A debug build notices two holders by itself.
        let attempt = || table.lock(&1, LockWait::Try, "look").is_ok();
        scope.spawn(attempt).join().unwrap_or(true)
    })
}

#[test]
fn a_newcomer_that_lost_the_race_to_insert_uses_the_slot_of_the_winner() {
    let table = table();
    let winner = table.shared.slot(&1_u64);
    // It looked before the winner inserted, and found nothing.
    let found = table.shared.find_or_insert(&1);
    assert!(std::ptr::eq(&raw const *winner, &raw const *found));
    let later = table.shared.find(&1).expect("the winner's");
    assert!(std::ptr::eq(&raw const *winner, &raw const *later));
}

#[test]
fn a_dying_slot_never_removes_the_entry_of_a_living_one() {
    assert!(!two_newcomers_both_hold(false));
}

#[test]
fn negative_control_a_careless_removal_makes_two_holders() {
    assert!(two_newcomers_both_hold(true));
}

/// A number that looks random, for a walk without a library.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn many_threads_never_hold_one_key_together_and_leave_nothing() {
    const KEYS: usize = 3;
    let table = table();
    let inside: [AtomicUsize; KEYS] = Default::default();
    let (taken, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Barrier::new(4);
    let work = |mut seed: u64| {
        start.wait();
        for _ in 0..5_000 {
            let key = usize::try_from(next(&mut seed)).expect("64 bits") % KEYS;
            let wait = match next(&mut seed) % 4 {
                0 => LockWait::Try,
                1 => LockWait::For(Duration::from_micros(next(&mut seed) % 50)),
                _ => LockWait::Block,
            };
            let guard = match next(&mut seed) % 2 {
                0 => table.handle(&key).lock(wait, "stress"),
                _ => table.lock(&key, wait, "stress"),
            };
            if guard.is_ok() {
                assert_eq!(inside[key].fetch_add(1, Ordering::SeqCst), 0, "two holders");
                for _ in 0..next(&mut seed) % 200 {
                    std::hint::spin_loop();
                }
                assert_eq!(inside[key].fetch_sub(1, Ordering::SeqCst), 1, "two holders");
                taken.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_ne!(wait, LockWait::Block);
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for seed in [11, 222, 3_333, 44_444] {
            scope.spawn(move || work(seed));
        }
    });
    assert_eq!(taken.into_inner() + refused.into_inner(), 20_000);
    assert!(table.is_empty(), "{table:?}");
}

#[test]
fn ten_thousand_keys_come_and_go() {
    let table = table();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for offset in 0..4_u64 {
            let (table, start) = (&table, &start);
            scope.spawn(move || {
                start.wait();
                for step in 0..10_000 {
                    let key = (step + offset * 2_500) % 10_000;
                    drop(table.lock(&key, LockWait::Block, "stress").expect("a wait"));
                }
            });
        }
    });
    assert!(table.is_empty(), "{table:?}");
    let handles: Vec<_> = (0..10_000_u64).map(|key| table.handle(&key)).collect();
    assert_eq!(table.len(), 10_000);
    drop(handles);
    assert!(table.is_empty(), "{table:?}");
}

/// How many entries there are after the only use of a key, and after the first of two uses.
fn entries(fault: LockFault) -> [usize; 2] {
    let table = LockTable::with_fault(Rank::Plan, fault);
    drop(table.lock(&1_u64, LockWait::Try, "commit").expect("free"));
    let once = table.len();
    let _other = table.handle(&2);
    drop(table.lock(&2, LockWait::Try, "commit").expect("free"));
    [once, table.len() - once]
}

#[test]
fn a_planted_fault_of_the_removal_is_what_it_says() {
    assert_eq!(entries(LockFault::NoRemoval), [1, 1]);
    for fault in [
        LockFault::OpenRemoval,
        LockFault::OpenCount,
        LockFault::EarlyCount,
    ] {
        assert_eq!(entries(fault), [0, 1], "{fault:?}");
    }
}

#[test]
fn a_planted_count_removes_the_entry_before_the_slot_dies() {
    for (planted, entries) in [
        (Planted::default(), 1),
        (Planted::new(LockFault::OpenCount), 0),
        (Planted::new(LockFault::EarlyCount), 0),
    ] {
        let (dying, died) = bounded(0);
        let (go, gone) = bounded::<()>(0);
        let on_dying = move || {
            dying.send(()).expect("a listener");
            gone.recv().expect("a go");
        };
        let on_dying = Some(Box::new(on_dying) as Box<dyn Fn() + Send + Sync>);
        let table = broken(planted, Faults { on_dying });
        let left = thread::scope(|scope| {
            scope.spawn(|| drop(table.lock(&1_u64, LockWait::Block, "last")));
            died.recv().expect("a dying slot");
            let left = table.len();
            go.send(()).expect("a dying slot");
            left
        });
        assert_eq!((left, table.len()), (entries, 0));
    }
}
