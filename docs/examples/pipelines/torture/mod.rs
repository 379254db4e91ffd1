//! `--torture`: the server is killed at moments nobody chose and started again, while this process
//! sends requests, cancels and watches. In the end every job has come to rest, and every result is
//! that of its input.

use crate::push::Push;
use crate::wishes::{self, Act, Tally, Visitor, Wishes};
use crate::{Failure, load, plain, say, work};
use planbox::{Job, JobId, JobState, JobStore};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod process;
mod zombie;

use process::Process;

/// New jobs in each round.
const BATCH: usize = 8;

/// The moment of the kill: after at most so many revisions, and so many microseconds more.
const REVISIONS_MAX: u64 = 120;
const MICROS_MAX: u64 = 4_000;

/// How often this process looks for changes, so that the kill is not always as late as a watch is.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A run.
#[derive(Debug)]
struct Torture {
    home: PathBuf,
    wishes: Wishes,
    jobs: JobStore,
    push: Push,
    visitor: Visitor,
    ids: Vec<JobId>,
    accepted: BTreeSet<JobId>,
    /// Attempts whose process was killed.
    interrupted: BTreeSet<(JobId, u64)>,
    wrong: Vec<String>,
}

/// Kills the server `rounds` times; true if everything is as it must be.
pub(crate) fn run(rounds: usize, seed: u64) -> Result<bool, Failure> {
    say(&format!("seed {seed}"));
    let home = tempfile::tempdir()?;
    let jobs = JobStore::open(home.path().join("store"))?;
    let mut torture = Torture {
        home: home.path().to_owned(),
        wishes: Wishes { seed },
        push: Push::new(&jobs),
        visitor: Visitor::new(Wishes { seed }),
        jobs,
        ids: wishes::ids(rounds * BATCH)?,
        accepted: BTreeSet::new(),
        interrupted: BTreeSet::new(),
        wrong: Vec::new(),
    };
    for id in &torture.ids {
        let is_damaged = torture.wishes.is_damaged(id);
        work::make_input(&wishes::input(home.path(), id), is_damaged)?;
    }
    for round in 1..=rounds {
        torture.round(round)?;
    }
    torture.finish()?;
    let is_well = torture.judge(rounds)?;
    let is_fenced = zombie::is_refused(home.path(), &torture.jobs)?;
    compare(home.path(), rounds, seed)?;
    Ok(is_well && is_fenced)
}

impl Torture {
    /// Starts the server, gives it work, and kills it.
    fn round(&mut self, round: usize) -> Result<(), Failure> {
        let mut server = Process::serve(&self.home)?;
        self.ask(&mut server, round * BATCH)?;
        let roll = |what: &str, below| self.wishes.roll(&round.to_string(), what, below);
        let (revisions, micros) = (roll("revisions", REVISIONS_MAX), roll("micros", MICROS_MAX));
        let until = self.push.revision() + 1 + revisions;
        let begin = Instant::now();
        while self.push.revision() < until && begin.elapsed() < Duration::from_secs(5) {
            self.look(&mut server)?;
        }
        self.push.next(Duration::from_micros(micros))?;
        self.accepted.extend(server.kill()?);
        self.after_a_kill()
    }

    /// Asks for what was not accepted yet of the first `count` jobs, and for what visitors want.
    fn ask(&mut self, server: &mut Process, count: usize) -> Result<(), Failure> {
        for id in self.ids.iter().take(count) {
            if !self.accepted.contains(id) {
                let verb = if wishes::is_restyle(id) {
                    "restyle"
                } else {
                    "short-form"
                };
                let input = wishes::input(&self.home, id);
                server.ask(&format!("{verb} {id} {}", input.display()));
            }
        }
        for job in self.jobs.list()? {
            self.click(&job, server)?;
        }
        Ok(())
    }

    /// Takes in what is pushed, and clicks.
    fn look(&mut self, server: &mut Process) -> Result<(), Failure> {
        let changes = self.push.next(LOOK_EVERY)?;
        for job in changes.iter().flat_map(|changes| &changes.jobs) {
            self.click(job, server)?;
        }
        Ok(())
    }

