//! Running all bodies and their controls, and the table.

use crate::case::{Case, Control, Explored};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A row of the table.
struct Row {
    body: &'static str,
    how: String,
    explored: Explored,
    /// True if it ended as it must.
    right: bool,
    /// What it ended with, for people.
    end: String,
}

/// What there is to do: a body, and one way to run it.
#[derive(Debug, Clone, Copy)]
struct Task {
    case: &'static Case,
    control: Option<&'static Control>,
    way: Way,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// Runs everything; the exit status.
pub(crate) fn all(cases: &[&'static Case]) -> i32 {
    let wanted = std::env::var("PLANBOX_BODY").unwrap_or_default();
    let seed = number("PLANBOX_SEED").unwrap_or_else(drawn);
    let cases: Vec<_> = cases
        .iter()
        .filter(|case| case.name.contains(&wanted))
        .collect();
    install_reports();
    if let Some(status) = replayed(&cases) {
        return status;
    }
    let tasks: VecDeque<Task> = cases.iter().flat_map(|case| tasks(case)).collect();
    println!("schedules: {} bodies, seed {seed}", cases.len());
    println!("| body | how | schedules | |\n|---|---|---|---|");
    let tasks = Mutex::new(tasks);
    let (total, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                loop {
                    let task = tasks.lock().unwrap().pop_front();
                    let Some(task) = task else { break };
                    let row = run(task, seed);
                    total.fetch_add(row.explored.schedules, Ordering::Relaxed);
                    failed.fetch_add(usize::from(!row.right), Ordering::Relaxed);
                    let (count, mark) = (
                        row.explored.schedules,
                        if row.right { "" } else { "FAILED: " },
                    );
                    println!(
                        "| {} | {} | {count} | {mark}{} |",
                        row.body, row.how, row.end
                    );
                }
            });
        }
    });
    let (total, failed) = (total.into_inner(), failed.into_inner());
    println!("schedules: {total} ran, {failed} rows failed, seed {seed}");
    i32::from(failed > 0 || total == 0)
}

fn drawn() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) % 1_000_000_000
}

fn run(task: Task, seed: u64) -> Row {
    let body = task.control.map_or(task.case.body, |control| control.body);
    let (explored, remark) = task.way.explore(body, seed);
    let (right, end) = judge(task, &explored, &remark);
    let how = match task.control {
        None => task.way.to_string(),
        Some(control) => format!("without {}, {}", control.without, task.way),
    };
    Row {
        body: task.case.name,
        how,
        explored,
        right,
        end,
    }
}

/// A body must hold, a control must be found out, for the right reason.
fn judge(task: Task, explored: &Explored, remark: &str) -> (bool, String) {
    if let Some(why) = task.way.skipped() {
        return (true, why.to_owned());
    }
    match (task.control, &explored.wrong) {
        (None, None) => (true, remark.to_owned()),
        (None, Some(wrong)) => (false, format!("{}: {}", wrong.kind, wrong.text)),
        (Some(_), None) => (false, "the control passed".to_owned()),
        (Some(control), Some(wrong)) if control.kinds.contains(&wrong.kind) => {
            (true, format!("found{remark}: {}", wrong.kind))
        }
        (Some(_), Some(wrong)) => (
            false,
            format!("found something else: {}: {}", wrong.kind, wrong.text),
        ),
    }
}

#[cfg(shuttle)]
use explored::{Way, install_reports, replayed, tasks, workers};
#[cfg(not(shuttle))]
use real::{Way, install_reports, replayed, tasks, workers};

#[cfg(shuttle)]
mod explored {
    use super::{Task, number};
    use crate::case::{Case, Depth, Explored, Verdict, Wrong};
    pub(super) use crate::explore::install_reports;
    use crate::explore::{SAMPLING, Strategy, explore, hunt, replay};
    use std::fmt;

    /// How many schedules of a control there are at the most: it has to fail long before.
    const CONTROL_MAX: usize = 40_000;

    /// How many schedules an exhaustive search may have: a body with more is told a smaller depth.
    const EXHAUSTIVE_MAX: usize = 40_000;

    /// Sampled schedules of each body and strategy, if nothing else is said.
    const SAMPLED: u64 = 100;

    /// A strategy and how many schedules it may take; none is the hunt for the fault of a control.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Way(Option<(Strategy, usize)>);

