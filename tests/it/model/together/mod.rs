//! Callers on threads that start together, and a plain model that their histories are held to.
//!
//! Two plans over two directories and a value are opened and written to. Then two or three callers
//! open, write, commit, roll back, ask and sweep at the same time. What each asked and was told is
//! recorded; some order of the calls that overlap must explain every answer, and what the real
//! things hold in the end, one call after the other. In that order **a plan that is being committed,
//! or is over, takes no newcomers**.
//!
//! What is not promised is not asked for. A plan's tools are quiet while it is sealed, so each plan
//! is written to in one place only while others call, and a history has such writes or questions for
//! the status, which says "open" until a commit is decided, but not both; a reader may see one real
//! thing new and another one old while a commit is applied, so only one thing is opened by callers.
//!
//! In other histories something goes wrong on the way, as the seed says (`planted.rs`). A commit that
//! failed changes nothing and may be tried again; what is in doubt is ended by whoever comes next; the
//! failure of one plan is told to callers of that plan only.
//!
//! Each plan also has a participant that waits, whenever it is sealed, until another caller asks
//! something: callers do meet.

mod ending;

use super::planted::{Planted, is_planted, with_recoveries};
use super::sequential::{Ask, PLANS, Phase, PlainWorld, THINGS, Told, VALUE};
use crate::support::home_in_memory;
use crate::support::scripted::{Scripted, ScriptedKind, World as Script};
use crate::support::seeds::{self, Dice};
use planbox::error::{CommitError, OpenSandboxError, RecoverError, RollbackError};
use planbox::{
    Directory, Explain as _, GcOptions, ParticipantError, PlanId, PlanState, SandboxManager, Value,
    VersionRegister,
};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

/// Histories in an ordinary run.
const CASES: u64 = 60;

/// Sets the draws of what goes wrong apart from those of what is asked.
const FAULTS: u64 = 0x6661_756c_7473;

/// Seeds that failed once: they are played first.
const REGRESSIONS: &str = include_str!("../together.txt");

/// What callers open while others commit.
const OPENED: usize = 1;

/// Which histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sound,
    /// Things go wrong on the way.
    Faulty,
    WithoutPlanLock,
    /// Things go wrong on the way, and nothing is taken back.
    WithoutTakeBack,
}

type History = LinearizabilityTester<usize, PlainWorld>;

/// A path, or the token of a value.
type View = (Option<PathBuf>, String);

/// Real things, a manager over them, and what happened.
struct Stage {
    home: tempfile::TempDir,
    manager: SandboxManager,
    value: Value<u32>,
    /// Where each plan works: a path, or the token of a value.
    views: Mutex<BTreeMap<(usize, usize), View>>,
    history: Mutex<History>,
    /// Everything that was answered.
    told: Mutex<Vec<(Ask, Told)>>,
    planted: Arc<Planted>,
    versions: AtomicU32,
    callers: Arc<Callers>,
    script: Arc<Script>,
}

/// The callers that run at the same time.
#[derive(Default)]
struct Callers {
    /// How many are not done.
    left: AtomicUsize,
    /// How many are asking something right now.
    asking: AtomicUsize,
}

impl Callers {
    /// Waits until somebody else asks something, too, and lets them; not if nobody else will.
    fn meet(&self) {
        while self.left.load(Ordering::SeqCst) > 1 && self.asking.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        for _ in 0..20 {
            std::thread::yield_now();
        }
    }
}

pub(super) fn plan(number: usize) -> PlanId {
    PlanId::new(format!("plan-{number}")).unwrap()
}

fn version_in(root: &Path) -> Option<u32> {
    fs::read_to_string(root.join("file")).ok()?.parse().ok()
}

