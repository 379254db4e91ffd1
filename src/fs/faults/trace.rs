//! What was done, with what is needed to undo it.
//!
//! Kept for each call: which names it gave to which inodes, and what the inodes were like after it.
//! Inodes whose last name is removed are *buried*: they keep a name in a directory of the
//! recording, so that a lost removal can give them back as they were, number and all.

use super::{Id, Spot};
use crate::fs::stat::Time;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, StatxFlags};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The directory of the recording, below the root.
const GRAVES: &str = ".graves";

/// What an inode is like, beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
}

/// A name, and which inode had it before a call and after it.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) dir: Id,
    pub(super) name: OsString,
    pub(super) before: Option<Id>,
    pub(super) after: Option<Id>,
}

/// One call. Without slots it set an attribute of its only inode.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) slots: Vec<Slot>,
    pub(super) inodes: Vec<(Id, Inode)>,
    pub(super) flushed: bool,
}

/// The bytes of a journal and of its log.
type Pages = (Vec<u8>, Vec<u8>);

/// The files of the durable journal, which writes them itself: they are copied as of its flushes.
///
/// Held open to the end: to close a descriptor of a file is to drop the locks of this process.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    log: Option<File>,
    /// As of the last flush.
    pub(super) flushed: Pages,
    /// As of the cut, with what was written lazily.
    pub(super) written: Option<Pages>,
}

/// The recording.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) graves: OwnedFd,
    pub(super) buried: HashMap<Id, Vec<OsString>>,
    count: u64,
    /// A handle of every inode that was met, which grants nothing.
    pub(super) handles: HashMap<Id, OwnedFd>,
    /// What each was like when it was met.
    pub(super) first: HashMap<Id, Inode>,
    pub(super) ops: Vec<Op>,
    /// Files whose content is not flushed.
    pub(super) dirty: BTreeSet<Id>,
    pub(super) journal: Journal,
    /// What earlier cuts say of times of change: see [`super::doors::ctime`].
    shown: HashMap<Id, (Time, Time)>,
}

/// Who has a name, and what it is like. Asks the kernel without telling the witness: a recording
/// works under its latch.
pub(super) fn look((dir, name): Spot<'_>) -> Option<(Id, Inode)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let raw = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS).ok()?;
    let dev = rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor);
    let inode = Inode {
        mode: u32::from(raw.stx_mode),
        mtime: (raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
        ctime: (raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec),
    };
    Some(((dev, raw.stx_ino), inode))
}

