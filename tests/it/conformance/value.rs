//! The kind `value`: it has one spot, itself.

use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::{Kind, Resource};
use planbox::{Value, VersionRegister};
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
struct Held {
    value: Value<u32>,
}

/// A register that holds version 0.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that the suite asks for"
)]
pub(crate) fn value(_home: &Path) -> Tried<Box<dyn Subject>> {
    Ok(Box::new(Held {
        value: Value::of(&VersionRegister::new("0", 0)),
    }))
}

impl Subject for Held {
    fn resource(&self) -> Box<dyn Resource> {
        Box::new(self.value.clone())
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        None
    }

    fn spots(&self) -> usize {
        1
    }

    fn name_of(&self, _spot: Spot) -> String {
        "value".to_owned()
    }

    fn change(&self, view: View<'_>, _spot: Spot, version: u32) -> Tried<()> {
        Ok(self.value.set(view.token, version.to_string(), version)?)
    }

    fn meddle(&self, _spot: Spot, version: u32) -> Tried<()> {
        let register = self.value.register();
        let now = register.snapshot().generation();
        register.activate(now, version.to_string(), Arc::new(version))?;
        Ok(())
    }

    fn manifest(&self) -> Tried<String> {
        let now = self.value.register().snapshot();
        Ok(format!("{} {}", now.version(), now.value().unwrap()))
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        let seen = self.value.get(view.token)?;
        Ok(format!("{} {}", seen.version(), seen.value().unwrap()))
    }
}

planbox::conformance_tests!(value);
