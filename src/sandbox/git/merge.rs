//! The plan's change on top of what the branch is now.

use super::program::{Oid, Runner};
use super::record::{Record, SealedFile};
use super::records::Records;
use crate::error::{Conflict, Fault, ParticipantError};
use crate::sandbox::{Outcome, Work};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A tree on top of the branch as it is now.
#[derive(Debug)]
pub(super) enum Merged {
    /// This tree.
    Tree(Oid),
    /// Both changed the same places in different ways.
    Conflict(Vec<Conflict>),
}

/// Merges what is sealed into the commit `now`: three ways, with the base of the plan as the
/// common one. Nothing but objects of our own is written.
pub(super) fn merge(
    git: &Runner,
    (record, sealed): (&Record, &SealedFile),
    now: &Oid,
    work: &Work<'_>,
) -> Outcome<Merged> {
    let (Some(base), Some(ours)) = (&record.base, &sealed.commit) else {
        return Ok(Merged::Tree(sealed.tree.clone()));
    };
    let (mut records, mut number) = (Records::default(), 0_u64);
    let (mut tree, mut sides) = (None, BTreeMap::<PathBuf, [Option<String>; 3]>::new());
    let call = git
        .call("merge-tree")
        .args(["--write-tree", "-z", "--no-messages"])
        .arg(format!("--merge-base={base}"))
        .args(["--end-of-options", now.as_str(), ours.as_str()]);
    let answer = call.stopped_by(work).stream(&mut |piece| {
        records.cut(piece, &mut |record| {
            if number == 0 {
                tree = std::str::from_utf8(record).ok().and_then(Oid::parse);
            } else if let Some((path, side, what)) = stage(record)
                && let Some(slot) = sides.entry(path).or_default().get_mut(side)
            {
                *slot = Some(what);
            }
            number += 1;
            Ok(())
        })
    })?;
    match (answer.code, tree) {
        (0, Some(tree)) => Ok(Merged::Tree(tree)),
        (1, Some(_)) if !sides.is_empty() => Ok(Merged::Conflict(
            sides
                .into_iter()
                .map(|(path, side)| tell(&path, side))
                .collect(),
        )),
        (1, Some(_)) => {
            let why = format!(
                "git cannot merge this and names no path: {}",
                answer.complaint()
            );
            Err(ParticipantError::new(Fault::Conflict, why))
        }
        _ => Err(answer.failure()),
    }
}

/// Reads `MODE OID STAGE<tab>PATH`.
fn stage(record: &[u8]) -> Option<(PathBuf, usize, String)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (head, path) = record.split_at(tab);
    let mut fields = std::str::from_utf8(head).ok()?.split(' ');
    let (mode, oid, stage) = (fields.next()?, fields.next()?, fields.next()?);
    let side = stage.parse::<usize>().ok()?.checked_sub(1)?;
    let oid = Oid::parse(oid)?;
    let path = PathBuf::from(OsString::from_vec(path.get(1..)?.to_vec()));
    Some((path, side, format!("{} ({})", in_words(mode), oid.short())))
}

/// What a mode in a tree stands for.
fn in_words(mode: &str) -> &str {
    match mode {
        "100644" => "a file",
        "100755" => "an executable file",
        "120000" => "a symbolic link",
        "160000" => "a submodule",
        other => other,
    }
}

fn tell(path: &Path, [base, theirs, ours]: [Option<String>; 3]) -> Conflict {
    let side = |side: Option<String>| side.unwrap_or_else(|| "nothing".to_owned());
    let place = crate::error::Shown(path).to_string();
    Conflict::new(place, side(base), side(theirs), side(ours))
}

/// Makes a commit of `tree` on top of `parent`, with the words and the date of the seal: the same
/// seal on the same parent is the same commit.
pub(super) fn commit(
    git: &Runner,
    record: &Record,
    (tree, parent): (&Oid, Option<&Oid>),
    at: u64,
) -> Outcome<Oid> {
    let date = format!("@{at} +0000");
    let call = git.call("commit-tree").arg(tree.as_str());
    let call = match parent {
        Some(parent) => call.args(["-p", parent.as_str()]),
        None => call,
    };
    call.env("GIT_AUTHOR_NAME", &record.author.name)
        .env("GIT_AUTHOR_EMAIL", &record.author.email)
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_NAME", &record.committer.name)
        .env("GIT_COMMITTER_EMAIL", &record.committer.email)
        .env("GIT_COMMITTER_DATE", &date)
        .input(format!("{}\n", record.message.trim_end_matches('\n')))
        .oid()
}
