//! A model router: *activate*, *metrics* and *predict* over HTTP, on a table of models.
//!
//! ```sh
//! cargo run --release --example router -- serve --dir /tmp/router        # then, elsewhere:
//! curl -X POST 'http://127.0.0.1:7878/activate?version=v2'
//! curl 'http://127.0.0.1:7878/predict?x=5'
//! cargo run --release --example router -- load --answers 1000000         # both routers under load
//! cargo run --release --example router -- alone                          # what one activation costs
//! ```
//!
//! `serve --broken` is the algorithm as it was reported, as a control: the row is committed before
//! the model is loaded, and model and version are two globals.

#![expect(clippy::print_stderr, reason = "a program says why it ended")]

use std::process::{Command, ExitCode};

mod app;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let host = app::Host::new(|arguments| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Ok(command)
    });
    match app::run(&arguments, &host) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("router: {message}");
            ExitCode::FAILURE
        }
    }
}
