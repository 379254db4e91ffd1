//! Changes of a directory that another participant made up.
//!
//! A directory sandbox finds out what to change by comparing a view with a manifest. Who knows that
//! already, because a version-control system says so, needs neither: the places are named one by
//! one, each original is looked at then and there, the new content is put into the slots, and the
//! result is a sealed and prepared sandbox without a view. From there on it is one like the others:
//! apply, take-back, settle and discard do not see a difference.
//!
//! What is not named is neither looked at nor touched.

use super::check::{may_change, may_move, mounted};
use super::durable::make_durable;
use super::ends::{Ends, Tree};
use super::exclude::STAGING_NAME;
use super::manifest::RACY_MS;
use super::ops::{Act, DirTime, FORMAT, Image, Op, RedoFile, RedoText, SealedFile, What};
use super::private::gone;
use super::record::{Firmness, Record, SEALED, store};
use super::resource::{enclosing, id_of};
use super::restored::Restored;
use super::staging::{Side, Site, check_token, maybe, slot};
use super::text::Rel;
use super::tree::{Go, TreeHash, Visit, Visitor, digest, walk};
use super::view::ViewKind;
use crate::clock;
use crate::error::{Fault, ParticipantError};
use crate::fs::{Dir, FileKind, Stat};
use crate::sandbox::{Changes, Outcome, Place, Redo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where new content is made, beside the slots and therefore on their mount.
const FRESH: &str = "fresh";

/// What is needed to carry a batch out, in any process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Given {
    /// For [`DirectoryKind`](super::DirectoryKind).
    pub(in crate::sandbox) record: String,
    /// For `apply` and `take_back`.
    pub(in crate::sandbox) redo: Redo,
}

/// What stands in the way of a whole directory.
#[derive(Debug)]
pub(in crate::sandbox) struct Stranger {
    /// Below the root.
    pub(in crate::sandbox) path: PathBuf,
    /// What it is.
    pub(in crate::sandbox) kind: FileKind,
}

/// The changes in the making.
#[derive(Debug)]
pub(in crate::sandbox) struct Batch {
    place: Place,
    store: Dir,
    root: PathBuf,
    side: Side,
    ends: Ends,
    ops: Vec<Op>,
    times: BTreeMap<Rel, DirTime>,
    newest_change_ms: u64,
    inodes: u64,
    bytes: u64,
}

impl Batch {
    /// Nothing yet, for the directory `root`. The directory of `place` exists and is empty.
    ///
    /// # Errors
    /// [`Fault::Lost`] if there is no such directory; what the system refuses.
    pub(in crate::sandbox) fn begin(root: &Path, place: &Place) -> Outcome<Self> {
        check_token(&place.token)?;
        let failed = |error| ParticipantError::io("make the staging", &place.dir, error);
        let dir = Dir::open(root).map_err(|error| gone(root, "the directory", error))?;
        let store = Dir::open(&place.dir).map_err(failed)?;
        let side = Side::choose(&dir, &store).map_err(failed)?;
        let at = Site { side, place };
        let (staging, staging_path) = (at.make(&dir)?, at.path(&dir));
        let fresh = staging.dir.make_dir(OsStr::new(FRESH), 0o700);
        fresh.map_err(failed)?;
        Ok(Self {
            place: place.clone(),
            store,
            root: root.to_path_buf(),
            side,
            ends: Ends {
                tree: Tree::new(dir, root.to_path_buf()),
                staging,
                staging_path,
                restored: Restored::default(),
            },
            ops: Vec::new(),
            times: BTreeMap::new(),
            newest_change_ms: 0,
            inodes: 0,
            bytes: 0,
        })
    }

    /// An empty directory for the new content, which is named below it in [`Batch::fill`].
    pub(in crate::sandbox) fn fresh(&self) -> PathBuf {
        self.ends.staging_path.join(FRESH)
    }

