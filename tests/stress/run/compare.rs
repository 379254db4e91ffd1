//! The comparison at the end of a run, and something wrong of each kind that it has to find.

use super::{Shape, Stress};
use crate::ledger::CellKind;
use planbox::{SandboxManager, Severity, Stats};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the real things hold and the receipts do not say, or the other way round.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// "lost" if a receipt has no effect, "double" if there is an effect without a receipt, "partial"
    /// if a receipt has a part of its effect.
    word: &'static str,
    what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.what)
    }
}

/// A store on disk and a directory for each slot.
pub(crate) struct Disk {
    home: tempfile::TempDir,
    /// By slot: the lives whose receipts say that they are committed.
    committed: Vec<Mutex<BTreeSet<u64>>>,
}

impl Disk {
    pub(crate) fn new(slots: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        for slot in 0..slots {
            std::fs::create_dir_all(home.path().join(format!("root-{slot}"))).unwrap();
        }
        let committed = (0..slots).map(|_| Mutex::default()).collect();
        Self { home, committed }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    pub(super) fn root(&self, slot: u64) -> PathBuf {
        self.home.path().join(format!("root-{slot}"))
    }

    pub(super) fn lives(&self, slot: u64) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.committed[usize::try_from(slot).unwrap()]
            .lock()
            .unwrap()
    }

    /// What is not as it should be: every directory holds one file for each life of its slot that was
    /// committed, whole, and no other.
    fn compare(&self, wrong: &mut Vec<Wrong>) {
        for slot in 0..u64::try_from(self.committed.len()).unwrap() {
            let root = self.root(slot);
            let entries = std::fs::read_dir(&root).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let found: BTreeSet<u64> = names.map(|name| name.parse().unwrap()).collect();
            let told = self.lives(slot);
            let mut say = |word, life| {
                let what = format!("the file {life} in the directory of slot {slot}");
                wrong.push(Wrong { word, what });
            };
            told.difference(&found).for_each(|life| say("lost", life));
            found.difference(&told).for_each(|life| say("double", life));
            for life in found.intersection(&told) {
                let text = std::fs::read_to_string(root.join(life.to_string())).unwrap();
                if text != content(slot, *life) {
                    say("partial", life);
                }
            }
        }
    }

    fn files(&self) -> usize {
        let lives = self.committed.iter();
        lives.map(|lives| lives.lock().unwrap().len()).sum()
    }
}

pub(super) fn content(slot: u64, life: u64) -> String {
    format!("{slot}-{life}\n").repeat(100)
}

impl Stress {
    /// Every cell and every directory, compared with the receipts.
    pub(crate) fn findings(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let all: Vec<usize> = (0..self.receipts.len()).collect();
        // Each slot has three cells; those behind them are shared, and stand for themselves.
        let (own, shared) = all.split_at(self.lives.len() * 3);
        for cells in own.chunks(3).chain(shared.chunks(1)) {
            let told = |cell: usize| self.receipts[cell].load(Ordering::Relaxed);
            let pairs = cells
                .iter()
                .map(|cell| (self.ledger.read(*cell), told(*cell)));
            let pairs: Vec<(u64, u64)> = pairs.collect();
            let word = if pairs.iter().any(|(is, told)| is > told) {
                "double"
            } else if pairs.iter().all(|(is, told)| is < told) {
                "lost"
            } else if pairs.iter().any(|(is, told)| is < told) || uneven(cells, &pairs) {
                "partial"
            } else {
                continue;
            };
            let what = format!("cells {cells:?} hold, and receipts say, {pairs:?}");
            wrong.push(Wrong { word, what });
        }
        if let Some(disk) = &self.disk {
            disk.compare(&mut wrong);
        }
        wrong
    }

    /// Everything is as the receipts say, and nothing is left.
    pub(crate) fn check(&self) {
        let wrong = self.findings();
        let first = wrong.first().map(Wrong::to_string);
        assert!(
            wrong.is_empty(),
            "{}; {} in all",
            first.unwrap(),
            wrong.len()
        );
        let Stats {
            plan_locks,
            resource_locks,
            live_plans,
            unsettled,
            ..
        } = self.manager.stats();
        let left = [plan_locks, resource_locks, live_plans, unsettled];
        assert_eq!(left, [0; 4], "the tables are empty");
        if let Some(disk) = &self.disk {
            self.check_store(disk);
        }
    }

