//! Generated stories on every kind of participant, compared step by step with a plain model.
//!
//! One generated story is played on each kind alone, and then on a plan over all of them. A story
//! that fails is shrunk, its seed is kept in `regressions.txt` (which is committed, and played first
//! from then on), and the seed of the whole run is printed.
//!
//! `PLANBOX_CASES=5000 cargo test --test it model::` plays more stories; `PLANBOX_SEED=...` the same
//! ones again.

mod commits;
mod ops;
mod plain;
mod planted;
mod sequential;
mod struck;
mod thing;
mod together;
mod world;

use crate::conformance::{
    Defect, Shelf, checked_out, directory, git, settings, shelf, sqlite, value,
};
use crate::support::seeds;
use ops::{Op, PLANS, story, story_of_faults};
use planbox::conformance::{Subject, Tried};
use proptest::strategy::Strategy;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};
use std::cell::Cell;
use std::path::Path;
use thing::Cast;
use world::World;

/// Stories in an ordinary run.
const CASES: u64 = 16;

/// Stories with faults in an ordinary run.
const FAULTY_CASES: u64 = 8;

/// A long run tells how far it is after so many.
const TELL: u64 = 25;

/// Where the seeds of failed stories are kept.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/model/regressions.txt"
);

/// The same for stories in which the disk fails.
const FAULTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/model/faulty.txt");

/// Every kind.
static CASTS: [Cast<'static>; 7] = [
    Cast {
        name: "directory",
        make: &directory,
    },
    Cast {
        name: "value",
        make: &value,
    },
    Cast {
        name: "git",
        make: &git,
    },
    Cast {
        name: "git, checked out",
        make: &checked_out,
    },
    Cast {
        name: "sqlite",
        make: &sqlite,
    },
    Cast {
        name: "settings",
        make: &settings,
    },
    Cast {
        name: "shelf",
        make: &shelf,
    },
];

/// How many steps met a fault.
fn play(story: &[Op], casts: &[&Cast<'_>]) -> Result<u64, String> {
    let mut world = World::new(casts, PLANS)?;
    for (number, op) in story.iter().enumerate() {
        let played = world.play(*op);
        played.map_err(|what| format!("step {number}, {op:?}: {what}"))?;
    }
    world.end().map_err(|what| format!("at the end: {what}"))?;
    Ok(world.struck)
}

/// The story on each kind alone, and on all of them in one plan.
fn play_on_all(story: &[Op]) -> Result<u64, TestCaseError> {
    let mut struck = 0;
    let alone = CASTS.iter().map(|cast| vec![cast]);
    let together = std::iter::once(CASTS.iter().collect());
    for casts in alone.chain(together) {
        struck += play(story, &casts).map_err(|what| {
            let names: Vec<_> = casts.iter().map(|cast| cast.name).collect();
            TestCaseError::fail(format!("{}: {what}", names.join(" + ")))
        })?;
    }
    Ok(struck)
}

fn seed(number: u64) -> TestRng {
    let seed = blake3::hash(&number.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, seed.as_bytes())
}

#[test]
fn every_kind_does_what_the_model_says() {
    play_many(&story(), REGRESSIONS, CASES);
}

#[test]
fn every_kind_survives_a_disk_that_fails() {
    let struck = play_many(&story_of_faults(), FAULTY, FAULTY_CASES);
    assert!(struck > 0, "no step met a fault");
}

/// Plays so many stories on every kind; how many steps met a fault.
fn play_many(
    stories: &impl Strategy<Value = Vec<Op>>,
    regressions: &'static str,
    cases: u64,
) -> u64 {
    let (number, cases) = seeds::of_this_run(cases);
    let (struck, played) = (Cell::new(0), Cell::new(0_u64));
    let persistence = FileFailurePersistence::Direct(regressions);
    let config = Config {
        cases: cases.try_into().unwrap(),
        failure_persistence: Some(Box::new(persistence)),
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, seed(number));
    let outcome = runner.run(stories, |story| {
        struck.set(struck.get() + play_on_all(&story)?);
        played.set(played.get() + 1);
        if played.get().is_multiple_of(TELL) {
            println!(
                "{} stories, {} steps met a fault",
                played.get(),
                struck.get()
            );
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("PLANBOX_SEED={number} plays it again.\n{error}");
    }
    println!("{} steps met a fault", struck.get());
    struck.get()
}

/// The negative control: the stories reach what they are about, and the model notices. Defects that
/// show only while something is settled in the background are left to the suite.
#[test]
fn the_model_notices_a_broken_participant() {
    for defect in [
        Defect::PrepareWrites,
        Defect::DiffIsBlind,
        Defect::SealDoesNotFreeze,
        Defect::NeverReadOnly,
        Defect::OverlooksConflicts,
        Defect::WritesEverything,
        Defect::AppliesTooMuch,
        Defect::DropDeletesWork,
        Defect::DiscardLeavesLitter,
        Defect::TakeBackDoesNothing,
    ] {
        let make = move |_: &Path| -> Tried<Box<dyn Subject>> {
            Ok(Box::new(Shelf::new(Some(defect), false)))
        };
        let cast = Cast {
            name: "broken",
            make: &make,
        };
        let config = Config {
            cases: 400,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, seed(1));
        let outcome = runner.run(&story(), |story| {
            let played = play(&story, &[&cast]);
            played.map(drop).map_err(TestCaseError::fail)
        });
        assert!(outcome.is_err(), "{defect:?} was not noticed");
    }
}
