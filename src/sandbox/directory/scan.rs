//! What a plan changed: the view as it is now against the manifest.
//!
//! One pass over the metadata. Memory grows with the changes and with one directory's names,
//! descriptors are bounded, and a wholly new or wholly removed subtree is one entry.

use super::manifest::{Entry, Manifest, Signature};
use crate::error::ParticipantError;
use crate::fs::{self, Cursor, FileKind, Stat};
use crate::sandbox::{Outcome, Work};
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// How a place differs from the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It was not there, or it was left out of the view ([`Touched::was`] tells).
    Added,
    /// The content or the link target is different, or may be.
    Modified,
    /// Mode, time stamps, owner or attributes are different; inode, size and modification time of
    /// a file are the same. A plan that writes and sets the time back looks like this too: compare
    /// the content before leaving it out.
    MetaOnly,
    /// It is gone.
    Removed,
    /// A file, directory or link became another of these.
    TypeChanged,
}

/// A place that differs. Its directory existed in the base and exists in the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Manifest index of the directory it is in; 0 for the root itself.
    pub(crate) parent: u32,
    /// Its name there; empty for the root itself.
    pub(crate) name: OsString,
    /// Its manifest index, if the base had that name.
    pub(crate) was: Option<u32>,
    /// What is there now; `None` if it is gone.
    pub(crate) now: Option<Stat>,
    /// How it differs.
    pub(crate) kind: Difference,
    /// Names that come with a new tree (in `now`), the top included; 0 if `now` is `None`.
    pub(crate) entries_now: u64,
    /// Bytes of the files in `now`.
    pub(crate) bytes_now: u64,
    /// Names that go with an old tree, the top included; 0 if the place is new.
    pub(crate) entries_was: u64,
    /// Names in the old tree that the view never showed; removing it would destroy them.
    pub(crate) left_out_was: u64,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The places that differ: parents before children, sorted by name in each directory.
    pub(crate) touched: Vec<Touched>,
    /// Names in the view that are excluded and therefore not looked at.
    pub(crate) ignored: u64,
}

/// Compares the `view` with its `manifest`.
///
/// # Errors
/// A [`ParticipantError`]: what the system refused, by path below the view;
/// [`Fault::Interrupted`](crate::error::Fault::Interrupted) on request.
pub(crate) fn scan(view: &fs::Dir, manifest: &Manifest, work: &Work<'_>) -> Outcome<Scan> {
    let mut scanner = Scanner {
        manifest,
        work,
        cursor: Cursor::new(view).map_err(|e| ParticipantError::io("open the view", "", e))?,
        found: Scan::default(),
        done: 0,
    };
    scanner.root()?;
    let mut levels = vec![scanner.directory(0)?];
    while let Some(level) = levels.last_mut() {
        if let Some(index) = level.pop() {
            scanner.enter(index)?;
            let below = scanner.directory(index)?;
            levels.push(below);
        } else {
            levels.pop();
            if !levels.is_empty() {
                let left = scanner.cursor.leave();
                drop(left.map_err(|e| ParticipantError::io("walk the view", "", e))?);
            }
        }
    }
    Ok(scanner.found)
}

struct Scanner<'a> {
    manifest: &'a Manifest,
    work: &'a Work<'a>,
    cursor: Cursor,
    found: Scan,
    done: u64,
}

