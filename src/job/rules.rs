//! What may be done to a job: looked at and carried out inside one transaction of the store.
//!
//! Each function reads the row, judges, and only then writes; a refusal has written nothing but,
//! perhaps, that a dead owner's attempt is interrupted, which is true whatever was asked.

use super::json::Json;
use super::patch::{Change, unstorable};
use super::record::{RECORD_MAX_BYTES, Record};
use crate::crash;
use crate::error::{JobError, JournalError};
use crate::id::JobId;
use crate::journal::{JobRow, JobTx};
use crate::state::{JobEvent, JobState};

/// Why not.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    Exists,
    NotFound,
    Gone,
    Over(JobState),
    WrongState(JobState, &'static str),
    Fenced { held: u64, now: u64 },
    Changed { expected: u64, found: u64 },
    Unstorable(String),
}

impl Refusal {
    pub(super) fn about(self, job: &JobId) -> JobError {
        let job = job.clone();
        match self {
            Self::Exists => JobError::Exists { job },
            Self::NotFound => JobError::NotFound { job },
            Self::Gone => JobError::Gone { job },
            Self::Over(state) => JobError::Over { job, state },
            Self::WrongState(state, wanted) => JobError::WrongState { job, state, wanted },
            Self::Fenced { held, now } => JobError::Fenced { job, held, now },
            Self::Changed { expected, found } => JobError::Changed {
                job,
                expected,
                found,
            },
            Self::Unstorable(reason) => unstorable(&job, "record", reason),
        }
    }
}

/// What a rule says, if the store did not fail.
pub(super) type Ruled<T> = Result<Result<T, Refusal>, JournalError>;

/// One taking of a job by an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) generation: u64,
    pub(super) attempt: u64,
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// Anybody; with the revision that they must have seen, if they say so.
    Anybody(Option<u64>),
    /// The owner of an attempt.
    Owner(Ticket),
}

/// An attempt whose lease was found free although the row said that it runs.
pub(super) type Dead = Option<Ticket>;

