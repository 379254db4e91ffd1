//! What a store of jobs must do: one suite, run against both stores; and what only one of them can
//! show.

use super::*;
use crate::error::Explain as _;
use crate::sync::thread;
use serde::Serialize;
use std::time::Duration;

#[cfg(feature = "sqlite")]
mod durable;
mod races;

#[expect(clippy::print_stdout, reason = "figures are for who runs the test")]
fn say(text: &str) {
    println!("{text}");
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn new() -> NewJob {
    NewJob::new("encode")
}

fn begun(jobs: &JobStore, name: &str) -> JobHandle {
    jobs.create(&id(name), new()).unwrap();
    jobs.start(&id(name)).unwrap()
}

fn read(jobs: &JobStore, name: &str) -> Job {
    jobs.read(&id(name)).unwrap().unwrap()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, JobError>) -> &'static str {
    outcome.expect_err("a refusal").code()
}

fn a_job_lives_from_queued_to_completed(jobs: &JobStore) {
    let job = id("lives");
    assert_eq!(jobs.read(&job).unwrap(), None);
    let first = jobs.create(&job, new().set("profile", "warm")).unwrap();
    assert_eq!(code(jobs.create(&job, new())), "job-exists");
    let queued = read(jobs, "lives");
    assert_eq!((queued.state, queued.attempt), (JobState::Queued, 0));
    assert_eq!(queued.revision, first);
    let owner = jobs.start(&job).unwrap();
    assert_eq!(code(jobs.start(&job)), "busy");
    assert_eq!(read(jobs, "lives").owner.unwrap().pid, std::process::id());
    owner.append_log("one", Some(-5)).unwrap();
    owner.append_log("two", None).unwrap();
    owner.progress(40).unwrap();
    let last = owner
        .update(
            JobPatch::new()
                .progress(20)
                .set("preview", "a.png")
                .log("three"),
        )
        .unwrap();
    let job = read(jobs, "lives");
    assert_eq!(
        (job.state, job.progress, job.attempt),
        (JobState::Running, 40, 1)
    );
    assert_eq!((job.revision, job.lines, job.dropped), (last, 3, 0));
    let texts: Vec<&str> = job.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(job.extra["preview"].to_text(), "a.png");
    assert_eq!(job.extra["profile"].to_text(), "warm");
    owner
        .complete(&serde_json::json!({ "video": "a.mp4" }))
        .unwrap();
    let end = read(jobs, "lives");
    assert_eq!((end.state, end.progress), (JobState::Completed, 100));
    assert_eq!(end.result.unwrap().as_str(), "{\"video\":\"a.mp4\"}");
    assert_eq!(end.error, None);
}

