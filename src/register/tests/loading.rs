//! Loading, unloading, and following a row.

use super::*;
use crate::sync::channel;
use crate::sync::order::{Class, Order};
use std::cell::Cell;
use std::sync::Weak;

/// A lock that may be held while something is loaded.
const HOST: Rank =
    Order::new(&[Class::around("control", "a cell that loads under its lock")]).rank("control");

/// A loader that says that it has begun and then waits to be let go.
struct Slow {
    begun: channel::Sender<()>,
    go: channel::Receiver<()>,
}

impl Slow {
    fn new() -> (Self, channel::Receiver<()>, channel::Sender<()>) {
        let (begun, has_begun) = channel::bounded(1);
        let (go, may_go) = channel::bounded(1);
        (Self { begun, go: may_go }, has_begun, go)
    }

    fn load(&self, value: u32) -> Arc<u32> {
        self.begun.send(()).unwrap();
        self.go.recv().unwrap();
        Arc::new(value)
    }
}

fn seen(register: &VersionRegister<u32>) -> (String, Option<u32>, u64) {
    let seen = register.snapshot();
    let value = seen.value().copied();
    (seen.version().to_owned(), value, seen.generation())
}

#[test]
fn readers_and_writers_go_on_while_a_value_is_loaded() {
    let register = VersionRegister::new("v1", 1);
    let (slow, has_begun, go) = Slow::new();
    thread::scope(|scope| {
        let loading =
            scope.spawn(|| register.activate_with(1, "slow", || Ok::<_, String>(slow.load(9))));
        has_begun.recv().unwrap();
        // The load is under way now, and stays so until all of this is done.
        assert_eq!(seen(&register), ("v1".to_owned(), Some(1), 1));
        assert_eq!(register.activate(1, "v2", Arc::new(2)), Ok(2));
        assert_eq!(seen(&register), ("v2".to_owned(), Some(2), 2));
        go.send(()).unwrap();
        let late = loading.join().unwrap();
        assert!(
            matches!(
                late,
                Err(ActivateError::Refused(RegisterError::Moved {
                    expected: 1,
                    found: 2,
                    ..
                }))
            ),
            "{late:?}"
        );
    });
    assert_eq!(seen(&register), ("v2".to_owned(), Some(2), 2));
}

/// The same on a cell that loads under its lock: a reader would have to wait.
#[test]
fn negative_control_a_load_under_the_lock_keeps_readers_out() {
    let locked = Mutex::new(HOST, "control", Arc::new(1));
    let (slow, has_begun, go) = Slow::new();
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let mut current = locked.lock();
            *current = slow.load(9);
        });
        has_begun.recv().unwrap();
        assert!(locked.try_lock().is_none(), "read while the lock is held");
        go.send(()).unwrap();
        loading.join().unwrap();
    });
    assert_eq!(locked.try_lock().as_deref(), Some(&Arc::new(9)));
}

#[test]
fn a_load_that_fails_or_panics_changes_nothing() {
    let register = VersionRegister::new("v1", 1);
    let failed = register.activate_with(1, "v2", || Err::<Arc<u32>, _>("no such file"));
    assert_eq!(failed, Err(ActivateError::Load("no such file")));
    let error = failed.unwrap_err();
    let text = "the value could not be loaded: no such file";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.code(), "register-load-failed");
    assert!(!error.is_retryable() && error.stage().is_none());
    assert!(error.next_step().contains("nothing has changed"));
    let panicking = std::panic::AssertUnwindSafe(|| {
        drop(register.activate_with(1, "v2", || -> Result<Arc<u32>, ()> { panic!("planted") }));
    });
    std::panic::catch_unwind(panicking).unwrap_err();
    assert_eq!(seen(&register), ("v1".to_owned(), Some(1), 1));
    let ok = register.activate_with(1, "v2", || Ok::<_, ()>(Arc::new(2)));
    assert_eq!(ok, Ok(2));
}

#[test]
fn a_load_for_an_older_generation_is_not_even_begun() {
    let register = VersionRegister::new("v1", 1);
    register.activate(1, "v2", Arc::new(2)).unwrap();
    let never = || -> Result<Arc<u32>, String> { panic!("loaded for nothing") };
    let late = register.activate_with(1, "v3", never).unwrap_err();
    assert!(matches!(late, ActivateError::Refused(_)), "{late:?}");
    let reason = RegisterError::Moved {
        expected: 1,
        found: 2,
        version: "v2".to_owned(),
    };
    assert_eq!(
        (late.code(), late.next_step()),
        (reason.code(), reason.next_step())
    );
}

