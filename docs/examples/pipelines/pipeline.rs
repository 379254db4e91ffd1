//! One attempt at a job, as its owner sees it. Nothing here knows who made the job, who watches it,
//! or who else writes to it.

use crate::Failure;
use crate::work::{self, Artefact, Stage};
use planbox::error::JobError;
use planbox::{Job, JobHandle, JobPatch};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// The kind of jobs that wait in the queue and publish partial results.
pub(crate) const SHORT_FORM: &str = "short-form";

/// The kind of jobs that run from the start.
pub(crate) const RESTYLE: &str = "restyle";

/// In how many steps a stage does its work. After each it says how far it is and looks whether it
/// is to stop.
pub(crate) const STEPS: usize = 8;

/// Why an attempt ends without a result.
enum Stop {
    /// It was asked to stop.
    Asked,
    /// The work cannot be done: this is why.
    Failed(String),
    /// The store refused a write: the job is not ours any more, or the store is out of order.
    Store(JobError),
}

impl From<JobError> for Stop {
    fn from(error: JobError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Stop {
    fn from(error: Failure) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says a line and how far the job is. A short-form job says it to its reader thread.
type Say<'a> = &'a dyn Fn(String, i64) -> Result<(), JobError>;

/// Brings one attempt to its end.
///
/// # Errors
/// The store refused a write. The attempt is not ended: somebody else has the job, or it is let go
/// when `owner` is dropped.
pub(crate) fn run(owner: &JobHandle, directory: &Path) -> Result<(), JobError> {
    let job = owner.read()?;
    let ended = if job.kind == SHORT_FORM {
        beside_a_reader(owner, |say| attempt((owner, &job), directory, say))
    } else {
        let say = |line: String, percent| owner.append_log(&line, Some(percent)).map(drop);
        attempt((owner, &job), directory, &say)
    };
    match ended {
        // State, result and 100 % in one step: nobody sees one without the others.
        Ok(artefact) => owner.complete(&artefact),
        Err(Stop::Asked) => owner.cancelled(),
        Err(Stop::Failed(reason)) => owner.fail(&reason),
        Err(Stop::Store(error)) => Err(error),
    }
    .map(drop)
}

/// Runs `body` while a thread of its own writes to the log what the work says, as the output of a
/// tool is read: two threads write to one job.
fn beside_a_reader<T>(
    owner: &JobHandle,
    body: impl FnOnce(Say<'_>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let (tool, output) = mpsc::channel::<(String, i64)>();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            output.iter().try_for_each(|(line, percent)| {
                owner.append_log(&line, Some(percent))?;
                Ok::<(), JobError>(())
            })
        });
        let outcome = body(&|line, percent| {
            // A reader that was refused says so below.
            drop(tool.send((line, percent)));
            Ok(())
        });
        drop(tool);
        // The last line is written before the job ends.
        match reader.join() {
            Ok(Ok(())) => outcome,
            Ok(Err(error)) => Err(Stop::Store(error)),
            Err(_) => Err(Stop::Failed("the reader of the log broke".to_owned())),
        }
    })
}

fn attempt(
    (owner, job): (&JobHandle, &Job),
    directory: &Path,
    say: Say<'_>,
) -> Result<Artefact, Stop> {
    let input = input_of(job)?;
    let text = std::fs::read_to_string(&input)
        .map_err(|error| Stop::Failed(format!("{}: {error}", input.display())))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let stages = work::stages(&job.kind);
    let mut clips = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let so_far = |step: usize| percent(number * STEPS + step, stages.len() * STEPS);
        lines = pass(owner, *stage, &lines, &|step| {
            say(format!("{}: step {step}", stage.name()), so_far(step))
        })?;
        let mut text = lines.join("\n");
        text.push('\n');
        // Files of an attempt carry its number: an old attempt that does not know yet that it was
        // given up cannot touch those of the new one. The store fences its records, not our files.
        let name = format!("{}.{}.{}", job.id.file_name(), job.attempt, stage.name());
        clips.push(work::publish(directory.join(name), &text)?);
        if job.kind == SHORT_FORM {
            // Partial results: a list that is complete up to here, and how far we are, in one step.
            owner.update(JobPatch::new().set("clips", &clips).progress(so_far(STEPS)))?;
        }
    }
    clips
        .pop()
        .ok_or_else(|| Stop::Failed("no stages".to_owned()))
}

/// One stage, in steps.
fn pass(
    owner: &JobHandle,
    stage: Stage,
    lines: &[String],
    say: &dyn Fn(usize) -> Result<(), JobError>,
) -> Result<Vec<String>, Stop> {
    let mut out = Vec::new();
    let share = lines.len().div_ceil(STEPS).max(1);
    let mut parts = lines.chunks(share);
    for step in 1..=STEPS {
        if owner.is_cancel_requested()? {
            return Err(Stop::Asked);
        }
        for line in parts.next().unwrap_or_default() {
            out.extend(stage.line(line).map_err(Stop::Failed)?);
        }
        say(step)?;
    }
    Ok(out)
}

fn percent(part: usize, whole: usize) -> i64 {
    // 100 is for the end: completed says it.
    i64::try_from(part * 99 / whole).unwrap_or(99)
}

/// Where the input of a job is.
pub(crate) fn input_of(job: &Job) -> Result<PathBuf, Failure> {
    let input = job.extra.get("input").ok_or("the job names no input")?;
    Ok(input.parse()?)
}