fn the_first_end_stands(jobs: &JobStore) {
    let owner = begun(jobs, "ends");
    owner.append_log("half", Some(50)).unwrap();
    owner.fail("no space").unwrap();
    let end = read(jobs, "ends");
    for late in [
        owner.complete("result"),
        owner.cancelled(),
        owner.fail("again"),
        owner.append_log("late", Some(99)),
        owner.update(JobPatch::new().set("a", &1)),
        jobs.append_log(&id("ends"), "late", None),
        jobs.update(&id("ends"), JobPatch::new().progress(99)),
    ] {
        match late {
            Err(JobError::Over { state, .. }) => assert_eq!(state, JobState::Failed),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(code(jobs.cancel(&id("ends"))), "job-over");
    assert_eq!(read(jobs, "ends"), end, "nothing moved");
    assert_eq!(
        (end.progress, end.error.unwrap().to_text()),
        (50, "no space".to_owned())
    );
    jobs.update(&id("ends"), JobPatch::new().set("seen", &true))
        .unwrap();
    assert_eq!(read(jobs, "ends").state, JobState::Failed);
}

fn cancelling_is_a_request_to_the_owner(jobs: &JobStore) {
    let owner = begun(jobs, "asked");
    assert!(!owner.is_cancel_requested().unwrap());
    assert_eq!(jobs.cancel(&id("asked")).unwrap(), JobState::Running);
    assert_eq!(jobs.cancel(&id("asked")).unwrap(), JobState::Running);
    assert!(owner.is_cancel_requested().unwrap());
    owner.append_log("tidying up", None).unwrap();
    owner.cancelled().unwrap();
    let end = read(jobs, "asked");
    assert_eq!(
        (end.state, end.cancel_requested),
        (JobState::Cancelled, true)
    );
    jobs.create(&id("idle"), new()).unwrap();
    assert_eq!(jobs.cancel(&id("idle")).unwrap(), JobState::Cancelled);
    assert_eq!(code(jobs.start(&id("idle"))), "job-wrong-state");
}

fn a_zombie_of_the_old_attempt_is_refused(jobs: &JobStore) {
    let zombie = begun(jobs, "tried");
    assert_eq!(code(jobs.retry(&id("tried"))), "busy");
    zombie.append_log("attempt 1", Some(70)).unwrap();
    zombie.clone().fail("first").unwrap();
    let owner = jobs.retry(&id("tried")).unwrap();
    assert_eq!(owner.attempt(), 2);
    let before = read(jobs, "tried");
    assert_eq!((before.progress, before.error), (0, None));
    for late in [
        zombie.append_log("late", Some(99)),
        zombie.update(JobPatch::new().set("a", &1)),
        zombie.complete("mine"),
        zombie.fail("mine"),
        zombie.cancelled(),
    ] {
        match late {
            Err(JobError::Fenced { held, now, .. }) => assert_eq!((held, now), (1, 2)),
            other => panic!("{other:?}"),
        }
    }
    assert!(!zombie.is_cancel_requested().unwrap());
    drop(zombie);
    assert_eq!(read(jobs, "tried").revision, before.revision);
    owner.append_log("attempt 2", Some(10)).unwrap();
    let attempts: Vec<u64> = read(jobs, "tried")
        .log
        .iter()
        .map(|line| line.attempt)
        .collect();
    assert_eq!(attempts, [1, 2]);
    owner.complete(&()).unwrap();
    assert_eq!(code(jobs.retry(&id("tried"))), "job-over");
}

fn an_attempt_without_an_owner_is_interrupted(jobs: &JobStore) {
    let owner = begun(jobs, "left");
    owner.append_log("half", Some(50)).unwrap();
    assert_eq!(code(jobs.retry(&id("left"))), "busy");
    let clone = owner.clone();
    drop(owner);
    assert_eq!(
        read(jobs, "left").state,
        JobState::Running,
        "a clone is alive"
    );
    drop(clone);
    let seen = read(jobs, "left");
    assert_eq!((seen.state, seen.progress), (JobState::Interrupted, 50));
    let listed = jobs.list().unwrap();
    let listed = listed.iter().find(|job| job.id == id("left")).unwrap();
    assert_eq!(listed.state, JobState::Interrupted);
    assert_eq!(
        code(jobs.append_log(&id("left"), "late", None)),
        "job-wrong-state"
    );
    let durable = jobs.row(&id("left")).unwrap().unwrap();
    assert_eq!(
        durable.state,
        JobState::Interrupted,
        "the writer wrote it down"
    );
    let again = jobs.retry(&id("left")).unwrap();
    assert_eq!((again.attempt(), again.read().unwrap().progress), (2, 0));
    drop(again);
    assert_eq!(jobs.sweep().unwrap(), [id("left")]);
    assert_eq!(jobs.sweep().unwrap(), []);
    assert_eq!(jobs.cancel(&id("left")).unwrap(), JobState::Cancelled);
}

fn a_patch_for_another_revision_is_refused(jobs: &JobStore) {
    let job = id("seen");
    let seen = jobs.create(&job, new()).unwrap();
    let set = |value| JobPatch::new().set("choice", &value);
    let now = jobs.update_if(&job, seen, set(1)).unwrap();
    assert!(now > seen);
    match jobs.update_if(&job, seen, set(2)) {
        Err(JobError::Changed {
            expected, found, ..
        }) => assert_eq!((expected, found), (seen, now)),
        other => panic!("{other:?}"),
    }
    assert_eq!(read(jobs, "seen").extra["choice"].as_str(), "1");
    jobs.update_if(&job, now, JobPatch::new().unset("choice"))
        .unwrap();
    assert!(read(jobs, "seen").extra.is_empty());
    assert_eq!(code(jobs.update(&id("nobody"), set(1))), "unknown-job");
}

fn a_removed_job_does_not_come_back(jobs: &JobStore) {
    let zombie = begun(jobs, "gone");
    let kept = jobs
        .prune(&Prune::all().ids([id("gone"), id("nobody")]))
        .unwrap();
    assert_eq!(kept.kept, [(id("gone"), JobState::Running)]);
    assert_eq!((kept.removed, kept.unknown), (vec![], vec![id("nobody")]));
    zombie.append_log("still here", None).unwrap();
    zombie.fail("x").unwrap();
    let young = Prune::all()
        .ids([id("gone")])
        .older_than(Duration::from_secs(3_600));
    assert_eq!(jobs.prune(&young).unwrap().removed, []);
    assert_eq!(
        jobs.prune(&Prune::all().ids([id("gone")])).unwrap().removed,
        [id("gone")]
    );
    let late = || zombie.append_log("late", None);
    assert_eq!(code(late()), "job-gone");
    assert_eq!(
        code(jobs.append_log(&id("gone"), "late", None)),
        "unknown-job"
    );
    assert_eq!(
        jobs.read(&id("gone")).unwrap(),
        None,
        "nobody brought it back"
    );
    let reborn = begun(jobs, "gone");
    assert_eq!((reborn.attempt(), zombie.attempt()), (1, 1));
    assert_eq!(code(late()), "job-gone");
    assert_eq!(code(zombie.complete("mine")), "job-gone");
    assert_eq!(reborn.read().unwrap().log, []);
    reborn.cancelled().unwrap();
}

fn a_job_that_is_not_over_is_kept(jobs: &JobStore) {
    jobs.create(&id("waits"), new()).unwrap();
    drop(begun(jobs, "halts"));
    let names = [id("waits"), id("halts")];
    let pruned = jobs.prune(&Prune::all().ids(names.clone())).unwrap();
    let [waits, halts] = names;
    assert_eq!(
        pruned.kept,
        [
            (waits.clone(), JobState::Queued),
            (halts.clone(), JobState::Interrupted)
        ]
    );
    let swept = jobs.prune(&Prune::all()).unwrap().removed;
    assert!(!swept.contains(&waits) && !swept.contains(&halts));
    jobs.cancel(&waits).unwrap();
    jobs.cancel(&halts).unwrap();
    let swept = jobs.prune(&Prune::all()).unwrap().removed;
    assert!(swept.contains(&waits) && swept.contains(&halts));
}

/// A newer planbox may file what this one does not know; numbers are larger than any machine word.
fn what_is_not_known_here_survives(jobs: &JobStore) {
    const RECORD: &str = r#"{"big":123456789012345678901234567890,"extra":{"mine":1e400},"kind":"k","later":{"b":2,"a":[1.10]}}"#;
    let job = id("newer");
    let made = id("newer");
    let work = JobWork::new(move |tx| tx.insert(&made, RECORD.to_owned()).map(drop));
    jobs.inner.journal.work(work, Durability::Flushed).unwrap();
    let owner = jobs.start(&job).unwrap();
    owner
        .update(JobPatch::new().set("ours", &1).progress(5))
        .unwrap();
    owner.append_log("line", None).unwrap();
    owner.complete(&7).unwrap();
    let record = jobs.row(&job).unwrap().unwrap().record;
    for kept in [
        r#""big":123456789012345678901234567890"#,
        r#""later":{"b":2,"a":[1.10]}"#,
        r#""mine":1e400"#,
        r#""ours":1"#,
    ] {
        assert!(record.contains(kept), "{kept}: {record}");
    }
    assert_eq!(read(jobs, "newer").kind, "k");
}

#[derive(Serialize)]
struct Command {
    program: String,
    env: Vec<(String, Secret<String>)>,
}

fn a_secret_is_never_stored(jobs: &JobStore) {
    let key = Secret::new("sk-123".to_owned());
    let command = Command {
        program: "ffmpeg".to_owned(),
        env: vec![("KEY".to_owned(), key.clone())],
    };
    assert_eq!(
        code(jobs.create(&id("secret"), new().set("key", &key))),
        "job-secret"
    );
    assert_eq!(jobs.read(&id("secret")).unwrap(), None);
    let owner = begun(jobs, "secret");
    let before = read(jobs, "secret");
    let patch = JobPatch::new()
        .progress(50)
        .set("fine", &1)
        .set("cmd", &command);
    match owner.update(patch) {
        Err(JobError::Secret { field, .. }) => assert_eq!(field, "cmd"),
        other => panic!("{other:?}"),
    }
    assert_eq!(code(owner.complete(&command)), "job-secret");
    assert_eq!(code(owner.fail(&key)), "job-secret");
    assert_eq!(read(jobs, "secret"), before, "not a part of it was written");
    assert_eq!(command.program, "ffmpeg");
    owner.cancelled().unwrap();
}

fn what_is_too_large_or_unnamed_is_refused(jobs: &JobStore) {
    let owner = begun(jobs, "large");
    let fits = "x".repeat(RECORD_MAX_BYTES / 2);
    owner.update(JobPatch::new().set("half", &fits)).unwrap();
    let before = read(jobs, "large");
    let more = JobPatch::new().progress(9).set("more", &fits).log("line");
    assert_eq!(code(owner.update(more)), "job-unstorable");
    assert_eq!(
        code(owner.update(JobPatch::new().set("", &1))),
        "job-unstorable"
    );
    assert_eq!(code(owner.complete(&fits)), "job-unstorable");
    let crowd = (0..=PATCH_LINES_MAX).fold(JobPatch::new(), |patch, _| patch.log("x"));
    assert_eq!(code(owner.update(crowd)), "job-unstorable");
    assert_eq!(
        code(jobs.create(&id("kind"), NewJob::new("a\nb"))),
        "job-unstorable"
    );
    assert_eq!(read(jobs, "large"), before);
    owner.complete("small").unwrap();
}

fn a_watch_tells_every_revision_or_how_many_it_missed(jobs: &JobStore) {
    let mut watch = jobs.watch(jobs.revision().unwrap());
    let start = watch.revision();
    assert_eq!(watch.next(Duration::ZERO).unwrap(), None);
    let owner = begun(jobs, "watched");
    jobs.create(&id("beside"), new()).unwrap();
    for line in 0..10 {
        owner.append_log(&line.to_string(), None).unwrap();
    }
    let seen = watch.next(Duration::ZERO).unwrap().unwrap();
    let names: Vec<&str> = seen.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(names, ["beside", "watched"]);
    assert_eq!((seen.missed, seen.revision), (11, start + 13));
    assert_eq!(watch.revision(), seen.revision);
    let waiting = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut seen = Vec::new();
            while seen.len() < 50 {
                let changes = watch.next(Duration::from_secs(30)).unwrap().unwrap();
                let last = changes.jobs.last().map_or(0, |job| job.revision);
                assert!(last <= changes.revision);
                let expected = changes.revision - seen.last().copied().unwrap_or(start + 13);
                assert_eq!(changes.jobs.len() as u64 + changes.missed, expected);
                seen.extend((0..changes.missed).map(|_| 0));
                seen.extend(changes.jobs.iter().map(|job| job.revision));
                if let Some(end) = seen.last_mut() {
                    *end = changes.revision;
                }
            }
            seen.len()
        });
        for line in 0..50 {
            owner.append_log(&line.to_string(), None).unwrap();
        }
        waiter.join().unwrap()
    });
    assert_eq!(waiting, 50, "each one was seen or counted");
    owner.cancelled().unwrap();
    jobs.prune(&Prune::all().ids([id("watched")])).unwrap();
    let end = watch.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!(
        (end.jobs.len(), end.missed),
        (0, 2),
        "the end, and the removal"
    );
}

