//! `planbox diff`: what would be committed.

use super::push_line;
use crate::args::Diff;
use crate::exit::{Exit, Failure};
use crate::output::{Report, bold, mark};
use crate::session::{Context, plan_id};
use crate::text::clean;
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

/// Per resource a headline, one line per change unless only totals are wanted, notes and totals.
pub(super) fn text(diff: &PlanDiff, only_totals: bool) -> String {
    let parts = diff
        .resources
        .iter()
        .map(|resource| resource_text(resource, only_totals));
    parts.collect::<Vec<_>>().join("\n")
}

fn resource_text(resource: &ResourceDiff, only_totals: bool) -> String {
    let headline = format!(
        "{} {}",
        clean(resource.name.as_str()),
        clean(&resource.target)
    );
    let mut text = format!("{}\n", bold(&headline));
    let entries = resource.changes.entries.iter().filter(|_| !only_totals);
    for change in entries {
        let line = format!("{}  {}", mark(change.action), clean(&change.path));
        push_line(&mut text, &line);
    }
    for note in &resource.changes.notes {
        push_line(&mut text, &format!("note: {}", clean(note)));
    }
    push_line(&mut text, &planbox::summary(&resource.changes));
    text
}
