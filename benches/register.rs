//! What reading a register costs, as ratios to arc-swap's `load()` in the same run, while a writer
//! replaces the value a thousand times a second. `cargo bench --bench register` prints Markdown.
//! Without `--bench` it makes one short round of each, as a smoke test.
//!
//! CPU time of the reading threads, candidates interleaved in every round, the median of the rounds'
//! ratios. With more readers than processors that is the only honest figure; what a reader spends
//! asleep behind a lock does not count, which favours the locks.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark compares with bare locks, reads the clock and prints"
)]

use arc_swap::ArcSwap;
use planbox::VersionRegister;
use rustix::time::{ClockId, clock_gettime};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// How often the writer writes.
const PERIOD: Duration = Duration::from_millis(1);

/// What a cell holds: as much as a register does.
struct Held {
    version: String,
    generation: u64,
}

impl Held {
    fn new(generation: u64) -> Arc<Self> {
        let version = generation.to_string();
        Arc::new(Self {
            version,
            generation,
        })
    }

    fn look(&self) -> u64 {
        self.generation + u64::from(black_box(&self.version).is_empty())
    }
}

/// Something that is read and replaced.
trait Cell: Sync {
    /// Reads `count` times; a sum, so that nothing is optimised away.
    fn read(&self, count: usize) -> u64;
    fn write(&self, generation: u64);
}

struct Load(ArcSwap<Held>);
impl Cell for Load {
    fn read(&self, count: usize) -> u64 {
        (0..count).map(|_| black_box(self.0.load()).look()).sum()
    }
    fn write(&self, generation: u64) {
        self.0.store(Held::new(generation));
    }
}

struct LoadFull(ArcSwap<Held>);
impl Cell for LoadFull {
    fn read(&self, count: usize) -> u64 {
        (0..count)
            .map(|_| black_box(self.0.load_full()).look())
            .sum()
    }
    fn write(&self, generation: u64) {
        self.0.store(Held::new(generation));
    }
}

struct ParkingLot(parking_lot::RwLock<Arc<Held>>);
impl Cell for ParkingLot {
    fn read(&self, count: usize) -> u64 {
        let read = |_| black_box(Arc::clone(&self.0.read())).look();
        (0..count).map(read).sum()
    }
    fn write(&self, generation: u64) {
        *self.0.write() = Held::new(generation);
    }
}

struct Std(std::sync::RwLock<Arc<Held>>);
impl Cell for Std {
    fn read(&self, count: usize) -> u64 {
        let read = |_| match self.0.read() {
            Ok(held) => black_box(Arc::clone(&held)).look(),
            Err(_) => 0,
        };
        (0..count).map(read).sum()
    }
    fn write(&self, generation: u64) {
        if let Ok(mut held) = self.0.write() {
            *held = Held::new(generation);
        }
    }
}

impl Cell for VersionRegister<u64> {
    fn read(&self, count: usize) -> u64 {
        let read = |_| {
            let seen = black_box(self.snapshot());
            seen.generation() + u64::from(black_box(seen.version()).is_empty())
        };
        (0..count).map(read).sum()
    }
    fn write(&self, generation: u64) {
        let at = self.snapshot().generation();
        drop(self.activate(at, generation.to_string(), Arc::new(generation)));
    }
}

fn main() {
    let is_full = std::env::args().any(|arg| arg == "--bench");
    let (rounds, reads) = if is_full { (41, 200_000) } else { (1, 1_000) };
    println!("## A read, ns of CPU time and ratio to `load()`, beside a writer at 1 kHz\n");
    println!(
        "| readers | arc-swap `load` | planbox `snapshot` | arc-swap `load_full` | `RwLock<Arc>`, parking_lot | `RwLock<Arc>`, std |"
    );
    println!("|---|---|---|---|---|---|");
    for readers in [1, 2, 4, 8] {
        row(readers, rounds, reads);
    }
    slow_activation(rounds, reads);
}

/// CPU time of this thread so far, in nanoseconds.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos).as_secs_f64() * 1e9
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per read, the median of the readers, while a writer writes.
fn once(cell: &dyn Cell, readers: usize, reads: usize) -> f64 {
    let (begin, left) = (Barrier::new(readers + 1), AtomicUsize::new(readers));
    let generations = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let read = || {
            begin.wait();
            black_box(cell.read(reads / 10));
            let start = cpu_ns();
            black_box(cell.read(reads));
            let took = cpu_ns() - start;
            left.fetch_sub(1, Ordering::Release);
            took / f64::from(u32::try_from(reads).unwrap_or(u32::MAX))
        };
        let running: Vec<_> = (0..readers).map(|_| scope.spawn(read)).collect();
        begin.wait();
        while left.load(Ordering::Acquire) > 0 {
            cell.write(generations.fetch_add(1, Ordering::Relaxed));
            std::thread::park_timeout(PERIOD);
        }
        let took = running.into_iter().filter_map(|reader| reader.join().ok());
        median(took)
    })
}

fn row(readers: usize, rounds: usize, reads: usize) {
    let cells: [&dyn Cell; 5] = [
        &Load(ArcSwap::new(Held::new(0))),
        &VersionRegister::new("0", 0_u64),
        &LoadFull(ArcSwap::new(Held::new(0))),
        &ParkingLot(parking_lot::RwLock::new(Held::new(0))),
        &Std(std::sync::RwLock::new(Held::new(0))),
    ];
    let mut costs = vec![Vec::new(); cells.len()];
    for round in 0..rounds {
        for offset in 0..cells.len() {
            let which = (round + offset) % cells.len();
            costs[which].push(once(cells[which], readers, reads));
        }
    }
    print!("| {readers} |");
    for cost in &costs {
        let ratio = median(cost.iter().zip(&costs[0]).map(|(cost, floor)| cost / floor));
        print!(" {:.1} x{ratio:.2} |", median(cost.iter().copied()));
    }
    println!();
}

/// One reader, alone and beside an activation that is always loading.
fn slow_activation(rounds: usize, reads: usize) {
    let register = VersionRegister::new("0", 0_u64);
    let over = AtomicBool::new(false);
    let alone = median((0..rounds).map(|_| once(&register, 1, reads)));
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let at = register.snapshot().generation();
                let load = || {
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(20) {
                        spin_loop();
                    }
                    Ok::<_, ()>(Arc::new(1))
                };
                drop(register.activate_with(at, "slow", load));
            }
        });
        let beside = median((0..rounds).map(|_| once(&register, 1, reads)));
        over.store(true, Ordering::Release);
        beside
    });
    println!("\nA read beside an activation that loads for 20 ms, again and again, to a read");
    println!(
        "without: {beside:.1} ns to {alone:.1} ns, x{:.2}.",
        beside / alone
    );
}
