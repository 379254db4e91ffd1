//! How resources of each kind are typed, and what is refused before anything is written.

use super::Home;
use super::kinds::{database, git, repository};
use serde_json::json;

#[test]
fn what_cannot_be_in_one_plan_is_refused_whatever_the_kinds() {
    let home = Home::new();
    repository(&home, "repo");
    home.real("outer", &[]);
    database(&home, "outer/app.db");
    repository(&home, "outer/repo");
    let cases: &[(&[&str], &str)] = &[
        (&["--dir", "outer", "--sqlite", "outer/app.db"], "overlap"),
        (&["--sqlite", "outer/app.db", "--dir", "o=outer"], "overlap"),
        (&["--dir", "outer", "--git", "outer/repo"], "overlap"),
        (&["--dir", "repo", "--git", "repo"], "overlap"),
        (&["--git", "one=repo", "--git", "two=repo#main"], "overlap"),
        (
            &["--sqlite", "a=outer/app.db", "--sqlite", "b=outer/app.db"],
            "overlap",
        ),
        (
            &["--dir", "x=outer/repo/.git", "--sqlite", "x=outer/app.db"],
            "name-taken",
        ),
        (
            &["--git", "a-b=repo", "--sqlite", "a_b=outer/app.db"],
            "name-clash",
        ),
        (&["--git", "outer"], "refused"),
        (&["--git", "repo#no-such-branch"], "refused"),
        (&["--git", "missing#main"], "refused"),
        (&["--sqlite", "missing.db"], "refused"),
        (&["--sqlite", "repo"], "refused"),
        (&["--dir", "outer", "-m", "text"], "usage"),
        (&["--git", "repo", "-m", ""], "usage"),
        (&["--git", "repo", "--author", "Ada"], "usage"),
        (&["--git", "repo", "--author", "Ada\n<a@b>"], "usage"),
        (&["--git", "repo", "--decide-in", "git"], "usage"),
        (
            &["--sqlite", "outer/app.db", "--decide-in", "other"],
            "usage",
        ),
    ];
    for (resources, code) in cases {
        let json = home.json(2, &[&["open", "p"][..], resources].concat());
        assert_eq!(json["error"]["code"], json!(code), "{resources:?}: {json}");
    }
    assert_eq!(
        home.json(0, &["status"])["plans"],
        json!([]),
        "before any write"
    );
    assert_eq!(
        git(&home.path("repo"), &["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_and_the_plan_can_go_on() {
    let home = Home::new();
    home.real("real", &[("f", "text that is long enough to be looked at")]);
    let json = home.json(2, &["open", "p", "--sqlite", "real/f"]);
    assert_eq!(json["error"]["code"], "refused");
    database(&home, "app.db");
    let json = home.json(0, &["open", "p", "--sqlite", "app.db"]);
    assert_eq!(json["resources"][0]["name"], "sqlite");
}

#[test]
fn names_make_room_for_each_other() {
    let home = Home::new();
    repository(&home, "one");
    repository(&home, "two");
    let text = home
        .ok(&["open", "p", "--git", "one", "--git", "git=two"])
        .stdout;
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["git", "git2"]);
    let status = home.json(0, &["status", "p"]);
    let target = status["resources"][0]["target"].as_str().unwrap();
    assert!(
        target.contains("/two"),
        "the one that was given the name has it: {target}"
    );
}

#[test]
fn a_branch_stands_after_the_last_hash() {
    let home = Home::new();
    let ordinary = repository(&home, "repo");
    git(&ordinary, &["branch", "a=b"]);
    let odd = repository(&home, "repo#1");
    git(&odd, &["branch", "fix/it"]);
    let cases = [
        ("repo", "repo", "main"),
        ("repo#a=b", "repo", "a=b"),
        ("repo#1#", "repo#1", "main"),
        ("repo#1#fix/it", "repo#1", "fix/it"),
        ("./repo", "repo", "main"),
    ];
    for (number, (argument, path, branch)) in cases.iter().enumerate() {
        let plan = format!("p{number}");
        home.ok(&["open", &plan, "--git", argument]);
        let status = home.json(0, &["status", &plan]);
        let target = status["resources"][0]["target"].as_str().unwrap();
        assert!(
            target.ends_with(&format!("{path}#{branch}")),
            "{argument}: {target}"
        );
        home.ok(&["rollback", &plan]);
    }
    let missing = home.run(&["open", "q", "--git", "not#there"]);
    assert!(
        missing.stderr.contains("one more at its end: PATH#"),
        "{missing:?}"
    );
}

#[test]
fn the_message_and_the_author_are_data() {
    let home = Home::new();
    let real = repository(&home, "repo");
    let message = "--amend %s $(date)\n\n-x \"quoted\"";
    let arguments = [
        "run",
        "--git",
        "repo",
        "--author",
        "--Ada %an <ada@example.org>",
        "-m",
        message,
    ];
    home.ok(&[&arguments[..], &["--", "sh", "-c", "echo >b"]].concat());
    let log = git(&real, &["log", "-1", "--format=%an|%ae|%B"]);
    assert_eq!(log, format!("--Ada %an|ada@example.org|{message}"));
    home.ok(&[
        "run", "my-plan", "--git", "repo", "--", "sh", "-c", "echo >c",
    ]);
    let log = git(&real, &["log", "-1", "--format=%an|%s"]);
    assert_eq!(
        log, "planbox|planbox: my-plan",
        "whatever git is configured to"
    );
}

#[test]
fn naming_a_branch_again_with_another_message_is_told() {
    let home = Home::new();
    repository(&home, "repo");
    home.ok(&["open", "p", "--git", "repo", "-m", "first"]);
    let again = home.ok(&["open", "p", "--git", "repo", "-m", "second"]);
    assert!(
        again.stderr.contains("git has been in plan p before"),
        "{again:?}"
    );
    let quiet = home.ok(&["open", "p", "--git", "repo"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn one_database_decides_and_a_second_is_refused() {
    let home = Home::new();
    database(&home, "one.db");
    database(&home, "two.db");
    let arguments = [
        "open",
        "p",
        "--sqlite",
        "one.db",
        "--sqlite",
        "main=two.db",
        "--decide-in",
        "main",
    ];
    home.ok(&arguments);
    let view = home.view("p", "main");
    super::kinds::execute(&view, "DELETE FROM users WHERE id = 1");
    super::kinds::execute(&home.view("p", "sqlite"), "DELETE FROM users WHERE id = 2");
    let second = [
        "open",
        "p",
        "--sqlite",
        "third=one.db",
        "--decide-in",
        "third",
    ];
    assert_eq!(home.run(&second).code, Some(2));
    database(&home, "other.db");
    let second = [
        "open",
        "p",
        "--sqlite",
        "third=other.db",
        "--decide-in",
        "third",
    ];
    assert_eq!(home.json(2, &second)["outcome"], "refused");
    let status = home.json(0, &["status", "p"]);
    let deciding: Vec<bool> = ["main", "sqlite"]
        .iter()
        .zip(status["resources"].as_array().unwrap())
        .map(|(name, one)| one["name"] == *name && one["decides"] == json!(true))
        .collect();
    assert_eq!(deciding, [true, false], "{status}");
    assert!(home.ok(&["status", "p"]).stdout.contains("decides"));
    let json = home.json(0, &["commit", "p"]);
    assert_eq!(json["outcome"], "committed");
    assert_eq!(super::kinds::users(&home.path("one.db")), "1=one");
    assert_eq!(super::kinds::users(&home.path("two.db")), "2=two");
}
