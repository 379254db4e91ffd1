//! `planbox diff`: what would be committed.

use super::push_line;
use super::receipt::in_words;
use crate::args::Diff;
use crate::exit::{Exit, Failure};
use crate::output::{Report, bold, mark};
use crate::session::{Context, plan_id};
use crate::text::{aligned, one_line};
use planbox::{PlanDiff, ResourceDiff};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &Diff) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let session = context.open()?;
    let diff = session.manager.diff(&plan)?;
    for (name, reason) in &diff.unseen {
        context
            .out
            .talk(&format!("{name} cannot be looked at from here: {reason}"));
    }
    let found = arguments.exit_code && !diff.is_empty();
    let exit = if found { Exit::Findings } else { Exit::Done };
    Ok(Report::seen(text(&diff, arguments.stat), json(&diff)).exit(exit))
}

pub(super) fn json(diff: &PlanDiff) -> Value {
    json!({
        "outcome": if diff.is_empty() { "unchanged" } else { "changed" },
        "plan": diff.plan,
        "resources": diff.resources,
        "unseen": diff.unseen,
    })
}

/// Per resource a headline, one line per change, notes and totals; or only the totals, as a table.
pub(super) fn text(diff: &PlanDiff, only_totals: bool) -> String {
    if only_totals {
        return totals(diff);
    }
    let parts = diff.resources.iter().map(resource_text);
    parts.collect::<Vec<_>>().join("\n")
}

fn resource_text(resource: &ResourceDiff) -> String {
    let headline = format!(
        "{} {}",
        one_line(resource.name.as_str()),
        one_line(&resource.target)
    );
    let mut text = format!("{}\n", bold(&headline));
    for change in &resource.changes.entries {
        let what = match change.what.as_str() {
            "directory" => "/".to_owned(),
            "file" | "symlink" | "row" | "value" => String::new(),
            other => format!(" ({other})"),
        };
        let path = one_line(&(change.path.clone() + &what));
        let line = format!("{}  {path}", mark(change.action));
        push_line(&mut text, &line);
    }
    for note in &resource.changes.notes {
        push_line(&mut text, &format!("note: {}", one_line(note)));
    }
    for line in in_words(&resource.changes) {
        push_line(&mut text, &one_line(&line));
    }
    text
}

fn totals(diff: &PlanDiff) -> String {
    let mut rows = Vec::new();
    for resource in &diff.resources {
        let mut first = [resource.name.to_string(), resource.target.clone()];
        let notes = resource.changes.notes.iter();
        let notes = notes.map(|note| format!("note: {note}"));
        for line in in_words(&resource.changes).into_iter().chain(notes) {
            let [name, target] = std::mem::take(&mut first);
            rows.push(vec![name, target, line]);
        }
    }
    let mut text = String::new();
    for line in aligned(rows) {
        push_line(&mut text, &line);
    }
    text
}
