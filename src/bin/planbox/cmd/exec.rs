//! `planbox exec`: run CMD in a plan, without a commit.

use super::sandboxes_json;
use crate::args::Exec;
use crate::child::{self, Job};
use crate::exit::Failure;
use crate::output::Report;
use crate::session::{Context, plan_id};
use serde_json::json;

pub(super) fn run(context: &Context, arguments: &Exec) -> Result<Report, Failure> {
    let named = arguments.plan.as_ref().or(arguments.dashed.as_ref());
    let plan = plan_id(named.map_or("", |plan| plan))?;
    let about = |failure: Failure| failure.of(Some(&plan));
    child::check_found(&arguments.cmd).map_err(about)?;
    let mut session = context.open().map_err(about)?;
    let hold = session.hold_existing(&plan, "exec")?;
    let wanted = "what CMD would change could not be committed";
    let sandboxes = session.workable(&plan, wanted)?.sandboxes;
    let resources = sandboxes_json(&sandboxes);
    session.hide_progress();
    let job = Job::new(&session, &plan, &sandboxes, &arguments.cmd)?;
    let known = |failure: Failure| failure.with_resources(resources.clone());
    job.start(&session, None)
        .and_then(|running| running.wait(&session))
        .map_err(known)?;
    drop(hold);
    let ended = json!({ "status": 0, "signal": null });
    let json = json!({ "outcome": "ran", "plan": plan, "resources": resources, "command": ended });
    Ok(Report::done("", json))
}
