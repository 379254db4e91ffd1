//! Running all bodies and their controls, and the table.

use crate::bodies::{self, BODIES, Body, Control};
use std::collections::VecDeque;
use std::panic::PanicHookInfo;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The row that a process is to run: the number of the body, and of its control if it is one.
const ROW: &str = "PLANBOX_LOOM_ROW";

/// One row: a body, or a control of it.
#[derive(Debug, Clone, Copy)]
struct Row {
    body: usize,
    control: Option<usize>,
}

impl Row {
    fn body(self) -> &'static Body {
        BODIES.get(self.body).unwrap()
    }

    fn control(self) -> Option<&'static Control> {
        let number = self.control?;
        Some(self.body().controls.get(number).unwrap())
    }
}

/// What a row came to.
struct Ended {
    executions: usize,
    /// `exhausted`, `stopped`, or what was found.
    word: String,
    text: String,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// Runs everything, or the one row that is asked for; the exit status.
pub(crate) fn main() -> i32 {
    let Ok(row) = std::env::var(ROW) else {
        return all();
    };
    let mut numbers = row.split('.').map(|number| number.parse().ok());
    let row = Row {
        body: numbers.next().flatten().unwrap(),
        control: numbers.next().flatten(),
    };
    one(row);
    0
}

static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);

fn bound(body: &Body) -> Option<usize> {
    let is_full = std::env::var("PLANBOX_LOOM").is_ok_and(|how| how == "full");
    body.bound.filter(|_| !is_full)
}

/// Runs one row in this process and says in the last line what it came to.
fn one(row: Row) {
    std::panic::set_hook(Box::new(found));
    let body = row.body();
    let fault = row.control().map(|control| control.fault);
    let longest = Duration::from_secs(number("PLANBOX_LOOM_SECONDS").unwrap_or(600));
    let start = Instant::now();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound(body);
    model.max_duration = Some(longest);
    model.checkpoint_interval = 1_000;
    model.max_branches = 10_000;
    model.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        bodies::run(body.work, body.kept, fault);
    });
    let word = if start.elapsed() < longest {
        "exhausted"
    } else {
        "stopped"
    };
    println!("{} {word}", EXECUTIONS.load(Ordering::Relaxed));
}

/// Says what was found and ends the process: loom cannot go on after a panic.
fn found(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a panic without a text");
    let executions = EXECUTIONS.load(Ordering::Relaxed);
    let text = text.lines().collect::<Vec<_>>().join(" ");
    println!("{executions} {}: {text}", kind_of(&text));
    std::process::exit(1);
}

/// A word or two for what a panic of a body or of loom says.
fn kind_of(text: &str) -> &'static str {
    let words = [
        ("two slots", "two slots"),
        ("left", "left"),
        ("refused", "refused"),
        ("deadlock", "deadlock"),
        ("Causality violation", "unordered"),
        ("leaked", "leak"),
    ];
    let found = words.iter().find(|(sign, _)| text.contains(sign));
    found.map_or("panic", |(_, kind)| kind)
}

/// Runs every row in a process of its own, as many at once as there are processors.
fn all() -> i32 {
    let wanted = std::env::var("PLANBOX_BODY").unwrap_or_default();
    let rows: VecDeque<Row> = BODIES
        .iter()
        .enumerate()
        .filter(|(_, body)| body.name.contains(&wanted))
        .flat_map(|(number, body)| {
            let controls = (0..body.controls.len()).map(Some);
            std::iter::once(None)
                .chain(controls)
                .map(move |control| Row {
                    body: number,
                    control,
                })
        })
        .collect();
    println!("| body | preemptions | executions | |\n|---|---|---|---|");
    let rows = Mutex::new(rows);
    let (total, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let row = rows.lock().unwrap().pop_front();
                    let Some(row) = row else { break };
                    let ended = apart(row);
                    let right = judge(row, &ended);
                    total.fetch_add(ended.executions, Ordering::Relaxed);
                    failed.fetch_add(usize::from(right.is_err()), Ordering::Relaxed);
                    print(row, &ended, &right);
                }
            });
        }
    });
    let (total, failed) = (total.into_inner(), failed.into_inner());
    println!("loom: {total} ran, {failed} rows failed");
    i32::from(failed > 0 || total == 0)
}

/// Runs a row in a process of its own.
fn apart(row: Row) -> Ended {
    let control = row
        .control
        .map_or_else(String::new, |number| number.to_string());
    let ran = Command::new(std::env::current_exe().unwrap())
        .env(ROW, format!("{}.{control}", row.body))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let last = said.lines().last().unwrap_or_default();
    let (executions, rest) = last.split_once(' ').unwrap_or(("0", "it said nothing"));
    let (word, text) = rest.split_once(": ").unwrap_or((rest, ""));
    Ended {
        executions: executions.parse().unwrap_or(0),
        word: word.to_owned(),
        text: text.to_owned(),
    }
}

/// A body must be seen to its end, a control must be found out, for the right reason.
fn judge(row: Row, ended: &Ended) -> Result<String, String> {
    match row.control() {
        None if ended.word == "exhausted" => Ok("exhausted".to_owned()),
        None => Err(format!("{}: {}", ended.word, ended.text)),
        Some(control) if control.kinds.contains(&ended.word.as_str()) => {
            Ok(format!("found: {}", ended.word))
        }
        Some(_) if ended.word == "exhausted" => Err("the control passed".to_owned()),
        Some(_) => Err(format!("something else: {}: {}", ended.word, ended.text)),
    }
}

fn print(row: Row, ended: &Ended, right: &Result<String, String>) {
    let body = row.body();
    let name = row.control().map_or_else(
        || body.name.to_owned(),
        |control| format!("{}, without {}", body.name, control.without),
    );
    let bound = bound(body).map_or_else(|| "all".to_owned(), |bound| bound.to_string());
    let end = match right {
        Ok(end) => end.clone(),
        Err(wrong) => format!("FAILED: {wrong}"),
    };
    println!("| {name} | {bound} | {} | {end} |", ended.executions);
}
