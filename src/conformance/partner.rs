//! A second participant of the plan, which fails when it is told to.

use crate::error::{Fault, ParticipantError};
use crate::id::{ResourceKey, ResourceName};
use crate::sandbox::{
    Action, Change, Changes, Guard, Identity, Outcome, Place, Redo, Resource, Sandbox, Sealed,
    Vote, Work,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const KIND: &str = "partner";

/// Where the partner fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FailsAt {
    /// Nowhere.
    Nowhere,
    /// When it is sealed.
    Seal,
    /// When it is asked.
    Prepare,
    /// When it is to carry out: the plan is decided then.
    Apply,
}

/// A participant in memory that always has something to change.
#[derive(Debug, Clone)]
pub(super) struct Partner {
    fails_at: Arc<AtomicU8>,
    identity: Identity,
}

impl Partner {
    pub(super) fn new() -> Self {
        Self {
            fails_at: Arc::new(AtomicU8::new(FailsAt::Nowhere as u8)),
            identity: Identity {
                key: ResourceKey::new(KIND, crate::clock::fresh_token()),
                enclosing: Vec::new(),
                tree: None,
            },
        }
    }

    /// From now on it fails there.
    pub(super) fn fail_at(&self, step: FailsAt) {
        self.fails_at.store(step as u8, Ordering::SeqCst);
    }

    fn pass(&self, step: FailsAt) -> Outcome<()> {
        if self.fails_at.load(Ordering::SeqCst) == step as u8 {
            let text = format!("the partner fails at {step:?}, as it was told");
            return Err(ParticipantError::new(Fault::Denied, text));
        }
        Ok(())
    }

    fn changes() -> Changes {
        let mut changes = Changes::default();
        let change = Change::new(KIND, Action::Modified, KIND, 0);
        changes.entries.push(change);
        changes
    }
}

impl Resource for Partner {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> Option<&ResourceName> {
        None
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(self.identity.clone())
    }

    fn open(&self, _place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        Ok(Box::new(self.clone()))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

impl Sandbox for Partner {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        KIND.to_owned()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "memory"
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn record(&self) -> String {
        "{}".to_owned()
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        Ok(Self::changes())
    }

    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        self.pass(FailsAt::Seal)?;
        Ok(Sealed {
            changes: Self::changes(),
            digest: blake3::hash(KIND.as_bytes()).to_hex().to_string(),
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        self.pass(FailsAt::Prepare)?;
        Ok(Vote::Ready {
            redo: Redo("{}".to_owned()),
            changes: Self::changes(),
        })
    }

    fn apply(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        self.pass(FailsAt::Apply)
    }

    fn take_back(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
}
