//! Drafts: what a plan wants to put into a register, until it is committed.

use super::snapshot::Held;
use super::{Inner, Snapshot, VersionRegister};
use std::sync::Arc;

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

/// What a plan asks a register to hold.
pub(crate) struct Wish<T> {
    /// Under which version; None leaves the version as it is.
    pub(crate) version: Option<String>,
    /// The generation of the row that the same plan writes, if it writes one.
    pub(crate) stored: Option<u64>,
    /// None asks for the state *unloaded*.
    pub(crate) value: Option<Arc<T>>,
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
        let mut inner = self.shared.inner.lock();
        let fresh = Draft {
            base: self.kept(),
            wish: None,
            sealed: false,
            carried: None,
        };
        let draft = inner.drafts.entry(token.to_owned()).or_insert(fresh);
        draft.clone()
    }

    /// The draft as it is now.
    pub(crate) fn draft(&self, token: &str) -> Option<Draft<T>> {
        self.shared.inner.lock().drafts.get(token).cloned()
    }

    /// What the register holds now, counted as a share: for somebody who keeps it.
    fn kept(&self) -> Snapshot<T> {
        self.snapshot().clone()
    }

    /// Notes what the plan wants, instead of what it wanted before.
    pub(crate) fn wish(&self, token: &str, wish: Wish<T>) -> Result<(), DraftError<T>> {
        let kept = wish.value.clone();
        let noted = self.amend(token, |_, draft| {
            if draft.sealed {
                return Err(DraftError::Sealed);
            }
            let version = wish.version;
            let version = version.unwrap_or_else(|| draft.base.version().to_owned());
            draft.wish = Some(Snapshot::of(Arc::new(Held {
                version,
                generation: draft.base.generation(),
                stored: wish.stored,
                value: wish.value,
            })));
            Ok(())
        });
        // A value that was refused goes here, not under the latch.
        drop(kept);
        noted
    }

    /// Seals the wish.
    pub(crate) fn seal_draft(&self, token: &str) -> Result<Draft<T>, DraftError<T>> {
        self.amend(token, |_, draft| {
            draft.sealed = true;
            Ok(draft.clone())
        })
    }

    /// Unseals the wish and gives the promise back.
    pub(crate) fn unseal_draft(&self, token: &str) -> Result<(), DraftError<T>> {
        self.amend(token, |inner, draft| {
            draft.sealed = false;
            inner.withdraw(token);
            Ok(())
        })
    }

    /// Promises the next change to this draft: nobody else can change the register until the draft
    /// was carried out, restored, unsealed or ended.
    pub(crate) fn promise(&self, token: &str) -> Result<(), DraftError<T>> {
        self.amend(token, |inner, draft| {
            let now = self.snapshot();
            if now.generation() != draft.base.generation() {
                return Err(DraftError::Moved(now.clone()));
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
        self.shared.inner.lock().withdraw(token);
    }

    /// Puts the wish into the register, once.
    pub(crate) fn carry_out(&self, token: &str) -> Result<(), DraftError<T>> {
        self.amend(token, |inner, draft| {
            if draft.carried.is_some() {
                return Ok(());
            }
            let Some(wish) = &draft.wish else {
                inner.withdraw(token);
                return Ok(());
            };
            let now = self.snapshot();
            if now.generation() != draft.base.generation() {
                return Err(DraftError::Moved(now.clone()));
            }
            let ours = draft.base.generation() + 1;
            let old = self.shared.current.replace(wish.as_generation(ours));
            draft.carried = Some((Snapshot::of(old), ours));
            inner.withdraw(token);
            Ok(())
        })
    }

    /// Puts back what the wish displaced, as a later change, if the register still holds ours.
    pub(crate) fn restore(&self, token: &str) -> Result<(), DraftError<T>> {
        self.amend(token, |inner, draft| {
            inner.withdraw(token);
            let Some((old, ours)) = &draft.carried else {
                return Ok(());
            };
            let now = self.snapshot();
            if now.generation() != *ours {
                return Err(DraftError::Moved(now.clone()));
            }
            let restored = old.as_generation(ours + 1);
            draft.base = Snapshot::of(Arc::clone(&restored));
            // Ours goes with the snapshot that `amend` took before, after the latch.
            drop(self.shared.current.replace(restored));
            draft.carried = None;
            Ok(())
        })
    }

    /// Forgets the draft, and its promise with it.
    pub(crate) fn end_draft(&self, token: &str) {
        let mut inner = self.shared.inner.lock();
        inner.withdraw(token);
        let ended = inner.drafts.remove(token);
        drop(inner);
        drop(ended);
    }

    /// Changes one draft under the latch; whatever it let go of is dropped after it, for what was
    /// there before is kept until then.
    fn amend<R>(
        &self,
        token: &str,
        f: impl FnOnce(&mut Inner<T>, &mut Draft<T>) -> Result<R, DraftError<T>>,
    ) -> Result<R, DraftError<T>> {
        let mut inner = self.shared.inner.lock();
        let Some(before) = inner.drafts.get(token).cloned() else {
            return Err(DraftError::Unknown);
        };
        let current = self.kept();
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
