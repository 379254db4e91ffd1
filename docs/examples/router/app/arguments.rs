//! The command line of the example.

use super::alone;
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
use std::time::Duration;

const USAGE: &str = "\
usage: router serve --dir DIR [--port PORT] [--broken]
       router load [--answers N] [--rounds N] [--clients N] [--across N]
                   [--rate N] [--every MS] [--limit MS]
       router alone [--activations N]
  serve   a router on 127.0.0.1; --broken: the algorithm as reported
  load    both routers under load and with faults injected; prints a table;
          --answers: how many (100000), --rounds: of activations with a fault each (48),
          --across: one answer in N is held up until an activation has passed by (200),
          --rate: requests per second over all clients (8000), 0: as fast as they can,
          --every: an activation every MS milliseconds (8), 0: one after the other;
          fails if an answer is mixed, a round ends with row and memory apart, or the
          median between two activations is above --limit milliseconds (10; 0: any)
  alone   activations while nobody asks (100), and what one costs";

/// The longest median between two activations that a load accepts, in milliseconds.
const LIMIT_MS: u64 = 10;

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
                rate: number("--rate", 8_000)?,
                every: Duration::from_millis(number("--every", 8)?),
            };
            let limit = Duration::from_millis(number("--limit", LIMIT_MS)?);
            let put =
                |broken| load::put(&size, host, broken).map_err(|refusal| refusal.to_string());
            let (ours, broken) = (put(false)?, put(true)?);
            report::print(&size, &ours, &broken);
            let brisk = limit.is_zero() || ours.is_brisk(limit);
            if !brisk {
                println!("\ntoo seldom: the median between activations is above {limit:?}");
            }
            let as_expected = brisk && ours.is_right() && !broken.is_right();
            Ok(if as_expected {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Some("alone") => {
            let count = number("--activations", 100)?;
            alone::run(count).map_err(|refusal| refusal.to_string())?;
            Ok(ExitCode::SUCCESS)
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
