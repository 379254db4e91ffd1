//! A directory as a participant.
//!
//! [`Directory`] says which one; the plan works in a private copy, at a real path that any process
//! may use. What it changed there is found by comparing the copy with a manifest taken when it was
//! made, staged on the mount of the real directory, and put in place by renames: an exchange for
//! what changes, a rename that replaces nothing for what is new, a rename aside for what goes. No
//! file of the real directory is ever written to, no link in it followed and no mount below it
//! entered.
//!
//! # What is committed
//! Files, directories and symbolic links: content, mode, modification time, `user.*` attributes
//! and POSIX access lists, holes, hard links among the names that change. A directory's
//! modification time is no change by itself unless it was set on purpose; it is carried along
//! where the plan changed names. Special files and new set-id bits are refused; excluded names
//! (version-control stores by default) are left out on both sides.
//!
//! # Where things are
//! In the [`Place`](super::Place): `view/` (the plan works there), `manifest`, `sealed`, `redo`,
//! `restored` and, if the place is on the mount of the real directory, `staging/`. Otherwise
//! staging is `.planbox/<token>/` inside the real directory, because a rename works only inside
//! one mount.

mod apply;
mod attributes;
mod batch;
mod check;
mod copying;
mod delta;
mod durable;
mod ends;
mod exclude;
mod listing;
mod manifest;
mod notes;
mod ops;
pub(super) mod private;
pub(super) mod record;
mod resource;
mod restored;
mod scan;
#[cfg(test)]
mod scan_tests;
mod seal;
mod settle;
mod stage;
pub(super) mod staging;
mod stored;
#[cfg(test)]
mod stored_tests;
mod subtree;
mod takeback;
pub(super) mod text;
mod times;
mod tree;
#[cfg(test)]
mod tree_tests;
mod view;

#[cfg(test)]
mod tests;

pub(in crate::sandbox) use batch::{Batch, Given, Stranger};
pub(in crate::sandbox) use private::guards_at;
pub use resource::{Directory, DirectoryKind};
pub use view::{ViewChoice, ViewKind};
