//! Power cuts: at every call that changes something, with everything lost that nobody flushed.
//!
//! Planbox runs over a recorded file system (`planbox::faults`). At the chosen call the power goes:
//! that call does not happen, nor does anything after it. Then what was not flushed is undone, in
//! four ways from "all of it" to "any of it"; content that was not flushed is cut off; the journal
//! is as of its last flush, or has a part of what was written lazily. The next process recovers, and
//! both directories must be old or both new.
//!
//! `PLANBOX_CASES=5000 cargo test --test it power::` plays more; `PLANBOX_SEED=...` the same again.

mod bench;

use crate::support::seeds::{self, Dice};
use bench::{Bench, Cut, Fate, Task};
use planbox::faults::Loss;
use std::fmt::Write as _;

/// Cuts in an ordinary run, beside those that are tried one by one.
const CASES: u64 = 150;

/// Every so many-th call is cut one by one; `PLANBOX_CUTS=full` cuts all.
const STRIDE: u64 = 9;

/// Seeds that failed once: they are played first.
const REGRESSIONS: &str = include_str!("regressions.txt");

fn any_cut(seed: u64) -> Cut {
    let mut dice = Dice::new(seed);
    let task = *dice.pick(&Task::ALL);
    Cut {
        task,
        at: 1 + dice.below(task.most_calls()),
        again: (dice.below(3) == 0).then(|| 1 + dice.below(60)),
        whole: dice.below(2) == 0,
        loss: *dice.pick(&Loss::ALL),
        seed: dice.roll(),
    }
}

fn play(cut: &Cut) -> Result<Fate, String> {
    Bench::new(cut)
        .play(cut)
        .map_err(|what| format!("{cut:?}: {what}"))
}

#[test]
fn a_commit_cut_at_any_call_is_all_old_or_all_new() {
    let full = std::env::var("PLANBOX_CUTS").is_ok_and(|wish| wish == "full");
    let stride = if full { 1 } else { STRIDE };
    let (mut old, mut new, mut wrong) = (0, 0, Vec::new());
    let ways = Loss::ALL
        .iter()
        .flat_map(|loss| [(*loss, true), (*loss, false)]);
    for (number, (loss, whole)) in (0..).zip(ways) {
        // Each way begins at another call, so that together they see all of them.
        let mut at = 1 + number % stride;
        loop {
            let cut = Cut {
                task: Task::Commit,
                at,
                again: None,
                whole,
                loss,
                seed: at,
            };
            match play(&cut) {
                Ok(fate) if !fate.struck => break,
                Ok(fate) if fate.is_new => new += 1,
                Ok(_) => old += 1,
                Err(what) => wrong.push(what),
            }
            at += stride;
        }
    }
    println!("{} cuts: {old} old, {new} new", old + new);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(old > 0 && new > 0, "both ends are reached");
}

#[test]
fn a_power_cut_anywhere_is_recovered_from() {
    for line in REGRESSIONS.lines().filter(|line| !line.starts_with('#')) {
        let seed = line.split_whitespace().next().unwrap();
        play(&any_cut(seed.parse().unwrap())).unwrap();
    }
    let (first, cases) = seeds::of_this_run(CASES);
    for number in 0..cases {
        let seed = first.wrapping_add(number);
        if let Err(what) = play(&any_cut(seed)) {
            panic!("PLANBOX_SEED={seed} PLANBOX_CASES=1 plays it again.\n{what}");
        }
    }
}

/// What a control takes out.
type Without = fn(&mut Bench);

/// The flushes that a commit stands on, by what they flush, and the decision itself.
const CONTROLS: [(&str, bool, Without); 6] = [
    ("the flush of what is staged", false, |bench| {
        bench.faults.without_flush("/staging");
    }),
    ("the flush of the redo", false, |bench| {
        bench.faults.without_flush(".planbox-tmp-");
    }),
    ("the flush of the names of the redo", false, |bench| {
        bench.faults.without_flush("/plans/");
    }),
    ("the flush of the real directory", false, |bench| {
        bench.faults.without_flush("/A");
    }),
    ("the one flush of all", true, |bench| {
        bench.faults.without_flush("/plans/");
    }),
    ("the decision", true, |bench| bench.undecided = true),
];

/// The negative control: without one of its flushes a commit does not survive every cut.
#[test]
fn a_commit_control_without_a_flush_is_left_mixed_or_torn() {
    let mut told = String::new();
    for (what, whole, without) in CONTROLS {
        let found = (0..CASES).find_map(|number| {
            let cut = Cut {
                task: Task::Commit,
                whole,
                again: None,
                ..any_cut(number)
            };
            let mut bench = Bench::new(&cut);
            without(&mut bench);
            bench.play(&cut).err().map(|why| (number, why, cut))
        });
        let (number, why, cut) = found.unwrap_or_else(|| panic!("{what} is not missed"));
        // With it, the same cut is survived.
        play(&cut).unwrap();
        let why: String = why.chars().take(150).collect();
        writeln!(told, "{what}: missed after {number} cuts: {why}").unwrap();
    }
    println!("{told}");
}
