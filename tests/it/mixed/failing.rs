//! Four kinds in one plan when something goes wrong, or when there is little to do.

use super::world::{PLAN, World, write};
use crate::support::plan;
use crate::support::scripted::{Scripted, World as Script};
use planbox::error::CommitError;
use planbox::{CommitOutcome, Explain as _, Fault, ParticipantError, PlanState, VersionRegister};
use rusqlite::Connection;
use std::sync::Arc;

struct Four {
    world: World,
    _home: tempfile::TempDir,
    register: VersionRegister<u32>,
}

impl Four {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            world: World::make(home.path()),
            _home: home,
            register: VersionRegister::new("1", 1),
        }
    }
}

#[test]
fn a_commit_makes_all_four_real_and_counts_each_in_its_own_terms() {
    let four = Four::new();
    let manager = four.world.manager();
    four.world
        .open_all(&manager, &four.register, false)
        .change();
    let receipt = manager.commit_all(&plan(PLAN)).unwrap();
    assert_eq!(receipt.outcome(), CommitOutcome::Committed);
    let counts: Vec<(&str, usize)> = receipt
        .resources()
        .iter()
        .map(|one| (one.kind.as_str(), one.changes.entries.len()))
        .collect();
    assert_eq!(
        counts,
        [("dir", 3), ("git", 2), ("sqlite", 4), ("value", 1)]
    );
    let told = receipt.to_string();
    assert!(
        told.contains("table users: 1 row added, 1 modified, 1 removed"),
        "{told}"
    );
    assert!(
        told.contains("branch main: 1 file added, 1 modified, "),
        "{told}"
    );
    let real = four.world.real();
    assert_eq!(real.history, ["the plan", "base"]);
    assert_eq!(real.status, "", "the checked-out work tree moved along");
    assert_eq!(*four.register.snapshot().value().unwrap(), 2);
    manager.settle();
    assert_eq!(four.world.leftovers(), Vec::<String>::new());
}

#[test]
fn when_the_last_participant_fails_the_others_are_as_before() {
    for step in ["seal", "guards", "prepare", "apply"] {
        let four = Four::new();
        let old = four.world.real();
        let manager = four.world.manager();
        four.world
            .open_all(&manager, &four.register, false)
            .change();
        let script = Script::new();
        script.hook(move |now, _| {
            if now == step {
                return Err(ParticipantError::new(Fault::Denied, "planted"));
            }
            Ok(())
        });
        let last = Scripted::new(&script, "zz").volatile();
        manager.open_sandbox(&plan(PLAN), last).unwrap();
        let error = manager.commit_all(&plan(PLAN)).unwrap_err();
        assert_eq!(error.code(), "denied", "{step}: {error}");
        assert!(!error.needs_recovery(), "{step}");
        assert_eq!(four.world.real(), old, "{step}");
        assert_eq!(*four.register.snapshot().value().unwrap(), 1, "{step}");
        let state = manager.status(&plan(PLAN)).unwrap().state;
        assert_eq!(state, PlanState::Open, "{step}: the work is kept");
        script.hook(|_, _| Ok(()));
        manager.commit_all(&plan(PLAN)).unwrap();
        assert_eq!(
            four.world.real().history[0],
            "the plan",
            "{step}: and can still be committed"
        );
        assert_eq!(*four.register.snapshot().value().unwrap(), 2, "{step}");
    }
}

/// One foreign change, and the place where it conflicts.
type Foreign = (&'static str, fn(&World), &'static str);

const FOREIGN: [Foreign; 3] = [
    (
        "dir",
        |world| write(&world.site().join("index.html"), "theirs"),
        "index.html",
    ),
    (
        "git",
        |world| {
            write(&world.repo().join("lib.rs"), "fn theirs() {}\n");
            world.git(&["commit", "-q", "-a", "-m", "theirs"]);
        },
        "lib.rs",
    ),
    (
        "sqlite",
        |world| {
            let db = Connection::open(world.db()).unwrap();
            db.execute("UPDATE users SET score = 9 WHERE id = 2", [])
                .unwrap();
        },
        "users[id=2]",
    ),
];

