//! What the pipelines had before: one JSON file for all jobs, read, changed and written anew as a whole
//! by whoever wants to; in place, or beside it and renamed. It is here to be compared with.

use crate::pipeline::STEPS;
use crate::wishes::{self, Wishes};
use crate::{Failure, load, say};
use planbox::JobId;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most jobs in the file: each write costs as much as the whole file.
const JOBS_MAX: usize = 40;

/// How often somebody tries again who finds the file torn.
const TRIES: usize = 100;

/// The lines of each job.
const LINES: usize = 2 * STEPS;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In place.
    InPlace,
    /// Beside it, and renamed.
    Renamed,
}

/// The file.
#[derive(Debug)]
struct Plain {
    file: PathBuf,
    way: Way,
    torn: AtomicUsize,
    given_up: AtomicUsize,
}

impl Plain {
    fn new(file: &Path, way: Way) -> Self {
        Self {
            file: file.to_owned(),
            way,
            torn: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
        }
    }

    /// Every job, or nothing if the file cannot be read.
    fn read(&self) -> Option<Map<String, Value>> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        let all = serde_json::from_str(&text).ok();
        if all.is_none() {
            self.torn.fetch_add(1, Ordering::SeqCst);
        }
        all
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        if self.way == Way::InPlace {
            return std::fs::write(&self.file, text);
        }
        let name = format!("{:?}", std::thread::current().id());
        let beside = self.file.with_extension(name);
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, &self.file)
    }

    /// Reads all, changes one, writes all.
    fn change(&self, id: &JobId, change: impl Fn(&mut Value)) -> bool {
        for _ in 0..TRIES {
            if let Some(mut all) = self.read() {
                change(all.entry(id.as_str()).or_insert_with(|| json!({})));
                return self.write(&Value::Object(all).to_string()).is_ok();
            }
        }
        self.given_up.fetch_add(1, Ordering::SeqCst);
        false
    }
}

/// What became of the jobs.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    jobs: usize,
    lost: usize,
    stuck: usize,
    incomplete: usize,
    overwritten: usize,
    lines: usize,
    torn: usize,
    given_up: usize,
}

impl Damage {
    fn of(all: &Map<String, Value>, ids: &[JobId], cancelled: &BTreeSet<JobId>) -> Self {
        let mut damage = Self {
            jobs: ids.len(),
            ..Self::default()
        };
        for id in ids {
            let Some(job) = all.get(id.as_str()) else {
                damage.lost += 1;
                continue;
            };
            let state = job.get("state").and_then(Value::as_str);
            let is_whole = job.get("progress") == Some(&json!(100)) && job.get("result").is_some();
            let lines = job
                .get("logs")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            match state {
                Some("cancelled") => continue,
                _ if cancelled.contains(id) => damage.overwritten += 1,
                Some("completed") if is_whole => {}
                Some("completed") => damage.incomplete += 1,
                _ => damage.stuck += 1,
            }
            damage.lines += LINES.saturating_sub(lines);
        }
        damage
    }

    /// True if nothing went wrong.
    pub(crate) fn is_none(&self) -> bool {
        let jobs = self.lost + self.stuck + self.incomplete + self.overwritten;
        jobs + self.lines + self.torn + self.given_up == 0
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs: {} lost, {} stuck, {} completed without a result or 100 %, {} cancelled and then \
             overwritten, {} lines of log lost, {} times the file was torn, {} changes given up",
            self.jobs,
            self.lost,
            self.stuck,
            self.incomplete,
            self.overwritten,
            self.lines,
            self.torn,
            self.given_up
        )
    }
}

/// As many jobs as `count`, [`JOBS_MAX`] at the most, with as many workers as the real thing has, and
/// somebody who cancels.
pub(crate) fn load(
    (file, way): (&Path, Way),
    count: usize,
    wishes: Wishes,
) -> Result<Damage, Failure> {
    let ids = wishes::ids(count.min(JOBS_MAX))?;
    std::fs::write(file, "{}")?;
    let plain = Plain::new(file, way);
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let cancelled = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| cancel(&plain, (&ids, wishes), &is_over));
        let worker = || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::SeqCst)) {
                work(&plain, id);
            }
        };
        let workers: Vec<_> = (0..load::WORKERS).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            drop(worker.join());
        }
        is_over.store(true, Ordering::SeqCst);
        canceller.join()
    });
    let cancelled = cancelled.map_err(|_| "the canceller broke")?;
    let all = plain.read().unwrap_or_default();
    Ok(Damage {
        torn: plain.torn.load(Ordering::SeqCst),
        given_up: plain.given_up.load(Ordering::SeqCst),
        ..Damage::of(&all, &ids, &cancelled)
    })
}

/// One job, with the writes of the real one.
fn work(plain: &Plain, id: &JobId) {
    plain.change(id, |job| {
        *job = json!({ "state": "processing", "progress": 0, "logs": [] });
    });
    for step in 1..=LINES {
        plain.change(id, |job| {
            if let Some(logs) = job.get_mut("logs").and_then(Value::as_array_mut) {
                logs.push(json!(format!("step {step}")));
            }
            set(job, "progress", json!(step * 99 / LINES));
        });
    }
    plain.change(id, |job| {
        set(job, "result", json!({ "file": id }));
        set(job, "progress", json!(100));
        if job.get("state") == Some(&json!("processing")) {
            set(job, "state", json!("completed"));
        }
    });
    say_ended(id);
}

fn set(job: &mut Value, field: &str, value: Value) {
    if let Some(job) = job.as_object_mut() {
        job.insert(field.to_owned(), value);
    }
}

/// Cancels what is wished, once it runs; gives back what was told to be cancelled.
fn cancel(
    plain: &Plain,
    (ids, wishes): (&[JobId], Wishes),
    is_over: &AtomicBool,
) -> BTreeSet<JobId> {
    let mut cancelled = BTreeSet::new();
    while !is_over.load(Ordering::SeqCst) {
        let Some(all) = plain.read() else { continue };
        let runs = |id: &&JobId| {
            let state = all.get(id.as_str()).and_then(|job| job.get("state"));
            state == Some(&json!("processing"))
        };
        let wanted = ids.iter().filter(|id| wishes.wants_cancel(id)).filter(runs);
        for id in wanted.cloned().collect::<Vec<_>>() {
            if !cancelled.contains(&id)
                && plain.change(&id, |job| set(job, "state", json!("cancelled")))
            {
                cancelled.insert(id);
            }
        }
    }
    cancelled
}

fn say_ended(id: &JobId) {
    if std::env::args().any(|argument| argument == "--plain") {
        say(&format!("ended {id}"));
    }
}

/// The process that is killed: says which jobs have ended.
pub(crate) fn be_killed(file: &Path, count: usize) -> Result<bool, Failure> {
    Ok(load((file, Way::Renamed), count, Wishes { seed: 0 })?.is_none())
}

/// Prints what becomes of so many jobs either way.
pub(crate) fn compare(home: &Path, count: usize, wishes: Wishes) -> Result<(), Failure> {
    for (way, name) in [(Way::InPlace, "in place"), (Way::Renamed, "and renamed")] {
        let damage = load((&home.join("plain.json"), way), count, wishes)?;
        say(&format!("a plain JSON file, written {name}: {damage}"));
    }
    Ok(())
}

/// What is left when a process was killed: jobs that say they run although nobody works on them, or
/// nothing at all that can be read.
pub(crate) fn left(file: &Path) -> Option<usize> {
    let all = Plain::new(file, Way::Renamed).read()?;
    let runs = |job: &&Value| job.get("state") == Some(&json!("processing"));
    Some(all.values().filter(runs).count())
}
