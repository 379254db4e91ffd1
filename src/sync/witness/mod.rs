//! The witness: watches every acquisition of every thread against the declared order.
//!
//! In a debug build each thread keeps the stack of the locks it holds, with their call sites. Taking
//! a lock that the [order] does not allow panics *before* the thread can block, and
//! names both call sites: an inversion is found on the first run that takes the two locks in the
//! wrong order, whether or not another thread is there to make it a deadlock. Tries are held to the
//! same rule as waits. A thread that is already panicking is not checked, so that no unwinding is
//! turned into an abort.
//!
//! Every nesting that was seen is kept for the whole process ([`edges`]), and so is every lock that was
//! held across I/O ([`holds`]). With `PLANBOX_LOCK_EDGES=FILE` in the environment each is also
//! appended to FILE when it is first seen, in the format of [`analysis`](super::analysis). What is
//! refused is written, too: the panic may be caught by somebody, the line stays.
//!
//! With `PLANBOX_LOCK_WITNESS=record` nothing is refused, only recorded: for a run that should go on to
//! its end and be judged by `planbox locks --check`.
//!
//! In a release build all of this is empty and costs nothing.

use super::analysis::{Dump, Hold, Keys, Nesting, Site};
use super::order::{self, Rank};
use std::fmt;
use std::panic::Location;

/// A nesting that was seen: one lock taken while another was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Edge {
    /// Rank of the lock that was held.
    pub held: Rank,
    /// Name of the lock that was held.
    pub held_name: &'static str,
    /// Where it had been taken.
    pub held_at: &'static Location<'static>,
    /// Rank of the lock that was taken.
    pub taken: Rank,
    /// Name of the lock that was taken.
    pub taken_name: &'static str,
    /// Where it was taken.
    pub taken_at: &'static Location<'static>,
    /// For two locks of one rank that have keys: how the keys stood.
    pub keys: Option<Keys>,
    /// The witness stopped the thread before it took the lock.
    pub refused: bool,
}

impl From<Edge> for Nesting {
    fn from(edge: Edge) -> Self {
        let mut nesting = Self::new(
            Site::new(edge.held.name(), edge.held_name, edge.held_at.to_string()),
            Site::new(
                edge.taken.name(),
                edge.taken_name,
                edge.taken_at.to_string(),
            ),
        );
        nesting.keys = edge.keys;
        nesting.refused = edge.refused;
        nesting
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `{}` ({}) -> {} `{}` ({})",
            self.held, self.held_name, self.held_at, self.taken, self.taken_name, self.taken_at
        )
    }
}

/// A key by which locks of one rank are ordered: what [`enter_keyed`] takes.
pub trait Key: Ord + fmt::Display + Clone + Send + Sync + 'static {}
impl<K: Ord + fmt::Display + Clone + Send + Sync + 'static> Key for K {}

#[cfg(any(loom, not(debug_assertions)))]
mod blind;
#[cfg(all(debug_assertions, not(loom)))]
mod log;
#[cfg(all(debug_assertions, not(loom)))]
mod observer;
#[cfg(all(debug_assertions, not(loom)))]
mod watching;

#[cfg(any(loom, not(debug_assertions)))]
use blind as on;
#[cfg(all(debug_assertions, not(loom)))]
use watching as on;

#[doc(hidden)]
#[cfg(all(debug_assertions, not(loom)))]
pub use observer::{Instance, Observer, observe};
pub use on::{Held, Lent, Loan, about_to_block, edges, enter, enter_keyed, holds, lend};
pub(super) use on::{Tag, about_to_wait};

/// Everything that was declared and seen in this process: what a test of a program judges at its end.
/// In a release build nothing was seen.
#[must_use]
pub fn dump() -> Dump {
    let mut dump = Dump::of_planbox();
    let edges = edges();
    let ranks = edges.iter().flat_map(|edge| [edge.held, edge.taken]);
    for rank in ranks.chain(on::ranks()) {
        let others = rank.host().into_iter().flat_map(order::Host::all);
        dump.declare(others.map(Into::into));
    }
    dump.nestings = edges.into_iter().map(Into::into).collect();
    dump.holds = holds().into_iter().collect();
    dump.processes = 1;
    dump
}

/// Runs `body`, which plants an error for a test: nothing that this thread does in it is written to
/// the file.
#[doc(hidden)]
#[cfg(all(debug_assertions, not(loom)))]
pub fn planted<T>(body: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            log::PLANTED.with(|planted| planted.set(self.0));
        }
    }
    let _back = Back(log::PLANTED.with(|planted| planted.replace(true)));
    body()
}

#[cfg(all(test, debug_assertions))]
mod tests;