impl Stage {
    fn new(mode: Mode, planted: Planted) -> Self {
        let home = home_in_memory();
        for thing in 0..VALUE {
            let root = home.path().join(format!("real-{thing}"));
            fs::create_dir(&root).unwrap();
            write!(File::create(root.join("file")).unwrap(), "0").unwrap();
        }
        let (script, callers) = (Script::new(), Arc::new(Callers::default()));
        let (met, planted) = (Arc::clone(&callers), Arc::new(planted));
        let wrong = Arc::clone(&planted);
        script.hook(move |step, id| {
            if step == "seal" {
                met.meet();
            }
            wrong.pass(step, id)
        });
        let locked = mode != Mode::WithoutPlanLock;
        let builder = SandboxManager::builder()
            .store(home.path().join("store"))
            .kind(Arc::new(ScriptedKind(Arc::clone(&script))))
            .without(|without| {
                without.plan_lock = !locked;
                without.take_back = mode == Mode::WithoutTakeBack;
            });
        // The lease of a store would still keep the callers apart.
        let manager = if locked {
            builder.open().unwrap()
        } else {
            builder.in_memory()
        };
        Self {
            manager,
            value: Value::of(&VersionRegister::new("0", 0)),
            views: Mutex::default(),
            history: Mutex::new(History::new(PlainWorld::new())),
            told: Mutex::default(),
            planted,
            versions: AtomicU32::new(0),
            callers,
            script,
            home,
        }
    }

    fn real(&self, thing: usize) -> PathBuf {
        self.home.path().join(format!("real-{thing}"))
    }

    fn open(&self, number: usize, thing: usize) -> Told {
        let id = plan(number);
        let opened = if thing == VALUE {
            let opened = self.manager.open_sandbox(&id, self.value.clone());
            opened.map(|sandbox| (None, sandbox.token().to_owned()))
        } else {
            let opened = self
                .manager
                .open_sandbox(&id, Directory::at(self.real(thing)));
            opened.map(|sandbox| (Some(sandbox.path().to_owned()), String::new()))
        };
        match opened {
            Ok(view) => {
                self.views.lock().unwrap().insert((number, thing), view);
                Told::Opened
            }
            Err(OpenSandboxError::Participant { source, .. }) if self.is_planted(&source) => {
                Told::Failed
            }
            Err(error) => refused(error.code()),
        }
    }

    fn is_planted(&self, error: &ParticipantError) -> bool {
        self.planted.is_any() && is_planted(error)
    }

    /// Replaces the file as a whole: half a file would be the plan's own doing.
    fn write(&self, number: usize, thing: usize, version: u32) -> Told {
        let view = self.views.lock().unwrap().get(&(number, thing)).cloned();
        let Some((path, token)) = view else {
            return Told::NotWritten;
        };
        let written = match path {
            None => self.value.set(&token, version.to_string(), version).is_ok(),
            Some(path) => {
                let aside = path.with_file_name(format!("aside-{version}"));
                let made = File::create(&aside);
                made.is_ok_and(|mut file| write!(file, "{version}").is_ok())
                    && moved(&aside, &path.join("file"))
            }
        };
        if written {
            Told::Wrote
        } else {
            Told::NotWritten
        }
    }

    fn commit(&self, number: usize) -> Told {
        match self.manager.commit_all(&plan(number)) {
            Ok(receipt) => {
                let parts = receipt.resources();
                let changed = parts.iter().filter(|part| part.applied).count();
                if receipt.is_repeat() {
                    Told::Again(parts.len(), changed)
                } else {
                    Told::Committed(parts.len(), changed)
                }
            }
            Err(CommitError::Conflict { .. }) => Told::Conflict,
            Err(CommitError::Refused { source, .. } | CommitError::TakenBack { source, .. })
                if self.is_planted(&source) =>
            {
                Told::Failed
            }
            Err(CommitError::InDoubt { .. }) if self.planted.is_any() => Told::InDoubt,
            Err(error) => refused(error.code()),
        }
    }

    fn roll_back(&self, number: usize) -> Told {
        let id = plan(number);
        match self.manager.rollback_all(&id) {
            Ok(_) => Told::RolledBack,
            Err(RollbackError::Participant { source, .. }) if self.is_planted(&source) => {
                let story = self.manager.log(Some(&id)).unwrap();
                if story.iter().any(|entry| entry.event == "rollback") {
                    Told::HalfGone
                } else {
                    Told::Failed
                }
            }
            Err(error) => refused(error.code()),
        }
    }

