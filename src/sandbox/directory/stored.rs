//! The manifest as a file: versioned, streamed both ways, every length bounded, sealed by one
//! checksum over all of it. Damaged bytes are an error, never a panic and never a guess.

use super::exclude::Exclusions;
use super::manifest::{Entry, Extra, LeftOut, Manifest, Signature};
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, FileKind};
use crate::sandbox::Outcome;
use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, Read, Write};

/// First bytes of the file; the digit is the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"planbox-tree 01\n";

/// Longest name, in bytes.
const NAME_MAX: u64 = 1_024;

/// Longest link target, in bytes.
const TARGET_MAX: u64 = 65_536;

/// Longest header text, in bytes.
const HEADER_MAX: u64 = 1 << 20;

const HAS_TARGET: u8 = 1;
const HAS_XATTRS: u8 = 2;
const HAS_CONTENT: u8 = 4;
const IS_RACY: u8 = 8;

impl Manifest {
    /// Writes it durably as the file `name` of `dir`.
    ///
    /// # Errors
    /// A [`ParticipantError`] of the system; an older file of that name is untouched then.
    pub(crate) fn save(&self, dir: &fs::Dir, name: &OsStr) -> Outcome<()> {
        let failed =
            |error| ParticipantError::io("store the manifest", dir.path().join(name), error);
        let (temp, file) = dir.temp_file(0o600).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let stored = self
            .write_to(&mut out)
            .and_then(|()| out.flush())
            .and_then(|()| fs::sync_all(out.get_ref()))
            .and_then(|()| dir.rename_over(&temp, dir, name))
            .and_then(|()| dir.sync());
        stored.map_err(|error| {
            // The first error is the one to report.
            drop(dir.remove_file(&temp));
            failed(error)
        })
    }

    /// Reads the file `name` of `dir`.
    ///
    /// # Errors
    /// [`Fault::Lost`] if there is none, [`Fault::Corrupt`] if it is not what was written.
    pub(crate) fn load(dir: &fs::Dir, name: &OsStr) -> Outcome<Self> {
        let path = || dir.path().join(name);
        let file = dir.read_file(name).map_err(|error| {
            let absent = error.kind() == io::ErrorKind::NotFound;
            let mut error = ParticipantError::io("open the manifest", path(), error);
            if absent {
                error.fault = Fault::Lost;
            }
            error
        })?;
        Self::read_from(BufReader::with_capacity(1 << 16, file)).map_err(|error| {
            let damaged = matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            );
            let mut error = ParticipantError::io("read the manifest", path(), error);
            if damaged {
                error.fault = Fault::Corrupt;
            }
            error
        })
    }

    /// Writes it to `out`.
    ///
    /// # Errors
    /// What `out` says; `InvalidInput` for a name longer than the format takes.
    pub(crate) fn write_to(&self, out: impl Write) -> io::Result<()> {
        let mut out = Sealer {
            out,
            hasher: blake3::Hasher::new(),
        };
        out.put(MAGIC)?;
        out.bytes(self.boot.as_bytes(), HEADER_MAX)?;
        let exclusions = serde_json::to_vec(&self.exclusions)?;
        out.bytes(&exclusions, HEADER_MAX)?;
        out.put(&(self.entries.len() as u64).to_le_bytes())?;
        for entry in &self.entries {
            out.entry(entry)?;
        }
        let seal = out.hasher.finalize();
        out.out.write_all(seal.as_bytes())
    }

    /// Reads it from `input`, to its end.
    ///
    /// # Errors
    /// What `input` says; `InvalidData` or `UnexpectedEof` for bytes that are not a whole manifest.
    pub(crate) fn read_from(input: impl Read) -> io::Result<Self> {
        let mut input = Checker {
            input,
            hasher: blake3::Hasher::new(),
        };
        if &input.array::<16>()? != MAGIC {
            return Err(damaged("not a manifest of this version"));
        }
        let boot = String::from_utf8(input.bytes(HEADER_MAX)?)
            .map_err(|_| damaged("a boot id that is no text"))?;
        let exclusions: Exclusions = serde_json::from_slice(&input.bytes(HEADER_MAX)?)
            .map_err(|_| damaged("exclusions that cannot be read"))?;
        let count = u64::from_le_bytes(input.array()?);
        let mut entries = Vec::new();
        for index in 0..count {
            let index = u32::try_from(index).map_err(|_| damaged("too many entries"))?;
            let entry = input.entry()?;
            adopt(&mut entries, index, &entry)?;
            entries.push(entry);
        }
        let seal = input.hasher.finalize();
        let mut stored = [0; 32];
        input.input.read_exact(&mut stored)?;
        if seal != stored {
            return Err(damaged("a checksum that does not match"));
        }
        if input.input.read(&mut [0])? != 0 {
            return Err(damaged("more bytes than a manifest"));
        }
        if entries.is_empty() {
            return Err(damaged("no root"));
        }
        Ok(Self {
            entries,
            exclusions,
            boot,
        })
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Checks that `entry` may follow and adds it to its parent's children: the tree is well-formed,
/// whatever the bytes were.
fn adopt(entries: &mut [Entry], index: u32, entry: &Entry) -> io::Result<()> {
    let root_like = entry.base.kind == FileKind::Directory && entry.left_out.is_none();
    if index == 0 {
        let sound = entry.parent == 0 && entry.name.is_empty() && root_like;
        return if sound {
            Ok(())
        } else {
            Err(damaged("a root that is none"))
        };
    }
    let is_name = !entry.name.is_empty()
        && *entry.name != *b"."
        && *entry.name != *b".."
        && !entry.name.iter().any(|byte| matches!(byte, b'/' | 0));
    if !is_name {
        return Err(damaged("a name that is none"));
    }
    let sorted_after = entries
        .last()
        .is_none_or(|last| last.parent != entry.parent || index == 1 || last.name < entry.name);
    let parent = entries
        .get_mut(entry.parent as usize)
        .filter(|parent| parent.is_open_directory())
        .ok_or_else(|| damaged("an entry without a directory"))?;
    if parent.children.is_empty() {
        parent.children = index..index;
    }
    if parent.children.end != index || !sorted_after {
        return Err(damaged("entries out of order"));
    }
    parent.children.end = index + 1;
    Ok(())
}

struct Sealer<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Sealer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn bytes(&mut self, bytes: &[u8], most: u64) -> io::Result<()> {
        let length = bytes.len() as u64;
        if length > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a text longer than the manifest takes",
            ));
        }
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.put(&entry.parent.to_le_bytes())?;
        self.bytes(&entry.name, NAME_MAX)?;
        self.signature(&entry.base)?;
        let left_out = match entry.left_out {
            None => 0,
            Some(LeftOut::Excluded) => 1,
            Some(LeftOut::NestedMount) => 2,
            Some(LeftOut::Special(kind)) => 0x10 | kind_number(kind),
        };
        let empty = Extra::default();
        let extra = entry.extra.as_deref().unwrap_or(&empty);
        let flags = if extra.link_target.is_some() {
            HAS_TARGET
        } else {
            0
        } | if extra.xattr_digest.is_some() {
            HAS_XATTRS
        } else {
            0
        } | if extra.content_digest.is_some() {
            HAS_CONTENT
        } else {
            0
        } | if extra.racy { IS_RACY } else { 0 };
        self.put(&[left_out, flags])?;
        if entry.left_out.is_none() {
            self.signature(&entry.view)?;
        }
        if let Some(target) = &extra.link_target {
            self.bytes(target, TARGET_MAX)?;
        }
        for digest in [extra.xattr_digest, extra.content_digest].iter().flatten() {
            self.put(digest)?;
        }
        Ok(())
    }

    fn signature(&mut self, signature: &Signature) -> io::Result<()> {
        self.put(&signature.dev.to_le_bytes())?;
        self.put(&signature.ino.to_le_bytes())?;
        self.put(&[kind_number(signature.kind)])?;
        for number in [
            signature.mode,
            signature.uid,
            signature.gid,
            signature.nlink,
        ] {
            self.put(&number.to_le_bytes())?;
        }
        self.put(&signature.size.to_le_bytes())?;
        for (seconds, nanoseconds) in [signature.mtime, signature.ctime] {
            self.put(&seconds.to_le_bytes())?;
            self.put(&nanoseconds.to_le_bytes())?;
        }
        Ok(())
    }
}

