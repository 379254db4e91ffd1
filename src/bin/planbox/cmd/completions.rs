//! `planbox completions`: a script for a shell.

use crate::args::{Cli, Completions};
use crate::output::Report;
use clap::CommandFactory as _;
use serde_json::json;

pub(super) fn run(arguments: &Completions) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "planbox", &mut script);
    let json = json!({
        "outcome": "done",
        "plan": null,
        "resources": [],
        "shell": arguments.shell.to_string(),
        "script": String::from_utf8_lossy(&script),
    });
    Report::seen(script, json)
}
