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
    /// What is in doubt is ended.
    Recover(usize),
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
    /// Something was planted on the way: nothing has changed, and it may be asked for again.
    Failed,
    /// A commit failed, and so did a step back: nobody works on the plan until that is ended, and
    /// then everything is old.
    InDoubt,
    /// The plan is given up, but not all of it could be removed: whoever comes next does that.
    HalfGone,
    /// A doubt is to be ended first.
    InTheWay,
    Recovered,
    Is(Phase),
    /// It is decided, and perhaps not yet to be seen.
    Deciding,
    /// It is being given up, or a commit that failed is being taken back: one state is both.
    Undoing,
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
    /// A commit that failed is not all taken back, or what was given up not all removed.
    doubt: bool,
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
            doubt: false,
            sandboxes: [None; THINGS],
        };
        Self {
            real: [0; THINGS],
            plans: [plan; PLANS],
        }
    }

    fn commit(&mut self, plan: usize) -> Told {
        let plan = &mut self.plans[plan];
        plan.doubt = false;
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
                if plan.doubt {
                    return Told::InTheWay;
                }
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
                plan.doubt = false;
                Told::RolledBack
            }
            Ask::Status(plan) => Told::Is(self.plans[plan].phase),
            Ask::Recover(plan) => {
                self.plans[plan].doubt = false;
                Told::Recovered
            }
            Ask::Gc => Told::Swept,
            Ask::Look(thing) => Told::Holds(self.real[thing]),
        }
    }

    fn is_valid_step(&mut self, ask: &Ask, told: &Told) -> bool {
        match (ask, told) {
            (Ask::Status(plan), Told::Deciding) => self.plans[*plan].phase != Phase::GivenUp,
            // Who ends a doubt goes on: the plan is open, seen from outside, before that call has
            // changed anything. So a doubt is not always told.
            (Ask::Status(plan), Told::Undoing) => self.plans[*plan].phase != Phase::Committed,
            // A value is not to be written while it is sealed, also by a commit that then fails.
            (Ask::Write(plan, thing, _), Told::NotWritten) => {
                *thing == VALUE || self.plans[*plan].phase != Phase::Open
            }
            (Ask::Commit(plan), Told::Failed | Told::InDoubt) => {
                let plan = &mut self.plans[*plan];
                plan.doubt = *told == Told::InDoubt;
                plan.phase == Phase::Open
            }
            (Ask::Open(plan, _), Told::Failed) => {
                let plan = &self.plans[*plan];
                plan.phase == Phase::Open && !plan.doubt
            }
            (Ask::RollBack(plan), Told::Failed) => self.plans[*plan].phase == Phase::Open,
            (Ask::RollBack(plan), Told::HalfGone) => {
                let given_up = self.invoke(ask) == Told::RolledBack;
                self.plans[*plan].doubt = true;
                given_up
            }
            (Ask::Gc | Ask::Recover(_), Told::Failed) => true,
            _ => self.invoke(ask) == *told,
        }
    }
}

/// True if one caller may be told this, one after the other.
fn holds(told: &[(Ask, Told)]) -> bool {
    let mut world = PlainWorld::new();
    told.iter()
        .all(|(ask, told)| world.is_valid_step(ask, told))
}

#[test]
fn the_effect_of_a_failed_commit_is_refused_and_trying_again_is_not() {
    let begin = [
        (Ask::Open(0, 1), Told::Opened),
        (Ask::Write(0, 1, 7), Told::Wrote),
    ];
    let after = |failed: Told, rest: &[(Ask, Told)]| {
        let failed = [(Ask::Commit(0), failed)];
        holds(&[&begin[..], &failed, rest].concat())
    };
    for failed in [Told::Failed, Told::InDoubt] {
        let again = [
            (Ask::Look(1), Told::Holds(0)),
            (Ask::Commit(0), Told::Committed(2, 2)),
            (Ask::Look(1), Told::Holds(7)),
        ];
        assert!(after(failed, &again), "{failed:?}");
        assert!(!after(failed, &[(Ask::Look(1), Told::Holds(7))]));
        assert!(!after(failed, &[(Ask::Commit(0), Told::Again(2, 2))]));
        assert!(!after(
            failed,
            &[(Ask::Status(0), Told::Is(Phase::Committed))]
        ));
        // The other plan sees the old, too: what it builds on that goes through.
        let other = [
            (Ask::Open(1, 1), Told::Opened),
            (Ask::Write(1, 1, 8), Told::Wrote),
            (Ask::Commit(1), Told::Committed(2, 2)),
        ];
        assert!(after(failed, &other), "{failed:?}");
    }
    let newcomer = [(Ask::Open(0, 0), Told::Opened)];
    assert!(after(Told::Failed, &newcomer) && !after(Told::InDoubt, &newcomer));
    let refused = [(Ask::Open(0, 0), Told::InTheWay)];
    assert!(after(Told::InDoubt, &refused) && !after(Told::Failed, &refused));
    let ended = [&[(Ask::Recover(0), Told::Recovered)], &newcomer[..]].concat();
    assert!(after(Told::InDoubt, &ended));
    let committed = [
        (Ask::Commit(0), Told::Committed(2, 2)),
        (Ask::Commit(0), Told::Failed),
    ];
    assert!(
        !after(Told::Failed, &committed),
        "a committed plan fails no more"
    );
}