    /// What is at `path`, through directories only; `None` if nothing is.
    ///
    /// # Errors
    /// [`Fault::Refused`] for another mount, what the system refuses.
    pub(in crate::sandbox) fn look(&self, path: &Path) -> Outcome<Option<Stat>> {
        let (parent, name) = split(path)?;
        let full = || self.root.join(path);
        let dir = match self.ends.tree.root().beneath(parent.as_path()) {
            Ok(dir) => dir,
            Err(error) if is_no_way(&error) => return Ok(None),
            Err(error) => {
                return Err(match error.raw_os_error() {
                    Some(number) if number == rustix::io::Errno::XDEV.raw_os_error() => {
                        mounted(&full())
                    }
                    _ => ParticipantError::io("open a directory", full(), error),
                });
            }
        };
        dir.stat_at(&name)
            .map_err(|error| ParticipantError::io("look at a name", full(), error))
    }

    /// Something is to be where nothing is.
    ///
    /// # Errors
    /// [`Fault::Denied`] for what the system would refuse.
    pub(in crate::sandbox) fn create(&mut self, path: &Path) -> Outcome<()> {
        let (rel, holder, _) = self.visit(path)?;
        let act = Act::Create {
            slot: self.next(),
            staged: nothing(),
        };
        self.push(rel, &holder, act);
        Ok(())
    }

    /// Something else is to be where a file or link is, or a directory of which `strangers` found
    /// nothing that stays: then `tree` is its digest. False if nothing is there.
    ///
    /// # Errors
    /// [`Fault::Denied`] for what the system would refuse.
    pub(in crate::sandbox) fn replace(
        &mut self,
        path: &Path,
        tree: Option<String>,
    ) -> Outcome<bool> {
        let (rel, holder, now) = self.visit(path)?;
        let Some(base) = self.original(now, tree) else {
            return Ok(false);
        };
        let act = Act::Replace {
            slot: self.next(),
            staged: nothing(),
            base,
        };
        self.push(rel, &holder, act);
        Ok(true)
    }

    /// Nothing is to be where something is: see [`Batch::replace`]. False if nothing is there.
    ///
    /// # Errors
    /// [`Fault::Denied`] for what the system would refuse.
    pub(in crate::sandbox) fn delete(
        &mut self,
        path: &Path,
        tree: Option<String>,
    ) -> Outcome<bool> {
        let (rel, holder, now) = self.visit(path)?;
        let Some(base) = self.original(now, tree) else {
            return Ok(false);
        };
        let act = Act::Delete {
            slot: self.next(),
            base,
        };
        self.push(rel, &holder, act);
        Ok(true)
    }

    /// Walks the directory at `path`: its digest, or what in it is not `known` to go with it.
    ///
    /// # Errors
    /// [`Fault::Refused`] for another mount, [`Fault::Denied`] for what is frozen.
    pub(in crate::sandbox) fn strangers(
        &mut self,
        path: &Path,
        known: &mut dyn FnMut(&Path, &Stat) -> bool,
    ) -> Outcome<Result<String, Vec<Stranger>>> {
        let top = self.ends.tree.root().beneath(path);
        let top = top.map_err(|error| {
            ParticipantError::io("open a directory", self.root.join(path), error)
        })?;
        let mut survey = Survey {
            path,
            known,
            hash: TreeHash::default(),
            strangers: Vec::new(),
            newest: 0,
        };
        walk(top, &mut survey)?;
        let Survey {
            hash,
            strangers,
            newest,
            ..
        } = survey;
        self.newest_change_ms = self.newest_change_ms.max(newest);
        Ok(if strangers.is_empty() {
            Ok(hash.finish())
        } else {
            Err(strangers)
        })
    }

    /// True if nothing is to be done.
    pub(in crate::sandbox) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How long to wait until every later change of an original can be told by its times.
    pub(in crate::sandbox) fn racy_ms(&self) -> u64 {
        let safe = self.newest_change_ms.saturating_add(2 * RACY_MS);
        // A file from the future, or a clock that was set back, is not waited for.
        safe.saturating_sub(clock::now_unix_ms()).min(4 * RACY_MS)
    }

