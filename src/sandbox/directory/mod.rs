//! A directory as a participant.
use super::{Identity, Kind, Outcome, Place, Resource, Sandbox, Work};
use crate::error::{Fault, ParticipantError};
use crate::id::ResourceName;
/// placeholder
#[derive(Debug)]
pub struct Directory;
impl Directory {
    /// placeholder
    pub fn at(_: impl AsRef<std::path::Path>) -> Self {
        Self
    }
}
impl Resource for Directory {
    fn kind(&self) -> &'static str {
        "dir"
    }
    fn name(&self) -> Option<&ResourceName> {
        None
    }
    fn identify(&self) -> Outcome<Identity> {
        Err(ParticipantError::new(Fault::Unsupported, "x"))
    }
    fn open(&self, _: &Place, _: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        Err(ParticipantError::new(Fault::Unsupported, "x"))
    }
}
/// placeholder
#[derive(Debug)]
pub struct DirectoryKind;
impl Kind for DirectoryKind {
    fn name(&self) -> &'static str {
        "dir"
    }
    fn reopen(&self, _: &str, _: &Place) -> Outcome<Box<dyn Sandbox>> {
        Err(ParticipantError::new(Fault::Unsupported, "x"))
    }
}