fn itself(fd: BorrowedFd<'_>) -> Spot<'_> {
    (fd, OsStr::new(""))
}

fn neighbour(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// All bytes of `file`; none if it cannot be read to its end.
fn bytes(file: &File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |found| found.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        let mut journal = Self {
            path: path.to_owned(),
            file: File::open(path)?,
            log: None,
            flushed: (Vec::new(), Vec::new()),
            written: None,
        };
        journal.flushed = journal.now();
        Ok(journal)
    }

    fn now(&mut self) -> Pages {
        if self.log.is_none() {
            self.log = File::open(neighbour(&self.path, "-wal")).ok();
        }
        (
            bytes(&self.file),
            self.log.as_ref().map(bytes).unwrap_or_default(),
        )
    }

    /// Puts `pages` where the journal is.
    pub(super) fn put(&self, (file, log): &Pages) -> io::Result<()> {
        for (path, bytes) in [
            (self.path.clone(), file),
            (neighbour(&self.path, "-wal"), log),
        ] {
            let mut options = File::options();
            let options = options.write(true).create(true).truncate(true);
            options.open(path)?.write_all_at(bytes, 0)?;
        }
        match std::fs::remove_file(neighbour(&self.path, "-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Trace {
    pub(super) fn begin(
        root: &Path,
        journal: &Path,
        shown: HashMap<Id, (Time, Time)>,
    ) -> io::Result<Self> {
        let graves = root.join(GRAVES);
        match std::fs::create_dir(&graves) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => (),
        }
        // An earlier recording may have left some.
        let numbers = std::fs::read_dir(&graves)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let taken = numbers.max().unwrap_or(0);
        Ok(Self {
            graves: File::open(&graves)?.into(),
            buried: HashMap::new(),
            count: taken,
            handles: HashMap::new(),
            first: HashMap::new(),
            ops: Vec::new(),
            dirty: BTreeSet::new(),
            journal: Journal::open(journal)?,
            shown,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Meets the inode at a name: who it is and what it is like.
    fn meet(&mut self, at: Spot<'_>) -> Option<(Id, Inode)> {
        let (id, mut inode) = look(at)?;
        if let Some((real, shown)) = self.shown.get(&id)
            && *real == inode.ctime
        {
            inode.ctime = *shown;
        }
        if let Entry::Vacant(handle) = self.handles.entry(id) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = if at.1.is_empty() {
                at.0.try_clone_to_owned().ok()?
            } else {
                rustix::fs::openat(at.0, at.1, flags, Mode::empty()).ok()?
            };
            handle.insert(opened);
        }
        self.first.entry(id).or_insert(inode);
        Some((id, inode))
    }

    /// Who has these names now; their directories are met, too.
    pub(super) fn see(&mut self, spots: &[Spot<'_>]) -> Vec<Option<Id>> {
        spots
            .iter()
            .map(|spot| {
                self.meet(itself(spot.0));
                self.meet(*spot).map(|(id, _)| id)
            })
            .collect()
    }

    /// A call gave these names to others than `before`.
    pub(super) fn named(&mut self, spots: &[Spot<'_>], before: &[Option<Id>]) {
        let mut op = Op {
            slots: Vec::new(),
            inodes: Vec::new(),
            flushed: false,
        };
        for (spot, before) in spots.iter().zip(before) {
            let Some((dir, like)) = self.meet(itself(spot.0)) else {
                continue;
            };
            op.inodes.push((dir, like));
            let after = self.meet(*spot);
            op.inodes.extend(after);
            op.slots.push(Slot {
                dir,
                name: spot.1.to_owned(),
                before: *before,
                after: after.map(|(id, _)| id),
            });
        }
        self.ops.push(op);
    }

    fn grave(&mut self) -> OsString {
        self.count += 1;
        OsString::from(self.count.to_string())
    }

    /// Gives the inode at a name that is about to be replaced another name, so that it stays.
    pub(super) fn keep(&mut self, at: Spot<'_>) {
        let Some((id, _)) = self.meet(at) else { return };
        let grave = self.grave();
        let linked = rustix::fs::linkat(at.0, at.1, &self.graves, &grave, AtFlags::empty());
        if linked.is_ok() {
            self.buried.entry(id).or_default().push(grave);
        }
    }

    /// Moves the inode at a name out of sight.
    pub(super) fn bury(&mut self, at: Spot<'_>) -> io::Result<()> {
        let met = self.meet(at);
        let grave = self.grave();
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(at.0, at.1, &self.graves, &grave, flags)?;
        if let Some((id, _)) = met {
            self.buried.entry(id).or_default().push(grave);
        }
        Ok(())
    }

    pub(super) fn before_attribute(&mut self, at: Spot<'_>) {
        self.meet(at);
    }

    /// A call set an attribute.
    pub(super) fn attribute(&mut self, at: Spot<'_>) {
        if let Some(now) = self.meet(at) {
            self.ops.push(Op {
                slots: Vec::new(),
                inodes: vec![now],
                flushed: false,
            });
        }
    }

    /// The content of a file is about to change.
    pub(super) fn dirty(&mut self, at: Spot<'_>) {
        if let Some((id, _)) = self.meet(at) {
            self.dirty.insert(id);
        }
    }

    /// A flush of `fd` that began when there were `until` calls.
    pub(super) fn flushed(&mut self, fd: BorrowedFd<'_>, until: usize, whole: bool) {
        let Some((id, _)) = look(itself(fd)) else {
            return;
        };
        for op in self.ops.iter_mut().take(until) {
            let own = match op.slots.as_slice() {
                [] => op.inodes.first().is_some_and(|(inode, _)| *inode == id),
                slots => slots.iter().any(|slot| slot.dir == id),
            };
            op.flushed |= whole || own;
        }
        if whole {
            self.dirty.clear();
        }
        self.dirty.remove(&id);
    }

    pub(super) fn journal_flushed(&mut self) {
        self.journal.flushed = self.journal.now();
    }

    pub(super) fn journal_at_the_cut(&mut self) {
        self.journal.written = Some(self.journal.now());
    }

    /// The handle of an inode.
    pub(super) fn handle(&self, id: Id) -> Option<BorrowedFd<'_>> {
        self.handles.get(&id).map(|fd| fd.as_fd())
    }
}
