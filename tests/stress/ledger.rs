//! The real thing of the stress: cells that count, with faults on the way to them.

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Kind, Outcome, Place, Redo, Resource, Sandbox,
    Sealed, Vote, Work,
};
use planbox::{Conflict, Fault, ParticipantError, ResourceKey, ResourceName};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Numbers from a seed, the same on every machine (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Every cell, and how often something goes wrong on the way to one.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Who added to each cell, in order: an addition is known by who made it, so that undoing one
    /// never undoes another.
    cells: Vec<Mutex<Vec<u64>>>,
    /// From this cell on, several plans add to one.
    shared: usize,
    draws: AtomicU64,
    seed: u64,
    /// One call in so many fails; 0 for never.
    one_in: AtomicU64,
    /// How many calls failed, and how many panicked.
    pub(crate) failed: AtomicU64,
    pub(crate) panicked: AtomicU64,
    /// A plan that is to be slow waits in its apply until this is false.
    pub(crate) slow: AtomicBool,
}

impl Ledger {
    pub(crate) fn new((cells, shared): (usize, usize), seed: u64, one_in: u64) -> Arc<Self> {
        Arc::new(Self {
            cells: (0..cells).map(|_| Mutex::default()).collect(),
            shared,
            draws: AtomicU64::new(0),
            seed,
            one_in: AtomicU64::new(one_in),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            slow: AtomicBool::new(false),
        })
    }

    pub(crate) fn read(&self, cell: usize) -> u64 {
        self.additions(cell).len() as u64
    }

    fn additions(&self, cell: usize) -> MutexGuard<'_, Vec<u64>> {
        self.cells[cell].lock().unwrap()
    }

    /// For a control: one more addition, by nobody.
    pub(crate) fn add(&self, cell: usize) {
        self.additions(cell).push(u64::MAX);
    }

    /// For a control: one addition less.
    pub(crate) fn take(&self, cell: usize) {
        assert!(self.additions(cell).pop().is_some(), "there was one");
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        self.one_in.store(0, Ordering::Relaxed);
    }

    /// A call of a participant: most go through, some fail, a few panic.
    fn pass(&self, step: &str) -> Outcome<()> {
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in == 0 {
            return Ok(());
        }
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        let mut random = Random(self.seed ^ draw.wrapping_mul(0x2545_f491_4f6c_dd1d));
        if random.below(one_in) != 0 {
            return Ok(());
        }
        if random.below(8) == 0 {
            self.panicked.fetch_add(1, Ordering::Relaxed);
            // Not through the hook: nobody wants a thousand backtraces.
            std::panic::resume_unwind(Box::new(format!("planted in {step}")));
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        Err(ParticipantError::new(
            Fault::Io,
            format!("planted in {step}"),
        ))
    }
}

/// One cell as a resource; a plan adds one to it.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    ledger: Arc<Ledger>,
    place: usize,
    name: ResourceName,
}

impl Cell {
    pub(crate) fn new(ledger: &Arc<Ledger>, cell: usize) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            place: cell,
            name: ResourceName::new(format!("cell-{cell}")).unwrap(),
        }
    }

    fn sandbox(&self, base: u64, who: u64) -> CellSandbox {
        CellSandbox {
            ledger: Arc::clone(&self.ledger),
            cell: self.place,
            base,
            who,
            identity: identity(self.place),
        }
    }
}

fn identity(cell: usize) -> Identity {
    Identity {
        key: ResourceKey::new("cell", cell),
        enclosing: Vec::new(),
        tree: None,
    }
}

impl Resource for Cell {
    fn kind(&self) -> &'static str {
        "cell"
    }

    fn name(&self) -> Option<&ResourceName> {
        Some(&self.name)
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(identity(self.place))
    }

    fn open(&self, _place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        self.ledger.pass("open")?;
        let who = self.ledger.draws.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(self.sandbox(self.ledger.read(self.place), who)))
    }
}

/// Opens cells again.
#[derive(Debug)]
pub(crate) struct CellKind(pub(crate) Arc<Ledger>);

impl Kind for CellKind {
    fn name(&self) -> &'static str {
        "cell"
    }

    fn reopen(&self, record: &str, _place: &Place) -> Outcome<Box<dyn Sandbox>> {
        let numbers = record.split('@').map(|number| number.parse().unwrap());
        let numbers: Vec<u64> = numbers.collect();
        let cell = Cell::new(&self.0, usize::try_from(numbers[0]).unwrap());
        Ok(Box::new(cell.sandbox(numbers[1], numbers[2])))
    }
}

#[derive(Debug)]
struct CellSandbox {
    ledger: Arc<Ledger>,
    cell: usize,
    base: u64,
    who: u64,
    identity: Identity,
}

impl CellSandbox {
    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        let place = self.cell.to_string();
        changes
            .entries
            .push(Change::new(place, Action::Modified, "cell", 8));
        changes
    }

    fn conflict(&self, now: u64) -> Conflict {
        let [base, now, ours] = [self.base, now, self.base + 1].map(|number| number.to_string());
        Conflict::new(self.cell.to_string(), base, now, ours)
    }
}

impl Sandbox for CellSandbox {
    fn kind(&self) -> &'static str {
        "cell"
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        self.cell.to_string()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "memory"
    }

    fn record(&self) -> String {
        format!("{}@{}@{}", self.cell, self.base, self.who)
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        Ok(self.changes())
    }

    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        self.ledger.pass("seal")?;
        Ok(Sealed {
            changes: self.changes(),
            digest: self.record(),
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(vec![Guard {
            key: self.identity.key.clone(),
            file: None,
            shared: false,
        }])
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        self.ledger.pass("prepare")?;
        let now = self.ledger.read(self.cell);
        if now != self.base {
            return Ok(Vote::Conflict(vec![self.conflict(now)]));
        }
        Ok(Vote::Ready {
            redo: Redo(self.base.to_string()),
            changes: self.changes(),
        })
    }

    fn apply(&mut self, redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        self.ledger.pass("apply")?;
        if self.cell == 0 {
            while self.ledger.slow.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        }
        let from: u64 = redo.0.parse().unwrap();
        let mut additions = self.ledger.additions(self.cell);
        if !additions.contains(&self.who) {
            let now = additions.len() as u64;
            if now != from {
                return Err(ParticipantError::conflict(vec![self.conflict(now)]));
            }
            additions.push(self.who);
        }
        drop(additions);
        self.ledger.pass("applied")
    }

    /// A shared cell is always taken back at once: what it holds in doubt would be seen by others,
    /// whose additions then stand on ours.
    fn take_back(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        if self.cell < self.ledger.shared {
            self.ledger.pass("take_back")?;
        }
        let mut additions = self.ledger.additions(self.cell);
        if additions.last() == Some(&self.who) {
            additions.pop();
        }
        assert!(!additions.contains(&self.who), "somebody stands on ours");
        Ok(())
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
}
