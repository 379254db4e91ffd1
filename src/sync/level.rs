//! The order of locks in types: taking them the wrong way round does not compile.
//!
//! A [`Level`] is a type that stands for a rank. A [`Leveled`] lock is taken with an [`Under`], which
//! says what its holder holds and is borrowed for as long as the lock is held; which level comes
//! [`Before`] which other is a matter of `impl`s. So a wrong order, or a second lock beside one that is
//! held, is an error of the compiler, and costs nothing at run time.
//!
//! It is for locks that one function, or functions that hand each other the `Under`, take together.
//! What it cannot see: a thread that makes a second [`Under::nothing`], and calls through code that
//! passes none, such as a participant called by a manager. The [witness](super::witness) sees both,
//! and checks every `Leveled` lock as well.
//!
//! ```
//! use planbox::sync::level::{Before, Level, Leveled, Under};
//! use planbox::sync::order::{Class, Order, Rank};
//!
//! const ORDER: Order = Order::new(&[
//!     Class::around("workers", "who works on which job"),
//!     Class::latch("queue", "jobs that wait for a worker"),
//! ]);
//! struct Workers;
//! impl Level for Workers {
//!     const RANK: Rank = ORDER.rank("workers");
//! }
//! struct Queue;
//! impl Level for Queue {
//!     const RANK: Rank = ORDER.rank("queue");
//! }
//! impl Before<Queue> for Workers {}
//!
//! let workers = Leveled::new(Workers, "workers", vec!["ann"]);
//! let queue = Leveled::new(Queue, "queue", vec![7]);
//! let mut nothing = Under::nothing();
//! let (free, mut under) = workers.lock(&mut nothing);
//! let (mut jobs, _) = queue.lock(&mut under);
//! assert_eq!((free.first(), jobs.pop()), (Some(&"ann"), Some(7)));
//! ```

use super::latch::{Mutex, MutexGuard};
use super::order::Rank;
use std::fmt;
use std::marker::PhantomData;

/// A rank as a type.
pub trait Level: 'static {
    /// The rank, for the witness.
    const RANK: Rank;
}

/// A level under whose locks those of `Taken` may be taken.
///
/// What the implementations say should be what the declared order says; if it is not, the witness
/// stops the first run that shows it.
#[diagnostic::on_unimplemented(
    message = "a lock of level `{Taken}` must not be taken while one of level `{Self}` is held",
    label = "against the lock order",
    note = "take the outer lock first, or let `{Self}` go; `impl Before<{Taken}> for {Self}` declares the order"
)]
pub trait Before<Taken: Level> {}

/// The level of a thread that holds none of these locks: it comes before all.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl<L: Level> Before<L> for Nothing {}

/// What its holder holds: `Held`, and whatever that was taken under. It stays on its thread.
#[derive(Debug)]
pub struct Under<'a, Held> {
    held: PhantomData<&'a mut Held>,
    here: PhantomData<*const ()>,
}

impl Under<'_, Nothing> {
    /// Nothing is held: where a thread begins. One is enough for a thread.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            held: PhantomData,
            here: PhantomData,
        }
    }
}

/// A [`Mutex`] that is taken in the order of its level.
pub struct Leveled<L, T> {
    level: PhantomData<fn() -> L>,
    inner: Mutex<T>,
}

impl<L: Level, T> Leveled<L, T> {
    /// A free lock named `name` around `value`.
    pub fn new(_level: L, name: &'static str, value: T) -> Self {
        Self {
            level: PhantomData,
            inner: Mutex::new(L::RANK, name, value),
        }
    }

    /// Waits for the lock and takes it under what is held. The second of the two is for what is taken
    /// under this one.
    ///
    /// # Panics
    /// In a debug build, if the declared order does not allow it here.
    #[track_caller]
    pub fn lock<'a, Held: Before<L>>(
        &'a self,
        _under: &'a mut Under<'_, Held>,
    ) -> (MutexGuard<'a, T>, Under<'a, L>) {
        let under = Under {
            held: PhantomData,
            here: PhantomData,
        };
        (self.inner.lock(), under)
    }
}

impl<L, T: fmt::Debug> fmt::Debug for Leveled<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
