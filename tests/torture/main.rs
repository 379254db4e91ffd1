//! The torture matrix: what directory tools do to a live tree when things go wrong. It drives the
//! command line from outside and prints our row.
//!
//! `cargo test --test torture -- --nocapture`. Each cell passes if the real tree is all old or all
//! new, the exit status tells which, and no byte of anybody is lost. The full-disk cells need a
//! small file system of their own and are run in a mount namespace; where the system gives none,
//! they are named as skipped.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints a table and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

const PLANBOX: &str = env!("CARGO_BIN_EXE_planbox");

/// Exit statuses of the command line's contract.
const DONE: i32 = 0;
const FAILED_OLD: i32 = 1;
const CONFLICT: i32 = 4;

/// Files in the tree whose apply is killed.
const FILES: usize = 300;

/// Where in the apply the process is killed: after this many files.
const KILL_AFTER: [usize; 8] = [1, 2, 37, 75, 150, 225, 298, 299];

type Cell = (&'static str, fn() -> Verdict);

/// How a cell ended.
enum Verdict {
    Pass(String),
    Skip(String),
}

const CELLS: [Cell; 7] = [
    ("kill -9 in the middle of the apply", killed_in_apply),
    ("a person edits a file meanwhile", edited_meanwhile),
    (
        "disk full while committing, store beside the tree",
        full_disk_same,
    ),
    ("disk full under the tree, store elsewhere", full_disk_tree),
    ("two plans change different files", disjoint),
    (
        "an immutable file (or unwritable directory) in the middle",
        immutable,
    ),
    ("a parent becomes a symlink to the outside", symlink_swapped),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, case, home] = &arguments[..]
        && flag == "--in-namespace"
    {
        full_disk_inside(case, Path::new(home));
        return ExitCode::SUCCESS;
    }
    println!("| test | planbox |");
    println!("|---|---|");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, run) in CELLS {
        let text = match catch_unwind(run) {
            Ok(Verdict::Pass(text)) => {
                passed += 1;
                format!("pass: {text}")
            }
            Ok(Verdict::Skip(text)) => {
                skipped += 1;
                format!("skipped: {text}")
            }
            Err(panic) => {
                failed += 1;
                let text = panic
                    .downcast_ref::<String>()
                    .map_or("see above", String::as_str);
                format!("FAIL: {text}")
            }
        };
        println!("| {name} | {text} |");
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A home with a real tree and a store.
struct Home {
    dir: PathBuf,
    store: PathBuf,
    _guard: Option<tempfile::TempDir>,
}

impl Home {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let dir = guard.path().to_owned();
        fs::create_dir(dir.join("tree")).unwrap();
        let store = dir.join("store");
        Self {
            dir,
            store,
            _guard: Some(guard),
        }
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    fn planbox(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PLANBOX);
        command.arg("--store").arg(&self.store).args(arguments);
        command
    }

    fn open(&self, plan: &str) -> PathBuf {
        let tree = self.tree();
        let opened = self
            .planbox(&["open", plan, "--dir"])
            .arg(&tree)
            .output()
            .unwrap();
        assert_eq!(code(&opened), DONE, "open: {}", said(&opened));
        let path = self.planbox(&["path", plan, "dir"]).output().unwrap();
        assert_eq!(code(&path), DONE, "path: {}", said(&path));
        PathBuf::from(String::from_utf8(path.stdout).unwrap().trim_end())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.planbox(arguments).output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// Name -> content of every file directly in `tree`.
fn contents(tree: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(tree)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn fill(dir: &Path, files: usize, text: &str) {
    for index in 0..files {
        write(
            &dir.join(format!("f{index:04}")),
            &format!("{text} {index}"),
        );
    }
}

fn killed_in_apply() -> Verdict {
    let (mut old_count, mut new_count) = (0, 0);
    for after in KILL_AFTER {
        let home = Home::new();
        fill(&home.tree(), FILES, "old");
        let old = contents(&home.tree());
        let view = home.open("p");
        fill(&view, FILES, "new and longer");
        let new = contents(&view);
        let killed = home
            .planbox(&["commit", "p"])
            .env("PLANBOX_CRASH_AT", format!("apply.between:{after}"))
            .output()
            .unwrap();
        assert_eq!(
            killed.status.signal(),
            Some(9),
            "not killed: {}",
            said(&killed)
        );
        let between = contents(&home.tree());
        assert!(
            between != old && between != new,
            "the kill was not in the middle"
        );
        let recovered = home.run(&["recover"]);
        assert_eq!(code(&recovered), DONE, "recover: {}", said(&recovered));
        let after = contents(&home.tree());
        assert!(after == old || after == new, "mixed after recovery");
        old_count += usize::from(after == old);
        new_count += usize::from(after == new);
    }
    let runs = KILL_AFTER.len();
    Verdict::Pass(format!(
        "{runs} kills: {old_count} all old, {new_count} all new, 0 mixed"
    ))
}

fn edited_meanwhile() -> Verdict {
    let home = Home::new();
    fill(&home.tree(), 3, "old");
    let view = home.open("p");
    fill(&view, 3, "ours");
    write(&home.tree().join("f0001"), "a person's edit");
    let theirs = contents(&home.tree());
    let output = home.run(&["commit", "p"]);
    assert_eq!(code(&output), CONFLICT, "{}", said(&output));
    assert_eq!(contents(&home.tree()), theirs, "something was written");
    assert!(
        said(&output).contains("f0001"),
        "the path is named: {}",
        said(&output)
    );
    assert_eq!(contents(&view).len(), 3, "the sandbox is kept");
    Verdict::Pass("refused with 4, the edit and the sandbox are kept".to_owned())
}

fn disjoint() -> Verdict {
    let home = Home::new();
    fill(&home.tree(), 4, "old");
    let (first, second) = (home.open("first"), home.open("second"));
    write(&first.join("f0000"), "by the first");
    write(&second.join("f0001"), "by the second");
    write(&home.tree().join("f0002"), "by a person");
    for plan in ["first", "second"] {
        let output = home.run(&["commit", plan]);
        assert_eq!(code(&output), DONE, "{plan}: {}", said(&output));
    }
    let now = contents(&home.tree());
    for (name, text) in [
        ("f0000", "by the first"),
        ("f0001", "by the second"),
        ("f0002", "by a person"),
    ] {
        assert_eq!(
            now.get(name).map(Vec::as_slice),
            Some(text.as_bytes()),
            "{name}"
        );
    }
    Verdict::Pass("both land, and so does a person's edit of a third".to_owned())
}

fn immutable() -> Verdict {
    let home = Home::new();
    fill(&home.tree(), 3, "old");
    let old = contents(&home.tree());
    let view = home.open("p");
    fill(&view, 3, "new and longer");
    let middle = home.tree().join("f0001");
    let chattr = |flag: &str| {
        Command::new("chattr")
            .arg(flag)
            .arg(&middle)
            .status()
            .is_ok_and(|status| status.success())
    };
    if !chattr("+i") {
        return unwritable();
    }
    let output = home.run(&["commit", "p"]);
    let now = contents(&home.tree());
    assert!(chattr("-i"));
    assert_eq!(code(&output), FAILED_OLD, "{}", said(&output));
    assert_eq!(now, old, "something was written");
    assert!(
        said(&output).contains("f0001"),
        "the path is named: {}",
        said(&output)
    );
    let again = home.run(&["commit", "p"]);
    assert_eq!(
        code(&again),
        DONE,
        "after clearing the flag: {}",
        said(&again)
    );
    Verdict::Pass("refused with 1, everything old; commits once the flag is cleared".to_owned())
}

/// The same without root: one of three directories cannot be written.
fn unwritable() -> Verdict {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    for name in ["a", "b", "c"] {
        fs::create_dir(home.tree().join(name)).unwrap();
        write(&home.tree().join(name).join("f"), "old");
    }
    let view = home.open("p");
    for name in ["a", "b", "c"] {
        write(&view.join(name).join("f"), "new and longer");
    }
    let middle = home.tree().join("b");
    fs::set_permissions(&middle, fs::Permissions::from_mode(0o555)).unwrap();
    let output = home.run(&["commit", "p"]);
    fs::set_permissions(&middle, fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(code(&output), DONE, "{}", said(&output));
    for name in ["a", "b", "c"] {
        assert_eq!(fs::read(home.tree().join(name).join("f")).unwrap(), b"old");
    }
    Verdict::Pass("an unwritable directory: refused, everything old".to_owned())
}

fn symlink_swapped() -> Verdict {
    let home = Home::new();
    let outside = home.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    write(&outside.join("f"), "not ours");
    fs::create_dir(home.tree().join("d")).unwrap();
    write(&home.tree().join("d/f"), "old");
    let view = home.open("p");
    write(&view.join("d/f"), "payload");
    fs::rename(home.tree().join("d"), home.dir.join("moved")).unwrap();
    std::os::unix::fs::symlink(&outside, home.tree().join("d")).unwrap();
    let output = home.run(&["commit", "p"]);
    assert_ne!(code(&output), DONE, "{}", said(&output));
    assert_eq!(
        fs::read(outside.join("f")).unwrap(),
        b"not ours",
        "written outside the root"
    );
    assert_eq!(fs::read(home.dir.join("moved/f")).unwrap(), b"old");
    Verdict::Pass(format!(
        "refused with {}, nothing outside is touched",
        code(&output)
    ))
}

fn full_disk_same() -> Verdict {
    in_namespace("same")
}

fn full_disk_tree() -> Verdict {
    in_namespace("tree")
}

/// Runs a full-disk case in a mount namespace of its own.
fn in_namespace(case: &str) -> Verdict {
    let home = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let probe = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([
            flags,
            "--",
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=1m",
            "planbox-test",
        ]);
        command
            .arg(home.path())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let Some(flags) = ["-m", "-Urm"].into_iter().find(|flags| probe(flags)) else {
        return Verdict::Skip("no mount namespace is to be had here".to_owned());
    };
    let output = Command::new("unshare")
        .args([flags, "--"])
        .arg(me)
        .args(["--in-namespace", case])
        .arg(home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    Verdict::Pass(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Inside the namespace: a tmpfs that is too small for the plan.
fn full_disk_inside(case: &str, home: &Path) {
    let small = home.join("small");
    fs::create_dir_all(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "planbox-test"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    let store = match case {
        "same" => small.join("store"),
        _ => home.join("store"),
    };
    let home = Home {
        dir: small.clone(),
        store,
        _guard: None,
    };
    fs::create_dir(home.tree()).unwrap();
    fill(&home.tree(), 3, "old");
    let old = contents(&home.tree());
    let view = home.open("p");
    fill(&view, 3, "new and longer");
    write(&view.join("big"), &"x".repeat(2 << 20));
    // Everything that is left of the small disk but half of what the plan needs is taken.
    let hog = small.join("hog");
    let mut file = File::create(&hog).unwrap();
    let chunk = vec![0_u8; 64 << 10];
    let mut taken = 0_usize;
    while file.write_all(&chunk).is_ok() {
        taken += chunk.len();
    }
    let spare = 1 << 20;
    assert!(taken > spare, "the disk was full before: {taken}");
    file.set_len((taken - spare) as u64).unwrap();
    let output = home.run(&["commit", "p"]);
    let status = code(&output);
    assert_eq!(contents(&home.tree()), old, "something was written");
    assert_eq!(status, FAILED_OLD, "{}", said(&output));
    assert!(view.join("big").exists(), "the sandbox is kept");
    drop(file);
    fs::remove_file(&hog).unwrap();
    let again = AssertUnwindSafe(home.run(&["commit", "p"]));
    assert_eq!(code(&again), DONE, "with space again: {}", said(&again));
    assert_eq!(fs::read(home.tree().join("big")).unwrap().len(), 2 << 20);
    println!("refused with 1, everything old, the sandbox kept; commits once there is space");
}
