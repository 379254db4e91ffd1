//! The command line of the example.

use super::broken::Broken;
use super::http;
use super::load::{self, Size};
use super::process::Host;
use super::report;
use super::router::{Ours, Router};
use super::table::Home;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

const USAGE: &str = "\
usage: router serve --dir DIR [--port PORT] [--broken]
       router load [--answers N] [--rounds N] [--clients N] [--across N]
  serve   a router on 127.0.0.1; --broken: the algorithm as reported
  load    both routers under load and with faults injected; prints a table;
          --answers: how many (100000), --rounds: of activations with a fault each (48),
          --across: one answer in N is held up until an activation has passed by (200)";

/// The line that a router prints when it listens, before its port.
pub(crate) const LISTENING: &str = "listening on 127.0.0.1:";

/// Does what `arguments` say.
pub(crate) fn run(arguments: &[String], host: &Host) -> Result<ExitCode, String> {
    let option = |name: &str| {
        let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs
            .find(|(found, _)| *found == name)
            .map(|pair| &**pair.1)
    };
    let number = |name: &str, default: u64| match option(name) {
        Some(text) => text.parse().map_err(|_| format!("{name} takes a number")),
        None => Ok(default),
    };
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            let dir = option("--dir").ok_or("serve needs --dir")?;
            let port = u16::try_from(number("--port", 7878)?).map_err(|error| error.to_string())?;
            let broken = arguments.iter().any(|word| word == "--broken");
            serve(&Home(dir.into()), port, broken).map_err(|refusal| refusal.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Some("load") => {
            let size = Size {
                answers: number("--answers", 100_000)?,
                rounds: number("--rounds", 48)?,
                clients: number("--clients", 8)?,
                across: number("--across", 200)?,
            };
            let put =
                |broken| load::put(&size, host, broken).map_err(|refusal| refusal.to_string());
            let (ours, broken) = (put(false)?, put(true)?);
            report::print(&size, &ours, &broken);
            let as_expected = ours.is_right() && !broken.is_right();
            Ok(if as_expected {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        _ => Err(USAGE.to_owned()),
    }
}

/// Serves until the process is killed.
fn serve(home: &Home, port: u16, broken: bool) -> Result<(), super::Refusal> {
    home.found()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let router: Arc<dyn Router> = if broken {
        Arc::new(Broken::open(home)?)
    } else {
        Arc::new(Ours::open(home)?)
    };
    println!("{LISTENING}{}", listener.local_addr()?.port());
    http::serve(&listener, home, &router);
    Ok(())
}
