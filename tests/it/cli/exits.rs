//! Each exit status, produced once by real means.

use super::{Home, make_pipe, read};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The error object of a failure, after checking that nothing is missing in it.
fn error(json: &Value) -> &Value {
    let error = &json["error"];
    for field in [
        "code",
        "message",
        "plan",
        "resource",
        "path",
        "stage",
        "next",
        "retryable",
    ] {
        assert!(error.get(field).is_some(), "{field} is missing in {json}");
    }
    assert!(!error["next"].as_str().unwrap().is_empty());
    error
}

#[test]
fn status_0_also_for_nothing_to_do() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    home.open("p", &real);
    assert_eq!(home.json(0, &["commit", "p"])["outcome"], "nothing-to-do");
    assert_eq!(home.json(0, &["commit", "p"])["outcome"], "nothing-to-do");
}

#[test]
fn status_1_when_the_sandbox_holds_what_cannot_be_committed() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    make_pipe(&view.join("pipe"));
    std::fs::write(view.join("f"), "new").unwrap();
    let json = home.json(1, &["commit", "p"]);
    assert_eq!(error(&json)["code"], "refused");
    assert_eq!(
        (&json["outcome"], &error(&json)["resource"]),
        (&json!("failed"), &json!("dir"))
    );
    assert_eq!(read(real.join("f")), "old");
    std::fs::remove_file(view.join("pipe")).unwrap();
    home.ok(&["commit", "p"]);
    assert_eq!(read(real.join("f")), "new");
}

#[test]
fn status_2_for_refused_input() {
    let home = Home::new();
    home.real("real/inner", &[]);
    home.real("other", &[]);
    let long = "x".repeat(201);
    let cases: &[(&[&str], &str)] = &[
        (&["commit", "none"], "unknown-plan"),
        (&["commit", &long], "bad-id"),
        (&["commit", ""], "bad-id"),
        (&["open", "p", "--dir", "missing"], "refused"),
        (
            &["open", "p", "--dir", "real", "--dir", "real/inner"],
            "overlap",
        ),
        (
            &["open", "p", "--dir", "n=real", "--dir", "n=other"],
            "name-taken",
        ),
        (
            &[
                "run",
                "p",
                "--dir",
                "a-b=real",
                "--dir",
                "a.b=other",
                "--",
                "true",
            ],
            "name-clash",
        ),
        (&["run", "--", "true"], "usage"),
        (&["run", "none", "--", "true"], "unknown-plan"),
        (&["open", "p"], "usage"),
        (&["--store", "/dev/null", "status"], "bad-store"),
        (&["nonsense"], "usage"),
        (&["status", "--lock-timeout", "soon"], "usage"),
    ];
    for (arguments, code) in cases {
        let json = home.json(2, arguments);
        assert_eq!(
            (&json["outcome"], &error(&json)["code"]),
            (&json!("refused"), &json!(code))
        );
        let text = home.run(arguments);
        assert_eq!(
            (text.code, text.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(!text.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(
        home.json(0, &["status"])["plans"],
        json!([]),
        "refused before any write"
    );
}

#[test]
fn status_3_for_findings_of_the_doctor() {
    let home = Home::new();
    home.ok(&["status"]);
    std::fs::create_dir_all(home.store().join("plans/stray")).unwrap();
    let json = home.json(3, &["doctor"]);
    assert_eq!(json["outcome"], "findings");
    let text = home.run(&["doctor"]);
    assert!(
        text.stdout.contains("problem: ") && text.stdout.contains("  fix: "),
        "{text:?}"
    );
}

#[test]
fn status_4_for_a_conflict_that_names_both_sides() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "ours").unwrap();
    std::fs::write(real.join("f"), "theirs").unwrap();
    for arguments in [&["commit", "p", "--dry-run"][..], &["commit", "p"]] {
        let json = home.json(4, arguments);
        assert_eq!(
            (&json["outcome"], &error(&json)["code"]),
            (&json!("conflict"), &json!("conflict"))
        );
        let conflict = &json["error"]["conflicts"][0];
        assert_eq!(
            (&conflict["resource"], &conflict["place"]),
            (&json!("dir"), &json!("f"))
        );
        for side in ["base", "theirs", "ours"] {
            assert!(conflict[side].is_string(), "{conflict}");
        }
    }
    let text = home.run(&["commit", "p"]);
    assert!(
        text.stderr.starts_with("planbox: ") && text.stderr.contains("\nnext: "),
        "{text:?}"
    );
    assert_eq!(
        (read(real.join("f")), read(view.join("f"))),
        ("theirs".into(), "ours".into())
    );
}

#[test]
fn status_5_while_somebody_else_holds_the_plan() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let waiting = home.start_waiting(&["p", "--dir", real.to_str().unwrap()]);
    let json = home.json(5, &["commit", "p", "--lock-timeout", "0"]);
    assert_eq!(
        (&error(&json)["code"], &error(&json)["retryable"]),
        (&json!("busy"), &json!(true))
    );
    let json = home.json(5, &["rollback", "p", "--lock-timeout", "20ms"]);
    assert_eq!(error(&json)["code"], "lock-timeout");
    let message = error(&json)["message"].as_str().unwrap();
    let holder = format!("process {}", waiting.id());
    assert!(
        message.contains(&holder) && message.contains("after 20 ms"),
        "{message}"
    );
    // Looking does not wait.
    let status = home.json(0, &["status", "p", "--lock-timeout", "0"]);
    assert_eq!(status["holder"]["operation"], "run");
    assert_eq!(home.json(0, &["diff", "p"])["outcome"], "changed");
    home.ok(&["log", "p"]);
    let ended = waiting.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(read(real.join("made")), "changed\n");
}

#[test]
fn status_7_keeps_the_sandbox_and_says_how_to_go_on() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let arguments = [
        "run",
        "p",
        "--dir",
        "real",
        "--",
        "sh",
        "-c",
        "printf new >f; exit 3",
    ];
    let json = home.json(7, &arguments);
    assert_eq!(
        (&json["outcome"], &error(&json)["code"]),
        (&json!("command-failed"), &json!("cmd-failed"))
    );
    assert_eq!(
        (&json["command"]["status"], &json["plan"]),
        (&json!(3), &json!("p"))
    );
    assert_eq!(
        read(json["resources"][0]["path"].as_str().unwrap().to_owned() + "/f"),
        "new"
    );
    assert_eq!(read(real.join("f")), "old");
    let killed = home.json(7, &["exec", "p", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed["command"]["signal"], 9);
    let text = home.run(&["exec", "p", "--", "false"]);
    assert!(
        text.stderr.contains("next: look with `planbox diff p`"),
        "{text:?}"
    );
    home.ok(&["commit", "p"]);
    assert_eq!(read(real.join("f")), "new", "committed by another process");
}

#[test]
fn status_7_for_a_command_that_is_not_there() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    for cmd in ["no-such-program", "/no/such/program", "./no-such-program"] {
        let json = home.json(7, &["run", "--dir", "real", "--", cmd]);
        assert_eq!(error(&json)["code"], "cmd-not-started", "{cmd}");
    }
    let plans = home.json(0, &["status"])["plans"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        plans.iter().all(|plan| plan["state"] == "aborted"),
        "none is left open: {plans:?}"
    );
    home.open("p", &real);
    let json = home.json(7, &["run", "p", "--", "./no-such-program"]);
    assert_eq!(error(&json)["plan"], "p");
    assert_eq!(
        home.json(0, &["status", "p"])["state"],
        "open",
        "it was there before"
    );
}

