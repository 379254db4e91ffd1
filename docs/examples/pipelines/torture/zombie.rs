//! An owner that was stopped, and goes on when somebody else has its job.

use super::process::Process;
use crate::push::check_end;
use crate::{Failure, load, say, wishes, work};
use planbox::error::JobError;
use planbox::{Job, JobId, JobState, JobStore};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use std::path::Path;
use std::time::{Duration, Instant};

/// So many lines keep a job busy until it is stopped.
const LINES: usize = 4_000;

/// A job may end before it is stopped; then another is tried.
const TRIES: usize = 20;

/// Stops a server in the middle of a job, takes the job away from it, and lets it go on: true if
/// every write of the old attempt was refused.
///
/// ```text
/// old server : attempt 1 ... SIGSTOP .............................. SIGCONT, refused
/// this       :                 retry: refused; lease file removed
/// new server :                                     attempt 2 ................. completed
/// ```
pub(super) fn is_refused(home: &Path, jobs: &JobStore) -> Result<bool, Failure> {
    for number in 1..=TRIES {
        let id = JobId::new(format!("zombie-{number}"))?;
        let input = wishes::input(home, &id);
        work::make_lines(&input, LINES)?;
        let mut old = Process::serve(home)?;
        old.ask(&format!("short-form {id} {}", input.display()));
        wait_until(jobs, &id, |job| job.progress > 0)?;
        kill_process(old.pid()?, Signal::STOP)?;
        waitpid(Some(old.pid()?), WaitOptions::UNTRACED)?;
        if read(jobs, &id)?.state == JobState::Running {
            return takes_over(home, jobs, (&id, old));
        }
    }
    Err("no job could be stopped".into())
}

fn takes_over(home: &Path, jobs: &JobStore, (id, old): (&JobId, Process)) -> Result<bool, Failure> {
    // Stopped is not dead: nobody takes the job from an owner that the system knows to be alive.
    let is_safe = matches!(jobs.retry(id), Err(JobError::Lock { .. }));
    // What an administrator does by hand, or a file system that forgets its locks.
    std::fs::remove_file(home.join("store/jobs").join(id.file_name()))?;
    let is_seen = read(jobs, id)?.state == JobState::Interrupted;
    let new = Process::serve(home)?;
    // On a busy machine it may be over before this looks.
    wait_until(jobs, id, |job| {
        job.attempt == 2 && (job.state == JobState::Running || job.state.is_terminal())
    })?;
    kill_process(old.pid()?, Signal::CONT)?;
    let refused = old.wait_for("refused", 1)?;
    wait_until(jobs, id, |job| job.state.is_terminal())?;
    drop(new.stop()?);
    drop(old.stop()?);
    let job = read(jobs, id)?;
    let end = check_end(&job);
    say(&format!(
        "a zombie: {refused}; {} in attempt {}",
        job.state, job.attempt
    ));
    let is_well = job.state == JobState::Completed && job.attempt == 2 && end.is_ok();
    if !(is_safe && is_seen && is_well) {
        say(&format!(
            "  wrong: a stopped owner was not respected: {is_safe}, {is_seen}, {end:?}"
        ));
        return Ok(false);
    }
    Ok(true)
}

fn read(jobs: &JobStore, id: &JobId) -> Result<Job, Failure> {
    Ok(jobs.read(id)?.ok_or_else(|| format!("{id} is lost"))?)
}

/// Looks again and again: the moment matters.
fn wait_until(jobs: &JobStore, id: &JobId, is_so: impl Fn(&Job) -> bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut watch = jobs.watch(0);
    while begin.elapsed() < load::LONG {
        if jobs.read(id)?.is_some_and(|job| is_so(&job)) {
            return Ok(());
        }
        watch.next(Duration::from_millis(1))?;
    }
    Err(format!("{id} does not get there").into())
}
