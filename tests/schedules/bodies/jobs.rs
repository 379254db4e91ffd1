//! Jobs: who writes, who ends them, who removes them, who watches.

use super::commit::{both, ended};
use super::jobs_ends;
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
pub(super) use crate::world::jobs as store;
use crate::world::stage;
use planbox::error::JobError;
use planbox::job::{Job, JobFault};
use planbox::sync::thread;
use planbox::{JobHandle, JobId, JobPatch, JobState, JobStore, NewJob};
use std::time::Duration;

/// What a write stands on is read outside of its transaction, as it was in the reported store.
pub(super) const EARLY: Option<JobFault> = Some(JobFault::EarlyLook);

/// Two have looked before either writes.
pub(super) const BOTH_LOOKED: &[Stop] = &[stop("ready", ""), stop("jobs.work", "jobs.work")];

/// The control of most bodies: the look and the write are two steps.
pub(super) const fn two_steps(body: fn() -> Verdict, kinds: &'static [&'static str]) -> Control {
    Control::new("the look inside the transaction", body, kinds).stops(BOTH_LOOKED)
}

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "jobs: update, update, a reader",
        Depth::Preemptions(2),
        || updates(None),
        &[two_steps(|| updates(EARLY), &["lost"])],
    ),
    Case::light(
        "jobs: update_if, update_if",
        Depth::Preemptions(3),
        || update_ifs(None),
        &[two_steps(|| update_ifs(EARLY), &["both"])],
    ),
    Case::light(
        "jobs: create, create",
        Depth::Preemptions(3),
        || creates(None),
        &[two_steps(|| creates(EARLY), &["both"])],
    ),
    Case::light(
        "jobs: start, start",
        Depth::Preemptions(3),
        || starts(false),
        &[Control::new(
            "one store (each has locks and leases of its own)",
            || starts(true),
            &["both"],
        )],
    ),
    Case::light(
        "jobs: append_log, complete",
        Depth::Preemptions(3),
        || jobs_ends::appends(None),
        &[two_steps(|| jobs_ends::appends(EARLY), &["lost", "mix"])],
    ),
    Case::light(
        "jobs: cancel, complete, fail",
        Depth::Preemptions(2),
        || jobs_ends::ends(None),
        &[two_steps(|| jobs_ends::ends(EARLY), &["both", "mix"])],
    ),
    Case::light(
        "jobs: retry, a zombie that writes",
        Depth::Preemptions(2),
        || jobs_ends::zombie(None),
        &[two_steps(|| jobs_ends::zombie(EARLY), &["zombie"])
            .stops(&[stop("ready", ""), stop("jobs.work", "retried")])],
    ),
    Case::light(
        "jobs: prune, update",
        Depth::Preemptions(3),
        || jobs_ends::prunes(None),
        &[two_steps(|| jobs_ends::prunes(EARLY), &["resurrected"])
            .stops(&[stop("over", ""), stop("jobs.work", "pruned")])],
    ),
    Case::light(
        "jobs: complete, readers",
        Depth::Preemptions(3),
        || jobs_ends::readers(None),
        &[Control::new(
            "the second look after a free lease",
            || jobs_ends::readers(Some(JobFault::HastyVerdict)),
            &["interrupted"],
        )
        .stops(&[stop("jobs.read", "ended")])],
    ),
    Case::light(
        "jobs: watch, update",
        Depth::Preemptions(3),
        || watched(None),
        &[
            Control::new(
                "the bell",
                || watched(Some(JobFault::NoBell)),
                &["deadlock"],
            )
            .stops(&[stop("updates", "jobs.looked")]),
            Control::new(
                "the ear before the look",
                || watched(Some(JobFault::LateEar)),
                &["deadlock"],
            )
            .stops(&[
                stop("updates", "jobs.looked"),
                stop("jobs.looked", "updated"),
            ]),
        ],
    ),
];

pub(super) fn job() -> JobId {
    JobId::new("job").unwrap()
}

fn made(jobs: &JobStore) {
    jobs.create(&job(), NewJob::new("schedule")).unwrap();
}

pub(super) fn queued(jobs: &JobStore) {
    made(jobs);
    stage("ready");
}

pub(super) fn begun(jobs: &JobStore) -> JobHandle {
    made(jobs);
    let owner = jobs.start(&job()).unwrap();
    stage("ready");
    owner
}

pub(super) fn read(jobs: &JobStore) -> Job {
    jobs.read(&job()).unwrap().unwrap()
}

/// A refusal has one of these codes.
pub(super) fn excused<T>(outcome: &Result<T, JobError>, codes: &[&str]) -> Verdict {
    let code = outcome.as_ref().err().map(planbox::Explain::code);
    check(
        code.is_none_or(|code| codes.contains(&code)),
        "refused",
        || code.unwrap_or_default().to_owned(),
    )
}

