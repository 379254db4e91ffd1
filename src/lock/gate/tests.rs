use super::*;
use crate::lock::who::mark;
use crate::sync::thread;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Comes back when `count` threads wait at the gate.
fn until_queued(gate: &Gate, count: usize) {
    while gate.queued() != count {
        std::thread::yield_now();
    }
}

#[test]
fn the_gate_goes_to_those_who_wait_in_the_order_of_arrival() {
    let gate = Gate::new(Planted::default());
    let order = Mutex::new(Rank::Leaf, "order", Vec::new());
    let me = mark("hold");
    gate.take(me, LockWait::Block).expect("free");
    thread::scope(|scope| {
        for place in 0..3 {
            let (gate, order) = (&gate, &order);
            scope.spawn(move || {
                let me = mark("wait");
                let wait = [LockWait::Block, LockWait::For(Duration::MAX)][place % 2];
                gate.take(me, wait).expect("a turn");
                order.lock().push(place);
                gate.leave(me);
            });
            until_queued(gate, place + 1);
        }
        gate.leave(me);
    });
    assert_eq!(order.into_inner(), [0, 1, 2]);
    assert_eq!(gate.seen(), None);
}

#[test]
fn nobody_overtakes_a_waiter_however_fast_it_comes_back() {
    const ROUNDS: usize = 200;
    let gate = Gate::new(Planted::default());
    let holds = AtomicUsize::new(0);
    let hog = mark("hog");
    let mut worst = 0;
    for _ in 0..ROUNDS {
        gate.take(hog, LockWait::Block).expect("a turn");
        let before = holds.load(Ordering::Relaxed);
        let at = thread::scope(|scope| {
            let victim = scope.spawn(|| {
                let me = mark("victim");
                gate.take(me, LockWait::Block).expect("a turn");
                let at = holds.load(Ordering::Relaxed);
                gate.leave(me);
                at
            });
            until_queued(&gate, 1);
            while !victim.is_finished() {
                holds.fetch_add(1, Ordering::Relaxed);
                gate.leave(hog);
                gate.take(hog, LockWait::Block).expect("a turn");
            }
            victim.join().expect("an end")
        });
        gate.leave(hog);
        worst = worst.max(at - before);
    }
    assert_eq!(
        worst, 1,
        "the hold that was there when the victim came, and no other"
    );
}

#[test]
#[cfg(debug_assertions)]
fn a_debug_build_notices_who_overtakes_the_queue() {
    let gate = Gate::new(Planted::default());
    let me = mark("me");
    let queued = gate.turns.come();
    let overtake = || gate.take(me, LockWait::Block).is_ok();
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(overtake));
    assert!(noticed.is_err());
    assert_eq!(gate.seen(), None, "it is free again");
    gate.turns.go(queued);
    assert!(overtake());
    gate.leave(me);
}

#[test]
fn a_wait_that_ran_out_leaves_the_queue_and_names_the_holder() {
    let gate = Gate::new(Planted::default());
    let hold = mark("hold");
    gate.take(hold, LockWait::Block).expect("free");
    let late = || gate.take(mark("late"), LockWait::For(Duration::from_millis(1)));
    let refused = thread::scope(|scope| scope.spawn(late).join().expect("an answer"));
    let Err(Refusal::TimedOut(Some(seen), waited_ms)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((seen.mark, gate.queued()), (hold, 0));
    assert!(waited_ms >= 1 && seen.since_unix_ms > 0);
    gate.leave(hold);
    gate.take(hold, LockWait::Try).expect("free");
    gate.leave(hold);
}

#[test]
fn a_waiter_in_the_middle_may_give_up_and_the_others_go_on() {
    let gate = Gate::new(Planted::default());
    let hold = mark("hold");
    gate.take(hold, LockWait::Block).expect("free");
    let patient = || {
        let me = mark("patient");
        gate.take(me, LockWait::Block).expect("a turn");
        gate.leave(me);
    };
    thread::scope(|scope| {
        scope.spawn(patient);
        until_queued(&gate, 1);
        let wait = LockWait::For(Duration::from_millis(20));
        let gate = &gate;
        let middle = scope.spawn(move || gate.take(mark("middle"), wait).is_ok());
        while gate.queued() != 2 && !middle.is_finished() {
            std::thread::yield_now();
        }
        scope.spawn(patient);
        assert!(!middle.join().expect("an answer"));
        until_queued(gate, 2);
        gate.leave(hold);
    });
    assert_eq!((gate.seen(), gate.queued()), (None, 0));
}

#[test]
fn a_gate_that_became_free_is_taken_by_who_spins_and_by_who_is_about_to_queue() {
    let gate = Gate::new(Planted::default());
    let me = mark("me");
    for wait in [LockWait::Try, LockWait::Block] {
        gate.take_slowly(me, wait).expect("free");
        assert_eq!(gate.seen().map(|seen| seen.mark), Some(me));
        gate.leave(me);
    }
    assert!(gate.spin(me), "free");
    assert_eq!(gate.seen().map(|seen| seen.mark), Some(me));
    assert!(!gate.spin(mark("other")), "held");
    gate.leave(me);
}

#[test]
fn a_gate_that_was_looked_at_is_left_free() {
    let gate = Gate::new(Planted::default());
    let hold = mark("hold");
    gate.take(hold, LockWait::Block).expect("free");
    let seen = gate.seen().expect("held");
    assert_eq!(gate.seen(), Some(seen), "the first look fixes the time");
    gate.leave(hold);
    assert_eq!(gate.word.load(Ordering::Relaxed), 0);
    assert!(gate.crowd.lock().is_none());
}

#[test]
fn a_planted_barging_lets_the_first_in_the_queue_take_the_free_gate_itself() {
    let gate = Gate::new(Planted::new(LockFault::Barging));
    let hold = mark("hold");
    gate.take(hold, LockWait::Block).expect("free");
    thread::scope(|scope| {
        let gate = &gate;
        let waiter = scope.spawn(move || {
            let me = mark("wait");
            let (watch, long) = (Stopwatch::start(), Duration::from_secs(5));
            gate.take(me, LockWait::For(long))?;
            let is_holder = gate.seen().is_some_and(|seen| seen.mark == me);
            let found = (is_holder, gate.queued(), watch.elapsed() < long);
            gate.leave(me);
            Ok::<_, Refusal>(found)
        });
        until_queued(gate, 1);
        gate.leave(hold);
        assert_eq!(waiter.join().expect("an answer"), Ok((true, 0, true)));
    });
    assert_eq!(gate.seen(), None);
}