struct Checker<R> {
    input: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Checker<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let length = u64::from_le_bytes(self.array()?);
        if length > most {
            return Err(damaged("a length beyond its limit"));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(length).read_to_end(&mut bytes)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let parent = u32::from_le_bytes(self.array()?);
        let name = self.bytes(NAME_MAX)?.into_boxed_slice();
        let base = self.signature()?;
        let [left_out, flags] = self.array()?;
        let left_out = match left_out {
            0 => None,
            1 => Some(LeftOut::Excluded),
            2 => Some(LeftOut::NestedMount),
            other if other & 0xf0 == 0x10 => Some(LeftOut::Special(kind_of(other & 0x0f)?)),
            _ => return Err(damaged("an unknown reason to leave out")),
        };
        if flags & !(HAS_TARGET | HAS_XATTRS | HAS_CONTENT | IS_RACY) != 0 {
            return Err(damaged("unknown flags"));
        }
        let view = if left_out.is_none() {
            self.signature()?
        } else {
            base
        };
        let mut extra = Extra::default();
        if flags & HAS_TARGET != 0 {
            extra.link_target = Some(self.bytes(TARGET_MAX)?.into_boxed_slice());
        }
        if flags & HAS_XATTRS != 0 {
            extra.xattr_digest = Some(self.array()?);
        }
        if flags & HAS_CONTENT != 0 {
            extra.content_digest = Some(self.array()?);
        }
        extra.racy = flags & IS_RACY != 0;
        Ok(Entry {
            parent,
            name,
            base,
            view,
            left_out,
            extra: (flags != 0).then(|| Box::new(extra)),
            children: 0..0,
        })
    }

    fn signature(&mut self) -> io::Result<Signature> {
        Ok(Signature {
            dev: u64::from_le_bytes(self.array()?),
            ino: u64::from_le_bytes(self.array()?),
            kind: kind_of(u8::from_le_bytes(self.array()?))?,
            mode: u32::from_le_bytes(self.array()?),
            uid: u32::from_le_bytes(self.array()?),
            gid: u32::from_le_bytes(self.array()?),
            nlink: u32::from_le_bytes(self.array()?),
            size: u64::from_le_bytes(self.array()?),
            mtime: self.time()?,
            ctime: self.time()?,
        })
    }

    fn time(&mut self) -> io::Result<fs::Time> {
        let seconds = i64::from_le_bytes(self.array()?);
        Ok((seconds, u32::from_le_bytes(self.array()?)))
    }
}

fn kind_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::File => 1,
        FileKind::Directory => 2,
        FileKind::Symlink => 3,
        FileKind::Fifo => 4,
        FileKind::Socket => 5,
        FileKind::Char => 6,
        FileKind::Block => 7,
    }
}

fn kind_of(number: u8) -> io::Result<FileKind> {
    Ok(match number {
        1 => FileKind::File,
        2 => FileKind::Directory,
        3 => FileKind::Symlink,
        4 => FileKind::Fifo,
        5 => FileKind::Socket,
        6 => FileKind::Char,
        7 => FileKind::Block,
        _ => return Err(damaged("an unknown kind")),
    })
}
