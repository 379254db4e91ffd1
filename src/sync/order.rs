//! The declared lock order, as data.
//!
//! `docs/lock-order.md` is generated from [`ORDER`], and the [witness](super::witness) refuses
//! every acquisition that [`allows`] does not permit.

pub use super::host::{Class, Host, Order};
use std::fmt;

/// The place of a lock in the order, outermost first.
///
/// A thread takes locks in ascending rank. Two locks of one rank may be held together only if both
/// are keyed, and then in ascending order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rank {
    /// A host's own lock, held around calls into this crate; ordered by its [`Order`].
    HostOuter(Host),
    /// The lock of one plan.
    Plan,
    /// The lock of one real thing.
    Resource,
    /// A host's own lock, taken inside a participant; ordered by its [`Order`].
    HostInner(Host),
    /// The lock of one job: who may own or remove it.
    Job,
    /// A host's own short latch; ordered by its [`Order`].
    HostLatch(Host),
    /// The table of plans.
    Registry,
    /// A short latch around a queue, a list or a cell.
    Leaf,
    /// The inside of a lock: its wait queue, its map shard.
    Core,
}

impl Rank {
    /// The row of [`ORDER`] that describes this rank.
    #[must_use]
    pub fn row(self) -> &'static Row {
        match self {
            Self::HostOuter(_) => &HOST_OUTER,
            Self::Plan => &PLAN,
            Self::Resource => &RESOURCE,
            Self::HostInner(_) => &HOST_INNER,
            Self::Job => &JOB,
            Self::HostLatch(_) => &HOST_LATCH,
            Self::Registry => &REGISTRY,
            Self::Leaf => &LEAF,
            Self::Core => &CORE,
        }
    }

    /// The rank of a host, if it is one.
    pub(super) fn host(&self) -> Option<&Host> {
        match self {
            Self::HostOuter(host) | Self::HostInner(host) | Self::HostLatch(host) => Some(host),
            _ => None,
        }
    }

    /// Its name: as its host declared it, or as [`ORDER`] has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.host().map_or(self.row().name, Host::name)
    }

    /// What a lock of this rank protects.
    #[must_use]
    pub fn protects(&self) -> &'static str {
        self.host().map_or(self.row().protects, Host::protects)
    }

    /// Whether it may be held while the thread blocks on files or on other processes.
    #[must_use]
    pub fn across_io(&self) -> bool {
        self.row().across_io
    }

    /// Whether several may be held at once, in ascending order of their keys.
    #[must_use]
    pub fn several(&self) -> bool {
        self.host().map_or(self.row().several, Host::keyed)
    }

    /// The names of the ranks that may be taken while it is held.
    #[must_use]
    pub fn then(&self) -> Vec<&'static str> {
        let row = self.row();
        self.host()
            .map_or_else(|| row.then.to_vec(), |host| host.then(row))
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One rank and its rules.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Row {
    /// The name of the rank; also the node in the graph of observed edges.
    pub name: &'static str,
    /// What a lock of this rank protects.
    pub protects: &'static str,
    /// Whether it may be held while the thread blocks on files or on other processes.
    pub across_io: bool,
    /// Whether several may be held at once, in ascending order of their keys.
    pub several: bool,
    /// The names of the ranks that may be taken while it is held.
    pub then: &'static [&'static str],
}

