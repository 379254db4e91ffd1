//! The marker resource: a participant whose own commit decides for the whole plan.

use crate::support::plan;
use crate::support::scripted::{Scripted, ScriptedKind, World};
use planbox::error::OpenSandboxError;
use planbox::{
    CommitOptions, Explain as _, Fault, ParticipantError, PlanState, SandboxManager, Stage,
};
use std::sync::{Arc, Mutex};

/// A world with two numbers, `a` and `z`, and a marker called `m`, all in one plan.
struct Trio {
    world: Arc<World>,
    home: tempfile::TempDir,
}

impl Trio {
    fn new() -> Self {
        Self {
            world: World::new(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn manager(&self) -> SandboxManager {
        SandboxManager::builder()
            .kind(Arc::new(ScriptedKind(Arc::clone(&self.world))))
            .store(self.home.path().join("store"))
            .open()
            .unwrap()
    }

    fn opened(&self) -> SandboxManager {
        let manager = self.manager();
        for id in ["a", "z"] {
            let number = Scripted::new(&self.world, id);
            manager.open_sandbox(&plan("p"), number).unwrap();
        }
        let marker = Scripted::new(&self.world, "m").marker();
        manager.open_sandbox(&plan("p"), marker).unwrap();
        manager
    }

    fn now(&self) -> [u64; 3] {
        ["a", "m", "z"].map(|id| self.world.real(id))
    }

    /// `step` of `id` fails with `fault` from now on.
    fn fails(&self, step: &'static str, id: &'static str, fault: Fault) {
        self.world.hook(move |now, who| match (now, who) {
            (now, who) if now == step && who == id => Err(ParticipantError::new(fault, "planted")),
            _ => Ok(()),
        });
    }

    /// The marker's commit and then its probe fail: nobody knows.
    fn loses_the_answer(&self, at: &'static str) {
        self.world.hook(move |step, _| {
            if step == at || step == "probe" {
                return Err(ParticipantError::new(Fault::Io, "the connection is gone"));
            }
            Ok(())
        });
    }

    fn heals(&self) {
        self.world.hook(|_, _| Ok(()));
    }
}

#[test]
fn the_marker_commits_after_all_have_prepared_and_before_any_applies() {
    let trio = Trio::new();
    let manager = trio.opened();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    trio.world.hook(move |step, id| {
        if ["prepare", "commit", "apply", "take_back"].contains(&step) {
            seen.lock().unwrap().push(format!("{step} {id}"));
        }
        Ok(())
    });
    let receipt = manager.commit_all(&plan("p")).unwrap();
    let mut steps = steps.lock().unwrap().clone();
    steps[..3].sort();
    steps[4..].sort();
    let wanted = [
        "prepare a",
        "prepare m",
        "prepare z",
        "commit m",
        "apply a",
        "apply z",
    ];
    assert_eq!(steps, wanted);
    assert_eq!(trio.now(), [1, 1, 1]);
    assert_eq!(receipt.resources().len(), 3);
    assert!(manager.commit_all(&plan("p")).unwrap().is_repeat());
}

#[test]
fn a_marker_that_refuses_leaves_everything_old_and_the_plan_open() {
    let trio = Trio::new();
    let manager = trio.opened();
    trio.fails("commit", "m", Fault::Refused);
    let error = manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(error.code(), "refused", "{error}");
    assert_eq!(error.stage(), Some(Stage::Decide));
    assert!(!error.needs_recovery());
    assert_eq!(trio.now(), [0, 0, 0]);
    assert_eq!(trio.world.count("apply"), 0);
    let status = manager.status(&plan("p")).unwrap();
    assert_eq!(status.state, PlanState::Open);
    drop(manager);
    trio.heals();
    let manager = trio.manager();
    assert_eq!(
        manager.status(&plan("p")).unwrap().state,
        PlanState::Open,
        "the note that the marker is asked is gone from the journal"
    );
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!(trio.now(), [1, 1, 1]);
}

#[test]
fn a_marker_that_committed_but_could_not_say_so_has_decided() {
    let trio = Trio::new();
    let manager = trio.opened();
    trio.fails("committed", "m", Fault::Io);
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!(trio.now(), [1, 1, 1]);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_by_the_next_process() {
    for (at, committed) in [("commit", false), ("committed", true)] {
        let trio = Trio::new();
        let manager = trio.opened();
        trio.loses_the_answer(at);
        let error = manager.commit_all(&plan("p")).unwrap_err();
        assert_eq!(error.code(), "in-doubt", "{error}");
        assert!(error.needs_recovery());
        assert_eq!(
            trio.world.count("apply"),
            0,
            "nothing goes before the answer"
        );
        drop(manager);
        trio.heals();
        let manager = trio.manager();
        let (state, real) = if committed {
            (PlanState::Done, [1, 1, 1])
        } else {
            (PlanState::Open, [0, 0, 0])
        };
        assert_eq!(manager.status(&plan("p")).unwrap().state, state, "{at}");
        assert_eq!(trio.now(), real, "{at}");
        manager.commit_all(&plan("p")).unwrap();
        assert_eq!(trio.now(), [1, 1, 1], "{at}");
    }
}

#[test]
fn an_answer_that_is_lost_is_asked_for_by_recover_in_the_same_process() {
    for (at, real) in [("commit", [0, 0, 0]), ("committed", [1, 1, 1])] {
        let trio = Trio::new();
        let manager = trio.opened();
        trio.loses_the_answer(at);
        manager.commit_all(&plan("p")).unwrap_err();
        let error = manager.recover_plan(&plan("p")).unwrap_err();
        assert_eq!(error.code(), "io", "still nobody knows: {error}");
        trio.heals();
        manager.recover_plan(&plan("p")).unwrap();
        assert_eq!(trio.now(), real, "{at}");
    }
}

#[test]
fn once_the_marker_has_committed_nothing_is_taken_back() {
    let trio = Trio::new();
    let manager = trio.opened();
    trio.fails("apply", "z", Fault::Denied);
    let error = manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(error.code(), "in-doubt", "{error}");
    assert_eq!(trio.world.count("take_back"), 0);
    assert_eq!(trio.now(), [1, 1, 0], "said so: recovery is needed");
    manager.recover_plan(&plan("p")).unwrap_err();
    trio.heals();
    drop(manager);
    let manager = trio.manager();
    assert_eq!(trio.now(), [1, 1, 1]);
    assert_eq!(manager.status(&plan("p")).unwrap().state, PlanState::Done);
}

#[test]
fn a_foreign_change_after_the_marker_is_a_hazard_and_is_kept() {
    let trio = Trio::new();
    let manager = trio.opened();
    let world = Arc::clone(&trio.world);
    trio.world.hook(move |step, _| {
        if step == "committed" {
            world.set_real("z", 70);
        }
        Ok(())
    });
    let error = manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(error.code(), "hazard", "{error}");
    assert_eq!(trio.now(), [1, 1, 70]);
    trio.world.set_real("z", 0);
    manager.recover_plan(&plan("p")).unwrap();
    assert_eq!(trio.now(), [1, 1, 1]);
}

#[test]
fn a_second_marker_is_refused_when_it_is_opened() {
    let trio = Trio::new();
    let manager = trio.opened();
    let second = Scripted::new(&trio.world, "n").marker();
    let error = manager.open_sandbox(&plan("p"), second).unwrap_err();
    assert!(
        matches!(&error, OpenSandboxError::SecondMarker { with, .. } if with.as_str() == "m"),
        "{error:?}"
    );
    assert_eq!(error.code(), "second-marker");
    assert_eq!(
        trio.world.count("discard"),
        1,
        "what was made for it is gone"
    );
    let names: Vec<_> = manager
        .status(&plan("p"))
        .unwrap()
        .sandboxes
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["a", "m", "z"]);
    let voter = Scripted::new(&trio.world, "n");
    manager.open_sandbox(&plan("p"), voter).unwrap();
    manager.commit_all(&plan("p")).unwrap();
}

#[test]
fn a_check_and_a_conflict_elsewhere_ask_no_marker_and_let_it_go() {
    let trio = Trio::new();
    let manager = trio.opened();
    assert!(manager.check(&plan("p")).unwrap().conflicts.is_empty());
    assert_eq!(trio.world.count("commit"), 0);
    assert_eq!(trio.world.count("stand_down"), 3);
    trio.world.set_real("a", 9);
    let error = manager
        .commit_all_with(&plan("p"), &CommitOptions::default())
        .unwrap_err();
    assert_eq!(error.code(), "conflict", "{error}");
    assert_eq!(trio.world.count("commit"), 0);
    assert_eq!(trio.world.count("stand_down"), 6);
    assert_eq!(trio.now(), [9, 0, 0]);
}

#[test]
fn a_marker_that_refuses_lets_the_others_of_a_sealed_plan_go_and_keeps_the_seal() {
    let trio = Trio::new();
    let manager = trio.opened();
    manager.seal(&plan("p")).unwrap();
    let unsealed = trio.world.count("unseal");
    trio.fails("commit", "m", Fault::Refused);
    manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(trio.world.count("stand_down"), 3);
    assert_eq!(trio.world.count("unseal"), unsealed);
    let status = manager.status(&plan("p")).unwrap();
    assert_eq!(status.state, PlanState::Sealed);
    trio.heals();
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!(trio.now(), [1, 1, 1]);
}
