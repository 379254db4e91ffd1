//! The sandbox: a private copy of a directory, with its part in the commit protocol.

use super::delta::{Sides, delta};
use super::durable::make_durable;
use super::ends::{Ends, Tree};
use super::manifest::Manifest;
use super::ops::{Act, FORMAT, RedoFile, RedoText, SealedFile};
use super::record::{Firmness, MANIFEST, REDO, Record, SEALED, VIEW, load, store};
use super::resource::KIND;
use super::restored::{self, Restored};
use super::staging::{Site, maybe, slot};
use super::{apply, check, seal, settle, takeback};
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::id::ResourceKey;
use crate::sandbox::{Changes, Guard, Identity, Outcome, Place, Redo, Sandbox, Sealed, Vote, Work};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A private copy of a directory.
///
/// It holds no descriptor between calls, so that many plans can be open at once.
#[derive(Debug)]
pub(super) struct Private {
    record: Record,
    identity: Identity,
    place: Place,
    view: PathBuf,
}

impl Private {
    /// The sandbox that `record` describes.
    pub(super) fn new(record: Record, place: Place) -> Self {
        Self {
            identity: record.identity(),
            view: place.dir.join(VIEW),
            record,
            place,
        }
    }

    fn site(&self) -> Site<'_> {
        Site {
            side: self.record.staging,
            place: &self.place,
        }
    }

    fn store(&self) -> Outcome<Dir> {
        Dir::open(&self.place.dir).map_err(|error| gone(&self.place.dir, "the sandbox", error))
    }

    /// The real directory, if it is still the one that was opened.
    fn root(&self) -> Outcome<Dir> {
        let path = self.record.root();
        let root = Dir::open(&path).map_err(|error| gone(&path, "the directory", error))?;
        let stat = root
            .stat()
            .map_err(|error| ParticipantError::io("look at the directory", &path, error))?;
        if stat.id() == self.record.id {
            return Ok(root);
        }
        Err(ParticipantError::new(
            Fault::Lost,
            "another directory is at this path now; the one that was opened was moved or removed",
        )
        .at(path))
    }

    fn open_view(&self, store: &Dir) -> Outcome<Dir> {
        store
            .child(OsStr::new(VIEW))
            .map_err(|error| gone(&self.view, "the view", error))
    }

    /// What is sealed, if anything is.
    fn sealed(&self, store: &Dir) -> Outcome<Option<SealedFile>> {
        let Some(digest) = &self.record.sealed else {
            return Ok(None);
        };
        let sealed: SealedFile = load(store, SEALED, digest)?;
        known_format(sealed.version)?;
        Ok(Some(sealed))
    }

    /// What apply and take-back work on, and on what.
    fn carry(&self, redo: &Redo) -> Outcome<(Ends, RedoFile)> {
        let text: RedoText = serde_json::from_str(&redo.0).map_err(|error| {
            ParticipantError::new(Fault::Corrupt, format!("the redo of a directory: {error}"))
        })?;
        known_format(text.version)?;
        let file: RedoFile = load(&self.store()?, REDO, &text.digest)?;
        known_format(file.version)?;
        Ok((self.ends()?, file))
    }

    fn ends(&self) -> Outcome<Ends> {
        let root = self.root()?;
        let staging = self.site().open(Some(&root))?.ok_or_else(|| {
            ParticipantError::new(Fault::Lost, "the staging is gone").at(self.site().path(&root))
        })?;
        let staging_path = self.site().path(&root);
        Ok(Ends {
            tree: Tree::new(root, self.record.root()),
            staging,
            staging_path,
            restored: Restored::load(&self.store()?)?,
        })
    }

    /// Refuses to throw originals away that apply displaced and nobody put back.
    fn refuse_originals(&self, store: &Dir, root: Option<&Dir>) -> Outcome<()> {
        // A file that cannot be read was written by a seal that did not get to its end.
        let Ok(Some(sealed)) = self.sealed(store) else {
            return Ok(());
        };
        let Some(staging) = self.site().open(root)? else {
            return Ok(());
        };
        for op in &sealed.ops {
            let held = match &op.act {
                Act::Create { .. } | Act::Meta { .. } => false,
                Act::Replace {
                    slot: n, staged, ..
                } => {
                    Ends::slot(&staging.new, &slot(*n))?.is_some_and(|stat| !staged.is_inode(&stat))
                }
                Act::Delete { slot: n, .. } => Ends::slot(&staging.old, &slot(*n))?.is_some(),
            };
            if held {
                return Err(ParticipantError::new(
                    Fault::Hazard,
                    "staging still holds an original that was displaced and could not be put back",
                )
                .at(op.path.as_path()));
            }
        }
        Ok(())
    }

    /// Stores which originals are back in their places: see [`Restored`].
    fn remember(&self, restored: &Restored) -> Outcome<()> {
        let (dir, lines) = (self.store()?, restored.lines());
        drop(store(&dir, restored::FILE, &lines, Firmness::Durable)?);
        Ok(())
    }

    fn noted(&self, mut changes: Changes) -> Changes {
        let notes = self.record.notes.iter().cloned();
        changes.notes.splice(0..0, notes);
        changes
    }
}

