//! What a generated story is made of.

use planbox::conformance::Spot;
use planbox::faults::Wrong;
use proptest::prelude::*;

/// How many plans there are at a time.
pub(super) const PLANS: usize = 2;

/// Where the partner of a plan fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fails {
    Seal,
    Prepare,
    Apply,
}

impl Fails {
    /// The step, as a scripted participant calls it.
    pub(super) fn step(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Prepare => "prepare",
            Self::Apply => "apply",
        }
    }
}

/// One step of a story. Plans and resources are numbers; a resource number counts round.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Open {
        plan: usize,
        resource: usize,
    },
    Change {
        plan: usize,
        resource: usize,
        spot: Spot,
    },
    Meddle {
        resource: usize,
        spot: Spot,
    },
    Diff {
        plan: usize,
    },
    Check {
        plan: usize,
    },
    Seal {
        plan: usize,
    },
    Commit {
        plan: usize,
    },
    CommitBeside {
        plan: usize,
        fails: Fails,
    },
    Rollback {
        plan: usize,
    },
    Restart,
    Recover,
    /// What the next step asks of the manager goes wrong at its `nth` call that changes something.
    Wrong {
        wrong: Wrong,
        nth: u64,
    },
}

fn spot() -> impl Strategy<Value = Spot> {
    prop::sample::select(Spot::ALL.to_vec())
}

/// Mostly work, sometimes an end.
fn op() -> impl Strategy<Value = Op> {
    let plan = 0..PLANS;
    let resource = 0_usize..4;
    let fails = prop::sample::select(vec![Fails::Seal, Fails::Prepare, Fails::Apply]);
    prop_oneof![
        6 => (plan.clone(), resource.clone())
            .prop_map(|(plan, resource)| Op::Open { plan, resource }),
        8 => (plan.clone(), resource.clone(), spot())
            .prop_map(|(plan, resource, spot)| Op::Change { plan, resource, spot }),
        3 => (resource, spot()).prop_map(|(resource, spot)| Op::Meddle { resource, spot }),
        1 => plan.clone().prop_map(|plan| Op::Diff { plan }),
        1 => plan.clone().prop_map(|plan| Op::Check { plan }),
        1 => plan.clone().prop_map(|plan| Op::Seal { plan }),
        4 => plan.clone().prop_map(|plan| Op::Commit { plan }),
        2 => (plan.clone(), fails).prop_map(|(plan, fails)| Op::CommitBeside { plan, fails }),
        1 => plan.prop_map(|plan| Op::Rollback { plan }),
        1 => Just(Op::Restart),
        1 => Just(Op::Recover),
    ]
}

/// A story: every plan begins with a sandbox over the first resource, so that the steps after it
/// have something to do.
pub(super) fn story() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..24).prop_map(|ops| {
        let begins = (0..PLANS).map(|plan| Op::Open {
            plan,
            resource: plan,
        });
        begins.chain(ops).collect()
    })
}

fn wrong() -> impl Strategy<Value = Op> {
    use rustix::io::Errno;
    let errnos = [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ACCESS];
    let once = errnos.map(|errno| Wrong::Once(errno.raw_os_error()));
    let wrongs: Vec<Wrong> = once
        .into_iter()
        .chain([Wrong::Gone, Wrong::Short])
        .collect();
    // Many steps are short, a commit of many kinds is long.
    let nth = prop_oneof![2 => 1_u64..16, 2 => 16_u64..80, 1 => 80_u64..240];
    (prop::sample::select(wrongs), nth).prop_map(|(wrong, nth)| Op::Wrong { wrong, nth })
}

/// A step that may go wrong: most of what a manager is asked to do.
fn asked() -> impl Strategy<Value = Op> {
    let plan = 0..PLANS;
    prop_oneof![
        3 => (plan.clone(), 0_usize..4)
            .prop_map(|(plan, resource)| Op::Open { plan, resource }),
        1 => plan.clone().prop_map(|plan| Op::Diff { plan }),
        1 => plan.clone().prop_map(|plan| Op::Check { plan }),
        1 => plan.clone().prop_map(|plan| Op::Seal { plan }),
        8 => plan.clone().prop_map(|plan| Op::Commit { plan }),
        2 => plan.prop_map(|plan| Op::Rollback { plan }),
        1 => Just(Op::Restart),
    ]
}

/// A story in which the disk fails.
pub(super) fn story_of_faults() -> impl Strategy<Value = Vec<Op>> {
    let one = prop_oneof![
        2 => op().prop_map(|op| vec![op]),
        1 => (wrong(), asked()).prop_map(|(wrong, asked)| vec![wrong, asked]),
    ];
    prop::collection::vec(one, 1..20).prop_map(|ops| {
        let begins = (0..PLANS).map(|plan| Op::Open {
            plan,
            resource: plan,
        });
        begins.chain(ops.into_iter().flatten()).collect()
    })
}
