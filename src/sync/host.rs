//! The locks of an embedding program, in the same order as ours.

use super::order::{ORDER, Rank, Row};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Where a lock of an embedding program stands towards ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Around,
    Inside,
    Latch,
}

/// One rank of an embedding program: a name for all locks that protect the same kind of thing.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    name: &'static str,
    protects: &'static str,
    kind: Kind,
    keyed: bool,
}

impl Class {
    /// A lock that is held around calls into this crate, and across I/O.
    #[must_use]
    pub const fn around(name: &'static str, protects: &'static str) -> Self {
        Self::of(Kind::Around, name, protects)
    }

    /// A lock that a participant takes while a plan is worked on. It may be held across I/O, but not
    /// around a call that takes a plan.
    #[must_use]
    pub const fn inside(name: &'static str, protects: &'static str) -> Self {
        Self::of(Kind::Inside, name, protects)
    }

    /// A short latch: never held across I/O, nor around a lock that may be.
    #[must_use]
    pub const fn latch(name: &'static str, protects: &'static str) -> Self {
        Self::of(Kind::Latch, name, protects)
    }

    const fn of(kind: Kind, name: &'static str, protects: &'static str) -> Self {
        Self {
            name,
            protects,
            kind,
            keyed: false,
        }
    }

    /// The same rank for locks with keys: several may be held at once, in ascending order of their
    /// keys. See [`LockTable`](crate::lock::LockTable).
    #[must_use]
    pub const fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// The name of the rank; also the node in the graph of observed edges.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The order of an embedding program's own locks, outermost first.
///
/// Declared as a constant, an order that cannot be right does not compile: a name that is used
/// twice or is one of ours, a latch before a lock that may be held across I/O, a rank that the order
/// does not have.
///
/// ```
/// use planbox::sync::order::{Class, Order, Rank};
/// use planbox::sync::{Mutex, RwLock};
///
/// const ORDER: Order = Order::new(&[
///     Class::around("crews", "who works on which job"),
///     Class::inside("models", "the model that a participant loads"),
///     Class::latch("queue", "jobs that wait for a worker"),
/// ]);
/// const CREWS: Rank = ORDER.rank("crews");
/// const QUEUE: Rank = ORDER.rank("queue");
///
/// let crews = RwLock::new(CREWS, "crews", vec!["a"]);
/// let queue = Mutex::new(QUEUE, "queue", vec![7]);
/// let free = crews.read();
/// assert_eq!(queue.lock().pop(), Some(7)); // a debug build checks each acquisition
/// # drop(free);
/// ```
///
/// A rank that was not declared:
/// ```compile_fail,E0080
/// # use planbox::sync::order::{Class, Order, Rank};
/// const ORDER: Order = Order::new(&[Class::latch("queue", "jobs that wait")]);
/// const QUEUE: Rank = ORDER.rank("queues");
/// # let _ = QUEUE;
/// ```
///
/// A lock that may be held across I/O, under a latch:
/// ```compile_fail,E0080
/// # use planbox::sync::order::{Class, Order};
/// const ORDER: Order = Order::new(&[
///     Class::latch("queue", "jobs that wait"),
///     Class::around("workers", "who works on which job"),
/// ]);
/// # let _ = ORDER;
/// ```
///
/// A name that is one of ours:
/// ```compile_fail,E0080
/// # use planbox::sync::order::{Class, Order};
/// const ORDER: Order = Order::new(&[Class::around("plan", "another kind of plan")]);
/// # let _ = ORDER;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Order {
    classes: &'static [Class],
}

impl Order {
    /// An order of these ranks, outermost first: those around our calls, those inside participants,
    /// latches.
    ///
    /// # Panics
    /// If the order cannot be right; in a constant, when it is compiled.
    #[must_use]
    pub const fn new(classes: &'static [Class]) -> Self {
        let mut left = classes;
        while let [first, rest @ ..] = left {
            assert!(!first.name.is_empty(), "a rank needs a name");
            let mut ours = ORDER;
            while let [row, others @ ..] = ours {
                assert!(!same(row.name, first.name), "this name is one of planbox");
                ours = others;
            }
            let mut later = rest;
            while let [other, others @ ..] = later {
                assert!(!same(other.name, first.name), "a rank is declared twice");
                later = others;
            }
            if let [next, ..] = rest {
                assert!(
                    first.kind as u8 <= next.kind as u8,
                    "locks around calls come first, then those inside participants, then latches"
                );
            }
            left = rest;
        }
        Self { classes }
    }

