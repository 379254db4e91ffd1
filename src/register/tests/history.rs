//! Histories of a register: recorded with real threads, checked for linearizability.
//!
//! A successful change has a generation of its own, so there is only one order in which a history
//! can have happened: by generation, each change before the reads of what it brought. The history is
//! linearizable exactly if that order keeps everything that ended before something else began.

use super::*;
use std::sync::atomic::AtomicU64;

/// What one operation did and saw.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    /// Brought this generation with this version.
    Changed { generation: u64, version: u64 },
    /// Saw this generation with this version; a refused change saw what refused it.
    Saw { generation: u64, version: u64 },
}

/// One operation: when it began, when it ended, what it did.
#[derive(Debug, Clone)]
struct Operation {
    began: u64,
    ended: u64,
    did: Did,
}

impl Operation {
    /// Its place in the only order that is possible.
    fn place(&self) -> (u64, bool) {
        match self.did {
            Did::Changed { generation, .. } => (generation, false),
            Did::Saw { generation, .. } => (generation, true),
        }
    }
}

/// Why `history` cannot have happened on a register that began at generation 1 with `first`.
fn objection(history: &[Operation], first: u64) -> Option<String> {
    let mut versions = BTreeMap::from([(1, first)]);
    for operation in history {
        if let Did::Changed {
            generation,
            version,
        } = operation.did
            && versions.insert(generation, version).is_some()
        {
            return Some(format!("generation {generation} came twice"));
        }
    }
    if versions
        .keys()
        .zip(1_u64..)
        .any(|(found, due)| *found != due)
    {
        return Some("a generation was left out".to_owned());
    }
    for operation in history {
        if let Did::Saw {
            generation,
            version,
        } = operation.did
            && versions.get(&generation) != Some(&version)
        {
            return Some(format!("a mixture was seen: {operation:?}"));
        }
    }
    let mut by_begin: Vec<&Operation> = history.iter().collect();
    by_begin.sort_by_key(|operation| operation.began);
    let mut by_end = by_begin.clone();
    by_end.sort_by_key(|operation| operation.ended);
    let mut over = by_end.into_iter().peekable();
    let mut latest = (1, false);
    for operation in by_begin {
        while let Some(before) = over.next_if(|before| before.ended < operation.began) {
            latest = latest.max(before.place());
        }
        if operation.place() < latest {
            return Some(format!("{latest:?} was over before {operation:?} began"));
        }
    }
    None
}

/// A register as the checker sees it.
trait Cell: Sync {
    /// Generation and version.
    fn see(&self) -> (u64, u64);
    /// Changes it if it is at `expected`; what is there afterwards, and whether that is ours.
    fn change(&self, expected: u64, version: u64) -> (u64, u64, bool);
}

