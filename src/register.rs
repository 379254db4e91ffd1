//! A versioned value that many threads read while it is replaced.
//!
//! A [`VersionRegister`] holds one immutable triple of version, value and generation behind one
//! pointer. A reader takes a [`Snapshot`] and keeps it for as long as it likes; it never sees the
//! version of one value with another. Replacing is compare-and-swap on the generation, which grows
//! with each change and never comes back.

use crate::clock;
use crate::error::{Explain, Stage};
use crate::sync::{Rank, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A value under a version, replaced as one. Cheap to clone; clones are the same register.
pub struct VersionRegister<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    id: String,
    /// A leaf latch, held to look or to swap; no value is dropped under it.
    inner: RwLock<Inner<T>>,
}

struct Inner<T> {
    current: Snapshot<T>,
    /// The token of the draft that was promised the next change.
    promised: Option<String>,
    drafts: BTreeMap<String, Draft<T>>,
}

/// What a register held at one instant.
pub struct Snapshot<T> {
    held: Arc<Held<T>>,
}

struct Held<T> {
    version: String,
    generation: u64,
    value: Arc<T>,
}

/// Why a register was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody else changed it first.
    #[error(
        "the register was expected at generation {expected}, but it is at {found} with version {version:?}"
    )]
    Moved {
        /// The generation that the caller expected.
        expected: u64,
        /// The generation that it has.
        found: u64,
        /// The version that is active.
        version: String,
    },
    /// A plan that is being committed was promised the next change.
    #[error("a plan that is being committed was promised the next version of the register")]
    Promised,
}

impl Explain for RegisterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Moved { .. } => "register-moved",
            Self::Promised => "register-promised",
        }
    }
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Promised)
    }
    fn next_step(&self) -> String {
        match self {
            Self::Moved { .. } => "take a new snapshot and decide again",
            Self::Promised => "wait until the plan has ended, then take a new snapshot",
        }
        .to_owned()
    }
    fn stage(&self) -> Option<Stage> {
        None
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
        }
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.held.version)
            .field("generation", &self.held.generation)
            .finish_non_exhaustive()
    }
}

impl<T> Snapshot<T> {
    fn new(version: String, generation: u64, value: Arc<T>) -> Self {
        let held = Arc::new(Held {
            version,
            generation,
            value,
        });
        Self { held }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.held.version
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.held.value
    }

    /// The value, to keep beyond the snapshot.
    #[must_use]
    pub fn shared(&self) -> Arc<T> {
        Arc::clone(&self.held.value)
    }

    /// Which change of the register brought it: 1 is what the register was made with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.held.generation
    }

    /// The same version and value as a later change.
    fn as_generation(&self, generation: u64) -> Self {
        Self::new(self.held.version.clone(), generation, self.shared())
    }
}

impl<T> Clone for VersionRegister<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for VersionRegister<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionRegister")
            .field("id", &self.shared.id)
            .field("current", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl<T> VersionRegister<T> {
    /// A register that holds `value` under `version`, at generation 1.
    #[must_use]
    pub fn new(version: impl Into<String>, value: T) -> Self {
        let inner = Inner {
            current: Snapshot::new(version.into(), 1, Arc::new(value)),
            promised: None,
            drafts: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                id: clock::fresh_token(),
                inner: RwLock::new(Rank::Leaf, "register", inner),
            }),
        }
    }

    /// Text that no other register of this machine has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// What the register holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        self.shared.inner.read().current.clone()
    }

    /// Replaces version and value if nobody else did since `expected_generation`; answers the new
    /// generation. A refusal changes nothing.
    ///
    /// # Errors
    /// [`RegisterError::Moved`] if the register has another generation,
    /// [`RegisterError::Promised`] while a plan that changes it is being committed.
    pub fn activate(
        &self,
        expected_generation: u64,
        version: impl Into<String>,
        value: Arc<T>,
    ) -> Result<u64, RegisterError> {
        let version = version.into();
        let mut inner = self.shared.inner.write();
        let found = inner.current.generation();
        if found != expected_generation {
            return Err(RegisterError::Moved {
                expected: expected_generation,
                found,
                version: inner.current.version().to_owned(),
            });
        }
        if inner.promised.is_some() {
            return Err(RegisterError::Promised);
        }
        let next = Snapshot::new(version, found + 1, value);
        let old = std::mem::replace(&mut inner.current, next);
        drop(inner);
        // A value may take its time to go, or look into this register: not under the latch.
        drop(old);
        Ok(found + 1)
    }
}

/// What one plan wants to put into a register. It lives in the register, under the token of the
/// sandbox, so that everybody who opens that sandbox shares it.
pub(crate) struct Draft<T> {
    /// What the plan started from.
    pub(crate) base: Snapshot<T>,
    /// What the plan wants, if it wants a change.
    pub(crate) wish: Option<Snapshot<T>>,
    /// True if the wish may not change.
    pub(crate) sealed: bool,
    /// What was there before, and the generation of ours, once the wish was carried out.
    carried: Option<(Snapshot<T>, u64)>,
}

