//! Several processes and one plan.

use super::{Home, ended, make_pipe, read};
use serde_json::json;
use std::process::Stdio;

#[test]
fn opened_in_one_looked_at_in_a_second_committed_in_a_third() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old"), ("kept", "as it is")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    assert_eq!(home.run(&["diff", "p", "--exit-code"]).code, Some(3));
    std::fs::write(real.join("other"), "by somebody else").unwrap();
    assert_eq!(home.json(0, &["commit", "p"])["outcome"], "committed");
    assert_eq!(read(real.join("f")), "new");
    assert_eq!(read(real.join("other")), "by somebody else");
}

#[test]
fn a_child_that_stays_behind_does_not_keep_the_plan() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let pipe = home.path("pipe");
    make_pipe(&pipe);
    let script = "printf new >f; cat \"$0\" >/dev/null 2>&1 & exit 1";
    let pipe_text = pipe.to_str().unwrap();
    let real_text = real.to_str().unwrap();
    let arguments = [
        "run", "p", "--dir", real_text, "--", "sh", "-c", script, pipe_text,
    ];
    assert_eq!(home.run(&arguments).code, Some(7));
    // The child waits for somebody to write into the pipe, so it is alive now.
    assert_eq!(
        home.json(0, &["commit", "p", "--lock-timeout", "0"])["outcome"],
        "committed"
    );
    assert_eq!(read(real.join("f")), "new");
    drop(std::fs::File::options().write(true).open(&pipe).unwrap());
}

#[test]
fn of_many_commits_at_once_one_commits_and_all_have_one_receipt() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = home.command(&["commit", "p", "--json"]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let receipts: Vec<_> = children
        .into_iter()
        .map(|child| {
            let ended = ended(&child.wait_with_output().unwrap());
            assert_eq!(ended.code, Some(0), "{ended:?}");
            ended.json()
        })
        .collect();
    let first = receipts
        .iter()
        .filter(|receipt| receipt["outcome"] == "committed")
        .count();
    let later = receipts
        .iter()
        .filter(|receipt| receipt["outcome"] == "already-committed")
        .count();
    assert_eq!((first, later), (1, 3));
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt["resources"] == receipts[0]["resources"])
    );
}

#[test]
fn what_a_killed_commit_left_is_finished_or_undone_by_the_next_command() {
    let home = Home::new();
    for point in [
        "commit.prepared",
        "commit.decided",
        "apply.between",
        "commit.applied",
    ] {
        let real = home.real(point, &[("a", "old"), ("b", "old")]);
        let view = home.open(point, &real);
        std::fs::write(view.join("a"), "new").unwrap();
        std::fs::write(view.join("b"), "new").unwrap();
        let mut commit = home.command(&["commit", point]);
        let killed = commit.env("PLANBOX_CRASH_AT", point).output().unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {killed:?}");
        let recovered = home.json(0, &["recover", point]);
        let both = (read(real.join("a")), read(real.join("b")));
        let expected = if point == "commit.prepared" {
            "old"
        } else {
            "new"
        };
        assert_eq!(
            both,
            (expected.into(), expected.into()),
            "{point}: {recovered}"
        );
        assert_eq!(
            home.json(0, &["recover"])["outcome"],
            "nothing-to-do",
            "{point}"
        );
        let last = home.json(0, &["commit", point]);
        let already = point != "commit.prepared";
        let outcome = if already {
            "already-committed"
        } else {
            "committed"
        };
        assert_eq!(last["outcome"], json!(outcome), "{point}");
    }
}

#[test]
fn a_recovery_at_open_is_told_unless_it_is_to_be_quiet() {
    for (option, told) in [("--yes", true), ("-q", false)] {
        let home = Home::new();
        let real = home.real("real", &[("a", "old")]);
        let view = home.open("p", &real);
        std::fs::write(view.join("a"), "new").unwrap();
        let mut commit = home.command(&["commit", "p"]);
        let killed = commit
            .env("PLANBOX_CRASH_AT", "commit.decided")
            .output()
            .unwrap();
        assert_eq!(killed.status.code(), None);
        let doctor = home.json(3, &["doctor"]);
        let what = doctor["findings"].to_string();
        assert!(
            what.contains("planbox recover p"),
            "doctor looks at it as it is: {what}"
        );
        let status = home.ok(&["status", option]);
        assert_eq!(
            status
                .stderr
                .contains("plan p: a commit that had been cut short was finished"),
            told,
            "{status:?}"
        );
        assert_eq!(read(real.join("a")), "new");
    }
}

#[test]
fn the_command_inherits_no_descriptor_of_ours() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    home.open("p", &real);
    let listed = home
        .ok(&[
            "exec",
            "p",
            "--",
            "sh",
            "-c",
            "readlink /proc/$$/fd/*; true",
        ])
        .stdout;
    let store = home.store();
    let ours = listed
        .lines()
        .filter(|link| link.starts_with(store.to_str().unwrap()));
    assert_eq!(ours.count(), 0, "{listed}");
}
