use super::*;
use crate::sync::order::{Class, Order};
use crate::sync::{Condvar, Mutex, RwLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const HOST: Rank = Order::new(&[Class::around("hosts", "a test")]).rank("hosts");

/// What the witness said when it stopped `body`, or nothing.
fn refusal(body: impl FnOnce()) -> Option<String> {
    let stopped = planted(|| catch_unwind(AssertUnwindSafe(body))).err()?;
    stopped.downcast::<String>().ok().map(|text| *text)
}

#[test]
fn a_planted_inversion_is_caught_and_both_call_sites_are_named() {
    let registry = RwLock::new(Rank::Registry, "plans", ());
    let above = line!();
    let said = refusal(|| {
        let _registry = registry.read();
        drop(enter_keyed(Rank::Plan, &7_u64, "plan"));
    })
    .expect("the inversion");
    let here = |line: u32| format!("{}:{}:", file!(), above + line);
    let taken = format!("plan lock `plan` of 7 taken at {}", here(3));
    let held = format!("registry lock `plans` is held since {}", here(2));
    assert!(said.contains(&taken) && said.contains(&held), "{said}");
}

#[test]
fn after_a_refusal_nothing_is_held() {
    let leaf = Mutex::new(Rank::Leaf, "leaf", ());
    let other = Mutex::new(Rank::Leaf, "other leaf", ());
    assert!(refusal(|| drop((leaf.lock(), other.lock()))).is_some());
    drop(other.lock());
    drop(enter(Rank::Plan, Some("p"), "plan"));
}

#[test]
fn a_try_is_held_to_the_order_too() {
    let leaf = Mutex::new(Rank::Leaf, "leaf", ());
    let registry = Mutex::new(Rank::Registry, "registry", ());
    let said = refusal(|| {
        let _leaf = leaf.lock();
        drop(registry.try_lock());
    });
    assert!(said.is_some());
}

#[test]
fn locks_of_one_rank_go_in_ascending_key_order_by_the_keys_own_order() {
    assert_eq!(
        refusal(|| {
            let _nine = enter_keyed(Rank::Plan, &9_u64, "plan");
            let _ten = enter_keyed(Rank::Plan, &10_u64, "plan");
        }),
        None
    );
    for (first, second) in [(10_u64, 9_u64), (9, 9)] {
        assert!(
            refusal(|| {
                let _first = enter_keyed(Rank::Plan, &first, "plan");
                let _second = enter_keyed(Rank::Plan, &second, "plan");
            })
            .is_some(),
            "{first} then {second}"
        );
    }
    assert!(
        refusal(|| {
            let _b = enter(Rank::Resource, Some("b"), "resource");
            let _a = enter(Rank::Resource, Some("a"), "resource");
        })
        .is_some()
    );
    assert!(
        refusal(|| {
            let _a = enter(Rank::Resource, Some("a"), "resource");
            let _unkeyed = enter(Rank::Resource, None, "resource");
        })
        .is_some(),
        "a lock without a key has no place among its rank"
    );
}

#[test]
fn a_second_read_of_one_latch_is_refused() {
    let latch = RwLock::new(Rank::Registry, "plans", ());
    assert!(refusal(|| drop((latch.read(), latch.read()))).is_some());
}

#[test]
fn blocking_under_a_latch_is_refused_and_under_a_plan_is_not() {
    let plan = enter(Rank::Plan, Some("p"), "plan");
    about_to_block("fsync");
    for rank in [Rank::Registry, Rank::Leaf] {
        let latch = Mutex::new(rank, "latch", ());
        let said = refusal(|| {
            let _latch = latch.lock();
            about_to_block("fsync");
        });
        assert!(
            said.is_some_and(|said| said.contains("block in fsync")),
            "{rank}"
        );
    }
    drop(plan);
}

#[test]
fn waiting_on_a_condition_is_allowed_under_its_own_latch_only() {
    let registry = Mutex::new(Rank::Registry, "registry", ());
    let leaf = Mutex::new(Rank::Leaf, "leaf", ());
    let never = Condvar::new();
    let mut latch = leaf.lock();
    assert!(never.wait_for(&mut latch, Duration::ZERO));
    drop(latch);
    let said = refusal(|| {
        let _registry = registry.lock();
        let mut latch = leaf.lock();
        never.wait_for(&mut latch, Duration::ZERO);
    });
    assert!(said.is_some_and(|said| said.contains("`registry`")));
}

#[test]
fn releases_need_not_be_nested() {
    let plan = enter(Rank::Plan, Some("p"), "plan");
    let resource = enter(Rank::Resource, Some("r"), "resource");
    drop(plan);
    assert!(refusal(|| drop(enter(Rank::Plan, Some("p"), "plan"))).is_some());
    drop(resource);
    drop(enter(Rank::Plan, Some("p"), "plan"));
}

#[test]
fn a_thread_that_works_for_another_is_held_to_its_locks() {
    let registry = Mutex::new(Rank::Registry, "registry", ());
    let said = refusal(|| {
        let _registry = registry.lock();
        let lent = lend();
        let stopped = crate::sync::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let said = refusal(|| {
                    let _loan = lent.hold();
                    drop(enter(Rank::Plan, Some("p"), "plan"));
                });
                drop(enter(Rank::Plan, Some("p"), "plan"));
                said
            });
            worker.join().expect("nothing is held after the loan")
        });
        std::panic::panic_any(stopped.expect("the refusal"));
    });
    assert!(
        said.expect("the refusal")
            .contains("registry lock `registry` is held since")
    );
}