#[test]
fn status_130_when_a_signal_comes_while_the_command_runs() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    for signal in [Signal::TERM, Signal::INT] {
        let plan = format!("p{}", signal.as_raw());
        let waiting = home.start_waiting(&[&plan, "--dir", real.to_str().unwrap()]);
        let pid = Pid::from_raw(i32::try_from(waiting.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = waiting.ended();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stderr.contains("the sandbox of plan"), "{ended:?}");
        assert!(!real.join("made").exists());
        assert_eq!(
            home.json(0, &["diff", &plan])["outcome"],
            "changed",
            "the work is kept"
        );
    }
}

/// The way out that the next step names: what others changed stays, and the plan can go on.
fn keep_theirs(home: &Home, real: &std::path::Path) {
    home.json(2, &["recover", "--keep-theirs"]);
    let text = |json: &Value, at: &str| json.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let undone = home.json(0, &["recover", "p", "--keep-theirs"]);
    assert_eq!(text(&undone, "/outcome").as_deref(), Some("undone"));
    assert_eq!(
        (read(real.join("a")), read(real.join("b"))),
        ("theirs".into(), "theirs".into())
    );
    let status = home.json(0, &["status", "p"]);
    assert_eq!(text(&status, "/state").as_deref(), Some("open"));
    let conflict = home.json(4, &["commit", "p"]);
    assert_eq!(text(&conflict, "/error/code").as_deref(), Some("conflict"));
    home.ok(&["rollback", "p"]);
}

#[test]
fn status_6_when_a_recovery_meets_a_foreign_change_and_both_versions_are_kept() {
    let home = Home::new();
    let real = home.real("real", &[("a", "old"), ("b", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("a"), "ours").unwrap();
    std::fs::write(view.join("b"), "ours").unwrap();
    let mut commit = home.command(&["commit", "p"]);
    let killed = commit
        .env("PLANBOX_CRASH_AT", "apply.between")
        .output()
        .unwrap();
    assert_eq!(killed.status.code(), None, "{killed:?}");
    std::fs::write(real.join("a"), "theirs").unwrap();
    std::fs::write(real.join("b"), "theirs").unwrap();
    for arguments in [&["recover"][..], &["recover", "p"], &["commit", "p"]] {
        let json = home.json(6, arguments);
        assert_eq!(
            (&json["outcome"], &error(&json)["plan"]),
            (&json!("recovery-needed"), &json!("p"))
        );
        assert_eq!(
            (read(real.join("a")), read(real.join("b"))),
            ("theirs".into(), "theirs".into())
        );
    }
    let json = home.json(6, &["recover"]);
    assert_eq!(
        (&json["plans"][0]["plan"], &json["plans"][0]["outcome"]),
        (&json!("p"), &json!("failed"))
    );
    assert_eq!(json["error"]["conflicts"][0]["place"], "a");
    assert_eq!(home.json(0, &["status", "p"])["state"], "hazard");
    keep_theirs(&home, &real);
    let other = home.real("other", &[("f", "old")]);
    home.open("q", &other);
    assert_eq!(
        home.json(0, &["commit", "q"])["outcome"],
        "nothing-to-do",
        "others go on"
    );
}
