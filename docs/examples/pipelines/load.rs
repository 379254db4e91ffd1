//! `--load`: many jobs, with cancels and retries at the same time.

use crate::push::Push;
use crate::server::Server;
use crate::wishes::{self, Act, Tally, Visitor, Wishes};
use crate::{Failure, pipeline, plain, say, work};
use planbox::JobId;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many jobs are worked on at once.
pub(crate) const WORKERS: usize = 4;

/// How many visitors click at the same time: the same buttons.
const VISITORS: usize = 2;

/// Nothing takes as long; a job that does is stuck.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Clicks that did something, and clicks that came too late.
#[derive(Debug, Default)]
struct Clicks {
    cancels: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
}

/// Runs `count` jobs through both pipelines; true if everything is as it must be.
pub(crate) fn run(count: usize, seed: u64) -> Result<bool, Failure> {
    say(&format!("seed {seed}"));
    let home = tempfile::tempdir()?;
    let wishes = Wishes { seed };
    let ids = wishes::ids(count)?;
    let clicks = Clicks::default();
    let server = Server::open(home.path())?;
    let begin = Instant::now();
    let mut push = Push::new(&server.jobs);
    server.serve(WORKERS, || {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..VISITORS {
                scope.spawn(|| visit(&server, wishes, (&clicks, &is_over)));
            }
            let submitter = scope.spawn(|| submit(&server, home.path(), (wishes, &ids)));
            let waited = wait_for_all(&mut push, (wishes, &ids));
            is_over.store(true, Ordering::SeqCst);
            submitter.join().map_err(|_| "the submitter broke")??;
            waited
        })?;
        wait_for_all(&mut push, (wishes, &ids))
    })?;
    let took = begin.elapsed();
    let mut tally = Tally::of(&server.jobs, &ids)?;
    tally.wrong.append(&mut push.wrong);
    say(&format!(
        "{} cancels and {} retries granted, {} clicks came too late; {} updates pushed of {} \
         revisions; {} ms",
        clicks.cancels.load(Ordering::SeqCst),
        clicks.retries.load(Ordering::SeqCst),
        clicks.refused.load(Ordering::SeqCst),
        push.updates,
        push.revision(),
        took.as_millis(),
    ));
    let locks = server.jobs.locks();
    let leases = std::fs::read_dir(home.path().join("store/jobs"))?.count();
    if locks + leases > 0 {
        let left = format!("{locks} locks and {leases} leases are left over");
        tally.wrong.push(left);
    }
    let is_well = tally.report(count);
    plain::compare(home.path(), count, wishes)?;
    Ok(is_well)
}

fn submit(server: &Server, home: &Path, (wishes, ids): (Wishes, &[JobId])) -> Result<(), Failure> {
    for id in ids {
        let input = wishes::input(home, id);
        work::make_input(&input, wishes.is_damaged(id))?;
        if wishes::is_restyle(id) {
            server.submit_restyle(id, &input)?;
        } else {
            server.submit_short_form(id, &input)?;
        }
    }
    Ok(())
}

/// Waits until each of these jobs has come to rest.
fn wait_for_all(push: &mut Push, (wishes, ids): (Wishes, &[JobId])) -> Result<(), Failure> {
    // What was clicked late is told first.
    push.next(Duration::ZERO)?;
    let is_settled = |push: &Push, id| push.last(id).is_some_and(|job| wishes.is_settled(job));
    while !ids.iter().all(|id| is_settled(push, id)) {
        push.next(LONG)?.ok_or("jobs are stuck")?;
    }
    Ok(())
}

/// Clicks until it is over.
fn visit(
    server: &Server,
    wishes: Wishes,
    (clicks, is_over): (&Clicks, &AtomicBool),
) -> Result<(), Failure> {
    let mut visitor = Visitor::new(wishes);
    let mut push = Push::new(&server.jobs);
    while !is_over.load(Ordering::SeqCst) {
        let changes = push.next(Duration::from_millis(50))?;
        for job in changes.iter().flat_map(|changes| &changes.jobs) {
            let (done, count) = match visitor.look(job) {
                Some(Act::Cancel) => (server.cancel(&job.id).is_ok(), &clicks.cancels),
                Some(Act::Retry) => {
                    work::make_input(&pipeline::input_of(job)?, false)?;
                    (server.retry(&job.id).is_ok(), &clicks.retries)
                }
                None => continue,
            };
            let count = if done { count } else { &clicks.refused };
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}
