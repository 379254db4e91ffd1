//! Extended attributes of files and directories.
//!
//! Carried are `user.*` and the POSIX access lists. What grants privilege (`security.*`,
//! `trusted.*`) is never carried.

use super::faults;
use crate::sync::witness::about_to_block;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The carried attributes of one inode, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Xattrs {
    /// Names and values.
    pub(crate) carried: Vec<(Vec<u8>, Vec<u8>)>,
    /// True if there is a file capability, which is never carried.
    pub(crate) has_capability: bool,
}

impl Xattrs {
    /// One digest over all that is carried; `None` if nothing is.
    #[must_use]
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        if self.carried.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for (name, value) in &self.carried {
            for part in [name, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Some(hasher.finalize().into())
    }
}

fn is_carried(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Calls a sized query until the buffer it was given is large enough.
fn sized(mut call: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::new();
    let mut room = 256;
    loop {
        buffer.reserve(room);
        match call(&mut buffer) {
            Ok(_) => return Ok(buffer),
            // Linux bounds both lists and values at 64 KiB.
            Err(Errno::RANGE) if room < 256 * 1024 => room *= 4,
            Err(error) => return Err(error),
        }
    }
}

/// Reads the carried attributes of an open file or directory; none where they are unsupported.
///
/// # Errors
/// What the kernel says.
pub(crate) fn read_xattrs(of: impl AsFd) -> io::Result<Xattrs> {
    about_to_block("fs.attributes");
    let fd = of.as_fd();
    let names = match list(fd) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
        other => other?,
    };
    let mut found = Xattrs::default();
    for name in names.split(|byte| *byte == 0) {
        found.has_capability |= name == b"security.capability";
        if !is_carried(name) {
            continue;
        }
        match sized(|buffer| {
            rustix::fs::fgetxattr(fd, name, rustix::buffer::spare_capacity(buffer))
        }) {
            Ok(value) => found.carried.push((name.to_vec(), value)),
            // Removed between the list and now.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.carried.sort_unstable();
    Ok(found)
}

fn list(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    sized(|buffer| rustix::fs::flistxattr(fd, rustix::buffer::spare_capacity(buffer)))
}

/// Makes the carried attributes of an open file or directory exactly `wanted`.
///
/// Does nothing if nothing is wanted and the file system knows no attributes. To be called before
/// the final mode is set: `user.*` needs write permission.
///
/// # Errors
/// What the kernel says: EOPNOTSUPP if the file system cannot hold them.
pub(crate) fn write_xattrs(of: impl AsFd, wanted: &Xattrs) -> io::Result<()> {
    about_to_block("fs.attributes");
    let fd = of.as_fd();
    faults::attribute((fd, OsStr::new("")), || replace_all(fd, wanted))
}

fn replace_all(fd: BorrowedFd<'_>, wanted: &Xattrs) -> io::Result<()> {
    let present = match list(fd) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
        other => other?,
    };
    // Backwards: `user.*` comes before the access list, which may take write permission away.
    for (name, value) in wanted.carried.iter().rev() {
        rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
    }
    for name in present.split(|byte| *byte == 0) {
        if is_carried(name) && !wanted.carried.iter().any(|(kept, _)| kept == name) {
            match rustix::fs::fremovexattr(fd, name) {
                Err(Errno::NODATA) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The digest of the carried attributes of an open file or directory; `None` if it has none.
///
/// # Errors
/// What the kernel says.
pub(crate) fn xattr_digest(of: impl AsFd) -> io::Result<Option<[u8; 32]>> {
    Ok(read_xattrs(of)?.digest())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;

    /// `user::rw-`, `user:1:r--`, `group::r--`, `mask::r--`, `other::---` as the kernel stores it.
    fn access_list() -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        let none = u32::MAX;
        for (tag, rights, id) in [
            (1, 6, none),
            (2, 4, 1),
            (4, 4, none),
            (16, 4, none),
            (32, 0, none),
        ] {
            bytes.extend(u16::to_le_bytes(tag));
            bytes.extend(u16::to_le_bytes(rights));
            bytes.extend(u32::to_le_bytes(id));
        }
        bytes
    }

    fn xattrs(all: &[(&str, &[u8])]) -> Xattrs {
        let carried = all
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        Xattrs {
            carried: carried.collect(),
            has_capability: false,
        }
    }

    #[test]
    fn attributes_are_replaced_as_a_whole() {
        let scratch = Scratch::new();
        let file = scratch.dir().create_file(OsStr::new("f"), 0o640).unwrap();
        assert_eq!(read_xattrs(&file).unwrap(), Xattrs::default());
        assert_eq!(xattr_digest(&file).unwrap(), None);
        let long = [7; 2_000];
        let many = xattrs(&[
            ("system.posix_acl_access", &access_list()),
            ("user.a", b""),
            ("user.long", &long),
        ]);
        if write_xattrs(&file, &many).is_err() {
            // This file system has none.
            return;
        }
        assert_eq!(read_xattrs(&file).unwrap(), many);
        let digest = xattr_digest(&file).unwrap();
        assert!(digest.is_some() && digest == many.digest());
        let few = xattrs(&[("user.a", b"b")]);
        write_xattrs(&file, &few).unwrap();
        assert_eq!(read_xattrs(&file).unwrap(), few);
        assert_ne!(few.digest(), many.digest());
        write_xattrs(scratch.dir(), &few).unwrap();
        assert_eq!(read_xattrs(scratch.dir()).unwrap(), few);
    }

    #[test]
    fn a_capability_is_seen_and_not_carried() {
        let scratch = Scratch::new();
        let file = scratch.dir().create_file(OsStr::new("f"), 0o755).unwrap();
        // cap_net_raw=ep
        let capability = [
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let flags = XattrFlags::empty();
        if rustix::fs::fsetxattr(&file, "security.capability", &capability, flags).is_err() {
            return;
        }
        let found = read_xattrs(&file).unwrap();
        assert!(found.has_capability && found.carried.is_empty());
    }

    #[test]
    fn a_digest_knows_where_a_value_ends() {
        let left = xattrs(&[("user.a", b"bc")]);
        let right = xattrs(&[("user.ab", b"c")]);
        assert_ne!(left.digest(), right.digest());
    }
}
