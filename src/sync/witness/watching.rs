//! The witness of a debug build.

use super::observer::{Instance, observer};
use super::{Edge, Hold, Key, Keys, Rank, Site, log};
use crate::sync::{order, thread_local};
use std::any::Any;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

/// A key of any type: ordered among its own type by `Ord`, among others by its text.
trait AnyKey: fmt::Display + Send + Sync {
    fn against(&self, other: &dyn AnyKey) -> Ordering;
    fn as_any(&self) -> &dyn Any;
    fn as_display(&self) -> &dyn fmt::Display;
}

impl<K: Key> AnyKey for K {
    fn against(&self, other: &dyn AnyKey) -> Ordering {
        other.as_any().downcast_ref::<K>().map_or_else(
            || self.to_string().cmp(&other.to_string()),
            |other| self.cmp(other),
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_display(&self) -> &dyn fmt::Display {
        self
    }
}

#[derive(Clone)]
struct Entry {
    number: u64,
    rank: Rank,
    name: &'static str,
    key: Option<Arc<dyn AnyKey>>,
    /// Where a latch lies; 0 for what has no place.
    place: usize,
    at: &'static Location<'static>,
}

impl Entry {
    /// Tells the observer, if there is one.
    fn tell(&self) {
        if let Some(observer) = observer() {
            let key = self.key.as_deref().map(AnyKey::as_display);
            let lock = Instance {
                rank: self.rank,
                name: self.name,
                key,
                place: self.place,
            };
            observer.taken(self.number, lock);
        }
    }
}

fn tell_released(number: u64) {
    if let Some(observer) = observer().filter(|_| number != 0) {
        observer.released(number);
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lock `{}`", self.rank, self.name)?;
        self.key
            .as_ref()
            .map_or(Ok(()), |key| write!(f, " of {key}"))
    }
}

#[derive(Default)]
struct Stack {
    next: u64,
    held: Vec<Entry>,
}

thread_local! {
    static STACK: RefCell<Stack> = RefCell::new(Stack::default());
}

/// The witness's note that a lock is held.
#[derive(Debug)]
#[must_use = "the witness forgets the lock when this is dropped"]
pub struct Held {
    number: u64,
    /// The stack belongs to the thread.
    here: PhantomData<*const ()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // A thread that is being torn down has no stack any more, and nothing left to check.
        let forgotten = STACK.try_with(|stack| {
            let held = &mut stack.borrow_mut().held;
            let place = held.iter().rposition(|entry| entry.number == self.number);
            place.map(|place| held.remove(place))
        });
        drop(forgotten);
        tell_released(self.number);
    }
}

/// Notes that this thread is about to take the lock `name`, which has no order among its rank or
/// is ordered by the text `key`. Call it before blocking; keep the result until after the release.
///
/// # Panics
/// If the declared order does not allow the lock under one that this thread holds.
#[track_caller]
pub fn enter(rank: Rank, key: Option<&str>, name: &'static str) -> Held {
    let key = key.map(|key| Arc::new(key.to_owned()) as Arc<dyn AnyKey>);
    push(Entry {
        number: 0,
        rank,
        name,
        key,
        place: 0,
        at: Location::caller(),
    })
}

/// Notes that this thread is about to take the lock of `key`. Call it before blocking; keep the
/// result until after the release.
///
/// # Panics
/// If the declared order does not allow the lock under one that this thread holds.
#[track_caller]
pub fn enter_keyed<K: Key>(rank: Rank, key: &K, name: &'static str) -> Held {
    push(Entry {
        number: 0,
        rank,
        name,
        key: Some(Arc::new(key.clone())),
        place: 0,
        at: Location::caller(),
    })
}

/// The locks that a thread holds, for the threads that work for it.
#[derive(Clone)]
pub struct Lent {
    held: Vec<Entry>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({})", self.held.len())
    }
}

/// Locks of another thread that this one is held to, until this is dropped.
#[derive(Debug)]
#[must_use = "the loan ends when this is dropped"]
pub struct Loan {
    #[expect(dead_code, reason = "dropped when the loan ends")]
    held: Vec<Held>,
}

/// The locks that this thread holds. A thread that waits for others to do a part of its work lends
/// them its locks: what they take, they take under these.
#[must_use]
pub fn lend() -> Lent {
    let held = STACK.try_with(|stack| stack.borrow().held.clone());
    Lent {
        held: held.unwrap_or_default(),
    }
}

impl Lent {
    /// Holds this thread to the locks of the other one.
    pub fn hold(&self) -> Loan {
        let lent = self.held.iter().filter_map(|entry| {
            let number = next_number();
            let entry = Entry {
                number,
                ..entry.clone()
            };
            entry.tell();
            STACK
                .try_with(|stack| stack.borrow_mut().held.push(entry))
                .ok()?;
            Some(Held {
                number,
                here: PhantomData,
            })
        });
        Loan {
            held: lent.collect(),
        }
    }
}

/// Checks that this thread may block in `what`, for example `fs.sync`, and records the locks that are
/// held across it. Doors to I/O call it: ours do, and those of an embedding program may.
///
/// # Panics
/// If the thread holds a latch that must not be held across I/O.
#[track_caller]
pub fn about_to_block(what: &str) {
    refuse_latches(what, 0, Location::caller());
}

