//! Each command once, as a person and as a program uses it.

use super::{Home, read};
use serde_json::{Value, json};

#[test]
fn run_commits_two_directories_together_under_their_names() {
    let home = Home::new();
    let site = home.real("site", &[("index.html", "old")]);
    let docs = home.real("docs", &[("a.md", "old")]);
    let (site_arg, docs_arg) = (
        format!("my-site={}", site.display()),
        format!("docs={}", docs.display()),
    );
    let script = "printf new >\"$PLANBOX_PATH_MY_SITE/index.html\" && \
                  rm \"$PLANBOX_PATH_DOCS/a.md\" && \
                  printf '%s %s' \"$PLANBOX_PLAN\" \"$PLANBOX_STORE\" && pwd";
    let ended = home.ok(&[
        "run", "both", "--dir", &site_arg, "--dir", &docs_arg, "--", "sh", "-c", script,
    ]);
    assert_eq!(read(site.join("index.html")), "new");
    assert!(!docs.join("a.md").exists());
    let store = home.store();
    assert!(
        ended
            .stdout
            .starts_with(&format!("both {}", store.display())),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("committed plan both\n"), "{ended:?}");
    assert!(
        ended.stdout.contains("  1 modified, 3 bytes\n"),
        "{ended:?}"
    );
    let here = std::fs::canonicalize(home.path(".")).unwrap();
    assert!(
        ended.stdout.contains(here.to_str().unwrap()),
        "two directories: the caller's: {ended:?}"
    );
}

#[test]
fn run_without_a_plan_makes_one_and_works_in_the_only_sandbox() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let arguments = [
        "run",
        "--dir",
        "real",
        "--",
        "sh",
        "-c",
        "echo to-me; printf new >f",
    ];
    let ended = home.ok(&[&["--json"][..], &arguments[..]].concat());
    let json = ended.json();
    assert_eq!(json["outcome"], "committed");
    assert_eq!(json["resources"][0]["name"], "dir");
    assert_eq!(json["resources"][0]["changes"]["entries"][0]["path"], "f");
    assert_eq!(
        json["resources"][0]["changes"]["entries"][0]["action"],
        "modified"
    );
    assert!(
        ended.stderr.contains("to-me"),
        "in JSON mode CMD talks to standard error: {ended:?}"
    );
    let plan = json["plan"].as_str().unwrap();
    let digits = plan
        .strip_prefix("run-")
        .unwrap()
        .split('-')
        .map(str::len)
        .next_back();
    assert_eq!(digits, Some(6), "{plan}");
    assert!(ended.stderr.contains(plan), "{ended:?}");
    assert_eq!(read(real.join("f")), "new");
    let quiet = home.ok(&[
        "run",
        "-q",
        "--dir",
        "real",
        "--",
        "sh",
        "-c",
        "echo mine; echo >g",
    ]);
    assert_eq!(
        (quiet.stdout.as_str(), quiet.stderr.as_str()),
        ("mine\n", "")
    );
}

#[test]
fn run_that_changes_nothing_has_nothing_to_do() {
    let home = Home::new();
    home.real("real", &[("f", "old")]);
    let json = home.json(0, &["run", "p", "--dir", "real", "--", "true"]);
    assert_eq!(
        (&json["outcome"], &json["plan"]),
        (&json!("nothing-to-do"), &json!("p"))
    );
}

#[test]
fn open_prints_the_paths_and_can_be_repeated_and_extended() {
    let home = Home::new();
    home.real("a", &[]);
    home.real("b", &[]);
    let first = home.ok(&["open", "p", "--dir", "a"]);
    let again = home.ok(&["open", "p", "--dir", "a", "--dir", "b"]);
    assert!(again.stdout.starts_with(&first.stdout), "{again:?}");
    let names: Vec<_> = again
        .stdout
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    assert_eq!(names, ["dir", "dir2"]);
    let json = home.json(0, &["open", "p", "--dir", "a"]);
    assert_eq!(
        (&json["outcome"], &json["new"]),
        (&json!("opened"), &json!(false))
    );
    assert!(json["resources"][1]["path"].is_string());
}

#[test]
fn exec_changes_the_sandbox_and_commits_nothing() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    let ended = home.ok(&["exec", "p", "--", "sh", "-c", "printf new >f; pwd"]);
    assert_eq!(ended.stdout.trim_end(), view.to_str().unwrap());
    assert_eq!(
        (read(view.join("f")), read(real.join("f"))),
        ("new".into(), "old".into())
    );
    let json = home.json(0, &["exec", "p", "--", "true"]);
    assert_eq!(json["command"]["status"], 0);
}

