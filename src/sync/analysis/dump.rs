//! What was seen and what was declared, and its form in a file.

use crate::sync::order::{ORDER, Rank, Row};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The version of the format that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Where a lock was taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Site {
    /// The rank of the lock.
    pub rank: String,
    /// The name of the lock.
    pub lock: String,
    /// The call site: file, line and column.
    pub at: String,
}

impl Site {
    /// The lock `lock` of `rank`, taken `at` this place.
    pub fn new(rank: impl Into<String>, lock: impl Into<String>, at: impl Into<String>) -> Self {
        Self {
            rank: rank.into(),
            lock: lock.into(),
            at: at.into(),
        }
    }

    /// Rank and name: what is one node of the graph.
    #[must_use]
    pub fn node(&self) -> (&str, &str) {
        (&self.rank, &self.lock)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, lock, at } = self;
        write!(f, "{rank} lock `{lock}` at {at}")
    }
}

/// How the keys of two locks of one rank stood to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Keys {
    /// The key of the lock that was taken is above the key of the one that was held.
    Ascending,
    /// It is not.
    NotAscending,
}

/// A lock that was taken while another was held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Nesting {
    /// The lock that was held, and where it had been taken.
    pub held: Site,
    /// The lock that was taken, and where.
    pub taken: Site,
    /// For two locks of one rank that have keys: how the keys stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// The witness stopped the thread before it took the lock.
    #[serde(default)]
    pub refused: bool,
}

impl Nesting {
    /// `taken` while `held` was held; without keys, and not refused.
    #[must_use]
    pub fn new(held: Site, taken: Site) -> Self {
        Self {
            held,
            taken,
            keys: None,
            refused: false,
        }
    }
}

impl fmt::Display for Nesting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, taken, .. } = self;
        let by = if self.refused { " (refused)" } else { "" };
        write!(f, "{taken}, while holding {held}{by}")
    }
}

/// A lock that was held while the thread passed a door to I/O.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The lock that was held, and where it had been taken.
    pub held: Site,
    /// The door: `fs.sync`, `journal`, `participant`, or what a host calls its own.
    pub door: String,
    /// The call site of the door.
    pub at: String,
    /// The witness stopped the thread before it passed.
    #[serde(default)]
    pub refused: bool,
}

impl Hold {
    /// `held` across `door` at the call site `at`; not refused.
    pub fn new(held: Site, door: impl Into<String>, at: impl Into<String>) -> Self {
        Self {
            held,
            door: door.into(),
            at: at.into(),
            refused: false,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, door, at, .. } = self;
        let by = if self.refused { " (refused)" } else { "" };
        write!(f, "{door} at {at}, while holding {held}{by}")
    }
}

/// A rank and its rules, as the program that ran had declared them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Declared {
    /// The name of the rank.
    pub name: String,
    /// The general rank it belongs to: itself, or one of `host-outer`, `host-inner`, `host-latch`.
    pub kind: String,
    /// What a lock of this rank protects.
    pub protects: String,
    /// Whether it may be held across I/O.
    pub across_io: bool,
    /// Whether several may be held at once, in ascending order of their keys.
    pub several: bool,
    /// The ranks, or general ranks, that may be taken while it is held.
    pub then: Vec<String>,
}

impl From<Rank> for Declared {
    fn from(rank: Rank) -> Self {
        Self {
            name: rank.name().to_owned(),
            kind: rank.row().name.to_owned(),
            protects: rank.protects().to_owned(),
            across_io: rank.across_io(),
            several: rank.several(),
            then: rank.then().into_iter().map(str::to_owned).collect(),
        }
    }
}

impl From<&Row> for Declared {
    fn from(row: &Row) -> Self {
        Self {
            name: row.name.to_owned(),
            kind: row.name.to_owned(),
            protects: row.protects.to_owned(),
            across_io: row.across_io,
            several: row.several,
            then: row.then.iter().copied().map(str::to_owned).collect(),
        }
    }
}

impl Declared {
    /// True if a lock of rank `taken` may be taken while one of this rank is held; two locks of one
    /// rank are judged by their keys.
    #[must_use]
    pub fn allows(&self, taken: &Self) -> bool {
        let names = |name: &String| self.then.contains(name);
        names(&taken.name) || self.kind != taken.kind && names(&taken.kind)
    }
}

/// The first line of every process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::sync) struct Process {
    pub(in crate::sync) version: u32,
    pub(in crate::sync) pid: u32,
    pub(in crate::sync) program: String,
}

