//! `planbox run`: open, run CMD, commit.

use super::{receipt, sandboxes_json};
use crate::args::Run;
use crate::child::{self, Job};
use crate::exit::{Exit, Failure, interrupted, refused};
use crate::output::Report;
use crate::resources::{self, Wanted};
use crate::session::{Context, Session, plan_id};
use crate::text::{now_unix_ms, shell_word};
use planbox::{Error, PlanHold, PlanId};
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

const WANTED: &str = "nothing can be run in it any more";

pub(super) fn run(context: &Context, arguments: &Run) -> Result<Report, Failure> {
    let named = arguments.plan.as_ref().or(arguments.dashed.as_ref());
    let plan = named.map_or_else(fresh_id, |plan| plan_id(plan))?;
    let about = |failure: Failure| failure.of(Some(&plan));
    if named.is_none() && arguments.resources.dirs.is_empty() {
        let next = "name a directory with --dir, or a plan that has one";
        return Err(refused("usage", "there is nothing to work in".to_owned(), next));
    }
    child::check_found(&arguments.cmd).map_err(about)?;
    let wanted = resources::read(&plan, &arguments.resources).map_err(about)?;
    let session = context.open()?;
    if named.is_none() {
        context.out.talk(&format!("this is plan {plan}"));
    }
    // Without resources the plan must be there, so it is not made.
    let (mut hold, made) = if wanted.is_empty() {
        (session.hold_existing(&plan, "run")?, false)
    } else {
        session.hold_or_make(&plan, "run")?
    };
    work(&session, &mut hold, wanted, &arguments.cmd)
        .map_err(|failure| give_up_if_useless(&session, &mut hold, made, failure))
        .map_err(about)
}

/// A plan of its own for a run that names none.
fn fresh_id() -> Result<PlanId, Failure> {
    let seconds = now_unix_ms() / 1_000;
    let random = RandomState::new().hash_one(std::process::id()) & 0x00ff_ffff;
    plan_id(&format!("run-{seconds}-{random:06x}"))
}

fn work(
    session: &Session<'_>,
    hold: &mut PlanHold,
    wanted: Vec<Wanted>,
    cmd: &[OsString],
) -> Result<Report, Failure> {
    let (context, plan) = (session.context, hold.plan().clone());
    session.workable(&plan, WANTED)?;
    resources::open(hold, wanted)?;
    let sandboxes = session.workable(&plan, WANTED)?.sandboxes;
    let known = |failure: Failure| failure.with_resources(sandboxes_json(&sandboxes));
    if sandboxes.is_empty() {
        let message = format!("plan {plan} has nothing to work in");
        return Err(refused("no-resources", message, "name a directory with --dir"));
    }
    Job::new(session, &plan, &sandboxes, cmd)?.run(session).map_err(known)?;
    if context.signals.is_cancelled() {
        return Err(known(interrupted(Some(&plan))));
    }
    let options = context.commit_options();
    let receipt = context.signals.during(|| hold.commit_all(&options)).map_err(|error| {
        let word = shell_word(plan.as_str());
        let failure = Failure::from(Error::from(error));
        if failure.exit() != Exit::RecoveryNeeded {
            context.out.talk(&format!(
                "CMD succeeded, the commit did not; the sandbox is kept: `planbox status {word}`"
            ));
        }
        known(failure)
    })?;
    let mut report = receipt::report(&receipt);
    if context.out.is_quiet() {
        report.text.clear();
    }
    Ok(report)
}

/// A plan that this run made and in which CMD never ran is of no use to anybody.
fn give_up_if_useless(
    session: &Session<'_>,
    hold: &mut PlanHold,
    made: bool,
    failure: Failure,
) -> Failure {
    let never_ran = failure.code() == child::NOT_STARTED || failure.exit() != Exit::CommandFailed;
    let ran = session.context.signals.has_child();
    if !made || !never_ran || ran {
        return failure;
    }
    match session.context.signals.during(|| hold.rollback_all()) {
        Ok(_) => failure.rolled_back(),
        Err(_) => failure,
    }
}