fn a_watch_tells_a_long_story_in_pieces(jobs: &JobStore) {
    const MORE: usize = 3;
    let mut watch = jobs.watch(jobs.revision().unwrap());
    let start = watch.revision();
    let many: Vec<JobId> = (0..CHANGES_MAX + MORE)
        .map(|n| id(&format!("many-{n:04}")))
        .collect();
    for job in &many {
        jobs.create(job, new()).unwrap();
    }
    let first = watch.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!((first.jobs.len(), first.missed), (CHANGES_MAX, 0));
    assert_eq!(first.revision, start + CHANGES_MAX as u64);
    jobs.update(&many[0], JobPatch::new().progress(1)).unwrap();
    let rest = watch.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!((rest.jobs.len(), rest.missed), (MORE + 1, 0));
    assert_eq!(rest.jobs.last().unwrap().id, many[0]);
    for job in &many {
        jobs.cancel(job).unwrap();
    }
}

fn a_log_keeps_its_newest_lines(jobs: &JobStore) {
    let owner = begun(jobs, "talks");
    let long = "\u{e9}".repeat(LOG_LINE_MAX_BYTES);
    owner.append_log(&long, None).unwrap();
    assert!(read(jobs, "talks").log[0].text.len() <= LOG_LINE_MAX_BYTES);
    for line in 2..=LOG_LINES_MAX {
        owner.append_log(&line.to_string(), None).unwrap();
    }
    let full = read(jobs, "talks");
    assert_eq!((full.log.len() as u64, full.dropped), (LOG_LINES_MAX, 0));
    owner.append_log("one more", Some(1)).unwrap();
    let job = read(jobs, "talks");
    assert_eq!((job.log.len() as u64, job.dropped), (LOG_LINES_MAX, 1));
    assert_eq!((job.log[0].seq, job.log[0].text.as_str()), (2, "2"));
    assert_eq!(job.log.last().unwrap().text, "one more");
    let newer = jobs
        .read_after(&id("talks"), LOG_LINES_MAX)
        .unwrap()
        .unwrap();
    assert_eq!(newer.log.len(), 1);
    owner.complete(&()).unwrap();
}