/// Checks that this thread may wait on a condition: the waited-on latch is the innermost one, and
/// no other latch is held.
#[track_caller]
pub(in crate::sync) fn about_to_wait() {
    refuse_latches("a wait on a condition", 1, Location::caller());
}

/// Every nesting seen so far in this process, in order of rank.
#[must_use]
pub fn edges() -> Vec<Edge> {
    log::edges()
}

/// Every lock seen so far in this process that was held across I/O, allowed or not.
#[must_use]
pub fn holds() -> Vec<Hold> {
    log::holds()
}

/// The ranks of hosts that were seen.
pub(super) fn ranks() -> Vec<Rank> {
    log::ranks()
}

/// Rank and name of a latch.
#[derive(Debug)]
pub(in crate::sync) struct Tag {
    rank: Rank,
    name: &'static str,
}

impl Tag {
    pub(in crate::sync) const fn new(rank: Rank, name: &'static str) -> Self {
        Self { rank, name }
    }

    #[track_caller]
    pub(in crate::sync) fn enter(&self) -> Held {
        push(Entry {
            number: 0,
            rank: self.rank,
            name: self.name,
            key: None,
            place: std::ptr::from_ref(self).addr(),
            at: Location::caller(),
        })
    }
}

/// A number for a holding of this thread; 0 if the thread is being torn down.
fn next_number() -> u64 {
    let next = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        stack.next += 1;
        stack.next
    });
    next.unwrap_or_default()
}

fn push(new: Entry) -> Held {
    let number = next_number();
    if number == 0 {
        return Held {
            number,
            here: PhantomData,
        };
    }
    let new = Entry { number, ..new };
    new.tell();
    let done = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        let forbidden = !std::thread::panicking() && log::refuses();
        let refused = stack.held.iter().find(|old| !may_follow(old, &new));
        if let Some(old) = refused.filter(|_| forbidden) {
            let mut edge = edge(old, &new);
            edge.refused = true;
            return Err(Box::new((edge, refusal(old, &new))));
        }
        let seen: Vec<Edge> = stack.held.iter().map(|old| edge(old, &new)).collect();
        stack.held.push(new);
        Ok(seen)
    });
    match done {
        Ok(Ok(seen)) => seen.into_iter().for_each(log::nesting),
        Ok(Err(refused)) => {
            tell_released(number);
            let (edge, refusal) = *refused;
            log::nesting(edge);
            stop(&refusal)
        }
        Err(_torn_down) => (),
    }
    Held {
        number,
        here: PhantomData,
    }
}

fn keys(old: &Entry, new: &Entry) -> Option<Keys> {
    let (Some(held), Some(taken)) = (&old.key, &new.key) else {
        return None;
    };
    (old.rank == new.rank).then(|| match held.against(taken.as_ref()) {
        Ordering::Less => Keys::Ascending,
        _ => Keys::NotAscending,
    })
}

fn may_follow(old: &Entry, new: &Entry) -> bool {
    match keys(old, new) {
        Some(keys) => keys == Keys::Ascending && new.rank.several(),
        None => order::allows(old.rank, new.rank),
    }
}

fn refusal(old: &Entry, new: &Entry) -> String {
    format!(
        "lock order: {new} taken at {} while {old} is held since {}; the declared order is src/sync/order.rs, locks of one rank in ascending order of their keys",
        new.at, old.at
    )
}

#[expect(clippy::panic, reason = "the witness exists to stop the program here")]
fn stop(message: &str) -> ! {
    panic!("{message}");
}

fn edge(old: &Entry, new: &Entry) -> Edge {
    Edge {
        held: old.rank,
        held_name: old.name,
        held_at: old.at,
        taken: new.rank,
        taken_name: new.name,
        taken_at: new.at,
        keys: keys(old, new),
        refused: false,
    }
}

/// Records the locks that are held across `what`, and stops if one of them is a latch that must not
/// be; the `spare` innermost locks are not looked at.
fn refuse_latches(what: &str, spare: usize, at: &'static Location<'static>) {
    let seen = STACK.try_with(|stack| {
        let stack = stack.borrow();
        let mut seen: Vec<(Hold, Option<String>)> = Vec::new();
        for entry in stack.held.iter().rev().skip(spare) {
            let forbidden = !entry.rank.across_io();
            if forbidden || log::is_news((entry.rank, entry.name, entry.at, at)) {
                let site = Site::new(entry.rank.name(), entry.name, entry.at.to_string());
                let message = || {
                    format!(
                        "lock order: about to block in {what} at {at} while {entry} is held since {}; it must not be held across I/O",
                        entry.at
                    )
                };
                let hold = Hold::new(site, what, at.to_string());
                log::declared(entry.rank);
                seen.push((hold, forbidden.then(message)));
            }
        }
        seen
    });
    let refuses = log::refuses() && !std::thread::panicking();
    let mut refusal = None;
    for (mut hold, message) in seen.unwrap_or_default() {
        hold.refused = refuses && message.is_some();
        log::hold(hold);
        refusal = refusal.or(message);
    }
    if let Some(message) = refusal.filter(|_| refuses) {
        stop(&message);
    }
}
