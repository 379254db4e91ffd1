//! A state that a power cut may leave.
//!
//! A call that was flushed has happened, and so has every call that it builds on. What was not
//! flushed is up to the [`Loss`]. Three things are taken for granted of a file system, as planbox
//! does: one rename happens or does not, also across directories; a flushed file has its content;
//! the time of change of an inode is that of the last call on it that was not lost.

use super::Id;
use super::trace::{Inode, Op, Trace, look};
use crate::fs::stat::Time;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

/// How a file system loses what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Everything of it.
    All,
    /// Everything from some call on: one log for all metadata.
    Tail,
    /// In each directory, everything from some call on.
    TailOfEach,
    /// Any of it that nothing kept builds on.
    Any,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::All, Self::Tail, Self::TailOfEach, Self::Any];
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % limit).unwrap_or(0)
    }
}

/// What a call must not be kept without, as keys that it shares with earlier calls.
fn keys(op: &Op, loss: Loss) -> Vec<(Id, Option<&OsStr>)> {
    if op.slots.is_empty() {
        let own = op.inodes.first().map(|(id, _)| *id);
        // Attributes of one inode keep their order; no name is called "".
        return own
            .map(|id| (id, Some(OsStr::new(""))))
            .into_iter()
            .collect();
    }
    let whole = loss == Loss::TailOfEach;
    let slots = op.slots.iter();
    slots
        .map(|slot| (slot.dir, (!whole).then_some(slot.name.as_os_str())))
        .collect()
}

/// Which calls have happened.
fn survivors(ops: &[Op], loss: Loss, dice: &mut Dice) -> Vec<bool> {
    let mut needed: BTreeSet<(Id, Option<&OsStr>)> = BTreeSet::new();
    let mut forced = vec![false; ops.len()];
    let last_flushed = ops.iter().rposition(|op| op.flushed);
    for (index, op) in ops.iter().enumerate().rev() {
        let keys = keys(op, loss);
        let before_flushed = loss == Loss::Tail && last_flushed.is_some_and(|last| index <= last);
        let needs = op.flushed || before_flushed || keys.iter().any(|key| needed.contains(key));
        if needs {
            needed.extend(keys);
        }
        if let Some(slot) = forced.get_mut(index) {
            *slot = needs;
        }
    }
    let kept_from = last_flushed.map_or(0, |last| last + 1);
    let tail = kept_from + dice.below(ops.len() + 1 - kept_from);
    let mut without: BTreeSet<(Id, Option<&OsStr>)> = BTreeSet::new();
    let mut kept = Vec::new();
    for (index, (op, forced)) in ops.iter().zip(&forced).enumerate() {
        let keys = keys(op, loss);
        let lucky = match loss {
            Loss::All => false,
            Loss::Tail => index < tail,
            Loss::TailOfEach | Loss::Any => {
                dice.below(3) > 0 && !keys.iter().any(|key| without.contains(key))
            }
        };
        let survives = *forced || lucky;
        if !survives {
            without.extend(keys);
        }
        kept.push(survives);
    }
    kept
}

impl Trace {
    /// Undoes what is lost. `shown` is told the times of change that the kernel does not let anybody
    /// set: what it says now, and what it would say.
    pub(super) fn crash(
        mut self,
        loss: Loss,
        seed: u64,
        shown: &mut HashMap<Id, (Time, Time)>,
    ) -> io::Result<Vec<String>> {
        let mut dice = Dice(seed);
        let kept = survivors(&self.ops, loss, &mut dice);
        let mut told = Vec::new();
        let mut slots: BTreeMap<(Id, OsString), Option<Id>> = BTreeMap::new();
        let mut inodes = self.first.clone();
        for (op, kept) in self.ops.iter().zip(&kept) {
            for slot in &op.slots {
                let key = (slot.dir, slot.name.clone());
                let before = slots.entry(key).or_insert(slot.before);
                if *kept {
                    *before = slot.after;
                }
            }
            if *kept {
                inodes.extend(op.inodes.iter().copied());
            } else {
                told.push(describe(op));
            }
        }
        self.arrange(&slots)?;
        self.tear(loss, &mut dice, &mut told)?;
        self.restamp(&inodes, shown)?;
        self.journal_back(loss, &mut dice)?;
        Ok(told)
    }

