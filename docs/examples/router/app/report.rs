//! The table that the load script prints.

use super::load::{Counted, Size};
use super::pace;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prints both routers side by side, as Markdown.
pub(crate) fn print(size: &Size, ours: &Counted, broken: &Counted) {
    let row = |what: &str, read: &dyn Fn(&Counted) -> String| {
        println!("| {what} | {} | {} |", read(ours), read(broken));
    };
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
    println!(
        "| {} clients, two routers, {}, {} | planbox | as reported |",
        size.clients,
        match size.rate {
            0 => "as fast as they can".to_owned(),
            rate => format!("{rate} requests a second"),
        },
        match size.every.as_millis() {
            0 => "an activation after the other".to_owned(),
            every => format!("an activation every {every} ms"),
        }
    );
    println!("|---|---|---|");
    row("answers", &|c| count(&c.answers));
    row("answers held up across an activation", &|c| count(&c.held));
    row("**answers that mix two models**", &|c| count(&c.mixed));
    row("those that were not held up", &|c| {
        count(&c.mixed_by_chance)
    });
    row("requests that failed", &|c| count(&c.failed));
    row("activations", &|c| count(&c.activations));
    row("activations refused, another was faster", &|c| {
        count(&c.refused)
    });
    for percent in [50, 99] {
        row(
            &format!("milliseconds between activations, p{percent}"),
            &|c| pace::shown(c.gaps.percentile(percent)),
        );
    }
    row("answers per second", &|c| {
        let answers = u128::from(c.answers.load(Ordering::Relaxed));
        (answers * 1_000 / c.took.as_millis().max(1)).to_string()
    });
    println!();
    println!(
        "| rounds: what went wrong | rounds | planbox: new version | **apart** | as reported: new version | **apart** |"
    );
    println!("|---|---|---|---|---|---|");
    for (index, (name, [rounds, new, apart])) in &ours.rounds.kinds {
        let theirs = broken.rounds.kinds.get(index);
        let [_, their_new, their_apart] = theirs.map_or([0; 3], |(_, counts)| *counts);
        println!("| {name} | {rounds} | {new} | {apart} | {their_new} | {their_apart} |");
    }
}
