//! A directory as a participant.
/// placeholder
#[derive(Debug)]
pub struct Directory;
