//! `planbox rollback`: give a plan up.

use super::push_line;
use crate::args::ThePlan;
use crate::exit::{Exit, Failure, Own};
use crate::output::{Report, can_ask};
use crate::session::{Context, Session, plan_id};
use crate::text::{aligned, counted};
use planbox::{PlanHold, PlanId, PlanState, PlanStatus, ResourceName};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &ThePlan) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let mut session = context.open()?;
    let mut hold = session.hold_existing(&plan, "rollback")?;
    let status = session.manager.status(&plan)?;
    let before = status.state;
    if before == PlanState::Open && !context.global.yes && can_ask() {
        ask(&mut session, &mut hold, &plan)?;
    }
    let names = context.signals.during(|| hold.rollback_all())?;
    let resources: Vec<_> = names.iter().map(|name| described(name, &status)).collect();
    let again = before == PlanState::Aborted;
    let outcome = if again {
        "already-rolled-back"
    } else {
        "rolled-back"
    };
    let json = json!({ "outcome": outcome, "plan": plan, "resources": resources });
    let text = if again && names.is_empty() {
        format!("plan {plan} was rolled back before\n")
    } else {
        let removed = counted(names.len(), "sandbox", "sandboxes");
        let mut text = format!("rolled back plan {plan}, {removed} removed\n");
        let known = status.sandboxes.into_iter();
        let rows = known.map(|sandbox| {
            vec![
                sandbox.name.to_string(),
                sandbox.target,
                AS_IT_WAS.to_owned(),
            ]
        });
        for line in aligned(rows) {
            push_line(&mut text, &format!("  {line}"));
        }
        text
    };
    Ok(Report::done(text, json))
}

/// What is said of the real thing behind a sandbox that is gone.
const AS_IT_WAS: &str = "not touched";

/// A sandbox that is gone, with what was known of it before.
fn described(name: &ResourceName, before: &PlanStatus) -> Value {
    let known = before
        .sandboxes
        .iter()
        .find(|sandbox| sandbox.name == *name);
    known.map_or_else(
        || json!({ "name": name }),
        |known| json!({ "name": name, "kind": known.kind, "target": known.target }),
    )
}

/// Asks a person whether work is to be thrown away, if there is any.
fn ask(session: &mut Session<'_>, hold: &mut PlanHold, plan: &PlanId) -> Result<(), Failure> {
    let changes = match hold.diff() {
        Ok(diff) if diff.is_empty() => return Ok(()),
        Ok(diff) => {
            let count = diff.resources.iter().map(|part| {
                let unlisted = usize::try_from(part.changes.unlisted).unwrap_or(usize::MAX);
                part.changes.entries.len().saturating_add(unlisted)
            });
            counted(
                count.sum(),
                "change that is not committed",
                "changes that are not committed",
            )
        }
        Err(_) => "changes that cannot be listed".to_owned(),
    };
    session.hide_progress();
    if session.context.out.ask(&format!(
        "plan {plan} has {changes}; throw everything away?"
    )) {
        session.show_progress();
        return Ok(());
    }
    let own = Own {
        exit: Exit::Failed,
        code: "declined",
        message: format!("plan {plan} is kept"),
        next: "give --yes to roll it back without being asked".to_owned(),
        source: None,
    };
    Err(Failure::from(own).of(Some(plan)))
}
