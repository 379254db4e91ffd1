//! A `run` as a job: others can see how far it is, read its log, and ask it to stop.
//!
//! The job has the id of the plan. It is a record of the work, not a part of it: if it cannot be
//! kept, the work goes on without it.

use crate::exit::{Exit, Failure};
use crate::output::{Json, Report};
use crate::session::Session;
use crate::signal::Signals;
use planbox::error::JobError;
use planbox::job::Prune;
use planbox::sync::channel::{Receiver, Sender, bounded, select};
use planbox::sync::thread::{self, JoinHandle};
use planbox::{Event, Explain as _, JobHandle, JobId, JobState, JobStore, NewJob, PlanId, Stage};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The kind of the job of a plan.
const KIND: &str = "plan";

/// How often the job is asked whether somebody wants it to stop.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The job of a `run` that goes on.
#[derive(Debug)]
pub(crate) struct Tracked {
    owner: JobHandle,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Tracked {
    /// Takes the job of `plan`, makes it if need be, and begins to write down what happens.
    pub(crate) fn begin(session: &Session<'_>, plan: &PlanId) -> Option<Self> {
        let taken = JobId::new(plan.as_str())
            .map_err(planbox::Error::from)
            .and_then(|job| Ok(take(&session.manager.jobs(), &job)?));
        let owner = match taken {
            Ok(owner) => owner?,
            Err(error) => {
                let text = format!("there is no job of this run: {error} ({})", error.code());
                session.context.out.detail(&text);
                return None;
            }
        };
        let (stop, stopped) = bounded(0);
        let writer = Writer {
            plan: plan.clone(),
            owner: owner.clone(),
            signals: session.context.signals.clone(),
            last: None,
        };
        let events = session.manager.subscribe();
        let thread = thread::spawn("job", move || writer.listen(&events, &stopped)).ok();
        Some(Self {
            owner,
            stop,
            thread,
        })
    }

    /// The owner of the job.
    pub(crate) fn owner(&self) -> &JobHandle {
        &self.owner
    }

    /// Writes down that CMD does something. Its arguments are left out: they may hold what is not
    /// for everybody who reads the log.
    pub(crate) fn tell(&self, cmd: &[OsString], what: &str) {
        let name = cmd.first().map(Path::new).and_then(Path::file_name);
        let name = name.unwrap_or_default().to_string_lossy();
        // A job that cannot be written is no reason to stop.
        drop(self.owner.append_log(&format!("{name} {what}"), None));
    }

    /// Ends the job as the run ended.
    pub(crate) fn end(self, outcome: &Result<Report, Failure>) {
        drop(self.stop);
        if let Some(thread) = self.thread {
            drop(thread.join());
        }
        let ended = match outcome {
            Ok(report) => match &report.json {
                Json::One(receipt) => self.owner.complete(receipt),
                Json::Lines(lines) => self.owner.complete(lines),
            },
            Err(failure) if failure.exit() == Exit::Interrupted => self.owner.cancelled(),
            Err(failure) => self
                .owner
                .fail(failure.json().get("error").unwrap_or_default()),
        };
        // The run has an outcome of its own; a job without an end is seen as interrupted.
        drop(ended);
    }
}

/// Takes the job for another attempt; one that is completed belongs to an earlier plan of this id.
fn take(jobs: &JobStore, job: &JobId) -> Result<Option<JobHandle>, JobError> {
    if let Some(found) = jobs.read(job)? {
        if found.kind != KIND {
            return Ok(None);
        }
        match found.state {
            JobState::Queued => return jobs.start(job).map(Some),
            JobState::Completed => drop(jobs.prune(&Prune::all().ids([job.clone()]))?),
            _ => return jobs.retry(job).map(Some),
        }
    }
    jobs.create(job, NewJob::new(KIND))?;
    jobs.start(job).map(Some)
}

/// Writes down what a manager tells, and listens for the wish to stop.
struct Writer {
    plan: PlanId,
    owner: JobHandle,
    signals: Signals,
    /// The step that the newest line is about.
    last: Option<String>,
}

impl Writer {
    fn listen(mut self, events: &Receiver<Event>, stopped: &Receiver<()>) {
        let mut asked = false;
        loop {
            let event = select! {
                recv(events) -> event => event.ok(),
                recv(stopped) -> _ => return self.drain(events),
                default(ASK_EVERY) => None,
            };
            if let Some(event) = event {
                self.write(&event);
            }
            if !asked && self.owner.is_cancel_requested().unwrap_or(false) {
                asked = true;
                drop(self.owner.append_log("asked to stop", None));
                self.signals.stop();
            }
        }
    }

    fn drain(mut self, events: &Receiver<Event>) {
        while let Ok(event) = events.try_recv() {
            self.write(&event);
        }
    }

    fn write(&mut self, event: &Event) {
        match event {
            Event::State { plan, state } if *plan == self.plan => {
                drop(self.owner.append_log(&format!("plan is {state}"), None));
            }
            Event::Progress {
                plan,
                resource,
                stage,
                done,
                total,
                unit,
            } if *plan == self.plan => {
                let percent = percent(*stage, *done, *total);
                let step = format!("{stage} {resource}");
                let ended = *total > 0 && done >= total;
                if ended || self.last.as_ref() != Some(&step) {
                    // A step that does not know its size yet says how far it came.
                    let line = match total {
                        0 => format!("{step}: {done} {unit}"),
                        _ => format!("{step}: {done} of {total} {unit}"),
                    };
                    drop(self.owner.append_log(&line, Some(percent)));
                } else {
                    drop(self.owner.progress(percent));
                }
                self.last = Some(step);
            }
            _ => {}
        }
    }
}

/// How far the run is when a step is: CMD's own part of it cannot be known.
fn percent(stage: Stage, done: u64, total: u64) -> i64 {
    let (from, to) = match stage {
        Stage::Lock | Stage::Open => (0, 10),
        Stage::Diff | Stage::Seal => (10, 40),
        Stage::Validate | Stage::Prepare | Stage::Decide => (40, 50),
        Stage::Apply => (50, 90),
        _ => (90, 99),
    };
    let share = (done.min(total) * 100).checked_div(total).unwrap_or(0);
    from + (to - from) * i64::try_from(share).unwrap_or(0) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_of_a_run_grows_from_step_to_step_and_leaves_the_end_to_the_end() {
        let steps = [
            Stage::Open,
            Stage::Seal,
            Stage::Prepare,
            Stage::Apply,
            Stage::Settle,
        ];
        let mut last = 0;
        for stage in steps {
            for (done, total) in [(0, 0), (0, 10), (5, 10), (10, 10), (11, 10)] {
                let now = percent(stage, done, total);
                assert!((0..=99).contains(&now), "{stage} {done}/{total}: {now}");
                last = if total == 0 { now.max(last) } else { last };
            }
            assert!(percent(stage, 10, 10) >= last);
        }
    }
}
