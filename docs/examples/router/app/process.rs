//! Routers as processes of their own.

use super::Refusal;
use super::arguments::LISTENING;
use super::http::Client;
use super::table::Home;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Makes the command of a process with these arguments.
type Make = dyn Fn(&[String]) -> std::io::Result<Command> + Send + Sync;

/// How to start this program once more, with other arguments.
pub(crate) struct Host {
    command: Box<Make>,
}

impl Host {
    /// A program that `command` starts.
    pub(crate) fn new(
        command: impl Fn(&[String]) -> std::io::Result<Command> + Send + Sync + 'static,
    ) -> Self {
        let command = Box::new(command);
        Self { command }
    }
}

/// A running router; killed when dropped.
pub(crate) struct Process<'a> {
    host: &'a Host,
    home: Home,
    broken: bool,
    child: Child,
    port: u16,
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl<'a> Process<'a> {
    /// Starts a router and waits until it listens.
    pub(crate) fn start(host: &'a Host, home: &Home, broken: bool) -> Result<Self, Refusal> {
        let (child, port) = begin(host, home, broken)?;
        Ok(Self {
            host,
            home: home.clone(),
            broken,
            child,
            port,
        })
    }

    /// A new connection to it.
    pub(crate) fn connect(&self) -> Result<Client, Refusal> {
        Client::connect(self.port)
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again if it is dead.
    pub(crate) fn revive(&mut self) -> Result<(), Refusal> {
        if self.child.try_wait()?.is_some() {
            (self.child, self.port) = begin(self.host, &self.home, self.broken)?;
        }
        Ok(())
    }
}

fn begin(host: &Host, home: &Home, broken: bool) -> Result<(Child, u16), Refusal> {
    let mut arguments: Vec<String> = ["serve", "--port", "0", "--dir"].map(str::to_owned).into();
    arguments.push(home.0.to_string_lossy().into_owned());
    if broken {
        arguments.push("--broken".to_owned());
    }
    let mut child = (host.command)(&arguments)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().map(BufReader::new);
    let mut lines = out.into_iter().flat_map(BufRead::lines);
    let port = lines.find_map(|line| {
        let line = line.ok()?;
        line.split_once(LISTENING)?.1.trim().parse().ok()
    });
    let port = port.ok_or_else(|| Refusal::new(500, "no-start", "the router did not start"))?;
    Ok((child, port))
}
