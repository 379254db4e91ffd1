//! Many threads at one job.

use super::*;
use crate::sync::Mutex;
use std::collections::BTreeMap;

/// Writers of the lost-update tests, and how often each writes.
const WRITERS: usize = 8;
const WRITES: u64 = 40;

/// How often cancel, complete and fail race for the end of a job.
const RACES: u64 = 100_000;

/// How many jobs are raced for between two meetings of the threads.
const FIELD: u64 = 100;

/// Every writer counts in a field of its own; nothing may be lost.
fn count_in_fields(jobs: &JobStore) {
    let job = id("counted");
    jobs.create(&job, new()).unwrap();
    // A counter is a read and a write. Both adders have read before either writes: the revision
    // tells one of them that the other was there.
    let together = std::sync::Barrier::new(2);
    let add = || {
        let mut meet = true;
        loop {
            let seen = jobs.read(&job).unwrap().unwrap();
            let count = seen.extra.get("shared");
            let count = count.map_or(0, |count| count.parse::<u64>().unwrap());
            if std::mem::take(&mut meet) {
                together.wait();
            }
            let patch = JobPatch::new().set("shared", &(count + 1));
            match jobs.update_if(&job, seen.revision, patch) {
                Ok(_) => break,
                Err(JobError::Changed { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for count in 1..=WRITES {
                    let patch = JobPatch::new().set(format!("own-{writer}"), &count);
                    jobs.update(&id("counted"), patch).unwrap();
                }
            });
        }
        scope.spawn(|| (0..WRITES / 4).for_each(|_| add()));
        scope.spawn(|| (0..WRITES / 4).for_each(|_| add()));
    });
    let end = jobs.read(&job).unwrap().unwrap();
    for writer in 0..WRITERS {
        let count: u64 = end.extra[&format!("own-{writer}")].parse().unwrap();
        assert_eq!(count, WRITES);
    }
    assert_eq!(end.extra["shared"].parse::<u64>().unwrap(), WRITES / 4 * 2);
}

#[test]
fn many_writers_of_different_fields_lose_nothing_in_memory() {
    count_in_fields(&JobStore::in_memory());
}

#[cfg(feature = "sqlite")]
#[test]
fn many_writers_of_different_fields_lose_nothing_on_disk() {
    let dir = tempfile::TempDir::new().unwrap();
    count_in_fields(&JobStore::open(dir.path().join("store")).unwrap());
}

/// The store that everybody writes first: read the file, change a field, write a new file, rename
/// it over the old one. Each file is whole; what two writers did is not.
fn rename_into_place(path: &Path, field: &str, count: u64, read: impl Fn()) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut fields: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap();
    read();
    fields.insert(field.to_owned(), count);
    let dir = crate::fs::Dir::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap();
    let text = serde_json::to_string(&fields).unwrap();
    crate::fs::write_durably(&dir, name, text.as_bytes()).unwrap();
}

fn fields_that_survive(with_lock: bool) -> usize {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("jobs.json");
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), b"{}").unwrap();
    let lock = Mutex::new(Rank::Job, "the fix", ());
    let together = std::sync::Barrier::new(WRITERS);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (path, lock, together) = (&path, &lock, &together);
            scope.spawn(move || {
                let field = format!("own-{writer}");
                let guard = with_lock.then(|| lock.lock());
                // Without the lock, everybody has read before anybody writes.
                let read = || {
                    if !with_lock {
                        together.wait();
                    }
                };
                rename_into_place(path, &field, 1, read);
                drop(guard);
            });
        }
    });
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str::<BTreeMap<String, u64>>(&text)
        .unwrap()
        .len()
}

#[test]
fn negative_control_rename_without_a_lock_loses_updates_and_with_one_it_does_not() {
    assert_eq!(
        fields_that_survive(false),
        1,
        "the last writer's, and no other"
    );
    assert_eq!(fields_that_survive(true), WRITERS);
}

