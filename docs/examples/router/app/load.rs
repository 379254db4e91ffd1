//! The load script: clients that ask while models are activated, and every answer checked.

use super::http::Client;
use super::pace::{Gaps, Pace};
use super::process::{Host, Process};
use super::rounds::{self, Rounds};
use super::table::{Home, MODELS};
use super::{Answer, Refusal};
use planbox::sync::thread;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Requests per second over all clients; 0: as fast as they can.
    pub(crate) rate: u64,
    /// From the beginning of one activation to that of the next; zero: without a pause.
    pub(crate) every: Duration,
}

impl Size {
    /// When the request `number` is due.
    fn due(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000;
        let nanos = nanos.checked_div(u128::from(self.rate)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
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
    /// From the end of one activation to that of the next.
    pub(crate) gaps: Gaps,
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

    /// True if every second activation came within `limit` of the one before.
    pub(crate) fn is_brisk(&self, limit: Duration) -> bool {
        self.gaps.percentile(50).is_some_and(|gap| gap <= limit)
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
        counted.gaps = ask_and_activate(size, &routers, &counted)?;
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
) -> Result<Gaps, Refusal> {
    let (pace, next) = (&Pace::begin(), &AtomicU64::new(0));
    thread::scope(|scope| {
        let activator = scope.spawn(move || activate(size.every, routers, pace, counted));
        let clients: Vec<_> = (0_usize..)
            .zip(0..size.clients)
            .map(|(client, _)| {
                let router = routers.iter().cycle().nth(client);
                scope.spawn(move || match router {
                    Some(router) => ask(size, router.connect()?, (pace, next), counted),
                    None => Ok(()),
                })
            })
            .collect();
        let outcomes: Vec<_> = clients.into_iter().map(joined).collect();
        pace.end();
        let moments = joined(activator)?;
        let outcomes: Result<(), Refusal> = outcomes.into_iter().collect();
        outcomes.map(|()| Gaps::between(&moments))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T, Refusal>>) -> Result<T, Refusal> {
    let panicked = |_| {
        Err(Refusal::new(
            500,
            "panic",
            "a thread of the load script panicked",
        ))
    };
    thread.join().unwrap_or_else(panicked)
}

/// Activates one model after the other, at both routers in turn, one `every` so often. One that is
/// late is followed by the next at once. When each was over.
fn activate(
    every: Duration,
    routers: &[Process<'_>; 2],
    pace: &Pace,
    counted: &Counted,
) -> Result<Vec<Instant>, Refusal> {
    let [first, second] = routers;
    let mut clients = [first.connect()?, second.connect()?];
    let (mut moments, mut number, mut due) = (Vec::new(), 0, Duration::ZERO);
    loop {
        for client in &mut clients {
            if !pace.wait_for(due) {
                return Ok(moments);
            }
            due += every;
            number = number % MODELS + 1;
            let target = format!("/activate?version=v{number}");
            let (status, body) = client.ask("POST", &target)?;
            match status {
                200 => {
                    moments.push(Instant::now());
                    counted.activations.fetch_add(1, Ordering::Relaxed);
                }
                409 | 503 => {
                    counted.refused.fetch_add(1, Ordering::Relaxed);
                }
                _ => return Err(Refusal::new(status, "activation", body)),
            }
        }
    }
}

/// Asks until all answers are counted: mostly predictions, some metrics.
fn ask(
    size: &Size,
    mut client: Client,
    (pace, next): (&Pace, &AtomicU64),
    counted: &Counted,
) -> Result<(), Refusal> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= size.answers || !pace.wait_for(size.due(number)) {
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
