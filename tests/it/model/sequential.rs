//! Plans as a sequential thing: what one caller after the other would be told.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers of plans and things are small and fixed"
)]

use stateright::semantics::SequentialSpec;

/// The two directories, and the value.
pub(super) const THINGS: usize = 3;
pub(super) const VALUE: usize = 2;

pub(super) const PLANS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Open(usize, usize),
    /// The plan puts this version where it works.
    Write(usize, usize, u32),
    Commit(usize),
    RollBack(usize),
    Status(usize),
    Gc,
    /// What the real thing holds.
    Look(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Opened,
    Refused,
    Wrote,
    /// There is nowhere to write any more, or not now.
    NotWritten,
    /// The first receipt, or a later one: so many sandboxes, so many of them changed something.
    Committed(usize, usize),
    Again(usize, usize),
    Conflict,
    RolledBack,
    Is(Phase),
    /// It is decided, and perhaps not yet to be seen.
    Deciding,
    Swept,
    Holds(u32),
    /// What is never right.
    Wrong(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Committed,
    GivenUp,
}

/// What a sandbox started from, and what the plan wants there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    base: u32,
    wanted: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PlainPlan {
    phase: Phase,
    sandboxes: [Option<Plain>; THINGS],
}

/// Everything, as a sequential thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainWorld {
    real: [u32; THINGS],
    plans: [PlainPlan; PLANS],
}

impl PlainPlan {
    fn counts(&self) -> (usize, usize) {
        let open = self.sandboxes.iter().flatten();
        let changed = open.clone().filter(|sandbox| sandbox.wanted.is_some());
        // The participant that waits changes something, too.
        (open.clone().count() + 1, changed.count() + 1)
    }
}

impl PlainWorld {
    pub(super) fn new() -> Self {
        let plan = PlainPlan {
            phase: Phase::Open,
            sandboxes: [None; THINGS],
        };
        Self {
            real: [0; THINGS],
            plans: [plan; PLANS],
        }
    }

    fn commit(&mut self, plan: usize) -> Told {
        let plan = &mut self.plans[plan];
        let (count, changed) = plan.counts();
        match plan.phase {
            Phase::Committed => return Told::Again(count, changed),
            Phase::GivenUp => return Told::Refused,
            Phase::Open => (),
        }
        let both = || self.real.iter().zip(&plan.sandboxes);
        if both().any(|(real, sandbox)| {
            sandbox.is_some_and(|sandbox| sandbox.wanted.is_some() && sandbox.base != *real)
        }) {
            return Told::Conflict;
        }
        for (real, sandbox) in self.real.iter_mut().zip(&plan.sandboxes) {
            *real = sandbox.and_then(|sandbox| sandbox.wanted).unwrap_or(*real);
        }
        plan.phase = Phase::Committed;
        Told::Committed(count, changed)
    }
}

impl SequentialSpec for PlainWorld {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        match *ask {
            Ask::Open(plan, thing) => {
                let base = self.real[thing];
                let plan = &mut self.plans[plan];
                if plan.phase != Phase::Open {
                    return Told::Refused;
                }
                plan.sandboxes[thing].get_or_insert(Plain { base, wanted: None });
                Told::Opened
            }
            Ask::Write(plan, thing, version) => {
                let plan = &mut self.plans[plan];
                if let (Phase::Open, Some(sandbox)) = (plan.phase, &mut plan.sandboxes[thing]) {
                    sandbox.wanted = Some(version);
                }
                Told::Wrote
            }
            Ask::Commit(plan) => self.commit(plan),
            Ask::RollBack(plan) => {
                let plan = &mut self.plans[plan];
                if plan.phase == Phase::Committed {
                    return Told::Refused;
                }
                plan.phase = Phase::GivenUp;
                Told::RolledBack
            }
            Ask::Status(plan) => Told::Is(self.plans[plan].phase),
            Ask::Gc => Told::Swept,
            Ask::Look(thing) => Told::Holds(self.real[thing]),
        }
    }

    fn is_valid_step(&mut self, ask: &Ask, told: &Told) -> bool {
        match (ask, told) {
            (Ask::Status(plan), Told::Deciding) => self.plans[*plan].phase != Phase::GivenUp,
            // A value is not to be written while it is sealed, also by a commit that then fails.
            (Ask::Write(plan, thing, _), Told::NotWritten) => {
                *thing == VALUE || self.plans[*plan].phase != Phase::Open
            }
            _ => self.invoke(ask) == *told,
        }
    }
}
