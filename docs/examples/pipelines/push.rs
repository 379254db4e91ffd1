//! The progress push: what a web socket would be told, revision by revision; and what must hold
//! whatever it is told.

use crate::Failure;
use crate::pipeline::{self, STEPS};
use crate::work::{self, Artefact};
use planbox::job::{Changes, Watch};
use planbox::{Job, JobId, JobState, JobStore};
use std::collections::BTreeMap;
use std::time::Duration;

/// A subscriber.
#[derive(Debug)]
pub(crate) struct Push {
    watch: Watch,
    last: BTreeMap<JobId, Job>,
    /// Updates that it was told.
    pub(crate) updates: u64,
    /// What it saw that must not be.
    pub(crate) wrong: Vec<String>,
}

impl Push {
    /// Subscribes to all changes there were and will be.
    pub(crate) fn new(jobs: &JobStore) -> Self {
        Self {
            watch: jobs.watch(0),
            last: BTreeMap::new(),
            updates: 0,
            wrong: Vec::new(),
        }
    }

    /// The next changes; `None` if there are none for so long.
    pub(crate) fn next(&mut self, longest: Duration) -> Result<Option<Changes>, Failure> {
        let changes = self.watch.next(longest)?;
        for job in changes.iter().flat_map(|changes| &changes.jobs) {
            self.updates += 1;
            let whole = check(job).err();
            let before = self.last.insert(job.id.clone(), job.clone());
            let after = before.and_then(|before| follows(&before, job).err());
            self.wrong.extend(whole.into_iter().chain(after));
        }
        Ok(changes)
    }

    /// The job as it was told of last.
    pub(crate) fn last(&self, id: &JobId) -> Option<&Job> {
        self.last.get(id)
    }

    /// Up to where it was told.
    pub(crate) fn revision(&self) -> u64 {
        self.watch.revision()
    }
}

/// What must hold of a job at every moment.
///
/// # Errors
/// What does not.
pub(crate) fn check(job: &Job) -> Result<(), String> {
    let is_completed = job.state == JobState::Completed;
    let is_failed = job.state == JobState::Failed;
    let wrong = if job.result.is_some() != is_completed {
        "a result and completed go together"
    } else if job.error.is_some() != is_failed {
        "an error and failed go together"
    } else if (job.progress == 100) != is_completed {
        "100 % and completed go together"
    } else {
        return Ok(());
    };
    Err(format!(
        "{}: {} at {} %: {wrong}",
        job.id, job.state, job.progress
    ))
}

/// What must hold of two looks at one job.
fn follows(before: &Job, now: &Job) -> Result<(), String> {
    let is_same = before.attempt == now.attempt;
    let wrong = if now.revision <= before.revision {
        "the revision fell"
    } else if now.attempt < before.attempt || now.lines < before.lines {
        "an older attempt came back"
    } else if is_same && now.progress < before.progress {
        "the progress fell"
    } else if is_same && before.state.is_terminal() && before.state != now.state {
        "it ended twice"
    } else {
        return Ok(());
    };
    Err(format!(
        "{}: {} to {}: {wrong}",
        job_name(before),
        before.state,
        now.state
    ))
}

fn job_name(job: &Job) -> String {
    format!("{} attempt {}", job.id, job.attempt)
}

/// What must hold of a job, with its log, that has come to rest.
///
/// # Errors
/// What does not.
pub(crate) fn check_end(job: &Job) -> Result<(), String> {
    check(job)?;
    if !job.state.is_terminal() {
        return Err(format!("{} is stuck: {}", job.id, job.state));
    }
    let Some(result) = &job.result else {
        return Ok(());
    };
    let artefact: Artefact = result.parse().map_err(|error| error.to_string())?;
    let input = pipeline::input_of(job).map_err(|error| error.to_string())?;
    work::verify(&artefact, &job.kind, &input)?;
    let written = job.log.iter().filter(|line| line.attempt == job.attempt);
    let (written, said) = (written.count(), work::stages(&job.kind).len() * STEPS);
    if written != said {
        return Err(format!("{}: {written} lines of {said}", job_name(job)));
    }
    Ok(())
}