    /// Gives every name to whom it belongs.
    fn arrange(&mut self, slots: &BTreeMap<(Id, OsString), Option<Id>>) -> io::Result<()> {
        let mut wrong = Vec::new();
        for ((dir, name), wanted) in slots {
            let Some(fd) = self.handle(*dir) else {
                continue;
            };
            let fd = fd.try_clone_to_owned()?;
            let now = look((fd.as_fd(), name)).map(|(id, _)| id);
            if now == *wanted {
                continue;
            }
            if now.is_some() {
                self.bury((fd.as_fd(), name))?;
            }
            wrong.extend(wanted.map(|wanted| (fd, name, wanted)));
        }
        let mut places: HashMap<Id, (std::os::fd::OwnedFd, OsString)> = HashMap::new();
        for (dir, name, wanted) in wrong {
            if let Some((from, first)) = places.get(&wanted) {
                rustix::fs::linkat(from, first, &dir, name, AtFlags::empty())?;
                continue;
            }
            let grave = self.buried.get_mut(&wanted).and_then(Vec::pop);
            let Some(grave) = grave else {
                return Err(io::Error::other(format!("nobody buried {wanted:?}")));
            };
            let flags = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(&self.graves, &grave, &dir, name, flags)?;
            places.insert(wanted, (dir, name.clone()));
        }
        Ok(())
    }

    /// Takes content that was not flushed, whole or in part.
    fn tear(&self, loss: Loss, dice: &mut Dice, told: &mut Vec<String>) -> io::Result<()> {
        for id in &self.dirty {
            let Some(handle) = self.handle(*id) else {
                continue;
            };
            let share = if loss == Loss::All { 0 } else { dice.below(3) };
            if share == 2 {
                continue;
            }
            let path = by_number(handle);
            let (_, like) = look((handle, OsStr::new(""))).unwrap_or((*id, nothing()));
            rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(0o600), AtFlags::empty())?;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = std::fs::File::from(rustix::fs::open(&path, flags, Mode::empty())?);
            let length = file.metadata()?.len();
            let left = if share == 0 { 0 } else { length / 2 };
            file.set_len(left)?;
            let mode = Mode::from_raw_mode(like.mode & 0o7777);
            rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty())?;
            told.push(format!("content of inode {}: {length} to {left}", id.1));
        }
        Ok(())
    }

    /// Gives every inode the attributes and times it had.
    fn restamp(
        &self,
        inodes: &HashMap<Id, Inode>,
        shown: &mut HashMap<Id, (Time, Time)>,
    ) -> io::Result<()> {
        for (id, wanted) in inodes {
            let Some(handle) = self.handle(*id) else {
                continue;
            };
            let at = (handle, OsStr::new(""));
            let Some((_, now)) = look(at) else { continue };
            let path = by_number(handle);
            if now.mode != wanted.mode {
                let mode = Mode::from_raw_mode(wanted.mode & 0o7777);
                rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty())?;
            }
            if now.mtime != wanted.mtime {
                let stamps = stamps(wanted.mtime);
                // A link is named by its handle itself.
                let flags = AtFlags::EMPTY_PATH;
                rustix::fs::utimensat(handle, c"", &stamps, flags)
                    .or_else(|_| rustix::fs::utimensat(CWD, &path, &stamps, AtFlags::empty()))?;
            }
            if let Some((_, now)) = look(at) {
                shown.insert(*id, (now.ctime, wanted.ctime));
            }
        }
        Ok(())
    }

    /// The journal as of its last flush, or with what reached the disk of what came after it.
    fn journal_back(&self, loss: Loss, dice: &mut Dice) -> io::Result<()> {
        let journal = &self.journal;
        let (file, log) = match &journal.written {
            Some(written) if loss != Loss::All => written,
            _ => &journal.flushed,
        };
        let mut log = log.clone();
        if *file == journal.flushed.0 && log.starts_with(&journal.flushed.1) {
            let flushed = journal.flushed.1.len();
            log.truncate(flushed + dice.below(log.len() + 1 - flushed));
        } else if dice.below(2) == 0 {
            return journal.put(&journal.flushed);
        }
        journal.put(&(file.clone(), log))
    }
}

fn by_number(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

fn nothing() -> Inode {
    Inode {
        mode: 0o600,
        mtime: (0, 0),
        ctime: (0, 0),
    }
}

fn stamps((tv_sec, nanoseconds): Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec,
            tv_nsec: nanoseconds.into(),
        },
    }
}

fn describe(op: &Op) -> String {
    let names = op.slots.iter().map(|slot| {
        let number =
            |id: Option<Id>| id.map_or_else(|| "nothing".to_owned(), |id| id.1.to_string());
        let (before, after) = (number(slot.before), number(slot.after));
        format!(
            "{}/{}: {before} to {after}",
            slot.dir.1,
            slot.name.display()
        )
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        let number = op.inodes.first().map_or(0, |(id, _)| id.1);
        return format!("an attribute of {number}");
    }
    names.join(", ")
}
