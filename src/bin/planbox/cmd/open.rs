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
    let wanted = resources::read(&plan, &arguments.resources).map_err(about)?;
    if wanted.is_empty() {
        let message = "there is nothing to open".to_owned();
        return Err(about(refused(
            "usage",
            message,
            "name a directory with --dir",
        )));
    }
    let session = context.open().map_err(about)?;
    let (mut hold, made) = session.hold_or_make(&plan, "open")?;
    session.workable(&plan, "it takes no more sandboxes")?;
    resources::open(&mut hold, wanted)?;
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
