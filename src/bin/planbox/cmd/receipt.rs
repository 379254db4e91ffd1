//! A receipt, for people and for programs.

use super::push_line;
use crate::output::{Report, bold};
use crate::text::{aligned, clean};
use planbox::rfc3339;
use planbox::{Changes, CommitOutcome, Receipt};
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
    let mut rows = Vec::new();
    for resource in receipt.resources() {
        let mut first = [resource.name.to_string(), resource.target.clone()];
        for change in in_words(&resource.changes) {
            let [name, target] = std::mem::take(&mut first);
            rows.push(vec![name, target, change]);
        }
        let notes = resource.changes.notes.iter();
        rows.extend(notes.map(|note| vec![String::new(), String::new(), format!("note: {note}")]));
    }
    let mut text = String::new();
    for line in aligned(rows) {
        push_line(&mut text, &format!("  {line}"));
    }
    text
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