    fn answer(&self, ask: Ask) -> Told {
        match ask {
            Ask::Open(number, thing) => self.open(number, thing),
            Ask::Write(number, thing, version) => self.write(number, thing, version),
            Ask::Commit(number) => self.commit(number),
            Ask::RollBack(number) => self.roll_back(number),
            Ask::Recover(number) => match self.manager.recover_plan(&plan(number)) {
                Ok(_) => Told::Recovered,
                Err(RecoverError::Participant { source, .. }) if self.is_planted(&source) => {
                    Told::Failed
                }
                Err(error) => Told::Wrong(error.code()),
            },
            Ask::Status(number) => match self.manager.status(&plan(number)) {
                // Without faults nothing is taken back.
                Ok(status) if status.state == PlanState::Aborting && self.planted.is_any() => {
                    Told::Undoing
                }
                Ok(status) => phase(status.state),
                Err(error) => Told::Wrong(error.code()),
            },
            Ask::Gc => match self.manager.gc(&GcOptions::default()) {
                Ok(_) => Told::Swept,
                Err(_) if self.planted.is_any() => Told::Failed,
                Err(error) => Told::Wrong(error.code()),
            },
            Ask::Look(VALUE) => {
                let now = self.value.register().snapshot();
                Told::Holds(now.value().copied().unwrap())
            }
            Ask::Look(thing) => match version_in(&self.real(thing)) {
                Some(version) => Told::Holds(version),
                None => Told::Wrong("no version"),
            },
        }
    }

    fn ask(&self, caller: usize, ask: Ask) {
        let invoked = self
            .history
            .lock()
            .unwrap()
            .on_invoke(caller, ask)
            .map(drop);
        invoked.unwrap();
        self.callers.asking.fetch_add(1, Ordering::SeqCst);
        let told = catch_unwind(AssertUnwindSafe(|| self.answer(ask)));
        self.callers.asking.fetch_sub(1, Ordering::SeqCst);
        let told = told.unwrap_or(Told::Wrong("a panic"));
        self.told.lock().unwrap().push((ask, told));
        let returned = self
            .history
            .lock()
            .unwrap()
            .on_return(caller, told)
            .map(drop);
        returned.unwrap();
    }

    /// Something to write for plan `number`, in the one place where it is written to meanwhile.
    fn fresh_write(&self, number: usize, thing: usize) -> Ask {
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        Ask::Write(number, thing, version)
    }
}

/// Moves a file over another one, from outside of the view.
fn moved(from: &Path, to: &Path) -> bool {
    rustix::fs::renameat(rustix::fs::CWD, from, rustix::fs::CWD, to).is_ok()
}

fn refused(code: &'static str) -> Told {
    match code {
        "wrong-state" => Told::Refused,
        "recovery-needed" => Told::InTheWay,
        other => Told::Wrong(other),
    }
}

fn phase(state: PlanState) -> Told {
    match state {
        PlanState::Aborting | PlanState::Aborted => Told::Is(Phase::GivenUp),
        PlanState::Applied | PlanState::Done => Told::Is(Phase::Committed),
        PlanState::Committing | PlanState::InDoubt => Told::Deciding,
        PlanState::Hazard => Told::Wrong("a foreign change"),
        _ => Told::Is(Phase::Open),
    }
}

fn any_ask(dice: &mut Dice, writes: bool, stage: &Stage) -> Ask {
    // Mostly the same plan: callers of different ones hardly meet.
    let number = usize::from(dice.below(4) == 0);
    match dice.below(12) {
        0..=1 => Ask::Open(number, OPENED),
        2..=4 if writes => stage.fresh_write(number, number),
        2..=4 => Ask::Status(number),
        5..=8 => Ask::Commit(number),
        9..=10 => Ask::RollBack(number),
        _ => Ask::Gc,
    }
}

