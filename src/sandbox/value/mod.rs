//! A value in memory as a participant: it changes together with everything else of the plan.
//!
//! The plan writes into a draft that lives in the register, under the token of the sandbox; other
//! readers of the register see nothing of it until the plan is committed. From
//! [`Sandbox::prepare`] on the register is promised to the plan, so that the swap after the
//! decision cannot fail.

use super::{
    Action, Change, Changes, Guard, Identity, Kind, Outcome, Place, Redo, Resource, Sandbox,
    Sealed, Vote, Work,
};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::id::{ResourceKey, ResourceName};
use crate::register::{Draft, DraftError, Snapshot, Stored, VersionRegister, Wish};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

const KIND: &str = "value";

/// A value in a [`VersionRegister`] as a resource. Cheap to clone.
pub struct Value<T> {
    register: VersionRegister<T>,
    name: Option<ResourceName>,
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self {
            register: self.register.clone(),
            name: self.name.clone(),
        }
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("register", &self.register)
            .field("name", &self.name)
            .finish()
    }
}

impl<T> Value<T> {
    /// The value in `register`.
    #[must_use]
    pub fn of(register: &VersionRegister<T>) -> Self {
        Self {
            register: register.clone(),
            name: None,
        }
    }

    /// The same, under a name of its own inside the plan.
    #[must_use]
    pub fn named(mut self, name: ResourceName) -> Self {
        self.name = Some(name);
        self
    }

    /// The register itself, as everybody else sees it.
    #[must_use]
    pub fn register(&self) -> &VersionRegister<T> {
        &self.register
    }

    /// Sets what the plan wants, in the sandbox with this token.
    ///
    /// # Errors
    /// [`Fault::Refused`] if the sandbox is sealed, [`Fault::Lost`] if there is no such sandbox (it
    /// was committed, rolled back, or never opened on this register).
    pub fn set(&self, token: &str, version: impl Into<String>, value: T) -> Outcome<()> {
        self.wish(token, Some(version.into()), (None, Some(value)))
    }

    /// As [`Value::set`], for a register that follows a row: `row` is what the same plan makes of
    /// that row. The value is for the version that it names; None if it names none. Once the plan
    /// is committed the register agrees with the row.
    ///
    /// # Errors
    /// As [`Value::set`]; [`Fault::Refused`] also for a version without a value, or the reverse.
    pub fn set_stored(&self, token: &str, row: &Stored, value: Option<T>) -> Outcome<()> {
        if row.version().is_some() != value.is_some() {
            let text =
                "a row that names a version needs its value, and one that names none has none";
            return Err(ParticipantError::new(Fault::Refused, text));
        }
        let version = row.version().map(ToOwned::to_owned);
        self.wish(token, version, (Some(row.generation()), value))
    }

    /// Sets that the plan wants the register unloaded.
    ///
    /// # Errors
    /// As [`Value::set`].
    pub fn unload(&self, token: &str) -> Outcome<()> {
        self.wish(token, None, (None, None))
    }

    fn wish(
        &self,
        token: &str,
        version: Option<String>,
        (stored, value): (Option<u64>, Option<T>),
    ) -> Outcome<()> {
        let value = value.map(Arc::new);
        let wish = Wish {
            version,
            stored,
            value,
        };
        let noted = self.register.wish(token, wish);
        noted.map_err(|error| refusal(&error))
    }

    /// What the plan sees: what it set, or else what it started from. The generation is that of
    /// the start.
    ///
    /// # Errors
    /// [`Fault::Lost`] if there is no such sandbox.
    pub fn get(&self, token: &str) -> Outcome<Snapshot<T>> {
        let draft = self.register.draft(token).ok_or_else(lost)?;
        Ok(draft.wish.unwrap_or(draft.base))
    }

    fn key(&self) -> Identity {
        Identity {
            key: ResourceKey::new(KIND, self.register.id()),
            enclosing: Vec::new(),
            tree: None,
        }
    }
}

impl<T: Send + Sync + 'static> Resource for Value<T> {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> Option<&ResourceName> {
        self.name.as_ref()
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(self.key())
    }

    fn open(&self, place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        let draft = self.register.begin_draft(&place.token);
        Ok(Box::new(ValueSandbox {
            value: self.clone(),
            identity: self.key(),
            token: place.token.clone(),
            opened_at: draft.base.generation(),
            promised: false,
        }))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// Answers for sandboxes of values that were opened elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValueKind;

impl Kind for ValueKind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn reopen(&self, _record: &str, _place: &Place) -> Outcome<Box<dyn Sandbox>> {
        Err(ParticipantError::new(
            Fault::Elsewhere,
            "the value lives in the process that opened it",
        ))
    }
}

/// The private view of a value.
struct ValueSandbox<T> {
    value: Value<T>,
    identity: Identity,
    token: String,
    opened_at: u64,
    /// True if this view asked for the promise, and so has to give it back.
    promised: bool,
}

impl<T> fmt::Debug for ValueSandbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueSandbox")
            .field("value", &self.value)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for ValueSandbox<T> {
    /// What the plan set stays in the register; only a promise that nobody can keep any more is
    /// given back.
    fn drop(&mut self) {
        if self.promised {
            self.value.register.withdraw(&self.token);
        }
    }
}

