//! What a plan waits for its lock while another one commits slowly: nothing of that commit.
//!
//! First without a clock: a plan is kept inside its commit until others have committed so many times. If
//! they waited for it, nobody would come to an end; they only try, so a wait is an error and not a hang.
//! Then as a ratio: the lock of a quiet manager and that of one in which some plan is always inside a
//! slow commit are taken in turn by one thread, so that whatever the machine does meets both.

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Outcome, Place, Redo, Resource, Sandbox, Sealed,
    Vote, Work,
};
use planbox::{
    Acknowledge, CommitOptions, Explain as _, LockWait, PlanId, ResourceKey, ResourceName,
    SandboxManager,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Commits of others while one plan is kept inside its own.
const OTHERS: usize = 200;

/// Pairs of takings in one round; the p99 of a round is the 20th of the longest.
const PAIRS: usize = 2_000;

/// Rounds; the median of their ratios counts.
const ROUNDS: usize = 9;

/// How long a slow commit of the measured kind stays inside its apply.
const SLOW: Duration = Duration::from_millis(20);

/// The most that p99 beside a slow commit may be, as a multiple of p99 without one.
const LIMIT: f64 = 1.2;

/// A measurement may be off; so many in a row are not.
const ATTEMPTS: usize = 5;

/// The same for measurements that the machine has disturbed.
const DISTURBED: usize = 15;

/// The most that the measuring thread may wait for a processor, as a part of its time: beyond that its
/// figures are those of the machine, whose caches others have.
const QUIET: f64 = 0.1;

/// What a measurement came to.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// p50 beside a slow commit, as a multiple of p50 without one.
    p50: f64,
    p99: f64,
    /// The part of its time that the measuring thread waited for a processor.
    unserved: f64,
}

/// Everything of this module.
pub(crate) fn all() {
    let beside = others_commit(false);
    assert_eq!(beside, Ok(OTHERS), "others wait for a slow commit");
    println!("| commits of others while one was kept inside its own | {OTHERS}, none waited |");
    let Err(code) = others_commit(true) else {
        panic!("one lock for all plans goes unnoticed");
    };
    println!("| control: one lock for all plans | noticed: {code} |");
    let all = settled();
    let best = all
        .iter()
        .min_by(|one, other| one.p99.total_cmp(&other.p99))
        .unwrap();
    let each: Vec<_> = all
        .iter()
        .map(|one| format!("{:.2}x ({:.0} % unserved)", one.p99, one.unserved * 100.0))
        .collect();
    let each = format!("{} measured, p99: {}", all.len(), each.join(", "));
    let control = measured(true, 1);
    println!(
        "| control: one lock for all plans | {:.0}x, {:.0}x |",
        control.p50, control.p99
    );
    assert!(control.p99 > LIMIT, "the measurement sees nothing");
    let what = "wait for a plan lock, beside a slow commit to without: p50, p99";
    println!("| {what}; {each} | {:.2}x, {:.2}x |", best.p50, best.p99);
    assert!(
        best.p99 <= LIMIT,
        "p99 beside a slow commit is {:.2} of what it is without",
        best.p99
    );
}

fn manager(one_lock: bool, wait: LockWait) -> SandboxManager {
    let builder = SandboxManager::builder().wait(wait);
    let builder = builder.without(|without| without.separation = one_lock);
    builder.in_memory()
}

/// How many plans committed while another was inside its apply, or the code of the first that could not.
fn others_commit(one_lock: bool) -> Result<usize, &'static str> {
    let manager = manager(one_lock, LockWait::Try);
    let (inside, wait_inside) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let wait_release = Mutex::new(wait_release);
    let kept = Slow::new("kept", move || {
        inside.send(()).unwrap();
        // Ends when the other side is dropped, whatever becomes of the others.
        wait_release.lock().unwrap().recv().unwrap_err();
    });
    let plan = PlanId::new("kept").unwrap();
    manager.open_sandbox(&plan, kept).unwrap();
    let other = |round: usize| {
        let plan = PlanId::new(format!("other-{round}")).unwrap();
        let quick = Slow::new("quick", || ());
        let options = CommitOptions::default().wait(LockWait::Try);
        let opened = manager.open_sandbox(&plan, quick);
        opened.map_err(|error| error.code())?;
        let done = manager.commit_all_with(&plan, &options);
        done.map(drop).map_err(|error| error.code())
    };
    std::thread::scope(|scope| {
        let release = release;
        let kept = scope.spawn(|| manager.commit_all(&plan));
        wait_inside.recv().unwrap();
        let done = (0..OTHERS).try_for_each(other);
        let stayed = !kept.is_finished();
        drop(release);
        kept.join().unwrap().unwrap();
        assert!(stayed, "the slow plan was not kept inside");
        done.map(|()| OTHERS)
    })
}

