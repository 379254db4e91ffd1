//! The real things of one run, and the manager over them.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers of resources and plans are counted round"
)]

use super::ops::Op;
use super::plain::{Expected, Held, Life, Plan, Sandbox};
use super::thing::{Cast, Run, Thing, ensure};
use crate::support::home_in_memory;
use crate::support::scripted::{ScriptedKind, World as Script};
use planbox::conformance::{Spot, View};
use planbox::error::OpenSandboxError;
use planbox::faults::{Faults, Wrong};
use planbox::sandbox::Resource;
use planbox::{Explain, PlanId, Receipt, ResourceName, SandboxHandle, SandboxManager};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// How a plan works in one of its sandboxes: plain data, which outlives managers.
pub(super) struct Handle {
    path: Option<PathBuf>,
    token: String,
    pub(super) name: ResourceName,
}

/// A plan as it really is.
pub(super) struct Real {
    pub(super) id: PlanId,
    pub(super) handles: BTreeMap<usize, Handle>,
    pub(super) receipt: Option<Receipt>,
}

/// What a manager says to an open.
pub(super) type Opened = Result<SandboxHandle<Box<dyn Resource>>, OpenSandboxError>;

/// Real things, a manager, and the model of both.
pub(super) struct World {
    things: Vec<Thing>,
    pub(super) manager: Option<SandboxManager>,
    pub(super) script: Arc<Script>,
    pub(super) real: Vec<Held>,
    pub(super) plans: Vec<(Plan, Real)>,
    versions: u32,
    lives: usize,
    pub(super) faults: Faults,
    /// What the next step meets.
    pub(super) armed: Option<(Wrong, u64)>,
    /// How many steps met a fault.
    pub(super) struck: u64,
    home: tempfile::TempDir,
}

pub(super) fn wrong<E: Explain>(what: &str, error: &E) -> String {
    format!("{what}: {} ({error:?})", error.code())
}

