//! The witness of a release build: sees nothing, costs nothing.

use super::{Edge, Hold, Key, Rank};
use std::marker::PhantomData;

/// The witness's note that a lock is held: empty in a release build.
#[derive(Debug)]
#[must_use = "the witness forgets the lock when this is dropped"]
pub struct Held(PhantomData<*const ()>);

/// Notes that this thread is about to take a lock: nothing, in a release build.
#[inline(always)]
pub fn enter(_rank: Rank, _key: Option<&str>, _name: &'static str) -> Held {
    Held(PhantomData)
}

/// Notes that this thread is about to take a keyed lock: nothing, in a release build.
#[inline(always)]
pub fn enter_keyed<K: Key>(_rank: Rank, _key: &K, _name: &'static str) -> Held {
    Held(PhantomData)
}

/// The locks of a thread, for those that work for it: none, in a release build.
#[derive(Debug, Clone)]
pub struct Lent;

/// Borrowed locks: none, in a release build.
#[derive(Debug)]
#[must_use = "the loan ends when this is dropped"]
pub struct Loan(PhantomData<*const ()>);

/// The locks that this thread holds: none, in a release build.
#[inline(always)]
#[must_use]
pub fn lend() -> Lent {
    Lent
}

impl Lent {
    /// Holds this thread to the locks of the other one: to none, in a release build.
    #[inline(always)]
    pub fn hold(&self) -> Loan {
        Loan(PhantomData)
    }
}

/// Checks that this thread may block: nothing, in a release build.
#[inline(always)]
pub fn about_to_block(_what: &str) {}

#[inline(always)]
pub(in crate::sync) fn about_to_wait() {}

/// Every nesting seen so far in this process: none, in a release build.
#[must_use]
pub fn edges() -> Vec<Edge> {
    Vec::new()
}

/// Every lock that was held across I/O: none, in a release build.
#[must_use]
pub fn holds() -> Vec<Hold> {
    Vec::new()
}

pub(super) fn ranks() -> Vec<Rank> {
    Vec::new()
}

#[derive(Debug)]
pub(in crate::sync) struct Tag;

impl Tag {
    pub(in crate::sync) const fn new(_rank: Rank, _name: &'static str) -> Self {
        Self
    }

    #[inline(always)]
    pub(in crate::sync) fn enter(&self) -> Held {
        Held(PhantomData)
    }
}