/// The measured ratios; measured again as long as a busy machine may be to blame. All of them.
fn settled() -> Vec<Measured> {
    let mut all: Vec<Measured> = Vec::new();
    let mut quiet = 0;
    while quiet < ATTEMPTS && all.len() < DISTURBED {
        let one = measured(false, ROUNDS);
        all.push(one);
        if one.p99 <= LIMIT {
            break;
        }
        quiet += usize::from(one.unserved <= QUIET);
    }
    all
}

/// How long this thread has run, and has waited for a processor, in nanoseconds; nothing if the kernel
/// does not say.
fn served() -> [f64; 2] {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut fields = text.split_whitespace().map(|field| field.parse().unwrap());
    [(); 2].map(|()| fields.next().unwrap_or_default())
}

/// The wait for the lock of a quiet manager and of one with a slow commit, taken in turn: the medians of
/// the ratios of p50 and of p99.
fn measured(one_lock: bool, rounds: usize) -> Measured {
    let [idle, busy] = [(); 2].map(|()| manager(one_lock, LockWait::Block));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (began, wait_began) = mpsc::channel();
        let (busy, stop) = (&busy, &stop);
        scope.spawn(move || {
            for round in 0.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let plan = PlanId::new(format!("slow-{round}")).unwrap();
                let began = began.clone();
                let slow = Slow::new("slow", move || {
                    // The last one may begin when nobody listens any more.
                    let _: Result<(), _> = began.send(());
                    std::thread::park_timeout(SLOW);
                });
                busy.open_sandbox(&plan, slow).unwrap();
                let settled = CommitOptions::default().acknowledge(Acknowledge::Settled);
                busy.commit_all_with(&plan, &settled).unwrap();
            }
        });
        wait_began.recv().unwrap();
        // A control waits for whole commits: a few are enough.
        let pairs = if one_lock { 20 } else { PAIRS };
        let before = served();
        let ratios: Vec<_> = (0..rounds).map(|_| round((&idle, busy), pairs)).collect();
        let after = served();
        stop.store(true, Ordering::Release);
        let [ran, waited] = [0, 1].map(|field| after[field] - before[field]);
        let median_of = |one: fn(&(f64, f64)) -> f64| median(ratios.iter().map(one).collect());
        Measured {
            p50: median_of(|pair| pair.0),
            p99: median_of(|pair| pair.1),
            unserved: waited / (ran + waited).max(1.0),
        }
    })
}

fn round((idle, busy): (&SandboxManager, &SandboxManager), pairs: usize) -> (f64, f64) {
    let plan = PlanId::new("quick").unwrap();
    let mut waits = [Vec::with_capacity(pairs), Vec::with_capacity(pairs)];
    for turn in 0..pairs {
        // Who goes first changes: what one leaves behind in the caches is the other's as often.
        for place in [turn % 2, 1 - turn % 2] {
            let manager = [idle, busy][place];
            let start = Instant::now();
            drop(manager.hold(&plan, "watch").unwrap());
            waits[place].push(start.elapsed());
        }
    }
    let [idle, busy] = waits.map(|mut waits| {
        waits.sort();
        let at = |percent: usize| waits[waits.len() * percent / 100].as_secs_f64();
        (at(50), at(99))
    });
    (busy.0 / idle.0, busy.1 / idle.1)
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// A participant in memory that calls back from inside its apply.
#[derive(Clone)]
struct Slow {
    name: ResourceName,
    identity: Identity,
    inside: Hook,
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slow({})", self.name)
    }
}

impl Slow {
    fn new(name: &str, inside: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            name: ResourceName::new(name).unwrap(),
            identity: Identity {
                key: ResourceKey::new("slow", name),
                enclosing: Vec::new(),
                tree: None,
            },
            inside: Arc::new(inside),
        }
    }

    fn changes() -> Changes {
        let mut changes = Changes::default();
        let change = Change::new("slow", Action::Modified, "value", 0);
        changes.entries.push(change);
        changes
    }
}

impl Resource for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }
    fn name(&self) -> Option<&ResourceName> {
        Some(&self.name)
    }
    fn identify(&self) -> Outcome<Identity> {
        Ok(self.identity.clone())
    }
    fn open(&self, _place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        Ok(Box::new(self.clone()))
    }
    fn is_volatile(&self) -> bool {
        true
    }
}

impl Sandbox for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn target(&self) -> String {
        self.name.to_string()
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
        self.name.to_string()
    }
    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        Ok(Self::changes())
    }
    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        Ok(Sealed {
            changes: Self::changes(),
            digest: String::new(),
        })
    }
    fn unseal(&mut self) -> Outcome<()> {
        Ok(())
    }
    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
    }
    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        Ok(Vote::Ready {
            redo: Redo(String::new()),
            changes: Self::changes(),
        })
    }
    fn apply(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        (self.inside)();
        Ok(())
    }
    fn take_back(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }
    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
}
