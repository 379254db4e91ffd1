//! What is written, and where: data to standard output, talk to standard error.

use crate::args::{Color, Global};
use crate::exit::{Exit, Failure};
use crate::text::clean;
use anstream::{AutoStream, ColorChoice};
use serde_json::Value;
use std::io::{self, IsTerminal as _, Write as _};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// `text` in bold, where colours are on.
pub(crate) fn bold(text: &str) -> String {
    format!("{BOLD}{text}{RESET}")
}

/// The mark of a change in its colour, where colours are on.
pub(crate) fn mark(action: planbox::Action) -> String {
    let colour = match action.mark() {
        'A' => GREEN,
        'D' => RED,
        _ => YELLOW,
    };
    format!("{colour}{}{RESET}", action.mark())
}

/// The same JSON object with one more field, or another value in it.
pub(crate) fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    object
}

/// True if there is a person who can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// What a command has to say on standard output.
#[derive(Debug)]
pub(crate) struct Report {
    /// For people and shells: exact bytes, with styles that are taken out where colours are off.
    pub(crate) text: Vec<u8>,
    /// For programs.
    pub(crate) json: Json,
    /// The exit status.
    pub(crate) exit: Exit,
    /// True if the command did something: then what it did decides the exit status, even if the
    /// report cannot be written.
    pub(crate) acted: bool,
}

/// The form of a report for programs.
#[derive(Debug)]
pub(crate) enum Json {
    /// One object.
    One(Value),
    /// One object per line.
    Lines(Vec<Value>),
}

impl Report {
    /// A report of something that was looked at.
    pub(crate) fn seen(text: impl Into<Vec<u8>>, json: Value) -> Self {
        Self {
            text: text.into(),
            json: Json::One(json),
            exit: Exit::Done,
            acted: false,
        }
    }

    /// A report of something that was done.
    pub(crate) fn done(text: impl Into<Vec<u8>>, json: Value) -> Self {
        Self {
            acted: true,
            ..Self::seen(text, json)
        }
    }

    /// The same report with this exit status.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    fn bytes(&self, json: bool) -> Vec<u8> {
        let values = match &self.json {
            _ if !json => return self.text.clone(),
            Json::One(value) => std::slice::from_ref(value),
            Json::Lines(values) => values,
        };
        values
            .iter()
            .flat_map(|value| format!("{value}\n").into_bytes())
            .collect()
    }
}

/// The two streams, and how much to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    colour: ColorChoice,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let colour = match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let Global { json, quiet, .. } = *global;
        Self {
            json,
            quiet,
            verbose: global.verbose > 0,
            colour,
        }
    }

    /// The output as far as it is known before the arguments are read.
    pub(crate) fn before_arguments(json: bool) -> Self {
        Self {
            json,
            quiet: false,
            verbose: false,
            colour: ColorChoice::Auto,
        }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// True if there is a person at standard error who may watch a bar move.
    pub(crate) fn is_watched(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Says something to the person, unless it is to be quiet.
    pub(crate) fn talk(self, text: &str) {
        if !self.quiet {
            self.say("planbox: ", text);
        }
    }

    /// Says several things, one per line.
    pub(crate) fn talk_lines(self, lines: &str) {
        lines.lines().for_each(|line| self.talk(line));
    }

    /// Says something that only some want to know.
    pub(crate) fn detail(self, text: &str) {
        if self.verbose {
            self.say("planbox: ", text);
        }
    }

    fn say(self, prefix: &str, text: &str) {
        // Whether anybody listens is not our concern: there is nowhere else to say it.
        drop(self.say_or_fail(&format!("{BOLD}{prefix}{RESET}{}\n", clean(text))));
    }

    fn say_or_fail(self, text: &str) -> io::Result<()> {
        let mut stream = AutoStream::new(io::stderr().lock(), self.colour);
        stream.write_all(text.as_bytes())?;
        stream.flush()
    }

    /// Asks a question that is answered with yes or no; no answer is a no.
    pub(crate) fn ask(self, question: &str) -> bool {
        let text = format!("{BOLD}planbox:{RESET} {} [y/N] ", clean(question));
        let mut answer = String::new();
        self.say_or_fail(&text).is_ok()
            && io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES")
    }

    /// Writes a part of a report that has no end yet; false if nobody reads it any more.
    pub(crate) fn stream(self, report: &Report) -> bool {
        self.write(&report.bytes(self.json)).is_ok()
    }

    /// Writes a report and returns the exit status. A reader that went away is no failure.
    pub(crate) fn report(self, report: &Report) -> Exit {
        match self.write(&report.bytes(self.json)) {
            Ok(()) => report.exit,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => report.exit,
            Err(error) => {
                self.say(
                    "planbox: ",
                    &format!("standard output could not be written: {error}"),
                );
                if report.acted || report.exit != Exit::Done {
                    report.exit
                } else {
                    Exit::Failed
                }
            }
        }
    }

    fn write(self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = AutoStream::new(io::stdout().lock(), self.colour);
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Tells a failure and returns its exit status.
    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        if self.json {
            // The exit status says that it failed, whether or not the reader is still there.
            drop(self.write(format!("{}\n", failure.json()).as_bytes()));
        } else {
            drop(self.say_or_fail(&format!("{RED}planbox:{RESET} {}\n", failure.text())));
        }
        failure.exit()
    }

    /// Writes text that somebody else formatted: help to standard output, usage to standard error.
    pub(crate) fn verbatim(self, text: &str, to_stderr: bool) {
        let text = clean(text);
        drop(if to_stderr {
            self.say_or_fail(&text)
        } else {
            self.write(text.as_bytes())
        });
    }
}
