//! The table of exit status, row by row.

use super::*;
use planbox::error::{JournalError, PlanFault};
use planbox::{Fault, Holder, ParticipantError, PlanState, ResourceName};
use std::path::PathBuf;

fn plan() -> PlanId {
    PlanId::new("p").unwrap()
}

fn site() -> ResourceName {
    ResourceName::new("site").unwrap()
}

fn participant(fault: Fault) -> ParticipantError {
    ParticipantError::new(fault, "it could not be done")
}

fn opening(fault: Fault) -> Error {
    let source = Box::new(participant(fault));
    OpenSandboxError::Participant {
        plan: plan(),
        resource: site(),
        stage: Stage::Open,
        source,
    }
    .into()
}

fn refusing(fault: Fault) -> Error {
    let source = Box::new(participant(fault));
    CommitError::Refused {
        plan: plan(),
        resource: site(),
        stage: Stage::Seal,
        source,
    }
    .into()
}

fn locked(source: LockError) -> Error {
    StatusError::Plan(PlanFault::Lock {
        plan: plan(),
        source,
    })
    .into()
}

fn wrong_state(state: PlanState) -> Error {
    CommitError::Plan(PlanFault::WrongState {
        plan: plan(),
        state,
        wanted: "no",
    })
    .into()
}

fn assert_exit(exit: Exit, errors: impl IntoIterator<Item = Error>) {
    for error in errors {
        assert_eq!(Failure::from(error).exit(), exit);
    }
}

#[test]
fn failures_that_change_nothing_are_1() {
    let journal = JournalError::Corrupt {
        path: PathBuf::from("/j"),
        what: "x".to_owned(),
    };
    let source = Box::new(participant(Fault::Denied));
    let (resource, stage) = (site(), Stage::Apply);
    assert_exit(
        Exit::Failed,
        [
            GcError::Journal(journal).into(),
            refusing(Fault::NoSpace),
            refusing(Fault::Refused),
            refusing(Fault::Lost),
            opening(Fault::Unsupported),
            CommitError::TakenBack {
                plan: plan(),
                resource,
                stage,
                source,
            }
            .into(),
        ],
    );
}

#[test]
fn refused_input_is_2() {
    let bad = OpenError::Store {
        path: "/x".into(),
        reason: "a link".into(),
        source: None,
    };
    let (resource, by) = (site(), "/x".to_owned());
    assert_exit(
        Exit::Refused,
        [
            PlanId::new("").unwrap_err().into(),
            bad.into(),
            OpenError::NoHome.into(),
            opening(Fault::Refused),
            Error::Participant(ParticipantError::new(Fault::Refused, "no")),
            StatusError::Plan(PlanFault::Unknown { plan: plan() }).into(),
            OpenSandboxError::NameTaken {
                plan: plan(),
                resource,
                by,
            }
            .into(),
            OpenSandboxError::Overlap {
                plan: plan(),
                resource: site(),
                with: site(),
            }
            .into(),
            wrong_state(PlanState::Aborted),
        ],
    );
}

#[test]
fn conflicts_are_4() {
    let conflict = Conflict::new("a".into(), "x".into(), "y".into(), "z".into());
    let error: Error = CommitError::Conflict {
        plan: plan(),
        conflicts: vec![conflict],
    }
    .into();
    let failure = Failure::from(error);
    assert_eq!(failure.exit(), Exit::Conflict);
    let json = failure.json();
    assert_eq!(
        (&json["outcome"], &json["error"]["code"]),
        (&json!("conflict"), &json!("conflict"))
    );
    assert_eq!(json["error"]["conflicts"][0]["place"], "a");
    assert_exit(Exit::Conflict, [refusing(Fault::Conflict)]);
}

#[test]
fn busy_and_out_of_time_are_5() {
    let key = || "p".to_owned();
    let holder = Holder::new(key(), "run", 7, "main".into(), ("here".into(), 0));
    let busy = LockError::Busy {
        key: key(),
        holder: Some(Box::new(holder)),
    };
    let late = LockError::TimedOut {
        key: key(),
        waited_ms: 9,
        holder: None,
    };
    let failure = Failure::from(locked(busy));
    assert_eq!(failure.exit(), Exit::Busy);
    assert_eq!(
        failure.text(),
        "plan p could not be locked\n  p is held by process 7 on here, busy with run since \
         1970-01-01T00:00:00.000Z\nnext: wait for the holder to finish, or give a longer lock \
         timeout"
    );
    assert_eq!(failure.json()["error"]["retryable"], true);
    assert_exit(
        Exit::Busy,
        [locked(late), refusing(Fault::Busy), opening(Fault::Busy)],
    );
}

#[test]
fn everything_that_may_be_in_between_is_6() {
    let source = || Box::new(participant(Fault::Hazard));
    assert_exit(
        Exit::RecoveryNeeded,
        [
            CommitError::InDoubt {
                plan: plan(),
                resource: None,
                stage: Stage::Decide,
                source: "x".into(),
            }
            .into(),
            CommitError::Hazard {
                plan: plan(),
                resource: site(),
                source: source(),
            }
            .into(),
            RecoverError::Participant {
                plan: plan(),
                resource: site(),
                source: source(),
            }
            .into(),
            wrong_state(PlanState::Committing),
            wrong_state(PlanState::InDoubt),
        ],
    );
}

#[test]
fn a_failed_command_is_7_and_says_how_to_go_on() {
    let failure = Failure::from(command_failed(&plan(), "CMD exited with 3", "cmd-failed"));
    assert_eq!(failure.exit(), Exit::CommandFailed);
    assert!(
        failure.text().contains("next: look with `planbox diff p`"),
        "{}",
        failure.text()
    );
}

#[test]
fn interruptions_are_130() {
    let source = Box::new(participant(Fault::Interrupted));
    let (resource, stage) = (site(), Stage::Discard);
    let error = RollbackError::Participant {
        plan: plan(),
        resource,
        stage,
        source,
    };
    assert_exit(
        Exit::Interrupted,
        [opening(Fault::Interrupted), error.into()],
    );
    assert_eq!(interrupted(None).exit(), Exit::Interrupted);
}

#[test]
fn an_error_in_json_has_every_field() {
    let json = Failure::from(opening(Fault::Refused)).json();
    let fields = [
        "code",
        "message",
        "plan",
        "resource",
        "path",
        "stage",
        "next",
        "retryable",
    ];
    for field in fields {
        assert!(
            json["error"].get(field).is_some(),
            "{field} is missing in {json}"
        );
    }
    assert_eq!(json["outcome"], "refused");
    assert_eq!(
        (&json["plan"], &json["resources"]),
        (&json!("p"), &json!([]))
    );
    assert_eq!(
        json["error"]["message"], "plan p: site could not be opened: it could not be done",
        "a transparent wrapper is not repeated"
    );
}
