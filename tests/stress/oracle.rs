//! A second judge of the order of locks, which is not ours: every keyed lock and every latch that a
//! thread takes is mirrored by a lock of tracing-mutex, which keeps a graph of *instances* of its own and
//! refuses an edge that closes a circle in it.
//!
//! The witness judges by class and by the keys' own order. Two locks of one class that are taken in both
//! orders are a circle all the same, whatever their keys say. Nobody waits for a mirror: each is only
//! read.

use planbox::sync::witness::{Instance, Observer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use tracing_mutex::stdsync::tracing::{RwLock, RwLockReadGuard};

/// One lock: its rank, its name, and its key or its place.
type Name = (&'static str, &'static str, String);

/// What a thread holds: the number it was told under, and the mirror, if it was given.
type Holding = (u64, Name, Option<RwLockReadGuard<'static, ()>>);

thread_local! {
    static HELD: RefCell<Vec<Holding>> = const { RefCell::new(Vec::new()) };
}

/// The judge of this process.
pub(crate) static ORACLE: LazyLock<Oracle> = LazyLock::new(Oracle::default);

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    looks: AtomicBool,
    /// The mirrors live as long as the process, and so do the orders that were seen.
    mirrors: Mutex<HashMap<Name, &'static RwLock<()>>>,
    circles: Mutex<Vec<String>>,
    taken: AtomicU64,
    nested: AtomicU64,
}

impl Oracle {
    /// From now on every acquisition of this process is judged.
    pub(crate) fn look(&'static self) {
        planbox::sync::witness::observe(self);
        self.looks.store(true, Ordering::Release);
    }

    /// Looks away; what was seen stays.
    pub(crate) fn look_away(&self) {
        self.looks.store(false, Ordering::Release);
    }

    /// The circles found until now, and forgets them.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut circles = self.circles.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *circles)
    }

    /// How many locks of `rank` were seen.
    pub(crate) fn instances(&self, rank: &str) -> usize {
        let mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        mirrors.keys().filter(|name| name.0 == rank).count()
    }

    /// Prints what was seen, and stops if there was a circle, or if next to nothing was seen.
    pub(crate) fn judge(&self) {
        self.look_away();
        let ranks = ["plan", "resource", "registry", "leaf", "core"];
        let counts = ranks.map(|rank| self.instances(rank));
        let taken = self.taken.load(Ordering::Relaxed);
        let nested = self.nested.load(Ordering::Relaxed);
        let circles = self.circles();
        println!(
            "| tracing-mutex: acquisitions, of these under another lock | {taken}, {nested} |\n\
             | tracing-mutex: locks of {} | {counts:?} |\n\
             | tracing-mutex: circles | {} |",
            ranks.join(", "),
            circles.len()
        );
        assert!(circles.is_empty(), "{}", circles.join("\n"));
        assert!(nested > 1_000, "the oracle saw next to nothing");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    fn mirror(&self, name: &Name) -> &'static RwLock<()> {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = mirrors.get(name) {
            return mirror;
        }
        let mirror: &'static RwLock<()> = Box::leak(Box::new(RwLock::new(())));
        mirrors.insert(name.clone(), mirror);
        mirror
    }

    /// Takes the mirror of `name`; nothing if tracing-mutex refuses, which is noted.
    fn take(&self, name: &Name, held: &[Holding]) -> Option<RwLockReadGuard<'static, ()>> {
        let mirror = self.mirror(name);
        let read = || mirror.read().unwrap_or_else(PoisonError::into_inner);
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(guard) => Some(guard),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let under: Vec<_> = held.iter().map(|(_, name, _)| show(name)).collect();
                let circle = format!("{said} {} under {}", show(name), under.join(", "));
                let mut circles = self.circles.lock().unwrap_or_else(PoisonError::into_inner);
                circles.push(circle);
                None
            }
        }
    }
}

fn show((rank, lock, which): &Name) -> String {
    format!("{rank}/{lock} {which}")
}

/// A slot of the stress has a new plan in every life; one mirror for all of them keeps the graph small
/// however long the run.
fn slot(key: String) -> String {
    match key.split_once('-') {
        Some((slot, life)) if life.parse::<u64>().is_ok() => slot.to_owned(),
        _ => key,
    }
}

impl Observer for Oracle {
    fn taken(&self, number: u64, lock: Instance<'_>) {
        if !self.looks.load(Ordering::Acquire) {
            return;
        }
        let which = match lock.key {
            Some(key) => slot(key.to_string()),
            None => format!("{:x}", lock.place),
        };
        let name = (lock.rank.name(), lock.name, which);
        self.taken.fetch_add(1, Ordering::Relaxed);
        let seen = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            self.nested
                .fetch_add(u64::from(!held.is_empty()), Ordering::Relaxed);
            let mirror = self.take(&name, &held);
            held.push((number, name, mirror));
        });
        assert!(seen.is_ok(), "a thread takes locks while it is torn down");
    }

    fn released(&self, number: u64) {
        // What was taken before the oracle looked is not there.
        let gone = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            let place = held.iter().rposition(|(of, _, _)| *of == number);
            place.map(|place| held.remove(place))
        });
        drop(gone);
    }
}