impl Cell for VersionRegister<u64> {
    fn see(&self) -> (u64, u64) {
        let seen = self.snapshot();
        assert_eq!(seen.version(), seen.value().unwrap().to_string());
        (seen.generation(), *seen.value().unwrap())
    }
    fn change(&self, expected: u64, version: u64) -> (u64, u64, bool) {
        match self.activate(expected, version.to_string(), Arc::new(version)) {
            Ok(generation) => (generation, version, true),
            Err(RegisterError::Moved { found, version, .. }) => {
                (found, version.parse().unwrap(), false)
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Runs `writers` and `readers` against `cell` and writes down what each operation did.
fn record(cell: &dyn Cell, writers: u64, readers: u64, steps: u64) -> Vec<Operation> {
    let clock = AtomicU64::new(0);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let read = || -> Vec<Operation> {
        let one = |_| {
            let began = tick();
            let (generation, version) = cell.see();
            Operation {
                began,
                ended: tick(),
                did: Did::Saw {
                    generation,
                    version,
                },
            }
        };
        (0..steps).map(one).collect()
    };
    let write = |writer: u64| -> Vec<Operation> {
        let one = |step| {
            let (expected, _) = cell.see();
            let began = tick();
            let wanted = writer * steps + step + 1;
            let (generation, version, is_ours) = cell.change(expected, wanted);
            let did = if is_ours {
                Did::Changed {
                    generation,
                    version,
                }
            } else {
                Did::Saw {
                    generation,
                    version,
                }
            };
            Operation {
                began,
                ended: tick(),
                did,
            }
        };
        (0..steps).map(one).collect()
    };
    let (read, write) = (&read, &write);
    thread::scope(|scope| {
        let mut running: Vec<_> = (0..writers)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        running.extend((0..readers).map(|_| scope.spawn(read)));
        let histories = running.into_iter().map(|thread| thread.join().unwrap());
        histories.flatten().collect()
    })
}

#[test]
fn every_recorded_history_is_linearizable() {
    for _ in 0..20 {
        let register = VersionRegister::new("0", 0);
        let history = record(&register, 3, 3, 300);
        assert_eq!(history.len(), 1800);
        assert_eq!(objection(&history, 0), None);
    }
}

fn operation(began: u64, ended: u64, did: Did) -> Operation {
    Operation { began, ended, did }
}

fn changed(generation: u64, version: u64) -> Did {
    Did::Changed {
        generation,
        version,
    }
}

fn saw(generation: u64, version: u64) -> Did {
    Did::Saw {
        generation,
        version,
    }
}

#[test]
fn the_checker_accepts_what_can_have_happened() {
    for history in [
        vec![],
        vec![operation(0, 1, saw(1, 0))],
        // Both outcomes of a read beside a change are right, in either order of their ends.
        vec![operation(0, 5, changed(2, 7)), operation(1, 2, saw(1, 0))],
        vec![operation(0, 5, changed(2, 7)), operation(1, 2, saw(2, 7))],
        vec![
            operation(0, 9, changed(2, 7)),
            operation(1, 2, saw(2, 7)),
            operation(3, 4, saw(2, 7)),
        ],
    ] {
        assert_eq!(objection(&history, 0), None, "{history:?}");
    }
}

#[test]
fn the_checker_objects_to_what_cannot_have_happened() {
    let bad = [
        (
            "a mixture",
            vec![operation(0, 1, changed(2, 7)), operation(2, 3, saw(2, 0))],
        ),
        (
            "was over before",
            vec![operation(0, 1, changed(2, 7)), operation(2, 3, saw(1, 0))],
        ),
        (
            "was over before",
            vec![
                operation(0, 9, changed(2, 7)),
                operation(1, 2, saw(2, 7)),
                operation(3, 4, saw(1, 0)),
            ],
        ),
        (
            "was over before",
            vec![operation(0, 1, saw(2, 7)), operation(2, 3, changed(2, 7))],
        ),
        (
            "came twice",
            vec![
                operation(0, 1, changed(2, 7)),
                operation(0, 1, changed(2, 8)),
            ],
        ),
        ("left out", vec![operation(0, 1, changed(3, 7))]),
        ("a mixture", vec![operation(0, 1, saw(9, 9))]),
    ];
    for (why, history) in bad {
        let found = objection(&history, 0);
        assert!(
            found.as_ref().is_some_and(|text| text.contains(why)),
            "{why}: {found:?} for {history:?}"
        );
    }
}

/// The reported shape: value and version in two cells. A change stops between the two until
/// somebody has read.
struct TwoCells {
    generation: AtomicU64,
    version: AtomicU64,
    between: std::sync::Barrier,
}

impl Cell for TwoCells {
    fn see(&self) -> (u64, u64) {
        self.between.wait();
        let generation = self.generation.load(Ordering::SeqCst);
        let version = self.version.load(Ordering::SeqCst);
        self.between.wait();
        (generation, version)
    }
    fn change(&self, expected: u64, version: u64) -> (u64, u64, bool) {
        self.generation.store(expected + 1, Ordering::SeqCst);
        self.between.wait();
        self.between.wait();
        self.version.store(version, Ordering::SeqCst);
        (expected + 1, version, true)
    }
}

#[test]
fn negative_control_a_register_of_two_cells_is_found_out() {
    let cells = TwoCells {
        generation: AtomicU64::new(1),
        version: AtomicU64::new(0),
        between: std::sync::Barrier::new(2),
    };
    let (change, read) = thread::scope(|scope| {
        let change = scope.spawn(|| cells.change(1, 7));
        (cells.see(), change.join().unwrap())
    });
    let history = [
        operation(0, 3, changed(read.0, read.1)),
        operation(1, 2, saw(change.0, change.1)),
    ];
    let found = objection(&history, 0).unwrap();
    assert!(found.contains("a mixture"), "{found}");
}