impl World {
    /// A world with one real thing of each of `casts`.
    pub(super) fn new(casts: &[&Cast<'_>], plans: usize) -> Run<Self> {
        let home = home_in_memory();
        let mut things = Vec::new();
        for cast in casts {
            things.push(Thing::make(cast, home.path())?);
        }
        let real = things.iter().map(|thing| Held::new(thing.subject.spots()));
        let mut world = Self {
            real: real.collect(),
            things,
            manager: None,
            script: Script::new(),
            plans: Vec::new(),
            versions: 0,
            lives: 0,
            faults: Faults::below(home.path()).map_err(|error| error.to_string())?,
            armed: None,
            struck: 0,
            home,
        };
        world.start()?;
        for _ in 0..plans {
            let plan = world.fresh();
            world.plans.push(plan);
        }
        Ok(world)
    }

    /// Opens the store.
    fn start(&mut self) -> Run {
        self.open_store()?;
        ensure(self.manager().recovered().is_clean(), || {
            format!("recovery at the start: {:?}", self.manager().recovered())
        })
    }

    pub(super) fn open_store(&mut self) -> Run {
        let mut builder = SandboxManager::builder()
            .store(self.home.path().join("store"))
            .kind(Arc::new(ScriptedKind(Arc::clone(&self.script))));
        for thing in &self.things {
            if let Some(kind) = thing.subject.kind() {
                builder = builder.kind(kind);
            }
        }
        let manager = builder
            .open()
            .map_err(|error| wrong("open the store", &error))?;
        self.manager = Some(manager);
        Ok(())
    }

    pub(super) fn manager(&self) -> &SandboxManager {
        self.manager.as_ref().unwrap()
    }

    fn fresh(&mut self) -> (Plan, Real) {
        self.lives += 1;
        let real = Real {
            id: PlanId::new(format!("plan-{}", self.lives)).unwrap(),
            handles: BTreeMap::new(),
            receipt: None,
        };
        (Plan::new(), real)
    }

    /// Plays one step and compares everything with the model.
    pub(super) fn play(&mut self, op: Op) -> Run {
        if let Some(armed) = self.armed.take() {
            self.play_struck(op, armed)?;
            return self.is_as_the_model_says();
        }
        self.play_whole(op)?;
        self.is_as_the_model_says()
    }

    pub(super) fn play_whole(&mut self, op: Op) -> Run {
        match op {
            Op::Open { plan, resource } => self.open(plan, resource),
            Op::Change {
                plan,
                resource,
                spot,
            } => self.change(plan, resource, spot),
            Op::Meddle { resource, spot } => self.meddle(resource, spot),
            Op::Diff { plan } => self.diff(plan),
            Op::Check { plan } => self.check(plan),
            Op::Seal { plan } => self.seal(plan),
            Op::Commit { plan } => self.commit(plan, None),
            Op::CommitBeside { plan, fails } => self.commit_beside(plan, fails),
            Op::Rollback { plan } => self.rollback(plan),
            Op::Restart => self.restart(),
            Op::Recover => self.recover(),
            Op::Wrong { wrong, nth } => {
                self.armed = Some((wrong, nth));
                Ok(())
            }
        }
    }

    /// Ends every plan; nothing of any of them may be left.
    pub(super) fn end(&mut self) -> Run {
        for plan in 0..self.plans.len() {
            if self.plans[plan].0.is_live() {
                self.rollback(plan)?;
            }
        }
        self.manager().settle();
        self.is_as_the_model_says()?;
        let stats = self.manager().stats();
        let kept = (stats.plan_locks, stats.resource_locks, stats.live_plans);
        ensure(kept == (0, 0, 0), || format!("the manager keeps {stats:?}"))?;
        for thing in &self.things {
            thing.is_clean_outside()?;
        }
        Ok(())
    }

    pub(super) fn is_as_the_model_says(&mut self) -> Run {
        for (thing, held) in self.things.iter_mut().zip(&self.real) {
            let wanted = thing.wanted(&held.versions)?;
            let found = thing
                .subject
                .manifest()
                .map_err(|error| error.to_string())?;
            ensure(found == wanted, || {
                format!(
                    "{:?}\n--- wanted\n{wanted}\n--- found\n{found}",
                    thing.subject
                )
            })?;
        }
        Ok(())
    }

    pub(super) fn resource(&self, number: usize) -> usize {
        number % self.things.len()
    }

    fn spot(&self, resource: usize, spot: Spot) -> Spot {
        let spots = self.things[resource].subject.spots();
        if (spot as usize) < spots {
            spot
        } else {
            Spot::A
        }
    }

    /// A plan that is over makes way for a fresh one.
    pub(super) fn renew(&mut self, plan: usize) {
        if !self.plans[plan].0.is_live() {
            self.plans[plan] = self.fresh();
        }
    }

    fn open(&mut self, plan: usize, resource: usize) -> Run {
        let resource = self.resource(resource);
        self.renew(plan);
        let opened = self.ask_open(plan, resource);
        self.opened(plan, resource, opened)
    }

    pub(super) fn ask_open(&self, plan: usize, resource: usize) -> Opened {
        let thing = self.things[resource].subject.resource();
        self.manager().open_sandbox(&self.plans[plan].1.id, thing)
    }

    pub(super) fn opened(&mut self, plan: usize, resource: usize, opened: Opened) -> Run {
        let (model, real) = &mut self.plans[plan];
        let known = model.sandboxes.contains_key(&resource);
        if model.life == Life::Sealed {
            return ensure(opened.is_err(), || {
                "a sealed plan took a newcomer".to_owned()
            });
        }
        if model.crippled && known {
            return Ok(());
        }
        let opened = opened.map_err(|error| wrong("open", &error))?;
        let handle = Handle {
            path: opened.path().map(PathBuf::from),
            token: opened.token().to_owned(),
            name: opened.name().clone(),
        };
        if known {
            let same = real.handles[&resource].token == handle.token;
            return ensure(same, || "a second sandbox over one thing".to_owned());
        }
        real.handles.insert(resource, handle);
        let sandbox = Sandbox {
            base: self.real[resource].clone(),
            wanted: BTreeMap::new(),
        };
        model.sandboxes.insert(resource, sandbox);
        Ok(())
    }

    fn change(&mut self, plan: usize, resource: usize, spot: Spot) -> Run {
        let resource = self.resource(resource);
        let spot = self.spot(resource, spot);
        self.versions += 1;
        let (model, real) = &mut self.plans[plan];
        let Some(handle) = real.handles.get(&resource).filter(|_| model.is_live()) else {
            return Ok(());
        };
        let view = handle.view();
        let subject = &self.things[resource].subject;
        match subject.change(view, spot, self.versions) {
            Ok(()) => model.change(resource, spot, self.versions),
            Err(_) if model.life == Life::Sealed => (),
            Err(error) => return Err(format!("change: {error}")),
        }
        Ok(())
    }

    fn meddle(&mut self, resource: usize, spot: Spot) -> Run {
        let resource = self.resource(resource);
        let spot = self.spot(resource, spot);
        self.versions += 1;
        let subject = &self.things[resource].subject;
        let meddled = subject.meddle(spot, self.versions);
        meddled.map_err(|error| format!("a foreign writer is kept out: {error}"))?;
        self.real[resource].put(spot, self.versions);
        Ok(())
    }

    /// True if the plan has sandboxes and has not ended.
    pub(super) fn works(&self, plan: usize) -> bool {
        let (model, _) = &self.plans[plan];
        model.is_live() && !model.sandboxes.is_empty()
    }

    fn diff(&mut self, plan: usize) -> Run {
        if !self.works(plan) {
            return Ok(());
        }
        let (model, real) = &self.plans[plan];
        let diff = self.manager().diff(&real.id);
        let diff = diff.map_err(|error| wrong("diff", &error))?;
        if model.crippled {
            return ensure(!diff.unseen.is_empty(), || {
                "a lost value is seen".to_owned()
            });
        }
        for (resource, sandbox) in &model.sandboxes {
            let name = &real.handles[resource].name;
            let found = diff.resources.iter().find(|found| found.name == *name);
            let found = found.map(|found| found.changes.entries.len());
            let wanted = sandbox.wanted.len();
            ensure(found == Some(wanted), || {
                format!("the diff of {name} has {found:?} changes instead of {wanted}")
            })?;
            if model.life == Life::Open {
                let mut versions = sandbox.base.versions.clone();
                versions.extend(&sandbox.wanted);
                let wanted = self.things[*resource].wanted(&versions)?;
                let thing = &self.things[*resource];
                let seen = thing.subject.seen(real.handles[resource].view());
                let seen = seen.map_err(|error| error.to_string())?;
                ensure(seen == wanted, || {
                    format!("view\n--- wanted\n{wanted}\n--- seen\n{seen}")
                })?;
            }
        }
        Ok(())
    }

    fn check(&mut self, plan: usize) -> Run {
        if !self.works(plan) {
            return Ok(());
        }
        let (model, real) = &self.plans[plan];
        let checked = self.manager().check(&real.id);
        if model.crippled {
            return ensure(checked.is_err(), || "a lost value was checked".to_owned());
        }
        let checked = checked.map_err(|error| wrong("check", &error))?;
        let clean = checked.conflicts.is_empty();
        let right = match model.expects(&self.real) {
            Expected::Conflict => !clean,
            Expected::Through => clean,
            Expected::Either => true,
        };
        ensure(right, || format!("check found {:?}", checked.conflicts))
    }

    fn seal(&mut self, plan: usize) -> Run {
        if !self.works(plan) {
            return Ok(());
        }
        let sealed = self.manager().seal(&self.plans[plan].1.id);
        let (model, _) = &mut self.plans[plan];
        if model.crippled {
            return ensure(sealed.is_err(), || "a lost value was sealed".to_owned());
        }
        sealed.map_err(|error| wrong("seal", &error))?;
        model.life = Life::Sealed;
        Ok(())
    }

    fn rollback(&mut self, plan: usize) -> Run {
        let (model, real) = &self.plans[plan];
        if model.life == Life::RolledBack || model.sandboxes.is_empty() {
            return Ok(());
        }
        let outcome = self.manager().rollback_all(&real.id);
        if model.life == Life::Committed {
            return ensure(outcome.is_err(), || {
                "a committed plan was given up".to_owned()
            });
        }
        outcome.map_err(|error| wrong("rollback", &error))?;
        self.plans[plan].0.life = Life::RolledBack;
        Ok(())
    }

    fn restart(&mut self) -> Run {
        self.stop();
        self.start()
    }

    /// The process ends: values go with it.
    pub(super) fn stop(&mut self) {
        self.manager().settle();
        self.manager = None;
        for (model, _) in &mut self.plans {
            let things = &self.things;
            let volatile = |resource: &usize| things[*resource].subject.kind().is_none();
            model.crippled |= model.is_live() && model.sandboxes.keys().any(volatile);
        }
    }

    pub(super) fn recover(&mut self) -> Run {
        let report = self.manager().recover();
        let report = report.map_err(|error| wrong("recover", &error))?;
        ensure(report.is_clean(), || format!("recover: {report:?}"))
    }
}

impl Handle {
    fn view(&self) -> View<'_> {
        View {
            path: self.path.as_deref(),
            token: &self.token,
        }
    }
}
