//! `planbox log`: the journal as a story.

use super::receipt;
use crate::args::OnePlan;
use crate::exit::{Exit, Failure};
use crate::output::{Json, Report, with};
use crate::session::{Context, Session, plan_id};
use crate::text::{clean, counted, one_line};
use planbox::rfc3339;
use planbox::{LogEntry, Receipt};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &OnePlan) -> Result<Report, Failure> {
    let plan = arguments.plan.as_deref().map(plan_id).transpose()?;
    let session = context.open()?;
    let entries = session.manager.log(plan.as_ref())?;
    if let (Some(plan), true) = (&plan, entries.is_empty()) {
        // A plan without a story may not be there at all.
        session.manager.status(plan)?;
    }
    let told: Vec<Told> = entries
        .into_iter()
        .map(|entry| Told::new(&session, entry))
        .collect::<Result<_, _>>()?;
    let text: String = told.iter().map(Told::text).collect();
    let json = Json::Lines(told.iter().map(Told::json).collect());
    Ok(Report {
        text: text.into_bytes(),
        json,
        exit: Exit::Done,
        acted: false,
    })
}

/// An entry; if it is the decision, with the receipt.
struct Told {
    entry: LogEntry,
    receipt: Option<Receipt>,
}

impl Told {
    fn new(session: &Session<'_>, entry: LogEntry) -> Result<Self, Failure> {
        let receipt = if entry.event == "decided" {
            session.manager.receipt(&entry.plan)?
        } else {
            None
        };
        // A plan that was taken back before it was committed has more than one decision.
        let receipt = receipt.filter(|receipt| receipt.body().epoch == entry.epoch);
        Ok(Self { entry, receipt })
    }

    fn text(&self) -> String {
        let LogEntry {
            plan,
            at_unix_ms,
            epoch,
            event,
            detail,
            ..
        } = &self.entry;
        let at = rfc3339(*at_unix_ms);
        let detail = one_line(&in_words(detail));
        let line = format!("{at}  {plan}  epoch {epoch}  {event}  {detail}");
        let mut text = format!("{}\n", clean(line.trim_end()));
        if let Some(receipt) = &self.receipt {
            text.push_str(&receipt::lines(receipt));
        }
        text
    }

    fn json(&self) -> Value {
        let entry = &self.entry;
        let object = with(json!(entry), "at", json!(rfc3339(entry.at_unix_ms)));
        let object = match serde_json::from_str::<Value>(&entry.detail) {
            Ok(detail) => with(object, "detail", detail),
            Err(_) => object,
        };
        match &self.receipt {
            Some(receipt) => with(object, "resources", json!(receipt.resources())),
            None => object,
        }
    }
}

/// The detail of an entry as a person reads it; as it is if it is nothing that is known here.
fn in_words(detail: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(detail) else {
        return detail.to_owned();
    };
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let count = value.get("participants").and_then(Value::as_u64);
    match (text("name"), text("kind"), text("verdict"), count) {
        (Some(name), Some(kind), ..) if name == kind => name.to_owned(),
        (Some(name), Some(kind), ..) => format!("{name} ({kind})"),
        (Some(name), None, ..) => name.to_owned(),
        (None, _, Some(verdict), Some(count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let verdict = match verdict {
                "ask" => "the marker decides",
                "take-back" => "take back",
                other => other,
            };
            format!("{verdict}, {}", counted(count, "resource", "resources"))
        }
        _ => detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn details_are_told_in_words_and_what_is_not_known_is_left_as_it_is() {
        let cases = [
            (r#"{"kind":"dir","name":"docs"}"#, "docs (dir)"),
            (r#"{"kind":"git","name":"git"}"#, "git"),
            (r#"{"name":"docs"}"#, "docs"),
            (
                r#"{"participants":1,"verdict":"commit"}"#,
                "commit, 1 resource",
            ),
            (
                r#"{"participants":2,"verdict":"ask"}"#,
                "the marker decides, 2 resources",
            ),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            ("a file is immutable", "a file is immutable"),
            ("", ""),
        ];
        for (detail, words) in cases {
            assert_eq!(in_words(detail), words);
        }
    }
}
