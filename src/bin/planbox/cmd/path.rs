//! `planbox path`: where a plan works.

use super::{path_lines, sandboxes_json};
use crate::args::PathArgs;
use crate::exit::{Failure, fault, refused};
use crate::output::Report;
use crate::session::{Context, plan_id, unknown_resource};
use planbox::error::PlanFault;
use planbox::{Error, ResourceName};
use serde_json::json;

pub(super) fn run(context: &Context, arguments: &PathArgs) -> Result<Report, Failure> {
    let plan = plan_id(&arguments.plan)?;
    let name = arguments
        .name
        .as_ref()
        .map(ResourceName::new)
        .transpose()
        .map_err(Error::from)?;
    let session = context.open()?;
    let status = session.manager.status(&plan)?;
    if status.state.is_terminal() {
        let wanted = "its sandboxes are gone";
        return Err(fault(PlanFault::WrongState {
            plan,
            state: status.state,
            wanted,
        }));
    }
    let mut sandboxes = status.sandboxes;
    let Some(name) = name else {
        let json =
            json!({ "outcome": "found", "plan": plan, "resources": sandboxes_json(&sandboxes) });
        return Ok(Report::seen(path_lines(&sandboxes), json));
    };
    sandboxes.retain(|sandbox| sandbox.name == name);
    let Some(sandbox) = sandboxes.first() else {
        return Err(unknown_resource(&plan, &name));
    };
    let Some(path) = &sandbox.path else {
        let trouble = sandbox.trouble.as_deref().unwrap_or("it is not a file");
        let message = format!("{name} of plan {plan} has no path: {trouble}");
        let next = "see `planbox status` for what it is";
        return Err(refused("no-path", message, next).of(Some(&plan)));
    };
    let json = json!({
        "outcome": "found",
        "plan": plan,
        "resources": sandboxes_json(&sandboxes),
        "path": path,
    });
    Ok(Report::seen(format!("{path}\n"), json))
}
