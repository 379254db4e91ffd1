//! The model: a map from place to version per resource, and the rules of a plan over it.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers of resources and plans are counted round"
)]

use planbox::conformance::Spot;
use std::collections::BTreeMap;

/// What one resource holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The version at each spot.
    pub(super) versions: BTreeMap<Spot, u32>,
    /// How often each spot was written, also by a commit that was taken back.
    pub(super) writes: BTreeMap<Spot, u32>,
}

impl Held {
    pub(super) fn new(spots: usize) -> Self {
        let zero = || Spot::ALL.into_iter().take(spots).map(|spot| (spot, 0));
        Self {
            versions: zero().collect(),
            writes: zero().collect(),
        }
    }

    pub(super) fn put(&mut self, spot: Spot, version: u32) {
        self.versions.insert(spot, version);
        self.note_write(spot);
    }

    pub(super) fn note_write(&mut self, spot: Spot) {
        *self.writes.entry(spot).or_default() += 1;
    }
}

/// A sandbox: what it started from and what the plan wants.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    pub(super) base: Held,
    pub(super) wanted: BTreeMap<Spot, u32>,
}

/// Where a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    Sealed,
    Committed,
    RolledBack,
}

/// A plan: its sandboxes by the number of the resource.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) life: Life,
    pub(super) sandboxes: BTreeMap<usize, Sandbox>,
    /// It has a partner, which always wants a change.
    pub(super) partner: bool,
    /// A value of it went with its process.
    pub(super) crippled: bool,
}

/// What a commit must or may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A touched place has another version now.
    Conflict,
    /// A touched place was written by others and has its old version again: a participant that
    /// looks at the content goes on, one that looks at times or counters does not.
    Either,
    /// Nothing is in the way.
    Through,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            life: Life::Open,
            sandboxes: BTreeMap::new(),
            partner: false,
            crippled: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.life, Life::Open | Life::Sealed)
    }

    /// The plan changes its view; what it does after a seal is not committed.
    pub(super) fn change(&mut self, resource: usize, spot: Spot, version: u32) {
        if let (Life::Open, Some(sandbox)) = (self.life, self.sandboxes.get_mut(&resource)) {
            sandbox.wanted.insert(spot, version);
        }
    }

    /// How many places it changes in all.
    pub(super) fn touched(&self) -> usize {
        self.sandboxes
            .values()
            .map(|sandbox| sandbox.wanted.len())
            .sum()
    }

    /// What a commit over `real` finds.
    pub(super) fn expects(&self, real: &[Held]) -> Expected {
        let mut expected = Expected::Through;
        for (resource, sandbox) in &self.sandboxes {
            let (base, now) = (&sandbox.base, &real[*resource]);
            for spot in sandbox.wanted.keys() {
                if base.versions[spot] != now.versions[spot] {
                    return Expected::Conflict;
                }
                if base.writes[spot] != now.writes[spot] {
                    expected = Expected::Either;
                }
            }
        }
        expected
    }

    /// Everything the plan wants becomes real.
    pub(super) fn commit(&mut self, real: &mut [Held]) {
        for (resource, sandbox) in &self.sandboxes {
            for (spot, version) in &sandbox.wanted {
                real[*resource].put(*spot, *version);
            }
        }
        self.life = Life::Committed;
    }

    /// Everything was applied and taken back: the old versions, written anew. The plan knows its
    /// own writes.
    pub(super) fn taken_back(&mut self, real: &mut [Held]) {
        for (resource, sandbox) in &mut self.sandboxes {
            for spot in sandbox.wanted.keys() {
                let known = sandbox.base.writes[spot] == real[*resource].writes[spot];
                real[*resource].note_write(*spot);
                if known {
                    sandbox.base.note_write(*spot);
                }
            }
        }
    }
}
