//! Moving references of the real repository: compare and swap, and durable.

use super::program::{Answer, Fsync, Oid};
use super::repository::{RefState, Repository};
use crate::clock;
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::sandbox::Outcome;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How an attempt to move a reference ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Swap {
    /// It is where it was to go.
    Done,
    /// It is not where it was expected; this is what it is now.
    Moved(RefState),
}

/// The reference under which a commit of the sandbox with this token is kept from being collected.
pub(super) fn keeper(token: &str) -> String {
    format!("refs/planbox/{token}/commit")
}

/// Moves `name` from `old` to `new` (none: no such reference), with `reason` in its log.
///
/// # Errors
/// [`Fault::Busy`] if a lock of another git is in the way for longer than git waits.
pub(super) fn swap(
    repository: &Repository,
    name: &str,
    (old, new): (Option<&Oid>, Option<&Oid>),
    reason: &str,
) -> Outcome<Swap> {
    let Some(known) = old.or(new) else {
        return Ok(Swap::Done);
    };
    let zero = known.zero();
    let (from, to) = (old.unwrap_or(&zero), new.unwrap_or(&zero));
    let runner = repository.runner().fsync(Fsync::All);
    let call = runner.call("update-ref").args(["--no-deref", "-m", reason]);
    let call = match new {
        Some(_) => call.args(["--end-of-options", name, to.as_str(), from.as_str()]),
        None => call.args(["-d", "--end-of-options", name, from.as_str()]),
    };
    let answer = call.answer()?;
    if answer.code == 0 {
        sync(repository, name)?;
        return Ok(Swap::Done);
    }
    let now = explain(repository, name, old, &answer)?;
    let there = match &now {
        RefState::At(oid) => Some(oid),
        RefState::Absent | RefState::Symbolic(_) => None,
    };
    if there == new && !matches!(now, RefState::Symbolic(_)) {
        sync(repository, name)?;
        return Ok(Swap::Done);
    }
    Ok(Swap::Moved(now))
}

/// Checks that `name` is at `old` and that nobody keeps it locked, by locking it for a moment.
///
/// # Errors
/// As [`swap`].
pub(super) fn probe(
    repository: &Repository,
    name: &str,
    old: Option<&Oid>,
    like: &Oid,
) -> Outcome<Swap> {
    let zero = like.zero();
    let expected = old.unwrap_or(&zero);
    let input = format!("start\nverify {name} {expected}\nprepare\nabort\n");
    let runner = repository.runner();
    let call = runner.call("update-ref").args(["--no-deref", "--stdin"]);
    let answer = call.input(input).answer()?;
    if answer.code == 0 {
        return Ok(Swap::Done);
    }
    explain(repository, name, old, &answer).map(Swap::Moved)
}

/// Sets a reference of our own, whatever it was.
pub(super) fn keep(repository: &Repository, token: &str, commit: &Oid) -> Outcome<()> {
    let name = keeper(token);
    let runner = repository.runner().fsync(Fsync::All);
    let call = runner
        .call("update-ref")
        .args(["--no-deref", "--end-of-options"]);
    call.args([name.as_str(), commit.as_str()]).bytes()?;
    sync(repository, &name)
}

/// Removes the reference of our own; there may be none.
pub(super) fn let_go(repository: &Repository, token: &str) -> Outcome<()> {
    let name = keeper(token);
    if repository.state(&name)? != RefState::Absent {
        let runner = repository.runner();
        let call = runner
            .call("update-ref")
            .args(["--no-deref", "-d", "--end-of-options"]);
        call.arg(&name).bytes()?;
    }
    // Git keeps the directory above; others may have theirs in it, and then it stays.
    let refs = Dir::open(&repository.common.join("refs"));
    drop(refs.and_then(|refs| refs.remove_dir("planbox".as_ref())));
    Ok(())
}

/// Why git did not move `name` away from `old`: what it is now, or an error.
fn explain(
    repository: &Repository,
    name: &str,
    old: Option<&Oid>,
    answer: &Answer,
) -> Outcome<RefState> {
    let now = repository.state(name)?;
    let unmoved = match (&now, old) {
        (RefState::At(now), Some(old)) => now == old,
        (RefState::Absent, None) => true,
        _ => false,
    };
    if !unmoved {
        return Ok(now);
    }
    match lock_of(repository, name) {
        Some((path, age)) => Err(ParticipantError::new(
            Fault::Busy,
            format!(
                "another git locks the branch since {} s; if no git is running there, it was left \
                 by one that died, and may be removed by hand",
                age.as_secs()
            ),
        )
        .at(path)),
        None if answer.complaint().contains("cannot lock ref") => Err(ParticipantError::new(
            Fault::Busy,
            format!("the branch is locked: {}", answer.complaint()),
        )
        .at(&repository.common)),
        None => Err(answer.failure().at(&repository.common)),
    }
}

/// The lock that stands in the way of moving `name`, with its age.
fn lock_of(repository: &Repository, name: &str) -> Option<(PathBuf, Duration)> {
    let common = &repository.common;
    let candidates = [
        common.join(format!("{name}.lock")),
        common.join("HEAD.lock"),
        common.join("packed-refs.lock"),
        common.join("reftable/tables.list.lock"),
    ];
    candidates.into_iter().find_map(|path| {
        let made = std::fs::symlink_metadata(&path).ok()?.modified().ok()?;
        let made = made.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Duration::from_millis(clock::now_unix_ms());
        Some((path, now.saturating_sub(made)))
    })
}

/// Makes the directories on the way to `name` durable; git flushes the files only.
fn sync(repository: &Repository, name: &str) -> Outcome<()> {
    let reftable = repository.common.join("reftable");
    let mut way: Vec<PathBuf> = Path::new(name)
        .ancestors()
        .skip(1)
        .filter(|above| !above.as_os_str().is_empty())
        .map(|above| repository.common.join(above))
        .collect();
    way.push(reftable);
    way.push(repository.common.clone());
    for path in way {
        let synced = Dir::open(&path).and_then(|dir| dir.sync());
        match synced {
            // With another store of references these are no directories.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            other => other
                .map_err(|error| ParticipantError::io("make the branch durable", &path, error))?,
        }
    }
    Ok(())
}

/// True if the commit `new` is `now` or one of its ancestors.
pub(super) fn contains(repository: &Repository, now: &Oid, new: &Oid) -> Outcome<bool> {
    let call = repository.runner().call("merge-base");
    let call = call.args([
        "--is-ancestor",
        "--end-of-options",
        new.as_str(),
        now.as_str(),
    ]);
    let answer = call.answer()?;
    match answer.code {
        0 => Ok(true),
        1 => Ok(false),
        _ => Err(answer.failure().at(&repository.common)),
    }
}
