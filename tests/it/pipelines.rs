//! The example with two pipelines over one store of jobs: it tells its story, and it loses nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What the example says when nothing went wrong.
const WELL: &str = "0 lost, torn or stuck";

/// The newest change below `path`.
fn newest(path: &Path) -> SystemTime {
    let below = std::fs::read_dir(path).into_iter().flatten();
    let below = below.map(|entry| newest(&entry.unwrap().path())).max();
    let own = std::fs::metadata(path).unwrap().modified().unwrap();
    below.map_or(own, |below| below.max(own))
}

/// The example, built. `cargo test` has built it; `cargo test --test it` has not.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let built = profile.join("examples/pipelines");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["docs/examples/pipelines", "src"].map(|dir| newest(&top.join(dir)));
    let at = std::fs::metadata(&built).and_then(|built| built.modified());
    if at.is_ok_and(|at| sources.iter().all(|source| at >= *source)) {
        return built;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(top)
        .args(["build", "--quiet", "--locked"]);
    cargo.args(["--example", "pipelines", "--target-dir"]);
    cargo.arg(profile.parent().unwrap());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(
        cargo.status().unwrap().success(),
        "the example is not built"
    );
    built
}

/// Runs the example; what it said.
fn run(arguments: &[&str]) -> String {
    let output = Command::new(example()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}{complained}");
    assert!(output.status.success(), "{said}{complained}");
    said
}

/// The number in front of `word`.
fn number(said: &str, word: &str) -> u64 {
    let before = said.split(word).next().unwrap().trim_end();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_story_has_both_pipelines_a_cancel_and_a_retry() {
    let said = run(&[]);
    for part in [
        "short-1    completed 100 %, attempt 1, 3 clips",
        "restyle-1  completed 100 %, attempt 1",
        "short-2: pick: the input is damaged",
        "short-2    completed 100 %, attempt 2, 3 clips",
        "every artefact is what its input says it must be",
    ] {
        assert!(said.contains(part), "{part}");
    }
}

#[test]
fn jobs_that_are_cancelled_and_retried_while_they_run_end_once_and_whole() {
    let said = run(&["--load", "40"]);
    assert!(said.contains(&format!("; {WELL}")), "{said}");
    // The control: the same threads on a plain file lose jobs, renamed or not.
    let control = said.split("a plain JSON file").skip(1);
    let lost = control.map(|text| number(text, "lost,") + number(text, "stuck,"));
    assert!(lost.clone().count() == 2 && lost.min() > Some(0), "{said}");
}

#[test]
fn a_server_killed_again_and_again_loses_nothing_and_a_zombie_is_refused() {
    let said = run(&["--torture", "4"]);
    assert!(said.contains(&format!("; {WELL}")), "{said}");
    assert!(number(&said, "attempts: ") > 0, "nothing was interrupted");
    assert!(said.contains("attempt 1 may not write any more"), "{said}");
    assert!(
        number(&said, "jobs are stuck") > 0,
        "the control lost nothing"
    );
}
