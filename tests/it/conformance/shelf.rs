//! A participant in memory with switchable defects: numbers on a shelf, worked on at desks.
//!
//! Shelf and desks outlive every sandbox, as the files of a real participant do, so its sandboxes
//! can be opened again from their records.

#![expect(clippy::indexing_slicing, reason = "a shelf has all its numbers")]

use super::broken::Defect;
use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Kind, Marker, Outcome, Place, Redo, Resource,
    Sandbox, Sealed, Stamp, Vote, Work,
};
use planbox::{Conflict, Fault, ParticipantError, ResourceKey, ResourceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub(super) type Numbers = BTreeMap<String, u32>;

/// What a plan works on.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) base: Numbers,
    pub(super) view: Numbers,
    pub(super) sealed: Option<Numbers>,
    /// What was carried out and not taken back.
    done: BTreeSet<String>,
}

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) real: Numbers,
    pub(super) desks: BTreeMap<String, Desk>,
    pub(super) stamps: Vec<Stamp>,
    denied: Vec<Stamp>,
    pub(super) neighbour: u32,
    pub(super) litter: u32,
}

/// The shelf.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    state: Arc<Mutex<State>>,
    identity: Identity,
    marker: bool,
    pub(super) defect: Option<Defect>,
}

/// A sound shelf.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that the suite asks for"
)]
pub(crate) fn shelf(_home: &Path) -> Tried<Box<dyn Subject>> {
    Ok(Box::new(Shelf::new(None, false)))
}

impl Shelf {
    pub(crate) fn new(defect: Option<Defect>, marker: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let shelf = Self {
            state: Arc::default(),
            identity: Identity {
                key: ResourceKey::new("shelf", count),
                enclosing: Vec::new(),
                tree: None,
            },
            marker,
            defect,
        };
        let numbers = Spot::ALL.map(|spot| (spot.word().to_owned(), 0));
        shelf.state().real = numbers.into();
        shelf
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn sandbox(&self, token: &str) -> Box<dyn Sandbox> {
        Box::new(ShelfSandbox {
            shelf: self.clone(),
            token: token.to_owned(),
            prepared: false,
        })
    }
}

fn told(numbers: &Numbers) -> String {
    let lines = numbers
        .iter()
        .map(|(key, number)| format!("{key}={number}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Subject for Shelf {
    fn resource(&self) -> Box<dyn Resource> {
        Box::new(self.clone())
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(self.clone()))
    }

    fn name_of(&self, spot: Spot) -> String {
        spot.word().to_owned()
    }

    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()> {
        let mut state = self.state();
        let desk = state.desks.get_mut(view.token).ok_or("no such desk")?;
        desk.view.insert(spot.word().to_owned(), version);
        Ok(())
    }

    fn meddle(&self, spot: Spot, version: u32) -> Tried<()> {
        self.state().real.insert(spot.word().to_owned(), version);
        Ok(())
    }

    fn manifest(&self) -> Tried<String> {
        Ok(told(&self.state().real))
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        let state = self.state();
        let desk = state.desks.get(view.token).ok_or("no such desk")?;
        let follows = self.has(Defect::ViewFollows) && desk.view == desk.base;
        Ok(told(if follows { &state.real } else { &desk.view }))
    }

    fn surroundings(&self) -> Tried<String> {
        Ok(self.state().neighbour.to_string())
    }

    fn leftovers(&self) -> Tried<String> {
        let state = self.state();
        Ok(format!("{:?} {}", state.desks.keys(), state.litter))
    }
}

impl Resource for Shelf {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    fn name(&self) -> Option<&ResourceName> {
        None
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(self.identity.clone())
    }

    fn open(&self, place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        let mut state = self.state();
        let desk = Desk {
            base: state.real.clone(),
            view: state.real.clone(),
            ..Desk::default()
        };
        state.desks.insert(place.token.clone(), desk);
        Ok(self.sandbox(&place.token))
    }
}

/// What is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    desk: String,
}

/// What is to be carried out: only the numbers that change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) from: Numbers,
    pub(super) to: Numbers,
}

impl Kind for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn reopen(&self, record: &str, place: &Place) -> Outcome<Box<dyn Sandbox>> {
        let record: Record = match serde_json::from_str(record) {
            Ok(record) => record,
            Err(_) if self.has(Defect::RecordIsNoJson) && record == place.token => Record {
                desk: record.to_owned(),
            },
            Err(error) if self.has(Defect::PanicsOnDamage) => panic!("planted: {error}"),
            Err(error) => return Err(ParticipantError::new(Fault::Corrupt, error.to_string())),
        };
        if record.desk != place.token {
            return Err(ParticipantError::new(Fault::Corrupt, "another desk"));
        }
        Ok(self.sandbox(&record.desk))
    }
}

