//! A receipt, for people and for programs.

use super::push_line;
use crate::output::{Report, bold};
use crate::text::clean;
use planbox::rfc3339;
use planbox::{CommitOutcome, Receipt};
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

/// One line for each resource, and its notes.
pub(super) fn lines(receipt: &Receipt) -> String {
    let mut text = String::new();
    for resource in receipt.resources() {
        let (name, target) = (clean(resource.name.as_str()), clean(&resource.target));
        let changes = planbox::summary(&resource.changes);
        push_line(&mut text, &format!("  {name}  {target}  {changes}"));
        for note in &resource.changes.notes {
            push_line(&mut text, &format!("    note: {}", clean(note)));
        }
    }
    text
}
