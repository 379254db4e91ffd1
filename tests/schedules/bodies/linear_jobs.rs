//! Recorded histories of a job: its revision grows by one with each change, and its first end stands.

use super::jobs::{EARLY, begun, job, store};
use super::linear::record;
use crate::case::{Case, Control, Depth, Verdict, check};
use planbox::error::JobError;
use planbox::job::JobFault;
use planbox::{JobHandle, JobPatch, JobState, JobStore};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Read,
    /// File this value.
    Set(u64),
    /// File this value if nobody wrote since the job was begun.
    SetIf(u64),
    Complete,
    Fail,
    Cancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// State, value, revision.
    Is(JobState, u64, u64),
    Written(u64),
    /// It goes on; its owner was asked to stop.
    Asked,
    Changed,
    Over(JobState),
}

/// The revision of a job that was made and started.
const BEGUN: u64 = 2;

/// The job as a sequential thing.
#[derive(Debug, Clone, Copy)]
struct Plain {
    state: JobState,
    value: u64,
    revision: u64,
    asked: bool,
}

const START: Plain = Plain {
    state: JobState::Running,
    value: 0,
    revision: BEGUN,
    asked: false,
};

impl Plain {
    fn write(&mut self) -> Told {
        self.revision += 1;
        Told::Written(self.revision)
    }

    /// The first end stands.
    fn end(&mut self, state: JobState) -> Told {
        if self.state.is_terminal() {
            return Told::Over(self.state);
        }
        self.state = state;
        self.write()
    }
}

impl SequentialSpec for Plain {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        match *ask {
            Ask::Read => Told::Is(self.state, self.value, self.revision),
            Ask::SetIf(_) if self.revision != BEGUN => Told::Changed,
            Ask::Set(value) | Ask::SetIf(value) => {
                self.value = value;
                self.write()
            }
            Ask::Complete => self.end(JobState::Completed),
            Ask::Fail => self.end(JobState::Failed),
            Ask::Cancel if self.state.is_terminal() => Told::Over(self.state),
            Ask::Cancel => {
                if !self.asked {
                    self.asked = true;
                    self.revision += 1;
                }
                Told::Asked
            }
        }
    }
}

const WRITERS: [&[Ask]; 3] = [
    &[Ask::SetIf(1), Ask::Read],
    &[Ask::SetIf(2), Ask::Set(3)],
    &[Ask::Read, Ask::Read],
];
const ENDS: [&[Ask]; 3] = [
    &[Ask::Complete, Ask::Read],
    &[Ask::Fail, Ask::Set(1)],
    &[Ask::Cancel, Ask::Read],
];

const fn two_steps(body: fn() -> Verdict) -> Control {
    Control::new("the look inside the transaction", body, &["not linear"])
}

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "history: writers of a job",
        Depth::Preemptions(2),
        || history(&WRITERS, None),
        &[two_steps(|| history(&WRITERS, EARLY))],
    ),
    Case::light(
        "history: the ends of a job",
        Depth::Preemptions(2),
        || history(&ENDS, None),
        &[two_steps(|| history(&ENDS, EARLY))],
    ),
    Case::heavy(
        "history: the checker, of jobs",
        Depth::No,
        || {
            written(&[
                (Ask::Complete, Told::Written(3)),
                (Ask::Fail, Told::Over(JobState::Completed)),
            ])
        },
        &[
            Control::new(
                "truth (a second end)",
                || {
                    written(&[
                        (Ask::Complete, Told::Written(3)),
                        (Ask::Fail, Told::Written(4)),
                    ])
                },
                &["not linear"],
            ),
            Control::new(
                "truth (a revision that goes back)",
                || {
                    written(&[
                        (Ask::Set(1), Told::Written(4)),
                        (Ask::Set(2), Told::Written(3)),
                    ])
                },
                &["not linear"],
            ),
        ],
    ),
];

fn ask((jobs, owner): (&JobStore, &JobHandle), ask: Ask) -> Told {
    let write = |written: Result<u64, JobError>| match written {
        Ok(revision) => Told::Written(revision),
        Err(JobError::Changed { .. }) => Told::Changed,
        Err(JobError::Over { state, .. }) => Told::Over(state),
        Err(other) => unreachable!("{other}"),
    };
    let patch = |value: u64| JobPatch::new().set("value", &value);
    match ask {
        Ask::Read => {
            let seen = jobs.read(&job()).unwrap().unwrap();
            let value = seen.extra.get("value");
            let value = value.map_or(0, |value| value.parse().unwrap());
            Told::Is(seen.state, value, seen.revision)
        }
        Ask::Set(value) => write(jobs.update(&job(), patch(value))),
        Ask::SetIf(value) => write(jobs.update_if(&job(), BEGUN, patch(value))),
        Ask::Complete => write(owner.complete("done")),
        Ask::Fail => write(owner.fail("not done")),
        Ask::Cancel => match jobs.cancel(&job()) {
            Ok(_) => Told::Asked,
            Err(other) => write(Err(other)),
        },
    }
}

/// Three callers of one job, two calls each; some order of the calls that overlap explains every
/// answer:
///
/// ```text
/// one      [complete ....... told: revision 3]  [read ... told: completed]
/// other       [fail ....... told: it is completed]  [file a value ... told: revision 5]
/// third    [cancel .................. told: asked, revision 4, or: it is over]
/// ```
fn history(callers: &'static [&'static [Ask]; 3], fault: Option<JobFault>) -> Verdict {
    let jobs = store(fault);
    let owner = begun(&jobs);
    let history = LinearizabilityTester::new(START);
    record(history, callers, |_, one| ask((&jobs, &owner), one))
}

/// A history by hand: the first call has its answer before the second one is made.
fn written(calls: &[(Ask, Told); 2]) -> Verdict {
    // An explorer wants something to schedule.
    super::commit::both(planbox::sync::point, planbox::sync::point);
    let mut history = LinearizabilityTester::new(START);
    for (caller, (ask, told)) in calls.iter().enumerate() {
        history.on_invoke(caller, *ask).unwrap();
        history.on_return(caller, *told).unwrap();
    }
    check(history.is_consistent(), "not linear", || {
        format!("{history:?}")
    })
}
