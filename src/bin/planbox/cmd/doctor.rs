//! `planbox doctor`: look for trouble.

use crate::exit::{Exit, Failure};
use crate::output::Report;
use crate::session::Context;
use crate::text::clean;
use planbox::{Finding, Severity};
use serde_json::json;

pub(super) fn run(context: &Context) -> Result<Report, Failure> {
    // As it is: a recovery would hide what there is to see.
    let session = context.open_as_it_is(false)?;
    let findings = session.manager.doctor()?;
    let trouble = findings
        .iter()
        .any(|finding| finding.severity >= Severity::Problem);
    let json = json!({
        "outcome": if trouble { "findings" } else { "healthy" },
        "plan": null,
        "resources": [],
        "store": crate::text::shown(&session.store),
        "findings": findings,
    });
    let text: String = findings.iter().map(line).collect();
    let exit = if trouble { Exit::Findings } else { Exit::Done };
    Ok(Report::seen(text, json).exit(exit))
}

fn line(finding: &Finding) -> String {
    let (what, fix) = (clean(&finding.what), clean(&finding.fix));
    match finding.severity {
        Severity::Note => format!("note: {what}\n"),
        _ => format!("problem: {what}\n  fix: {fix}\n"),
    }
}
