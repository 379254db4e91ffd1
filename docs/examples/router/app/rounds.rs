//! Activations with a fault each, and a look afterwards whether row and memory agree.

use super::http::Client;
use super::process::Process;
use super::table::{self, Home};
use super::{Answer, Refusal};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What goes wrong in a round.
const KINDS: [(&str, Round); 9] = [
    ("nothing", Round::Plain),
    ("the artefact does not load", Round::Ask("damaged", "")),
    ("the row is refused", Round::Ask("forbidden", "")),
    ("the row changes under the plan", Round::Ask("", "meddle")),
    ("the database is locked", Round::Locked),
    ("killed at a step", Round::KilledAt),
    ("killed at any instant", Round::KilledAnytime),
    ("the other router activates", Round::Other),
    ("both routers activate", Round::Both),
];

/// Steps of an activation, as `Fault::at` knows them.
const STEPS: [&str; 4] = ["opened", "row", "loaded", "committed"];

/// How often an activation that must succeed is tried while a lock is held.
const TRIES: usize = 10;

#[derive(Debug, Clone, Copy)]
enum Round {
    Plain,
    /// A version (empty: the next), and a fault.
    Ask(&'static str, &'static str),
    Locked,
    KilledAt,
    KilledAnytime,
    Other,
    Both,
}

/// What came out of the rounds, by what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Rounds, those of them after which a new version was active, and those with row and memory
    /// apart.
    pub(crate) kinds: BTreeMap<usize, (&'static str, [u64; 3])>,
}

impl Rounds {
    /// Rounds after which row and memory did not agree.
    pub(crate) fn apart(&self) -> u64 {
        self.kinds.values().map(|(_, [_, _, apart])| apart).sum()
    }
}

/// Does `count` rounds, one kind after the other.
pub(crate) fn run(
    count: u64,
    home: &Home,
    mut routers: [Process<'_>; 2],
) -> Result<Rounds, Refusal> {
    let mut rounds = Rounds::default();
    // How long an activation takes here, so that kills come at any instant of one.
    let mut usual = Duration::ZERO;
    let mut row = table::open(&home.database())?;
    for (number, (index, (name, kind))) in (0..count).zip(KINDS.into_iter().enumerate().cycle()) {
        let before = table::active(&row)?;
        // A version that is not active.
        let next = (1..=table::MODELS).map(|number| format!("v{number}"));
        let mut next = next.filter(|version| Some(version.as_str()) != before.version());
        let skip = usize::try_from(number % 7).unwrap_or(0);
        let (next, after_next) = (next.nth(skip).unwrap_or_default(), next.next());
        let after_next = after_next.unwrap_or_else(|| "v1".to_owned());
        let instant = usual * u32::try_from(number * 7_919 % 1_000).unwrap_or(0) / 900;
        let begin = Instant::now();
        play(
            kind,
            (number, instant),
            home,
            &mut routers,
            [&next, &after_next],
        )?;
        if matches!(kind, Round::Plain) {
            usual = begin.elapsed();
        }
        for router in &mut routers {
            router.revive()?;
        }
        let now = table::active(&row)?;
        let mut apart = now.version().is_none();
        for router in &routers {
            let seen = memory(&mut router.connect()?)?;
            apart |= seen.as_deref() != now.version();
        }
        let (_, [all, new, bad]) = rounds.kinds.entry(index).or_insert((name, [0; 3]));
        *all += 1;
        *new += u64::from(now != before);
        *bad += u64::from(apart);
        if apart {
            // Begin the next round in agreement, with a model that loads.
            table::activate(&mut row, "v1")?;
            for router in &mut routers {
                router.kill();
                router.revive()?;
            }
        }
    }
    Ok(rounds)
}

/// The version that a router answers with, if model, version and prediction agree.
fn memory(client: &mut Client) -> Result<Option<String>, Refusal> {
    let (status, body) = client.ask("GET", "/predict?x=5")?;
    let answer = serde_json::from_str::<Answer>(&body).ok();
    Ok(answer
        .filter(|answer| status == 200 && !answer.is_mixed())
        .map(|answer| answer.version))
}

fn play(
    kind: Round,
    (number, instant): (u64, Duration),
    home: &Home,
    routers: &mut [Process<'_>; 2],
    [next, after_next]: [&str; 2],
) -> Result<(), Refusal> {
    let [first, second] = routers;
    let target = |version: &str, fault: &str| match fault {
        "" => format!("/activate?version={version}"),
        _ => format!("/activate?version={version}&fault={fault}"),
    };
    match kind {
        Round::Plain => demand(&mut first.connect()?, &target(next, ""))?,
        Round::Ask(version, fault) => {
            let version = if version.is_empty() { next } else { version };
            first.connect()?.ask("POST", &target(version, fault))?;
        }
        Round::Locked => {
            let lock = Connection::open(home.database())?;
            lock.execute_batch("BEGIN IMMEDIATE")?;
            first.connect()?.ask("POST", &target(next, ""))?;
            lock.execute_batch("ROLLBACK")?;
        }
        Round::KilledAt => {
            let step = STEPS.iter().cycle().nth(index(number));
            let step = step.copied().unwrap_or_default();
            // The router kills itself without an answer; the rest is to wait until it is gone.
            drop(first.connect()?.ask("POST", &target(next, step)));
            first.kill();
        }
        Round::KilledAnytime => {
            let mut client = first.connect()?;
            client.send("POST", &target(next, ""))?;
            let begin = Instant::now();
            while begin.elapsed() < instant {
                std::hint::spin_loop();
            }
            first.kill();
        }
        Round::Other => demand(&mut second.connect()?, &target(next, ""))?,
        Round::Both => {
            let mut clients = [first.connect()?, second.connect()?];
            for (client, version) in clients.iter_mut().zip([next, after_next]) {
                client.send("POST", &target(version, ""))?;
            }
            for client in &mut clients {
                client.receive()?;
            }
        }
    }
    Ok(())
}

/// Activates, and takes no refusal, except that somebody holds a lock: then it asks again.
fn demand(client: &mut Client, target: &str) -> Result<(), Refusal> {
    for _ in 0..TRIES {
        let (status, body) = client.ask("POST", target)?;
        match status {
            200 => return Ok(()),
            503 => (),
            _ => return Err(Refusal::new(status, "refused", format!("{target}: {body}"))),
        }
    }
    Err(Refusal::new(503, "busy", target))
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0) / KINDS.len()
}