impl<T> ValueSandbox<T> {
    fn draft(&self) -> Outcome<Draft<T>> {
        self.value.register.draft(&self.token).ok_or_else(lost)
    }

    /// The name of the value, for people.
    fn shown(&self) -> String {
        let name = self.value.name.as_ref();
        name.map_or_else(|| KIND.to_owned(), ToString::to_string)
    }

    fn changes(&self, draft: &Draft<T>) -> Changes {
        let mut changes = Changes::default();
        if draft.wish.is_some() {
            let place = self.shown();
            changes
                .entries
                .push(Change::new(place, Action::Modified, KIND, 0));
        }
        changes
    }

    fn conflict(&self, now: &Snapshot<T>) -> Outcome<Conflict> {
        let draft = self.draft()?;
        let ours = draft.wish.as_ref().unwrap_or(&draft.base);
        Ok(Conflict::new(
            self.shown(),
            shown(&draft.base),
            shown(now),
            wanted(ours),
        ))
    }
}

impl<T: Send + Sync + 'static> Sandbox for ValueSandbox<T> {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        self.shown()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "memory"
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn record(&self) -> String {
        let sealed = self.draft().is_ok_and(|draft| draft.sealed);
        serde_json::json!({
            "register": self.value.register.id(),
            "opened_at": self.opened_at,
            "sealed": sealed,
        })
        .to_string()
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        Ok(self.changes(&self.draft()?))
    }

    /// The digest is over what was set (if anything) and the generation started from: the bytes of a
    /// `T` are nobody's business, and a sealed draft cannot change.
    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        let sealed = self.value.register.seal_draft(&self.token);
        let draft = sealed.map_err(|error| refusal(&error))?;
        let wish = draft.wish.as_ref();
        let wish = wish.map(|wish| (wish.version(), wish.stored(), wish.is_loaded()));
        let what = serde_json::json!([KIND, draft.base.generation(), wish]).to_string();
        Ok(Sealed {
            changes: self.changes(&draft),
            digest: blake3::hash(what.as_bytes()).to_hex().to_string(),
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        match self.value.register.unseal_draft(&self.token) {
            Ok(()) | Err(DraftError::Unknown) => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// The key alone, without a file: no other process can reach the value. Another plan over the
    /// register waits until this one is through; the promise alone would have it refused on a guess.
    /// Between two managers of a process only the promise is left.
    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(vec![Guard {
            key: self.identity.key.clone(),
            file: None,
            shared: false,
        }])
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        let draft = self.draft()?;
        let Some(wish) = &draft.wish else {
            return Ok(Vote::ReadOnly);
        };
        match self.value.register.promise(&self.token) {
            Ok(()) => self.promised = true,
            Err(DraftError::Moved(now)) => return Ok(Vote::Conflict(vec![self.conflict(&now)?])),
            Err(error) => return Err(refusal(&error)),
        }
        let redo = serde_json::json!({
            "register": self.value.register.id(),
            "from": draft.base.generation(),
            "version": wish.version(),
            "stored": wish.stored(),
            "is_loaded": wish.is_loaded(),
        });
        Ok(Vote::Ready {
            redo: Redo(redo.to_string()),
            changes: self.changes(&draft),
        })
    }

    fn stand_down(&mut self) {
        if self.promised {
            self.value.register.withdraw(&self.token);
            self.promised = false;
        }
    }

    fn apply(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        match self.value.register.carry_out(&self.token) {
            Ok(()) => Ok(()),
            // Only if the promise was lost on the way; nothing was overwritten.
            Err(DraftError::Moved(now)) => {
                Err(ParticipantError::conflict(vec![self.conflict(&now)?]))
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    fn take_back(&mut self, _redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        match self.value.register.restore(&self.token) {
            Ok(()) => Ok(()),
            Err(DraftError::Moved(_)) if work.keeps_theirs() => Ok(()),
            Err(DraftError::Moved(now)) => {
                let text = "somebody else changed the value after the plan did; theirs is kept";
                let mut error = ParticipantError::new(Fault::Hazard, text);
                error.conflicts = vec![self.conflict(&now)?];
                Err(error)
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        self.value.register.end_draft(&self.token);
        Ok(())
    }
}

fn shown<T>(snapshot: &Snapshot<T>) -> String {
    let generation = snapshot.generation();
    format!("{} at generation {generation}", wanted(snapshot))
}

fn wanted<T>(snapshot: &Snapshot<T>) -> String {
    let version = snapshot.version();
    if snapshot.is_loaded() {
        format!("version {version:?}")
    } else {
        "unloaded".to_owned()
    }
}

fn lost() -> ParticipantError {
    ParticipantError::new(Fault::Lost, "the register has no sandbox with this token")
}

fn refusal<T>(error: &DraftError<T>) -> ParticipantError {
    match error {
        DraftError::Unknown => lost(),
        DraftError::Sealed => ParticipantError::new(
            Fault::Refused,
            "the value is sealed and cannot be set any more",
        ),
        DraftError::Moved(now) => {
            let text = format!("the register moved on to {}", shown(now));
            ParticipantError::new(Fault::Conflict, text)
        }
        DraftError::Promised => ParticipantError::new(
            Fault::Conflict,
            "the value is promised to another plan that has not ended",
        ),
    }
}

#[cfg(test)]
mod tests;