const HOST_OUTER: Row = Row {
    name: "host-outer",
    protects: "whatever the embedding program guards around its calls",
    across_io: true,
    several: true,
    then: &[
        "plan",
        "resource",
        "host-inner",
        "job",
        "host-latch",
        "registry",
        "leaf",
        "core",
    ],
};
const PLAN: Row = Row {
    name: "plan",
    protects: "one plan, for the whole of an operation; among processes by a lease on a file",
    across_io: true,
    several: true,
    then: &[
        "resource",
        "host-inner",
        "job",
        "host-latch",
        "registry",
        "leaf",
        "core",
    ],
};
const RESOURCE: Row = Row {
    name: "resource",
    protects: "one real thing, from validate to apply; among stores by a lock on its identity",
    across_io: true,
    several: true,
    then: &[
        "host-inner",
        "job",
        "host-latch",
        "registry",
        "leaf",
        "core",
    ],
};
const HOST_INNER: Row = Row {
    name: "host-inner",
    protects: "whatever a participant of the embedding program guards",
    across_io: true,
    several: true,
    then: &["job", "host-latch", "registry", "leaf", "core"],
};
const JOB: Row = Row {
    name: "job",
    protects: "who owns or removes one job; among processes by a lease on a file",
    across_io: true,
    several: true,
    then: &["host-latch", "registry", "leaf", "core"],
};
const HOST_LATCH: Row = Row {
    name: "host-latch",
    protects: "a queue, a list or a cell of the embedding program",
    across_io: false,
    several: false,
    then: &["registry", "leaf", "core"],
};
const REGISTRY: Row = Row {
    name: "registry",
    protects: "the table of plans, for a look-up or an insertion",
    across_io: false,
    several: false,
    then: &["leaf", "core"],
};
const LEAF: Row = Row {
    name: "leaf",
    protects: "a queue, a list or a cell; nothing of the program is taken under it",
    across_io: false,
    several: false,
    then: &["core"],
};
const CORE: Row = Row {
    name: "core",
    protects: "the inside of a lock: wait queue, map shard, table of names",
    across_io: false,
    several: false,
    then: &[],
};

/// Every rank, outermost first.
pub const ORDER: &[Row] = &[
    HOST_OUTER, PLAN, RESOURCE, HOST_INNER, JOB, HOST_LATCH, REGISTRY, LEAF, CORE,
];

/// True if a lock of rank `taken` may be taken while one of rank `held` is held.
///
/// For two keyed locks of one rank the answer depends on their keys and is not given here.
#[must_use]
pub fn allows(held: Rank, taken: Rank) -> bool {
    if let (Some(one), Some(other)) = (held.host(), taken.host())
        && held.row().name == taken.row().name
    {
        return one.is_before(other);
    }
    held.row().then.contains(&taken.row().name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Order = Order::new(&[
        Class::around("a", ""),
        Class::around("b", ""),
        Class::inside("c", ""),
        Class::inside("d", ""),
        Class::latch("e", ""),
    ]);
    const ALL: [Rank; 11] = [
        HOST.rank("a"),
        HOST.rank("b"),
        Rank::Plan,
        Rank::Resource,
        HOST.rank("c"),
        HOST.rank("d"),
        Rank::Job,
        HOST.rank("e"),
        Rank::Registry,
        Rank::Leaf,
        Rank::Core,
    ];

    #[test]
    fn the_declared_edges_are_the_ascending_ones() {
        for held in ALL {
            for taken in ALL {
                assert_eq!(allows(held, taken), held < taken, "{held} then {taken}");
            }
        }
    }

    #[test]
    fn rows_are_listed_outermost_first_and_name_only_later_rows() {
        for (place, row) in ORDER.iter().enumerate() {
            for then in row.then {
                let later = ORDER.iter().position(|other| other.name == *then);
                assert!(later.is_some_and(|later| later > place), "{then}");
            }
        }
        let mut names: Vec<_> = ALL.iter().map(|rank| rank.row().name).collect();
        names.dedup();
        assert_eq!(names, ORDER.iter().map(|row| row.name).collect::<Vec<_>>());
    }

    #[test]
    fn no_latch_that_is_kept_from_io_may_be_held_around_one_that_is_not() {
        for held in ALL.iter().filter(|rank| !rank.row().across_io) {
            for taken in ALL.iter().filter(|rank| rank.row().across_io) {
                assert!(!allows(*held, *taken), "{held} then {taken}");
            }
        }
    }
}