#[test]
fn path_prints_the_path_and_nothing_else() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    home.ok(&["open", "p", "--dir", "site=real"]);
    let view = home.view("p", "site");
    assert_eq!(read(view.join("f")), "old");
    assert_ne!(view, real);
    let all = home.ok(&["path", "p"]).stdout;
    assert_eq!(all, format!("site\t{}\n", view.display()));
    let json = home.json(0, &["path", "p", "site"]);
    assert_eq!(json["path"], view.to_str().unwrap());
    assert_eq!(
        home.json(2, &["path", "p", "none"])["error"]["code"],
        "unknown-resource"
    );
}

#[test]
fn status_shows_all_plans_and_one_in_detail() {
    let home = Home::new();
    let real = home.real("real", &[("f", "12345")]);
    assert_eq!(home.json(0, &["status"])["plans"], json!([]));
    home.open("p", &real);
    let all = home.ok(&["status"]).stdout;
    let rows: Vec<Vec<&str>> = all
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["PLAN", "STATE", "AGE", "RESOURCES", "SIZE", "HOLDER"]
    );
    assert_eq!((rows[1][0], rows[1][1], rows[1][3]), ("p", "open", "dir"));
    let one = home.ok(&["status", "p"]).stdout;
    assert!(
        one.contains("state     open") && one.contains(real.to_str().unwrap()),
        "{one}"
    );
    let json = home.json(0, &["status", "p"]);
    assert_eq!(
        (&json["state"], &json["holder"]),
        (&json!("open"), &Value::Null)
    );
    assert_eq!(json["resources"][0]["size_bytes"], 5);
    home.ok(&["exec", "p", "--", "sh", "-c", "echo >g"]);
    home.ok(&["commit", "p"]);
    let json = home.json(0, &["status", "p"]);
    assert_eq!(
        json["receipt"]["resources"][0]["changes"]["entries"][0]["path"],
        "g"
    );
}

#[test]
fn diff_lists_changes_and_totals() {
    let home = Home::new();
    let real = home.real("real", &[("changed", "old"), ("gone", "x")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("changed"), "new!").unwrap();
    std::fs::write(view.join("added"), "").unwrap();
    std::fs::remove_file(view.join("gone")).unwrap();
    std::fs::create_dir(view.join("made")).unwrap();
    let text = home.ok(&["diff", "p"]).stdout;
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "A  added",
            "M  changed",
            "D  gone",
            "A  made/",
            "2 added, 1 modified, 1 removed, 4 bytes"
        ]
    );
    let stat = home.ok(&["diff", "--stat", "p"]).stdout;
    assert!(
        !stat.contains("M  changed") && stat.contains("1 modified"),
        "{stat}"
    );
    let json = home.json(3, &["diff", "--exit-code", "p"]);
    assert_eq!(json["outcome"], "changed");
    assert_eq!(
        json["resources"][0]["changes"]["entries"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert!(
        home.ok(&["diff", "p", "--color", "always"])
            .stdout
            .contains("\x1b[")
    );
}

#[test]
fn commit_is_done_once_and_its_receipt_is_given_again() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    let dry = home.json(0, &["commit", "p", "--dry-run"]);
    assert_eq!(
        (&dry["outcome"], read(real.join("f"))),
        (&json!("would-commit"), "old".into())
    );
    let first = home.json(0, &["commit", "p"]);
    assert_eq!(
        (&first["outcome"], read(real.join("f"))),
        (&json!("committed"), "new".into())
    );
    let second = home.json(0, &["commit", "p"]);
    assert_eq!(second["outcome"], "already-committed");
    assert_eq!(first["resources"], second["resources"]);
    assert!(!view.exists(), "nothing is left behind");
    assert_eq!(
        home.json(0, &["commit", "p", "--dry-run"])["outcome"],
        "already-committed"
    );
}

#[test]
fn rollback_removes_the_sandbox_and_changes_nothing_real() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    let json = home.json(0, &["rollback", "p"]);
    assert_eq!(
        (&json["outcome"], &json["resources"][0]["name"]),
        (&json!("rolled-back"), &json!("dir"))
    );
    assert!(!view.exists());
    assert_eq!(read(real.join("f")), "old");
    assert_eq!(
        home.json(0, &["rollback", "p"])["outcome"],
        "already-rolled-back"
    );
    assert_eq!(
        home.json(2, &["commit", "p"])["error"]["code"],
        "wrong-state"
    );
}

#[test]
fn recover_says_when_there_is_nothing_to_recover() {
    let home = Home::new();
    assert_eq!(home.ok(&["recover"]).stdout, "nothing to recover\n");
    let real = home.real("real", &[("f", "old")]);
    home.open("p", &real);
    let json = home.json(0, &["recover", "p"]);
    assert_eq!(
        (&json["outcome"], &json["plans"][0]["plan"]),
        (&json!("nothing-to-do"), &json!("p"))
    );
}

