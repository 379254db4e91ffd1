//! A directory as a participant.

mod apply;
mod attributes;
mod ends;
mod ops;
mod settle;
mod staging;
mod takeback;
mod text;
mod times;
mod tree;

/// placeholder
#[derive(Debug)]
pub struct Directory;
