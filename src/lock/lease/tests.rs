use super::*;
use crate::lock::identify_holder;
use crate::sync::thread;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NAME: &str = "p-one";
/// Set in a child process that is to hold a lease: the directory of the lease.
const CHILD: &str = "PLANBOX_TEST_LEASE_IN";

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn take(locks: &Path, wait: LockWait) -> Result<Lease, LockError> {
    Lease::acquire(locks, NAME, &identify_holder("one", "commit"), wait)
}

#[test]
fn a_second_taker_is_refused_and_told_who_holds_it() {
    let home = directory();
    let locks = home.path();
    assert_eq!(Lease::peek(locks, NAME), None);
    let lease = take(locks, LockWait::Try).expect("free");
    let holder = Lease::peek(locks, NAME).expect("held");
    assert_eq!((&*holder.key, &*holder.operation), ("one", "commit"));
    assert_eq!(holder.pid, std::process::id());
    let busy = take(locks, LockWait::Try).expect_err("held");
    assert!(matches!(&busy, LockError::Busy { holder: Some(named), .. } if **named == holder));
    let late = take(locks, LockWait::For(Duration::from_millis(3))).expect_err("held");
    let LockError::TimedOut {
        waited_ms,
        holder: named,
        ..
    } = late
    else {
        panic!("{late}");
    };
    assert!(waited_ms >= 3);
    assert_eq!(named.as_deref(), Some(&holder));
    drop(lease);
    assert_eq!(Lease::peek(locks, NAME), None);
    let left = std::fs::metadata(locks.join(NAME)).expect("the file stays");
    assert_eq!((left.len(), left.mode() & 0o7777), (0, 0o600));
    drop(take(locks, LockWait::Try).expect("free"));
}

#[test]
fn a_waiter_gets_the_lease_when_it_is_let_go() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| take(home.path(), LockWait::Block).is_ok());
        drop(lease);
        assert!(waiter.join().expect("an end"));
    });
}

#[test]
fn the_lease_of_a_removed_file_is_not_a_lease() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    let door = Door::at(home.path(), NAME).expect("a directory");
    // Two takers that opened the file before it was retired, and lock it afterwards.
    let early = || door.open(OFlags::RDWR).expect("the file");
    let (first, second) = (early(), early());
    assert!(matches!(door.lock(early()), Ok(Attempt::Held)));
    lease.retire();
    assert!(!home.path().join(NAME).exists());
    assert!(matches!(door.lock(first), Ok(Attempt::Stale)));
    let _lease = take(home.path(), LockWait::Try).expect("the next file is free");
    assert!(matches!(door.lock(second), Ok(Attempt::Stale)));
}

#[test]
fn a_holder_whose_file_was_removed_by_hand_leaves_the_next_one_alone() {
    let home = directory();
    let robbed = take(home.path(), LockWait::Try).expect("free");
    std::fs::remove_file(home.path().join(NAME)).expect("removed");
    let next = take(home.path(), LockWait::Try).expect("free again");
    robbed.retire();
    assert!(take(home.path(), LockWait::Try).is_err(), "it is held");
    next.retire();
    assert!(!home.path().join(NAME).exists());
}

#[test]
fn threads_that_retire_and_take_never_hold_it_together() {
    let home = directory();
    let inside = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        for round in 0..100 {
            let lease = take(home.path(), LockWait::Block).expect("a turn");
            let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(others, 0, "two holders");
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            if round % 2 == 0 {
                lease.retire();
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

#[test]
fn a_look_does_not_make_a_try_fail() {
    let home = directory();
    // A record that a dead holder left is what makes a look take the lock for a moment.
    let mut dead = identify_holder("one", "commit");
    dead.pid = u32::MAX;
    let record = serde_json::to_vec(&dead).expect("a record");
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                drop(Lease::peek(home.path(), NAME));
            }
        });
        for _ in 0..200 {
            let lease = take(home.path(), LockWait::Try);
            let written = lease.as_ref().map(|lease| {
                lease.file.set_len(0)?;
                lease.file.write_all_at(&record, 0)
            });
            let is_taken = matches!(written, Ok(Ok(())));
            // Ends as a crash would: the record stays.
            if let Ok(mut lease) = lease {
                lease.is_retired = true;
            }
            if !is_taken {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("a look made a try fail");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_refusal_is_certain_if_its_holder_may_be_alive() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    let door = Door::at(home.path(), NAME).expect("a directory");
    let ours = identify_holder("one", "commit");
    let mut dead = ours.clone();
    dead.pid = u32::MAX;
    let mut elsewhere = dead.clone();
    elsewhere.host.push_str("-two");
    for (holder, certain) in [(&ours, true), (&dead, false), (&elsewhere, true)] {
        lease.write(holder).expect("a record");
        assert_eq!(door.is_certainly_held(), certain, "{holder:?}");
    }
    let mut ended = Command::new("true").spawn().expect("a child");
    assert!(is_running(ended.id()));
    ended.wait().expect("its end");
    assert!(!is_running(ended.id()));
    lease.file.set_len(0).expect("no record");
    assert!(!door.is_certainly_held());
}

#[test]
fn what_is_let_go_is_free_although_a_child_still_has_the_file() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    let between_fork_and_exec = lease.file.try_clone().expect("the same open file");
    drop(lease);
    let lease = take(home.path(), LockWait::Try).expect("free");
    drop((lease, between_fork_and_exec));
    let open = || File::open(home.path()).expect("a directory");
    let take = || FileLock::acquire(open(), "dir:root", false, LockWait::Try);
    let lock = take().expect("free");
    let between_fork_and_exec = lock.file().try_clone().expect("the same open file");
    assert!(take().is_err(), "held");
    drop(lock);
    drop(take().expect("free"));
    drop(between_fork_and_exec);
}

#[test]
fn a_holder_with_a_long_key_is_read_whole_and_an_endless_record_is_not() {
    let home = directory();
    let key = "k".repeat(50_000);
    let holder = identify_holder(&key, "commit");
    let lease = Lease::acquire(home.path(), NAME, &holder, LockWait::Try).expect("free");
    assert_eq!(Lease::peek(home.path(), NAME), Some(holder.clone()));
    let mut record = vec![b' '; 64 * 1024];
    record.extend(serde_json::to_vec(&holder).expect("a record"));
    lease.file.write_all_at(&record, 0).expect("a long record");
    assert_eq!(Lease::peek(home.path(), NAME), None);
}

#[test]
fn a_child_does_not_inherit_the_lease() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("cat");
    let open = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("its files");
    let open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let inherited: Vec<_> = open.filter(|file| file.starts_with(home.path())).collect();
    assert_eq!(inherited, Vec::<PathBuf>::new());
    drop(lease);
    drop(take(home.path(), LockWait::Try).expect("free while the child runs"));
    drop(child.stdin.take());
    child.wait().expect("its end");
}

