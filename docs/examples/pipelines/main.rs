//! Two pipelines over one store of jobs: *short-form* jobs wait in a queue and publish partial results
//! while a reader thread writes their log; *restyle* jobs run from the start. Beside their owners a
//! cancel route, a retry route and a progress push work on the same jobs.
//!
//! ```sh
//! cargo run --example pipelines                     # a short story
//! cargo run --example pipelines -- --load 200       # many jobs, cancels and retries at once, checked
//! cargo run --example pipelines -- --torture 10     # the server killed again and again, checked
//! cargo run --example pipelines -- --serve DIR      # a server; requests on standard input
//! ```
//!
//! `--seed N` repeats the choices of a run. The exit status is 1 if anything was lost, torn or stuck.
#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "an example prints, and is a program of its own beside the crate"
)]

mod load;
mod pipeline;
mod plain;
mod push;
mod requests;
mod server;
mod story;
mod torture;
mod wishes;
mod work;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// What stops a run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Prints a line at once, in one piece. Who does not listen any more misses it.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(format!("{line}\n").as_bytes()));
    drop(out.flush());
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match take_seed(&mut arguments) {
        Ok(seed) => seed,
        Err(error) => return refuse(&error.to_string()),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [] => story::tell(),
        ["--serve", home] => requests::serve(Path::new(home)),
        ["--load", count] => number(count).and_then(|count| load::run(count, seed)),
        ["--torture", rounds] => number(rounds).and_then(|rounds| torture::run(rounds, seed)),
        // What `--torture` compares with; killed like the server.
        ["--plain", file, count] => {
            number(count).and_then(|count| plain::be_killed(Path::new(file), count))
        }
        _ => return refuse("[--seed N] [--serve DIR | --load JOBS | --torture ROUNDS]"),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pipelines: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(what: &str) -> ExitCode {
    eprintln!("pipelines: {what}");
    ExitCode::from(2)
}

fn number(text: &str) -> Result<usize, Failure> {
    Ok(text.parse()?)
}

/// The seed that was asked for, or one of the moment.
fn take_seed(arguments: &mut Vec<String>) -> Result<u64, Failure> {
    if let [flag, seed, ..] = arguments.as_slice()
        && flag == "--seed"
    {
        let seed = seed.parse()?;
        arguments.drain(..2);
        return Ok(seed);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos()))
}
