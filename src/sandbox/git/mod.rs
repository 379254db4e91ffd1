//! A branch of a git repository as a participant.
//!
//! [`Git`] says which one; the plan works in a work tree of its own, with a git directory of its
//! own in it that its tools may use. What the plan made there becomes one commit on top of the
//! branch as it is at the time of the commit: merged three ways if the branch moved meanwhile, a
//! conflict if that cannot be done. The branch moves by compare and swap.
//!
//! # What is trusted
//! Nothing that a plan can write is ever configuration to us. Git runs on a git directory that the
//! plan cannot reach, or, for references, on the real one with everything overridden that could
//! start a program. Filters, merge drivers, hooks and monitors therefore do not run; line endings
//! and encodings asked for by `.gitattributes` are git's own work and are kept.
//!
//! # What is committed
//! What `git add --all` takes: files, their executable bit, symbolic links. Names that
//! `.gitignore` leaves out are left out and counted. A repository inside the view is refused, and
//! submodules stay at their commits.
//!
//! # A branch that is checked out
//! Its work tree and the index of that move along, or the plan conflicts: see `checkout/mod.rs`.
//!
//! # Where things are
//! In the [`Place`](super::Place): `view/` (the plan works there), `git/` (our own git directory:
//! the base, the index of the view, the objects of the seal), `sealed`, `kept`, `checkout/` (what waits for the work tree in which the
//! branch is checked out; in its git directory if the place is on another mount). In the real
//! repository, from prepare until the sandbox goes: the objects of the commit, and
//! `refs/planbox/<token>/commit`, which keeps them.

mod changes;
mod checkout;
mod merge;
mod oid;
mod pipes;
mod program;
mod record;
mod records;
mod refs;
mod repository;
mod resource;
mod sandbox;
mod scan;
mod stage;
mod transfer;
mod view;

#[cfg(test)]
mod tests;

pub use resource::{Git, GitKind};
