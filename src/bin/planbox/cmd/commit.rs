//! `planbox commit`: all, or nothing.

use super::{diff, receipt};
use crate::args::Commit;
use crate::exit::{Failure, interrupted};
use crate::output::{Report, with};
use crate::session::{Context, Session, plan_id};
use planbox::error::CommitError;
use planbox::{PlanHold, PlanId};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &Commit) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let session = context.open()?;
    let mut hold = session.hold_existing(&plan, "commit")?;
    if context.signals.is_cancelled() {
        return Err(interrupted(Some(&plan)));
    }
    if arguments.dry_run {
        return check(&session, &mut hold, &plan);
    }
    let options = context.commit_options();
    let receipt = context.signals.during(|| hold.commit_all(&options))?;
    Ok(receipt::report(&receipt))
}

/// Makes every check and changes nothing.
fn check(session: &Session<'_>, hold: &mut PlanHold, plan: &PlanId) -> Result<Report, Failure> {
    if session.manager.status(plan)?.state.is_committed()
        && let Some(receipt) = session.manager.receipt(plan)?
    {
        return Ok(Report::seen(
            receipt::text(&receipt),
            receipt::json(&receipt),
        ));
    }
    let wait = session.context.wait();
    let check = session.context.signals.during(|| hold.check(wait))?;
    let json = with(diff::json(&check.diff), "dry_run", json!(true));
    if !check.conflicts.is_empty() {
        let (plan, conflicts) = (plan.clone(), check.conflicts);
        let failure = Failure::from(CommitError::Conflict { plan, conflicts });
        let resources = json
            .get("resources")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        return Err(failure
            .with_resources(resources)
            .with("dry_run", json!(true)));
    }
    let nothing = check.diff.is_empty();
    let outcome = if nothing {
        "nothing-to-do"
    } else {
        "would-commit"
    };
    let json = with(json, "outcome", json!(outcome));
    let verdict = if nothing {
        "nothing to do"
    } else {
        "would be committed"
    };
    let text = format!("{}plan {plan}: {verdict}\n", diff::text(&check.diff, false));
    Ok(Report::seen(text, json))
}
