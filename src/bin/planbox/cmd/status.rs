//! `planbox status`: what there is.

use super::{push_line, receipt};
use crate::args::OnePlan;
use crate::exit::Failure;
use crate::output::{Report, bold, with};
use crate::session::{Context, Session, plan_id};
use crate::size::Size;
use crate::text::{age, aligned, clean, now_unix_ms, one_line};
use planbox::rfc3339;
use planbox::{Holder, PlanId, PlanStatus, SandboxStatus};
use serde_json::{Value, json};

pub(super) fn run(context: &Context, arguments: &OnePlan) -> Result<Report, Failure> {
    let plan = arguments.plan.as_deref().map(plan_id).transpose()?;
    let session = context.open()?;
    match plan {
        Some(plan) => one(&session, &plan),
        None => all(&session),
    }
}

/// A plan with the size of each of its sandboxes.
struct Sized {
    status: PlanStatus,
    sizes: Vec<Option<Size>>,
}

impl Sized {
    fn new(status: PlanStatus) -> Self {
        let sizes = status.sandboxes.iter();
        let sizes = sizes.map(|sandbox| sandbox.path.as_deref().map(Size::of));
        Self {
            sizes: sizes.collect(),
            status,
        }
    }

    fn total(&self) -> Size {
        let nothing = Size {
            whole: true,
            ..Size::default()
        };
        self.sizes
            .iter()
            .flatten()
            .fold(nothing, |total, size| total.plus(*size))
    }

    fn resources(&self) -> Vec<Value> {
        let pairs = self.status.sandboxes.iter().zip(&self.sizes);
        pairs
            .map(|(sandbox, size)| {
                let object = with(
                    json!(sandbox),
                    "size_bytes",
                    json!(size.map(|size| size.bytes)),
                );
                with(object, "size_is_whole", json!(size.map(|size| size.whole)))
            })
            .collect()
    }

    fn json(&self) -> Value {
        let status = &self.status;
        json!({
            "plan": status.plan,
            "state": status.state,
            "epoch": status.epoch,
            "opened_unix_ms": status.opened_unix_ms,
            "opened_at": rfc3339(status.opened_unix_ms),
            "changed_unix_ms": status.changed_unix_ms,
            "changed_at": rfc3339(status.changed_unix_ms),
            "size_bytes": self.total().bytes,
            "holder": status.holder,
            "resources": self.resources(),
        })
    }
}

fn all(session: &Session<'_>) -> Result<Report, Failure> {
    let plans: Vec<Sized> = session
        .manager
        .plans()?
        .into_iter()
        .map(Sized::new)
        .collect();
    let json = json!({
        "outcome": "found",
        "plan": null,
        "resources": [],
        "plans": plans.iter().map(Sized::json).collect::<Vec<_>>(),
    });
    if plans.is_empty() {
        session.context.out.talk("there are no plans in this store");
        return Ok(Report::seen("", json));
    }
    let now = now_unix_ms();
    let header = ["PLAN", "STATE", "AGE", "RESOURCES", "SIZE", "HOLDER"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for plan in &plans {
        let status = &plan.status;
        let names = status
            .sandboxes
            .iter()
            .map(|sandbox| one_line(&name_and_kind(sandbox)));
        let names: Vec<String> = names.collect();
        let holder = status.holder.as_ref().map(|holder| in_words(holder, now));
        rows.push(vec![
            clean(status.plan.as_str()),
            status.state.to_string(),
            age(status.opened_unix_ms, now),
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(", ")
            },
            plan.total().in_words(),
            holder.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let lines = aligned(rows);
    let lines = lines.iter().map(|line| format!("{line}\n"));
    Ok(Report::seen(lines.collect::<String>(), json))
}

/// The name, with the kind behind it where the name is not the kind.
fn name_and_kind(sandbox: &SandboxStatus) -> String {
    let (name, kind) = (sandbox.name.as_str(), &sandbox.kind);
    if name.trim_end_matches(|c: char| c.is_ascii_digit()) == kind {
        name.to_owned()
    } else {
        format!("{name} ({kind})")
    }
}

fn in_words(holder: &Holder, now_unix_ms: u64) -> String {
    let since = age(holder.since_unix_ms, now_unix_ms);
    clean(&format!(
        "{} for {since} by process {}",
        holder.operation, holder.pid
    ))
}

fn one(session: &Session<'_>, plan: &PlanId) -> Result<Report, Failure> {
    let sized = Sized::new(session.manager.status(plan)?);
    let receipt = session.manager.receipt(plan)?;
    let json = with(sized.json(), "outcome", json!("found"));
    let json = with(json, "receipt", json!(receipt.as_ref().map(receipt::json)));
    let mut text = in_detail(&sized);
    if let Some(receipt) = &receipt {
        let decided = rfc3339(receipt.body().decided_unix_ms);
        push_line(
            &mut text,
            &format!("receipt   {} at {decided}", receipt.outcome().as_str()),
        );
        text.push_str(&receipt::lines(receipt));
    }
    Ok(Report::seen(text, json))
}

fn in_detail(sized: &Sized) -> String {
    let (status, now) = (&sized.status, now_unix_ms());
    let mut text = format!("{} {}\n", bold("plan"), clean(status.plan.as_str()));
    let mut line =
        |key: &str, value: &str| push_line(&mut text, &format!("{key:<9} {}", clean(value)));
    let moment = |at| format!("{} ({} ago)", rfc3339(at), age(at, now));
    line("state", status.state.as_str());
    line("opened", &moment(status.opened_unix_ms));
    line("changed", &moment(status.changed_unix_ms));
    match &status.holder {
        Some(holder) => line(
            "holder",
            &format!("{} on {}", in_words(holder, now), holder.host),
        ),
        None => line("holder", "nobody"),
    }
    for (sandbox, size) in status.sandboxes.iter().zip(&sized.sizes) {
        line("resource", sandbox.name.as_str());
        line("  kind", &sandbox.kind);
        line("  target", &sandbox.target);
        line("  view", &sandbox.view);
        if sandbox.decides {
            line("  decides", "for the whole plan");
        }
        if let Some(path) = &sandbox.path {
            line("  path", &path.display().to_string());
        }
        if let Some(size) = size {
            let unit = if size.entries == 1 {
                "entry"
            } else {
                "entries"
            };
            let entries = size.entries;
            line(
                "  size",
                &format!("{} in {entries} {unit}", size.in_words()),
            );
        }
        if let Some(trouble) = &sandbox.trouble {
            line("  trouble", trouble);
        }
    }
    text
}
