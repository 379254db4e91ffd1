//! The sandbox: a private copy of a database, with its part in the commit protocol.

use super::connect::{Use, connect, own, said};
use super::copying::{empty, flush, freeze};
use super::difference::{Difference, Halt, digest_all};
use super::marker::{self, Mark};
use super::real::{Held, Idle, still};
use super::record::{BASE, Record, RedoText, SEALED, Seal, VIEW, corrupt};
use super::resource::KIND;
use super::rows::{Live, Way};
use super::schema::Schema;
use super::whole::{self, Trace};
use crate::clock;
use crate::error::{Fault, ParticipantError, Shown};
use crate::fs::Dir;
use crate::sandbox::{
    Changes, Guard, Identity, Marker, Outcome, Place, Redo, Sandbox, Sealed, Stamp, Vote, Work,
};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A private copy of a database.
///
/// Between `prepare` and the end of `apply` it holds a connection with an open transaction, then
/// the same connection without one until its row is removed, otherwise nothing.
#[derive(Debug)]
pub(super) struct Private {
    record: Record,
    identity: Identity,
    place: Place,
    view: PathBuf,
    held: Option<Held>,
    /// What the commit of this process left open, for the removal of the row that follows at once.
    idle: Option<Idle>,
    /// What the seal of this process found, for the vote that follows at once.
    found: Option<Loaded>,
}

/// The snapshot, and how what is sealed differs from it.
#[derive(Debug)]
struct Loaded {
    base: Schema,
    difference: Difference,
}

impl Private {
    /// The sandbox that `record` describes.
    pub(super) fn new(record: Record, place: Place) -> Self {
        Self {
            identity: record.identity(),
            view: place.dir.join(VIEW).join(record.file_name()),
            held: None,
            idle: None,
            found: None,
            record,
            place,
        }
    }

