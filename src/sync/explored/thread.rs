//! Threads that the explorer schedules.

use std::io;
use std::time::Duration;

pub use shuttle::thread::{JoinHandle, Scope, ScopedJoinHandle, current, scope};

/// Lets others go first: no time passes here, and who asks again and again must not keep them waiting.
pub fn sleep(_time: Duration) {
    shuttle::thread::yield_now();
}

/// Starts a thread named `name`.
///
/// # Errors
/// Never.
pub fn spawn<T, F>(name: &str, body: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    shuttle::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}
