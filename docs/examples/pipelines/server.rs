//! The routes of a server, and the workers behind them. Several servers may have one store open.

use crate::Failure;
use crate::pipeline::{self, RESTYLE, SHORT_FORM};
use crossbeam::channel::{Receiver, Sender, unbounded};
use planbox::error::JobError;
use planbox::{JobHandle, JobId, JobPatch, JobState, JobStore, NewJob};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a job is tried that is interrupted again and again.
pub(crate) const ATTEMPTS_MAX: u64 = 50;

/// How long a worker without work waits before it looks for jobs whose owner is dead: those who die
/// tell nobody.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Both pipelines over one store.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) jobs: JobStore,
    /// Where artefacts go.
    pub(crate) directory: PathBuf,
    begun: (Sender<JobHandle>, Receiver<JobHandle>),
    is_over: AtomicBool,
}

impl Server {
    /// Opens the store in `home`, and the directory of artefacts beside it.
    pub(crate) fn open(home: &Path) -> Result<Self, Failure> {
        let directory = home.join("work");
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            jobs: JobStore::open(home.join("store"))?,
            directory,
            begun: unbounded(),
            is_over: AtomicBool::new(false),
        })
    }

    /// `POST /short-form`: queued; some worker of some server takes it.
    pub(crate) fn submit_short_form(&self, id: &JobId, input: &Path) -> Result<(), Failure> {
        let new = NewJob::new(SHORT_FORM).set("input", input);
        self.jobs.create(id, new)?;
        Ok(())
    }

    /// `POST /restyle`: runs when the answer is given.
    pub(crate) fn submit_restyle(&self, id: &JobId, input: &Path) -> Result<(), Failure> {
        let new = NewJob::new(RESTYLE).set("input", input);
        self.jobs.create(id, new)?;
        // A worker that looks for queued jobs may be quicker: then it runs, too.
        match self.jobs.start(id) {
            Ok(owner) => self.begun.0.send(owner)?,
            Err(JobError::Lock { .. } | JobError::WrongState { .. } | JobError::Over { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// `POST /cancel`: asks; the owner decides. What it is now is the answer.
    pub(crate) fn cancel(&self, id: &JobId) -> Result<JobState, JobError> {
        self.jobs.cancel(id)
    }

    /// `POST /retry`: the next attempt of a job that has ended without a result.
    pub(crate) fn retry(&self, id: &JobId) -> Result<u64, Failure> {
        let owner = self.jobs.retry(id)?;
        owner.update(JobPatch::new().set("retried", &true))?;
        let attempt = owner.attempt();
        self.begun.0.send(owner)?;
        Ok(attempt)
    }

    /// Runs `body` beside `workers` workers, and stops them when it returns.
    pub(crate) fn serve<T>(
        &self,
        workers: usize,
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work())).collect();
            let outcome = body();
            self.is_over.store(true, Ordering::SeqCst);
            for worker in running {
                worker.join().map_err(|_| "a worker broke")??;
            }
            outcome
        })
    }

    fn work(&self) -> Result<(), Failure> {
        let mut watch = self.jobs.watch(0);
        while !self.is_over.load(Ordering::SeqCst) {
            let begun = self.begun.1.try_recv().ok();
            let Some(owner) = begun.map_or_else(|| self.claim(), |owner| Ok(Some(owner)))? else {
                watch.next(LOOK_EVERY)?;
                continue;
            };
            self.attempt(&owner)?;
        }
        Ok(())
    }

    fn attempt(&self, owner: &JobHandle) -> Result<(), Failure> {
        let (id, attempt) = (owner.id(), owner.attempt());
        let outcome = if attempt > ATTEMPTS_MAX {
            let reason = format!("given up: {ATTEMPTS_MAX} attempts were interrupted");
            owner.fail(&reason).map(drop)
        } else {
            pipeline::run(owner, &self.directory)
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(
                error @ (JobError::Fenced { .. } | JobError::Over { .. } | JobError::Gone { .. }),
            ) => {
                // Somebody else has the job: nothing is to be put right, only to be left alone.
                crate::say(&format!("refused {id} {attempt}: {error}"));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a job that waits, or whose owner is dead.
    fn claim(&self) -> Result<Option<JobHandle>, JobError> {
        for job in self.jobs.list()? {
            let taken = match job.state {
                JobState::Queued => self.jobs.start(&job.id),
                JobState::Interrupted => self.jobs.retry(&job.id),
                _ => continue,
            };
            match taken {
                Ok(owner) => return Ok(Some(owner)),
                // Somebody else was quicker.
                Err(
                    JobError::Lock { .. }
                    | JobError::WrongState { .. }
                    | JobError::Over { .. }
                    | JobError::NotFound { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
