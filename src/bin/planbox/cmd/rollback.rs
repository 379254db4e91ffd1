//! `planbox rollback`: give a plan up.

use crate::args::ThePlan;
use crate::exit::{Exit, Failure, Own};
use crate::output::{Report, can_ask};
use crate::session::{Context, Session, plan_id};
use planbox::{PlanHold, PlanId, PlanState};
use serde_json::json;

pub(super) fn run(context: &Context, arguments: &ThePlan) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let mut session = context.open()?;
    let mut hold = session.hold_existing(&plan, "rollback")?;
    let before = session.manager.status(&plan)?.state;
    if before == PlanState::Open && !context.global.yes && can_ask() {
        ask(&mut session, &mut hold, &plan)?;
    }
    let names = context.signals.during(|| hold.rollback_all())?;
    let resources: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    let again = before == PlanState::Aborted;
    let outcome = if again {
        "already-rolled-back"
    } else {
        "rolled-back"
    };
    let json = json!({ "outcome": outcome, "plan": plan, "resources": resources });
    let text = format!(
        "{} plan {plan}, {} removed\n",
        outcome.replace('-', " "),
        count(&names)
    );
    Ok(Report::done(text, json))
}

fn count<T>(names: &[T]) -> String {
    match names.len() {
        1 => "1 sandbox".to_owned(),
        many => format!("{many} sandboxes"),
    }
}

/// Asks a person whether work is to be thrown away, if there is any.
fn ask(session: &mut Session<'_>, hold: &mut PlanHold, plan: &PlanId) -> Result<(), Failure> {
    let changes = match hold.diff() {
        Ok(diff) if diff.is_empty() => return Ok(()),
        Ok(diff) => {
            let count = diff
                .resources
                .iter()
                .map(|part| part.changes.entries.len())
                .sum::<usize>();
            format!("{count} uncommitted changes")
        }
        Err(_) => "changes that cannot be listed".to_owned(),
    };
    session.hide_progress();
    if session
        .context
        .out
        .ask(&format!("plan {plan} has {changes}; throw them away?"))
    {
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
