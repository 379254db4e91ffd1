//! What a keyed lock costs, as ratios to a bare lock in the same run. `cargo bench --bench locks`
//! prints Markdown. Without `--bench` it makes one short round of each, as a smoke test.
//!
//! One thread: CPU time of the thread, candidates interleaved in every round, the median of the
//! rounds' ratios. Two threads: wall time, and only samples in which the threads overlapped by 80 %
//! or more; how many did is printed, for a contention benchmark without overlap measures nothing.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark compares with bare locks, reads the clock and prints"
)]

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use planbox::lock::{Key, KeyHandle, LockTable, LockWait};
use planbox::sync::Rank;
use rustix::time::{ClockId, clock_gettime};
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LIVE: usize = 1_000;
const WAIT: LockWait = LockWait::Block;
const DOING: &str = "bench";

fn main() {
    let is_full = std::env::args().any(|arg| arg == "--bench");
    let (rounds, operations) = if is_full { (41, 200_000) } else { (1, 1_000) };
    let numbers: Vec<u64> = (0..)
        .take(LIVE)
        .map(|n: u64| n.wrapping_mul(0x9e37_79b9))
        .collect();
    let texts: Vec<String> = (0..LIVE).map(|n| format!("plan-{n:08}-of-agent")).collect();
    println!("## One thread, ns per take and release (CPU time), and ratio to the bare lock\n");
    println!("| path | key | bare parking_lot | `DashMap<_, Arc<Mutex>>` | planbox | target |");
    println!("|---|---|---|---|---|---|");
    hits("u64", &numbers, "2.6", (rounds, operations));
    hits("String", &texts, "3.0", (rounds, operations));
    creations("u64", &numbers, (rounds, operations / 4));
    creations("String", &texts, (rounds, operations / 4));
    two_threads(&numbers, if is_full { 400 } else { 2 }, operations / 2);
    hog(if is_full { 300 } else { 3 });
}

/// CPU time of this thread so far, in nanoseconds.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
        * 1e9
}

type Candidate<'a> = Box<dyn FnMut(usize) + 'a>;

