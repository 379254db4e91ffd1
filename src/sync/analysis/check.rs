//! What is wrong in a dump.

use super::dump::{Dump, Hold, Keys, Nesting};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Something that is wrong. Each names both call sites of every nesting in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// Locks were taken in a circle: threads that come in at different places can wait for each
    /// other for ever.
    Cycle {
        /// The nestings; each takes what the next one holds, and the last takes what the first holds.
        edges: Vec<Nesting>,
    },
    /// A nesting that the declared order does not allow.
    Undeclared {
        /// The nesting.
        edge: Nesting,
    },
    /// A lock was held across I/O, and its rank forbids that.
    HeldAcrossIo {
        /// The lock and the door.
        hold: Hold,
    },
    /// Programs that were run declare one rank in different ways.
    Contradiction {
        /// The rank.
        rank: String,
    },
}

impl Finding {
    /// Stable kebab-case code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cycle { .. } => "cycle",
            Self::Undeclared { .. } => "undeclared",
            Self::HeldAcrossIo { .. } => "held-across-io",
            Self::Contradiction { .. } => "contradiction",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle { edges } => {
                f.write_str("cycle: these locks are taken in a circle")?;
                edges.iter().try_for_each(|edge| write!(f, "\n  {edge}"))
            }
            Self::Undeclared { edge } => {
                write!(
                    f,
                    "undeclared: the declared order has no such edge\n  {edge}"
                )
            }
            Self::HeldAcrossIo { hold } => {
                let rank = &hold.held.rank;
                write!(
                    f,
                    "held-across-io: {rank} must not be held across I/O\n  {hold}"
                )
            }
            Self::Contradiction { rank } => {
                write!(f, "contradiction: the rank {rank} was declared in two ways")
            }
        }
    }
}

impl Dump {
    /// Everything that is wrong: cycles first, then edges, then holds.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let cycles = cycles(&self.nestings).into_iter();
        let undeclared = self.nestings.iter().filter(|edge| !self.allows(edge));
        let holds = self.holds.iter().filter(|hold| !self.allows_hold(hold));
        let twice = self.ranks.iter().filter(|(_, ways)| ways.len() > 1);
        cycles
            .map(|edges| Finding::Cycle { edges })
            .chain(undeclared.cloned().map(|edge| Finding::Undeclared { edge }))
            .chain(holds.cloned().map(|hold| Finding::HeldAcrossIo { hold }))
            .chain(twice.map(|(rank, _)| Finding::Contradiction { rank: rank.clone() }))
            .collect()
    }
}

/// A lock: its rank and its name.
type Node<'a> = (&'a str, &'a str);
type Graph<'a> = BTreeMap<Node<'a>, BTreeMap<Node<'a>, &'a Nesting>>;

/// Circles among `nestings`: none if there is none, and otherwise at least one through every lock
/// that is part of one, a shortest.
///
/// Locks of one rank that were taken in ascending order of their keys have an order of their own,
/// and are no part of a circle.
#[must_use]
pub fn cycles(nestings: &BTreeSet<Nesting>) -> Vec<Vec<Nesting>> {
    let mut graph = Graph::new();
    for nesting in nestings {
        let by_key = nesting.held.rank == nesting.taken.rank;
        if !(by_key && nesting.keys == Some(Keys::Ascending)) {
            let next = graph.entry(nesting.held.node()).or_default();
            next.entry(nesting.taken.node()).or_insert(nesting);
        }
    }
    let mut told: BTreeSet<Node<'_>> = BTreeSet::new();
    let mut found = Vec::new();
    for start in graph.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(&graph, *start) {
            told.extend(cycle.iter().map(|edge| edge.held.node()));
            found.push(cycle.into_iter().cloned().collect());
        }
    }
    found
}

/// The shortest way from `start` back to it, by breadth.
fn shortest_cycle<'a>(graph: &Graph<'a>, start: Node<'a>) -> Option<Vec<&'a Nesting>> {
    let mut came_by: BTreeMap<Node<'a>, &'a Nesting> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(node) = waiting.pop_front() {
        for (next, edge) in graph.get(&node).into_iter().flatten() {
            if came_by.contains_key(next) {
                continue;
            }
            came_by.insert(*next, *edge);
            if *next == start {
                return Some(way_back(&came_by, start));
            }
            waiting.push_back(*next);
        }
    }
    None
}

/// The edges from `start` to itself, in the order in which they are gone.
fn way_back<'a>(came_by: &BTreeMap<Node<'a>, &'a Nesting>, start: Node<'a>) -> Vec<&'a Nesting> {
    let mut way = Vec::new();
    let mut at = start;
    while let Some(edge) = came_by.get(&at) {
        way.push(*edge);
        at = edge.held.node();
        if at == start {
            break;
        }
    }
    way.reverse();
    way
}
