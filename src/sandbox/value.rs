//! A value as a participant.
/// placeholder
#[derive(Debug)]
pub struct Value;