/// ```text
/// owner   : ..40.. ....70.... complete(result)
/// pollers : read read read read read read read
/// ```
fn poll_until_complete(jobs: &JobStore) {
    let owner = begun(jobs, "polled");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                loop {
                    let job = read(jobs, "polled");
                    assert!(job.progress >= last, "it went back from {last}");
                    last = job.progress;
                    assert_eq!(job.result.is_some(), job.state == JobState::Completed);
                    assert_eq!(job.progress == 100, job.state == JobState::Completed);
                    let listed = jobs.list().unwrap();
                    let listed = listed.iter().find(|job| job.id == id("polled")).unwrap();
                    assert_eq!(listed.progress == 100, listed.result.is_some());
                    assert_ne!(job.state, JobState::Interrupted, "the owner is alive");
                    if job.state.is_terminal() {
                        break;
                    }
                }
            });
        }
        for step in 0..200 {
            owner.append_log("step", Some(step % 100)).unwrap();
        }
        owner.complete("done").unwrap();
    });
    jobs.prune(&Prune::all()).unwrap();
}

#[test]
fn who_sees_completed_sees_the_result_and_all_of_the_progress() {
    let memory = JobStore::in_memory();
    (0..20).for_each(|_| poll_until_complete(&memory));
    #[cfg(feature = "sqlite")]
    {
        let dir = tempfile::TempDir::new().unwrap();
        let jobs = JobStore::open(dir.path().join("store")).unwrap();
        (0..3).for_each(|_| poll_until_complete(&jobs));
    }
}

/// Three threads, each with one end in mind, meet at every job.
#[test]
fn a_hundred_thousand_races_for_the_end_have_one_winner_each() {
    let jobs = JobStore::in_memory();
    let gate = std::sync::Barrier::new(4);
    let stage: Mutex<Vec<JobHandle>> = Mutex::new(Rank::Leaf, "stage", Vec::new());
    let wins = Mutex::new(Rank::Leaf, "wins", [0_u64; 3]);
    let racer = |end: usize| {
        for _ in 0..RACES / FIELD {
            gate.wait();
            let owners = stage.lock().clone();
            let mut won = 0;
            for owner in &owners {
                let outcome = match end {
                    0 => owner.complete("result"),
                    1 => owner.fail("error"),
                    _ => owner.cancelled(),
                };
                match outcome {
                    Ok(_) => won += 1,
                    Err(JobError::Over { state, .. }) => assert!(state.is_terminal()),
                    Err(other) => panic!("{other:?}"),
                }
            }
            wins.lock()[end] += won;
            drop(owners);
            gate.wait();
        }
    };
    thread::scope(|scope| {
        for end in 0..3 {
            scope.spawn(move || racer(end));
        }
        for round in 1..=RACES / FIELD {
            let owners = (0..FIELD).map(|job| begun(&jobs, &format!("raced-{job}")));
            *stage.lock() = owners.collect();
            gate.wait();
            gate.wait();
            assert_eq!(
                wins.lock().iter().sum::<u64>(),
                round * FIELD,
                "one winner each"
            );
            for end in jobs.list().unwrap() {
                assert_eq!(end.result.is_some(), end.state == JobState::Completed);
                assert_eq!(end.error.is_some(), end.state == JobState::Failed);
                assert!(end.state.is_terminal());
            }
            let last = std::mem::take(&mut *stage.lock());
            drop(last);
            let gone = jobs.prune(&Prune::all()).unwrap().removed.len();
            assert_eq!(gone as u64, FIELD);
        }
    });
    let wins = wins.into_inner();
    say(&format!(
        "{RACES} races: completed, failed, cancelled: {wins:?}"
    ));
    assert!(wins.iter().all(|count| *count > 0), "{wins:?}");
    assert_eq!((jobs.locks(), jobs.list().unwrap().len()), (0, 0));
}

/// ```text
/// worker : append append append ...... fail
/// pruner : prune prune prune prune prune prune -> removed
/// ```
#[test]
fn a_job_is_pruned_only_once_its_worker_has_ended() {
    let jobs = JobStore::in_memory();
    for _ in 0..50 {
        let worker = begun(&jobs, "worked");
        thread::scope(|scope| {
            let pruner = scope.spawn(|| {
                loop {
                    let pruned = jobs.prune(&Prune::all()).unwrap();
                    if !pruned.removed.is_empty() {
                        break;
                    }
                }
            });
            for _ in 0..50 {
                worker.append_log("alive", None).unwrap();
            }
            worker.fail("at last").unwrap();
            pruner.join().unwrap();
        });
        assert_eq!(code(worker.append_log("late", None)), "job-gone");
        assert_eq!(jobs.read(&id("worked")).unwrap(), None);
    }
    assert_eq!(jobs.locks(), 0);
}
