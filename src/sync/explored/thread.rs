//! Threads that the explorer schedules.

use std::io;

pub use shuttle::thread::{JoinHandle, Scope, ScopedJoinHandle, current, scope, sleep};

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
