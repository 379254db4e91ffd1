//! What every test module shares: scripted participants, manifests of trees, child processes.

pub(crate) mod child;
pub(crate) mod manifest;
pub(crate) mod scripted;
#[cfg(feature = "sqlite")]
pub(crate) mod seeds;

use planbox::PlanId;

pub(crate) fn plan(text: &str) -> PlanId {
    PlanId::new(text).unwrap()
}
