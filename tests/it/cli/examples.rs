//! The examples are run, so that they cannot rot.

use super::{Ended, Home, ended};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "../../../docs/examples/four_kinds.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod four_kinds;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/examples")
        .join(name)
}

/// Runs a script of the examples with the planbox under test.
fn run(home: &Home, name: &str) -> Ended {
    let mut sh = Command::new("sh");
    let output = sh
        .arg(script(name))
        .env("PLANBOX_BIN", env!("CARGO_BIN_EXE_planbox"))
        .env("TMPDIR", home.path("."))
        .stdin(Stdio::null())
        .output();
    ended(&output.unwrap())
}

/// The parts of `text` that must follow each other in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part:?} is not there, or not in its place: {text}")
        };
        rest = after;
    }
}

fn nothing_is_left(home: &Home) {
    assert_eq!(std::fs::read_dir(home.path(".")).unwrap().count(), 0);
}

#[test]
fn the_quick_start_does_what_it_says() {
    let home = Home::new();
    let ended = run(&home, "quickstart.sh");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = [
        "exit status 7",
        "committed plan rename",
        "exit status 4",
        "by a person",
        "decided",
    ];
    assert_in_order(&ended.stdout, &told);
    nothing_is_left(&home);
}

#[test]
fn a_directory_a_branch_and_a_database_do_what_the_script_says() {
    let home = Home::new();
    let ended = run(&home, "mixed.sh");
    if ended.stderr.contains("mixed.sh needs ") {
        drop(writeln!(std::io::stderr(), "not run: {}", ended.stderr));
        return;
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = [
        "committed plan release-2",
        "site:  We are at version 2.",
        "app:   Version 2, by Ada Example, version 2",
        "data:  1=1, 2=2",
        "table released: 1 row added",
        "data: released[id=3]: the plan started from",
        "exit status 4",
        "site:  We are at version 2.",
        "app:   Version 2, by Ada Example, version 2",
        "data:  1=1, 2=2, 3=3-beta",
        "rolled back plan release-3, 3 sandboxes removed",
        "decided  commit, 3 resources",
    ];
    assert_in_order(&ended.stdout, &told);
    nothing_is_left(&home);
}

#[test]
fn a_script_says_which_tool_it_misses() {
    let home = Home::new();
    home.real("bin", &[]);
    let found = Command::new("sh")
        .args(["-c", "command -v dirname"])
        .output()
        .unwrap();
    let dirname = String::from_utf8(found.stdout).unwrap();
    std::os::unix::fs::symlink(dirname.trim_end(), home.path("bin/dirname")).unwrap();
    let mut sh = Command::new("/bin/sh");
    let output = sh
        .arg(script("mixed.sh"))
        .env("PATH", home.path("bin"))
        .output();
    let ended = ended(&output.unwrap());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.starts_with("mixed.sh needs git on the PATH"),
        "{ended:?}"
    );
}

#[test]
fn four_kinds_are_committed_refused_taken_back_and_given_up() {
    let mut out = Vec::new();
    four_kinds::run(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let told = [
        "committed",
        "conflict: ",
        "All four are exactly as before",
        "the server answered 503",
        "All four are exactly as before",
        "rolled back, 5 sandboxes removed",
        "All four are exactly as before",
    ];
    assert_in_order(&text, &told);
}
