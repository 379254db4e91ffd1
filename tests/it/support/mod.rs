//! What every test module shares: scripted participants, manifests of trees, child processes.

pub(crate) mod child;
pub(crate) mod manifest;
pub(crate) mod scripted;

use planbox::PlanId;

pub(crate) fn plan(text: &str) -> PlanId {
    PlanId::new(text).unwrap()
}
