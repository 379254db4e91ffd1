//! `planbox recover`: finish or undo what a crash left.

use super::receipt;
use crate::args::Recover;
use crate::exit::Failure;
use crate::output::Report;
use crate::session::{Context, Session, plan_id, recovered_in_words};
use planbox::error::{PlanFault, RecoverError};
use planbox::{Error, Explain as _, LockWait, PlanId, Recovered, RecoveredPlan};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &Recover) -> Result<Report, Failure> {
    let plan = arguments.plan.as_deref().map(plan_id).transpose()?;
    let session = context.open_as_it_is(false)?;
    match plan {
        Some(plan) => one(&session, &plan, arguments.keep_theirs),
        None => all(&session),
    }
}

fn one(session: &Session<'_>, plan: &PlanId, keep_theirs: bool) -> Result<Report, Failure> {
    let context = session.context;
    let manager = &session.manager;
    let recover = || {
        if keep_theirs {
            manager.recover_plan_keeping_theirs(plan)
        } else {
            manager.recover_plan(plan)
        }
    };
    let outcome = context.patiently(plan, || match context.signals.during(recover) {
        Ok(Recovered::Busy) => locked(session, plan).map(|()| Ok(Recovered::Busy)),
        Err(RecoverError::Plan(fault @ PlanFault::Lock { .. })) => Err(fault),
        outcome => Ok(outcome),
    })??;
    let word = word(outcome);
    let json = json!({ "outcome": word, "plan": plan, "resources": [], "plans": [
        { "plan": plan, "outcome": word }
    ] });
    let text = format!("plan {plan}: {}\n", recovered_in_words(&Ok(outcome)));
    Ok(Report::done(
        text + &committed(session, plan, outcome),
        json,
    ))
}

/// What is real now, if the recovery finished a commit.
fn committed(session: &Session<'_>, plan: &PlanId, outcome: Recovered) -> String {
    if outcome != Recovered::Completed {
        return String::new();
    }
    // What was done is done, whether or not its receipt can be read.
    let receipt = session.manager.receipt(plan).ok().flatten();
    receipt.map_or_else(String::new, |receipt| receipt::lines(&receipt))
}

/// The lock that stood in the way of a recovery that does not wait.
fn locked(session: &Session<'_>, plan: &PlanId) -> Result<(), PlanFault> {
    debug_assert_eq!(
        session.context.wait(),
        LockWait::Try,
        "only then it is left to the holder"
    );
    session.manager.hold_existing(plan, "recover").map(drop)
}

fn all(session: &Session<'_>) -> Result<Report, Failure> {
    let report = session
        .context
        .signals
        .during(|| session.manager.recover())?;
    let plans: Vec<Value> = report.plans.iter().map(plan_json).collect();
    let (mut failures, done): (Vec<_>, Vec<_>) = report
        .plans
        .into_iter()
        .partition(|plan| plan.outcome.is_err());
    let text = done.iter().map(|plan| match plan.outcome {
        Ok(outcome) => plan_text(plan) + &committed(session, &plan.plan, outcome),
        Err(_) => plan_text(plan),
    });
    let text: String = text.collect();
    if !failures.is_empty()
        && let Err(failure) = failures.remove(0).outcome
    {
        // The first failure is told as such, with its next step; all others before it.
        let others: String = failures.iter().map(plan_text).collect();
        session.context.out.talk_lines(&(text + &others));
        return Err(Failure::from(Error::from(failure)).with("plans", json!(plans)));
    }
    let nothing = plans.is_empty();
    let outcome = if nothing {
        "nothing-to-do"
    } else {
        "recovered"
    };
    let json = json!({ "outcome": outcome, "plan": null, "resources": [], "plans": plans });
    let text = if nothing {
        "nothing to recover\n".to_owned()
    } else {
        text
    };
    Ok(Report::done(text, json))
}

fn plan_text(recovered: &RecoveredPlan) -> String {
    format!(
        "plan {}: {}\n",
        recovered.plan,
        recovered_in_words(&recovered.outcome)
    )
}

fn plan_json(recovered: &RecoveredPlan) -> Value {
    match &recovered.outcome {
        Ok(outcome) => json!({ "plan": recovered.plan, "outcome": word(*outcome) }),
        Err(error) => json!({
            "plan": recovered.plan,
            "outcome": "failed",
            "error": {
                "code": error.code(),
                "message": recovered_in_words(&recovered.outcome),
                "resource": error.resource(),
                "next": error.next_step(),
            },
        }),
    }
}

fn word(outcome: Recovered) -> Value {
    match outcome {
        Recovered::Nothing => json!("nothing-to-do"),
        outcome => json!(outcome),
    }
}
