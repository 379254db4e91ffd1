//! The short story: both pipelines, a cancel and a retry, as a subscriber is told of them.

use crate::push::{Push, check_end};
use crate::server::Server;
use crate::{Failure, load, say, work};
use planbox::{Job, JobId, JobState};
use std::path::PathBuf;

/// Tells it; true if it ends well.
pub(crate) fn tell() -> Result<bool, Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::open(home.path())?;
    let mut push = Push::new(&server.jobs);
    server.serve(2, || {
        say("# A short-form job and a restyle job, at the same time");
        let short = submit(&server, "short-1", false)?;
        let restyle = submit(&server, "restyle-1", false)?;
        until(&mut push, (&short, 1), JobState::Completed)?;
        until(&mut push, (&restyle, 1), JobState::Completed)?;

        say("\n# A restyle job is cancelled; whoever comes first is right");
        let late = submit(&server, "restyle-2", false)?;
        match server.cancel(&late) {
            Ok(state) => say(&format!("cancel {late}: it is {state}, and asked to stop")),
            Err(error) => say(&format!("cancel {late}: {error}")),
        }
        until_over(&mut push, (&late, 1))?;

        say("\n# A short-form job fails, its input is made good, and it is tried again");
        let broken = submit(&server, "short-2", true)?;
        until(&mut push, (&broken, 1), JobState::Failed)?;
        let reason = server.jobs.read(&broken)?.and_then(|job| job.error);
        say(&format!(
            "{broken}: {}",
            reason.ok_or("no reason")?.to_text()
        ));
        work::make_input(&input(&server, &broken), false)?;
        let attempt = server.retry(&broken)?;
        say(&format!("retry {broken}: attempt {attempt}"));
        until(&mut push, (&broken, attempt), JobState::Completed)?;
        Ok(())
    })?;
    say("\n# What is in the store");
    let mut wrong = push.wrong;
    for job in server.jobs.list()? {
        let whole = server.jobs.read(&job.id)?;
        wrong.extend(whole.and_then(|job| check_end(&job).err()));
        let result = job.result.or(job.error).map(|value| value.to_string());
        say(&format!(
            "{:<10} {:<10} attempt {}, {:>2} lines, {}",
            job.id.as_str(),
            job.state.to_string(),
            job.attempt,
            job.lines,
            result.unwrap_or_default()
        ));
    }
    for wrong in &wrong {
        say(&format!("wrong: {wrong}"));
    }
    if wrong.is_empty() {
        say("every artefact is what its input says it must be");
    }
    Ok(wrong.is_empty())
}

fn input(server: &Server, id: &JobId) -> PathBuf {
    server.directory.join(format!("{id}.txt"))
}

fn submit(server: &Server, name: &str, is_damaged: bool) -> Result<JobId, Failure> {
    let id = JobId::new(name)?;
    let input = input(server, &id);
    work::make_input(&input, is_damaged)?;
    if name.starts_with(crate::pipeline::RESTYLE) {
        server.submit_restyle(&id, &input)?;
    } else {
        server.submit_short_form(&id, &input)?;
    }
    Ok(id)
}

fn told(job: &Job) -> String {
    let stop = if job.cancel_requested {
        ", asked to stop"
    } else {
        ""
    };
    let clips = job.extra.get("clips");
    let clips = clips.and_then(|clips| clips.parse::<Vec<work::Artefact>>().ok());
    let clips = clips.map_or_else(String::new, |clips| format!(", {} clips", clips.len()));
    format!(
        "{:>4}  {:<10} {} {} %, attempt {}{clips}{stop}",
        job.revision,
        job.id.as_str(),
        job.state,
        job.progress,
        job.attempt
    )
}

/// Prints what is pushed until this attempt has ended as it should.
fn until(push: &mut Push, (id, attempt): (&JobId, u64), wanted: JobState) -> Result<(), Failure> {
    let state = until_over(push, (id, attempt))?;
    if state == wanted {
        return Ok(());
    }
    Err(format!("{id} is {state}, not {wanted}").into())
}

/// Prints what is pushed until this attempt has ended.
fn until_over(push: &mut Push, (id, attempt): (&JobId, u64)) -> Result<JobState, Failure> {
    let is_over = |job: &&Job| job.attempt >= attempt && job.state.is_terminal();
    loop {
        if let Some(job) = push.last(id).filter(is_over) {
            return Ok(job.state);
        }
        let changes = push.next(load::LONG)?.ok_or("nothing happens")?;
        for job in &changes.jobs {
            say(&told(job));
        }
    }
}
