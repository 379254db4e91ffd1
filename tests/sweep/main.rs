//! Every system call that changes something: killed at it, or failed at it.
//!
//! A reference run under `strace` counts the calls of a commit, a rollback or a recovery over two
//! directories. Then each call is, in a run of its own, the one at which the process is killed, or
//! the one that fails with EIO or ENOSPC. Afterwards `recover` runs, and both directories must be
//! old or both new; what the exit status said must be true; and the same command, given again, must
//! succeed.
//!
//! `cargo test --test sweep` takes every [`STRIDE`]-th point; `PLANBOX_SWEEP=full` takes all of them
//! (about three minutes). Without `strace` it says so and passes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints a table and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

const PLANBOX: &str = env!("CARGO_BIN_EXE_planbox");

/// The short run takes one point of so many.
const STRIDE: usize = 17;

/// The calls that change something, and those that find what is changed.
const CALLS: &str = "openat2,mkdirat,unlinkat,renameat2,linkat,symlinkat,fchmod,fchown,utimensat,\
    write,pwrite64,fsync,fdatasync,syncfs,ftruncate,copy_file_range,fsetxattr,flock,rename,unlink,link";

/// What is done to a call.
const WRONGS: [(&str, &str); 3] = [
    ("killed", "signal=SIGKILL"),
    ("EIO", "error=EIO"),
    ("ENOSPC", "error=ENOSPC"),
];

const COMMANDS: [&str; 3] = ["commit", "rollback", "recover"];

/// A commit of a directory, a branch that is checked out and a database; only killed, with its gits.
const MIXED: &str = "mixed";

/// The short run of the mixed plan takes one point of so many.
const MIXED_STRIDE: usize = 29;

/// Path -> content of both directories.
type Trees = BTreeMap<PathBuf, Vec<u8>>;

