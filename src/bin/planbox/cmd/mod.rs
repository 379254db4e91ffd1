//! One file for each command.

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Report;
use crate::session::Context;
use planbox::SandboxStatus;
use serde_json::{Value, json};

mod commit;
mod completions;
mod diff;
mod doctor;
mod exec;
mod gc;
mod job;
mod locks;
mod log;
mod open;
mod path;
mod receipt;
mod recover;
mod rollback;
mod run;
mod status;

/// Carries out one command.
pub(crate) fn dispatch(context: &Context, command: Command) -> Result<Report, Failure> {
    match command {
        Command::Run(arguments) => run::run(context, &arguments),
        Command::Open(arguments) => open::run(context, &arguments),
        Command::Exec(arguments) => exec::run(context, &arguments),
        Command::Path(arguments) => path::run(context, &arguments),
        Command::Status(arguments) => status::run(context, &arguments),
        Command::Diff(arguments) => diff::run(context, &arguments),
        Command::Commit(arguments) => commit::run(context, &arguments),
        Command::Rollback(arguments) => rollback::run(context, &arguments),
        Command::Recover(arguments) => recover::run(context, &arguments),
        Command::Log(arguments) => log::run(context, &arguments),
        Command::Gc(arguments) => gc::run(context, &arguments),
        Command::Locks(arguments) => locks::run(context, &arguments),
        Command::Doctor => doctor::run(context),
        Command::Job(arguments) => job::run(context, &arguments),
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
    }
}

/// What every command says of sandboxes in JSON.
fn sandboxes_json(sandboxes: &[SandboxStatus]) -> Vec<Value> {
    sandboxes.iter().map(|sandbox| json!(sandbox)).collect()
}

/// One `NAME<tab>PATH` line for each sandbox that has a path.
fn path_lines(sandboxes: &[SandboxStatus]) -> String {
    let with_path = sandboxes
        .iter()
        .filter_map(|sandbox| Some((&sandbox.name, sandbox.path.as_ref()?)));
    let mut text = String::new();
    for (name, path) in with_path {
        push_line(&mut text, &format!("{name}\t{}", path.display()));
    }
    text
}

/// One line more.
fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