macro_rules! allowed {
    ($ruled:expr) => {
        match $ruled {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

/// Makes a job.
pub(super) fn create(tx: &mut JobTx<'_>, job: &JobId, record: &str) -> Ruled<u64> {
    if tx.job(job)?.is_some() {
        return Ok(Err(Refusal::Exists));
    }
    if let Err(refusal) = fits(record) {
        return Ok(Err(refusal));
    }
    let row = tx.insert(job, record.to_owned())?;
    crash::point("job.put");
    Ok(Ok(row.revision))
}

/// Gives the job to an owner, whose lease the caller holds: so nobody else's attempt is alive.
pub(super) fn claim(
    tx: &mut JobTx<'_>,
    job: &JobId,
    (event, owner): (JobEvent, &Json),
) -> Ruled<Ticket> {
    let Some(mut row) = tx.job(job)? else {
        return Ok(Err(Refusal::NotFound));
    };
    let dead = Some(ticket(&row));
    settle_dead(tx, &mut row, dead)?;
    let Some(state) = row.state.next(event) else {
        return Ok(Err(unfit(row.state)));
    };
    let mut record = Record::parse(&row, tx.file())?;
    record.owner = Some(owner.clone());
    record.result = None;
    record.error = None;
    row.state = state;
    row.attempt += 1;
    row.progress = 0;
    row.cancel = false;
    allowed!(store(tx, &mut row, &record)?);
    Ok(Ok(ticket(&row)))
}

/// Why a job in this state cannot be taken as it was asked.
fn unfit(state: JobState) -> Refusal {
    match state {
        JobState::Completed => Refusal::Over(state),
        JobState::Queued => Refusal::WrongState(state, "it was never started"),
        _ => Refusal::WrongState(state, "it was started before; only a retry takes it again"),
    }
}

/// Carries out a patch; returns the new revision.
pub(super) fn write(
    tx: &mut JobTx<'_>,
    job: &JobId,
    (who, dead): (Who, Dead),
    change: &Change,
) -> Ruled<u64> {
    let mut row = allowed!(row_for(tx, job, who, dead)?);
    allowed!(may_write(&row, who, change));
    if change.is_of_the_record() {
        let mut record = Record::parse(&row, tx.file())?;
        record
            .extra
            .retain(|field, _| !change.unset.contains(field));
        let set = change.set.iter();
        record
            .extra
            .extend(set.map(|(field, value)| (field.clone(), value.clone())));
        let text = allowed!(text(&record));
        row.record = text;
    }
    for line in &change.lines {
        tx.add_line(&mut row, line)?;
        crash::point("job.line");
    }
    row.progress = row.progress.max(change.progress.unwrap_or(0));
    tx.put(&mut row)?;
    crash::point("job.put");
    Ok(Ok(row.revision))
}

fn may_write(row: &JobRow, who: Who, change: &Change) -> Result<(), Refusal> {
    let Who::Anybody(seen) = who else {
        return Ok(());
    };
    if let Some(expected) = seen
        && row.revision != expected
    {
        let found = row.revision;
        return Err(Refusal::Changed { expected, found });
    }
    match row.state {
        JobState::Queued | JobState::Running => Ok(()),
        _ if !change.is_of_the_attempt() => Ok(()),
        JobState::Interrupted => Err(Refusal::WrongState(
            row.state,
            "nobody works on it; retry it first",
        )),
        over => Err(Refusal::Over(over)),
    }
}

/// How an attempt ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    Completed(Json),
    Failed(Json),
    Cancelled,
}

/// Ends the owner's attempt: state, progress, result or error in one step.
pub(super) fn finish(tx: &mut JobTx<'_>, job: &JobId, (owner, end): (Ticket, &End)) -> Ruled<u64> {
    let mut row = allowed!(row_for(tx, job, Who::Owner(owner), None)?);
    let mut record = Record::parse(&row, tx.file())?;
    let event = match end {
        End::Completed(result) => {
            record.result = Some(result.clone());
            row.progress = 100;
            JobEvent::Complete
        }
        End::Failed(error) => {
            record.error = Some(error.clone());
            JobEvent::Fail
        }
        End::Cancelled => JobEvent::Cancel,
    };
    let Some(state) = row.state.next(event) else {
        return Ok(Err(Refusal::Over(row.state)));
    };
    row.state = state;
    allowed!(store(tx, &mut row, &record)?);
    Ok(Ok(row.revision))
}

/// Asks the owner to stop; a job that nobody works on is cancelled here and now.
pub(super) fn cancel(tx: &mut JobTx<'_>, job: &JobId, dead: Dead) -> Ruled<JobState> {
    let mut row = allowed!(row_for(tx, job, Who::Anybody(None), dead)?);
    if row.state.is_terminal() {
        return Ok(Err(Refusal::Over(row.state)));
    }
    if row.state != JobState::Running {
        row.state = JobState::Cancelled;
    } else if row.cancel {
        return Ok(Ok(row.state));
    }
    row.cancel = true;
    tx.put(&mut row)?;
    crash::point("job.put");
    Ok(Ok(row.state))
}

/// Writes down that the attempt is interrupted, if it is still the one that runs.
pub(super) fn interrupt(tx: &mut JobTx<'_>, job: &JobId, dead: Ticket) -> Ruled<bool> {
    let mut row = allowed!(row_for(tx, job, Who::Anybody(None), None)?);
    Ok(Ok(settle_dead(tx, &mut row, Some(dead))?))
}

/// Removes the job if it is over, and was not changed after `until_unix_ms`; else tells its state.
pub(super) fn remove(
    tx: &mut JobTx<'_>,
    job: &JobId,
    until_unix_ms: u64,
) -> Ruled<Option<JobState>> {
    let Some(row) = tx.job(job)? else {
        return Ok(Err(Refusal::NotFound));
    };
    if !row.state.is_terminal() || row.changed_unix_ms > until_unix_ms {
        return Ok(Ok(Some(row.state)));
    }
    tx.remove(&row)?;
    crash::point("job.put");
    Ok(Ok(None))
}

/// The attempt that the row is at.
pub(super) fn ticket(row: &JobRow) -> Ticket {
    Ticket {
        generation: row.generation,
        attempt: row.attempt,
    }
}

/// The row, if `who` may write to it. The fence: compared in the transaction of the write itself.
fn row_for(tx: &mut JobTx<'_>, job: &JobId, who: Who, dead: Dead) -> Ruled<JobRow> {
    let found = tx.job(job)?;
    let Who::Owner(held) = who else {
        let Some(mut row) = found else {
            return Ok(Err(Refusal::NotFound));
        };
        settle_dead(tx, &mut row, dead)?;
        return Ok(Ok(row));
    };
    let Some(row) = found.filter(|row| row.generation == held.generation) else {
        return Ok(Err(Refusal::Gone));
    };
    if row.attempt != held.attempt || row.state == JobState::Interrupted {
        let (held, now) = (held.attempt, row.attempt);
        return Ok(Err(Refusal::Fenced { held, now }));
    }
    if row.state.is_terminal() {
        return Ok(Err(Refusal::Over(row.state)));
    }
    Ok(Ok(row))
}

/// An attempt whose lease is free was interrupted. A lease is never taken again for the same
/// attempt, so what was true when the caller looked is true still.
fn settle_dead(tx: &mut JobTx<'_>, row: &mut JobRow, dead: Dead) -> Result<bool, JournalError> {
    let applies = row.state == JobState::Running && dead == Some(ticket(row));
    if let (true, Some(state)) = (applies, row.state.next(JobEvent::Interrupt)) {
        row.state = state;
        tx.put(row)?;
    }
    Ok(applies)
}

fn store(tx: &mut JobTx<'_>, row: &mut JobRow, record: &Record) -> Ruled<()> {
    row.record = allowed!(text(record));
    tx.put(row)?;
    crash::point("job.put");
    Ok(Ok(()))
}

fn text(record: &Record) -> Result<String, Refusal> {
    let text = record.to_text();
    let text = text.map_err(|error| Refusal::Unstorable(error.to_string()))?;
    fits(&text)?;
    Ok(text)
}

/// Refuses a record that is too large.
fn fits(record: &str) -> Result<(), Refusal> {
    if record.len() <= RECORD_MAX_BYTES {
        return Ok(());
    }
    let bytes = record.len();
    Err(Refusal::Unstorable(format!(
        "{bytes} bytes are more than {RECORD_MAX_BYTES}"
    )))
}
