//! A directory as a participant.

mod apply;
mod attributes;
mod check;
mod copying;
mod delta;
mod ends;
mod exclude;
mod listing;
mod manifest;
mod notes;
mod ops;
mod restored;
mod scan;
mod seal;
mod settle;
mod stage;
mod staging;
mod stored;
mod subtree;
mod takeback;
mod text;
mod times;
mod tree;
mod view;

pub use view::{ViewChoice, ViewKind};

/// placeholder
#[derive(Debug)]
pub struct Directory;