fn suite(jobs: &JobStore) {
    a_job_lives_from_queued_to_completed(jobs);
    the_first_end_stands(jobs);
    cancelling_is_a_request_to_the_owner(jobs);
    a_zombie_of_the_old_attempt_is_refused(jobs);
    an_attempt_without_an_owner_is_interrupted(jobs);
    a_patch_for_another_revision_is_refused(jobs);
    a_removed_job_does_not_come_back(jobs);
    a_job_that_is_not_over_is_kept(jobs);
    what_is_not_known_here_survives(jobs);
    a_secret_is_never_stored(jobs);
    what_is_too_large_or_unnamed_is_refused(jobs);
    a_watch_tells_every_revision_or_how_many_it_missed(jobs);
    a_watch_tells_a_long_story_in_pieces(jobs);
    a_log_keeps_its_newest_lines(jobs);
    let left = jobs.list().unwrap();
    assert!(
        left.iter()
            .all(|job| job.state.is_terminal() || job.attempt == 0)
    );
    assert_eq!(jobs.inner.journal.check().unwrap(), Vec::<String>::new());
    assert_eq!(jobs.locks(), 0, "nothing is locked at the end");
}

#[test]
fn the_store_in_memory_conforms() {
    suite(&JobStore::in_memory());
}

#[cfg(feature = "sqlite")]
#[test]
fn the_durable_store_conforms_and_leaves_no_lease_file() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = dir.path().join("store");
    suite(&JobStore::open(&store).unwrap());
    assert_eq!(std::fs::read_dir(store.join("jobs")).unwrap().count(), 0);
}
