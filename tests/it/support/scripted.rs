//! A participant that does what a test wants, when it wants it.
//!
//! Its "real thing" is a number in a [`World`]; a plan adds one to it. A test hangs a hook into the
//! world that is called at every step with the step's name and the participant's, and may wait
//! there, fail or panic.

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Kind, Marker, Outcome, Place, Redo, Resource,
    Sandbox, Sealed, Stamp, Vote, Work,
};
use planbox::{Conflict, Fault, ParticipantError, ResourceKey, ResourceName};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

type Hook = Arc<dyn Fn(&str, &str) -> Outcome<()> + Send + Sync>;

/// The real things, and everything that was done to them.
#[derive(Default)]
pub(crate) struct World {
    real: Mutex<BTreeMap<String, u64>>,
    /// Every step of every participant so far: its name, and whose it was.
    pub(crate) calls: Mutex<Vec<(String, String)>>,
    hook: Mutex<Option<Hook>>,
    guards: Mutex<BTreeMap<String, (ResourceKey, bool)>>,
    /// What plans add to a number, if it is not 1; none if their work is lost.
    pub(crate) work: Mutex<BTreeMap<String, Option<u64>>>,
    /// A seal is never compared with the work that is there: for a control.
    pub(crate) trusts: AtomicBool,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Every step of every participant runs `hook` first.
    pub(crate) fn hook(&self, hook: impl Fn(&str, &str) -> Outcome<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn real(&self, id: &str) -> u64 {
        *self.reals().entry(id.to_owned()).or_default()
    }

    pub(crate) fn set_real(&self, id: &str, value: u64) {
        self.reals().insert(id.to_owned(), value);
    }

    /// A commit locks `key` for the number `id`, alone or shared.
    pub(crate) fn guard(&self, id: &str, key: ResourceKey, shared: bool) {
        let mut guards = self.guards.lock().unwrap();
        guards.insert(id.to_owned(), (key, shared));
    }

    /// The work that is there, if a seal may stand on it.
    fn sealable(&self, id: &str, sealed: Option<u64>) -> Option<u64> {
        let found = self.work.lock().unwrap().get(id).copied();
        let found = found.unwrap_or(Some(1));
        if self.trusts.load(Ordering::SeqCst) {
            return found.or(Some(0));
        }
        found.filter(|found| sealed.is_none_or(|sealed| sealed == *found))
    }

    fn reals(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.real.lock().unwrap()
    }

    /// How often `step` ran, over all participants.
    pub(crate) fn count(&self, step: &str) -> usize {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(name, _)| name == step)
            .count()
    }

    fn pass(&self, step: &str, id: &str) -> Outcome<()> {
        self.calls
            .lock()
            .unwrap()
            .push((step.to_owned(), id.to_owned()));
        let hook = self.hook.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(step, id))
    }
}

/// The resource: the number called `id` in a world.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    id: String,
    name: ResourceName,
    world: Arc<World>,
    volatile: bool,
    marker: bool,
}

impl Scripted {
    pub(crate) fn new(world: &Arc<World>, id: &str) -> Self {
        let name = ResourceName::new(id).unwrap();
        Self {
            id: id.to_owned(),
            name,
            world: Arc::clone(world),
            volatile: false,
            marker: false,
        }
    }

    /// The same resource as one whose own commit decides for the plan.
    pub(crate) fn marker(mut self) -> Self {
        self.marker = true;
        self
    }

    /// The same resource as one that dies with its process.
    pub(crate) fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    fn sandbox(&self, base: u64) -> ScriptedSandbox {
        let key = ResourceKey::new("scripted", &self.id);
        ScriptedSandbox {
            id: self.id.clone(),
            base,
            sealed: None,
            volatile: self.volatile,
            marker: self.marker,
            identity: Identity {
                key,
                enclosing: Vec::new(),
                tree: None,
            },
            world: Arc::clone(&self.world),
        }
    }
}

impl Resource for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn name(&self) -> Option<&ResourceName> {
        Some(&self.name)
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(Identity {
            key: ResourceKey::new("scripted", &self.id),
            enclosing: Vec::new(),
            tree: None,
        })
    }

    fn open(&self, _place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        self.world.pass("open", &self.id)?;
        Ok(Box::new(self.sandbox(self.world.real(&self.id))))
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }
}

/// Opens scripted sandboxes again, over one world.
#[derive(Debug)]
pub(crate) struct ScriptedKind(pub(crate) Arc<World>);