#[test]
fn what_is_refused_is_recorded_too() {
    let leaf = Mutex::new(Rank::Leaf, "leaf of a refusal", ());
    assert!(refusal(|| drop((leaf.lock(), enter(Rank::Plan, Some("p"), "plan")))).is_some());
    let edges = edges();
    let mut refused = edges.iter().filter(|edge| edge.refused);
    assert!(refused.any(|edge| edge.held_name == "leaf of a refusal"));
}

#[test]
fn locks_held_across_io_are_recorded_with_both_call_sites() {
    let _plan = enter(Rank::Plan, Some("p"), "plan across io");
    about_to_block("a door of this test");
    let line = line!();
    let holds = holds();
    let hold = holds.iter().find(|hold| hold.held.lock == "plan across io");
    let hold = hold.expect("the hold");
    assert_eq!(
        (hold.door.as_str(), hold.refused),
        ("a door of this test", false)
    );
    let here = |back: u32| format!("{}:{}:", file!(), line - back);
    assert!(
        hold.held.at.starts_with(&here(2)) && hold.at.starts_with(&here(1)),
        "{hold}"
    );
}

#[test]
fn every_nesting_is_recorded_with_both_call_sites() {
    {
        let _outer = enter(HOST, None, "host of this test");
        let _plan = enter(Rank::Plan, Some("p"), "plan of this test");
    }
    let edges = edges();
    let edge = edges
        .iter()
        .find(|edge| edge.held_name == "host of this test")
        .expect("the edge");
    assert_eq!((edge.held, edge.taken), (HOST, Rank::Plan));
    assert_eq!(edge.taken_name, "plan of this test");
    assert_eq!(edge.taken_at.line(), edge.held_at.line() + 1);
    assert!(
        edge.to_string()
            .starts_with("hosts `host of this test` (src/sync/")
    );
}

#[test]
fn a_panicking_thread_is_not_checked() {
    struct TakesAPlan;
    impl Drop for TakesAPlan {
        fn drop(&mut self) {
            drop(enter(Rank::Plan, Some("p"), "plan"));
        }
    }
    let leaf = Mutex::new(Rank::Leaf, "leaf", ());
    let said = refusal(|| {
        let _leaf = leaf.lock();
        let _late = TakesAPlan;
        std::panic::panic_any("first".to_owned());
    });
    assert_eq!(said.as_deref(), Some("first"));
}
