//! The only door to files.
//!
//! Everything is relative to an open directory ([`Dir`]), closes on exec and follows no link, so
//! that names, links and mounts made by a plan lead nowhere. A name is one component; `..`, `/` and
//! the empty name are refused before the kernel sees them. Every flush goes through here and is
//! counted ([`flushes`]).

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "a complete door; not every part has a user yet")
)]
#![expect(
    unused_imports,
    reason = "a complete door; not every part has a user yet"
)]

mod access;
mod attributes;
mod copy;
mod cursor;
mod dir;
mod durable;
mod entries;
#[cfg(debug_assertions)]
pub mod faults;
#[cfg(not(debug_assertions))]
mod faults;
mod names;
mod open;
mod remove;
mod small;
mod stat;
#[cfg(test)]
pub(crate) mod testing;
mod xattr;

pub(crate) use access::Ancestor;
pub(crate) use attributes::{set_file_mode, set_file_mtime, set_owner};
pub(crate) use copy::{CopyMethod, CopyWish, content_digest, copy_file};
pub(crate) use cursor::Cursor;
pub(crate) use dir::Dir;
pub(crate) use durable::{
    TEMP_PREFIX, about_to_end_transaction, boot_id, boot_id_near, dirty_bytes, flushes,
    flushes_whole, make_private_dirs, sync_all, sync_data, transaction_flushed, write_all,
    write_durably,
};
pub(crate) use open::{is_moved, is_rename_storm};
pub(crate) use remove::remove_tree;
pub(crate) use small::{read_small, write_new_durably};
pub(crate) use stat::{FileKind, Stat, Time, stat_file};
pub(crate) use xattr::{Xattrs, read_xattrs, write_xattrs, xattr_digest};
