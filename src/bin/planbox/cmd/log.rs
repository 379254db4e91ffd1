//! `planbox log`: the journal as a story.

use crate::args::OnePlan;
use crate::exit::{Exit, Failure};
use crate::output::{Json, Report, with};
use crate::session::{Context, plan_id};
use crate::text::clean;
use planbox::LogEntry;
use planbox::rfc3339;
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &OnePlan) -> Result<Report, Failure> {
    let plan = arguments.plan.as_deref().map(plan_id).transpose()?;
    let session = context.open()?;
    let entries = session.manager.log(plan.as_ref())?;
    if let (Some(plan), true) = (&plan, entries.is_empty()) {
        // A plan without a story may not be there at all.
        session.manager.status(plan)?;
    }
    let text: String = entries.iter().map(line).collect();
    let json = Json::Lines(entries.iter().map(object).collect());
    Ok(Report {
        text: text.into_bytes(),
        json,
        exit: Exit::Done,
        acted: false,
    })
}

fn line(entry: &LogEntry) -> String {
    let LogEntry {
        plan,
        at_unix_ms,
        epoch,
        event,
        detail,
        ..
    } = entry;
    let at = rfc3339(*at_unix_ms);
    let line = format!(
        "{at}  {plan}  epoch {epoch}  {event}  {}",
        detail.replace('\n', " ")
    );
    format!("{}\n", clean(line.trim_end()))
}

fn object(entry: &LogEntry) -> Value {
    let object = with(json!(entry), "at", json!(rfc3339(entry.at_unix_ms)));
    match serde_json::from_str::<Value>(&entry.detail) {
        Ok(detail) => with(object, "detail", detail),
        Err(_) => object,
    }
}
