//! A receipt, for people and for programs.

use super::push_line;
use crate::output::{Report, bold};
use crate::text::{aligned, clean};
use planbox::rfc3339;
use planbox::{Changes, CommitOutcome, Receipt, ResourceReceipt};
use serde_json::{Value, json};

/// The outcome in one word.
pub(super) fn outcome(receipt: &Receipt) -> &'static str {
    match receipt.outcome() {
        CommitOutcome::Committed if receipt.is_repeat() => "already-committed",
        outcome => outcome.as_str(),
    }
}

/// The receipt as the report of a command that committed.
pub(super) fn report(receipt: &Receipt) -> Report {
    Report::done(text(receipt), json(receipt))
}

pub(super) fn json(receipt: &Receipt) -> Value {
    let body = receipt.body();
    json!({
        "outcome": outcome(receipt),
        "plan": body.plan,
        "resources": body.resources,
        "epoch": body.epoch,
        "decided_unix_ms": body.decided_unix_ms,
        "decided_at": rfc3339(body.decided_unix_ms),
        "repeat": receipt.is_repeat(),
        "settled": receipt.is_settled(),
    })
}

pub(super) fn text(receipt: &Receipt) -> String {
    let words = match outcome(receipt) {
        "committed" => "committed",
        "already-committed" => "already committed:",
        _ => "nothing to do in",
    };
    let plan = clean(receipt.plan().as_str());
    let settled = if receipt.is_settled() {
        ""
    } else {
        "  note: it could not be settled; that is left to `planbox recover`\n"
    };
    format!("{} plan {plan}\n{}{settled}", bold(words), lines(receipt))
}

/// For each resource a line in its own terms, one for each branch or table, and its notes.
pub(super) fn lines(receipt: &Receipt) -> String {
    let mut text = String::new();
    for line in rows(receipt.resources()) {
        push_line(&mut text, &format!("  {line}"));
    }
    text
}

fn rows(resources: &[ResourceReceipt]) -> Vec<String> {
    let mut rows = Vec::new();
    for resource in resources {
        let mut first = [resource.name.to_string(), resource.target.clone()];
        for change in in_words(&resource.changes) {
            let [name, target] = std::mem::take(&mut first);
            rows.push(vec![name, target, change]);
        }
        let notes = resource.changes.notes.iter();
        rows.extend(notes.map(|note| vec![String::new(), String::new(), format!("note: {note}")]));
    }
    aligned(rows)
}

/// What changed in a resource: a line for each of its parts, or one for all of it.
pub(super) fn in_words(changes: &Changes) -> Vec<String> {
    if changes.sections.is_empty() {
        return vec![planbox::summary(changes)];
    }
    let mut lines: Vec<String> = changes.sections.iter().map(ToString::to_string).collect();
    if changes.unlisted > 0 {
        lines.push(format!("{} more not listed", changes.unlisted));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_in_its_own_terms_in_columns() {
        let part = |name: &str, target: &str, changes: Value| {
            json!({ "name": name, "kind": name, "target": target, "view": "", "applied": true,
                    "digest": "", "changes": changes })
        };
        let table = |name: &str, added: u64, removed: u64| {
            json!({ "what": "table", "name": name, "unit": "row", "added": added, "modified": 0,
                    "removed": removed })
        };
        let branch = json!({ "what": "branch", "name": "refs/heads/main", "unit": "file", "added": 0,
            "modified": 2, "removed": 0, "from": "1a2b3c4d5e6f7a8b", "to": "9f8e7d6c5b4a3f2e" });
        let file = json!({ "path": "a", "action": "added", "what": "file", "bytes": 1 });
        let resources = json!([
            part(
                "dir",
                "/d",
                json!({ "entries": [file], "notes": ["a link\nis broken"] })
            ),
            part(
                "git",
                "/repo#main",
                json!({ "entries": [], "sections": [branch] })
            ),
            part(
                "sqlite",
                "/app.db",
                json!({ "entries": [], "unlisted": 7,
                "sections": [table("users", 2, 1), table("log", 1, 0)] })
            ),
            part("zz", "/zz", json!({ "entries": [] })),
        ]);
        let resources: Vec<ResourceReceipt> = serde_json::from_value(resources).unwrap();
        let wanted = [
            "dir     /d          1 added, 1 byte",
            "                    note: a link\\nis broken",
            "git     /repo#main  branch main: 2 files modified, 1a2b3c4d5e6f -> 9f8e7d6c5b4a",
            "sqlite  /app.db     table users: 2 rows added, 1 removed",
            "                    table log: 1 row added",
            "                    7 more not listed",
            "zz      /zz         unchanged",
        ];
        assert_eq!(rows(&resources), wanted);
    }
}
