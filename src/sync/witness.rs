//! The witness of the lock order.

/// Says that the thread is about to wait for a device.
pub fn about_to_block(_what: &'static str) {}
