//! One scenario: a real thing, a place for a sandbox over it, and the steps of a plan.

use super::scratch::{Scratch, names};
use super::stop::{Step, Stop, done, ensure, failed, same, tried};
use super::{Make, Spot, Subject, View};
use crate::error::Fault;
use crate::id::{Epoch, PlanId};
use crate::sandbox::{Place, Redo, Sandbox, Stamp, Vote, Work};
use std::path::PathBuf;

/// Which record a sandbox is opened again from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// The one it had when it was opened: what the journal has during a commit.
    AtOpen,
    /// The one it had last.
    Latest,
}

impl Memory {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::AtOpen, Self::Latest];
}

/// A sandbox and the record it had when it was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) sandbox: Box<dyn Sandbox>,
    at_open: String,
}

impl Opened {
    /// Seals the sandbox and has it prepare, under its guards.
    pub(super) fn vote(&mut self) -> Step<Vote> {
        let work = Work::silent();
        drop(done("seal", self.sandbox.seal(&work))?);
        let guards = done("guards", self.sandbox.guards())?;
        let vote = done("prepare", self.sandbox.prepare(&work));
        drop(guards);
        vote
    }

    /// As [`Opened::vote`], for a sandbox that must be ready.
    pub(super) fn ready(&mut self) -> Step<Redo> {
        match self.vote()? {
            Vote::Ready { redo, changes } => {
                ensure(!changes.is_empty(), || {
                    "prepare is ready, but lists no change".to_owned()
                })?;
                Ok(redo)
            }
            Vote::ReadOnly => failed("prepare says that nothing changed"),
            Vote::Conflict(conflicts) => failed(format!(
                "prepare found a conflict with nobody: {conflicts:?}"
            )),
        }
    }

    /// Carries out `redo`, by apply or by the marker's own commit.
    pub(super) fn carry(&mut self, redo: &Redo) -> Step {
        let stamp = stamp_of(1)?;
        if let Some(marker) = self.sandbox.marker() {
            return done("the marker's commit", marker.commit(redo, &stamp));
        }
        done("apply", self.sandbox.apply(redo, &Work::silent()))
    }

    /// Seal, prepare, and carry out.
    pub(super) fn commit(&mut self) -> Step<Redo> {
        let redo = self.ready()?;
        self.carry(&redo)?;
        Ok(redo)
    }

    /// Settles what was carried out and discards the sandbox.
    pub(super) fn wind_up(mut self, redo: &Redo) -> Step {
        if self.sandbox.marker().is_none() {
            done("settle", self.sandbox.settle(redo))?;
        }
        self.discard()
    }

    /// Discards the sandbox.
    pub(super) fn discard(mut self) -> Step {
        done("discard", self.sandbox.discard(&Work::silent()))
    }
}

/// What a marker writes down.
pub(super) fn stamp_of(epoch: u64) -> Step<Stamp> {
    let plan = PlanId::new("conformance").map_err(|error| Stop::Failed(error.to_string()))?;
    Ok(Stamp {
        plan,
        epoch: Epoch(epoch),
    })
}

/// A real thing and a place.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) subject: Box<dyn Subject>,
    pub(super) place: Place,
    /// How everything was before anything was opened.
    pub(super) old: String,
    leftovers: String,
    surroundings: String,
    /// Last, so that the subject goes before its files.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(
            dead_code,
            reason = "held for its drop; only a durable store is put in it"
        )
    )]
    pub(super) scratch: Scratch,
}

impl Rig {
    /// A fresh real thing.
    pub(super) fn new(make: &Make<'_>) -> Step<Self> {
        let scratch = tried("make a scratch directory", Scratch::new())?;
        let home = tried("make a home", scratch.make("home"))?;
        let subject = tried("make a real thing", make(&home))?;
        let dir = tried("make a place", scratch.make("place"))?;
        Ok(Self {
            old: tried("read the real thing", subject.manifest())?,
            leftovers: tried("list the leftovers", subject.leftovers())?,
            surroundings: tried("look around", subject.surroundings())?,
            place: Place {
                dir,
                token: crate::clock::fresh_token(),
                label: "conformance".to_owned(),
            },
            subject,
            scratch,
        })
    }

    /// Opens the sandbox.
    pub(super) fn open(&self) -> Step<Opened> {
        let resource = self.subject.resource();
        let sandbox = done("open", resource.open(&self.place, &Work::silent()))?;
        let at_open = sandbox.record();
        Ok(Opened { sandbox, at_open })
    }

    /// Opens the sandbox and puts `spots` to version 1 in its view.
    pub(super) fn opened_with(&self, spots: &[Spot]) -> Step<Opened> {
        let opened = self.open()?;
        for spot in spots {
            self.change(&opened, *spot, 1)?;
        }
        Ok(opened)
    }

