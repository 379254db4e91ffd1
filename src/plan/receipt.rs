//! The proof of an outcome, and the other reports of a plan.

use crate::error::Conflict;
use crate::id::{Epoch, PlanId, ResourceName};
use crate::sandbox::{Action, Changes};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Proof that a plan is committed: what was applied, per resource. The only way to "committed".
///
/// Every caller of `commit_all` on one plan gets an equal receipt; [`Receipt::is_repeat`] tells the
/// one who committed from those who came later. That and [`Receipt::is_settled`] take no part in the
/// comparison.
#[derive(Debug, Clone)]
pub struct Receipt {
    body: Arc<ReceiptBody>,
    repeat: bool,
    settled: bool,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReceiptBody {
    /// The plan.
    pub plan: PlanId,
    /// What became of it.
    pub outcome: CommitOutcome,
    /// The epoch that decided.
    pub epoch: Epoch,
    /// When it was decided: milliseconds since the Unix epoch.
    pub decided_unix_ms: u64,
    /// Every resource of the plan, in the order of its name.
    pub resources: Vec<ResourceReceipt>,
}

/// What became of a plan that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CommitOutcome {
    /// Every change of the plan is real.
    Committed,
    /// The plan had changed nothing; nothing was written.
    NothingToDo,
}

impl CommitOutcome {
    /// The outcome as stable kebab-case text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::NothingToDo => "nothing-to-do",
        }
    }
}

/// What was applied to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResourceReceipt {
    /// Its name in the plan.
    pub name: ResourceName,
    /// Its kind, for example `dir`.
    pub kind: String,
    /// Where the real thing is.
    pub target: String,
    /// How the view was made, for example `copy`.
    pub view: String,
    /// True if something was applied; false if the plan changed nothing here.
    pub applied: bool,
    /// What was applied, in numbers and names.
    pub changes: Changes,
    /// BLAKE3 digest, in hex, of what was sealed.
    pub digest: String,
}

impl Receipt {
    pub(crate) fn first(body: ReceiptBody) -> Self {
        Self {
            body: Arc::new(body),
            repeat: false,
            settled: false,
        }
    }

    pub(crate) fn repeated(body: ReceiptBody, settled: bool) -> Self {
        Self {
            body: Arc::new(body),
            repeat: true,
            settled,
        }
    }

    /// The same receipt, given when it was known whether the effects are synced.
    pub(crate) fn settled(mut self, settled: bool) -> Self {
        self.settled = settled;
        self
    }

    /// True if every effect was on disk, and everything made for the plan removed, when this
    /// receipt was given. If not, the plan is committed all the same: what is left is done in the
    /// background, or by the next recovery.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// True if the plan had been committed before this call: "already committed".
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.repeat
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &PlanId {
        &self.body.plan
    }

    /// What became of the plan.
    #[must_use]
    pub fn outcome(&self) -> CommitOutcome {
        self.body.outcome
    }

    /// Every resource of the plan.
    #[must_use]
    pub fn resources(&self) -> &[ResourceReceipt] {
        &self.body.resources
    }

    /// Everything the receipt says, for storing or showing.
    #[must_use]
    pub fn body(&self) -> &ReceiptBody {
        &self.body
    }
}

impl PartialEq for Receipt {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

impl Eq for Receipt {}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = if self.repeat { " already" } else { "" };
        match self.body.outcome {
            CommitOutcome::NothingToDo => write!(f, "plan {}: nothing to do", self.body.plan)?,
            CommitOutcome::Committed => write!(f, "plan {}:{again} committed", self.body.plan)?,
        }
        for resource in &self.body.resources {
            write!(
                f,
                "\n  {} ({}): {}",
                resource.name,
                resource.target,
                summary(&resource.changes)
            )?;
        }
        Ok(())
    }
}

