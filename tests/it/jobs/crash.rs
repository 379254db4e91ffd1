//! Kill -9 at every step of the life of a job: the store opens, and the record is the old one or the
//! new one.

use super::{begin, id, open, read};
use crate::support::child;
use planbox::job::Prune;
use planbox::{Job, JobHandle, JobPatch, JobState, JobStore, SandboxManager};
use std::path::Path;

const JOB: &str = "crash";

/// What a reader can tell apart.
type Seen = Option<(JobState, u64, u8, u64, usize, [bool; 2])>;

fn seen(job: Option<Job>) -> Seen {
    job.map(|job| {
        let outcome = job.result.is_some() || job.error.is_some();
        let flags = [job.cancel_requested, outcome];
        let filed = job.extra.len();
        (
            job.state,
            job.attempt,
            job.progress,
            job.lines,
            filed,
            flags,
        )
    })
}

/// One durable step.
type Step = fn(&JobStore, &mut Option<JobHandle>);

/// The life of a job, step by step.
const STEPS: [Step; 9] = [
    |jobs, _| assert!(jobs.create(&id(JOB), planbox::NewJob::new("test")).is_ok()),
    |jobs, owner| *owner = Some(jobs.start(&id(JOB)).unwrap()),
    |_, owner| assert!(owned(owner).append_log("one", Some(30)).is_ok()),
    |_, owner| {
        let patch = JobPatch::new().set("a", &1).set("b", &2).progress(60);
        owned(owner).update(patch.log("two").log("three")).unwrap();
    },
    |_, owner| assert!(owned(owner).fail("first").is_ok()),
    |jobs, owner| *owner = Some(jobs.retry(&id(JOB)).unwrap()),
    |jobs, _| assert!(jobs.cancel(&id(JOB)).is_ok()),
    |_, owner| assert!(owned(owner).complete("result").is_ok()),
    |jobs, _| assert!(jobs.prune(&Prune::all()).is_ok()),
];

fn owned(owner: &mut Option<JobHandle>) -> &JobHandle {
    owner.as_ref().unwrap()
}

/// The task of the child.
pub(super) fn live(home: &Path) {
    let jobs = open(home);
    let mut owner = None;
    for step in STEPS {
        step(&jobs, &mut owner);
    }
}

/// Everything that can be seen during that life, in order. A step that is killed may have happened
/// or not; its owner is dead afterwards.
fn possible() -> Vec<Seen> {
    let jobs = JobStore::in_memory();
    let mut owner = None;
    let mut possible = vec![None];
    for step in STEPS {
        step(&jobs, &mut owner);
        let mut now = jobs.read(&id(JOB)).unwrap();
        if let Some(job) = &mut now
            && job.state == JobState::Running
        {
            job.state = JobState::Interrupted;
        }
        possible.push(seen(now));
    }
    possible
}

/// The crash points of the life, in the order in which they are passed, each with how often it had
/// been passed before.
fn points() -> Vec<(String, usize)> {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("points");
    let mut command = child::command("jobs::child_entry", "life", home.path());
    assert!(child::run(command.env("PLANBOX_CRASH_LOG", &log)).success());
    let text = std::fs::read_to_string(&log).unwrap();
    let passed: Vec<&str> = text.lines().collect();
    let count = |(place, point): (usize, &&str)| {
        let before = passed.iter().take(place).filter(|other| *other == point);
        ((*point).to_owned(), before.count() + 1)
    };
    passed.iter().enumerate().map(count).collect()
}

#[test]
fn a_job_killed_at_any_step_is_old_or_new() {
    let possible = possible();
    let points = points();
    let mut earliest = 0;
    for (point, k) in &points {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let mut command = child::command("jobs::child_entry", "life", home);
        let status = child::run(command.env("PLANBOX_CRASH_AT", format!("{point}:{k}")));
        assert!(child::was_killed(status), "{point}:{k}: {status:?}");
        let jobs = open(home);
        let found = seen(jobs.read(&id(JOB)).unwrap());
        // The life ends as it began, without the job: the first place is not the last.
        let place = possible.iter().skip(earliest).position(|one| *one == found);
        let place =
            place.unwrap_or_else(|| panic!("{point}:{k}: {found:?} is neither old nor new"));
        assert!(place <= 1, "{point}:{k}: {place} steps at once");
        earliest += place;
        end_well(home, &jobs, &format!("{point}:{k}"));
    }
    println!(
        "{} kills, each left a record that is old or new",
        points.len()
    );
    assert_eq!(earliest, possible.len() - 1, "every step was seen");
}

/// Whatever was left, the store is sound and the job can be brought to an end.
fn end_well(home: &Path, jobs: &JobStore, label: &str) {
    let found = jobs.read(&id(JOB)).unwrap();
    let owner = match found.map(|job| job.state) {
        None => Some(begin(jobs, JOB)),
        Some(JobState::Queued) => Some(jobs.start(&id(JOB)).unwrap()),
        Some(JobState::Completed) => None,
        Some(_) => Some(jobs.retry(&id(JOB)).unwrap()),
    };
    if let Some(owner) = owner {
        owner.complete("in the end").unwrap();
    }
    assert_eq!(read(jobs, JOB).progress, 100, "{label}");
    assert_eq!(
        jobs.prune(&Prune::all()).unwrap().removed,
        [id(JOB)],
        "{label}"
    );
    let manager = SandboxManager::open(home.join("store")).unwrap();
    let findings = manager.doctor().unwrap();
    assert!(
        findings.iter().all(|finding| finding.fix.is_empty()),
        "{label}: {findings:?}"
    );
    let left = std::fs::read_dir(home.join("store/jobs")).unwrap();
    assert_eq!(left.count(), 0, "{label}: a lease file stays");
}

/// A point that no kill meets would never be tested.
#[test]
fn every_crash_point_of_jobs_is_passed() {
    let passed = points();
    let ours = planbox::CRASH_POINTS
        .iter()
        .filter(|point| point.starts_with("job."));
    for point in ours {
        assert!(passed.iter().any(|(name, _)| name == point), "{point}");
    }
}