    /// A process that died: the sandbox is dropped without a call and opened again. One that cannot
    /// be opened again stays as it is.
    pub(super) fn again(&self, opened: Opened, memory: Memory) -> Step<Opened> {
        let Some(kind) = self.subject.kind() else {
            return Ok(opened);
        };
        let Opened { sandbox, at_open } = opened;
        let record = match memory {
            Memory::AtOpen => at_open.clone(),
            Memory::Latest => sandbox.record(),
        };
        drop(sandbox);
        let sandbox = done("reopen", kind.reopen(&record, &self.place))?;
        Ok(Opened { sandbox, at_open })
    }

    /// As [`Rig::again`], for a sandbox that may be gone and say so.
    pub(super) fn again_or_gone(&self, opened: Opened) -> Step<Option<Opened>> {
        let Some(kind) = self.subject.kind() else {
            return Ok(Some(opened));
        };
        let Opened { sandbox, at_open } = opened;
        let record = sandbox.record();
        drop(sandbox);
        match kind.reopen(&record, &self.place) {
            Ok(sandbox) => Ok(Some(Opened { sandbox, at_open })),
            Err(error) if error.fault == Fault::Lost => Ok(None),
            Err(error) => done("reopen", Err(error)),
        }
    }

    /// The view, as the subject needs it.
    pub(super) fn view<'a>(&'a self, path: Option<&'a PathBuf>) -> View<'a> {
        View {
            path: path.map(PathBuf::as_path),
            token: &self.place.token,
        }
    }

    /// The plan changes its view.
    pub(super) fn change(&self, opened: &Opened, spot: Spot, version: u32) -> Step {
        let path = opened.sandbox.path().map(PathBuf::from);
        let changed = self.subject.change(self.view(path.as_ref()), spot, version);
        tried("change the view", changed)
    }

    /// The plan tries to change its view, which may be sealed.
    pub(super) fn try_change(&self, opened: &Opened, spot: Spot, version: u32) {
        drop(self.change(opened, spot, version));
    }

    /// What the plan sees.
    pub(super) fn seen(&self, opened: &Opened) -> Step<String> {
        let path = opened.sandbox.path().map(PathBuf::from);
        tried("read the view", self.subject.seen(self.view(path.as_ref())))
    }

    /// Somebody else changes the real thing.
    pub(super) fn meddle(&self, spot: Spot, version: u32) -> Step {
        tried(
            "change the real thing as a foreign writer",
            self.subject.meddle(spot, version),
        )
    }

    /// The real thing.
    pub(super) fn real(&self) -> Step<String> {
        tried("read the real thing", self.subject.manifest())
    }

    /// The second spot, for rules that need one.
    pub(super) fn second(&self) -> Step<Spot> {
        if self.subject.spots() < 2 {
            return Err(Stop::NotApplicable("it changes only as a whole"));
        }
        Ok(Spot::B)
    }

    /// All spots it has.
    pub(super) fn spots(&self) -> Vec<Spot> {
        Spot::ALL.into_iter().take(self.subject.spots()).collect()
    }

    /// Nothing that the participant made is left.
    pub(super) fn nothing_left(&self) -> Step {
        let place = tried("list the place", names(&self.place.dir))?;
        same("the place is not empty after discard", &place, "")?;
        let now = tried("list the leftovers", self.subject.leftovers())?;
        same("something is left after discard", &now, &self.leftovers)
    }

    /// The real thing is as `wanted`, and sound.
    pub(super) fn is(&self, when: &str, wanted: &str) -> Step {
        same(&format!("the real thing {when}"), &self.real()?, wanted)?;
        tried(&format!("the real thing {when}"), self.subject.examine())
    }

    /// The real thing is as one of two it may be, and sound.
    pub(super) fn is_one_of(&self, when: &str, allowed: &[String; 2]) -> Step {
        let [one, other] = allowed;
        let now = self.real()?;
        self.is(when, if now == *other { other } else { one })
    }

    /// The real thing is as it was at the start, and sound.
    pub(super) fn is_old(&self, when: &str) -> Step {
        self.is(when, &self.old)
    }

    /// Nothing around the real thing has changed.
    pub(super) fn is_confined(&self, when: &str) -> Step {
        let now = tried("look around", self.subject.surroundings())?;
        let what = format!("something outside was touched {when}");
        same(&what, &now, &self.surroundings)
    }
}

/// What a real thing is on which somebody made `changes`, one after the other: the twin.
pub(super) fn twin(make: &Make<'_>, changes: &[(Spot, u32)]) -> Step<String> {
    let rig = Rig::new(make)?;
    for (spot, version) in changes {
        rig.meddle(*spot, *version)?;
    }
    let now = rig.real()?;
    ensure(changes.is_empty() || now != rig.old, || {
        "the manifest does not show the change of a foreign writer".to_owned()
    })?;
    Ok(now)
}

/// As [`twin`], with each of `spots` at `version`.
pub(super) fn twin_at(make: &Make<'_>, spots: &[Spot], version: u32) -> Step<String> {
    let changes: Vec<_> = spots.iter().map(|spot| (*spot, version)).collect();
    twin(make, &changes)
}
