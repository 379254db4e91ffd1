//! `planbox locks`: who holds what, and what a run was seen to do with its locks.

use super::push_line;
use crate::args::{GraphFormat, Locks};
use crate::exit::{Exit, Failure, refused};
use crate::output::{Report, bold};
use crate::session::Context;
use crate::text::{age, clean, now_unix_ms, shown};
use comfy_table::{Table, presets};
use planbox::PlanStatus;
use planbox::sync::analysis::{Dump, Finding, Format};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What is said of those who wait.
const WAITERS: &str =
    "waiters are not known: a process that waits for a lease asks again and leaves no note";

pub(super) fn run(context: &Context, arguments: &Locks) -> Result<Report, Failure> {
    match arguments.graph {
        Some(format) => graph(&arguments.files, format),
        None if arguments.files.is_empty() => holders(context),
        None => check(&arguments.files),
    }
}

/// The union of `files`.
fn read(files: &[PathBuf]) -> Result<Dump, Failure> {
    let mut dump = Dump::default();
    for path in files {
        let name = shown(path);
        let text = std::fs::read(path)
            .map_err(|error| format!("{name} cannot be read: {error}"))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{name} is not text")));
        let added = text.and_then(|text| {
            let added = dump.read(&text);
            added.map_err(|error| format!("{name}: {error}"))
        });
        added.map_err(|message| {
            let next = "give the file that a debug build wrote with PLANBOX_LOCK_EDGES=FILE";
            refused("bad-dump", message, next)
        })?;
    }
    Ok(dump)
}

fn check(files: &[PathBuf]) -> Result<Report, Failure> {
    let dump = read(files)?;
    let findings = dump.check();
    let (edges, holds) = (dump.nestings.len(), dump.holds.len());
    let json = json!({
        "outcome": if findings.is_empty() { "clean" } else { "findings" },
        "plan": null,
        "resources": [],
        "processes": dump.processes,
        "edges": edges,
        "holds": holds,
        "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    for finding in &findings {
        push_line(&mut text, &clean(&finding.to_string()));
    }
    let processes = match dump.processes {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    let found = findings.len();
    push_line(
        &mut text,
        &format!(
            "{edges} edges and {holds} holds across I/O in {processes}: {}",
            match found {
                0 => "nothing wrong".to_owned(),
                1 => "1 finding".to_owned(),
                _ => format!("{found} findings"),
            }
        ),
    );
    let exit = if found == 0 {
        Exit::Done
    } else {
        Exit::Findings
    };
    Ok(Report::seen(text, json).exit(exit))
}

fn finding_json(finding: &Finding) -> Value {
    crate::output::with(json!(finding), "message", json!(finding.to_string()))
}

fn graph(files: &[PathBuf], format: GraphFormat) -> Result<Report, Failure> {
    let dump = if files.is_empty() {
        Dump::of_planbox()
    } else {
        read(files)?
    };
    let (name, format) = match format {
        GraphFormat::Dot => ("dot", Format::Dot),
        GraphFormat::Mermaid => ("mermaid", Format::Mermaid),
        GraphFormat::Svg => ("svg", Format::Svg),
        GraphFormat::Pairs => ("pairs", Format::Pairs),
    };
    let drawn = clean(&dump.draw(format));
    let json = json!({
        "outcome": "drawn",
        "plan": null,
        "resources": [],
        "format": name,
        "graph": drawn,
    });
    Ok(Report::seen(drawn, json))
}

fn holders(context: &Context) -> Result<Report, Failure> {
    // As it is: a recovery would take locks of its own.
    let session = context.open_as_it_is(false)?;
    let plans = session.manager.plans()?.into_iter();
    let held: Vec<PlanStatus> = plans.filter(|plan| plan.holder.is_some()).collect();
    let json = json!({
        "outcome": "found",
        "plan": null,
        "resources": [],
        "store": shown(Path::new(&session.store)),
        "locks": held.iter().map(lock_json).collect::<Vec<_>>(),
        "waiters_note": WAITERS,
    });
    if held.is_empty() {
        context.out.talk("no plan of this store is held");
        return Ok(Report::seen("", json));
    }
    context.out.detail(WAITERS);
    Ok(Report::seen(table(&held), json))
}

fn lock_json(plan: &PlanStatus) -> Value {
    json!({
        "plan": plan.plan,
        "state": plan.state,
        "holder": plan.holder,
        "waiters": null,
    })
}

fn table(held: &[PlanStatus]) -> String {
    let now = now_unix_ms();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PLAN", "HELD BY", "HOST", "FOR", "SINCE", "WAITERS"]);
    for (plan, holder) in held
        .iter()
        .filter_map(|plan| Some((plan, plan.holder.as_ref()?)))
    {
        table.add_row([
            clean(plan.plan.as_str()),
            format!("process {}", holder.pid),
            clean(&holder.host),
            clean(&holder.operation),
            format!("{} ago", age(holder.since_unix_ms, now)),
            "not known".to_owned(),
        ]);
    }
    let lines = table.to_string();
    let mut lines = lines.lines().map(str::trim);
    let titles = lines.next().unwrap_or_default();
    let mut text = format!("{}\n", bold(titles));
    lines.for_each(|line| push_line(&mut text, line));
    text
}
