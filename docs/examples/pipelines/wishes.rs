//! What visitors want of which job: decided by the seed and the id, so that a run can be repeated, and
//! so that everybody knows when a job has come to rest.

use crate::Failure;
use crate::pipeline::RESTYLE;
use planbox::{Job, JobId, JobState};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a visitor does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Cancel,
    Retry,
}

/// The wishes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    pub(crate) seed: u64,
}

impl Wishes {
    /// A number below `below`, the same whenever it is asked for.
    pub(crate) fn roll(self, name: &str, what: &str, below: u64) -> u64 {
        let digest = blake3::hash(format!("{} {name} {what}", self.seed).as_bytes());
        let bytes = digest.as_bytes().first_chunk().copied();
        bytes.map_or(0, u64::from_le_bytes) % below.max(1)
    }

    pub(crate) fn is_damaged(self, id: &JobId) -> bool {
        self.roll(id.as_str(), "damaged", 5) == 0
    }

    pub(crate) fn wants_cancel(self, id: &JobId) -> bool {
        self.roll(id.as_str(), "cancel", 4) == 0
    }

    fn wants_retry(self, id: &JobId) -> bool {
        self.roll(id.as_str(), "retry", 2) == 0
    }

    /// True if nobody will do anything to the job any more.
    pub(crate) fn is_settled(self, job: &Job) -> bool {
        job.state.is_terminal() && !self.is_to_be_retried(job)
    }

    fn is_to_be_retried(self, job: &Job) -> bool {
        let ended = matches!(job.state, JobState::Failed | JobState::Cancelled);
        // A job that was cancelled before it began has no attempt to follow.
        ended && job.attempt > 0 && self.wants_retry(&job.id) && !job.extra.contains_key("retried")
    }
}

/// Somebody who watches the jobs and clicks.
#[derive(Debug)]
pub(crate) struct Visitor {
    wishes: Wishes,
    cancelled: BTreeSet<JobId>,
}

impl Visitor {
    pub(crate) fn new(wishes: Wishes) -> Self {
        Self {
            wishes,
            cancelled: BTreeSet::new(),
        }
    }

    /// What the visitor does when it is told of this job.
    pub(crate) fn look(&mut self, job: &Job) -> Option<Act> {
        let is_open = matches!(job.state, JobState::Queued | JobState::Running);
        if is_open && self.wishes.wants_cancel(&job.id) && self.cancelled.insert(job.id.clone()) {
            return Some(Act::Cancel);
        }
        self.wishes.is_to_be_retried(job).then_some(Act::Retry)
    }
}

/// The jobs of a run: half of each kind.
pub(crate) fn ids(count: usize) -> Result<Vec<JobId>, Failure> {
    let id = |number| {
        let kind = if number % 2 == 0 { "short" } else { "restyle" };
        JobId::new(format!("{kind}-{number}"))
    };
    Ok((0..count).map(id).collect::<Result<_, _>>()?)
}

/// True if the job is one that runs from the start.
pub(crate) fn is_restyle(id: &JobId) -> bool {
    id.as_str().starts_with(RESTYLE)
}

/// Where the input of a job is.
pub(crate) fn input(home: &Path, id: &JobId) -> PathBuf {
    home.join(format!("{id}.txt"))
}

/// What became of the jobs of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Jobs in each state.
    pub(crate) states: BTreeMap<String, usize>,
    /// Attempts of all jobs together.
    pub(crate) attempts: u64,
    /// Everything that must not be.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    /// Looks at every job whole, with its log and its artefact.
    pub(crate) fn of(jobs: &planbox::JobStore, ids: &[JobId]) -> Result<Self, Failure> {
        let mut tally = Self::default();
        for id in ids {
            let Some(job) = jobs.read(id)? else {
                tally.wrong.push(format!("{id} is lost"));
                continue;
            };
            tally.wrong.extend(crate::push::check_end(&job).err());
            *tally.states.entry(job.state.to_string()).or_default() += 1;
            tally.attempts += job.attempt;
        }
        Ok(tally)
    }

    /// Prints what is wrong; true if nothing is.
    pub(crate) fn report(&self, jobs: usize) -> bool {
        let states = self.states.iter();
        let states: Vec<String> = states.map(|(state, n)| format!("{n} {state}")).collect();
        crate::say(&format!(
            "{jobs} jobs in {} attempts: {}; {} lost, torn or stuck",
            self.attempts,
            states.join(", "),
            self.wrong.len()
        ));
        for wrong in &self.wrong {
            crate::say(&format!("  wrong: {wrong}"));
        }
        self.wrong.is_empty()
    }
}