/// A desk, and what a plan does at it.
#[derive(Debug)]
pub(super) struct ShelfSandbox {
    pub(super) shelf: Shelf,
    token: String,
    /// Prepared by this very sandbox.
    prepared: bool,
}

impl Drop for ShelfSandbox {
    fn drop(&mut self) {
        if self.shelf.has(Defect::DropDeletesWork)
            && let Some(desk) = self.shelf.state().desks.get_mut(&self.token)
            && desk.sealed.is_none()
        {
            desk.view = desk.base.clone();
        }
    }
}

fn changes(base: &Numbers, now: &Numbers) -> Changes {
    let mut changes = Changes::default();
    for (key, number) in now {
        if base.get(key) != Some(number) {
            let change = Change::new(key, Action::Modified, "number", 4);
            changes.entries.push(change);
        }
    }
    changes
}

impl ShelfSandbox {
    pub(super) fn desk<T>(&self, f: impl FnOnce(&mut Desk) -> T) -> Outcome<T> {
        let mut state = self.shelf.state();
        let desk = state.desks.get_mut(&self.token);
        desk.map(f)
            .ok_or_else(|| ParticipantError::new(Fault::Lost, "the desk is gone"))
    }

    fn has(&self, defect: Defect) -> bool {
        self.shelf.has(defect)
    }

    fn orders(redo: &Redo) -> Outcome<Orders> {
        serde_json::from_str(&redo.0)
            .map_err(|error| ParticipantError::new(Fault::Corrupt, error.to_string()))
    }

    /// Every number that is neither as it was nor as it is to be.
    fn foreign(&self, orders: &Orders) -> Vec<Conflict> {
        let state = self.shelf.state();
        let mut found = Vec::new();
        for (key, to) in &orders.to {
            let (from, now) = (orders.from[key], state.real[key]);
            if now != from && now != *to {
                let (from, now, to) = (from.to_string(), now.to_string(), to.to_string());
                found.push(Conflict::new(key.clone(), from, now, to));
            }
        }
        found
    }

    /// Puts a number on the shelf and notes whether it is the plan's, in one step.
    fn put(&self, key: &str, number: u32, ours: bool) {
        let mut state = self.shelf.state();
        state.real.insert(key.to_owned(), number);
        if let Some(desk) = state.desks.get_mut(&self.token) {
            if ours {
                desk.done.insert(key.to_owned());
            } else {
                desk.done.remove(key);
            }
        }
    }
}

impl Sandbox for ShelfSandbox {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    fn identity(&self) -> &Identity {
        &self.shelf.identity
    }

    fn target(&self) -> String {
        "a shelf".to_owned()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "memory"
    }

