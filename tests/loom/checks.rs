//! The bodies, and the faults that they must find.

use crate::counted::{Counted, Ends, Strong, Weak};
use crate::lock::gate::Gate;
use crate::lock::planted::{LockFault, Planted};
use crate::lock::wait::LockWait;
use crate::lock::who::Mark;
use loom::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const BLOCK: LockWait = LockWait::Block;
const SOON: LockWait = LockWait::For(Duration::ZERO);

struct Slot {
    gate: Gate,
    table: Arc<Table>,
}

/// The shard of the map that one key is in, and what the lock protects.
struct Table {
    entry: loom::sync::Mutex<Option<Weak<Slot>>>,
    inside: UnsafeCell<usize>,
    fault: Option<LockFault>,
}

impl Ends for Slot {
    fn end(this: &Arc<Counted<Self>>) {
        let table = &this.value.table;
        let mut entry = table.entry.lock().unwrap();
        let careless = table.fault == Some(LockFault::CarelessRemoval);
        if entry
            .as_ref()
            .is_some_and(|mapped| careless || mapped.is(this))
        {
            *entry = None;
        }
    }
}

impl Table {
    fn find(&self) -> Option<Strong<Slot>> {
        let entry = self.entry.lock().unwrap();
        entry.as_ref().and_then(Weak::upgrade)
    }

    fn slot(self: &Arc<Self>) -> Strong<Slot> {
        self.find().unwrap_or_else(|| self.find_or_insert())
    }

    fn find_or_insert(self: &Arc<Self>) -> Strong<Slot> {
        let planted = self.fault.map_or_else(Planted::default, Planted::new);
        let new = Strong::new(Slot {
            gate: Gate::new(planted),
            table: Arc::clone(self),
        });
        let mut entry = self.entry.lock().unwrap();
        let found = match entry.as_ref().and_then(Weak::upgrade) {
            Some(living) if self.fault != Some(LockFault::LateInsert) => Some(living),
            _ => {
                *entry = Some(new.downgrade());
                None
            }
        };
        drop(entry);
        found.unwrap_or(new)
    }

    fn use_once(self: &Arc<Self>, me: Mark, wait: LockWait) {
        let slot = self.slot();
        if slot.value().gate.take(me, wait).is_ok() {
            // loom finds two that are in here without an order between them.
            self.inside.with_mut(|_inside| ());
            slot.value().gate.leave(me);
        } else {
            assert_ne!(wait, BLOCK, "a patient thread was refused");
        }
    }
}

/// Every thread takes the lock once for each of its waits; afterwards nothing is left.
fn users(
    work: &'static [&'static [LockWait]],
    bound: Option<usize>,
    fault: Option<LockFault>,
) -> usize {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound;
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let table = Arc::new(Table {
            entry: loom::sync::Mutex::new(None),
            inside: UnsafeCell::new(0),
            fault,
        });
        let (first, others) = work.split_first().unwrap();
        let run = |number: u64, waits: &'static [LockWait]| {
            let table = Arc::clone(&table);
            move || {
                waits
                    .iter()
                    .for_each(|wait| table.use_once(Mark(number), *wait))
            }
        };
        let others: Vec<_> = (2..)
            .zip(others)
            .map(|(number, waits)| loom::thread::spawn(run(number, waits)))
            .collect();
        run(1, first)();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(
            table.entry.lock().unwrap().is_none(),
            "an entry without a user"
        );
    });
    ran.load(Ordering::Relaxed)
}

pub(crate) fn all() {
    let two: &[&[LockWait]] = &[&[BLOCK, BLOCK], &[BLOCK, BLOCK]];
    let give_up: &[&[LockWait]] = &[&[BLOCK, BLOCK], &[SOON, LockWait::Try]];
    let three: &[&[LockWait]] = &[&[BLOCK], &[BLOCK], &[BLOCK]];
    println!("| body | preemptions | executions | |\n|---|---|---|---|");
    let bodies = [
        ("two threads, two locks each", two, Some(3)),
        ("one of two gives up, or tries", give_up, Some(3)),
        ("three threads, one lock each", three, Some(2)),
    ];
    for (name, work, bound) in bodies {
        let ran = users(work, bound, None);
        println!("| {name} | {bound:?} | {ran} | exhausted |");
    }
    std::panic::set_hook(Box::new(|_| ()));
    for (name, work, fault) in [
        (
            "the look at whose entry it is",
            two,
            LockFault::CarelessRemoval,
        ),
        (
            "the second look before an insert",
            two,
            LockFault::LateInsert,
        ),
        ("the wake-up", two, LockFault::NoWakeUp),
    ] {
        let found = catch_unwind(AssertUnwindSafe(|| users(work, Some(3), Some(fault))));
        assert!(found.is_err(), "the control without {name} passed");
        println!("| without {name} | 3 | | found |");
    }
}
