//! A directory as a participant.
mod exclude;
mod manifest;
mod scan;
mod stored;
mod view;
pub use view::{ViewChoice, ViewKind};

/// placeholder
#[derive(Debug)]
pub struct Directory;