/// One line of a dump.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::sync) enum Line {
    #[serde(rename = "planbox-locks")]
    Process(Process),
    Rank(Declared),
    Edge(Nesting),
    Hold(Hold),
}

/// Why a file is not a dump that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// A line is none of ours.
    #[error("line {line} is not a line of a lock dump: {reason}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has no line that says it is a dump.
    #[error("this is not a lock dump: no process wrote its first line")]
    NoDump,
    /// The file was written by a newer version.
    #[error("the dump has version {found}, and only versions up to {VERSION} are known here")]
    Newer {
        /// The version of the file.
        found: u32,
    },
}

/// The union of what any number of processes declared and were seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dump {
    /// Every rank by its name, with each way in which it was declared: more than one is a finding.
    pub ranks: BTreeMap<String, BTreeSet<Declared>>,
    /// Every nesting.
    pub nestings: BTreeSet<Nesting>,
    /// Every lock held across I/O, allowed or not.
    pub holds: BTreeSet<Hold>,
    /// How many processes wrote it.
    pub processes: usize,
}

impl Dump {
    /// The declared order of this crate, and nothing seen.
    #[must_use]
    pub fn of_planbox() -> Self {
        let mut dump = Self::default();
        dump.declare(ORDER.iter().map(Declared::from));
        dump
    }

    /// Adds ranks.
    pub fn declare(&mut self, ranks: impl IntoIterator<Item = Declared>) {
        for rank in ranks {
            let ways = self.ranks.entry(rank.name.clone()).or_default();
            ways.insert(rank);
        }
    }

    /// Adds the text of one file.
    ///
    /// # Errors
    /// [`DumpError`] if it is not a dump; nothing was added then.
    pub fn read(&mut self, text: &str) -> Result<(), DumpError> {
        let mut read = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(line).map_err(|error| DumpError::Line {
                line: number + 1,
                reason: error.to_string(),
            })?;
            match line {
                Line::Process(Process { version, .. }) if version > VERSION => {
                    return Err(DumpError::Newer { found: version });
                }
                Line::Process(_) => read.processes += 1,
                Line::Rank(rank) => read.declare([rank]),
                Line::Edge(nesting) => drop(read.nestings.insert(nesting)),
                Line::Hold(hold) => drop(read.holds.insert(hold)),
            }
        }
        if read.processes == 0 {
            return Err(DumpError::NoDump);
        }
        self.processes += read.processes;
        self.declare(read.ranks.into_values().flatten());
        self.nestings.append(&mut read.nestings);
        self.holds.append(&mut read.holds);
        Ok(())
    }

    /// Adds the nestings of [`Format::Pairs`](super::Format::Pairs), which have no call sites.
    ///
    /// # Errors
    /// [`DumpError::Line`] if a line is not two nodes; nothing was added then.
    pub fn read_pairs(&mut self, text: &str) -> Result<(), DumpError> {
        let mut read = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let site = |node: Option<&str>| {
                let (rank, lock) = node?.split_once('/')?;
                Some(Site::new(rank, lock.replace('_', " "), ""))
            };
            let mut nodes = line.split(' ');
            let pair = (site(nodes.next()), site(nodes.next()), nodes.next());
            let (Some(held), Some(taken), None) = pair else {
                return Err(DumpError::Line {
                    line: number + 1,
                    reason: "it is not a pair of RANK/LOCK RANK/LOCK".to_owned(),
                });
            };
            let mut nesting = Nesting::new(held, taken);
            nesting.keys = (nesting.held.rank == nesting.taken.rank).then_some(Keys::Ascending);
            read.insert(nesting);
        }
        self.nestings.append(&mut read);
        Ok(())
    }

    /// The rules of a rank, if it was declared.
    #[must_use]
    pub fn rank(&self, name: &str) -> Option<&Declared> {
        self.ranks.get(name)?.first()
    }

    /// True if the declared order allows `nesting`.
    #[must_use]
    pub fn allows(&self, nesting: &Nesting) -> bool {
        let (held, taken) = (&nesting.held.rank, &nesting.taken.rank);
        match (self.rank(held), self.rank(taken)) {
            (Some(rank), Some(_)) if held == taken => {
                rank.several && nesting.keys == Some(Keys::Ascending)
            }
            (Some(held), Some(taken)) => held.allows(taken),
            _ => false,
        }
    }

    /// True if the declared order allows `hold`.
    #[must_use]
    pub fn allows_hold(&self, hold: &Hold) -> bool {
        self.rank(&hold.held.rank)
            .is_some_and(|rank| rank.across_io)
    }
}
