//! Small files of the store.

use super::dir::Dir;
use super::durable::{sync_all, write_all};
use std::ffi::OsStr;
use std::io::{self, Read as _};

/// Longest small file, in bytes; a longer one is not ours.
const SMALL_MAX_BYTES: u64 = 64 * 1024;

/// Reads a regular file of at most 64 KiB.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidData`] if it is longer.
pub(crate) fn read_small(dir: &Dir, name: &OsStr) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.read_file(name)?
        .take(SMALL_MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "longer than 64 KiB",
        ));
    }
    Ok(bytes)
}

/// Makes `name` a new file of mode 0600 with these `bytes`, complete from the moment it is there.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::AlreadyExists`] if the name is taken.
pub(crate) fn write_new_durably(dir: &Dir, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let (temp, file) = dir.temp_file(0o600)?;
    let written = write_all(&file, bytes)
        .and_then(|()| sync_all(&file))
        .and_then(|()| dir.rename_new(&temp, dir, name));
    if let Err(error) = written {
        // The first error is the one to report; a temporary file that stays is swept by its prefix.
        drop(dir.remove_file(&temp));
        return Err(error);
    }
    dir.sync()
}