/// Callers and what each asks, as the seed says.
fn callers(dice: &mut Dice, stage: &Stage) -> Vec<Vec<Ask>> {
    let (callers, writes) = (2 + dice.below(2), dice.below(2) == 0);
    (0..callers)
        .map(|_| {
            // The first of each is asked at the same time: mostly for what must not meet.
            let first = match dice.below(3) {
                0 => any_ask(dice, writes, stage),
                _ => Ask::Commit(0),
            };
            let more = dice.below(4);
            let more = (0..more).map(|_| any_ask(dice, writes, stage));
            std::iter::once(first).chain(more).collect()
        })
        .collect()
}

/// One history; how many faults it met. Fails with what no order explains.
fn play(seed: u64, mode: Mode) -> Result<usize, String> {
    let (mut dice, mut fate) = (Dice::new(seed), Dice::new(seed ^ FAULTS));
    let planted = match mode {
        Mode::Faulty | Mode::WithoutTakeBack => Planted::draw(&mut fate),
        Mode::Sound | Mode::WithoutPlanLock => Planted::default(),
    };
    let stage = Stage::new(mode, planted);
    // Each plan has the place that it is written to meanwhile, and perhaps more.
    for number in 0..PLANS {
        let beside = Scripted::new(&stage.script, &format!("beside-{number}"));
        drop(stage.manager.open_sandbox(&plan(number), beside).unwrap());
        for thing in 0..THINGS {
            if thing == number || dice.below(2) == 0 {
                stage.ask(0, Ask::Open(number, thing));
                if dice.below(3) > 0 {
                    stage.ask(0, stage.fresh_write(number, thing));
                }
            }
        }
    }
    let mut asks = callers(&mut dice, &stage);
    if stage.planted.is_any() {
        with_recoveries(&mut asks, &mut fate);
    }
    let struck = stage.planted.strike(stage.home.path());
    let together = Barrier::new(asks.len());
    stage.callers.left.store(asks.len(), Ordering::SeqCst);
    std::thread::scope(|scope| {
        for (caller, asks) in (1..).zip(&asks) {
            let (stage, together) = (&stage, &together);
            scope.spawn(move || {
                together.wait();
                for ask in asks {
                    stage.ask(caller, *ask);
                }
                stage.callers.left.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    stage.manager.settle();
    let met = stage.heal(struck.as_ref())?;
    for number in 0..PLANS {
        stage.ask(0, Ask::Status(number));
    }
    for thing in 0..THINGS {
        stage.ask(0, Ask::Look(thing));
    }
    let history = stage.history.lock().unwrap().clone();
    if !history.is_consistent() {
        return Err(format!("no order explains {history:?}"));
    }
    stage.end().map(|()| met)
}

/// So many histories of that mode; how many faults they met.
fn play_many(mode: Mode) -> usize {
    let seeds = REGRESSIONS.lines().filter(|line| !line.starts_with('#'));
    let seeds = seeds.map(|line| line.split_whitespace().next().unwrap().parse().unwrap());
    let mut met = seeds.map(|seed| play(seed, mode).unwrap()).sum();
    let (first, cases) = seeds::of_this_run(CASES);
    for seed in (first..).take(usize::try_from(cases).unwrap()) {
        met += play(seed, mode).unwrap_or_else(|what| {
            panic!("PLANBOX_SEED={seed} PLANBOX_CASES=1 asks the same again.\n{what}")
        });
    }
    met
}

#[test]
fn callers_together_are_told_what_one_after_the_other_would_be() {
    play_many(Mode::Sound);
}

#[test]
fn callers_together_are_told_the_same_though_steps_and_calls_fail() {
    let met = play_many(Mode::Faulty);
    println!("{met} faults were met");
    assert!(met > 0, "no fault was met");
}

fn found_out(mode: Mode) {
    let found = (0..CASES).find_map(|seed| Some((seed, play(seed, mode).err()?)));
    let (seed, what) = found.unwrap();
    let line = what.lines().next().unwrap_or_default();
    println!("found after {seed} histories: {line}");
}

/// The negative control: what holds the callers apart is missed.
#[test]
fn callers_together_control_without_the_plan_lock_are_found_out() {
    found_out(Mode::WithoutPlanLock);
}

/// The negative control: what a failed commit has applied is seen.
#[test]
fn callers_together_control_without_a_take_back_are_found_out() {
    found_out(Mode::WithoutTakeBack);
}