impl<T> Clone for Draft<T> {
    fn clone(&self) -> Self {
        Self {
            base: self.base.clone(),
            wish: self.wish.clone(),
            sealed: self.sealed,
            carried: self.carried.clone(),
        }
    }
}

/// Why a draft did not do what was asked.
pub(crate) enum DraftError<T> {
    /// There is no such draft.
    Unknown,
    /// Its wish is sealed.
    Sealed,
    /// The register moved on; this is what it holds.
    Moved(Snapshot<T>),
    /// The next change is promised to another draft.
    Promised,
}

impl<T> VersionRegister<T> {
    /// Begins a draft at what the register holds now, or finds the one begun already.
    pub(crate) fn begin_draft(&self, token: &str) -> Draft<T> {
        let mut inner = self.shared.inner.write();
        let fresh = Draft {
            base: inner.current.clone(),
            wish: None,
            sealed: false,
            carried: None,
        };
        let draft = inner.drafts.entry(token.to_owned()).or_insert(fresh);
        draft.clone()
    }

    /// The draft as it is now.
    pub(crate) fn draft(&self, token: &str) -> Option<Draft<T>> {
        self.shared.inner.read().drafts.get(token).cloned()
    }

    /// Notes what the plan wants, instead of what it wanted before.
    pub(crate) fn wish(&self, token: &str, version: String, value: T) -> Result<(), DraftError<T>> {
        let value = Arc::new(value);
        let kept = Arc::clone(&value);
        let noted = self.change(token, |_, draft| {
            if draft.sealed {
                return Err(DraftError::Sealed);
            }
            let base = draft.base.generation();
            draft.wish = Some(Snapshot::new(version, base, value));
            Ok(())
        });
        // A value that was refused goes here, not under the latch.
        drop(kept);
        noted
    }

    /// Seals the wish.
    pub(crate) fn seal_draft(&self, token: &str) -> Result<Draft<T>, DraftError<T>> {
        self.change(token, |_, draft| {
            draft.sealed = true;
            Ok(draft.clone())
        })
    }

    /// Unseals the wish and gives the promise back.
    pub(crate) fn unseal_draft(&self, token: &str) -> Result<(), DraftError<T>> {
        self.change(token, |inner, draft| {
            draft.sealed = false;
            inner.withdraw(token);
            Ok(())
        })
    }

    /// Promises the next change to this draft: nobody else can change the register until the draft
    /// was carried out, restored, unsealed or ended.
    pub(crate) fn promise(&self, token: &str) -> Result<(), DraftError<T>> {
        self.change(token, |inner, draft| {
            if inner.current.generation() != draft.base.generation() {
                return Err(DraftError::Moved(inner.current.clone()));
            }
            if inner
                .promised
                .as_ref()
                .is_some_and(|holder| holder != token)
            {
                return Err(DraftError::Promised);
            }
            inner.promised = Some(token.to_owned());
            Ok(())
        })
    }

    /// Gives the promise back, if this draft has it.
    pub(crate) fn withdraw(&self, token: &str) {
        self.shared.inner.write().withdraw(token);
    }

    /// Puts the wish into the register, once.
    pub(crate) fn carry_out(&self, token: &str) -> Result<(), DraftError<T>> {
        self.change(token, |inner, draft| {
            if draft.carried.is_some() {
                return Ok(());
            }
            let Some(wish) = &draft.wish else {
                inner.withdraw(token);
                return Ok(());
            };
            if inner.current.generation() != draft.base.generation() {
                return Err(DraftError::Moved(inner.current.clone()));
            }
            let ours = draft.base.generation() + 1;
            let old = std::mem::replace(&mut inner.current, wish.as_generation(ours));
            draft.carried = Some((old, ours));
            inner.withdraw(token);
            Ok(())
        })
    }

    /// Puts back what the wish displaced, as a later change, if the register still holds ours.
    pub(crate) fn restore(&self, token: &str) -> Result<(), DraftError<T>> {
        self.change(token, |inner, draft| {
            inner.withdraw(token);
            let Some((old, ours)) = &draft.carried else {
                return Ok(());
            };
            if inner.current.generation() != *ours {
                return Err(DraftError::Moved(inner.current.clone()));
            }
            inner.current = old.as_generation(ours + 1);
            draft.base = inner.current.clone();
            draft.carried = None;
            Ok(())
        })
    }

    /// Forgets the draft, and its promise with it.
    pub(crate) fn end_draft(&self, token: &str) {
        let mut inner = self.shared.inner.write();
        inner.withdraw(token);
        let ended = inner.drafts.remove(token);
        drop(inner);
        drop(ended);
    }