impl Scanner<'_> {
    fn step(&mut self) -> Outcome<()> {
        self.done += 1;
        self.work.step(self.done, 0, "entries")
    }

    fn failed(&self, parent: u32, name: &OsStr, error: io::Error) -> ParticipantError {
        let path: PathBuf = self.manifest.path_in(parent, name);
        ParticipantError::io("compare the view with its base", path, error)
    }

    fn root(&mut self) -> Outcome<()> {
        let Some(entry) = self.manifest.get(0) else {
            return Ok(());
        };
        let name = OsStr::new("");
        let now = self.cursor.dir().stat();
        let now = now.map_err(|e| self.failed(0, name, e))?;
        let digest = fs::xattr_digest(self.cursor.dir());
        let digest = digest.map_err(|e| self.failed(0, name, e))?;
        if directory_differs(entry, &now, || Ok(digest)).map_err(|e| self.failed(0, name, e))? {
            self.push((0, name), Some(0), Some(now), Difference::MetaOnly);
        }
        Ok(())
    }

    fn enter(&mut self, index: u32) -> Outcome<()> {
        let Some(entry) = self.manifest.get(index) else {
            return Ok(());
        };
        let entered = self.cursor.enter(entry.name());
        entered.map_err(|e| self.failed(entry.parent, entry.name(), e))
    }

    /// Compares one directory, name by name in order; returns which of its directories are to be
    /// entered, last first.
    fn directory(&mut self, index: u32) -> Outcome<Vec<u32>> {
        let names = self.cursor.dir().entries();
        let names = names.map_err(|e| self.failed(index, OsStr::new(""), e))?;
        let names = names.sorted();
        let mut enter = Vec::new();
        let mut names = names.into_iter().peekable();
        let mut base = self.manifest.children(index).peekable();
        loop {
            let was = base.peek().and_then(|at| self.manifest.get(*at));
            let order = match (names.peek(), was) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(name), Some(entry)) => name.as_os_str().cmp(entry.name()),
            };
            let at = (order != Ordering::Less).then(|| base.next()).flatten();
            let name = (order != Ordering::Greater).then(|| names.next()).flatten();
            self.step()?;
            match (name, at) {
                (Some(name), at) => {
                    if self.present(index, &name, at)? {
                        enter.extend(at);
                    }
                }
                (None, Some(at)) => self.absent(at),
                (None, None) => {}
            }
        }
        enter.reverse();
        Ok(enter)
    }

    /// The base had it and the view has not.
    fn absent(&mut self, index: u32) {
        if let Some(entry) = self.manifest.get(index)
            && entry.left_out.is_none()
        {
            let name = entry.name().to_owned();
            self.push(
                (entry.parent, &name),
                Some(index),
                None,
                Difference::Removed,
            );
        }
    }

    /// The view has `name`. True if it is a directory that the base had too.
    fn present(&mut self, parent: u32, name: &OsStr, was: Option<u32>) -> Outcome<bool> {
        if self.manifest.exclusions().excludes(name) {
            self.found.ignored += 1;
            return Ok(false);
        }
        let now = self.cursor.dir().stat_at(name);
        let Some(now) = now.map_err(|e| self.failed(parent, name, e))? else {
            // Removed since the directory was read.
            if let Some(was) = was {
                self.absent(was);
            }
            return Ok(false);
        };
        let entry = was.and_then(|at| self.manifest.get(at));
        let Some(entry) = entry.filter(|entry| entry.left_out.is_none()) else {
            self.push((parent, name), was, Some(now), Difference::Added);
            self.count_new(parent, name, &now)?;
            return Ok(false);
        };
        if entry.view.kind != now.kind {
            self.push((parent, name), was, Some(now), Difference::TypeChanged);
            self.count_new(parent, name, &now)?;
            return Ok(false);
        }
        if entry.view.is_same(&Signature::of(&now)) {
            return Ok(now.kind == FileKind::Directory);
        }
        let kind = self
            .compare(entry, name, &now)
            .map_err(|e| self.failed(parent, name, e))?;
        if let Some(kind) = kind {
            self.push((parent, name), was, Some(now), kind);
        }
        Ok(now.kind == FileKind::Directory)
    }

    /// How an entry differs that has kept its kind but not its signature.
    fn compare(&self, entry: &Entry, name: &OsStr, now: &Stat) -> io::Result<Option<Difference>> {
        let dir = self.cursor.dir();
        match now.kind {
            FileKind::Directory => {
                let differs = directory_differs(entry, now, || {
                    let child = dir.child(name)?;
                    fs::xattr_digest(&child)
                })?;
                Ok(differs.then_some(Difference::MetaOnly))
            }
            FileKind::Symlink => {
                let same = entry.link_target() == Some(dir.read_link(name)?.as_os_str());
                let moved = entry.view.mtime != now.mtime || entry.view.uid != now.uid;
                Ok(match (same, moved) {
                    (false, _) => Some(Difference::Modified),
                    (true, true) => Some(Difference::MetaOnly),
                    (true, false) => None,
                })
            }
            _ => {
                let view = &entry.view;
                let content = (view.dev, view.ino, view.size, view.mtime)
                    == (now.dev, now.ino, now.size, now.mtime);
                let explained = (view.mode, view.uid, view.gid, view.nlink)
                    != (now.mode, now.uid, now.gid, now.nlink);
                // A new ctime with nothing to show for it: attributes, or a time set back.
                let explained = explained
                    || content && fs::xattr_digest(dir.read_file(name)?)? != entry.xattr_digest();
                Ok(Some(if content && explained {
                    Difference::MetaOnly
                } else {
                    Difference::Modified
                }))
            }
        }
    }

    fn push(
        &mut self,
        (parent, name): (u32, &OsStr),
        was: Option<u32>,
        now: Option<Stat>,
        kind: Difference,
    ) {
        let totals = match (was, kind) {
            (Some(was), Difference::Removed | Difference::TypeChanged) => self.manifest.totals(was),
            _ => super::manifest::Totals::default(),
        };
        self.found.touched.push(Touched {
            parent,
            name: name.to_owned(),
            was,
            now,
            kind,
            entries_now: u64::from(now.is_some()),
            bytes_now: now
                .filter(|now| now.kind == FileKind::File)
                .map_or(0, |now| now.size),
            entries_was: match kind {
                Difference::Added => 0,
                Difference::Removed | Difference::TypeChanged => totals.entries,
                Difference::Modified | Difference::MetaOnly => 1,
            },
            left_out_was: totals.left_out,
        });
    }

    /// Adds up a new directory into the entry pushed last.
    fn count_new(&mut self, parent: u32, name: &OsStr, now: &Stat) -> Outcome<()> {
        if now.kind != FileKind::Directory {
            return Ok(());
        }
        let mut walk = || -> io::Result<Outcome<(u64, u64)>> {
            let top = self.cursor.dir().child(name)?;
            let mut cursor = Cursor::new(&top)?;
            let (mut entries, mut bytes) = (1, 0_u64);
            let mut levels = vec![(cursor.dir().entries()?, 0)];
            while let Some((names, next)) = levels.last_mut() {
                let Some((name, _)) = names.get(*next) else {
                    levels.pop();
                    if !levels.is_empty() {
                        drop(cursor.leave()?);
                    }
                    continue;
                };
                *next += 1;
                let Some(stat) = cursor.dir().stat_at(name)? else {
                    continue;
                };
                self.done += 1;
                if let Err(stopped) = self.work.step(self.done, 0, "entries") {
                    return Ok(Err(stopped));
                }
                entries += 1;
                if stat.kind == FileKind::Directory {
                    cursor.enter(name)?;
                    let below = cursor.dir().entries()?;
                    levels.push((below, 0));
                } else if stat.kind == FileKind::File {
                    bytes = bytes.saturating_add(stat.size);
                }
            }
            Ok(Ok((entries, bytes)))
        };
        let counted = walk();
        let (entries, bytes) = counted.map_err(|e| self.failed(parent, name, e))??;
        if let Some(touched) = self.found.touched.last_mut() {
            touched.entries_now = entries;
            touched.bytes_now = bytes;
        }
        Ok(())
    }
}

/// True if a plan changed the directory itself.
///
/// The modification time alone counts only where it was set on purpose: whoever adds or removes a
/// name moves it too, and then it equals the change time.
fn directory_differs(
    entry: &Entry,
    now: &Stat,
    digest: impl FnOnce() -> io::Result<Option<[u8; 32]>>,
) -> io::Result<bool> {
    let view = &entry.view;
    if (view.mode, view.uid, view.gid) != (now.mode, now.uid, now.gid) {
        return Ok(true);
    }
    if view.mtime != now.mtime && now.mtime != now.ctime {
        return Ok(true);
    }
    Ok(view.ctime != now.ctime && digest()? != entry.xattr_digest())
}
