//! A directory as a participant.
#![cfg_attr(not(test), expect(dead_code, reason = "the participant follows"))]
mod copying;
mod exclude;
mod manifest;
mod notes;
mod scan;
#[cfg(test)]
mod scan_tests;
mod stored;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
mod tree_tests;
mod view;
pub use view::{ViewChoice, ViewKind};

/// placeholder
#[derive(Debug)]
pub struct Directory;