#[cfg(debug_assertions)]
#[test]
fn a_load_under_a_latch_is_refused_by_the_witness() {
    let register = VersionRegister::new("v1", 1);
    let latch = Mutex::new(Rank::Registry, "planted", ());
    let under = std::panic::AssertUnwindSafe(|| {
        let _held = latch.lock();
        drop(register.activate_with(1, "v2", || Ok::<_, ()>(Arc::new(2))));
    });
    witness::planted(|| std::panic::catch_unwind(under)).unwrap_err();
    assert_eq!(seen(&register), ("v1".to_owned(), Some(1), 1));
}

#[test]
fn an_old_value_goes_with_its_last_reader() {
    let register = VersionRegister::new("v1", 1);
    let reader = register.snapshot();
    let (second, kept) = (reader.clone(), reader.shared().unwrap());
    let old: Weak<u32> = Arc::downgrade(&kept);
    register.activate(1, "v2", Arc::new(2)).unwrap();
    drop(kept);
    drop(reader);
    assert_eq!(old.upgrade().as_deref(), Some(&1), "one reader is left");
    // The last reader ends in another thread than it began in.
    thread::scope(|scope| scope.spawn(move || drop(second)).join().unwrap());
    assert!(old.upgrade().is_none());
}

#[test]
fn more_snapshots_than_there_are_cheap_ones_keep_what_they_saw() {
    let register = VersionRegister::new("0", 0_u32);
    let mut kept = Vec::new();
    for next in 1..=40 {
        kept.push(register.snapshot());
        kept.push(register.snapshot());
        let at = register.snapshot().generation();
        register
            .activate(at, next.to_string(), Arc::new(next))
            .unwrap();
    }
    for (index, snapshot) in kept.iter().enumerate() {
        let due = u32::try_from(index / 2).unwrap();
        assert_eq!(snapshot.value(), Some(&due));
        assert_eq!(snapshot.version(), due.to_string());
    }
    let values: Vec<_> = kept
        .iter()
        .map(|snapshot| Arc::downgrade(&snapshot.shared().unwrap()))
        .collect();
    drop(kept);
    assert!(values.iter().all(|value| value.upgrade().is_none()));
}

#[test]
fn unloaded_is_a_state_that_a_reader_has_to_look_at() {
    let register = VersionRegister::unloaded();
    assert_eq!(seen(&register), (String::new(), None, 1));
    assert!(!register.snapshot().is_loaded() && register.snapshot().shared().is_none());
    register.activate(1, "v1", Arc::new(1)).unwrap();
    let reader = register.snapshot();
    assert!(register.unload(1).is_err(), "an older generation");
    assert_eq!(register.unload(2), Ok(3));
    assert_eq!(seen(&register), ("v1".to_owned(), None, 3));
    assert_eq!(reader.value(), Some(&1), "the request goes on with its own");
    assert_eq!(register.activate(3, "v2", Arc::new(2)), Ok(4));
}

/// A row that somebody else can change, and how often its versions were loaded.
struct Row {
    row: Cell<(Option<u32>, u64)>,
    loads: Cell<u32>,
}

impl Row {
    fn at(version: u32, generation: u64) -> Self {
        Self {
            row: Cell::new((Some(version), generation)),
            loads: Cell::new(0),
        }
    }

    fn read(&self) -> Stored {
        match self.row.get() {
            (Some(version), generation) => Stored::new(version.to_string(), generation),
            (None, generation) => Stored::nothing(generation),
        }
    }

    fn load(&self, version: &str) -> Result<Arc<u32>, String> {
        self.loads.set(self.loads.get() + 1);
        Ok(Arc::new(
            version.parse().map_err(|_| "no number".to_owned())?,
        ))
    }

    fn refresh(&self, register: &VersionRegister<u32>) -> Refreshed<u32> {
        register
            .refresh(|| Ok(self.read()), |version| self.load(version))
            .unwrap()
    }
}