/// The note, or the reason to refuse, for a view that a crash may have damaged.
fn restarted(manifest: &Manifest, place: &Place) -> Option<&'static str> {
    let now = fs::boot_id_near(&place.dir);
    let same = now.is_empty() || manifest.boot().is_empty() || manifest.boot() == now;
    (!same).then_some(
        "the machine was restarted since the view was made, and nobody had flushed it: what the \
         restart took looks like the plan's work",
    )
}

fn known_format(version: u32) -> Outcome<()> {
    if version == FORMAT {
        return Ok(());
    }
    Err(ParticipantError::new(
        Fault::Corrupt,
        format!("a file of the sandbox has version {version}; this program knows {FORMAT}"),
    ))
}

/// "Not found" and "no directory" mean that `what` is lost.
pub(super) fn gone(path: &Path, what: &str, error: io::Error) -> ParticipantError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ParticipantError::new(Fault::Lost, format!("{what} is gone")).at(path)
        }
        _ => ParticipantError::io(format!("open {what}"), path, error),
    }
}

/// What keeps others away from the directory `root`, whose key is `key`.
fn guards(root: &Dir, key: ResourceKey) -> Outcome<Vec<Guard>> {
    let failed = |error| ParticipantError::io("open the directory", root.path(), error);
    let own = Guard {
        key,
        file: Some(root.as_file().map_err(failed)?),
        shared: false,
    };
    let above = root.ancestors().map_err(failed)?;
    let shared = above.into_iter().filter_map(|ancestor| {
        Some(Guard {
            key: super::record::key(ancestor.id),
            file: Some(ancestor.file?),
            shared: true,
        })
    });
    Ok(std::iter::once(own).chain(shared).collect())
}

/// The guards of the directory at `path`, as a sandbox of it would take them.
///
/// # Errors
/// [`Fault::Lost`] if it is gone.
pub(in crate::sandbox) fn guards_at(path: &Path) -> Outcome<Vec<Guard>> {
    let root = Dir::open(path).map_err(|error| gone(path, "the directory", error))?;
    let key = super::record::key(super::resource::id_of(&root)?);
    guards(&root, key)
}

/// Removes everything in the place, and keeps the place. Nothing to do if it is gone.
pub(in crate::sandbox) fn empty(place: &Place, work: &Work<'_>) -> Outcome<()> {
    let failed = |error| ParticipantError::io("remove the sandbox", &place.dir, error);
    let Some(dir) = maybe(Dir::open(&place.dir)).map_err(failed)? else {
        return Ok(());
    };
    for name in dir.entries().map_err(failed)?.sorted() {
        let mut stopped = None;
        let removed = fs::remove_tree(&dir, &name, &mut |done| {
            work.step(done, 0, "entries").map_err(|error| {
                stopped = Some(error);
                io::Error::from(io::ErrorKind::Interrupted)
            })
        });
        match stopped {
            Some(error) => return Err(error),
            None => removed.map_err(failed)?,
        }
    }
    Ok(())
}