    /// Changes one draft under the latch; whatever it let go of is dropped after it.
    fn change<R>(
        &self,
        token: &str,
        f: impl FnOnce(&mut Inner<T>, &mut Draft<T>) -> Result<R, DraftError<T>>,
    ) -> Result<R, DraftError<T>> {
        let mut inner = self.shared.inner.write();
        let Some(before) = inner.drafts.get(token).cloned() else {
            return Err(DraftError::Unknown);
        };
        let current = inner.current.clone();
        let mut draft = before.clone();
        let outcome = f(&mut inner, &mut draft);
        let replaced = inner.drafts.insert(token.to_owned(), draft);
        drop(inner);
        drop((before, current, replaced));
        outcome
    }
}

impl<T> Inner<T> {
    fn withdraw(&mut self, token: &str) {
        if self.promised.as_ref().is_some_and(|holder| holder == token) {
            self.promised = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;
    use std::sync::atomic::{AtomicBool, Ordering};

    impl<T> fmt::Debug for DraftError<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Unknown => "Unknown",
                Self::Sealed => "Sealed",
                Self::Moved(_) => "Moved",
                Self::Promised => "Promised",
            })
        }
    }

    impl<T> fmt::Debug for Draft<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Draft")
        }
    }

    #[test]
    fn only_the_newest_generation_can_be_replaced() {
        let register = VersionRegister::new("v1", 1);
        let first = register.snapshot();
        assert_eq!(
            (first.version(), *first.value(), first.generation()),
            ("v1", 1, 1)
        );
        assert_eq!(register.activate(1, "v2", Arc::new(2)), Ok(2));
        let late = register.clone().activate(1, "v3", Arc::new(3));
        let error = late.expect_err("the generation moved");
        assert_eq!(
            error,
            RegisterError::Moved {
                expected: 1,
                found: 2,
                version: "v2".to_owned()
            }
        );
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("register-moved", false)
        );
        assert_eq!(*register.snapshot().value(), 2, "a refusal changes nothing");
        assert_eq!(*first.value(), 1, "a snapshot stays");
        assert_ne!(register.id(), VersionRegister::new("v1", 1).id());
    }

    #[test]
    fn readers_never_see_a_torn_pair() {
        let register = VersionRegister::new("0", 0_u64);
        let over = AtomicBool::new(false);
        let read = || {
            let mut last = 0;
            while !over.load(Ordering::Acquire) {
                let seen = register.snapshot();
                assert_eq!(seen.version(), seen.value().to_string());
                assert_eq!(seen.generation(), *seen.value() + 1);
                assert!(seen.generation() >= last, "generations never go back");
                last = seen.generation();
            }
        };
        let write = || {
            let mut won = 0;
            while won < 500 {
                let seen = register.snapshot();
                let next = seen.value() + 1;
                let outcome =
                    register.activate(seen.generation(), next.to_string(), Arc::new(next));
                won += u64::from(outcome.is_ok());
            }
        };
        thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(read)).collect();
            let writers: Vec<_> = (0..3).map(|_| scope.spawn(write)).collect();
            for writer in writers {
                writer.join().unwrap();
            }
            over.store(true, Ordering::Release);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        assert_eq!(register.snapshot().generation(), 1501, "no swap was lost");
    }

    #[test]
    fn a_promise_keeps_everybody_else_out_until_it_is_kept_or_given_back() {
        let register = VersionRegister::new("v1", 1);
        register.begin_draft("a");
        register.begin_draft("b");
        register.promise("a").unwrap();
        register.promise("a").unwrap();
        assert!(matches!(register.promise("b"), Err(DraftError::Promised)));
        let refused = register.activate(1, "v2", Arc::new(2));
        assert_eq!(refused, Err(RegisterError::Promised));
        register.withdraw("b");
        assert!(
            register.activate(1, "v2", Arc::new(2)).is_err(),
            "not theirs to withdraw"
        );
        register.end_draft("a");
        assert_eq!(register.activate(1, "v2", Arc::new(2)), Ok(2));
        assert!(matches!(register.promise("b"), Err(DraftError::Moved(_))));
        assert!(matches!(register.promise("a"), Err(DraftError::Unknown)));
    }

    /// A value that looks into its register while it goes.
    struct Nosy(Option<VersionRegister<Nosy>>);

    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(register) = &self.0 {
                assert!(register.snapshot().generation() > 1);
            }
        }
    }

    #[test]
    fn no_value_is_dropped_under_the_latch() {
        let register = VersionRegister::new("v1", Nosy(None));
        let nosy = || Nosy(Some(register.clone()));
        register.activate(1, "v2", Arc::new(nosy())).unwrap();
        register.activate(2, "v3", Arc::new(nosy())).unwrap();
        register.begin_draft("t");
        register.wish("t", "v4".to_owned(), nosy()).unwrap();
        register.wish("t", "v5".to_owned(), nosy()).unwrap();
        register.seal_draft("t").unwrap();
        let late = register.wish("t", "v6".to_owned(), nosy());
        assert!(matches!(late, Err(DraftError::Sealed)));
        register.carry_out("t").unwrap();
        register.restore("t").unwrap();
        register.end_draft("t");
        register.activate(5, "end", Arc::new(Nosy(None))).unwrap();
    }
}
