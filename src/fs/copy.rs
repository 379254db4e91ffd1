//! Copying the content of a file.

use super::faults;
use super::stat::stat_file;
use crate::sync::witness::about_to_block;
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
    about_to_block("fs.copy");
    let room = faults::write(dst)?;
    if wish != CopyWish::Copy && room.is_none() {
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
    if let Some(room) = room {
        copy.range(0, stat.size.min(room))?;
        return Err(Errno::NOSPC.into());
    }
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
            let done = if self.method == CopyMethod::Buffered {
                self.through_memory(at, wanted)?
            } else if let Some(done) = self.in_kernel(at, wanted)? {
                done
            } else {
                self.method = CopyMethod::Buffered;
                continue;
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
                Err(Errno::INTR) => continue,
                // Some file systems answer 0 for what they cannot do: read will tell.
                Ok(0)
                | Err(
                    Errno::NOSYS
                    | Errno::XDEV
                    | Errno::INVAL
                    | Errno::OPNOTSUPP
                    | Errno::PERM
                    | Errno::TXTBSY
                    | Errno::IO,
                ) => Ok(None),
                Ok(done) => Ok(Some(done as u64)),
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
    about_to_block("fs.read");
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

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;
    use std::ffi::OsStr;

    fn copy(from: &Scratch, to: &Scratch, wish: CopyWish) -> io::Result<(CopyMethod, Vec<u64>)> {
        let src = from.dir().read_file(OsStr::new("src"))?;
        let dst = to.dir().create_file(OsStr::new("dst"), 0o600)?;
        let mut seen = Vec::new();
        let method = copy_file(&src, &dst, wish, &mut |done| {
            seen.push(done);
            Ok(())
        })?;
        Ok((method, seen))
    }

    fn same(from: &Scratch, to: &Scratch) -> bool {
        std::fs::read(from.path().join("src")).unwrap()
            == std::fs::read(to.path().join("dst")).unwrap()
    }

    #[test]
    fn bytes_arrive_whole_and_progress_is_told() {
        let (from, to) = (Scratch::new(), Scratch::new());
        let content: Vec<u8> = (0..20_000_003_u32).map(|n| (n % 251) as u8).collect();
        from.put("src", &content);
        let (method, seen) = copy(&from, &to, CopyWish::Copy).unwrap();
        assert_ne!(method, CopyMethod::Cloned);
        assert!(same(&from, &to));
        assert_eq!(seen.last(), Some(&20_000_003));
        assert!(seen.len() >= 3 && seen.is_sorted(), "{seen:?}");
    }

    #[test]
    fn another_file_system_is_reached_through_memory() {
        let (from, to) = (Scratch::new(), Scratch::quick());
        from.put("src", &vec![9; 300_000]);
        copy(&from, &to, CopyWish::CloneOrCopy).unwrap();
        assert!(same(&from, &to));
        let far = from.dir().stat().unwrap().dev != to.dir().stat().unwrap().dev;
        to.dir().remove_file(OsStr::new("dst")).unwrap();
        assert!(!far || copy(&from, &to, CopyWish::Clone).is_err());
    }

    #[test]
    fn holes_stay_holes_wherever_they_are() {
        for (data_at, size) in [(0, 64 << 20), (32 << 20, 64 << 20), (5, 1 << 40)] {
            let (from, to) = (Scratch::new(), Scratch::new());
            from.put("src", b"");
            let src = from.dir().write_file(OsStr::new("src")).unwrap();
            if src.set_len(size).is_err() {
                continue;
            }
            src.write_all_at(b"data", data_at).unwrap();
            copy(&from, &to, CopyWish::Copy).unwrap();
            let dst = to.dir().read_file(OsStr::new("dst")).unwrap();
            let stat = stat_file(&dst).unwrap();
            assert_eq!(stat.size, size);
            assert!(stat.allocated < 1 << 20, "{} bytes", stat.allocated);
            let mut read = [0; 4];
            dst.read_exact_at(&mut read, data_at).unwrap();
            assert_eq!(&read, b"data");
        }
    }

    #[test]
    fn a_pipe_is_refused_at_once() {
        let scratch = Scratch::new();
        rustix::fs::mkfifoat(scratch.dir(), "src", rustix::fs::Mode::RUSR).unwrap();
        let error = copy(&scratch, &scratch, CopyWish::Copy).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn it_stops_when_told_to() {
        let scratch = Scratch::new();
        scratch.put("src", &[1; 100]);
        let src = scratch.dir().read_file(OsStr::new("src")).unwrap();
        let dst = scratch.dir().create_file(OsStr::new("dst"), 0o600).unwrap();
        let stop = &mut |_| Err(io::Error::other("stop"));
        let error = copy_file(&src, &dst, CopyWish::Copy, stop).unwrap_err();
        assert_eq!(error.to_string(), "stop");
    }

    #[test]
    fn a_digest_is_of_the_whole_content() {
        let scratch = Scratch::new();
        let content = vec![3; BUFFER_BYTES * 2 + 1];
        scratch.put("src", &content);
        let src = scratch.dir().read_file(OsStr::new("src")).unwrap();
        let digest = content_digest(&src).unwrap();
        assert_eq!(digest, *blake3::hash(&content).as_bytes());
    }
}