/// Nanoseconds per operation of each candidate, and the median over the rounds of its ratio to the
/// first. Each candidate is called with the numbers 0.. in every round.
fn measure(
    candidates: &mut [Candidate<'_>],
    (rounds, operations): (usize, usize),
) -> Vec<(f64, f64)> {
    let mut costs = vec![Vec::new(); candidates.len()];
    for round in 0..rounds {
        for offset in 0..candidates.len() {
            let which = (round + offset) % candidates.len();
            let candidate = &mut candidates[which];
            (0..operations / 10).for_each(&mut *candidate);
            let start = cpu_ns();
            (0..operations).for_each(&mut *candidate);
            costs[which].push((cpu_ns() - start) / as_f64(operations));
        }
    }
    let floor = costs[0].clone();
    let ratio = |cost: &Vec<f64>| median(cost.iter().zip(&floor).map(|(cost, floor)| cost / floor));
    costs
        .iter()
        .map(|cost| (median(cost.iter().copied()), ratio(cost)))
        .collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

fn row(path: &str, key: &str, costs: &[(f64, f64)], target: &str) {
    print!("| {path} | {key} |");
    for (ns, ratio) in costs {
        if ns.is_nan() {
            print!(" - |");
        } else {
            print!(" {ns:.1} x{ratio:.2} |");
        }
    }
    println!(" x{target} |");
}

/// A place that looks random, so that no prefetcher helps.
fn scatter(step: usize) -> usize {
    step.wrapping_mul(0x9e37_79b1) % LIVE
}

fn hits<K: Key>(name: &str, keys: &[K], target: &str, size: (usize, usize)) {
    let bare: Vec<Arc<Mutex<u64>>> = keys.iter().map(|_| Arc::default()).collect();
    let map: DashMap<K, Arc<Mutex<u64>>> = DashMap::new();
    for (key, lock) in keys.iter().zip(&bare) {
        map.insert(key.clone(), Arc::clone(lock));
    }
    let table = LockTable::new(Rank::Plan);
    let handles: Vec<KeyHandle<K>> = keys.iter().map(|key| table.handle(key)).collect();
    let mut candidates: Vec<Candidate<'_>> = vec![
        Box::new(|step| drop(black_box(bare[scatter(step)].lock()))),
        Box::new(|step| {
            let lock = map.get(&keys[scatter(step)]).map(|lock| Arc::clone(&lock));
            drop(black_box(lock.as_ref().map(|lock| lock.lock())));
        }),
        Box::new(|step| drop(black_box(table.lock(&keys[scatter(step)], WAIT, DOING)))),
        Box::new(|step| drop(black_box(handles[scatter(step)].enter(WAIT, DOING)))),
        Box::new(|step| drop(black_box(handles[scatter(step)].lock(WAIT, DOING)))),
    ];
    let costs = measure(&mut candidates, size);
    let none = (f64::NAN, f64::NAN);
    row(
        "kept handle, `enter`",
        name,
        &[costs[0], none, costs[3]],
        "1.25",
    );
    row(
        "kept handle, `lock` (owned guard)",
        name,
        &[costs[0], none, costs[4]],
        "-",
    );
    row("by id, 1,000 live", name, &costs[..3], target);
}

fn creations<K: Key>(name: &str, keys: &[K], size: (usize, usize)) {
    let map: DashMap<K, Arc<Mutex<u64>>> = DashMap::new();
    let table = LockTable::new(Rank::Plan);
    let mut candidates: Vec<Candidate<'_>> = vec![
        Box::new(|step| {
            let lock = black_box(Arc::new((keys[scatter(step)].clone(), Mutex::new(0_u64))));
            drop(black_box(lock.1.lock()));
        }),
        Box::new(|step| {
            let key = &keys[scatter(step)];
            let lock = match map.entry(key.clone()) {
                Entry::Occupied(found) => Arc::clone(found.get()),
                Entry::Vacant(place) => Arc::clone(place.insert(Arc::default()).value()),
            };
            drop(black_box(lock.lock()));
            map.remove_if(key, |_, mapped| Arc::strong_count(mapped) == 2);
        }),
        Box::new(|step| drop(black_box(table.lock(&keys[scatter(step)], WAIT, DOING)))),
    ];
    let costs = measure(&mut candidates, size);
    row(
        "create + reclaim (x allocation + lock)",
        name,
        &costs,
        "1.7",
    );
}

/// What a thread does: its number, and the number of the step.
type Body<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// When a thread began and ended its share of a sample.
type Span = (Instant, Instant);

