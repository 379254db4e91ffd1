//! The bodies. Each returns what went wrong, if anything did, and is drawn above.

mod batching;
mod commit;
mod commit_ends;
mod elsewhere;
mod ends;
mod in_doubt;
mod jobs;
mod jobs_ends;
mod lease;
#[cfg(shuttle)]
mod linear;
#[cfg(shuttle)]
mod linear_jobs;
#[cfg(shuttle)]
mod linear_register;
mod marker;
mod plans;
mod register;
mod register_row;
mod sealed;
mod table;

use crate::case::{Case, Control, Stop, Verdict, stop};
use crate::world::Without;
use planbox::RegistryFault;

/// All of them.
pub(crate) fn all() -> Vec<&'static Case> {
    let lists = [
        commit::CASES,
        commit_ends::CASES,
        marker::CASES,
        in_doubt::CASES,
        sealed::CASES,
        elsewhere::CASES,
        ends::CASES,
        plans::CASES,
        table::CASES,
        lease::CASES,
        register::CASES,
        register_row::CASES,
        batching::CASES,
        jobs::CASES,
        #[cfg(shuttle)]
        linear::CASES,
        #[cfg(shuttle)]
        linear_register::CASES,
        #[cfg(shuttle)]
        linear_jobs::CASES,
    ];
    lists.into_iter().flatten().collect()
}

/// How a run without the plan lock may be noticed: a sandbox is committed twice, a caller meets what
/// another one left half done, both of two things happen that exclude each other, two callers hold the
/// sandboxes of one plan, or some of them stay for ever.
const UNLOCKED: &[&str] = &[
    "twice",
    "half",
    "two bodies",
    "two holders",
    "refused",
    "mix",
    "missed",
    "both",
    "left",
];

/// The control that takes out the plan lock: callers that vote together notice.
const fn no_plan_lock(body: fn() -> Verdict) -> Control {
    Control::new("the plan lock", body, UNLOCKED)
}

/// The sandboxes of a plan come home after its lock was let go.
const LATE_RETURN: Without = Without::Registry(RegistryFault::LateReturn);

const BOTH_LATE: &[Stop] = &[stop("opened", ""), stop("registry.late", "registry.late")];

/// The control of the registry: whoever comes next finds the plan without its sandboxes, opens them
/// again, and two callers hold them.
const fn late_return(body: fn() -> Verdict) -> Control {
    Control::new(
        "the sandboxes at home before the lock goes",
        body,
        &["two bodies", "half", "refused", "missed", "left"],
    )
    .stops(BOTH_LATE)
}
