//! `planbox run`: open, run CMD, commit.

use super::{receipt, sandboxes_json};
use crate::args::Run;
use crate::child::{self, Job, Running};
use crate::exit::{Failure, interrupted, refused};
use crate::output::Report;
use crate::resources::{self, Wanted};
use crate::session::{Context, Session, plan_id};
use crate::text::now_unix_ms;
use crate::tracked::Tracked;
use planbox::{JobHandle, PlanHold, PlanId, SandboxStatus};
use serde_json::json;
use std::hash::{BuildHasher as _, RandomState};

const WANTED: &str = "nothing can be run in it any more";

pub(super) fn run(context: &Context, arguments: &Run) -> Result<Report, Failure> {
    let named = arguments.plan.as_ref().or(arguments.dashed.as_ref());
    let plan = named.map_or_else(fresh_id, |plan| plan_id(plan))?;
    let about = |failure: Failure| failure.of(Some(&plan));
    if named.is_none() && arguments.resources.is_empty() {
        let next = "name something with --dir, --git or --sqlite, or a plan that has something";
        return Err(refused(
            "usage",
            "there is nothing to work in".to_owned(),
            next,
        ));
    }
    child::check_found(&arguments.cmd).map_err(about)?;
    let wanted = resources::read(&plan, &arguments.resources, context.global.lock_timeout);
    let wanted = wanted.map_err(about)?;
    let mut session = context.open()?;
    if named.is_none() {
        context.out.talk(&format!("this is plan {plan}"));
    }
    // Without resources the plan must be there, so it is not made.
    let (mut hold, made) = if wanted.is_empty() {
        (session.hold_existing(&plan, "run")?, false)
    } else {
        session.hold_or_make(&plan, "run")?
    };
    let tracked = Tracked::begin(&session, &plan);
    let log = tracked
        .as_ref()
        .filter(|_| arguments.log)
        .map(Tracked::owner);
    let begun = begin((&mut session, &mut hold), wanted, arguments, log);
    let outcome = match begun {
        Ok(begun) => {
            let tell = |what: &str| {
                if let Some(tracked) = &tracked {
                    tracked.tell(&arguments.cmd, what);
                }
            };
            finish(&mut session, &mut hold, (begun, &tell))
        }
        Err(failure) => {
            let useless = made && (named.is_none() || failure.code() == child::NOT_STARTED);
            Err(if useless {
                give_up(&session, &mut hold, failure)
            } else {
                failure
            })
        }
    };
    let outcome = outcome.map_err(about);
    if let Some(tracked) = tracked {
        tracked.end(&outcome);
    }
    outcome
}

/// CMD, and what it works on.
type Begun = (Running, Vec<SandboxStatus>);

/// Waits for CMD and commits; tells when it runs and when it has ended.
fn finish(
    session: &mut Session<'_>,
    hold: &mut PlanHold,
    ((running, sandboxes), tell): (Begun, &dyn Fn(&str)),
) -> Result<Report, Failure> {
    let known = |failure: Failure| failure.with_resources(sandboxes_json(&sandboxes));
    tell("runs");
    let ran = running.wait(session);
    tell("has ended");
    session.show_progress();
    ran.and_then(|()| commit(session, hold)).map_err(known)
}

/// A plan of its own for a run that names none.
fn fresh_id() -> Result<PlanId, Failure> {
    let seconds = now_unix_ms() / 1_000;
    let random = RandomState::new().hash_one(std::process::id()) & 0x00ff_ffff;
    plan_id(&format!("run-{seconds}-{random:06x}"))
}

/// Opens what is wanted and starts CMD in it.
fn begin(
    (session, hold): (&mut Session<'_>, &mut PlanHold),
    wanted: Vec<Wanted>,
    arguments: &Run,
    log: Option<&JobHandle>,
) -> Result<Begun, Failure> {
    let plan = hold.plan().clone();
    let before = session.workable(&plan, WANTED)?.sandboxes;
    let out = session.context.out;
    resources::open(out, hold, wanted, (&arguments.resources, &before))?;
    let sandboxes = session.workable(&plan, WANTED)?.sandboxes;
    if sandboxes.is_empty() {
        let message = format!("plan {plan} has nothing to work in");
        return Err(refused(
            "no-resources",
            message,
            "name something with --dir, --git or --sqlite",
        ));
    }
    session.hide_progress();
    let running = Job::new(session, &plan, &sandboxes, &arguments.cmd)?.start(session, log)?;
    Ok((running, sandboxes))
}

fn commit(session: &Session<'_>, hold: &mut PlanHold) -> Result<Report, Failure> {
    let context = session.context;
    if context.signals.is_cancelled() {
        return Err(interrupted(Some(hold.plan())));
    }
    let options = context.commit_options();
    let receipt = context.signals.during(|| hold.commit_all(&options))?;
    let mut report = receipt::report(&receipt);
    if context.out.is_quiet() {
        report.text.clear();
    }
    Ok(report)
}

/// Gives up a plan that this run made and in which CMD never ran.
fn give_up(session: &Session<'_>, hold: &mut PlanHold, failure: Failure) -> Failure {
    match session.context.signals.during(|| hold.rollback_all()) {
        Ok(_) => {
            session
                .context
                .out
                .talk(&format!("plan {} was given up", hold.plan()));
            failure.with("plan_kept", json!(false))
        }
        Err(_) => failure,
    }
}
