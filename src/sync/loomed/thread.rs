//! Threads that loom schedules.

use std::time::Duration;

pub use loom::thread::current;

/// No time passes.
pub fn sleep(_time: Duration) {
    loom::thread::yield_now();
}

/// As that of the standard library, for constant values.
macro_rules! locals {
    ($($(#[$attr:meta])* static $name:ident: $kind:ty = const $value:block;)*) => {
        loom::thread_local! { $($(#[$attr])* static $name: $kind = $value;)* }
    };
}
pub(crate) use locals;
