//! The bodies. Each returns what went wrong, if anything did, and is drawn above.

mod commit;

use crate::case::Case;

/// All of them.
pub(crate) fn all() -> Vec<&'static Case> {
    [commit::CASES].into_iter().flatten().collect()
}
