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
use crate::register::{Draft, DraftError, Snapshot, VersionRegister};
use std::fmt;
use std::path::Path;

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
        let noted = self.register.wish(token, version.into(), value);
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
            format!("version {:?}", ours.version()),
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

    /// The digest is over the version set (if any) and the generation started from: the bytes of a
    /// `T` are nobody's business, and a sealed draft cannot change.
    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        let sealed = self.value.register.seal_draft(&self.token);
        let draft = sealed.map_err(|error| refusal(&error))?;
        let wish = draft.wish.as_ref().map(Snapshot::version);
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

    /// None: no other process can reach the value, and inside this one the key is enough.
    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
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
        });
        Ok(Vote::Ready {
            redo: Redo(redo.to_string()),
            changes: self.changes(&draft),
        })
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

    fn take_back(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        match self.value.register.restore(&self.token) {
            Ok(()) => Ok(()),
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
    let (version, generation) = (snapshot.version(), snapshot.generation());
    format!("version {version:?} at generation {generation}")
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
mod tests {
    use super::*;
    use crate::register::RegisterError;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn place(token: &str) -> Place {
        Place {
            dir: PathBuf::from("/nowhere"),
            token: token.to_owned(),
        }
    }

    fn open(value: &Value<u32>, token: &str) -> Box<dyn Sandbox> {
        value.open(&place(token), &Work::silent()).unwrap()
    }

    fn pair() -> (VersionRegister<u32>, Value<u32>) {
        let register = VersionRegister::new("v1", 1);
        let value = Value::of(&register);
        (register, value)
    }

    fn ready(sandbox: &mut Box<dyn Sandbox>) -> Redo {
        sandbox.seal(&Work::silent()).unwrap();
        match sandbox.prepare(&Work::silent()).unwrap() {
            Vote::Ready { redo, changes } => {
                assert_eq!(changes.entries.len(), 1);
                redo
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_sees_it_until_it_is_applied_and_openers_share_it() {
        let (register, value) = pair();
        let mut sandbox = open(&value, "t");
        let again = open(&value.clone(), "t");
        value.set("t", "v2", 2).unwrap();
        assert_eq!(*value.get("t").unwrap().value(), 2);
        assert_eq!(again.diff(&Work::silent()).unwrap().entries.len(), 1);
        assert_eq!(*register.snapshot().value(), 1);
        let redo = ready(&mut sandbox);
        assert_eq!(*register.snapshot().value(), 1);
        for _ in 0..2 {
            sandbox.apply(&redo, &Work::silent()).unwrap();
            let now = register.snapshot();
            assert_eq!(
                (now.version(), *now.value(), now.generation()),
                ("v2", 2, 2)
            );
        }
        sandbox.settle(&redo).unwrap();
        sandbox.discard(&Work::silent()).unwrap();
        sandbox.discard(&Work::silent()).unwrap();
        assert_eq!(value.get("t").unwrap_err().fault, Fault::Lost);
        assert_eq!(register.activate(2, "v3", Arc::new(3)), Ok(3));
    }

    #[test]
    fn a_sealed_value_is_fixed_until_it_is_unsealed() {
        let (_register, value) = pair();
        let mut sandbox = open(&value, "t");
        value.set("t", "v2", 2).unwrap();
        let sealed = sandbox.seal(&Work::silent()).unwrap();
        assert_eq!(sandbox.seal(&Work::silent()).unwrap(), sealed);
        let refused = value.set("t", "v3", 3).unwrap_err();
        assert_eq!(refused.fault, Fault::Refused);
        assert!(refused.message.contains("sealed"));
        assert!(sandbox.record().contains("\"sealed\":true"));
        sandbox.unseal().unwrap();
        value.set("t", "v3", 3).unwrap();
        let other = sandbox.seal(&Work::silent()).unwrap();
        assert_ne!(other.digest, sealed.digest);
    }

    #[test]
    fn a_foreign_change_is_a_conflict_and_nothing_set_is_read_only() {
        let (register, value) = pair();
        let (mut idle, mut busy) = (open(&value, "idle"), open(&value, "busy"));
        value.set("busy", "mine", 2).unwrap();
        register.activate(1, "theirs", Arc::new(9)).unwrap();
        for sandbox in [&mut idle, &mut busy] {
            sandbox.seal(&Work::silent()).unwrap();
        }
        let vote = idle.prepare(&Work::silent()).unwrap();
        assert!(matches!(vote, Vote::ReadOnly), "{vote:?}");
        let Vote::Conflict(found) = busy.prepare(&Work::silent()).unwrap() else {
            panic!("a conflict was missed");
        };
        let text = found[0].to_string();
        for word in ["\"v1\"", "\"theirs\"", "\"mine\""] {
            assert!(text.contains(word), "{text}");
        }
        assert_eq!(register.snapshot().version(), "theirs");
        assert_eq!(register.activate(2, "v3", Arc::new(3)), Ok(3), "no promise");
    }

    #[test]
    fn from_prepare_on_nobody_can_come_between() {
        let (register, value) = pair();
        let mut sandbox = open(&value, "t");
        value.set("t", "v2", 2).unwrap();
        let redo = ready(&mut sandbox);
        let refused = register.activate(1, "theirs", Arc::new(9));
        assert_eq!(refused, Err(RegisterError::Promised));
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        assert_eq!(*register.snapshot().value(), 1, "nothing was applied");
        assert_eq!(register.activate(1, "theirs", Arc::new(9)), Ok(2));
        let late = sandbox.apply(&redo, &Work::silent()).unwrap_err();
        assert_eq!(late.fault, Fault::Conflict);
        assert_eq!(register.snapshot().version(), "theirs");
    }

    #[test]
    fn a_dropped_sandbox_gives_its_promise_back_and_keeps_the_work() {
        let (register, value) = pair();
        let mut sandbox = open(&value, "t");
        value.set("t", "v2", 2).unwrap();
        ready(&mut sandbox);
        drop(sandbox);
        assert_eq!(*value.get("t").unwrap().value(), 2);
        assert_eq!(register.activate(1, "v3", Arc::new(3)), Ok(2));
    }

    #[test]
    fn taking_back_restores_the_old_value_once_and_the_plan_can_commit_again() {
        let (register, value) = pair();
        let mut sandbox = open(&value, "t");
        value.set("t", "v2", 2).unwrap();
        let redo = ready(&mut sandbox);
        sandbox.apply(&redo, &Work::silent()).unwrap();
        for _ in 0..2 {
            sandbox.take_back(&redo, &Work::silent()).unwrap();
            let now = register.snapshot();
            assert_eq!(
                (now.version(), *now.value(), now.generation()),
                ("v1", 1, 3)
            );
        }
        let redo = ready(&mut sandbox);
        sandbox.apply(&redo, &Work::silent()).unwrap();
        assert_eq!(register.snapshot().generation(), 4);
    }

    #[test]
    fn taking_back_never_overwrites_a_later_change() {
        let (register, value) = pair();
        let mut sandbox = open(&value, "t");
        value.set("t", "v2", 2).unwrap();
        let redo = ready(&mut sandbox);
        sandbox.apply(&redo, &Work::silent()).unwrap();
        register.activate(2, "theirs", Arc::new(9)).unwrap();
        let error = sandbox.take_back(&redo, &Work::silent()).unwrap_err();
        assert_eq!(error.fault, Fault::Hazard);
        assert_eq!(register.snapshot().version(), "theirs");
    }

    #[test]
    fn another_process_is_told_where_the_value_lives() {
        let (register, value) = pair();
        let value = value.named(ResourceName::new("router").unwrap());
        let sandbox = open(&value, "t");
        assert_eq!((sandbox.kind(), sandbox.view()), ("value", "memory"));
        assert!(sandbox.is_volatile() && value.is_volatile());
        assert!(sandbox.path().is_none() && sandbox.guards().unwrap().is_empty());
        assert_eq!(sandbox.target(), "router");
        assert_eq!(sandbox.identity(), &value.identify().unwrap());
        assert_ne!(
            value.identify().unwrap(),
            Value::of(&VersionRegister::new("v1", 1))
                .identify()
                .unwrap()
        );
        let error = ValueKind.reopen(&sandbox.record(), &place("t"));
        assert_eq!(error.unwrap_err().fault, Fault::Elsewhere);
        assert_eq!(value.register().id(), register.id());
    }
}
