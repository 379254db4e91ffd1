//! `planbox job`: what is going on, and what became of it.

use super::push_line;
use crate::args::{Job as Asked, JobLog, JobNote, JobPrune};
use crate::exit::{Exit, Failure};
use crate::output::{Json, Report, bold, with};
use crate::session::{Context, Session};
use crate::text::{age, clean, now_unix_ms};
use comfy_table::{Table, presets};
use planbox::error::JobError;
use planbox::job::{LogLine, Prune};
use planbox::rfc3339;
use planbox::{Error, Job, JobId, JobState};
use serde_json::{Value, json};
use std::time::Duration;

/// How many lines of the log `show` shows.
const LAST_LINES: usize = 10;

/// How long a follower waits for a change before it looks whether the owner is alive.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn run(context: &Context, asked: &Asked) -> Result<Report, Failure> {
    let session = context.open()?;
    match asked {
        Asked::List => list(&session),
        Asked::Show(arguments) => show(&session, &job_id(&arguments.job)?),
        Asked::Log(arguments) => log(&session, arguments),
        Asked::Note(arguments) => note(&session, arguments),
        Asked::Cancel(arguments) => cancel(&session, &job_id(&arguments.job)?),
        Asked::Prune(arguments) => prune(&session, arguments),
    }
}

fn job_id(text: &str) -> Result<JobId, Failure> {
    JobId::new(text).map_err(|error| Error::from(error).into())
}

/// The fields that every object has.
fn object(outcome: &str) -> Value {
    json!({ "outcome": outcome, "plan": null, "resources": [] })
}

fn job_json(job: &Job) -> Value {
    let object = with(
        json!(job),
        "created_at",
        json!(rfc3339(job.created_unix_ms)),
    );
    with(object, "changed_at", json!(rfc3339(job.changed_unix_ms)))
}

fn found(session: &Session<'_>, id: &JobId, after: u64) -> Result<Job, Failure> {
    let job = session.manager.jobs().read_after(id, after)?;
    job.ok_or_else(|| JobError::NotFound { job: id.clone() }.into())
}

fn list(session: &Session<'_>) -> Result<Report, Failure> {
    let jobs = session.manager.jobs().list()?;
    let objects: Vec<Value> = jobs.iter().map(job_json).collect();
    let json = with(object("found"), "jobs", json!(objects));
    if jobs.is_empty() {
        session.context.out.talk("there are no jobs in this store");
        return Ok(Report::seen("", json));
    }
    let now = now_unix_ms();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["JOB", "KIND", "STATE", "DONE", "ATTEMPT", "AGE", "OWNER"]);
    for job in &jobs {
        let owner = job
            .owner
            .as_ref()
            .filter(|_| job.state == JobState::Running);
        table.add_row([
            clean(job.id.as_str()),
            clean(&job.kind),
            in_words(job),
            format!("{} %", job.progress),
            job.attempt.to_string(),
            age(job.created_unix_ms, now),
            owner.map_or_else(|| "-".to_owned(), |owner| format!("process {}", owner.pid)),
        ]);
    }
    let mut text = String::new();
    for line in table.lines() {
        push_line(&mut text, line.trim_end());
    }
    Ok(Report::seen(text, json))
}

fn in_words(job: &Job) -> String {
    if job.cancel_requested && job.state == JobState::Running {
        return format!("{}, asked to stop", job.state);
    }
    job.state.to_string()
}

fn show(session: &Session<'_>, id: &JobId) -> Result<Report, Failure> {
    let job = found(session, id, 0)?;
    let now = now_unix_ms();
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let name = bold(&format!("{name:<9}"));
        push_line(
            &mut text,
            &format!("{name} {}", clean(value).replace('\n', "\n          ")),
        );
    };
    row("job", job.id.as_str());
    row("kind", &job.kind);
    let state = format!(
        "{}, {} %, attempt {}",
        in_words(&job),
        job.progress,
        job.attempt
    );
    row("state", &state);
    if let Some(owner) = &job.owner {
        let since = rfc3339(owner.since_unix_ms);
        let since = format!("process {} on {}, since {since}", owner.pid, owner.host);
        row("owner", &since);
    }
    for (name, unix_ms) in [
        ("created", job.created_unix_ms),
        ("changed", job.changed_unix_ms),
    ] {
        row(
            name,
            &format!("{} ({} ago)", rfc3339(unix_ms), age(unix_ms, now)),
        );
    }
    row("revision", &job.revision.to_string());
    if let Some(result) = &job.result {
        row("result", &result.to_text());
    }
    if let Some(error) = &job.error {
        row("error", &error.to_text());
    }
    for (name, value) in &job.extra {
        row("field", &format!("{name} = {value}"));
    }
    let skipped = job.log.len().saturating_sub(LAST_LINES);
    row("log", &length(&job));
    for line in job.log.iter().skip(skipped) {
        push_line(&mut text, &line_text(line));
    }
    let json = with(object("found"), "job", job_json(&job));
    Ok(Report::seen(text, json))
}

