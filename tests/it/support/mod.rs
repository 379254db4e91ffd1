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

/// A temporary directory without a disk below it, where there is one: these tests count on no flush.
pub(crate) fn home_in_memory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}