impl Kind for ScriptedKind {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn reopen(&self, record: &str, _place: &Place) -> Outcome<Box<dyn Sandbox>> {
        self.0.pass("reopen", record)?;
        let (id, base) = record.split_once('=').unwrap();
        let (base, sealed) = base
            .split_once('+')
            .map_or((base, None), |(base, sealed)| (base, Some(sealed)));
        let mut scripted = Scripted::new(&self.0, id);
        scripted.marker = base.contains('!');
        let mut sandbox = scripted.sandbox(base.trim_end_matches('!').parse().unwrap());
        sandbox.sealed = sealed.map(|sealed| sealed.parse().unwrap_or(1));
        Ok(Box::new(sandbox))
    }
}

#[derive(Debug)]
struct ScriptedSandbox {
    id: String,
    base: u64,
    /// What is added, from the seal on.
    sealed: Option<u64>,
    volatile: bool,
    marker: bool,
    identity: Identity,
    world: Arc<World>,
}

impl ScriptedSandbox {
    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        changes
            .entries
            .push(Change::new(&self.id, Action::Modified, "number", 8));
        changes
    }

    fn redo(&self) -> Redo {
        let added = self.sealed.unwrap_or(1);
        Redo(format!("{}>{}", self.base, self.base + added))
    }
}

impl Sandbox for ScriptedSandbox {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        self.id.clone()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "scripted"
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }

    fn record(&self) -> String {
        let mark = if self.marker { "!" } else { "" };
        let seal = match self.sealed {
            None => String::new(),
            Some(1) => "+".to_owned(),
            Some(added) => format!("+{added}"),
        };
        format!("{}={}{mark}{seal}", self.id, self.base)
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        self.world.pass("diff", &self.id)?;
        Ok(self.changes())
    }

    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        self.world.pass("seal", &self.id)?;
        let sealed = self.world.sealable(&self.id, self.sealed);
        let lost =
            || ParticipantError::new(Fault::Lost, "the work is gone, or not what was sealed");
        self.sealed = Some(sealed.ok_or_else(lost)?);
        Ok(Sealed {
            changes: self.changes(),
            digest: self.record(),
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        self.sealed = None;
        self.world.pass("unseal", &self.id)
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        self.world.pass("guards", &self.id)?;
        let guards = self.world.guards.lock().unwrap();
        let guard = guards.get(&self.id).map(|(key, shared)| Guard {
            key: key.clone(),
            file: None,
            shared: *shared,
        });
        Ok(guard.into_iter().collect())
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        self.world.pass("prepare", &self.id)?;
        assert!(self.sealed.is_some(), "prepare comes after seal");
        if self.sealed == Some(0) {
            return Ok(Vote::ReadOnly);
        }
        let now = self.world.real(&self.id);
        if now != self.base {
            let conflict = Conflict::new(
                self.id.clone(),
                self.base.to_string(),
                now.to_string(),
                (self.base + 1).to_string(),
            );
            return Ok(Vote::Conflict(vec![conflict]));
        }
        Ok(Vote::Ready {
            redo: self.redo(),
            changes: self.changes(),
        })
    }

    fn stand_down(&mut self) {
        self.world.pass("stand_down", &self.id).unwrap();
    }

    fn marker(&mut self) -> Option<&mut dyn Marker> {
        if self.marker { Some(self) } else { None }
    }

    fn apply(&mut self, redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        self.world.pass("apply", &self.id)?;
        let (from, to) = redo.0.split_once('>').unwrap();
        let now = self.world.real(&self.id).to_string();
        if now == to {
            return Ok(());
        }
        if now != from {
            return Err(ParticipantError::new(
                Fault::Conflict,
                "somebody else was there",
            ));
        }
        self.world.set_real(&self.id, to.parse().unwrap());
        self.world.pass("applied", &self.id)
    }

    fn take_back(&mut self, redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        self.world.pass("take_back", &self.id)?;
        let (from, to) = redo.0.split_once('>').unwrap();
        if self.world.real(&self.id).to_string() == to {
            self.world.set_real(&self.id, from.parse().unwrap());
        }
        Ok(())
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        self.world.pass("settle", &self.id)
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        self.world.pass("discard", &self.id)
    }
}

/// The stamp of a committed marker is the number that it stands for, with the epoch beside it.
impl Marker for ScriptedSandbox {
    fn commit(&mut self, redo: &Redo, stamp: &Stamp) -> Outcome<()> {
        self.world.pass("commit", &self.id)?;
        let (_, to) = redo.0.split_once('>').unwrap();
        self.world.set_real(&self.id, to.parse().unwrap());
        self.world
            .set_real(&format!("{}@{}", self.id, stamp.plan), stamp.epoch.0);
        self.world.pass("committed", &self.id)
    }

    fn probe(&mut self, _redo: &Redo, stamp: &Stamp) -> Outcome<bool> {
        self.world.pass("probe", &self.id)?;
        let stamped = self.world.real(&format!("{}@{}", self.id, stamp.plan));
        Ok(stamped == stamp.epoch.0)
    }
}
