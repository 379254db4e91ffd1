//! The bodies: what two or three threads do with the lock of one key, and what must hold.

use loom::cell::UnsafeCell;
use planbox::LockWait;
use planbox::lock::{KeyHandle, LockFault, LockTable};
use planbox::sync::Rank;
use std::cmp;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One use of the lock, and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Taken, however long that takes, and released.
    Block,
    /// Taken, and released by a panic.
    Panic,
    /// Given up when it is not free.
    Try,
    /// Given up in the queue, unless it is handed over first.
    Soon,
    /// Looked up and let go: a caller that is cancelled before it waits.
    Cancel,
}
use How::{Block, Cancel, Panic, Soon, Try};

/// What each thread does, one after the other.
type Work = &'static [&'static [How]];

/// A fault that must be found.
#[derive(Debug)]
pub(crate) struct Control {
    /// What is taken out.
    pub(crate) without: &'static str,
    pub(crate) fault: LockFault,
    /// What may be found; anything else is a fault of the test.
    pub(crate) kinds: &'static [&'static str],
}

const fn control(
    without: &'static str,
    fault: LockFault,
    kinds: &'static [&'static str],
) -> Control {
    Control {
        without,
        fault,
        kinds,
    }
}

/// Two slots of one key, used at once or without an order between the uses.
const TWO: &[&str] = &["two slots", "unordered"];

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    /// The lock is kept in the table by a handle, through which it is used: the gate alone.
    pub(crate) kept: bool,
    /// How many preemptions there are at the most, where not all schedules are seen every day.
    pub(crate) bound: Option<usize>,
    pub(crate) controls: &'static [Control],
}

pub(crate) const BODIES: &[Body] = &[
    Body {
        name: "slots: two threads, two uses each",
        work: &[&[Cancel, Cancel], &[Cancel, Cancel]],
        kept: false,
        bound: None,
        controls: &[
            control(
                "the look at whose entry it is",
                LockFault::CarelessRemoval,
                TWO,
            ),
            control(
                "the latch around look and removal",
                LockFault::OpenRemoval,
                TWO,
            ),
            control(
                "the second look before an insert",
                LockFault::LateInsert,
                TWO,
            ),
            control(
                "the latch around the count",
                LockFault::OpenCount,
                &["two slots", "unordered", "left"],
            ),
            control(
                "the sight of what the dead slot protected",
                LockFault::WeakInsert,
                &["unordered"],
            ),
            control(
                "the end of a use before its count",
                LockFault::EarlyCount,
                &["left"],
            ),
            control("the removal", LockFault::NoRemoval, &["left"]),
        ],
    },
    Body {
        name: "slots: two threads, two tries each",
        work: &[&[Try, Try], &[Try, Try]],
        kept: false,
        bound: Some(3),
        controls: &[control(
            "the look at whose entry it is",
            LockFault::CarelessRemoval,
            TWO,
        )],
    },
    Body {
        name: "slots: three threads, one use each",
        work: &[&[Try], &[Try], &[Try]],
        kept: false,
        bound: Some(3),
        controls: &[control(
            "the second look before an insert",
            LockFault::LateInsert,
            TWO,
        )],
    },
    Body {
        name: "gate: two threads, two takes each",
        work: &[&[Block, Block], &[Block, Block]],
        kept: true,
        bound: None,
        controls: &[
            control("the wake-up", LockFault::NoWakeUp, &["deadlock"]),
            control(
                "the latch around look and queue",
                LockFault::LateQueue,
                &["deadlock"],
            ),
            control(
                "the release of what was written",
                LockFault::WeakLeave,
                &["unordered"],
            ),
            control(
                "the sight of what was written",
                LockFault::WeakTake,
                &["unordered"],
            ),
        ],
    },
    Body {
        name: "gate: time runs out",
        work: &[&[Block, Block], &[Soon, Soon]],
        kept: true,
        bound: None,
        controls: &[control(
            "the way out of the queue",
            LockFault::GhostWaiter,
            &["deadlock", "refused"],
        )],
    },
    Body {
        name: "gate: tries and a panic",
        work: &[&[Panic, Block], &[Try, Soon]],
        kept: true,
        bound: None,
        controls: &[control(
            "the release of what was written",
            LockFault::WeakLeave,
            &["unordered"],
        )],
    },
    Body {
        name: "gate: three threads, one take each",
        work: &[&[Block], &[Block], &[Soon]],
        kept: true,
        bound: Some(3),
        controls: &[control(
            "the hand-over under the latch",
            LockFault::OpenHandOver,
            &["unordered", "refused", "deadlock"],
        )],
    },
    Body {
        name: "table: two threads, one lock each",
        work: &[&[Block], &[Block]],
        kept: false,
        bound: None,
        controls: &[control(
            "the sight of what the dead slot protected",
            LockFault::WeakInsert,
            &["unordered"],
        )],
    },
    Body {
        name: "table: two threads, two locks each",
        work: &[&[Block, Block], &[Block, Block]],
        kept: false,
        bound: Some(4),
        controls: &[
            control(
                "the look at whose entry it is",
                LockFault::CarelessRemoval,
                TWO,
            ),
            control("the wake-up", LockFault::NoWakeUp, &["deadlock"]),
        ],
    },
    Body {
        name: "table: every exit",
        work: &[&[Panic, Block, Cancel], &[Soon, Try]],
        kept: false,
        bound: Some(3),
        controls: &[control(
            "the end of a use before its count",
            LockFault::EarlyCount,
            &["left"],
        )],
    },
];

