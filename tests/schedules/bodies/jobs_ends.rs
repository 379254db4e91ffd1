//! The ends of jobs, and what comes after them.

use super::commit::{both, ended};
use super::jobs::{begun, excused, job, read, store};
use crate::case::{Verdict, Wrong, check};
use crate::world::stage;
use planbox::error::JobError;
use planbox::job::{Job, JobFault, Prune};
use planbox::sync::thread;
use planbox::{JobPatch, JobState};

/// State, progress and result are of one moment.
fn whole(seen: &Job) -> Verdict {
    let completed = seen.state == JobState::Completed;
    let right = completed == seen.result.is_some()
        && completed == (seen.progress == 100)
        && (seen.state == JobState::Failed) == seen.error.is_some();
    check(right, "mix", || format!("{seen:?}"))
}

/// Two threads of one owner:
///
/// ```text
/// one      look: running -------------------- line and 50 percent: refused, or before the end
/// other           complete: state, result, 100 percent in one step
/// ```
pub(super) fn appends(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    let owner = begun(&jobs);
    let (line, end) = both(
        || owner.append_log("half way", Some(50)),
        || owner.complete("done"),
    );
    excused(&line, &["job-over"])?;
    excused(&end, &[])?;
    let last = read(&jobs);
    whole(&last)?;
    check(last.state == JobState::Completed, "lost", || {
        format!("{last:?}")
    })?;
    let lines = last.log.len();
    check(lines == usize::from(line.is_ok()), "lost", || {
        format!("{line:?}, {lines} lines")
    })
}

/// Three that want to end one attempt; the first end stands:
///
/// ```text
/// asker    cancel: asked ------------------------ or: it is over
/// one           look: running ------ complete
/// other              look: running ---------- fail: refused, it is completed
/// ```
pub(super) fn ends(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    let owner = begun(&jobs);
    let (asked, completed, failed) = thread::scope(|scope| {
        let asked = scope.spawn(|| jobs.cancel(&job()));
        let completed = scope.spawn(|| owner.complete("done"));
        let failed = scope.spawn(|| owner.fail("not done"));
        (
            ended(asked.join()),
            ended(completed.join()),
            ended(failed.join()),
        )
    });
    excused(&completed, &["job-over"])?;
    excused(&failed, &["job-over"])?;
    excused(&asked, &["job-over"])?;
    check(completed.is_ok() != failed.is_ok(), "both", || {
        format!("{completed:?}, {failed:?}")
    })?;
    let last = read(&jobs);
    whole(&last)?;
    let wanted = if completed.is_ok() {
        JobState::Completed
    } else {
        JobState::Failed
    };
    check(last.state == wanted, "both", || format!("{last:?}"))?;
    check(asked.is_ok() == last.cancel_requested, "both", || {
        format!("{asked:?}, {last:?}")
    })?;
    let late = owner.cancelled();
    excused(&late, &["job-over"])?;
    check(late.is_err(), "both", || "it ended twice".to_owned())
}

/// A thread of an old attempt that does not know that it is old:
///
/// ```text
/// zombie   look: attempt 1, running ------------------------------- write: fenced
/// owner            fail: attempt 1 is over ---- retry: attempt 2
/// ```
pub(super) fn zombie(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    let old = begun(&jobs);
    let again = || {
        old.fail("once more")?;
        let new = jobs.retry(&job())?;
        new.progress(10)?;
        Ok::<_, JobError>(new)
    };
    let retry = || {
        let new = again();
        stage("retried");
        new
    };
    let (written, new) = both(
        || old.update(JobPatch::new().progress(70).set("zombie", "here")),
        retry,
    );
    excused(&written, &["job-over", "job-fenced"])?;
    // What the zombie wrote over may be what the owner is judged by.
    let new = new.map_err(|error| Wrong {
        kind: "zombie",
        text: error.to_string(),
    })?;
    let last = read(&jobs);
    let right = (last.state, last.attempt, last.progress) == (JobState::Running, 2, 10);
    check(right, "zombie", || format!("{written:?}, {last:?}"))?;
    let there = last.extra.contains_key("zombie");
    check(there == written.is_ok(), "zombie", || format!("{last:?}"))?;
    let done = new.complete("done");
    check(done.is_ok(), "zombie", || format!("{done:?}"))
}

/// A job that is over and is removed while somebody writes to it:
///
/// ```text
/// writer   look: it is there ---------------------- write: not found, and it stays away
/// pruner           lock, lease ---- remove
/// ```
pub(super) fn prunes(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    begun(&jobs).complete("done").unwrap();
    stage("over");
    let prune = || {
        let pruned = jobs.prune(&Prune::all().ids([job()]));
        stage("pruned");
        pruned.unwrap().removed.len()
    };
    let (written, removed) = both(
        || jobs.update(&job(), JobPatch::new().set("field", &1)),
        prune,
    );
    excused(&written, &["unknown-job"])?;
    let there = jobs.read(&job()).unwrap();
    check(there.is_some() == (removed == 0), "resurrected", || {
        format!("{removed} removed, {written:?}, {there:?}")
    })?;
    check(written.is_ok() || removed == 1, "lost", || {
        format!("{written:?}")
    })
}

/// The end of an attempt, and the lease that goes after it:
///
/// ```text
/// owner    complete: the record is over ---- the lease goes
/// reader       row: running -------------------------------- lease: free -- row again: over
///          an owner that lives is never taken for dead
/// ```
pub(super) fn readers(fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    let owner = begun(&jobs);
    let read = || {
        for _ in 0..2 {
            let seen = read(&jobs);
            whole(&seen)?;
            let dead = seen.state == JobState::Interrupted;
            check(!dead, "interrupted", || format!("{seen:?}"))?;
        }
        Ok(())
    };
    let complete = || {
        owner.complete("done").unwrap();
        stage("ended");
    };
    let (verdict, ()) = both(read, complete);
    verdict?;
    Ok(())
}