    /// Puts what was made at the place of each operation, below [`Batch::fresh`], into its slot.
    ///
    /// # Errors
    /// [`Fault::Lost`] if something was not made.
    pub(in crate::sandbox) fn fill(&mut self) -> Outcome<()> {
        let fresh = self.ends.staging.dir.child(OsStr::new(FRESH));
        let fresh = fresh.map_err(|error| self.failed(error))?;
        for index in 0..self.ops.len() {
            let Some(op) = self.ops.get(index) else { break };
            let (Act::Create { slot: number, .. } | Act::Replace { slot: number, .. }) = &op.act
            else {
                continue;
            };
            let name = slot(*number);
            let (parent, own) = split(op.path.as_path())?;
            let new = &self.ends.staging.new;
            let made = fresh
                .beneath(parent.as_path())
                .and_then(|dir| dir.rename_new(&own, new, OsStr::new(&name)));
            made.map_err(|error| gone(op.path.as_path(), "the new content", error))?;
            let image = self.staged(&name)?;
            if let Some(
                Op {
                    act: Act::Create { staged, .. } | Act::Replace { staged, .. },
                    ..
                },
                ..,
            ) = self.ops.get_mut(index)
            {
                *staged = image;
            }
        }
        Ok(())
    }

    /// Makes all of it durable: nothing but renames is left to do.
    ///
    /// # Errors
    /// A [`ParticipantError`] of the system.
    pub(in crate::sandbox) fn finish(self) -> Outcome<Given> {
        let redo = RedoFile {
            version: FORMAT,
            ops: self.ops,
            times: self.times.into_values().collect(),
        };
        let sealed = SealedFile {
            version: FORMAT,
            ops: redo.ops.clone(),
            times: Vec::new(),
            changes: Changes::default(),
            inodes: self.inodes,
            bytes: self.bytes,
            digest: String::new(),
        };
        let root = self.ends.tree.root();
        let mut record = Record::new(
            self.root.clone(),
            (id_of(root)?, enclosing(root)?),
            &self.place.token,
            self.side,
            (ViewKind::Copy, Vec::new()),
        );
        record.sealed = Some(store(&self.store, SEALED, &sealed, Firmness::Visible)?);
        let text = RedoText {
            version: FORMAT,
            ops: redo.ops.len() as u64,
            digest: make_durable(&self.ends, (&self.store, self.side), &sealed, &redo)?,
        };
        let written = |error: serde_json::Error| {
            ParticipantError::new(Fault::Corrupt, error.to_string()).at(&self.place.dir)
        };
        Ok(Given {
            record: serde_json::to_string(&record).map_err(written)?,
            redo: Redo(serde_json::to_string(&text).map_err(written)?),
        })
    }

    /// Removes what a batch for `root` made, or left, outside of its place. Idempotent.
    ///
    /// # Errors
    /// What the system refuses.
    pub(in crate::sandbox) fn sweep(root: &Path, place: &Place) -> Outcome<()> {
        let failed = |error| ParticipantError::io("remove the staging", root, error);
        let Some(dir) = maybe(Dir::open(root)).map_err(failed)? else {
            return Ok(());
        };
        let holder = dir.stat_at(OsStr::new(STAGING_NAME)).map_err(failed)?;
        if holder.is_none_or(|stat| stat.kind != FileKind::Directory) {
            // Somebody else's thing of that name is no staging.
            return Ok(());
        }
        let side = Side::Root;
        Site { side, place }.remove(Some(&dir))
    }

    fn failed(&self, error: std::io::Error) -> ParticipantError {
        ParticipantError::io("make the staging", &self.ends.staging_path, error)
    }

    fn next(&self) -> u64 {
        self.ops.len() as u64
    }

    fn push(&mut self, path: Rel, holder: &Stat, act: Act) {
        self.ops.push(Op {
            path,
            parent: holder.id(),
            act,
        });
    }