    impl fmt::Display for Way {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                Some((strategy, _)) => strategy.fmt(f),
                None => f.write_str("in turns"),
            }
        }
    }

    impl Way {
        /// What came of it, and a remark.
        pub(super) fn explore(self, body: fn() -> Verdict, seed: u64) -> (Explored, String) {
            let Some((strategy, schedules)) = self.0 else {
                let (explored, hunter) = hunt(body, CONTROL_MAX, seed);
                return (explored, format!(" by {hunter}"));
            };
            let mut explored = explore(body, strategy, (schedules, seed), false);
            if matches!(strategy, Strategy::Exhaustive(_)) && !explored.exhausted {
                explored.wrong.get_or_insert_with(|| Wrong {
                    kind: "cut short",
                    text: "there are more schedules than a search may have".to_owned(),
                });
            }
            let reach = match strategy {
                Strategy::Exhaustive(_) | Strategy::Deeper(_) if explored.exhausted => "exhausted",
                Strategy::Exhaustive(_) | Strategy::Deeper(_) => "stopped at the cap",
                _ => "",
            };
            (explored, reach.to_owned())
        }

        /// Everything is run here.
        pub(super) fn skipped(self) -> Option<&'static str> {
            let Self(_) = self;
            None
        }
    }

    pub(super) fn workers() -> usize {
        std::thread::available_parallelism().map_or(2, usize::from)
    }

    pub(super) fn tasks(case: &'static Case) -> Vec<Task> {
        let wanted = number("PLANBOX_SCHEDULES").unwrap_or(SAMPLED);
        let count = usize::try_from(wanted).unwrap() * case.weight;
        let sampled = SAMPLING.iter().map(|strategy| (*strategy, count));
        let mut whole = Vec::new();
        if let Depth::Preemptions(most) = case.depth {
            whole.push((Strategy::Exhaustive(most), EXHAUSTIVE_MAX));
            if wanted > SAMPLED {
                whole.push((Strategy::Deeper(most + 1), count * 30));
            }
        }
        let bodies = sampled.chain(whole).map(|way| Task {
            case,
            control: None,
            way: Way(Some(way)),
        });
        let controls = case.controls.iter().map(|control| Task {
            case,
            control: Some(control),
            way: Way(None),
        });
        bodies.chain(controls).collect()
    }

    /// Runs the one schedule that is asked for.
    pub(super) fn replayed(cases: &[&&'static Case]) -> Option<i32> {
        let schedule = std::env::var("PLANBOX_REPLAY").ok()?;
        let case = cases.first().unwrap();
        let wrong = replay(case.body, &schedule);
        println!("{}: {wrong:?}", case.name);
        Some(i32::from(wrong.is_some()))
    }
}

#[cfg(not(shuttle))]
mod real {
    use super::Task;
    use crate::case::{Case, Control, Explored, Stop, Verdict};
    pub(super) use crate::real::install_reports;
    use crate::real::repeat;
    use std::fmt;
    use std::time::Duration;

    /// How often a body runs, and how often a control at the most.
    const ROUNDS: usize = 10;
    const CONTROL_MAX: usize = 200;

    /// How long a body may take, and how long a control that is to hang.
    const PATIENCE: Duration = Duration::from_secs(60);
    const HANGS: Duration = Duration::from_secs(2);

    #[derive(Debug, Clone, Copy)]
    pub(super) enum Way {
        Run {
            rounds: usize,
            patience: Duration,
            stops: &'static [Stop],
            quiet: bool,
        },
        /// A control that real threads are not held to.
        Not(&'static str),
    }

    impl fmt::Display for Way {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self::Run { stops, .. } = self else {
                return f.write_str("not on real threads");
            };
            f.write_str("real threads")?;
            for stop in *stops {
                write!(f, "; {} until {}", stop.at, stop.until)?;
            }
            Ok(())
        }
    }

    impl Way {
        /// What came of it, and a remark.
        pub(super) fn explore(self, body: fn() -> Verdict, _seed: u64) -> (Explored, String) {
            match self {
                Self::Run {
                    rounds,
                    patience,
                    stops,
                    quiet,
                } => {
                    let explored = repeat(body, (rounds, patience), stops, quiet);
                    (explored, String::new())
                }
                Self::Not(why) => {
                    let nothing = Explored {
                        schedules: 0,
                        exhausted: false,
                        wrong: None,
                    };
                    (nothing, why.to_owned())
                }
            }
        }

        /// Why it is not run, if it is not.
        pub(super) fn skipped(self) -> Option<&'static str> {
            match self {
                Self::Run { .. } => None,
                Self::Not(why) => Some(why),
            }
        }
    }

    /// One: the threads of a body meet nobody else.
    pub(super) fn workers() -> usize {
        1
    }

    pub(super) fn tasks(case: &'static Case) -> Vec<Task> {
        let body = |stops| Task {
            case,
            control: None,
            way: Way::Run {
                rounds: ROUNDS,
                patience: PATIENCE,
                stops,
                quiet: false,
            },
        };
        let mut tasks = vec![body(&[])];
        for control in case.controls {
            if !control.stops.is_empty() {
                tasks.push(body(control.stops));
            }
            tasks.push(Task {
                case,
                control: Some(control),
                way: way(control),
            });
        }
        tasks
    }

    fn way(control: &Control) -> Way {
        if let Some(why) = control.only_explored {
            return Way::Not(why);
        }
        let hangs = control.kinds.contains(&"deadlock");
        Way::Run {
            rounds: CONTROL_MAX,
            patience: if hangs { HANGS } else { PATIENCE },
            stops: control.stops,
            quiet: true,
        }
    }

    /// Only an explorer can run a schedule again.
    pub(super) fn replayed(_cases: &[&&'static Case]) -> Option<i32> {
        None
    }
}
