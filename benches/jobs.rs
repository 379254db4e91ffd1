//! Durable updates of jobs per second, with 1 and with 16 writers, against two floors in the same run:
//! one flush for each update, and a log whose one writer puts all that waits into one flush.
//!
//! `cargo bench --bench jobs` prints Markdown tables. Absolute figures depend on the disk: quote the
//! ratios. `PLANBOX_BENCH_DIR` says where the files go.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures wall time, prints a table and stops at the first surprise"
)]

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use planbox::{JobHandle, JobId, JobPatch, JobStore, NewJob};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a record in the floors: about what an update of a small job is.
const RECORD: [u8; 512] = [b'x'; 512];
const WRITERS: usize = 16;
/// Counted rounds of each row; the median is printed.
const ROUNDS: usize = 7;
/// How long each candidate works in a round.
const SAMPLE: Duration = Duration::from_millis(700);

/// What one writer does again and again: its number, and the number of the step.
type Body<'a> = Box<dyn Fn(usize, u64) + Sync + 'a>;

/// A row of the table.
struct Candidate<'a> {
    name: &'static str,
    writers: usize,
    body: Body<'a>,
}

fn main() {
    let base = std::env::var_os("PLANBOX_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let home = tempfile::tempdir_in(base).unwrap();
    let (records, waiting) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(|| batch(&home.path().join("batched"), &waiting));
        table(home.path(), &records);
        drop(records);
    });
}

fn table(home: &Path, records: &Sender<Sender<()>>) {
    let floor = append(&home.join("floor"));
    let jobs = JobStore::open(home.join("store")).unwrap();
    let owners: Vec<JobHandle> = (0..WRITERS).map(|writer| begin(&jobs, writer)).collect();
    let update = |writer: usize, step: u64| {
        let patch = JobPatch::new().set("step", &step).log("a line of the log");
        owners[writer].update(patch).unwrap();
    };
    let note = |writer: usize| {
        let line = "a line of the log";
        owners[writer].append_log(line, None).unwrap();
    };
    let candidates = [
        Candidate {
            name: "append 512 bytes, fdatasync",
            writers: 1,
            body: Box::new(|_, _| {
                (&floor).write_all(&RECORD).unwrap();
                floor.sync_data().unwrap();
            }),
        },
        Candidate {
            name: "batched log",
            writers: 1,
            body: Box::new(|_, _| hand_over(records)),
        },
        Candidate {
            name: "batched log",
            writers: WRITERS,
            body: Box::new(|_, _| hand_over(records)),
        },
        Candidate {
            name: "planbox, `update`",
            writers: 1,
            body: Box::new(update),
        },
        Candidate {
            name: "planbox, `update`, a job each",
            writers: WRITERS,
            body: Box::new(update),
        },
        Candidate {
            name: "planbox, `update`, one job",
            writers: WRITERS,
            body: Box::new(|_, step| update(0, step)),
        },
        Candidate {
            name: "planbox, `append_log` (lazy)",
            writers: 1,
            body: Box::new(|_, _| note(0)),
        },
        Candidate {
            name: "planbox, `append_log` (lazy), a job each",
            writers: WRITERS,
            body: Box::new(|writer, _| note(writer)),
        },
    ];
    print(&candidates, &measure(&candidates));
}

fn print(candidates: &[Candidate<'_>], rates: &[Vec<f64>]) {
    println!("| what | writers | per second | x one flush each | x batched log, as many writers |");
    println!("|---|---|---|---|---|");
    for (candidate, rate) in candidates.iter().zip(rates) {
        let batched = if candidate.writers == 1 { 1 } else { 2 };
        println!(
            "| {} | {} | {:.0} | x{:.2} | x{:.2} |",
            candidate.name,
            candidate.writers,
            median(rate.iter().copied()),
            ratio(rate, &rates[0]),
            ratio(rate, &rates[batched]),
        );
    }
}

fn begin(jobs: &JobStore, writer: usize) -> JobHandle {
    let id = JobId::new(format!("bench-{writer}")).unwrap();
    jobs.create(&id, NewJob::new("bench")).unwrap();
    jobs.start(&id).unwrap()
}

fn append(file: &Path) -> File {
    let mut options = File::options();
    options.append(true).create(true).open(file).unwrap()
}

/// The writer of the batched log: what waits when it looks goes into one flush.
fn batch(file: &Path, waiting: &Receiver<Sender<()>>) {
    let mut file = append(file);
    while let Ok(first) = waiting.recv() {
        let batch: Vec<Sender<()>> = std::iter::once(first).chain(waiting.try_iter()).collect();
        file.write_all(&RECORD.repeat(batch.len())).unwrap();
        file.sync_data().unwrap();
        for done in batch {
            done.send(()).unwrap();
        }
    }
}

/// Gives a record to the writer of the batched log, and waits until it is on disk.
fn hand_over(records: &Sender<Sender<()>>) {
    let (done, is_done) = bounded(1);
    records.send(done).unwrap();
    is_done.recv().unwrap();
}

/// Updates per second of each candidate, round by round; they take turns, so that all see the same
/// weather.
fn measure(candidates: &[Candidate<'_>]) -> Vec<Vec<f64>> {
    let mut rates = vec![Vec::new(); candidates.len()];
    for round in 0..=ROUNDS {
        for offset in 0..candidates.len() {
            let which = (round + offset) % candidates.len();
            let rate = rate(&candidates[which]);
            // The first round warms up.
            if round > 0 {
                rates[which].push(rate);
            }
        }
    }
    rates
}

fn rate(candidate: &Candidate<'_>) -> f64 {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let begin = Instant::now();
    let work = |writer: usize| {
        let mut step = 0;
        while !is_over.load(Ordering::Relaxed) {
            (candidate.body)(writer, step);
            step += 1;
            if begin.elapsed() > SAMPLE {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        count.fetch_add(step, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let work = &work;
        for writer in 0..candidate.writers {
            scope.spawn(move || work(writer));
        }
    });
    let count = u32::try_from(count.load(Ordering::Relaxed)).unwrap();
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// The median over the rounds of how one rate compares with another.
fn ratio(rate: &[f64], floor: &[f64]) -> f64 {
    median(rate.iter().zip(floor).map(|(rate, floor)| rate / floor))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
