//! Durable commits of 10, 100 and 1,000 changed files, with the number of flushes on the caller's
//! path, against two floors in the same run; and the wait for a plan lock while another plan
//! commits slowly.
//!
//! `cargo bench --bench commit` prints Markdown tables. Absolute times depend on the disk: quote
//! the ratios. `PLANBOX_BENCH_DIR` says where the files go. Flushes are counted by `strace` in a
//! run of their own; without it the column says `n/a`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures wall time, prints a table and stops at the first surprise"
)]

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Outcome, Place, Redo, Resource, Sandbox, Sealed,
    Vote, Work,
};
use planbox::{
    Acknowledge, CommitOptions, Directory, PlanId, ResourceKey, ResourceName, SandboxManager,
};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sizes of the changed sets, in files of [`FILE_BYTES`].
const SIZES: [usize; 3] = [10, 100, 1_000];
const FILE_BYTES: usize = 4_096;
/// Counted rounds of each row; the median is printed.
const ROUNDS: usize = 7;
/// How long the lock wait is watched.
const WATCH: Duration = Duration::from_secs(3);
/// How long the slow plan stays inside its apply.
const SLOW: Duration = Duration::from_millis(200);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, home, files, ..] = &arguments[..]
        && flag == "--one"
    {
        one_commit(Path::new(home), files.parse().unwrap());
        return;
    }
    commits();
    lock_wait();
}

/// Writes content that no other file of the set has: equal ones would be one object to git.
fn write(path: &Path, index: usize, byte: u8) {
    let mut content = [byte; FILE_BYTES];
    for (place, part) in content.iter_mut().zip(index.to_le_bytes()) {
        *place = part;
    }
    File::create(path).unwrap().write_all(&content).unwrap();
}

fn tree(root: &Path, files: usize) {
    std::fs::create_dir_all(root).unwrap();
    for index in 0..files {
        write(&root.join(format!("f{index}")), index, 1);
    }
}

/// A plan over `files` changed files that is ready to be committed, on a disk at rest.
fn ready(home: &Path, files: usize) -> (SandboxManager, PlanId) {
    let root = home.join("root");
    tree(&root, files);
    let manager = SandboxManager::open(home.join("store")).unwrap();
    let plan = PlanId::new("bench").unwrap();
    let sandbox = manager.open_sandbox(&plan, Directory::at(&root)).unwrap();
    for index in 0..files {
        write(&sandbox.path().join(format!("f{index}")), index, 2);
    }
    rest(home);
    (manager, plan)
}

/// Lets the disk come to rest, so that a round does not pay for the one before it.
fn rest(home: &Path) {
    Command::new("sync").arg("-f").arg(home).status().unwrap();
}

/// A place for each round. They stay until the end of the run: a file system that has just deleted
/// thousands of files makes new ones slowly, and the next round would pay for that.
struct Ground {
    all: tempfile::TempDir,
    rounds: std::cell::Cell<usize>,
}

impl Ground {
    fn new() -> Self {
        let base = std::env::var_os("PLANBOX_BENCH_DIR");
        let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
        Self {
            all: tempfile::tempdir_in(base).unwrap(),
            rounds: std::cell::Cell::new(0),
        }
    }

    fn round(&self) -> PathBuf {
        self.rounds.set(self.rounds.get() + 1);
        let home = self.all.path().join(self.rounds.get().to_string());
        std::fs::create_dir(&home).unwrap();
        home
    }
}

fn planbox_commit(home: &Path, files: usize) -> Duration {
    let (manager, plan) = ready(home, files);
    let start = Instant::now();
    manager.commit_all(&plan).unwrap();
    let took = start.elapsed();
    manager.settle();
    took
}

/// What every careful program pays: write, fsync, rename, fsync of the directory, for each file.
fn one_by_one(home: &Path, files: usize) -> Duration {
    let root = home.join("root");
    tree(&root, files);
    rest(home);
    let start = Instant::now();
    for index in 0..files {
        let temp = root.join("temp");
        write(&temp, index, 2);
        File::open(&temp).unwrap().sync_all().unwrap();
        std::fs::rename(&temp, root.join(format!("f{index}"))).unwrap();
        File::open(&root).unwrap().sync_all().unwrap();
    }
    start.elapsed()
}

