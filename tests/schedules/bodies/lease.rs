//! Leases: files that are locked, removed, and made anew.

use super::commit::both;
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::world::stage;
use planbox::lock::{Lease, LockFault, LockWait, identify_holder};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SOON: LockWait = LockWait::For(Duration::from_millis(1));

/// Who has opened the file waits until its holder has removed it, and shows itself to the next.
const REMOVED: &[Stop] = &[
    stop("lease.opened", "retired"),
    stop("retired", ""),
    stop("inside", "inside"),
];

pub(crate) const CASES: &[Case] = &[Case::heavy(
    "lease: taken, removed with its file, taken",
    Depth::Preemptions(3),
    || leases(None),
    &[Control::new(
        "the look at the name after the lock",
        || leases(Some(LockFault::TrustedName)),
        &["two holders"],
    )
    .stops(REMOVED)],
)];

/// What two processes do that take a lease in turn; the last act of a holder is to remove its file:
///
/// ```text
/// one      open ---- lock ---- look at the name: mine ---- inside ---- remove the file, unlock
/// other         open the same file ------------------------------------------ lock: of nothing
///          the name is looked at after the lock: a file without a name is no lease
/// ```
fn leases(fault: Option<LockFault>) -> Verdict {
    let home = tempfile::tempdir().unwrap();
    let inside = AtomicUsize::new(0);
    let work = || {
        for _ in 0..2 {
            use_once(home.path(), &inside, fault)?;
        }
        Ok(())
    };
    let (one, other) = both(work, work);
    one.and(other)?;
    let left = std::fs::read_dir(home.path()).unwrap().count();
    check(left == 0, "left", || format!("{left} files"))
}

fn use_once(home: &Path, inside: &AtomicUsize, fault: Option<LockFault>) -> Verdict {
    let me = identify_holder("name", "schedule");
    let taken = match fault {
        None => Lease::acquire(home, "name", &me, SOON),
        Some(fault) => Lease::acquire_with_fault(home, "name", &me, SOON, fault),
    };
    // It did not come free in time.
    let Ok(lease) = taken else { return Ok(()) };
    let others = inside.fetch_add(1, Ordering::SeqCst);
    stage("inside");
    inside.fetch_sub(1, Ordering::SeqCst);
    lease.retire();
    stage("retired");
    check(others == 0, "two holders", || {
        format!("{others} more inside")
    })
}