    fn dir(&self) -> Outcome<Dir> {
        Dir::open(&self.place.dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ParticipantError::new(Fault::Lost, "the sandbox is gone").at(&self.place.dir)
            }
            _ => ParticipantError::io("open the sandbox", &self.place.dir, error),
        })
    }

    fn seal_of(&self) -> Outcome<&Seal> {
        let sealed = self.record.sealed.as_ref();
        sealed.ok_or_else(|| {
            ParticipantError::new(Fault::Lost, "nothing is sealed").at(&self.place.dir)
        })
    }

    /// Compares the snapshot with our `copy` of the view.
    fn compare(&self, copy: &Connection, work: &Work<'_>) -> Outcome<(Loaded, String)> {
        let base = own(&self.place.dir, BASE, Use::Look)?;
        let compared = || {
            // One transaction each: otherwise every statement takes and drops the locks anew.
            base.execute_batch("BEGIN")?;
            copy.execute_batch("BEGIN")?;
            let (difference, base) = Difference::between(&base, copy, work)?;
            let digest = digest(&difference, copy, work)?;
            Ok((Loaded { base, difference }, digest))
        };
        compared().map_err(|halt: Halt| whole::halted(&self.view, halt))
    }

    /// What is sealed, if it still is what was sealed.
    fn load(&self, digest: &str, work: &Work<'_>) -> Outcome<Loaded> {
        let sealed = own(&self.place.dir, SEALED, Use::Look)?;
        let (loaded, found) = self.compare(&sealed, work)?;
        if found == digest {
            return Ok(loaded);
        }
        let why = "the files of the sandbox are not what was sealed".to_owned();
        Err(corrupt(why).at(&self.place.dir))
    }

    fn freeze(&self, name: &str, work: &Work<'_>) -> Outcome<Connection> {
        let dir = self.dir()?;
        remove(&dir, name)?;
        let frozen = freeze(&self.view, self.record.id, (&dir, name), work);
        frozen.inspect_err(|_| drop(remove(&dir, name)))
    }

    fn vote_mark(&self, label: &str) -> Mark {
        Mark::vote(&self.place.token, label)
    }

    /// Checks everything under the write lock and writes the difference into the open transaction.
    ///
    /// # Errors
    /// [`Fault::Conflict`] with every foreign change in the way.
    fn enter(&self, held: &Held, loaded: &Loaded, work: &Work<'_>) -> Outcome<BTreeSet<usize>> {
        let difference = &loaded.difference;
        if difference.is_whole() {
            whole::fits(held, (&self.place.dir, SEALED))?;
            let moved = whole::moved(held, (&self.place.dir, BASE), work)?;
            let conflicts: Vec<_> = moved.into_iter().collect();
            if conflicts.is_empty() || work.keeps_theirs() {
                return Ok(BTreeSet::new());
            }
            return Err(ParticipantError::conflict(conflicts));
        }
        let live = Live {
            conn: &held.conn,
            path: &held.path,
        };
        let skipped = BTreeSet::new();
        let found = live.examine(difference, &loaded.base, Way::Forth, &skipped)?;
        if !(found.conflicts.is_empty() || work.keeps_theirs()) {
            return Err(ParticipantError::conflict(found.conflicts));
        }
        live.carry_out(&found, &difference.counters, work.keeps_theirs())?;
        Ok(found.agreed)
    }

    /// Puts the sealed copy in the place of the real content.
    fn replace(&self, held: Held, name: &str, trace: Trace<'_>) -> Outcome<()> {
        whole::replace(held, (&self.dir()?, name), trace, self.record.wait())
    }

    /// Carries out a redo for which no transaction is open: in another process, after a crash.
    fn redo(&mut self, text: &RedoText, work: &Work<'_>) -> Outcome<()> {
        let held = Held::begin(&self.record)?;
        if let Some(mark) = held.mark(&self.place.token)? {
            // Whoever wrote it may have died before it was on disk: writing it again flushes all.
            held.put(&mark)?;
            return held.commit().map(drop);
        }
        let loaded = self.load(&text.digest, work)?;
        if !text.whole {
            self.enter(&held, &loaded, work).map(drop)?;
            held.put(&self.vote_mark(&text.label))?;
            return held.commit().map(drop);
        }
        if whole::moved(&held, (&self.place.dir, SEALED), work)?.is_none() {
            return Ok(());
        }
        self.enter(&held, &loaded, work).map(drop)?;
        if work.keeps_theirs() && whole::moved(&held, (&self.place.dir, BASE), work)?.is_some() {
            return Ok(());
        }
        let mark = self.vote_mark(&text.label);
        self.replace(held, SEALED, Trace::Put(&mark))
    }

    /// Takes the rows back that are still as we wrote them.
    fn rows_back(&self, held: Held, text: &RedoText, work: &Work<'_>) -> Outcome<()> {
        let loaded = self.load(&text.digest, work)?;
        let live = Live {
            conn: &held.conn,
            path: &held.path,
        };
        let skipped = text.agreed.iter().copied().collect();
        let found = live.examine(&loaded.difference, &loaded.base, Way::Back, &skipped)?;
        if !(found.conflicts.is_empty() || work.keeps_theirs()) {
            return Err(ParticipantError::conflict(found.conflicts));
        }
        live.carry_out(&found, &[], work.keeps_theirs())?;
        held.remove(&self.place.token)?;
        held.commit().map(drop)
    }

    fn whole_back(&self, held: Held, work: &Work<'_>) -> Outcome<()> {
        let token = &self.place.token;
        match whole::moved(&held, (&self.place.dir, SEALED), work)? {
            None => self.replace(held, BASE, Trace::Remove(token)),
            Some(_) if work.keeps_theirs() => {
                held.remove(token)?;
                held.commit().map(drop)
            }
            Some(conflict) => Err(ParticipantError::conflict(vec![conflict])),
        }
    }

    /// Commits what is prepared, and keeps the connection for the step that follows.
    fn commit_held(&mut self, held: Held) -> Outcome<()> {
        self.idle = Some(held.commit()?);
        Ok(())
    }

    /// True if our row is in the real database that `conn` has open.
    fn is_marked(&self, conn: &Connection, file: &Path) -> Outcome<bool> {
        match marker::is_there(conn, file) {
            Ok(true) => marker::find(conn, &self.place.token)
                .map(|found| found.is_some())
                .map_err(|error| said(file, "look for the marker", error)),
            // The row went with our table.
            Err(error) if error.fault == Fault::Refused => Ok(false),
            other => other,
        }
    }

    /// Removes our row from the real database, if it is there.
    fn forget_mark(&mut self) -> Outcome<()> {
        let idle = self.idle.take();
        let file = match still(&self.record) {
            // The row went with the file.
            Err(error) if error.fault == Fault::Lost => return Ok(()),
            other => other?.path,
        };
        let held = if let Some(idle) = idle {
            idle.begin(&self.record)?
        } else {
            let look = connect(&file, Use::Look, self.record.wait())
                .map_err(|error| said(&file, "look for the marker", error))?;
            if !self.is_marked(&look, &file)? {
                return Ok(());
            }
            drop(look);
            Held::begin(&self.record)?
        };
        if !self.is_marked(&held.conn, &held.path)? {
            return Ok(());
        }
        held.remove(&self.place.token)?;
        held.commit().map(drop)
    }
}

