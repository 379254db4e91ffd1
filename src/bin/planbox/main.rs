//! The command line of planbox.
//!
//! It uses nothing but the public interface of the library. A command returns a report or a
//! failure; only `output` writes, so standard output holds data and standard error holds talk.

mod args;
mod child;
mod cmd;
mod exit;
mod output;
mod progress;
mod resources;
mod session;
mod signal;
mod size;
mod teed;
mod text;
mod tracked;

use crate::args::Cli;
use crate::exit::{Exit, Failure, Own};
use crate::output::Output;
use crate::session::Context;
use crate::signal::Signals;
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    run(std::env::args_os().collect()).into()
}

fn run(arguments: Vec<OsString>) -> Exit {
    let json = wants_json(&arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, Output::before_arguments(json)),
    };
    let context = Context {
        out: Output::new(&cli.global),
        global: cli.global,
        signals: Signals::listen(),
    };
    match cmd::dispatch(&context, cli.command) {
        Ok(report) => context.out.report(&report),
        Err(failure) => context.out.failure(&failure),
    }
}

/// True if the arguments, which may be unreadable, ask for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

/// Help, the version, or a refusal of what was typed.
fn usage(error: &clap::Error, out: Output) -> Exit {
    let text = error.render().to_string();
    if error.exit_code() == 0 {
        out.verbatim(&text, false);
        return Exit::Done;
    }
    if !out.is_json() {
        out.verbatim(&text, true);
        return Exit::Refused;
    }
    let own = Own {
        exit: Exit::Refused,
        code: "usage",
        message: first_paragraph(&text),
        next: "see `planbox --help`".to_owned(),
        source: None,
    };
    out.failure(&Failure::from(own))
}

/// What went wrong, without the reminder of the usage below it.
fn first_paragraph(text: &str) -> String {
    let lines = text.trim().lines().take_while(|line| !line.is_empty());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
