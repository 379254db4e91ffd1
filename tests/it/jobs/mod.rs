//! Jobs among processes: two writers, a dead owner, a full disk, and kill -9 at every write step.

mod crash;

use crate::support::child;
use planbox::job::{Changes, Prune};
use planbox::{Explain as _, JobHandle, JobId, JobPatch, JobState, JobStore, NewJob};
use planbox::{Job, SandboxManager};
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// How many processes write to one job, and how often each of them.
const PROCESSES: usize = 4;
const WRITES: u64 = 25;

/// Longer than anything here takes; a wait that long is a failure.
const LONG: Duration = Duration::from_secs(60);

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn open(home: &Path) -> JobStore {
    JobStore::open(home.join("store")).unwrap()
}

fn read(jobs: &JobStore, name: &str) -> Job {
    jobs.read(&id(name)).unwrap().unwrap()
}

fn lease_files(home: &Path) -> usize {
    let files = std::fs::read_dir(home.join("store/jobs"));
    files.unwrap().count()
}

fn begin(jobs: &JobStore, name: &str) -> JobHandle {
    jobs.create(&id(name), NewJob::new("test")).unwrap();
    jobs.start(&id(name)).unwrap()
}

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    match task.split_once(' ').unwrap_or((&task, "")) {
        ("life", _) => crash::live(&home),
        ("write", field) => write_own_field(&home, field),
        ("own", name) => own_until_cancelled(&home, name),
        ("full-disk", _) => fill_the_disk(&home),
        ("read-only", _) => write_to_a_read_only_disk(&home),
        (other, _) => panic!("no task {other}"),
    }
}

fn start(task: &str, home: &Path, sign: &str) -> Child {
    child::start_until(&mut child::command("jobs::child_entry", task, home), sign)
}

/// Writes a field of its own as soon as it is told to.
fn write_own_field(home: &Path, field: &str) {
    let jobs = open(home);
    println!("ready");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    for count in 1..=WRITES {
        let patch = JobPatch::new().set(field, &count).log(field);
        jobs.update(&id("shared"), patch).unwrap();
    }
}

/// Owns a job until somebody asks it to stop, or kills it.
fn own_until_cancelled(home: &Path, name: &str) {
    let jobs = open(home);
    let owner = begin(&jobs, name);
    owner.append_log("at work", Some(10)).unwrap();
    let mut watch = jobs.watch(jobs.revision().unwrap());
    println!("owned");
    while !owner.is_cancel_requested().unwrap() {
        drop(watch.next(LONG).unwrap().unwrap());
    }
    owner.cancelled().unwrap();
}

#[test]
fn several_processes_write_one_job_and_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let jobs = open(home.path());
    jobs.create(&id("shared"), NewJob::new("test")).unwrap();
    let from = jobs.revision().unwrap();
    let mut watch = jobs.watch(from);
    let spawn = |writer: usize| start(&format!("write own-{writer}"), home.path(), "ready");
    let mut writers: Vec<Child> = (0..PROCESSES).map(spawn).collect();
    for writer in &mut writers {
        writer.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    // Everything that the others do is seen here, or counted.
    let expected = WRITES * PROCESSES as u64;
    let (mut seen, mut missed, mut last) = (0, 0, from);
    while seen + missed < expected {
        let Changes {
            jobs,
            missed: more,
            revision,
            ..
        } = watch.next(LONG).unwrap().unwrap();
        assert!(jobs.iter().all(|job| job.revision > last));
        (seen, missed, last) = (seen + jobs.len() as u64, missed + more, revision);
    }
    println!("watched {expected} changes of {PROCESSES} processes: {seen} seen, {missed} missed");
    for mut writer in writers {
        writer.wait().unwrap();
    }
    assert_eq!((seen + missed, last), (expected, from + expected));
    let end = read(&jobs, "shared");
    for writer in 0..PROCESSES {
        let count: u64 = end.extra[&format!("own-{writer}")].parse().unwrap();
        assert_eq!(count, WRITES);
    }
    assert_eq!((end.lines, end.revision), (expected, last));
}

/// Who sees the end of an attempt may ask for the next one, although the owner still has its lease
/// for a moment.
#[test]
fn a_job_can_be_retried_as_soon_as_its_end_is_seen() {
    let home = tempfile::tempdir().unwrap();
    let stores = [open(home.path()), JobStore::in_memory()];
    for jobs in stores {
        let mut owner = begin(&jobs, "again");
        for attempt in 2..=40 {
            owner = std::thread::scope(|scope| {
                scope.spawn(|| owner.fail("once more").unwrap());
                while read(&jobs, "again").state != JobState::Failed {
                    std::thread::yield_now();
                }
                jobs.retry(&id("again")).unwrap()
            });
            assert_eq!(owner.attempt(), attempt);
        }
    }
}

#[test]
fn a_job_of_another_process_is_seen_busy_and_can_be_asked_to_stop() {
    let home = tempfile::tempdir().unwrap();
    let jobs = open(home.path());
    let mut watch = jobs.watch(0);
    let mut owner = start("own busy", home.path(), "owned");
    let seen = read(&jobs, "busy");
    assert_eq!((seen.state, seen.progress), (JobState::Running, 10));
    assert_eq!(seen.owner.unwrap().pid, owner.id());
    let refused = jobs.retry(&id("busy")).unwrap_err();
    assert_eq!(refused.code(), "busy");
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        why.contains(&owner.id().to_string()),
        "the owner is named: {why}"
    );
    let kept = jobs.prune(&Prune::all().ids([id("busy")])).unwrap().kept;
    assert_eq!(kept, [(id("busy"), JobState::Running)]);
    assert_eq!(jobs.cancel(&id("busy")).unwrap(), JobState::Running);
    owner.wait().unwrap();
    let end = read(&jobs, "busy");
    assert_eq!(
        (end.state, end.cancel_requested),
        (JobState::Cancelled, true)
    );
    let mut last = JobState::Queued;
    while let Some(changes) = watch.next(Duration::ZERO).unwrap() {
        last = changes.jobs.last().map_or(last, |job| job.state);
    }
    assert_eq!(last, JobState::Cancelled, "the watch has seen the end");
}