    fn record(&self) -> String {
        if self.has(Defect::RecordIsNoJson) {
            return self.token.clone();
        }
        let desk = self.token.clone();
        serde_json::to_string(&Record { desk }).unwrap()
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        if self.has(Defect::DiffIsBlind) {
            return Ok(Changes::default());
        }
        self.desk(|desk| changes(&desk.base, desk.sealed.as_ref().unwrap_or(&desk.view)))
    }

    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        let thaws = self.has(Defect::SealDoesNotFreeze);
        self.desk(|desk| {
            let view = desk.view.clone();
            if desk.sealed.is_none() || thaws {
                desk.sealed = Some(view);
            }
            let sealed = desk.sealed.as_ref().unwrap();
            Sealed {
                changes: changes(&desk.base, sealed),
                digest: blake3::hash(told(sealed).as_bytes()).to_hex().to_string(),
            }
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        self.desk(|desk| desk.sealed = None)
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        let (base, sealed) = self.desk(|desk| (desk.base.clone(), desk.sealed.clone().unwrap()))?;
        let changes = changes(&base, &sealed);
        if changes.is_empty() && !self.has(Defect::NeverReadOnly) {
            return Ok(Vote::ReadOnly);
        }
        let takes_all = self.has(Defect::WritesEverything);
        let touched = |key: &String| takes_all || base[key] != sealed[key];
        let pick = |numbers: &Numbers| -> Numbers {
            let picked = numbers.iter().filter(|(key, _)| touched(key));
            picked.map(|(key, number)| (key.clone(), *number)).collect()
        };
        let mut orders = Orders {
            from: pick(&base),
            to: pick(&sealed),
        };
        if takes_all {
            orders.from = self.shelf.state().real.clone();
        }
        let real = self.shelf.state().real.clone();
        let mut found = Vec::new();
        for change in &changes.entries {
            let (key, now) = (&change.path, real[&change.path]);
            if now != base[key] {
                let (base, ours) = (base[key].to_string(), sealed[key].to_string());
                found.push(Conflict::new(key.clone(), base, now.to_string(), ours));
            }
        }
        if !found.is_empty() && !self.has(Defect::OverlooksConflicts) {
            return Ok(Vote::Conflict(found));
        }
        if self.has(Defect::PrepareWrites) {
            self.shelf.state().real.extend(orders.to.clone());
        }
        self.prepared = true;
        Ok(Vote::Ready {
            redo: Redo(serde_json::to_string(&orders).unwrap()),
            changes,
        })
    }

    fn marker(&mut self) -> Option<&mut dyn Marker> {
        if self.shelf.marker {
            return Some(self);
        }
        None
    }

    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let orders = Self::orders(redo)?;
        if self.has(Defect::AppliesOnlyItsOwn) && !self.prepared {
            return Ok(());
        }
        if self.has(Defect::TouchesTheNeighbour) {
            self.shelf.state().neighbour += 1;
        }
        let done = self.desk(|desk| desk.done.clone())?;
        let forgets = self.has(Defect::ForgetsWhatIsDone);
        let twice = self.has(Defect::AppliesTwice);
        let mut foreign = self.foreign(&orders);
        foreign.retain(|conflict| forgets || !done.contains(&conflict.place));
        if !foreign.is_empty() {
            return Err(ParticipantError::conflict(foreign));
        }
        for (key, to) in &orders.to {
            drop(work.step(1, 0, "numbers"));
            match (done.contains(key), twice) {
                (false, _) => self.put(key, *to, true),
                (true, false) => (),
                (true, true) => self.put(key, to + 1, true),
            }
        }
        if self.has(Defect::AppliesTooMuch) && orders.to.len() == 2 {
            self.put("c", 9, true);
        }
        Ok(())
    }

    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let orders = Self::orders(redo)?;
        if self.has(Defect::TakeBackDoesNothing) {
            return Ok(());
        }
        let done = self.desk(|desk| desk.done.clone())?;
        let mut foreign = self.foreign(&orders);
        foreign.retain(|conflict| done.contains(&conflict.place));
        let overwrites = self.has(Defect::TakeBackOverwrites);
        for (key, from) in &orders.from {
            drop(work.step(1, 0, "numbers"));
            let theirs = foreign.iter().any(|conflict| &conflict.place == key);
            if done.contains(key) && (!theirs || overwrites) {
                self.put(key, *from, false);
            }
        }
        if overwrites || work.keeps_theirs() {
            foreign.clear();
        }
        if foreign.is_empty() {
            return Ok(());
        }
        let mut error = ParticipantError::new(Fault::Hazard, "theirs is kept");
        error.conflicts = foreign;
        Err(error)
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        let mut state = self.shelf.state();
        state.desks.remove(&self.token);
        if self.has(Defect::DiscardLeavesLitter) {
            state.litter += 1;
        }
        Ok(())
    }
}

impl Marker for ShelfSandbox {
    fn commit(&mut self, redo: &Redo, stamp: &Stamp) -> Outcome<()> {
        let orders = Self::orders(redo)?;
        let foreign = self.foreign(&orders);
        let mut state = self.shelf.state();
        if state.stamps.contains(stamp) {
            return Ok(());
        }
        let denied = state.denied.contains(stamp) && !self.has(Defect::CommitsWhatWasDenied);
        if denied {
            return Err(ParticipantError::new(
                Fault::Refused,
                "it was denied before",
            ));
        }
        if !foreign.is_empty() {
            return Err(ParticipantError::conflict(foreign));
        }
        state.real.extend(orders.to);
        state.stamps.push(stamp.clone());
        Ok(())
    }

    fn probe(&mut self, _redo: &Redo, stamp: &Stamp) -> Outcome<bool> {
        let mut state = self.shelf.state();
        if state.stamps.contains(stamp) {
            return Ok(!self.has(Defect::ProbeDenies));
        }
        state.denied.push(stamp.clone());
        Ok(self.has(Defect::ProbeAffirms))
    }
}