    /// The store as a manager finds it that was not there.
    fn check_store(&self, disk: &Disk) {
        let files = disk.files();
        let kind = Arc::new(CellKind(Arc::clone(&self.ledger)));
        let next = SandboxManager::builder().kind(kind).store(disk.store());
        let next = next.open().unwrap();
        let plans = next.plans().unwrap();
        let committed = plans.iter().filter(|status| status.state.is_committed());
        let with_receipt = committed.filter(|status| next.receipt(&status.plan).unwrap().is_some());
        // All of them, and the slow one, which has no directory.
        assert_eq!(with_receipt.count(), files + 1, "receipts in the journal");
        let problems = next.doctor().unwrap();
        let problems = problems
            .iter()
            .filter(|one| one.severity == Severity::Problem);
        assert_eq!(problems.count(), 0, "the store is in order");
        println!("| files in directories, each with its receipt after a restart | {files} |");
    }
}

/// A plan has all cells of its slot or none; those of the slot 0 are not of one plan.
fn uneven(cells: &[usize], pairs: &[(u64, u64)]) -> bool {
    cells[0] > 0 && pairs.iter().any(|(is, _)| *is != pairs[0].0)
}

/// Something wrong to plant: how it is to be called, where it is, and how it is made in a slot with a
/// receipt for the life that is given.
type Plant = (&'static str, &'static str, fn(&Stress, u64, u64));

const PLANTS: [Plant; 6] = [
    (
        "lost",
        "a receipt for what did not happen",
        |stress, slot, _| {
            for cell in cells(slot) {
                stress.receipts[cell].fetch_add(1, Ordering::Relaxed);
            }
        },
    ),
    (
        "double",
        "a cell that was added to twice",
        |stress, slot, _| {
            stress.ledger.add(cells(slot)[1]);
        },
    ),
    (
        "partial",
        "one cell of three without its addition",
        |stress, slot, _| {
            stress.ledger.take(cells(slot)[2]);
        },
    ),
    ("lost", "a file that is not there", |stress, slot, life| {
        std::fs::remove_file(stress.file(slot, life)).unwrap();
    }),
    (
        "double",
        "a file without a receipt",
        |stress, slot, life| {
            std::fs::copy(stress.file(slot, life), stress.file(slot, u64::MAX)).unwrap();
        },
    ),
    ("partial", "half of a file", |stress, slot, life| {
        let file = std::fs::File::options()
            .write(true)
            .open(stress.file(slot, life));
        file.unwrap().set_len(7).unwrap();
    }),
];

fn cells(slot: u64) -> [usize; 3] {
    [0, 1, 2].map(|index| usize::try_from(slot * 3 + index).unwrap())
}

impl Stress {
    fn file(&self, slot: u64, life: u64) -> PathBuf {
        let root = self.disk.as_ref().unwrap().root(slot);
        root.join(life.to_string())
    }

    /// Some slot with a receipt, and the life that has it.
    fn committed(&self) -> (u64, u64) {
        let disk = self.disk.as_ref().unwrap();
        let slots = 1..self.shape.slots;
        let mut found = slots.filter_map(|slot| Some((slot, *disk.lives(slot).first()?)));
        found.next().unwrap()
    }
}

/// The controls of the comparison: one wrong thing in a run that was right is found, as what it is.
pub(crate) fn planted(seed: u64) {
    let shape = Shape {
        threads: 4,
        slots: 8,
        busy: 4,
        plans: 8,
    };
    for (word, what, plant) in PLANTS {
        let stress = Stress::new(shape, seed, false, Some(Disk::new(shape.slots)));
        stress.run_quietly(seed, Duration::ZERO);
        stress.end();
        assert!(stress.findings().is_empty(), "before {what}");
        let (slot, life) = stress.committed();
        plant(&stress, slot, life);
        let found = stress.findings();
        let right = found.len() == 1 && found[0].word == word;
        assert!(right, "{what} is to be {word}: {found:?}");
        println!("| control: {what} | {} |", found[0]);
    }
}