    /// The rank `name`.
    ///
    /// # Panics
    /// If the order does not have it; in a constant, when it is compiled.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "in a constant, where it belongs, this is an error of the compiler"
    )]
    pub const fn rank(&self, name: &str) -> Rank {
        let mut left = self.classes;
        let mut number = 0;
        while let [class, rest @ ..] = left {
            if same(class.name, name) {
                let host = Host {
                    classes: self.classes,
                    class,
                    number,
                };
                return match class.kind {
                    Kind::Around => Rank::HostOuter(host),
                    Kind::Inside => Rank::HostInner(host),
                    Kind::Latch => Rank::HostLatch(host),
                };
            }
            number += 1;
            left = rest;
        }
        panic!("the order has no such rank")
    }
}

const fn same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        one = rest_a;
        other = rest_b;
    }
    true
}

/// A rank of an embedding program, as its [`Order`] hands it out.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    classes: &'static [Class],
    class: &'static Class,
    number: u16,
}

impl Host {
    pub(super) fn name(&self) -> &'static str {
        self.class.name
    }

    pub(super) fn keyed(&self) -> bool {
        self.class.keyed
    }

    pub(super) fn protects(&self) -> &'static str {
        self.class.protects
    }

    /// The other ranks of the order, outermost first.
    pub(super) fn all(&self) -> impl Iterator<Item = Rank> + use<> {
        let order = Order {
            classes: self.classes,
        };
        order
            .classes
            .iter()
            .map(move |class| order.rank(class.name))
    }

    /// True if this rank comes before `other` in one order.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let place = usize::from(self.number) + 1;
        let mut later = self.classes.iter().skip(place);
        later.any(|class| class.name == other.class.name)
    }

    /// The names of the ranks that may be taken under this one, whose general row is `row`.
    pub(super) fn then(&self, row: &'static Row) -> Vec<&'static str> {
        let place = usize::from(self.number) + 1;
        let later = self.classes.iter().skip(place).map(Class::name);
        later.chain(row.then.iter().copied()).collect()
    }
}

/// Ranks of two programs in one process are told apart by their names.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Host {}

impl PartialOrd for Host {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Host {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.number, self.class.name).cmp(&(other.number, other.class.name))
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.number, self.class.name).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::order::allows;

    const ORDER: Order = Order::new(&[
        Class::around("workers", "w"),
        Class::around("routes", "r").keyed(),
        Class::inside("models", "m"),
        Class::latch("queue", "q"),
        Class::latch("counters", "c"),
    ]);

    #[test]
    fn what_is_declared_first_is_taken_first() {
        let ranks: Vec<Rank> = ["workers", "routes", "models", "queue", "counters"]
            .iter()
            .map(|name| ORDER.rank(name))
            .collect();
        for (i, held) in ranks.iter().enumerate() {
            for (j, taken) in ranks.iter().enumerate() {
                assert_eq!(allows(*held, *taken), i < j, "{held} then {taken}");
                assert_eq!(held.then().contains(&taken.name()), i < j);
            }
        }
        assert!(allows(ranks[1], Rank::Plan) && !allows(Rank::Plan, ranks[1]));
        assert!(allows(Rank::Resource, ranks[2]) && !allows(ranks[2], Rank::Resource));
        assert!(allows(ranks[4], Rank::Registry) && !allows(ranks[3], Rank::Plan));
        assert!(!ranks[3].across_io() && ranks[2].across_io());
        assert_eq!(
            (ranks[1].to_string(), ranks[1].several()),
            ("routes".to_owned(), true)
        );
    }

    #[test]
    fn an_order_that_cannot_be_right_is_refused() {
        const TWICE: &[Class] = &[Class::latch("a", ""), Class::latch("a", "")];
        const RESERVED: &[Class] = &[Class::latch("leaf", "")];
        const LATCH_FIRST: &[Class] = &[Class::latch("a", ""), Class::inside("b", "")];
        const NAMELESS: &[Class] = &[Class::latch("", "")];
        for (classes, why) in [
            (TWICE, "declared twice"),
            (RESERVED, "one of planbox"),
            (LATCH_FIRST, "then latches"),
            (NAMELESS, "needs a name"),
        ] {
            let order = || Order::new(classes);
            let stopped = std::panic::catch_unwind(order).unwrap_err();
            let text = stopped.downcast_ref::<&'static str>().unwrap();
            assert!(text.contains(why), "{text}");
        }
        assert!(std::panic::catch_unwind(|| ORDER.rank("nobody")).is_err());
    }
}
