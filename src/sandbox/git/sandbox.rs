//! The sandbox: a work tree of the plan's own, with its part in the commit protocol.

use super::checkout::{Checkout, CheckoutVote, WorkTree};
use super::merge::{self, Merged};
use super::program::{Oid, Runner};
use super::record::{
    Followed, KEPT, Kept, Record, RedoText, SEALED, SealedFile, VERSION, VIEW, known,
};
use super::refs::{self, Swap};
use super::repository::{RefState, Repository, open};
use super::resource::KIND;
use super::stage::stage;
use super::transfer::transfer;
use super::view::{check_own, own};
use crate::clock;
use crate::error::{Conflict, Fault, ParticipantError, Shown};
use crate::fs::{self, Dir};
use crate::sandbox::directory::private::empty;
use crate::sandbox::directory::record::{Firmness, load, store};
use crate::sandbox::directory::staging::maybe;
use crate::sandbox::{Changes, Guard, Identity, Outcome, Place, Redo, Sandbox, Sealed, Vote, Work};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How often a branch that moves while it is looked at is looked at again.
const LOOKS: usize = 5;

/// The work tree of a plan on a branch. It holds no descriptor between calls.
#[derive(Debug)]
pub(super) struct Private {
    record: Record,
    identity: Identity,
    place: Place,
    view: PathBuf,
}

/// What prepare would put on the branch.
#[derive(Debug)]
enum Wanted {
    Commit { old: Option<Oid>, new: Oid },
    Nothing,
    Conflict(Vec<Conflict>),
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