#[test]
fn a_conflict_in_one_names_both_sides_and_changes_nothing_in_any() {
    for (kind, foreign, place) in FOREIGN {
        let four = Four::new();
        let manager = four.world.manager();
        four.world
            .open_all(&manager, &four.register, false)
            .change();
        foreign(&four.world);
        let before = four.world.real();
        let error = manager.commit_all(&plan(PLAN)).unwrap_err();
        let CommitError::Conflict { conflicts, .. } = &error else {
            panic!("{kind}: {error:?}");
        };
        let found = &conflicts[0];
        assert_eq!(found.resource.as_ref().unwrap().as_str(), kind);
        assert_eq!(found.place, place);
        assert_eq!(four.world.real(), before, "{kind}");
        assert_eq!(*four.register.snapshot().value().unwrap(), 1, "{kind}");
        drop(manager.rollback_all(&plan(PLAN)).unwrap());
        assert_eq!(four.world.real(), before, "{kind}");
        assert_eq!(four.world.leftovers(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn a_conflict_of_the_value_changes_none_of_the_others() {
    let four = Four::new();
    let manager = four.world.manager();
    four.world
        .open_all(&manager, &four.register, false)
        .change();
    let now = four.register.snapshot();
    four.register
        .activate(now.generation(), "9", Arc::new(9))
        .unwrap();
    let before = four.world.real();
    let error = manager.commit_all(&plan(PLAN)).unwrap_err();
    assert_eq!(error.code(), "conflict", "{error}");
    assert_eq!(four.world.real(), before);
    assert_eq!(*four.register.snapshot().value().unwrap(), 9);
}

#[test]
fn what_only_others_changed_is_kept_in_every_kind() {
    let four = Four::new();
    let manager = four.world.manager();
    let views = four.world.open_all(&manager, &four.register, false);
    write(&four.world.site().join("theirs.html"), "theirs");
    write(&four.world.repo().join("README"), "read theirs\n");
    four.world.git(&["commit", "-q", "-a", "-m", "theirs"]);
    Connection::open(four.world.db())
        .unwrap()
        .execute("UPDATE users SET name = 'anna' WHERE id = 1", [])
        .unwrap();
    views.change();
    manager.commit_all(&plan(PLAN)).unwrap();
    let real = four.world.real();
    assert_eq!(real.history, ["the plan", "theirs", "base"]);
    assert_eq!(real.status, "");
    assert!(four.world.site().join("theirs.html").exists());
    let readme = std::fs::read_to_string(four.world.repo().join("README")).unwrap();
    assert_eq!(readme, "read theirs\n");
    let names: String = Connection::open(four.world.db())
        .unwrap()
        .query_row("SELECT group_concat(name) FROM users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(names, "anna,bobby,dan");
}

#[test]
fn nothing_to_do_is_told_for_each_and_for_all() {
    let four = Four::new();
    let manager = four.world.manager();
    let old = four.world.real();
    let views = four.world.open_all(&manager, &four.register, false);
    write(&views.repo.join("added.rs"), "// new\n");
    let receipt = manager.commit_all(&plan(PLAN)).unwrap();
    assert_eq!(receipt.outcome(), CommitOutcome::Committed);
    let applied: Vec<(&str, bool)> = receipt
        .resources()
        .iter()
        .map(|one| (one.kind.as_str(), one.applied))
        .collect();
    let wanted = [
        ("dir", false),
        ("git", true),
        ("sqlite", false),
        ("value", true),
    ];
    assert_eq!(applied, wanted);
    let real = four.world.real();
    assert_eq!((real.site, real.rows), (old.site, old.rows));
    manager.settle();
    assert_eq!(four.world.leftovers(), Vec::<String>::new());
}
