//! A server whose requests come as lines on standard input, and whose answers are lines on standard
//! output: `short-form JOB FILE`, `restyle JOB FILE`, `cancel JOB`, `retry JOB`, `status JOB`, `stop`.

use crate::server::Server;
use crate::{Failure, say};
use planbox::JobId;
use planbox::error::JobError;
use std::io::BufRead as _;
use std::path::Path;

/// How many jobs a server works on at once.
pub(crate) const WORKERS: usize = 3;

/// Works until it is told to stop, its input ends, or it is killed.
pub(crate) fn serve(home: &Path) -> Result<bool, Failure> {
    let server = Server::open(home)?;
    server.serve(WORKERS, || {
        say("ready");
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if line.trim() == "stop" {
                break;
            }
            match answer(&server, &line) {
                Ok(answer) => say(&answer),
                Err(error) => say(&format!("refused {line}: {error}")),
            }
        }
        Ok(true)
    })
}

fn answer(server: &Server, line: &str) -> Result<String, Failure> {
    let (verb, rest) = line.trim().split_once(' ').ok_or("VERB JOB [FILE]")?;
    let (id, file) = rest.split_once(' ').unwrap_or((rest, ""));
    let id = JobId::new(id)?;
    Ok(match verb {
        "short-form" => accepted(&id, server.submit_short_form(&id, Path::new(file)))?,
        "restyle" => accepted(&id, server.submit_restyle(&id, Path::new(file)))?,
        "cancel" => format!("cancel {id} {}", server.cancel(&id)?),
        "retry" => format!("retried {id} {}", server.retry(&id)?),
        "status" => match server.jobs.read(&id)? {
            Some(job) => format!("status {id} {} {} %", job.state, job.progress),
            None => format!("status {id} unknown"),
        },
        other => return Err(format!("unknown verb {other:?}").into()),
    })
}

/// A request that is repeated because its answer was lost gets the same answer.
fn accepted(id: &JobId, submitted: Result<(), Failure>) -> Result<String, Failure> {
    if let Err(error) = submitted {
        match error.downcast_ref() {
            Some(JobError::Exists { .. }) => {}
            _ => return Err(error),
        }
    }
    Ok(format!("accepted {id}"))
}