    fn store(&self) -> Outcome<Dir> {
        Dir::open(&self.place.dir).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                ParticipantError::new(Fault::Lost, "the sandbox is gone").at(&self.place.dir)
            }
            _ => ParticipantError::io("open the sandbox", &self.place.dir, error),
        })
    }

    /// The repository, if it is still the one that was opened.
    fn repository(&self) -> Outcome<Repository> {
        let path = self.record.common();
        let lost = |why: &str| ParticipantError::new(Fault::Lost, why).at(&path);
        if !path.exists() {
            return Err(lost("the repository is gone"));
        }
        let repository = Repository::find(&path)?;
        if repository.id()? == self.record.id {
            return Ok(repository);
        }
        Err(lost(
            "another repository is at this path now; the one that was opened was moved or removed",
        ))
    }

    /// Our own git directory, reading the objects of the real one.
    fn git(&self, repository: &Repository) -> Runner {
        own(&self.place).borrow(repository.objects())
    }

    /// What is sealed, if anything is.
    fn sealed(&self) -> Outcome<Option<SealedFile>> {
        let Some(digest) = &self.record.sealed else {
            return Ok(None);
        };
        let sealed: SealedFile = load(&self.store()?, SEALED, digest)?;
        known(sealed.version)?;
        Ok(Some(sealed))
    }

    fn restarted(&self) -> bool {
        let now = fs::boot_id();
        !now.is_empty() && !self.record.boot.is_empty() && self.record.boot != now
    }

    fn conflict(&self, theirs: String, ours: &str) -> Conflict {
        let base = self.record.base.as_ref().map_or("no commit", Oid::short);
        let place = Shown(Path::new(&self.record.reference)).to_string();
        Conflict::new(place, base.to_owned(), theirs, ours.to_owned())
    }

    /// The commit that would be right on the branch as it is at this moment.
    fn on_top_of(
        &self,
        git: &Runner,
        sealed: &SealedFile,
        now: Option<Oid>,
        work: &Work<'_>,
    ) -> Outcome<Wanted> {
        let at = sealed.at;
        let ours = format!("tree {}", sealed.tree.short());
        if now == self.record.base {
            let ends = (&sealed.tree, now.as_ref());
            let new = merge::commit(git, &self.record, ends, at)?;
            return Ok(Wanted::Commit { old: now, new });
        }
        let (Some(now), Some(_)) = (&now, &self.record.base) else {
            let theirs = now.map_or_else(|| "gone".to_owned(), |now| now.short().to_owned());
            return Ok(Wanted::Conflict(vec![self.conflict(theirs, &ours)]));
        };
        let tree = match merge::merge(git, (&self.record, sealed), now, work)? {
            Merged::Tree(tree) => tree,
            Merged::Conflict(conflicts) => return Ok(Wanted::Conflict(conflicts)),
        };
        let theirs = git.call("rev-parse");
        if theirs
            .args(["--verify", &format!("{now}^{{tree}}")])
            .oid()?
            == tree
        {
            return Ok(Wanted::Nothing);
        }
        let new = merge::commit(git, &self.record, (&tree, Some(now)), at)?;
        let old = Some(now.clone());
        Ok(Wanted::Commit { old, new })
    }

    /// The same for a branch that others may move meanwhile; nobody keeps it locked when this
    /// returns a commit.
    fn wanted(
        &self,
        (repository, git): (&Repository, &Runner),
        sealed: &SealedFile,
        work: &Work<'_>,
    ) -> Outcome<Wanted> {
        check_own(&self.record, &self.place)?;
        let name = &self.record.reference;
        for _ in 0..LOOKS {
            let now = repository.state(name)?.commit(name)?;
            let wanted = self.on_top_of(git, sealed, now, work)?;
            let Wanted::Commit { old, new } = &wanted else {
                return Ok(wanted);
            };
            if refs::probe(repository, name, old.as_ref(), new)? == Swap::Done {
                return Ok(wanted);
            }
        }
        let why = "others move the branch faster than the plan can follow";
        Err(ParticipantError::new(Fault::Busy, why).at(&repository.common))
    }

    /// Writes down what is about to be made outside of the place.
    fn note(&self, tree: Option<&WorkTree>) -> Outcome<()> {
        let kept = Kept {
            tree: tree.cloned(),
        };
        let firmness = if tree.is_some() {
            Firmness::Durable
        } else {
            Firmness::Visible
        };
        store(&self.store()?, KEPT, &kept, firmness).map(drop)
    }

    /// The note, if there is one. One that cannot be read was written by nobody of ours.
    fn noted(&self) -> Outcome<Option<Kept>> {
        let failed = |error| ParticipantError::io("read a note", &self.place.dir, error);
        let Some(place) = maybe(Dir::open(&self.place.dir)).map_err(failed)? else {
            return Ok(None);
        };
        let bytes = maybe(fs::read_small(&place, OsStr::new(KEPT))).map_err(failed)?;
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    fn let_go(&self) -> Outcome<()> {
        match self.repository() {
            Ok(repository) => refs::let_go(&repository, &self.place.token),
            // What is gone holds nothing of ours.
            Err(error) if matches!(error.fault, Fault::Lost | Fault::Refused) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn forward(&self, repository: &Repository, redo: &RedoText, keep: bool) -> Outcome<()> {
        let ends = (redo.old.as_ref(), Some(&redo.new));
        let now = match refs::swap(repository, &redo.reference, ends, &redo.reason)? {
            Swap::Done => return Ok(()),
            Swap::Moved(now) => now,
        };
        if let RefState::At(now) = &now {
            // Somebody built on top of what is applied already.
            if refs::contains(repository, now, &redo.new)? {
                return Ok(());
            }
        }
        if keep {
            return Ok(());
        }
        let conflict = self.conflict(now.shown(), redo.new.short());
        Err(ParticipantError::conflict(vec![conflict]))
    }

    /// True if the branch holds somebody else's commit on top of ours.
    fn is_built_upon(&self, repository: &Repository, redo: &RedoText) -> Outcome<bool> {
        match repository.state(&self.record.reference)? {
            RefState::At(now) if now != redo.new => refs::contains(repository, &now, &redo.new),
            _ => Ok(false),
        }
    }

    fn back(&self, repository: &Repository, redo: &RedoText, keep: bool) -> Outcome<()> {
        let ends = (Some(&redo.new), redo.old.as_ref());
        let reason = format!("{} (taken back)", redo.reason);
        let now = match refs::swap(repository, &redo.reference, ends, &reason)? {
            Swap::Done => return Ok(()),
            Swap::Moved(now) => now,
        };
        let RefState::At(commit) = &now else {
            return Ok(());
        };
        // A branch without our commit has nothing of ours that could be taken back.
        if keep || !refs::contains(repository, commit, &redo.new)? {
            return Ok(());
        }
        let why = "somebody else built on top of the plan's commit; theirs is kept";
        let mut error = ParticipantError::new(Fault::Hazard, why);
        error.conflicts = vec![self.conflict(now.shown(), redo.new.short())];
        Err(error)
    }

    /// Refuses to move a branch that somebody has checked out since it was prepared.
    fn refuse_new_checkout(&self, repository: &Repository, redo: &RedoText) -> Outcome<()> {
        let now = repository.state(&redo.reference)?;
        let untouched = match (&now, &redo.old) {
            (RefState::At(now), Some(old)) => now == old,
            (RefState::Absent, None) => true,
            _ => false,
        };
        if untouched && WorkTree::find(&repository.common, &redo.reference)?.is_some() {
            let theirs = "checked out meanwhile".to_owned();
            let conflict = self.conflict(theirs, redo.new.short());
            return Err(ParticipantError::conflict(vec![conflict]));
        }
        Ok(())
    }

    fn ready(
        &self,
        (repository, git): (&Repository, &Runner),
        (old, new): (Option<Oid>, Oid),
        sealed: SealedFile,
        work: &Work<'_>,
    ) -> Outcome<Vote> {
        let name = &self.record.reference;
        let checkout = match WorkTree::find(&repository.common, name)? {
            None => None,
            Some(tree) => {
                self.note(Some(&tree))?;
                let part = Checkout::new(&self.place, &tree);
                match part.prepare(git, (name, old.as_ref(), &new), work)? {
                    CheckoutVote::Ready(redo) => Some(Followed { tree, redo }),
                    CheckoutVote::Nothing => None,
                    CheckoutVote::Conflict(conflicts) => return Ok(Vote::Conflict(conflicts)),
                }
            }
        };
        self.note(checkout.as_ref().map(|followed| &followed.tree))?;
        let ends = (old.as_ref(), &new);
        transfer((git, &self.place), repository, ends, work)?;
        let mut changes = sealed.changes;
        if let Some(section) = changes.sections.first_mut() {
            section.from = old.as_ref().map(ToString::to_string);
            section.to = Some(new.to_string());
        }
        let label = self.place.label.replace(char::is_control, " ");
        let redo = RedoText {
            version: VERSION,
            reference: name.clone(),
            old,
            new,
            reason: format!("planbox: {label}"),
            checkout,
        };
        let redo = serde_json::to_string(&redo)
            .map_err(|error| ParticipantError::new(Fault::Corrupt, error.to_string()))?;
        Ok(Vote::Ready {
            redo: Redo(redo),
            changes,
        })
    }
}

impl Sandbox for Private {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        self.record.target()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.view)
    }

    fn view(&self) -> &'static str {
        "checkout"
    }

    fn record(&self) -> String {
        // A record of plain data cannot fail to be written.
        serde_json::to_string(&self.record).unwrap_or_default()
    }

    fn diff(&self, work: &Work<'_>) -> Outcome<Changes> {
        if let Some(sealed) = self.sealed()? {
            return Ok(sealed.changes);
        }
        let mut changes = stage(&self.record, &self.place, work)?.changes;
        if self.restarted() {
            changes.notes.push(RESTARTED.to_owned());
        }
        Ok(changes)
    }

    /// The objects are not flushed here: what a power cut takes is missed by its id, and
    /// [`Sandbox::prepare`] copies them, flushed, into the repository.
    fn seal(&mut self, work: &Work<'_>) -> Outcome<Sealed> {
        if let Some(SealedFile {
            changes, digest, ..
        }) = self.sealed()?
        {
            return Ok(Sealed { changes, digest });
        }
        if self.restarted() {
            return Err(ParticipantError::new(Fault::Lost, RESTARTED).at(&self.view));
        }
        let staged = stage(&self.record, &self.place, work)?;
        let base = self.record.base.as_ref();
        let at = clock::now_unix_ms() / 1000;
        let commit = if staged.changes.is_empty() {
            None
        } else {
            let ends = (&staged.tree, base);
            Some(merge::commit(&own(&self.place), &self.record, ends, at)?)
        };
        let what = format!("{}\n{}\n", staged.tree, base.unwrap_or(&self.record.empty));
        let sealed = SealedFile {
            version: VERSION,
            tree: staged.tree,
            commit,
            at,
            changes: staged.changes,
            digest: blake3::hash(what.as_bytes()).to_hex().to_string(),
        };
        let file = store(&self.store()?, SEALED, &sealed, Firmness::Visible)?;
        self.record.sealed = Some(file);
        crate::crash::point("seal.staged");
        Ok(Sealed {
            changes: sealed.changes,
            digest: sealed.digest,
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        let store = self.store()?;
        let failed = |error| ParticipantError::io("forget the seal", &self.place.dir, error);
        if let Some(kept) = self.noted()? {
            if let Some(tree) = &kept.tree {
                Checkout::new(&self.place, tree).clear()?;
            }
            self.let_go()?;
        }
        for name in [KEPT, SEALED] {
            maybe(store.remove_file(OsStr::new(name))).map_err(failed)?;
        }
        self.record.sealed = None;
        Ok(())
    }

    /// The common git directory, which all branches of the repository share, and the work tree
    /// that moves along.
    fn guards(&self) -> Outcome<Vec<Guard>> {
        let repository = self.repository()?;
        let file = open(&repository.common)?.as_file();
        let file = file.map_err(|error| {
            ParticipantError::io("open the repository", &repository.common, error)
        })?;
        let mut guards = vec![Guard {
            key: crate::sandbox::directory::record::key(self.record.id),
            file: Some(file),
            shared: false,
        }];
        if let Some(tree) = WorkTree::find(&repository.common, &self.record.reference)? {
            guards.extend(tree.guards()?);
            if let Some(sealed) = self.sealed()? {
                let base = self.record.base.as_ref().map(Oid::as_str);
                let git = self.git(&repository);
                guards.extend(tree.touched(&git, base, sealed.tree.as_str())?);
            }
        }
        Ok(guards)
    }

    fn prepare(&mut self, work: &Work<'_>) -> Outcome<Vote> {
        let sealed = self.sealed()?.ok_or_else(|| {
            ParticipantError::new(Fault::Lost, "nothing is sealed").at(&self.place.dir)
        })?;
        let repository = self.repository()?;
        if sealed.commit.is_none() {
            return Ok(Vote::ReadOnly);
        }
        let git = self.git(&repository);
        match self.wanted((&repository, &git), &sealed, work)? {
            Wanted::Nothing => Ok(Vote::ReadOnly),
            Wanted::Conflict(conflicts) => Ok(Vote::Conflict(conflicts)),
            Wanted::Commit { old, new } => {
                self.ready((&repository, &git), (old, new), sealed, work)
            }
        }
    }

    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let redo = RedoText::from_json(&redo.0)?;
        let repository = self.repository()?;
        let keep = work.keeps_theirs();
        let mut move_ref = || self.forward(&repository, &redo, keep);
        match &redo.checkout {
            None => {
                self.refuse_new_checkout(&repository, &redo)?;
                move_ref()
            }
            Some(Followed { tree, redo }) => {
                let git = self.git(&repository);
                Checkout::new(&self.place, tree).apply(&git, redo, (work, &mut move_ref))
            }
        }
    }

    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let redo = RedoText::from_json(&redo.0)?;
        let repository = self.repository()?;
        let keep = work.keeps_theirs();
        let mut move_back = || self.back(&repository, &redo, keep);
        match &redo.checkout {
            None => move_back(),
            Some(followed) if keep && self.is_built_upon(&repository, &redo)? => {
                // The branch stays where it is, and the work tree with it.
                Checkout::new(&self.place, &followed.tree).leave(&followed.redo)
            }
            Some(Followed { tree, redo }) => {
                let git = self.git(&repository);
                Checkout::new(&self.place, tree).take_back(&git, redo, (work, &mut move_back))
            }
        }
    }

    fn settle(&mut self, redo: &Redo) -> Outcome<()> {
        let redo = RedoText::from_json(&redo.0)?;
        match &redo.checkout {
            // The branch was durable when it was moved.
            None => Ok(()),
            Some(Followed { tree, redo }) => Checkout::new(&self.place, tree).settle(redo),
        }
    }

    fn discard(&mut self, work: &Work<'_>) -> Outcome<()> {
        let kept = self.noted()?;
        if let Some(tree) = kept.and_then(|kept| kept.tree) {
            Checkout::new(&self.place, &tree).discard(work)?;
        }
        self.let_go()?;
        empty(&self.place, work)
    }
}

const RESTARTED: &str = "the machine was restarted since the view was made, and nobody had flushed \
                         it: what the restart took looks like the plan's work";