/// The reported race of a job store: two writers of different fields of one record.
///
/// ```text
/// one      look at the record ------------------- write field "one"
/// other            look at the record ---- write field "other": gone with the next write
/// reader      read             read           each reading is of one moment, and none goes back
///          look and write are one transaction: both fields are there in the end
/// ```
fn updates(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    queued(&jobs);
    let update = |field: &str| {
        let patch = JobPatch::new().set(field, &1).log(field);
        jobs.update(&job(), patch).unwrap()
    };
    let ((one, other), seen) = thread::scope(|scope| {
        let (one, other) = (
            scope.spawn(|| update("one")),
            scope.spawn(|| update("other")),
        );
        let seen = ended(scope.spawn(|| [read(&jobs), read(&jobs)]).join());
        ((ended(one.join()), ended(other.join())), seen)
    });
    for seen in &seen {
        let (fields, lines) = (seen.extra.len(), seen.log.len());
        check(fields == lines, "mix", || format!("{seen:?}"))?;
    }
    let [first, second] = &seen;
    let grows = first.revision <= second.revision && first.extra.len() <= second.extra.len();
    check(grows, "mix", || format!("{first:?}, then {second:?}"))?;
    let last = read(&jobs);
    let whole = last.extra.len() == 2 && last.log.len() == 2 && last.revision == one.max(other);
    check(whole, "lost", || format!("{last:?}"))?;
    check(one != other, "both", || format!("revision {one} twice"))
}

/// A counter: look, and write if nobody wrote since.
///
/// ```text
/// one      revision 1 seen ---- write, if it is still 1: yes, now 2
/// other    revision 1 seen ----------- write, if it is still 1: refused, it is 2
/// ```
fn update_ifs(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    queued(&jobs);
    let seen = read(&jobs).revision;
    let count = |by: u64| {
        let patch = JobPatch::new().set("counted", &by);
        jobs.update_if(&job(), seen, patch)
    };
    let outcomes = <[_; 2]>::from(both(|| count(1), || count(2)));
    for outcome in &outcomes {
        excused(outcome, &["job-changed"])?;
    }
    let won = outcomes.iter().flatten().count();
    check(won == 1, "both", || format!("{outcomes:?}"))
}

/// ```text
/// one      is it there? no ------------------- make it
/// other            is it there? no ---- make it: one of them finds that it is there
/// ```
fn creates(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    stage("ready");
    let create = |kind: &'static str| jobs.create(&job(), NewJob::new(kind));
    let (one, other) = both(|| create("one"), || create("other"));
    excused(&one, &["job-exists"])?;
    excused(&other, &["job-exists"])?;
    check(one.is_ok() != other.is_ok(), "both", || {
        format!("{one:?}, {other:?}")
    })?;
    let kind = read(&jobs).kind;
    let wanted = if one.is_ok() { "one" } else { "other" };
    check(kind == wanted, "lost", || {
        format!("it is the one of {kind}")
    })
}

/// ```text
/// one      lock ---- lease ---- queued: mine, attempt 1
/// other         waits ---------------------------------- lease: somebody has it
/// ```
fn starts(apart: bool) -> Verdict {
    let stores = [store(None), store(None)];
    let [one, other] = &stores;
    let other = if apart { other } else { one };
    queued(one);
    if apart {
        queued(other);
    }
    let (a, b) = both(|| one.start(&job()), || other.start(&job()));
    excused(&a, &["busy", "job-wrong-state"])?;
    excused(&b, &["busy", "job-wrong-state"])?;
    check(a.is_ok() != b.is_ok(), "both", || format!("{a:?}, {b:?}"))?;
    let seen = read(one);
    check(
        (seen.state, seen.attempt) == (JobState::Running, 1),
        "half",
        || format!("{seen:?}"),
    )
}

/// Somebody who waits for changes, patiently:
///
/// ```text
/// watcher  bell at 0 ---- look: nothing ------------------ wait for the bell ---- look
/// writer                               write ---- ring         it rang since: no wait
/// ```
fn watched(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    queued(&jobs);
    let since = jobs.revision().unwrap();
    let watch = || {
        let mut watch = jobs.watch(since);
        let mut counted = 0;
        while watch.revision() < since + 2 {
            let changes = watch.next(Duration::MAX).unwrap().unwrap();
            counted += changes.missed + u64::try_from(changes.jobs.len()).unwrap();
        }
        check(counted == 2, "lost", || format!("{counted} of 2 changes"))
    };
    let write = || {
        for value in 0..2 {
            stage("updates");
            let patch = JobPatch::new().set("field", &value);
            jobs.update(&job(), patch).unwrap();
            stage("updated");
        }
    };
    let (verdict, ()) = both(watch, write);
    verdict
}