/// The changes of one resource as a person reads them: `2 added, 1 modified, 42 bytes`, or its
/// sections where it has some: `table users: 1 row added`. What is zero is not told.
#[must_use]
pub fn summary(changes: &Changes) -> String {
    if changes.is_empty() {
        return "unchanged".to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    let mut separator = "; ";
    if changes.sections.is_empty() {
        separator = ", ";
        let counts = [
            (changes.count(Action::Added), "added"),
            (changes.count(Action::Modified), "modified"),
            (changes.count(Action::Removed), "removed"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(counts.map(|(count, done)| format!("{count} {done}")));
        match changes.bytes() {
            0 => (),
            1 => parts.push("1 byte".to_owned()),
            bytes => parts.push(format!("{bytes} bytes")),
        }
    } else {
        parts.extend(changes.sections.iter().map(ToString::to_string));
    }
    if changes.unlisted > 0 {
        parts.push(format!("{} more not listed", changes.unlisted));
    }
    parts.join(separator)
}

/// What one resource of a plan changed until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ResourceDiff {
    /// Its name in the plan.
    pub name: ResourceName,
    /// Its kind.
    pub kind: String,
    /// Where the real thing is.
    pub target: String,
    /// How the view was made.
    pub view: String,
    /// What would be committed.
    pub changes: Changes,
}

/// What a plan changed until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanDiff {
    /// The plan.
    pub plan: PlanId,
    /// Every resource, in the order of its name.
    pub resources: Vec<ResourceDiff>,
    /// Resources that cannot be looked at from here, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<(ResourceName, String)>,
}

impl PlanDiff {
    /// True if nothing would be committed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources
            .iter()
            .all(|resource| resource.changes.is_empty())
    }
}

/// What a commit would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What would be committed.
    pub diff: PlanDiff,
    /// Where it would conflict; empty if it would go through.
    pub conflicts: Vec<Conflict>,
}

/// What a recovery did with one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Recovered {
    /// There was nothing to do.
    Nothing,
    /// The decision was durable: it was carried out to its end. Everything is new.
    Completed,
    /// No decision had been made, or it was being taken back: everything is old, the sandboxes are
    /// kept.
    Undone,
    /// The plan had been given up; its sandboxes are removed now.
    Removed,
    /// Another process holds the plan; it is alive and will finish by itself.
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Change;

    fn changes(entries: &[(Action, u64)], unlisted: u64) -> Changes {
        let mut changes = Changes::default();
        let entries = entries.iter();
        let entries = entries.map(|(action, bytes)| Change::new("a", *action, "file", *bytes));
        changes.entries.extend(entries);
        changes.unlisted = unlisted;
        changes
    }

    fn body(epoch: u64, changes: Changes) -> ReceiptBody {
        ReceiptBody {
            plan: PlanId::new("p").expect("printable"),
            outcome: CommitOutcome::Committed,
            epoch: Epoch(epoch),
            decided_unix_ms: 0,
            resources: vec![ResourceReceipt {
                name: ResourceName::new("site").expect("printable"),
                kind: "dir".to_owned(),
                target: "/real".to_owned(),
                view: "copy".to_owned(),
                applied: true,
                changes,
                digest: String::new(),
            }],
        }
    }

    #[test]
    fn a_summary_tells_what_is_not_zero() {
        let (added, removed) = ((Action::Added, 1), (Action::Removed, 0));
        assert_eq!(summary(&changes(&[], 0)), "unchanged");
        assert_eq!(summary(&changes(&[added], 0)), "1 added, 1 byte");
        assert_eq!(summary(&changes(&[removed], 0)), "1 removed");
        assert_eq!(
            summary(&changes(
                &[added, added, (Action::Modified, 40), removed],
                3
            )),
            "2 added, 1 modified, 1 removed, 42 bytes, 3 more not listed"
        );
    }

    #[test]
    fn a_receipt_is_shown_with_every_resource() {
        let shown = Receipt::first(body(1, changes(&[(Action::Added, 1)], 0))).to_string();
        assert_eq!(shown, "plan p: committed\n  site (/real): 1 added, 1 byte");
        let again = Receipt::repeated(body(1, changes(&[], 0)), true).to_string();
        assert_eq!(
            again,
            "plan p: already committed\n  site (/real): unchanged"
        );
    }

    #[test]
    fn receipts_are_equal_if_they_say_the_same() {
        let first = Receipt::first(body(1, changes(&[], 0)));
        assert_eq!(first, Receipt::repeated(body(1, changes(&[], 0)), true));
        assert_ne!(first, Receipt::first(body(2, changes(&[], 0))));
    }

    #[test]
    fn a_diff_is_empty_if_every_resource_is_unchanged() {
        let resource = |changes| ResourceDiff {
            name: ResourceName::new("site").expect("printable"),
            kind: "dir".to_owned(),
            target: "/real".to_owned(),
            view: "copy".to_owned(),
            changes,
        };
        let diff = |resources| PlanDiff {
            plan: PlanId::new("p").expect("printable"),
            resources,
            unseen: Vec::new(),
        };
        let (same, changed) = (changes(&[], 0), changes(&[(Action::Added, 1)], 0));
        assert!(diff(Vec::new()).is_empty());
        assert!(diff(vec![resource(same.clone())]).is_empty());
        assert!(!diff(vec![resource(same), resource(changed)]).is_empty());
    }
}