fn main() -> ExitCode {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace\n\n0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    }
    let full = std::env::var("PLANBOX_SWEEP").is_ok_and(|wish| wish == "full");
    let stride = if full { 1 } else { STRIDE };
    let (old, new) = (Bench::ready("commit").trees(), committed("commit"));
    let mixed = (Bench::ready(MIXED).trees(), committed(MIXED));
    println!("| command | calls | at each | runs | came out old | came out new | wrong |");
    println!("|---|---|---|---|---|---|---|");
    let (mut passed, mut failed) = (0, 0);
    for command in COMMANDS.into_iter().chain([MIXED]) {
        let is_mixed = command == MIXED;
        let stride = if is_mixed && !full {
            MIXED_STRIDE
        } else {
            stride
        };
        let wrongs = if is_mixed { 1 } else { WRONGS.len() };
        let ends = if is_mixed {
            (&mixed.0, &mixed.1)
        } else {
            (&old, &new)
        };
        let calls = count_calls(command);
        let points: Vec<(String, usize)> = calls
            .iter()
            .flat_map(|(call, count)| (1..=*count).map(|k| (call.clone(), k)))
            .collect();
        for (what, injection) in WRONGS.into_iter().take(wrongs) {
            let (mut olds, mut news, mut wrong) = (0, 0, Vec::new());
            for (call, k) in points.iter().step_by(stride) {
                match strike(command, &format!("{call}:{injection}:when={k}"), ends) {
                    Ok(true) => news += 1,
                    Ok(false) => olds += 1,
                    Err(text) => wrong.push(format!("{command}, {call} {k}, {what}: {text}")),
                }
            }
            let runs = olds + news + wrong.len();
            println!(
                "| {command} | {} | {what} | {runs} | {olds} | {news} | {} |",
                points.len(),
                wrong.len()
            );
            passed += olds + news;
            failed += wrong.len();
            for text in wrong {
                println!("{text}");
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A plan over two directories, changed and ready.
struct Bench(tempfile::TempDir);

impl Bench {
    fn ready(command: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for side in ["A", "B"] {
            let root = bench.path(side);
            fs::create_dir_all(root.join("sub")).unwrap();
            for name in ["change", "keep", "sub/gone"] {
                fs::write(root.join(name), "old").unwrap();
            }
        }
        if command == MIXED {
            return bench.mixed();
        }
        let sides = ["A", "B"].map(|side| format!("{side}={}", bench.path(side).display()));
        let [left, right] = &sides;
        bench.ok(&["open", "p", "--dir", left, "--dir", right]);
        for side in ["A", "B"] {
            let view = bench.ok(&["path", "p", side]);
            let view = PathBuf::from(String::from_utf8(view.stdout).unwrap().trim_end());
            fs::write(view.join("change"), "newer").unwrap();
            fs::create_dir_all(view.join("more/deep")).unwrap();
            fs::write(view.join("more/deep/added"), "new").unwrap();
            fs::remove_dir_all(view.join("sub")).unwrap();
        }
        if command == "recover" {
            let mut commit = bench.command(&["commit", "p"]);
            let killed = commit.env("PLANBOX_CRASH_AT", "apply.between").output();
            assert_eq!(killed.unwrap().status.code(), None);
        }
        bench
    }

    /// `A` is a directory, `B` a repository with its branch checked out, `db` a database.
    fn mixed(self) -> Self {
        let repo = self.path("B");
        git(&repo, &["init", "-q", "-b", "main"]);
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-q", "-m", "base"]);
        let table = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);";
        rows(&self.path("db"), table);
        let [left, right, db] = [("A", "A"), ("B", "B"), ("db", "db")]
            .map(|(n, p)| format!("{n}={}", self.path(p).display()));
        self.ok(&[
            "open", "p", "--dir", &left, "--git", &right, "--sqlite", &db,
        ]);
        let view = |name| {
            let view = self.ok(&["path", "p", name]);
            PathBuf::from(String::from_utf8(view.stdout).unwrap().trim_end())
        };
        for side in ["A", "B"] {
            fs::write(view(side).join("change"), "newer").unwrap();
            fs::remove_file(view(side).join("sub/gone")).unwrap();
        }
        rows(&view("db"), "INSERT INTO t VALUES (2);");
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PLANBOX);
        command
            .args(arguments)
            .env("PLANBOX_STORE", self.path("store"))
            .stdin(Stdio::null());
        command
    }

    fn ok(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// Runs planbox under `strace` with these of its options.
    fn traced(&self, options: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new("strace");
        command.arg("-f").args(options).arg(PLANBOX).args(arguments);
        // A witness that writes would add calls of its own to those that are swept.
        command
            .env("PLANBOX_STORE", self.path("store"))
            .env_remove("PLANBOX_LOCK_EDGES")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn trees(&self) -> Trees {
        let mut found = Trees::new();
        for side in ["A", "B"] {
            collect(&self.path(side), Path::new(side), &mut found);
        }
        if self.path("B/.git").exists() {
            let repo = self.path("B");
            found.retain(|path, _| !path.starts_with("B/.git"));
            git(&repo, &["fsck", "--strict"]);
            for what in [
                &["log", "--format=%s"][..],
                &["ls-tree", "-r", "main"],
                &["status", "--porcelain"],
            ] {
                found.insert(what.join(" ").into(), git(&repo, what));
            }
            found.insert("rows".into(), rows(&self.path("db"), ""));
        }
        found
    }
}

/// Runs git as a user would.
fn git(repo: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.current_dir(repo).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let who = ["-c", "user.name=u", "-c", "user.email=u@example.org"];
    let output = git.args(who).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

/// Runs `batch` on the database; then every row of it, and the verdict of SQLite.
fn rows(db: &Path, batch: &str) -> Vec<u8> {
    let db = rusqlite::Connection::open(db).unwrap();
    db.execute_batch(batch).unwrap();
    let all = "SELECT group_concat(id) || (SELECT * FROM pragma_integrity_check) FROM t";
    let text: String = db.query_row(all, [], |row| row.get(0)).unwrap();
    text.into_bytes()
}

fn collect(dir: &Path, below: &Path, found: &mut Trees) {
    found.insert(below.to_owned(), Vec::new());
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            collect(&path, &below, found);
        } else {
            found.insert(below, fs::read(path).unwrap());
        }
    }
}

fn committed(command: &str) -> Trees {
    let bench = Bench::ready(command);
    bench.ok(&["commit", "p"]);
    bench.trees()
}

/// Which calls `command` makes, and how often.
fn count_calls(command: &str) -> BTreeMap<String, usize> {
    let bench = Bench::ready(command);
    let command = spoken(command);
    let trace = bench.path("trace");
    let log = trace.to_str().unwrap();
    let output = bench.traced(
        &["-o", log, "-e", &format!("trace={CALLS}")],
        &[command, "p"],
    );
    assert!(output.status.success(), "{output:?}");
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let call = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.split_once('('));
        if let Some((call, _)) = call {
            *calls.entry(call.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

/// The command of planbox that is swept.
fn spoken(command: &str) -> &str {
    if command == MIXED { "commit" } else { command }
}

/// The lock of a branch that is in the way, and that its reader is told to remove: the call that was
/// struck may have been one of git's own, which leaves its locks behind when it is killed.
fn left_by_git(refused: &Output) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(&refused.stderr);
    let told = text
        .lines()
        .find(|line| line.contains("may be removed by hand: "))?;
    let lock = PathBuf::from(told.rsplit_once("by hand: ")?.1);
    (refused.status.code() == Some(5) && lock.extension()? == "lock").then_some(lock)
}

/// One run with one call struck. True if it came out new in the end.
fn strike(command: &str, inject: &str, (old, new): (&Trees, &Trees)) -> Result<bool, String> {
    let bench = Bench::ready(command);
    let command = spoken(command);
    let call = inject.split(':').next().unwrap_or_default();
    let options = [
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={inject}"),
    ];
    let output = bench.traced(&options, &[command, "p"]);
    let at_once = bench.trees();
    let recovered = bench.command(&["recover"]).output().unwrap();
    let after = bench.trees();
    let came_out_new = after == *new;
    if !came_out_new && after != *old {
        return Err(format!("mixed after recovery ({recovered:?})"));
    }
    let status = output.status.code();
    let honest = match status {
        Some(0) => command == "rollback" || came_out_new,
        // "Nothing changed": of a recovery that failed, what was there before it.
        Some(1 | 2 | 4 | 5 | 130) => command == "recover" || at_once == *old,
        // Killed, or "recovery needed": the recovery has just been.
        None | Some(6) => true,
        Some(_) => false,
    };
    if !honest {
        return Err(format!("exit status {status:?} was not true ({output:?})"));
    }
    let mut again = bench.command(&[command, "p"]).output().unwrap();
    if let Some(lock) = left_by_git(&again) {
        fs::remove_file(lock).unwrap();
        again = bench.command(&[command, "p"]).output().unwrap();
    }
    if !again.status.success() {
        return Err(format!("given again it fails ({again:?})"));
    }
    let wanted = match command {
        "commit" => new,
        "rollback" => old,
        _ => return Ok(came_out_new),
    };
    if bench.trees() != *wanted {
        return Err("given again it does not do its work".to_owned());
    }
    Ok(came_out_new)
}