    /// The directory of `path` and what is there now; apply may change both.
    fn visit(&mut self, path: &Path) -> Outcome<(Rel, Stat, Option<Stat>)> {
        let rel = Rel::new(path).ok_or_else(|| impossible(path))?;
        let (parent, name) = split(path)?;
        let full = self.root.join(path);
        let failed = |error| ParticipantError::io("look at a name of the directory", &full, error);
        let dir = self.ends.tree.root().beneath(parent.as_path());
        let dir = dir.map_err(failed)?;
        let holder = dir.stat().map_err(failed)?;
        let now = dir.stat_at(&name).map_err(failed)?;
        may_change(&dir, &holder, &full)?;
        if let Some(stat) = &now {
            if !stat.same_mount(&holder) {
                return Err(mounted(&full));
            }
            may_move(&dir, &name, (&holder, stat), &full)?;
        }
        let parent = Rel::new(&parent).ok_or_else(|| impossible(path))?;
        self.times.entry(parent.clone()).or_insert(DirTime {
            path: parent,
            id: holder.id(),
            old: holder.mtime,
            new: None,
        });
        Ok((rel, holder, now))
    }

    fn original(&mut self, now: Option<Stat>, tree: Option<String>) -> Option<Image> {
        let now = now?;
        self.newest_change_ms = self.newest_change_ms.max(ms_of(&now));
        let mut image = Image::of(&now)?;
        // A name beside this one may go as well, and the first rename is a change of both.
        image.ctime = (now.nlink == 1 || image.what == What::Directory).then_some(now.ctime);
        image.tree = tree;
        Some(image)
    }

    /// What waits in a slot, counted.
    fn staged(&mut self, name: &str) -> Outcome<Image> {
        let new = &self.ends.staging.new;
        let found = new.stat_at(OsStr::new(name));
        let stat = found.map_err(|error| self.failed(error))?;
        let mut image = stat
            .as_ref()
            .and_then(Image::of)
            .ok_or_else(|| impossible(Path::new(name)))?;
        self.inodes += 1;
        self.bytes = self.bytes.saturating_add(image.size);
        if image.what == What::Directory {
            image.tree = Some(digest(new, OsStr::new(name))?);
        }
        Ok(image)
    }
}

struct Survey<'a> {
    path: &'a Path,
    known: &'a mut dyn FnMut(&Path, &Stat) -> bool,
    hash: TreeHash,
    strangers: Vec<Stranger>,
    newest: u64,
}

impl Visitor for Survey<'_> {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        let path = self.path.join(OsStr::from_bytes(visit.path));
        if !(self.known)(&path, visit.stat) {
            self.strangers.push(Stranger {
                path,
                kind: visit.stat.kind,
            });
            return Ok(Go::Past);
        }
        super::check::refuse_frozen(visit.stat, &path)?;
        self.newest = self.newest.max(ms_of(visit.stat));
        self.hash.add(visit.name, visit.stat);
        Ok(Go::Into)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.hash.close();
        Ok(())
    }
}

/// When it was changed last, in milliseconds since the Unix epoch.
fn ms_of(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.ctime.0).unwrap_or(0);
    seconds
        .saturating_mul(1_000)
        .saturating_add(u64::from(stat.ctime.1 / 1_000_000))
}

/// Stands in an operation until its slot is filled.
fn nothing() -> Image {
    Image {
        dev: 0,
        ino: 0,
        what: What::File,
        size: 0,
        mtime: (0, 0),
        mode: 0,
        ctime: None,
        tree: None,
    }
}

fn split(path: &Path) -> Outcome<(PathBuf, std::ffi::OsString)> {
    let rel = Rel::new(path).ok_or_else(|| impossible(path))?;
    let (parent, name) = rel.split().ok_or_else(|| impossible(path))?;
    Ok((parent.as_path().to_path_buf(), name.to_owned()))
}

fn impossible(path: &Path) -> ParticipantError {
    ParticipantError::new(Fault::Refused, "a path that no directory has").at(path)
}

/// True if a directory on the way is not there.
fn is_no_way(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
