//! Plans over unlike things: every kind in its own terms, in one command.

use super::{Ended, Home, read};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs git in `dir`, with the configuration of nobody.
pub(super) fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            git.env_remove(name);
        }
    }
    let output = git
        .current_dir(dir)
        .args([
            "-c",
            "user.name=Tester",
            "-c",
            "user.email=tester@example.org",
        ])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// A repository with one commit on `main`, in which `a` holds `old`.
pub(super) fn repository(home: &Home, name: &str) -> PathBuf {
    let path = home.real(name, &[("a", "old\n")]);
    git(&path, &["init", "--quiet", "--initial-branch=main"]);
    git(&path, &["config", "user.name", "Configured"]);
    git(&path, &["config", "user.email", "configured@example.org"]);
    git(&path, &["add", "a"]);
    git(&path, &["commit", "--quiet", "--message=first"]);
    path
}

/// A database with the users 1 and 2.
pub(super) fn database(home: &Home, name: &str) -> PathBuf {
    let path = home.path(name);
    let batch = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
                 CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT);
                 INSERT INTO users VALUES (1, 'one'), (2, 'two');";
    Connection::open(&path)
        .unwrap()
        .execute_batch(batch)
        .unwrap();
    path
}

pub(super) fn execute(database: &Path, sql: &str) {
    Connection::open(database)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

pub(super) fn users(database: &Path) -> String {
    let database = Connection::open(database).unwrap();
    let sql = "SELECT group_concat(id || '=' || name, ' ') FROM (SELECT * FROM users ORDER BY id)";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// One thing of each kind.
struct World {
    home: Home,
    site: PathBuf,
    repository: PathBuf,
    database: PathBuf,
}

const ALL: [&str; 6] = ["--dir", "site", "--git", "repo#main", "--sqlite", "app.db"];

impl World {
    fn new() -> Self {
        let home = Home::new();
        Self {
            site: home.real("site", &[("index", "old\n")]),
            repository: repository(&home, "repo"),
            database: database(&home, "app.db"),
            home,
        }
    }

    /// A plan that is open over all three, with a change in each.
    fn changed(&self, plan: &str) {
        self.home.ok(&[&["open", plan][..], &ALL].concat());
        std::fs::write(self.home.view(plan, "dir").join("index"), "new\n").unwrap();
        std::fs::write(self.home.view(plan, "git").join("b"), "new\n").unwrap();
        let sql = "INSERT INTO users VALUES (3, 'three'); DELETE FROM users WHERE id = 1;
                   INSERT INTO log VALUES (1, 'x')";
        execute(&self.home.view(plan, "sqlite"), sql);
    }

    /// Everything real, to be compared.
    fn manifest(&self) -> [String; 4] {
        [
            read(self.site.join("index")),
            git(&self.repository, &["rev-parse", "main"]),
            git(&self.repository, &["status", "--porcelain"]),
            users(&self.database),
        ]
    }

    fn tip(&self) -> String {
        git(&self.repository, &["rev-parse", "main"])
    }
}

/// The line about `name`, with its columns set apart by one blank.
fn line(text: &str, name: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = lines.filter(|words| words.first() == Some(&name));
    let words = found
        .next()
        .unwrap_or_else(|| panic!("{name} is not in {text}"));
    words.join(" ")
}

fn short(commit: &str) -> &str {
    &commit[..12]
}

#[test]
fn every_kind_is_committed_together_and_told_in_its_own_terms() {
    let world = World::new();
    world.changed("p");
    let before = world.tip();
    let text = world.home.ok(&["commit", "p"]).stdout;
    let after = world.tip();
    assert!(text.starts_with("committed plan p\n"), "{text}");
    let site = format!("dir {} 1 modified, 4 bytes", world.site.display());
    assert_eq!(line(&text, "dir"), site);
    let moved = format!(
        " branch main: 1 file added, {} -> {}",
        short(&before),
        short(&after)
    );
    assert!(line(&text, "git").ends_with(&moved), "{text}");
    // Tables stand below each other, in one column.
    let column = text.find("table log: 1 row added\n").unwrap();
    let column = column - text[..column].rfind('\n').unwrap();
    let users = text.find("table users: 1 row added, 1 removed\n").unwrap();
    assert_eq!(users - text[..users].rfind('\n').unwrap(), column, "{text}");
    assert_eq!(
        users_and_files(&world),
        ("2=two 3=three".into(), "new\n".into(), "new\n".into())
    );

    let receipt = world.home.json(0, &["commit", "p"]);
    let resources = &receipt["resources"];
    let section = |at: usize| &resources[at]["changes"]["sections"][0];
    assert_eq!(
        (&section(1)["from"], &section(1)["to"]),
        (&json!(before), &json!(after)),
        "whole in JSON"
    );
    let rows = &resources[2]["changes"];
    assert_eq!(
        (
            &rows["sections"][1]["name"],
            &rows["sections"][1]["removed"]
        ),
        (&json!("users"), &json!(1))
    );
    let paths: Vec<&str> = rows["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["log[id=1]", "users[id=1]", "users[id=3]"]);
    let told = world.home.ok(&["log", "p", "--json"]).stdout;
    let decided = told.lines().find(|line| line.contains("\"decided\""));
    let decided: Value = serde_json::from_str(decided.unwrap()).unwrap();
    assert_eq!(&decided["resources"], resources);
    let log = world.home.ok(&["log", "p"]).stdout;
    assert!(
        log.contains("enlisted  git\n") && log.contains(&moved),
        "{log}"
    );
}

fn users_and_files(world: &World) -> (String, String, String) {
    let file = git(&world.repository, &["show", "main:b"]) + "\n";
    (users(&world.database), file, read(world.site.join("index")))
}

#[test]
fn what_a_plan_did_not_change_is_told_as_unchanged() {
    let world = World::new();
    let arguments = [
        &["run", "p"][..],
        &ALL,
        &["--", "sh", "-c", "echo 2 >\"$PLANBOX_PATH_DIR/new\""],
    ];
    let text = world.home.ok(&arguments.concat()).stdout;
    assert!(line(&text, "dir").ends_with(" 1 added, 2 bytes"), "{text}");
    for name in ["git", "sqlite"] {
        assert!(line(&text, name).ends_with(" unchanged"), "{text}");
    }
    let receipt = world.home.json(0, &["commit", "p"]);
    let applied = |at: usize| &receipt["resources"][at]["applied"];
    assert_eq!(
        [applied(0), applied(1), applied(2)],
        [&json!(true), &json!(false), &json!(false)]
    );
    let nothing = [&["run", "q"][..], &ALL, &["--", "true"]].concat();
    assert_eq!(world.home.json(0, &nothing)["outcome"], "nothing-to-do");
}

#[test]
fn diff_and_a_dry_run_show_files_commits_and_rows() {
    let world = World::new();
    world.changed("p");
    let before = world.manifest();
    let text = world.home.ok(&["diff", "p"]).stdout;
    let on_top = format!("branch main: 1 file added on top of {}", short(&before[1]));
    for wanted in [
        "M  index",
        "A  b",
        &on_top,
        "D  users[id=1]",
        "A  users[id=3]",
        "table log: 1 row added",
    ] {
        assert!(
            text.lines().any(|line| line == wanted),
            "{wanted} is not in {text}"
        );
    }
    let stat = world.home.ok(&["diff", "p", "--stat"]).stdout;
    assert_eq!(
        stat.lines().count(),
        4,
        "one line each, and one more table: {stat}"
    );
    assert!(line(&stat, "git").ends_with(&on_top), "{stat}");
    let dry = world.home.ok(&["commit", "p", "--dry-run"]).stdout;
    assert!(
        dry.starts_with(&text) && dry.ends_with("plan p: would be committed\n"),
        "{dry}"
    );
    assert_eq!(world.manifest(), before);
    let json = world.home.json(3, &["diff", "p", "--exit-code"]);
    assert_eq!(
        json["resources"][1]["changes"]["sections"][0]["from"],
        json!(before[1])
    );
    let status = world.home.ok(&["status"]).stdout;
    assert!(
        line(&status, "p").contains(" dir, git, sqlite "),
        "{status}"
    );
    let status = world.home.ok(&["status", "p"]).stdout;
    for kind in ["  kind    dir", "  kind    git", "  kind    sqlite"] {
        assert!(status.lines().any(|line| line == kind), "{status}");
    }
}

#[test]
fn a_conflict_in_a_row_names_its_key_and_changes_nothing_anywhere() {
    let world = World::new();
    world.changed("p");
    execute(
        &world.database,
        "UPDATE users SET name = 'theirs' WHERE id = 1",
    );
    let before = world.manifest();
    for arguments in [&["commit", "p", "--dry-run"][..], &["commit", "p"]] {
        let json = world.home.json(4, arguments);
        let conflict = &json["error"]["conflicts"][0];
        assert_eq!(
            (&conflict["resource"], &conflict["place"]),
            (&json!("sqlite"), &json!("users[id=1]"))
        );
        assert_eq!(world.manifest(), before);
    }
    let text = world.home.run(&["commit", "p"]).stderr;
    assert!(
        text.contains("sqlite: users[id=1]: the plan started from "),
        "{text}"
    );
}

#[test]
fn a_conflict_in_a_branch_names_the_path_and_changes_nothing_anywhere() {
    let world = World::new();
    world.changed("p");
    std::fs::write(world.home.view("p", "git").join("a"), "ours\n").unwrap();
    std::fs::write(world.repository.join("a"), "theirs\n").unwrap();
    git(
        &world.repository,
        &["commit", "--quiet", "--all", "--message=theirs"],
    );
    let before = world.manifest();
    let json = world.home.json(4, &["commit", "p"]);
    let conflict = &json["error"]["conflicts"][0];
    assert_eq!(
        (&conflict["resource"], &conflict["place"]),
        (&json!("git"), &json!("a"))
    );
    let text = conflict["theirs"].as_str().unwrap();
    assert!(text.starts_with("a file ("), "{text}");
    assert_eq!(world.manifest(), before);
    let rolled = world.home.json(0, &["rollback", "p"]);
    let kinds: Vec<&Value> = rolled["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(kinds, ["dir", "git", "sqlite"]);
    assert_eq!(world.manifest(), before);
}

#[test]
fn a_database_that_somebody_else_writes_to_is_busy() {
    let world = World::new();
    let arguments = [
        "open",
        "p",
        "--dir",
        "site",
        "--sqlite",
        "app.db",
        "--lock-timeout",
        "0",
    ];
    world.home.ok(&arguments);
    execute(
        &world.home.view("p", "sqlite"),
        "DELETE FROM users WHERE id = 1",
    );
    let writer = Connection::open(&world.database).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let json = world.home.json(5, &["commit", "p"]);
    assert_eq!(
        (
            &json["outcome"],
            &json["error"]["code"],
            &json["error"]["retryable"]
        ),
        (&json!("busy"), &json!("resource-busy"), &json!(true))
    );
    writer.execute_batch("ROLLBACK").unwrap();
    world.home.ok(&["commit", "p"]);
    assert_eq!(users(&world.database), "2=two");
}

fn working_directory(world: &World, resources: &[&str], name: &str) -> (String, String) {
    let script = format!("pwd; echo \"${name}\"");
    let arguments = [&["run"][..], resources, &["--", "sh", "-c", &script]].concat();
    let Ended { stdout, .. } = world.home.ok(&arguments);
    let mut lines = stdout.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

#[test]
fn cmd_works_in_the_only_tree_whatever_databases_are_beside_it() {
    let world = World::new();
    let here = std::fs::canonicalize(world.home.path("."))
        .unwrap()
        .display()
        .to_string();
    let (pwd, path) = working_directory(
        &world,
        &["--git", "repo", "--sqlite", "app.db"],
        "PLANBOX_PATH_GIT",
    );
    assert_eq!(pwd, path);
    let (pwd, path) = working_directory(
        &world,
        &["--dir", "site", "--sqlite", "app.db"],
        "PLANBOX_PATH_DIR",
    );
    assert_eq!(pwd, path);
    let (pwd, path) = working_directory(&world, &["--sqlite", "app.db"], "PLANBOX_PATH_SQLITE");
    assert_eq!(pwd, here);
    assert!(Path::new(&path).is_absolute() && !path.is_empty(), "{path}");
    let (pwd, _) = working_directory(
        &world,
        &["--dir", "site", "--git", "repo"],
        "PLANBOX_PATH_GIT",
    );
    assert_eq!(pwd, here);
}

#[test]
fn several_databases_of_one_plan_are_given_numbers() {
    let world = World::new();
    database(&world.home, "second.db");
    let text = world
        .home
        .ok(&["open", "p", "--sqlite", "app.db", "--sqlite", "second.db"])
        .stdout;
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["sqlite", "sqlite2"]);
    world.changed("q");
    world.home.ok(&["commit", "q"]);
    assert_eq!(
        world.home.json(0, &["commit", "p"])["outcome"],
        "nothing-to-do"
    );
}

#[test]
fn git_in_the_sandbox_is_not_pointed_at_the_real_repository() {
    let world = World::new();
    let script = "echo new >b && git add b && git commit --quiet --message=inner";
    let arguments = [
        "run", "--git", "repo", "-m", "outer", "--", "sh", "-c", script,
    ];
    let mut command = world.home.command(&arguments);
    command
        .env("GIT_DIR", world.repository.join(".git"))
        .env("GIT_WORK_TREE", &world.repository)
        .env("GIT_INDEX_FILE", world.repository.join(".git/index"))
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org");
    let ended = super::ended(&command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = git(&world.repository, &["log", "--format=%s"]);
    assert_eq!(log, "outer\nfirst");
    assert_eq!(git(&world.repository, &["status", "--porcelain"]), "");
}

#[test]
fn a_recovery_tells_what_is_real_of_every_kind() {
    for point in ["commit.prepared", "commit.decided", "commit.applied"] {
        let world = World::new();
        world.changed("p");
        let before = world.manifest();
        let mut commit = world.home.command(&["commit", "p"]);
        let killed = commit.env("PLANBOX_CRASH_AT", point).output().unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {killed:?}");
        let text = world.home.ok(&["recover", "p"]).stdout;
        if point == "commit.prepared" {
            assert_eq!(world.manifest(), before, "it was never decided");
        } else {
            assert!(text.contains("everything is new"), "{text}");
            assert!(line(&text, "git").contains("branch main: 1 file added"));
            assert!(line(&text, "dir").ends_with(" 1 modified, 4 bytes"));
            assert_eq!(
                users_and_files(&world),
                ("2=two 3=three".into(), "new\n".into(), "new\n".into())
            );
        }
        let status = git(&world.repository, &["status", "--porcelain"]);
        assert_eq!(status, "", "{point}: the work tree follows its branch");
    }
}