#[test]
fn a_killed_owner_is_seen_at_once_and_its_job_can_be_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let manager = SandboxManager::open(home.path().join("store")).unwrap();
    let jobs = manager.jobs();
    let mut owner = start("own killed", home.path(), "owned");
    assert_eq!(read(&jobs, "killed").state, JobState::Running);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let seen = read(&jobs, "killed");
    assert_eq!((seen.state, seen.progress), (JobState::Interrupted, 10));
    assert_eq!(jobs.list().unwrap()[0].state, JobState::Interrupted);
    assert_eq!(lease_files(home.path()), 1, "what the dead left");
    let other = open(home.path());
    assert_eq!(other.sweep().unwrap(), [id("killed")]);
    assert_eq!(lease_files(home.path()), 0);
    let again = jobs.retry(&id("killed")).unwrap();
    assert_eq!((again.attempt(), again.read().unwrap().lines), (2, 1));
    again.complete("at last").unwrap();
    assert_eq!(read(&other, "killed").state, JobState::Completed);
    assert_eq!(manager.stats().job_locks, 0);
    assert_eq!(lease_files(home.path()), 0, "no lease file stays");
    let findings = manager.doctor().unwrap();
    assert!(
        findings.iter().all(|finding| finding.fix.is_empty()),
        "{findings:?}"
    );
}

#[test]
fn the_jobs_of_a_manager_are_one_store() {
    let manager = SandboxManager::in_memory();
    let owner = begin(&manager.jobs(), "a");
    assert_eq!(read(&manager.jobs(), "a").state, JobState::Running);
    owner.complete(&1).unwrap();
    assert_eq!(manager.stats().job_locks, 0);
}

/// Runs `task` in a mount namespace of its own; false if none is to be had.
fn in_namespace(task: &str, home: &Path) -> bool {
    let probe = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "--", "mount", "-t", "tmpfs", "planbox-test"]);
        let output = command.arg(home).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(flags) = ["-m", "-Urm"].into_iter().find(|flags| probe(flags)) else {
        println!("skipped: no mount namespace is to be had here");
        return false;
    };
    let inner = child::command("jobs::child_entry", task, home);
    let mut outer = Command::new("unshare");
    outer.args([flags, "--"]).arg(inner.get_program());
    outer.args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    let output = outer.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said
        .lines()
        .filter(|line| line.contains("then:") || line.contains("refused"));
    figures.for_each(|line| println!("{line}"));
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn mount(options: &str, at: &Path) {
    let mut mount = Command::new("mount");
    let mount = mount.args(["-t", "tmpfs", "-o", options, "planbox-test"]);
    assert!(mount.arg(at).status().unwrap().success());
}

/// Inside the namespace: a job in a store on a disk that is full.
fn fill_the_disk(home: &Path) {
    mount("size=2m", home);
    let jobs = open(home);
    let owner = begin(&jobs, "full");
    owner.update(JobPatch::new().set("old", &1)).unwrap();
    let hog = home.join("hog");
    let mut file = std::fs::File::create(&hog).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let mut written = 0;
    let (before, refused) = loop {
        let before = read(&jobs, "full");
        let large = "x".repeat(10_000);
        match owner.update(JobPatch::new().set("large", &large).progress(50).log("l")) {
            Ok(_) => written += 1,
            Err(refused) => break (before, refused),
        }
    };
    println!("{written} updates went through, then: {refused}");
    assert_eq!(refused.code(), "journal", "{refused:?}");
    assert_eq!(read(&jobs, "full"), before, "nothing of it was written");
    drop(file);
    std::fs::remove_file(&hog).unwrap();
    owner.complete("with space again").unwrap();
    let end = read(&open(home), "full");
    assert_eq!((end.state, end.progress), (JobState::Completed, 100));
}

#[test]
fn a_full_disk_is_a_typed_error_and_the_old_record_stands() {
    let home = tempfile::tempdir().unwrap();
    in_namespace("full-disk", home.path());
}

/// Inside the namespace: a store on a disk that can only be read.
fn write_to_a_read_only_disk(home: &Path) {
    mount("size=8m", home);
    let jobs = open(home);
    begin(&jobs, "kept").fail("first").unwrap();
    let before = read(&jobs, "kept");
    drop(jobs);
    mount("remount,ro", home);
    match JobStore::open(home.join("store")) {
        Ok(jobs) => {
            let refused = jobs.update(&id("kept"), JobPatch::new().set("a", &1));
            assert_eq!(refused.unwrap_err().code(), "journal");
        }
        Err(refused) => println!("refused at opening: {} {refused}", refused.code()),
    }
    mount("remount,rw", home);
    assert_eq!(read(&open(home), "kept"), before);
}

#[test]
fn a_read_only_disk_is_a_typed_error_and_the_old_record_stands() {
    let home = tempfile::tempdir().unwrap();
    in_namespace("read-only", home.path());
}
