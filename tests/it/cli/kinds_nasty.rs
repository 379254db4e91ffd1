//! Unlike things where they meet, and an environment that means ill.

use super::Home;
use super::kinds::{database, execute, git, repository, users};
use serde_json::json;

/// What most projects have: a database beside the sources, which git ignores.
#[test]
fn an_ignored_database_in_the_tree_of_a_branch_is_committed_with_it() {
    let home = Home::new();
    let repo = repository(&home, "repo");
    std::fs::write(repo.join(".gitignore"), "app.db*\n").unwrap();
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "--quiet", "--message=ignore"]);
    let real = database(&home, "repo/app.db");
    execute(&real, "PRAGMA journal_mode = WAL");
    home.ok(&["open", "p", "--git", "repo", "--sqlite", "repo/app.db"]);
    execute(&home.view("p", "sqlite"), "DELETE FROM users WHERE id = 1");
    std::fs::write(home.view("p", "git").join("a"), "new").unwrap();
    assert_eq!(home.json(0, &["commit", "p"])["outcome"], "committed");
    assert_eq!(users(&real), "2=two");
    assert_eq!(std::fs::read_to_string(repo.join("a")).unwrap(), "new");
    assert_eq!(git(&repo, &["status", "--porcelain"]), "");
}

#[test]
fn a_database_in_the_tree_of_a_branch_is_refused_if_both_change_it() {
    for (branch, base) in [("a", "z"), ("z", "a")] {
        let home = Home::new();
        let repo = repository(&home, "repo");
        let real = database(&home, "repo/app.db");
        execute(&real, "PRAGMA journal_mode = WAL");
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "--quiet", "--message=database"]);
        git(&repo, &["checkout", "--quiet", "-b", "side"]);
        let before = git(&repo, &["rev-parse", "main"]);
        let (one, two) = (format!("{branch}=repo#main"), format!("{base}=repo/app.db"));
        home.ok(&["open", "p", "--git", &one, "--sqlite", &two]);
        execute(&home.view("p", base), "DELETE FROM users WHERE id = 1");
        let tracked = home.view("p", branch).join("app.db");
        execute(&tracked, "DELETE FROM users WHERE id = 2");
        // Checked out around the database only now.
        git(&repo, &["checkout", "--quiet", "main"]);
        let error = &home.json(1, &["commit", "p"])["error"];
        assert_eq!(error["code"], json!("refused"), "{error}");
        let told = error["message"].as_str().unwrap();
        assert!(told.contains("app.db"), "{told}");
        assert_eq!(users(&real), "1=one 2=two");
        assert_eq!(git(&repo, &["rev-parse", "main"]), before);
        // The plan is whole: where the two do not meet it can be committed.
        git(&repo, &["checkout", "--quiet", "side"]);
        assert_eq!(home.json(0, &["commit", "p"])["outcome"], "committed");
        assert_eq!(users(&real), "2=two");
    }
}

#[test]
fn nothing_in_the_environment_reaches_our_git() {
    let home = Home::new();
    let repo = repository(&home, "repo");
    let other = repository(&home, "other");
    let canary = home.path("canary");
    let trap = home.path("trap.sh");
    std::fs::write(
        &trap,
        format!("#!/bin/sh\necho x >>'{}'\ncat\n", canary.display()),
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&trap, mode).unwrap();
    let trap = trap.to_str().unwrap();
    let hooks = home.real("hooks", &[]);
    for hook in [
        "reference-transaction",
        "post-index-change",
        "post-checkout",
    ] {
        std::os::unix::fs::symlink(trap, hooks.join(hook)).unwrap();
    }
    std::fs::write(
        home.path(".gitconfig"),
        "[filter \"evil\"]\n\tclean = false\n",
    )
    .unwrap();
    let settings = [
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("core.fsmonitor", trap),
        ("filter.evil.clean", trap),
        ("filter.evil.smudge", trap),
    ];
    // A tree that follows would refuse the filter: that is another test.
    git(&repo, &["checkout", "--quiet", "-b", "side"]);
    let script = "echo new >a; echo '* filter=evil' >.gitattributes";
    let mut command = home.command(&["run", "--git", "repo#main", "--", "sh", "-c", script]);
    for (number, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    command
        .env("GIT_CONFIG_COUNT", settings.len().to_string())
        .env(
            "GIT_CONFIG_PARAMETERS",
            format!("'filter.evil.clean'='{trap}'"),
        )
        .env("GIT_CONFIG_GLOBAL", home.path(".gitconfig"))
        .env("GIT_EXTERNAL_DIFF", trap)
        .env("GIT_TRACE", home.path("trace"))
        .env("GIT_DIR", other.join(".git"))
        .env("GIT_COMMON_DIR", other.join(".git"))
        .env("GIT_WORK_TREE", &other)
        .env("GIT_INDEX_FILE", other.join(".git/index"))
        .env("GIT_OBJECT_DIRECTORY", other.join(".git/objects"))
        .env("GIT_NAMESPACE", "elsewhere")
        .env("GIT_AUTHOR_NAME", "Mallory")
        .env("GIT_COMMITTER_DATE", "1 +0000");
    let ended = super::ended(&command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(git(&repo, &["show", "main:a"]), "new");
    let people = git(&repo, &["log", "-1", "--format=%an %cn", "main"]);
    assert_eq!(people, "planbox planbox");
    assert_ne!(git(&repo, &["log", "-1", "--format=%ct", "main"]), "1");
    assert!(!canary.exists() && !home.path("trace").exists());
    assert_eq!(git(&other, &["log", "--format=%s"]), "first");
    assert_eq!(git(&other, &["status", "--porcelain"]), "");
}