/// Runs `body(thread, step)` on `threads` threads that start together.
fn together(threads: usize, steps: usize, body: Body<'_>) -> Vec<Span> {
    let ready = AtomicUsize::new(0);
    let share = |thread: usize| {
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < threads {
            spin_loop();
        }
        let start = Instant::now();
        (0..steps).for_each(|step| body(thread, step));
        (start, Instant::now())
    };
    std::thread::scope(|scope| {
        let share = &share;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || share(thread)))
            .collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

/// Length of the whole sample, and which part of it all threads ran.
fn overlap(spans: &[Span]) -> Option<(Duration, f64)> {
    let (first, last) = (
        spans.iter().map(|span| span.0),
        spans.iter().map(|span| span.1),
    );
    let whole = last.clone().max()?.duration_since(first.clone().min()?);
    let shared = last.min()?.saturating_duration_since(first.max()?);
    Some((whole, shared.as_secs_f64() / whole.as_secs_f64()))
}

fn two_threads(keys: &[u64], samples: usize, steps: usize) {
    let bare: Vec<Mutex<u64>> = keys.iter().map(|_| Mutex::new(0)).collect();
    let table = LockTable::new(Rank::Plan);
    let handles: Vec<KeyHandle<u64>> = keys.iter().map(|key| table.handle(key)).collect();
    // Even places for one thread, odd places for the other.
    let mine = |thread: usize, step: usize| (scatter(step) & !1) + thread;
    let bodies: [(&str, Body<'_>); 5] = [
        ("bare parking_lot, distinct keys", &|thread, step| {
            drop(black_box(bare[mine(thread, step)].lock()));
        }),
        ("planbox by id, distinct keys", &|thread, step| {
            drop(black_box(table.lock(
                &keys[mine(thread, step)],
                WAIT,
                DOING,
            )));
        }),
        ("planbox kept handle, distinct keys", &|thread, step| {
            drop(black_box(handles[mine(thread, step)].enter(WAIT, DOING)));
        }),
        ("bare parking_lot, one key", &|_, _| {
            drop(black_box(bare[0].lock()));
        }),
        ("planbox kept handle, one key", &|_, _| {
            drop(black_box(handles[0].enter(WAIT, DOING)));
        }),
    ];
    println!("\n## Two threads, wall time\n");
    println!(
        "| path | Mops/s, 1 thread | Mops/s, 2 threads | scaling | overlap | samples that count |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, body) in bodies {
        let speed = |threads: usize| {
            let mut speeds = Vec::new();
            let mut overlaps = Vec::new();
            for _ in 0..samples {
                let Some((whole, shared)) = overlap(&together(threads, steps, body)) else {
                    continue;
                };
                overlaps.push(shared);
                if shared >= 0.8 {
                    speeds.push(as_f64(threads * steps) / whole.as_secs_f64() / 1e6);
                }
            }
            let counted = speeds.len();
            speeds.push(0.0);
            (
                median(speeds.into_iter().take(counted.max(1))),
                median(overlaps.into_iter()),
                counted,
            )
        };
        let ((one, ..), (two, shared, counted)) = (speed(1), speed(2));
        let scaling = two / one;
        println!(
            "| {name} | {one:.1} | {two:.1} | x{scaling:.2} | {shared:.2} | {counted}/{samples} |"
        );
    }
}

/// Takes a lock, calls its argument under it, and releases the lock.
type Hold<'a> = &'a (dyn Fn(&mut dyn FnMut()) + Sync);

fn hog(waits: usize) {
    let bare = Mutex::new(());
    let std = std::sync::Mutex::new(());
    let handle = LockTable::new(Rank::Plan).handle(&0_u64);
    let locks: [(&str, Hold<'_>); 3] = [
        ("planbox", &|under| {
            let _guard = handle.enter(WAIT, DOING);
            under();
        }),
        ("parking_lot 0.12", &|under| {
            let _guard = bare.lock();
            under();
        }),
        ("std", &|under| {
            let _guard = std.lock();
            under();
        }),
    ];
    println!("\n## A waiter beside a thread that holds 2 ms and takes the lock again at once\n");
    println!("| lock | waits | worst wait, in holds that began meanwhile | worst wait, ms |");
    println!("|---|---|---|---|");
    for (name, lock) in locks {
        let (waits, holds, worst) = beside_a_hog(lock, waits);
        println!(
            "| {name} | {waits} | {holds} | {:.1} |",
            worst.as_secs_f64() * 1e3
        );
    }
    println!("\nTarget: at most 5 holds.");
}

fn beside_a_hog(lock: Hold<'_>, waits: usize) -> (usize, u64, Duration) {
    let (holds, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let begin = Instant::now();
    let hog = || {
        // Ends by itself, for a lock that never lets the waiter in.
        while !is_over.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(8) {
            lock(&mut || {
                holds.fetch_add(1, Ordering::Relaxed);
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(2) {
                    spin_loop();
                }
            });
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(hog);
        let (mut done, mut most, mut longest) = (0, 0, Duration::ZERO);
        while done < waits && begin.elapsed() < Duration::from_secs(5) {
            // Comes when the hog is inside.
            let seen = holds.load(Ordering::Relaxed);
            while holds.load(Ordering::Relaxed) == seen && begin.elapsed() < Duration::from_secs(5)
            {
                spin_loop();
            }
            let (start, before) = (Instant::now(), holds.load(Ordering::Relaxed));
            let mut after = before;
            lock(&mut || after = holds.load(Ordering::Relaxed));
            most = most.max(after - before);
            longest = longest.max(start.elapsed());
            done += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        (done, most, longest)
    })
}
