//! Stands in for the two participants until they are there.

use planbox::sandbox::{Identity, Outcome, Place, Sandbox, Work};
use planbox::{Fault, ParticipantError, Resource, ResourceName};
use std::path::Path;

macro_rules! stub {
    ($name:ident, $kind:literal) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(Option<ResourceName>);

        impl $name {
            pub(crate) fn at(_: impl AsRef<Path>) -> Self {
                Self::default()
            }
            pub(crate) fn named(self, name: ResourceName) -> Self {
                Self(Some(name))
            }
        }

        impl Resource for $name {
            fn kind(&self) -> &'static str {
                $kind
            }
            fn name(&self) -> Option<&ResourceName> {
                self.0.as_ref()
            }
            fn identify(&self) -> Outcome<Identity> {
                Err(ParticipantError::new(Fault::Refused, "not there yet"))
            }
            fn open(&self, _: &Place, _: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
                Err(ParticipantError::new(Fault::Refused, "not there yet"))
            }
        }
    };
}

stub!(Git, "git");

impl Git {
    pub(crate) fn branch(self, _: &str) -> Self {
        self
    }
    pub(crate) fn message(self, _: &str) -> Self {
        self
    }
    pub(crate) fn author(self, _: &str, _: &str) -> Self {
        self
    }
}