#[test]
fn log_tells_the_story_as_lines() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    home.ok(&["commit", "p"]);
    let text = home.ok(&["log", "p"]).stdout;
    assert!(text.contains("  p  epoch 1  enlisted  dir\n"), "{text}");
    let mut lines = text.lines();
    assert!(
        lines.any(|line| line.ends_with("  decided  commit, 1 resource")),
        "{text}"
    );
    let row = format!("  dir  {}  1 modified, 3 bytes", real.display());
    assert_eq!(lines.next(), Some(&*row), "what was committed is told");
    let ended = home.ok(&["log", "--json"]);
    for line in ended.stdout.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["plan"], "p");
        assert!(entry["at"].as_str().unwrap().ends_with('Z'), "{entry}");
    }
    assert_eq!(
        home.json(2, &["log", "none"])["error"]["code"],
        "unknown-plan"
    );
}

#[test]
fn gc_forgets_and_gives_up_only_what_it_is_told_to() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("idle", &real);
    home.ok(&["run", "ended", "--dir", "real", "--", "true"]);
    assert_eq!(home.ok(&["gc"]).stdout, "nothing to clean\n");
    let json = home.json(0, &["gc", "--ended", "0", "--idle", "0", "--dry-run"]);
    assert_eq!(
        (&json["outcome"], &json["given_up"]),
        (&json!("would-clean"), &json!(["idle"]))
    );
    assert!(view.exists());
    let json = home.json(0, &["gc", "--ended", "0", "--idle", "0"]);
    assert_eq!(
        (&json["forgotten"], &json["given_up"]),
        (&json!(["ended"]), &json!(["idle"]))
    );
    assert!(!view.exists());
    assert_eq!(
        home.json(2, &["status", "ended"])["error"]["code"],
        "unknown-plan"
    );
}

#[test]
fn doctor_is_content_with_a_healthy_store() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    home.open("p", &real);
    let json = home.json(0, &["doctor"]);
    assert_eq!(json["outcome"], "healthy");
    assert!(
        json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|found| found["severity"] == "note")
    );
}

#[test]
fn completions_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.ok(&["completions", shell]).stdout;
        assert!(script.contains("rollback"), "{shell}");
    }
    assert!(!home.store().exists(), "a script needs no store");
}

#[test]
fn help_names_every_command_and_the_exit_status() {
    let home = Home::new();
    let help = home.ok(&["--help"]).stdout;
    let commands = [
        "run",
        "open",
        "exec",
        "path",
        "status",
        "diff",
        "commit",
        "rollback",
        "recover",
        "log",
        "gc",
        "doctor",
        "completions",
    ];
    for command in commands {
        assert!(
            help.contains(&format!("  {command} ")),
            "{command} is missing in {help}"
        );
        assert!(
            home.ok(&[command, "--help"])
                .stdout
                .contains("--lock-timeout")
        );
    }
    assert!(help.contains("130  interrupted"), "{help}");
    assert!(home.ok(&["--version"]).stdout.starts_with("planbox "));
}

#[test]
fn options_of_the_view_reach_the_sandbox() {
    let home = Home::new();
    let real = home.real("real", &[("keep", "1"), ("skip", "2")]);
    std::fs::create_dir(real.join(".git")).unwrap();
    home.ok(&[
        "open",
        "p",
        "--dir",
        "real",
        "--view",
        "copy",
        "--exclude",
        "skip",
    ]);
    let view = home.view("p", "dir");
    assert!(view.join("keep").exists() && !view.join("skip").exists());
    assert!(!view.join(".git").exists());
    assert_eq!(
        home.json(0, &["status", "p"])["resources"][0]["view"],
        "copy"
    );
    home.ok(&["open", "q", "--dir", "real", "--with-vcs"]);
    assert!(home.view("q", "dir").join(".git").exists());
}

#[test]
fn a_closed_or_full_standard_output_never_hides_what_was_done() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let view = home.open("p", &real);
    std::fs::write(view.join("f"), "new").unwrap();
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let mut status = home.command(&["status"]);
    assert_eq!(status.stdout(full()).status().unwrap().code(), Some(1));
    let mut status = home.command(&["completions", "bash"]);
    let mut child = status.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(
        child.wait().unwrap().code(),
        Some(0),
        "a reader that went away is no failure"
    );
    let mut commit = home.command(&["commit", "p"]);
    assert_eq!(
        commit.stdout(full()).status().unwrap().code(),
        Some(0),
        "it is committed"
    );
    assert_eq!(read(real.join("f")), "new");
}