impl Sandbox for Private {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        crate::error::Shown(&self.record.root()).to_string()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.view)
    }

    fn view(&self) -> &'static str {
        self.record.view.word()
    }

    fn record(&self) -> String {
        // A record of plain data cannot fail to be written.
        serde_json::to_string(&self.record).unwrap_or_default()
    }

    fn diff(&self, work: &Work<'_>) -> Outcome<Changes> {
        let store = self.store()?;
        if let Some(sealed) = self.sealed(&store)? {
            return Ok(sealed.changes);
        }
        let manifest = Manifest::load(&store, OsStr::new(MANIFEST))?;
        let sides = Sides {
            view: &self.open_view(&store)?,
            tree: self
                .root()
                .ok()
                .map(|root| Tree::new(root, self.record.root())),
            manifest: &manifest,
            restored: &Restored::load(&store)?,
        };
        let mut changes = self.noted(delta(sides, work)?.changes);
        changes
            .notes
            .extend(restarted(&manifest, &self.place).map(str::to_owned));
        Ok(changes)
    }

    fn seal(&mut self, work: &Work<'_>) -> Outcome<Sealed> {
        let store_dir = self.store()?;
        if let Some(sealed) = self.sealed(&store_dir)? {
            return Ok(Sealed {
                changes: sealed.changes,
                digest: sealed.digest,
            });
        }
        let root = self.root()?;
        let manifest = Manifest::load(&store_dir, OsStr::new(MANIFEST))?;
        if let Some(reason) = restarted(&manifest, &self.place) {
            return Err(ParticipantError::new(Fault::Lost, reason).at(&self.view));
        }
        let tree = root
            .dup()
            .map(|root| Tree::new(root, self.record.root()))
            .map_err(|error| ParticipantError::io("open the directory", root.path(), error))?;
        let sides = Sides {
            view: &self.open_view(&store_dir)?,
            tree: Some(tree),
            manifest: &manifest,
            restored: &Restored::load(&store_dir)?,
        };
        let mut sealed = seal::seal(sides, &root, self.site(), work)?;
        sealed.changes = self.noted(sealed.changes);
        let digest = store(&store_dir, SEALED, &sealed, Firmness::Visible)?;
        self.record.sealed = Some(digest);
        crate::crash::point("seal.staged");
        Ok(Sealed {
            changes: sealed.changes,
            digest: sealed.digest,
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        let store = self.store()?;
        let root = self.root().ok();
        self.refuse_originals(&store, root.as_ref())?;
        self.site().remove(root.as_ref())?;
        for name in [REDO, SEALED] {
            let removed = maybe(store.remove_file(OsStr::new(name)));
            removed.map_err(|error| {
                ParticipantError::io("forget the seal", store.path().join(name), error)
            })?;
        }
        self.record.sealed = None;
        Ok(())
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        guards(&self.root()?, self.identity.key.clone())
    }

    fn prepare(&mut self, work: &Work<'_>) -> Outcome<Vote> {
        let store = self.store()?;
        let sealed = self.sealed(&store)?.ok_or_else(|| {
            ParticipantError::new(Fault::Lost, "nothing is sealed").at(&self.place.dir)
        })?;
        if sealed.ops.is_empty() {
            drop(self.root()?);
            return Ok(Vote::ReadOnly);
        }
        let mut ends = self.ends()?;
        let sides = (
            &Manifest::load(&store, OsStr::new(MANIFEST))?,
            &Restored::load(&store)?,
        );
        let checked = check::check(&mut ends, &sealed, sides, work)?;
        if !checked.conflicts.is_empty() {
            return Ok(Vote::Conflict(checked.conflicts));
        }
        let redo = RedoFile {
            version: FORMAT,
            ops: checked.ops,
            times: checked.times,
        };
        let side = self.record.staging;
        let text = RedoText {
            version: FORMAT,
            ops: redo.ops.len() as u64,
            digest: make_durable(&ends, (&store, side), &sealed, &redo)?,
        };
        let text = serde_json::to_string(&text)
            .map_err(|error| ParticipantError::new(Fault::Corrupt, error.to_string()))?;
        Ok(Vote::Ready {
            redo: Redo(text),
            changes: sealed.changes,
        })
    }

    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let (mut ends, redo) = self.carry(redo)?;
        apply::apply(&mut ends, &redo, work)
    }

    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let (mut ends, redo) = self.carry(redo)?;
        let taken = takeback::take_back(&mut ends, &redo, work);
        if taken
            .as_ref()
            .err()
            .is_none_or(|error| error.fault == Fault::Hazard)
        {
            self.remember(&ends.restored)?;
        }
        taken
    }

    fn settle(&mut self, redo: &Redo) -> Outcome<()> {
        let (mut ends, redo) = self.carry(redo)?;
        settle::settle(&mut ends, &redo)
    }

    fn discard(&mut self, work: &Work<'_>) -> Outcome<()> {
        let root = self.root().ok();
        self.site().remove(root.as_ref())?;
        empty(&self.place, work)
    }
}