/// How long the log of a job is.
fn length(job: &Job) -> String {
    let lines = if job.lines == 1 { "line" } else { "lines" };
    match job.dropped {
        0 => format!("{} {lines}", job.lines),
        dropped => format!("{} {lines}, the oldest {dropped} dropped", job.lines),
    }
}

fn line_text(line: &LogLine) -> String {
    let at = rfc3339(line.at_unix_ms);
    let text = clean(&line.text).replace('\n', "\\n");
    format!("{at}  #{}  {text}", line.attempt)
}

/// A part of a log.
fn lines(id: &JobId, lines: &[LogLine]) -> Report {
    let mut text = String::new();
    for line in lines {
        push_line(&mut text, &line_text(line));
    }
    let object = |line: &LogLine| {
        let object = with(json!(line), "job", json!(id));
        with(object, "at", json!(rfc3339(line.at_unix_ms)))
    };
    Report {
        text: text.into_bytes(),
        json: Json::Lines(lines.iter().map(object).collect()),
        exit: Exit::Done,
        acted: false,
    }
}

fn log(session: &Session<'_>, arguments: &JobLog) -> Result<Report, Failure> {
    let id = job_id(&arguments.job)?;
    let out = session.context.out;
    let jobs = session.manager.jobs();
    let mut watch = jobs.watch(jobs.revision()?);
    let mut job = found(session, &id, 0)?;
    let mut seen = 0;
    loop {
        let first = job.log.first().map_or(seen + 1, |line| line.seq);
        if first > seen + 1 {
            out.talk(&format!("{} lines were dropped", first - seen - 1));
        }
        seen = job.lines;
        let part = lines(&id, &job.log);
        let over = job.state.is_terminal() || job.state == JobState::Interrupted;
        if !arguments.follow || over {
            if arguments.follow {
                out.talk(&format!("job {id} is {}", job.state));
            }
            return Ok(part);
        }
        if !out.stream(&part) {
            return Ok(lines(&id, &[]));
        }
        // Looked at whether or not something changed: an owner that dies writes nothing.
        watch.next(LOOK_EVERY)?;
        if session.context.signals.is_cancelled() {
            out.talk(&format!(
                "job {id} goes on; to stop it: planbox job cancel {id}"
            ));
            return Ok(Report {
                exit: Exit::Interrupted,
                ..lines(&id, &[])
            });
        }
        job = found(session, &id, seen)?;
    }
}

fn note(session: &Session<'_>, arguments: &JobNote) -> Result<Report, Failure> {
    let id = job_id(&arguments.job)?;
    let jobs = session.manager.jobs();
    // 100 % is for the end.
    let done = arguments.done.map(|done| done.min(99));
    let revision = jobs.append_log(&id, &arguments.line, done)?;
    let job = json!({ "id": id, "revision": revision });
    Ok(Report::done("", with(object("noted"), "job", job)))
}

fn cancel(session: &Session<'_>, id: &JobId) -> Result<Report, Failure> {
    let state = session.manager.jobs().cancel(id)?;
    let (outcome, text) = if state == JobState::Cancelled {
        ("cancelled", format!("job {id} is cancelled\n"))
    } else {
        (
            "asked",
            format!(
                "the owner of job {id} was asked to stop; to see it: planbox job log -f {id}\n"
            ),
        )
    };
    let json = with(object(outcome), "job", json!({ "id": id, "state": state }));
    Ok(Report::done(clean(&text), json))
}

fn prune(session: &Session<'_>, arguments: &JobPrune) -> Result<Report, Failure> {
    let mut prune = Prune::all().older_than(arguments.older_than);
    if !arguments.jobs.is_empty() {
        let ids: Result<Vec<JobId>, Failure> =
            arguments.jobs.iter().map(|job| job_id(job)).collect();
        prune = prune.ids(ids?);
    }
    let pruned = session.manager.jobs().prune(&prune)?;
    let mut text = String::new();
    for job in &pruned.removed {
        push_line(&mut text, &format!("job {job}: removed"));
    }
    for (job, state) in &pruned.kept {
        push_line(&mut text, &format!("job {job}: kept, it is {state}"));
    }
    for job in &pruned.unknown {
        push_line(&mut text, &format!("job {job}: there is none"));
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    let kept: Vec<Value> = pruned
        .kept
        .iter()
        .map(|(job, state)| json!({ "id": job, "state": state }))
        .collect();
    let outcome = if pruned.removed.is_empty() {
        "nothing-to-do"
    } else {
        "pruned"
    };
    let json = with(object(outcome), "removed", json!(pruned.removed));
    let json = with(json, "unknown", json!(pruned.unknown));
    Ok(Report::done(clean(&text), with(json, "kept", json!(kept))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_jobs_are_refused_as_unknown_plans_are() {
        let job = JobId::new("x").unwrap();
        let failure = Failure::from(JobError::NotFound { job });
        assert_eq!(
            (failure.code(), failure.exit()),
            ("unknown-job", Exit::Refused)
        );
    }
}
