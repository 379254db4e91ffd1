//! The load script: clients that ask while models are activated, and every answer checked.

use super::http::Client;
use super::process::{Host, Process};
use super::rounds::{self, Rounds};
use super::table::{Home, MODELS};
use super::{Answer, Refusal};
use planbox::sync::thread;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Answers that are checked.
    pub(crate) answers: u64,
    /// Activations with a fault each.
    pub(crate) rounds: u64,
    /// Threads that ask.
    pub(crate) clients: u64,
    /// One answer in so many is held up in the middle until an activation has passed by.
    pub(crate) across: u64,
}

/// What was counted for one router.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Answers that were checked.
    pub(crate) answers: AtomicU64,
    /// Answers that mix a model and the version of another.
    pub(crate) mixed: AtomicU64,
    /// Those of them that nobody had held up in the middle.
    pub(crate) mixed_by_chance: AtomicU64,
    /// Answers that were held up.
    pub(crate) held: AtomicU64,
    /// Requests that got no answer, but an error.
    pub(crate) failed: AtomicU64,
    /// Activations that happened.
    pub(crate) activations: AtomicU64,
    /// Activations that were refused because another one was faster.
    pub(crate) refused: AtomicU64,
    /// How long it took.
    pub(crate) took: Duration,
    /// The rounds with faults.
    pub(crate) rounds: Rounds,
}

impl Counted {
    /// True if no answer was mixed and no round ended with row and memory apart.
    pub(crate) fn is_right(&self) -> bool {
        self.mixed.load(Ordering::Relaxed) == 0
            && self.failed.load(Ordering::Relaxed) == 0
            && self.rounds.apart() == 0
    }
}

/// Puts our router or the broken one under load, then through the rounds.
pub(crate) fn put(size: &Size, host: &Host, broken: bool) -> Result<Counted, Refusal> {
    let scratch = tempfile::tempdir()?;
    let home = Home(scratch.path().join("load"));
    let mut counted = Counted::default();
    {
        let routers = pair(host, &home, broken)?;
        let started = Instant::now();
        ask_and_activate(size, &routers, &counted)?;
        counted.took = started.elapsed();
    }
    let home = Home(scratch.path().join("rounds"));
    let routers = pair(host, &home, broken)?;
    counted.rounds = rounds::run(size.rounds, &home, routers)?;
    Ok(counted)
}

/// Two routers on one table. The second finds the table that the first has made.
fn pair<'a>(host: &'a Host, home: &Home, broken: bool) -> Result<[Process<'a>; 2], Refusal> {
    let first = Process::start(host, home, broken)?;
    Ok([first, Process::start(host, home, broken)?])
}

fn ask_and_activate(
    size: &Size,
    routers: &[Process<'_>; 2],
    counted: &Counted,
) -> Result<(), Refusal> {
    let (over, next) = (AtomicBool::new(false), AtomicU64::new(0));
    let (over, next) = (&over, &next);
    thread::scope(|scope| {
        let activator = scope.spawn(move || activate(routers, over, counted));
        let clients: Vec<_> = (0_usize..)
            .zip(0..size.clients)
            .map(|(client, _)| {
                let router = routers.iter().cycle().nth(client);
                scope.spawn(move || match router {
                    Some(router) => ask(size, router.connect()?, next, counted),
                    None => Ok(()),
                })
            })
            .collect();
        let outcomes: Vec<_> = clients.into_iter().map(joined).collect();
        over.store(true, Ordering::Release);
        joined(activator)?;
        outcomes.into_iter().collect()
    })
}

fn joined(thread: thread::ScopedJoinHandle<'_, Result<(), Refusal>>) -> Result<(), Refusal> {
    let panicked = |_| {
        Err(Refusal::new(
            500,
            "panic",
            "a thread of the load script panicked",
        ))
    };
    thread.join().unwrap_or_else(panicked)
}

/// Activates one model after the other, at both routers in turn, without a pause.
fn activate(
    routers: &[Process<'_>; 2],
    over: &AtomicBool,
    counted: &Counted,
) -> Result<(), Refusal> {
    let [first, second] = routers;
    let mut clients = [first.connect()?, second.connect()?];
    let mut number = 0;
    while !over.load(Ordering::Acquire) {
        for client in &mut clients {
            number = number % MODELS + 1;
            let target = format!("/activate?version=v{number}");
            let (status, body) = client.ask("POST", &target)?;
            match status {
                200 => counted.activations.fetch_add(1, Ordering::Relaxed),
                409 | 503 => counted.refused.fetch_add(1, Ordering::Relaxed),
                _ => return Err(Refusal::new(status, "activation", body)),
            };
        }
    }
    Ok(())
}

/// Asks until all answers are counted: mostly predictions, some metrics.
fn ask(
    size: &Size,
    mut client: Client,
    next: &AtomicU64,
    counted: &Counted,
) -> Result<(), Refusal> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= size.answers {
            return Ok(());
        }
        let held = size.across > 0 && number.is_multiple_of(size.across);
        let across = if held { "&across=1" } else { "" };
        let target = match number % 8 {
            7 => format!("/metrics?n={number}{across}"),
            _ => format!("/predict?x={}{across}", number % 1_000),
        };
        let (status, body) = client.ask("GET", &target)?;
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match serde_json::from_str::<Answer>(&body) {
            Ok(answer) if status == 200 => {
                add(&counted.answers);
                if held {
                    add(&counted.held);
                }
                if answer.is_mixed() {
                    add(&counted.mixed);
                    if !held {
                        add(&counted.mixed_by_chance);
                    }
                }
            }
            _ => {
                eprintln!("router: {status} {body}");
                add(&counted.failed);
            }
        }
    }
}
