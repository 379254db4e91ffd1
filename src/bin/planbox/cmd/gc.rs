//! `planbox gc`: remove what nobody needs any more.

use crate::args::Gc;
use crate::exit::{Exit, Failure, Own};
use crate::output::{Report, can_ask, with};
use crate::session::Context;
use planbox::{GcOptions, PlanId};
use serde_json::json;

pub(super) fn run(context: &Context, arguments: &Gc) -> Result<Report, Failure> {
    let session = context.open()?;
    let mut options = GcOptions::default().dry_run(arguments.dry_run);
    if let Some(age) = arguments.ended {
        options = options.forget_ended(age);
    }
    if let Some(age) = arguments.idle {
        options = options.give_up_idle(age);
        let ask = !arguments.dry_run && !context.global.yes && can_ask();
        if ask
            && !context
                .out
                .ask("roll back the open plans that are idle, with their work?")
        {
            return Err(declined());
        }
    }
    let report = context.signals.during(|| session.manager.gc(&options))?;
    let lists = [
        ("swept", &report.swept),
        ("forgotten", &report.forgotten),
        ("given up", &report.given_up),
        ("left alone because somebody holds it", &report.busy),
    ];
    let would = if arguments.dry_run { "would be " } else { "" };
    let text: String = lists
        .into_iter()
        .flat_map(|(word, plans)| plans.iter().map(move |plan| line(plan, would, word)))
        .collect();
    let nothing = text.is_empty() && report.lease_files == 0;
    let outcome = match (arguments.dry_run, nothing) {
        (true, _) => "would-clean",
        (false, true) => "nothing-to-do",
        (false, false) => "cleaned",
    };
    let json = with(json!(report), "outcome", json!(outcome));
    let json = with(with(json, "plan", json!(null)), "resources", json!([]));
    let text = if text.is_empty() {
        "nothing to clean\n".to_owned()
    } else {
        text
    };
    Ok(Report::done(text, json))
}

fn line(plan: &PlanId, would: &str, word: &str) -> String {
    format!("plan {plan}: {would}{word}\n")
}

fn declined() -> Failure {
    let own = Own {
        exit: Exit::Failed,
        code: "declined",
        message: "nothing was cleaned".to_owned(),
        next: "give --yes to clean without being asked, or --dry-run to look first".to_owned(),
        source: None,
    };
    own.into()
}
