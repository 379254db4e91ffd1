//! Copying the content of a file.

use super::stat::stat_file;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Most bytes copied between two reports of progress.
const STEP_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes read at a time where the kernel cannot copy by itself.
const BUFFER_BYTES: usize = 128 * 1024;

/// How a file may be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyWish {
    /// Share the blocks, or fail with EOPNOTSUPP, EXDEV or EINVAL.
    Clone,
    /// Share the blocks if that is possible, else copy the bytes.
    CloneOrCopy,
    /// Copy the bytes.
    Copy,
}

/// How a file was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyMethod {
    /// The blocks are shared.
    Cloned,
    /// The kernel copied the bytes.
    InKernel,
    /// The bytes went through our memory.
    Buffered,
}

/// Copies the content of `src` over that of the empty file `dst`; holes stay holes.
///
/// Both are regular files (see [`Dir::read_file`](super::Dir::read_file)), so nothing can hang.
/// `progress` is told how many bytes are done, and its error stops the copy. A source that changes
/// meanwhile is the caller's to notice.
///
/// # Errors
/// What the kernel or `progress` says; `dst` holds a part then.
pub(crate) fn copy_file(
    src: &File,
    dst: &File,
    wish: CopyWish,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<CopyMethod> {
    if wish != CopyWish::Copy {
        match rustix::fs::ioctl_ficlone(dst, src) {
            Ok(()) => {
                progress(stat_file(src)?.size)?;
                return Ok(CopyMethod::Cloned);
            }
            Err(error) if wish == CopyWish::Clone => return Err(error.into()),
            Err(_) => {}
        }
    }
    let stat = stat_file(src)?;
    let mut copy = Copy {
        src,
        dst,
        method: CopyMethod::InKernel,
        buffer: Vec::new(),
        progress,
    };
    if stat.allocated >= stat.size {
        copy.range(0, stat.size)?;
    } else {
        copy.data_ranges(stat.size)?;
        dst.set_len(stat.size)?;
    }
    Ok(copy.method)
}

struct Copy<'a> {
    src: &'a File,
    dst: &'a File,
    method: CopyMethod,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(u64) -> io::Result<()>,
}

impl Copy<'_> {
    /// Copies what is not a hole.
    fn data_ranges(&mut self, size: u64) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(self.src, SeekFrom::Data(at)) {
                Ok(start) => start,
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                // A file system that knows no holes.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return self.range(at, size),
                Err(error) => return Err(error.into()),
            };
            let end = match rustix::fs::seek(self.src, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                // The file became shorter.
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            self.range(start, end)?;
            at = end.max(at + 1);
        }
        (self.progress)(size)
    }

    /// Copies the bytes from `start` up to `end`, or up to the end of a file that became shorter.
    fn range(&mut self, start: u64, end: u64) -> io::Result<()> {
        let mut at = start;
        while at < end {
            let wanted = (end - at).min(STEP_BYTES);
            let done = match self.method {
                CopyMethod::Buffered => self.through_memory(at, wanted)?,
                _ => match self.in_kernel(at, wanted)? {
                    Some(done) => done,
                    None => {
                        self.method = CopyMethod::Buffered;
                        continue;
                    }
                },
            };
            if done == 0 {
                break;
            }
            at += done;
            (self.progress)(at)?;
        }
        Ok(())
    }

    /// One `copy_file_range`; `None` if the kernel cannot do it for these files.
    fn in_kernel(&self, at: u64, wanted: u64) -> io::Result<Option<u64>> {
        let (mut from, mut to) = (at, at);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        loop {
            let copied = rustix::fs::copy_file_range(
                self.src,
                Some(&mut from),
                self.dst,
                Some(&mut to),
                wanted,
            );
            return match copied {
                // Some file systems answer 0 for what they cannot do: read will tell.
                Ok(0) => Ok(None),
                Ok(done) => Ok(Some(done as u64)),
                Err(Errno::INTR) => continue,
                Err(
                    Errno::NOSYS
                    | Errno::XDEV
                    | Errno::INVAL
                    | Errno::OPNOTSUPP
                    | Errno::PERM
                    | Errno::TXTBSY
                    | Errno::IO,
                ) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
    }

    fn through_memory(&mut self, at: u64, wanted: u64) -> io::Result<u64> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let wanted = usize::try_from(wanted)
            .unwrap_or(BUFFER_BYTES)
            .min(BUFFER_BYTES);
        let Some(buffer) = self.buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = loop {
            match self.src.read_at(buffer, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.dst
            .write_all_at(buffer.get(..read).unwrap_or_default(), at)?;
        Ok(read as u64)
    }
}

/// BLAKE3 of the content of `file`, from its beginning.
///
/// # Errors
/// What the kernel says.
pub(crate) fn content_digest(file: &File) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