/// `git add` and `git commit` with every object and ref synced, but not the working tree.
fn git_commit(home: &Path, files: usize) -> Option<Duration> {
    let root = home.join("root");
    tree(&root, files);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&root)
            .args(["-c", "core.fsync=all", "-c", "gc.auto=0"]);
        command.args([
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@example.invalid",
        ]);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .status()
            .ok()
            .filter(std::process::ExitStatus::success)
    };
    git(&["init", "-q"])?;
    git(&["add", "-A"])?;
    git(&["commit", "-qm", "base"])?;
    for index in 0..files {
        write(&root.join(format!("f{index}")), index, 2);
    }
    rest(home);
    let start = Instant::now();
    git(&["add", "-A"])?;
    git(&["commit", "-qm", "change"])?;
    Some(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

fn commits() {
    println!(
        "| changed files | planbox, ms | flushes | file by file, ms | ratio | git, ms | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    let ground = Ground::new();
    for files in SIZES {
        let (mut ours, mut floor, mut git) = (Vec::new(), Vec::new(), Vec::new());
        // In turn, so that a drift of the machine meets all of them.
        for _ in 0..ROUNDS {
            ours.push(planbox_commit(&ground.round(), files));
            floor.push(one_by_one(&ground.round(), files));
            git.extend(git_commit(&ground.round(), files));
        }
        let ours = median(ours).unwrap();
        let peer = |times| match median(times) {
            None => "n/a | n/a".to_owned(),
            Some(time) => {
                let ratio = time.as_secs_f64() / ours.as_secs_f64();
                format!("{:.1} | {ratio:.1}x", time.as_secs_f64() * 1e3)
            }
        };
        let flushes = flushes(&ground.round(), files)
            .map_or_else(|| "n/a".to_owned(), |count| count.to_string());
        let ms = ours.as_secs_f64() * 1e3;
        println!(
            "| {files} | {ms:.1} | {flushes} | {} | {} |",
            peer(floor),
            peer(git)
        );
    }
}

/// One commit, between two marks that a tracer can see.
fn one_commit(home: &Path, files: usize) {
    let (manager, plan) = ready(home, files);
    drop(std::fs::metadata("/planbox-bench-begin"));
    manager.commit_all(&plan).unwrap();
    drop(std::fs::metadata("/planbox-bench-end"));
    manager.settle();
}

/// Flushes between the two marks, on all threads.
fn flushes(home: &Path, files: usize) -> Option<usize> {
    let log = home.join("trace");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-e",
            "trace=fsync,fdatasync,syncfs,sync,statx,stat,newfstatat",
            "-o",
        ])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .arg("--one")
        .arg(home.join("work"))
        .arg(files.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        return None;
    }
    let text = std::fs::read_to_string(&log).ok()?;
    let inside = text
        .split("planbox-bench-begin")
        .nth(1)?
        .split("planbox-bench-end")
        .next()?;
    let flush = |line: &&str| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        ["fsync(", "fdatasync(", "syncfs(", "sync("]
            .iter()
            .any(|name| call.starts_with(name))
    };
    Some(inside.lines().filter(flush).count())
}

/// The wait for the lock of a quick plan, idle and while another plan commits slowly.
fn lock_wait() {
    println!("\n| other plans | takings watched | p50 wait, us | p99 wait, us |");
    println!("|---|---|---|---|");
    let quantile = |waits: &[Duration], q: usize| {
        let at = (waits.len() * q / 100).min(waits.len().saturating_sub(1));
        waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e6)
    };
    let (idle, busy) = (watch(false), watch(true));
    for (label, waits) in [
        ("idle", &idle),
        ("one is in a 200 ms commit, always", &busy),
    ] {
        let (p50, p99) = (quantile(waits, 50), quantile(waits, 99));
        println!("| {label} | {} | {p50:.1} | {p99:.1} |", waits.len());
    }
    println!(
        "\np99, busy to idle: {:.2}x",
        quantile(&busy, 99) / quantile(&idle, 99)
    );
}

/// How long taking a plan's lock and letting it go took, sorted.
fn watch(slow: bool) -> Vec<Duration> {
    let manager = SandboxManager::in_memory();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if slow {
            scope.spawn(|| {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let plan = PlanId::new(format!("slow-{round}")).unwrap();
                    manager.open_sandbox(&plan, Slow::new()).unwrap();
                    let settled = CommitOptions::default().acknowledge(Acknowledge::Settled);
                    manager.commit_all_with(&plan, &settled).unwrap();
                }
            });
        }
        let plan = PlanId::new("quick").unwrap();
        drop(manager.hold(&plan, "make").unwrap());
        let mut waits = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < WATCH {
            let start = Instant::now();
            drop(manager.hold(&plan, "watch").unwrap());
            waits.push(start.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        waits.sort();
        waits
    })
}

/// A participant whose apply takes its time without using the processor, as a slow disk does.
#[derive(Debug)]
struct Slow {
    identity: Identity,
    name: ResourceName,
}

impl Slow {
    fn new() -> Self {
        let key = ResourceKey::new("slow", 0);
        let name = ResourceName::new("slow").unwrap();
        Self {
            identity: Identity {
                key,
                enclosing: Vec::new(),
                tree: None,
            },
            name,
        }
    }

    fn changes() -> Changes {
        let mut changes = Changes::default();
        changes
            .entries
            .push(Change::new("slow", Action::Modified, "value", 0));
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
        Ok(Box::new(Self::new()))
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
        "slow".to_owned()
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
        "slow".to_owned()
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
        std::thread::park_timeout(SLOW);
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
