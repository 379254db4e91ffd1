//! The work tree in which the branch is checked out. It does not move along yet: a branch that
//! somebody works on is refused.

#![expect(
    dead_code,
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the shape of what moves a work tree along"
)]

use super::program::{Oid, Runner};
use super::repository::Repository;
use crate::error::{Conflict, Fault, ParticipantError};
use crate::sandbox::{Guard, Identity, Outcome, Place, Work};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A work tree with the branch checked out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WorkTree {
    root: PathBuf,
}

/// A step that moves the branch.
pub(super) type MoveRef<'a> = dyn FnMut() -> Outcome<()> + 'a;

/// What moves the work tree along.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CheckoutRedo {}

/// Whether the work tree can move along.
#[derive(Debug)]
pub(super) enum CheckoutVote {
    Ready(Box<CheckoutRedo>),
    Nothing,
    Conflict(Vec<Conflict>),
}

impl WorkTree {
    /// The work tree that is on the branch `name`.
    pub(super) fn find(common: &Path, name: &str) -> Outcome<Option<Self>> {
        let trees = Repository::find(common)?.work_trees()?;
        let on = trees
            .into_iter()
            .find(|tree| tree.head.as_deref() == Some(name));
        Ok(on.map(|tree| Self { root: tree.path }))
    }

    /// Who its top is, and what encloses it.
    pub(super) fn key(&self) -> Outcome<Identity> {
        use crate::sandbox::Resource as _;
        crate::sandbox::Directory::at(&self.root).identify()
    }

    /// What to lock.
    pub(super) fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
    }
}

/// The part of the commit that is in the work tree.
#[derive(Debug)]
pub(super) struct Checkout {
    tree: WorkTree,
}

impl Checkout {
    pub(super) fn new(_place: &Place, tree: &WorkTree) -> Self {
        Self { tree: tree.clone() }
    }

    pub(super) fn prepare(
        &self,
        _git: &Runner,
        (name, _old, _new): (&str, Option<&Oid>, &Oid),
        _work: &Work<'_>,
    ) -> Outcome<CheckoutVote> {
        let why = format!("{name} is checked out here, and a work tree cannot be moved along");
        Err(ParticipantError::new(Fault::Unsupported, why).at(&self.tree.root))
    }

    pub(super) fn apply(
        &self,
        _git: &Runner,
        _redo: &CheckoutRedo,
        (_work, move_ref): (&Work<'_>, &mut MoveRef<'_>),
    ) -> Outcome<()> {
        move_ref()
    }

    pub(super) fn take_back(
        &self,
        _git: &Runner,
        _redo: &CheckoutRedo,
        (_work, move_back): (&Work<'_>, &mut MoveRef<'_>),
    ) -> Outcome<()> {
        move_back()
    }

    pub(super) fn settle(&self, _redo: &CheckoutRedo) -> Outcome<()> {
        Ok(())
    }

    pub(super) fn clear(&self) -> Outcome<()> {
        Ok(())
    }

    pub(super) fn discard(&self, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
}
