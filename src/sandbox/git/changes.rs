//! The difference of two trees, for people.

use super::program::{Oid, Runner};
use super::records::Records;
use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Action, Change, Changes, Outcome, Section, Work};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Most changed paths that are listed one by one.
pub(super) const LISTED_MAX: usize = 10_000;

/// The mode of a submodule.
pub(super) const SUBMODULE: &str = "160000";

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) old_mode: String,
    pub(super) mode: String,
    pub(super) old: Oid,
    pub(super) new: Oid,
    pub(super) path: PathBuf,
}

impl Difference {
    /// Reads `:100644 100644 OLD NEW M`, without its path.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.strip_prefix(':')?.split(' ');
        Some(Self {
            old_mode: fields.next()?.to_owned(),
            mode: fields.next()?.to_owned(),
            old: fields.next().and_then(Oid::parse)?,
            new: fields.next().and_then(Oid::parse)?,
            path: PathBuf::new(),
        })
    }

    pub(super) fn action(&self) -> Action {
        match (self.old.is_zero(), self.new.is_zero()) {
            (true, _) => Action::Added,
            (_, true) => Action::Removed,
            _ => Action::Modified,
        }
    }

    fn what(&self) -> &'static str {
        let mode = if self.new.is_zero() {
            &self.old_mode
        } else {
            &self.mode
        };
        match mode.as_str() {
            "120000" => "symlink",
            SUBMODULE => "submodule",
            _ => "file",
        }
    }
}

/// Calls `each` for every path that differs between the trees (or commits) `old` and `new`.
pub(super) fn differences(
    git: &Runner,
    (old, new): (&Oid, &Oid),
    work: &Work<'_>,
    each: &mut (dyn FnMut(Difference) -> Outcome<()> + Send),
) -> Outcome<()> {
    let (mut records, mut begun) = (Records::default(), None::<Difference>);
    let call = git
        .call("diff-tree")
        .args(["-r", "-z", "--raw", "--no-renames"]);
    let call = call.args([
        "--no-commit-id",
        "--end-of-options",
        old.as_str(),
        new.as_str(),
    ]);
    let answer = call.stopped_by(work).stream(&mut |piece| {
        records.cut(piece, &mut |record| match begun.take() {
            None => {
                let parsed = Difference::parse(record).ok_or_else(|| {
                    let why = "git told a difference that cannot be read";
                    ParticipantError::new(Fault::Corrupt, why)
                })?;
                begun = Some(parsed);
                Ok(())
            }
            Some(mut difference) => {
                difference.path = PathBuf::from(OsString::from_vec(record.to_vec()));
                each(difference)
            }
        })
    })?;
    if answer.code != 0 {
        return Err(answer.failure());
    }
    Ok(())
}

/// What changed on the branch `name` between two trees, the first [`LISTED_MAX`] paths one by one.
pub(super) fn changes(
    git: &Runner,
    (old, new): (&Oid, &Oid),
    name: &str,
    work: &Work<'_>,
) -> Outcome<Changes> {
    let mut changes = Changes::default();
    let mut section = Section::new("branch", name.escape_debug().to_string(), "file");
    let mut listed: Vec<Difference> = Vec::new();
    differences(git, (old, new), work, &mut |difference| {
        section.count(difference.action());
        if listed.len() < LISTED_MAX {
            listed.push(difference);
        } else {
            changes.unlisted += 1;
        }
        Ok(())
    })?;
    let sizes = sizes(git, &listed, work)?;
    let mut sizes = sizes.into_iter();
    for difference in &listed {
        let bytes = match difference.action() {
            Action::Removed => 0,
            _ => sizes.next().unwrap_or_default(),
        };
        let (action, what) = (difference.action(), difference.what());
        let path = difference.path.clone();
        changes.entries.push(Change::new(path, action, what, bytes));
    }
    changes.entries.sort();
    if !listed.is_empty() {
        changes.sections.push(section);
    }
    Ok(changes)
}

/// The size of every object that a listed path has now, in their order; 0 for a submodule.
fn sizes(git: &Runner, listed: &[Difference], work: &Work<'_>) -> Outcome<Vec<u64>> {
    let mut asked = String::new();
    for difference in listed.iter().filter(|one| !one.new.is_zero()) {
        asked.push_str(difference.new.as_str());
        asked.push('\n');
    }
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let call = git.call("cat-file").arg("--batch-check=%(objectsize)");
    let answer = call.input(asked).stopped_by(work).bytes()?;
    let lines = String::from_utf8_lossy(&answer);
    // A submodule's commit is not here, and git says `missing`.
    Ok(lines
        .lines()
        .map(|line| line.parse().unwrap_or_default())
        .collect())
}
