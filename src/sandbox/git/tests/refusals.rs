//! What is refused, and with which reason.

use super::*;
use std::os::unix::net::UnixListener;

fn says(error: &ParticipantError, fault: Fault, text: &str) {
    assert_eq!(error.fault, fault, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_name_is_literal_or_refused_and_never_an_option() {
    let world = World::new();
    let bad = [
        "-p",
        "--force",
        "HEAD",
        "x.lock",
        "a..b",
        "@{-1}",
        "",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "*",
        "refs/heads/",
        "refs/heads/-d",
        "/",
        "a//b",
        ".a",
        "a/",
        "a\nb",
        "a\\b",
        "\u{1b}[31m",
    ];
    for name in bad {
        let error = world.refusal(&Git::at(world.repo()).branch(name));
        says(&error, Fault::Refused, "is no name for a branch");
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }
    let long = "l".repeat(240);
    for name in [long.as_str(), "ends-with-p/-p", "{}", "$(id)", "gr\u{fc}n"] {
        world.git(&["branch", "--", name, "main"]);
        let mut sandbox = world.open_as("named", &Git::at(world.repo()).branch(name));
        edit(&*sandbox, "a.txt", name);
        commit(&mut *sandbox);
        assert_eq!(
            world.git(&["show", &format!("refs/heads/{name}:a.txt")]),
            name
        );
        sandbox.discard(&work()).unwrap();
    }
    let absent = world.refusal(&Git::at(world.repo()).branch("tags/x"));
    says(
        &absent,
        Fault::Refused,
        "there is no branch refs/heads/tags/x",
    );
}

#[test]
fn what_is_no_repository_is_refused() {
    let world = World::new();
    let home = world.home.path();
    says(
        &world.refusal(&Git::at(home)),
        Fault::Refused,
        "not the top of a git work tree",
    );
    says(
        &world.refusal(&Git::at(home.join("absent"))),
        Fault::Refused,
        "no such repository",
    );
    says(
        &world.refusal(&Git::at(world.repo().join("dir"))),
        Fault::Refused,
        "not the top",
    );
    write(&home.join("fake/.git"), "gitdir: ../repo/dir\n");
    says(
        &world.refusal(&Git::at(home.join("fake"))),
        Fault::Refused,
        "not the top",
    );
    write(&home.join("fake/.git"), "nonsense\n");
    says(
        &world.refusal(&Git::at(home.join("fake"))),
        Fault::Refused,
        "does not lead to",
    );
}

#[test]
fn a_head_on_no_branch_asks_for_a_name() {
    let world = World::new();
    assert!(
        Git::at(world.repo())
            .identify()
            .unwrap()
            .key
            .as_str()
            .ends_with(":refs/heads/trunk")
    );
    world.git(&["checkout", "-q", "--detach"]);
    let error = Git::at(world.repo()).identify().unwrap_err();
    says(&error, Fault::Refused, "HEAD is on no branch");
    world.resource().identify().unwrap();
}

#[test]
fn another_name_for_a_branch_is_refused() {
    let world = World::new();
    world.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let error = world.refusal(&Git::at(world.repo()).branch("alias"));
    says(
        &error,
        Fault::Refused,
        "only another name for refs/heads/main",
    );
}

#[test]
fn a_repository_of_somebody_else_is_refused() {
    let world = World::new();
    let dot_git = world.repo().join(".git");
    if std::os::unix::fs::chown(&dot_git, Some(12_345), None).is_err() {
        return;
    }
    let error = world.resource().identify().unwrap_err();
    says(&error, Fault::Refused, "safe.directory");
    std::os::unix::fs::chown(&dot_git, Some(0), None).unwrap();
    world.resource().identify().unwrap();
}

#[test]
fn an_unfinished_merge_rebase_or_bisect_on_the_branch_is_refused() {
    let world = World::new();
    let marks = [
        ("MERGE_HEAD", "merge", "trunk"),
        ("CHERRY_PICK_HEAD", "cherry-pick", "trunk"),
        ("rebase-merge/head-name", "rebase", "main"),
        ("BISECT_START", "bisect", "main"),
    ];
    for (file, what, branch) in marks {
        let path = world.repo().join(".git").join(file);
        let text = match what {
            "rebase" => "refs/heads/main\n".to_owned(),
            "bisect" => "main\n".to_owned(),
            _ => world.git(&["rev-parse", "main"]),
        };
        write(&path, &text);
        let error = world.refusal(&Git::at(world.repo()).branch(branch));
        says(
            &error,
            Fault::Refused,
            &format!("in the middle of a {what}"),
        );
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_person_or_message_that_would_forge_a_header_is_refused() {
    let world = World::new();
    for (name, email) in [
        ("a\nb", "a@b"),
        ("a", "x>\ncommitter e <e"),
        ("a<b", "a@b"),
        ("", "a@b"),
        (" .;", "a@b"),
        ("a", ""),
        ("a\u{0}", "a@b"),
    ] {
        let error = world.refusal(&world.resource().author(name, email));
        says(&error, Fault::Refused, "of a person");
        assert_eq!(
            world
                .refusal(&world.resource().committer(name, email))
                .fault,
            Fault::Refused
        );
    }
    let error = world.refusal(&world.resource().message("a\0b"));
    says(&error, Fault::Refused, "the message of a commit");
}

#[test]
fn a_repository_inside_the_view_is_refused_by_path() {
    let world = World::new();
    let mut sandbox = world.open();
    let inside = sandbox.path().unwrap().join("vendor/lib");
    std::fs::create_dir_all(&inside).unwrap();
    git(&inside, &["init", "-q"]);
    write(&inside.join("x"), "x");
    for _ in 0..2 {
        let error = sandbox.seal(&work()).unwrap_err();
        says(&error, Fault::Refused, "there is a git repository inside");
        assert_eq!(error.path.as_deref(), Some(inside.as_path()));
        git(&inside, &["add", "x"]);
        drop(raw(&inside, &["commit", "-qm", "x"]));
    }
    // An ignored one is nobody's business.
    edit(&*sandbox, ".gitignore", "vendor/\n*.log\n");
    edit(&*sandbox, "b.log", "log");
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.entries.len(), 1);
    assert!(
        sealed.changes.notes[0].starts_with("2 names are left out"),
        "{sealed:?}"
    );
}

#[test]
fn names_that_reach_a_git_directory_are_refused() {
    let world = World::new();
    for name in [".GIT/config", "git~1/hooks", ".git\u{200c}/x", "sub/.Git/x"] {
        let sandbox = world.open();
        edit(&*sandbox, name, "evil");
        let refused = sandbox.diff(&work()).unwrap_err();
        assert_eq!(refused.fault, Fault::Refused, "{name}: {refused}");
        let mut sandbox = sandbox;
        sandbox.discard(&work()).unwrap();
    }
    // The same in the branch itself.
    let blob = world.git(&["hash-object", "-w", "a.txt"]);
    let line = format!("100644 blob {blob}\tconfig\n");
    let inner = piped(&world.repo(), &["mktree"], &line);
    let tree = piped(
        &world.repo(),
        &["mktree"],
        &format!("040000 tree {inner}\t.git\n"),
    );
    let evil = world.git(&["commit-tree", &tree, "-m", "evil"]);
    world.git(&["branch", "evil", &evil]);
    let refused = world.refusal(&Git::at(world.repo()).branch("evil"));
    says(&refused, Fault::Refused, "cannot be checked out");
    world.git(&["branch", "-D", "evil"]);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
}

fn piped(dir: &Path, args: &[&str], input: &str) -> String {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = Command::new("git")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn special_files_are_noted_and_those_that_git_reads_are_refused() {
    let world = World::new();
    let mut sandbox = world.open();
    let view = sandbox.path().unwrap().to_path_buf();
    let socket = UnixListener::bind(view.join("dir/socket")).unwrap();
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.notes, ["dir/socket: a socket is left out"]);
    assert!(sealed.changes.is_empty());
    sandbox.unseal().unwrap();
    drop(socket);
    let pipe = Command::new("mkfifo")
        .arg(view.join("dir/.gitignore"))
        .status()
        .unwrap();
    assert!(pipe.success());
    says(
        &sandbox.seal(&work()).unwrap_err(),
        Fault::Refused,
        "git would read it",
    );
}

#[test]
fn a_view_that_was_replaced_is_lost() {
    let world = World::new();
    let mut sandbox = world.open();
    let view = sandbox.path().unwrap().to_path_buf();
    rustix::fs::rename(&view, view.with_extension("aside")).unwrap();
    says(
        &sandbox.seal(&work()).unwrap_err(),
        Fault::Lost,
        "the view is gone",
    );
    std::os::unix::fs::symlink("/etc", &view).unwrap();
    says(
        &sandbox.seal(&work()).unwrap_err(),
        Fault::Lost,
        "the view is gone",
    );
    std::fs::remove_file(&view).unwrap();
    std::fs::create_dir(&view).unwrap();
    says(
        &sandbox.seal(&work()).unwrap_err(),
        Fault::Lost,
        "in the place of the view",
    );
    sandbox.discard(&work()).unwrap();
}

#[test]
fn a_lock_left_by_a_dead_git_is_named_and_stays() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    let lock = world.repo().join(".git/refs/heads/main.lock");
    write(&lock, "");
    sandbox.seal(&work()).unwrap();
    let busy = sandbox.prepare(&work()).unwrap_err();
    says(&busy, Fault::Busy, "may be removed by hand");
    assert_eq!(busy.path.as_deref(), Some(lock.as_path()));
    assert!(lock.exists());
    std::fs::remove_file(&lock).unwrap();
    let redo = prepared(&mut *sandbox);
    write(&lock, "");
    assert_eq!(
        sandbox.apply(&redo, &work()).unwrap_err().fault,
        Fault::Busy
    );
    std::fs::remove_file(&lock).unwrap();
    sandbox.apply(&redo, &work()).unwrap();
}

#[test]
fn a_repository_that_is_gone_or_another_one_is_lost() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    let (repo, aside) = (world.repo(), world.home.path().join("aside"));
    rustix::fs::rename(&repo, &aside).unwrap();
    sandbox.seal(&work()).unwrap();
    says(
        &sandbox.prepare(&work()).unwrap_err(),
        Fault::Lost,
        "the repository is gone",
    );
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q"]);
    says(
        &sandbox.guards().unwrap_err(),
        Fault::Lost,
        "another repository",
    );
    sandbox.discard(&work()).unwrap();
    assert!(
        std::fs::read_dir(world.place("one").dir)
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_record_that_is_not_ours_is_corrupt() {
    let world = World::new();
    let sandbox = world.open();
    let record = sandbox.record();
    assert!(GitKind.reopen("{}", &world.place("one")).is_err());
    assert!(GitKind.reopen(&record, &world.place("two")).is_err());
    for (from, to) in [
        ("\"version\":1", "\"version\":9"),
        ("refs/heads/main", "HEAD"),
    ] {
        let error = GitKind.reopen(&record.replace(from, to), &world.place("one"));
        assert_eq!(error.unwrap_err().fault, Fault::Corrupt, "{to}");
    }
}

#[test]
fn a_submodule_that_would_run_a_program_is_refused() {
    let world = World::new();
    let mut sandbox = world.open();
    let text = "[submodule \"x\"]\n\tpath = x\n\turl = ./x\n\tupdate = !id\n";
    edit(&*sandbox, ".gitmodules", text);
    sandbox.seal(&work()).unwrap();
    says(
        &sandbox.prepare(&work()).unwrap_err(),
        Fault::Refused,
        "disallowed submodule update",
    );
    sandbox.discard(&work()).unwrap();
}