/// The one key. Each copy has a number of its own, which tells a slot from one that stood in its place.
#[derive(Debug)]
struct Key(usize);

impl Clone for Key {
    fn clone(&self) -> Self {
        static COPIES: AtomicUsize = AtomicUsize::new(1);
        Self(COPIES.fetch_add(1, Ordering::Relaxed))
    }
}

impl PartialEq for Key {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, _other: &Self) -> cmp::Ordering {
        cmp::Ordering::Equal
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key")
    }
}

const KEY: Key = Key(0);

/// The table, and what its one lock protects.
struct World {
    table: LockTable<Key>,
    kept: Option<KeyHandle<Key>>,
    /// loom finds two that are in here without an order between them.
    inside: UnsafeCell<()>,
    /// All uses so far. Looking at them is no step of loom's.
    uses: Mutex<Vec<Use>>,
}

/// A use of a slot, which goes on or is over.
struct Use {
    slot: usize,
    is_over: bool,
    end: UnsafeCell<()>,
}

/// Ends the use of this number.
struct Here<'a>(&'a World, usize);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let mut uses = self.0.uses.lock().unwrap();
        let ended = uses.get_mut(self.1).unwrap();
        ended.is_over = true;
        ended.end.with_mut(|_end| ());
    }
}

impl World {
    fn new(kept: bool, fault: Option<LockFault>) -> Self {
        let table = fault.map_or_else(
            || LockTable::new(Rank::Plan),
            |fault| LockTable::with_fault(Rank::Plan, fault),
        );
        Self {
            kept: kept.then(|| table.handle(&KEY)),
            table,
            inside: UnsafeCell::new(()),
            uses: Mutex::default(),
        }
    }

    /// Notes a use of the slot that has this key. Every use of another slot is over, and loom knows
    /// that its end came before this, in any schedule that has the same order of steps.
    fn here(&self, key: &Key) -> Here<'_> {
        let mut uses = self.uses.lock().unwrap();
        for other in uses.iter().filter(|other| other.slot != key.0) {
            assert!(other.is_over, "two slots");
            other.end.with(|_end| ());
        }
        uses.push(Use {
            slot: key.0,
            is_over: false,
            end: UnsafeCell::new(()),
        });
        Here(self, uses.len() - 1)
    }

    fn hold(&self, key: &Key, how: How) {
        let _here = self.here(key);
        self.inside.with_mut(|_inside| ());
        if how == Panic {
            // Without a word: no hook is called.
            resume_unwind(Box::new(()));
        }
    }

    fn once(&self, how: How) {
        let wait = match how {
            Block | Panic => LockWait::Block,
            Try => LockWait::Try,
            Soon => LockWait::For(Duration::from_millis(1)),
            Cancel => {
                let handle = self.table.handle(&KEY);
                drop(self.here(handle.key()));
                return;
            }
        };
        let taken = match &self.kept {
            Some(handle) => {
                let entered = handle.enter(wait, "loom");
                entered.map(|entered| self.hold(entered.key(), how))
            }
            None => {
                let guard = self.table.lock(&KEY, wait, "loom");
                guard.map(|guard| self.hold(guard.key(), how))
            }
        };
        assert!(taken.is_ok() || wait != LockWait::Block, "refused");
    }

    fn work(&self, uses: &[How]) {
        for how in uses {
            let ended = catch_unwind(AssertUnwindSafe(|| self.once(*how)));
            assert_eq!(ended.is_err(), *how == Panic, "another panic");
        }
    }
}

/// One execution: the threads of the body meet, and nothing is left afterwards.
pub(crate) fn run(work: Work, kept: bool, fault: Option<LockFault>) {
    let world = Arc::new(World::new(kept, fault));
    let (first, others) = work.split_first().unwrap();
    let others: Vec<_> = others
        .iter()
        .map(|uses| {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || world.work(uses))
        })
        .collect();
    world.work(first);
    for other in others {
        other.join().unwrap();
    }
    let world = Arc::into_inner(world).unwrap();
    drop(world.kept);
    assert!(world.table.is_empty(), "left");
}