#[test]
fn names_that_are_no_names_and_files_that_are_no_files_are_refused() {
    let home = directory();
    for name in ["", ".", "..", "a/b", "/etc/passwd"] {
        let holder = identify_holder(name, "commit");
        let refused = Lease::acquire(home.path(), name, &holder, LockWait::Try);
        assert!(matches!(refused, Err(LockError::File { .. })), "{name}");
    }
    let target = home.path().join("target");
    File::create(&target).expect("a file");
    std::os::unix::fs::symlink(&target, home.path().join(NAME)).expect("a link");
    assert!(matches!(
        take(home.path(), LockWait::Try),
        Err(LockError::File { .. })
    ));
    std::fs::remove_file(home.path().join(NAME)).expect("no link");
    std::fs::create_dir(home.path().join(NAME)).expect("a directory");
    assert!(matches!(
        take(home.path(), LockWait::Block),
        Err(LockError::File { .. })
    ));
    assert_eq!(Lease::peek(home.path(), NAME), None);
}

#[test]
fn a_record_that_is_not_ours_names_nobody_and_is_asked_about_again() {
    let home = directory();
    let lease = take(home.path(), LockWait::Try).expect("free");
    lease.file.write_all_at(b"garbage", 0).expect("garbage");
    let watch = crate::clock::Stopwatch::start();
    let busy = take(home.path(), LockWait::Try).expect_err("held");
    let asked_for = Duration::from_millis(u64::from(DOUBTS));
    assert!(watch.elapsed() >= asked_for, "it was asked again first");
    assert!(matches!(busy, LockError::Busy { holder: None, .. }));
}

/// The body of the child process of the next test; does nothing in a run of the tests.
#[test]
fn child_that_holds_a_lease() {
    let Some(locks) = std::env::var_os(CHILD) else {
        return;
    };
    let _lease = take(Path::new(&locks), LockWait::Try).expect("free");
    writeln!(io::stderr(), "held").expect("a parent");
    io::stdin().read_line(&mut String::new()).expect("a parent");
}

/// Starts a process that holds the lease until its input ends.
fn another_holder(locks: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "--nocapture",
            "lock::lease::tests::child_that_holds_a_lease",
        ])
        .env(CHILD, locks)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let said = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = said.lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "held"));
    child
}

#[test]
fn another_process_is_named_and_its_death_frees_the_lease() {
    let home = directory();
    let mut child = another_holder(home.path());
    let holder = Lease::peek(home.path(), NAME).expect("held");
    assert_eq!(holder.pid, child.id());
    let busy = take(home.path(), LockWait::Try).expect_err("held");
    assert!(matches!(&busy, LockError::Busy { holder: Some(named), .. } if **named == holder));
    child.kill().expect("a child");
    child.wait().expect("its end");
    assert_eq!(
        Lease::peek(home.path(), NAME),
        None,
        "the record of the dead is not believed"
    );
    drop(take(home.path(), LockWait::Try).expect("free"));
}

#[test]
fn file_locks_are_shared_or_alone() {
    let home = directory();
    let open = || File::open(home.path()).expect("a directory");
    let take = |shared, wait| FileLock::acquire(open(), "dir:root", shared, wait);
    let one = take(true, LockWait::Try).expect("free");
    let two = take(true, LockWait::Try).expect("shared");
    let alone = take(false, LockWait::Try).expect_err("shared by others");
    assert!(matches!(&alone, LockError::Busy { key, holder: None } if key == "dir:root"));
    drop(one);
    let late = take(false, LockWait::For(Duration::from_millis(2))).expect_err("shared");
    assert!(matches!(late, LockError::TimedOut { waited_ms: 2.., .. }));
    drop(two);
    let alone = take(false, LockWait::Block).expect("free");
    assert!(alone.file().metadata().expect("it").is_dir());
    assert!(take(true, LockWait::Try).is_err());
}
