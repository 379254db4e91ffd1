//! `planbox open`: a plan, or more of it.

use super::{path_lines, sandboxes_json};
use crate::args::Open;
use crate::exit::{Failure, refused};
use crate::output::Report;
use crate::resources;
use crate::session::{Context, plan_id};
use serde_json::json;

pub(super) fn run(context: &Context, arguments: &Open) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let about = |failure: Failure| failure.of(Some(&plan));
    let wanted = resources::read(&plan, &arguments.resources, context.global.lock_timeout);
    let wanted = wanted.map_err(about)?;
    if wanted.is_empty() {
        let message = "there is nothing to open".to_owned();
        return Err(about(refused(
            "usage",
            message,
            "name something with --dir, --git or --sqlite",
        )));
    }
    let session = context.open().map_err(about)?;
    let (mut hold, made) = session.hold_or_make(&plan, "open")?;
    let before = session
        .workable(&plan, "it takes no more sandboxes")?
        .sandboxes;
    resources::open(
        context.out,
        &mut hold,
        wanted,
        (&arguments.resources, &before),
    )?;
    let sandboxes = session.manager.sandboxes(&plan)?;
    drop(hold);
    let json = json!({
        "outcome": "opened",
        "plan": plan,
        "resources": sandboxes_json(&sandboxes),
        "new": made,
    });
    Ok(Report::done(path_lines(&sandboxes), json))
}