    fn click(&mut self, job: &Job, server: &mut Process) -> Result<(), Failure> {
        match self.visitor.look(job) {
            // From this process: a second writer, while the server lives and when it is dead.
            Some(Act::Cancel) => drop(self.jobs.cancel(&job.id)),
            Some(Act::Retry) => {
                work::make_input(&wishes::input(&self.home, &job.id), false)?;
                server.ask(&format!("retry {}", job.id));
            }
            None => {}
        }
        Ok(())
    }

    /// What must hold when nobody works: all that was accepted is there, and nothing says it runs.
    fn after_a_kill(&mut self) -> Result<(), Failure> {
        let jobs = self.jobs.list()?;
        let there: BTreeMap<&JobId, JobState> =
            jobs.iter().map(|job| (&job.id, job.state)).collect();
        for id in self.accepted.iter().filter(|id| !there.contains_key(id)) {
            self.wrong.push(format!("{id} was accepted, and is lost"));
        }
        for job in &jobs {
            match job.state {
                JobState::Interrupted => {
                    self.interrupted.insert((job.id.clone(), job.attempt));
                    // Some are cancelled while nobody works on them: at once.
                    let is_wanted = self.wishes.roll(job.id.as_str(), "late cancel", 6) == 0;
                    if is_wanted && self.jobs.cancel(&job.id)? != JobState::Cancelled {
                        self.wrong
                            .push(format!("{} waits for a dead owner", job.id));
                    }
                }
                JobState::Running => self.wrong.push(format!("{} runs without an owner", job.id)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets a server work until every job has come to rest.
    fn finish(&mut self) -> Result<(), Failure> {
        let mut server = Process::serve(&self.home)?;
        self.ask(&mut server, self.ids.len())?;
        let begin = Instant::now();
        while !self.is_settled()? {
            if begin.elapsed() > load::LONG {
                return Err("jobs are stuck".into());
            }
            self.look(&mut server)?;
        }
        self.accepted.extend(server.stop()?);
        Ok(())
    }

    fn is_settled(&self) -> Result<bool, Failure> {
        let jobs = self.jobs.list()?;
        let is_settled = jobs.iter().all(|job| self.wishes.is_settled(job));
        Ok(is_settled && jobs.len() == self.ids.len())
    }

    fn judge(&mut self, kills: usize) -> Result<bool, Failure> {
        let mut tally = Tally::of(&self.jobs, &self.ids)?;
        let (mut again, mut cancelled) = (0, 0);
        for (id, attempt) in &self.interrupted {
            match self.jobs.read(id)? {
                Some(job) if job.attempt > *attempt => again += 1,
                Some(job) if job.state == JobState::Cancelled => cancelled += 1,
                _ => tally
                    .wrong
                    .push(format!("{id} attempt {attempt}: nobody took it up")),
            }
        }
        tally.wrong.append(&mut self.wrong);
        tally.wrong.append(&mut self.push.wrong);
        say(&format!(
            "{kills} kills interrupted {} attempts: {again} were taken up again as new attempts, \
             {cancelled} were cancelled before that; {} updates pushed of {} revisions",
            self.interrupted.len(),
            self.push.updates,
            self.push.revision()
        ));
        Ok(tally.report(self.ids.len()))
    }
}

/// The same kills with the plain file, to compare.
fn compare(home: &Path, rounds: usize, seed: u64) -> Result<(), Failure> {
    let (mut unreadable, mut stuck) = (0, 0);
    for round in 1..=rounds {
        let file = home.join(format!("plain-{round}.json"));
        let wishes = Wishes { seed };
        let ended = wishes.roll(&round.to_string(), "ended", BATCH as u64 / 2);
        let process = Process::plain(&file, BATCH)?;
        process.wait_for("ended", usize::try_from(ended)? + 1)?;
        process.kill()?;
        match plain::left(&file) {
            Some(running) => stuck += running,
            None => unreadable += 1,
        }
    }
    say(&format!(
        "a plain JSON file, killed {rounds} times: {stuck} jobs are stuck in processing, {unreadable} \
         files cannot be read"
    ));
    plain::compare(home, rounds * BATCH, Wishes { seed })
}