/// The same work without a wish to stop: a decided step goes on to its end.
fn undisturbed(work: &Work<'_>) -> Work<'static> {
    Work::silent().keeping_theirs(work.keeps_theirs())
}

fn digest(difference: &Difference, copy: &Connection, work: &Work<'_>) -> Result<String, Halt> {
    let mut hasher = blake3::Hasher::new();
    difference.digest(&mut hasher);
    if difference.is_whole() {
        digest_all(copy, &mut hasher, work)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn remove(dir: &Dir, name: &str) -> Outcome<()> {
    match dir.remove_file(OsStr::new(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ParticipantError::io(
            "remove a copy",
            dir.path().join(name),
            error,
        )),
        _ => Ok(()),
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
        Shown(&self.record.file()).to_string()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.view)
    }

    fn view(&self) -> &'static str {
        "copy"
    }

    fn record(&self) -> String {
        // A record of plain data cannot fail to be written.
        serde_json::to_string(&self.record).unwrap_or_default()
    }

    fn diff(&self, work: &Work<'_>) -> Outcome<Changes> {
        if let Some(seal) = &self.record.sealed {
            return Ok(self.load(&seal.digest, work)?.difference.changes());
        }
        let scratch = format!("look-{}.db", clock::fresh_token());
        let copy = self.freeze(&scratch, work)?;
        let compared = self.compare(&copy, work);
        drop(copy);
        let removed = remove(&self.dir()?, &scratch);
        let (loaded, _) = compared?;
        removed?;
        Ok(loaded.difference.changes())
    }

    fn seal(&mut self, work: &Work<'_>) -> Outcome<Sealed> {
        if let Some(Seal { digest, .. }) = self.record.sealed.clone() {
            let changes = self.load(&digest, work)?.difference.changes();
            return Ok(Sealed { changes, digest });
        }
        if self.record.is_of_another_boot() {
            let why = "the machine was restarted since the view was made, and nobody had flushed it: \
                       what the restart took looks like the plan's work";
            return Err(ParticipantError::new(Fault::Lost, why).at(&self.view));
        }
        drop(still(&self.record)?);
        let copy = self.freeze(SEALED, work)?;
        let (loaded, digest) = self.compare(&copy, work)?;
        drop(copy);
        flush(&self.dir()?, &[BASE, SEALED])?;
        crate::crash::point("seal.staged");
        self.record.sealed = Some(Seal {
            digest: digest.clone(),
            whole: loaded.difference.is_whole(),
        });
        let changes = loaded.difference.changes();
        self.found = Some(loaded).filter(|found| found.difference.is_light());
        Ok(Sealed { changes, digest })
    }

    fn unseal(&mut self) -> Outcome<()> {
        (self.held, self.idle, self.found) = (None, None, None);
        remove(&self.dir()?, SEALED)?;
        self.record.sealed = None;
        Ok(())
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        drop(still(&self.record)?);
        Ok(vec![Guard {
            key: self.identity.key.clone(),
            file: None,
            shared: false,
        }])
    }

    fn prepare(&mut self, work: &Work<'_>) -> Outcome<Vote> {
        self.held = None;
        let seal = self.seal_of()?.clone();
        let loaded = match self.found.take() {
            Some(found) => found,
            None => self.load(&seal.digest, work)?,
        };
        if loaded.difference.is_empty() {
            drop(still(&self.record)?);
            return Ok(Vote::ReadOnly);
        }
        let held = Held::begin(&self.record)?;
        let agreed = match self.enter(&held, &loaded, work) {
            Err(error) if error.fault == Fault::Conflict => {
                return Ok(Vote::Conflict(error.conflicts));
            }
            other => other?,
        };
        if !(seal.whole || self.record.decides) {
            held.put(&self.vote_mark(&self.place.label))?;
        }
        let text = RedoText::new(&seal, &self.place.label, agreed.into_iter().collect());
        let redo = text.to_redo()?;
        self.held = Some(held);
        Ok(Vote::Ready {
            redo,
            changes: loaded.difference.changes(),
        })
    }

    fn stand_down(&mut self) {
        self.held = None;
    }

    fn marker(&mut self) -> Option<&mut dyn Marker> {
        self.record.decides.then_some(self as &mut dyn Marker)
    }

    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let text = RedoText::from_redo(redo)?;
        match self.held.take() {
            None => self.redo(&text, &undisturbed(work)),
            Some(held) if text.whole => {
                let mark = self.vote_mark(&text.label);
                self.replace(held, SEALED, Trace::Put(&mark))
            }
            Some(held) => self.commit_held(held),
        }
    }

    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let text = RedoText::from_redo(redo)?;
        (self.held, self.idle) = (None, None);
        let held = Held::begin(&self.record)?;
        if held.mark(&self.place.token)?.is_none() {
            return Ok(());
        }
        let work = undisturbed(work);
        let taken = if text.whole {
            self.whole_back(held, &work)
        } else {
            self.rows_back(held, &text, &work)
        };
        taken.map_err(|mut error| {
            if error.fault == Fault::Conflict {
                error.fault = Fault::Hazard;
                "somebody else changed what the plan wrote; theirs is kept"
                    .clone_into(&mut error.message);
            }
            error
        })
    }

    /// Nothing is left to do: a commit of SQLite is on disk when it returns.
    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    /// The row in the real database goes first: as long as it is there, so are the files that say
    /// whose it is.
    fn discard(&mut self, work: &Work<'_>) -> Outcome<()> {
        self.held = None;
        let dir = match Dir::open(&self.place.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(ParticipantError::io(
                    "open the sandbox",
                    &self.place.dir,
                    error,
                ));
            }
            Ok(dir) => dir,
        };
        let sealed = dir.stat_at(OsStr::new(SEALED));
        let sealed = sealed
            .map_err(|error| ParticipantError::io("look at the sandbox", dir.path(), error))?;
        if sealed.is_some() {
            self.forget_mark()?;
        }
        empty(&dir, work)
    }
}

impl Marker for Private {
    fn commit(&mut self, redo: &Redo, stamp: &Stamp) -> Outcome<()> {
        let text = RedoText::from_redo(redo)?;
        let Some(held) = self.held.take() else {
            let why = "the transaction that was to be committed is no longer open";
            return Err(ParticipantError::new(Fault::Lost, why).at(self.record.file()));
        };
        let mark = Mark::decision(&self.place.token, stamp);
        if text.whole {
            return self.replace(held, SEALED, Trace::Put(&mark));
        }
        held.put(&mark)?;
        self.commit_held(held)
    }

    /// Under the write lock, so that nobody can still be committing; and what is found is written
    /// again, so that it is on disk.
    fn probe(&mut self, _redo: &Redo, stamp: &Stamp) -> Outcome<bool> {
        self.held = None;
        let held = Held::begin(&self.record)?;
        let wanted = Mark::decision(&self.place.token, stamp);
        match held.mark(&self.place.token)? {
            Some(mark) if (&mark.plan, mark.epoch) == (&wanted.plan, wanted.epoch) => {
                held.put(&mark)?;
                held.commit().map(|_| true)
            }
            _ => Ok(false),
        }
    }
}