#[test]
fn a_register_follows_its_row_and_loads_once_per_change() {
    let register = VersionRegister::unloaded();
    let row = Row::at(5, 12);
    for _ in 0..3 {
        let now = row.refresh(&register);
        assert!(now.is_current());
        assert_eq!(now.snapshot().stored(), Some(12));
        assert_eq!(now.into_snapshot().value(), Some(&5));
    }
    assert_eq!(row.loads.get(), 1);
    row.row.set((Some(6), 13));
    assert_eq!(row.refresh(&register).snapshot().value(), Some(&6));
    // A row that was taken back or restored from a backup is followed too; ours never counts back.
    row.row.set((Some(5), 12));
    assert_eq!(row.refresh(&register).snapshot().value(), Some(&5));
    assert_eq!(seen(&register), ("5".to_owned(), Some(5), 4));
    // The same number for something else.
    row.row.set((Some(7), 12));
    assert_eq!(row.refresh(&register).snapshot().value(), Some(&7));
    row.row.set((None, 14));
    assert!(!row.refresh(&register).snapshot().is_loaded());
    assert_eq!(row.loads.get(), 4);
    assert!(row.refresh(&register).is_current());
    // Unloaded by hand, against the row.
    row.row.set((Some(8), 15));
    row.refresh(&register);
    register.unload(register.snapshot().generation()).unwrap();
    assert_eq!(row.refresh(&register).snapshot().value(), Some(&8));
}

#[test]
fn a_row_that_cannot_be_read_or_loaded_changes_nothing_and_blocks_nobody() {
    let register = VersionRegister::new("1", 1);
    let row = Row::at(2, 1);
    let broken = register.refresh(|| Err("no table".to_owned()), |version| row.load(version));
    assert_eq!(broken.unwrap_err(), "no table");
    let broken = register.refresh(|| Ok(row.read()), |_| Err("damaged".to_owned()));
    assert_eq!(broken.unwrap_err(), "damaged");
    let panicking = std::panic::AssertUnwindSafe(|| {
        drop(register.refresh(|| Ok::<_, ()>(row.read()), |_| panic!("planted")));
    });
    std::panic::catch_unwind(panicking).unwrap_err();
    assert_eq!(seen(&register), ("1".to_owned(), Some(1), 1));
    assert!(row.refresh(&register).is_current());
}

#[test]
fn who_read_an_older_row_and_was_overtaken_reads_again() {
    let register = VersionRegister::new("1", 1);
    let row = Row::at(2, 2);
    let overtaken = Cell::new(false);
    let now = register
        .refresh(
            || Ok(row.read()),
            |version| {
                if !overtaken.replace(true) {
                    // While this one loads row 2, the row moves on and an activation brings it.
                    row.row.set((Some(3), 3));
                    register.activate(1, "3", Arc::new(3)).unwrap();
                }
                row.load(version)
            },
        )
        .unwrap();
    assert_eq!(now.snapshot().value(), Some(&3), "row 2 did not come back");
    assert_eq!(now.snapshot().stored(), Some(3));
}

#[test]
fn who_is_overtaken_between_reading_and_comparing_reads_again() {
    let register = VersionRegister::new("1", 1);
    let row = Row::at(2, 2);
    let overtaken = Cell::new(false);
    let late = || {
        let read = row.read();
        if !overtaken.replace(true) {
            row.row.set((Some(3), 3));
            register.activate(1, "3", Arc::new(3)).unwrap();
        }
        Ok::<_, String>(read)
    };
    let now = register.refresh(late, |version| row.load(version)).unwrap();
    assert_eq!(now.snapshot().value(), Some(&3));
    assert_eq!(seen(&register).2, 3, "row 2 was never active");
}

#[test]
fn one_thread_loads_and_the_others_are_not_kept() {
    let register = VersionRegister::new("1", 1);
    let (slow, has_begun, go) = Slow::new();
    let read = || Ok::<_, String>(Stored::new("2", 2));
    thread::scope(|scope| {
        let loading = scope.spawn(|| register.refresh(read, |_| Ok(slow.load(2))).unwrap());
        has_begun.recv().unwrap();
        let beside = register.refresh(read, |_| Err("loaded twice".to_owned()));
        go.send(()).unwrap();
        assert!(loading.join().unwrap().is_current());
        let beside = beside.unwrap();
        assert!(!beside.is_current());
        assert_eq!(beside.snapshot().value(), Some(&1));
    });
    assert_eq!(seen(&register), ("2".to_owned(), Some(2), 2));
}

#[test]
fn a_refresh_leaves_a_promised_change_to_its_plan() {
    let register = VersionRegister::new("1", 1);
    let row = Row::at(2, 2);
    register.begin_draft("t");
    let wish = Wish {
        version: Some("2".to_owned()),
        stored: Some(2),
        value: Some(Arc::new(2)),
    };
    register.wish("t", wish).unwrap();
    register.promise("t").unwrap();
    assert!(!row.refresh(&register).is_current());
    register.carry_out("t").unwrap();
    assert!(row.refresh(&register).is_current());
    assert_eq!(row.loads.get(), 0, "the plan brought what the row names");
    register.restore("t").unwrap();
    assert_eq!(register.snapshot().stored(), None, "as it was before");
}
