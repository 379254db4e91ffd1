//! What can be asked for: the arguments as they are typed.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Help for the exit status, at the end of `planbox --help`.
const EXIT_STATUS: &str = "\
Exit status:
  0    done (also: already committed, nothing to do)
  1    failed, nothing changed
  2    usage, or refused input
  3    findings (doctor, diff --exit-code, locks --check)
  4    conflict with changes made by others, nothing changed
  5    busy, or the lock time-out ran out; nothing changed
  6    recovery needed: run `planbox recover`
  7    CMD failed, nothing changed, the sandbox is kept
  130  interrupted

Data goes to standard output, everything else to standard error.";

/// Commit directories, git branches and SQLite databases together, or not at all.
#[derive(Debug, Parser)]
#[command(name = "planbox", version, after_help = EXIT_STATUS, max_term_width = 100)]
#[command(arg_required_else_help = true, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store [default: `$PLANBOX_STORE`, else `planbox` in the XDG state directory]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) store: Option<PathBuf>,
    /// Print one JSON object on standard output (`log`: one per line)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for a lock: 0 (do not wait), 500ms, 10s, 2m, 1h
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = parse_duration)]
    pub(crate) lock_timeout: Duration,
    /// Say nothing on standard error but errors; `run` leaves standard output to CMD
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on standard error
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Do not ask
    #[arg(long, global = true)]
    pub(crate) yes: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open a plan, run CMD in its sandbox, commit if CMD succeeds
    Run(Run),
    /// Open a plan, or add to it; prints the paths to work in
    Open(Open),
    /// Run CMD in an open plan, without a commit
    Exec(Exec),
    /// Print where a plan works
    Path(PathArgs),
    /// Show plans, states, resources, ages, sizes and holders
    Status(OnePlan),
    /// Show what would be committed
    Diff(Diff),
    /// Make all changes of a plan real, or none
    Commit(Commit),
    /// Give a plan up and remove its sandboxes
    Rollback(ThePlan),
    /// Finish or undo what a crash left
    Recover(Recover),
    /// Tell the story of a plan, or of all
    Log(OnePlan),
    /// Remove what nobody needs any more
    Gc(Gc),
    /// Show who holds which plan, or judge what a run recorded of its locks
    Locks(Locks),
    /// Look for trouble in the store
    Doctor,
    /// Show, follow, cancel and remove jobs
    #[command(subcommand)]
    Job(Job),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// The resources of a plan.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct Resources {
    /// A directory; NAME must not hold a `/` (`./a=b` is a path) [default name: dir, dir2, ...]
    #[arg(long = "dir", value_name = "[NAME=]PATH", value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<OsString>,
    /// A branch of a git repository; without #BRANCH the one that is checked out. A path that holds
    /// a `#` gets one more at its end [default name: git, git2, ...]
    #[arg(long = "git", value_name = "[NAME=]REPO[#BRANCH]", value_hint = ValueHint::DirPath)]
    pub(crate) branches: Vec<OsString>,
    /// A SQLite database that exists [default name: sqlite, sqlite2, ...]
    #[arg(long = "sqlite", value_name = "[NAME=]FILE", value_hint = ValueHint::FilePath)]
    pub(crate) databases: Vec<OsString>,
    /// The message of the commits on git branches [default: planbox: PLAN]
    #[arg(short, long, value_name = "TEXT", requires = "branches", value_parser = parse_message)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) message: Option<String>,
    /// The author of the commits on git branches: 'NAME <EMAIL>' [default: planbox]
    #[arg(long, value_name = "AUTHOR", requires = "branches", value_parser = parse_author)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) author: Option<Author>,
    /// The SQLite database whose own commit decides for the whole plan; at most one in a plan
    #[arg(long, value_name = "NAME", requires = "databases")]
    pub(crate) decide_in: Option<String>,
    /// How the private view of a directory is made
    #[arg(long, value_name = "VIEW", default_value = "auto")]
    pub(crate) view: ViewArg,
    /// Leave everything of this name out of the view of a directory and out of the commit
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<OsString>,
    /// Take in the version-control stores (`.git` and the like) of a directory, too
    #[arg(long)]
    pub(crate) with_vcs: bool,
}

impl Resources {
    /// True if none is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.branches.is_empty() && self.databases.is_empty()
    }
}

/// Who a git commit is said to be by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// Reads `Name <email>`. Both end up in one line of a commit, so neither can hold a line feed.
fn parse_author(text: &str) -> Result<Author, String> {
    let wrong = || "write it like 'Ada Lovelace <ada@example.org>', in one line".to_owned();
    if text.contains(char::is_control) {
        return Err(wrong());
    }
    let inside = text.trim().strip_suffix('>').ok_or_else(wrong)?;
    let (name, email) = inside.rsplit_once('<').ok_or_else(wrong)?;
    let (name, email) = (name.trim(), email.trim());
    let plain = |part: &str| !part.is_empty() && !part.contains(['<', '>']);
    if !(plain(name) && plain(email)) {
        return Err(wrong());
    }
    let (name, email) = (name.to_owned(), email.to_owned());
    Ok(Author { name, email })
}

/// Reads the message of a commit: any text but nothing.
fn parse_message(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a commit needs a message that says something".to_owned());
    }
    Ok(text.to_owned())
}

/// How the private view of a directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViewArg {
    /// The cheapest that the file system can
    Auto,
    /// A full copy
    Copy,
    /// A copy that shares its blocks
    Reflink,
}

/// `planbox run`
#[derive(Debug, Args)]
#[command(override_usage = "planbox run [OPTIONS] [PLAN] RESOURCES... -- CMD...")]
#[command(after_help = COMMAND_ENVIRONMENT)]
pub(crate) struct Run {
    /// The plan; a fresh one if left out. One that has sandboxes needs no RESOURCES
    pub(crate) plan: Option<String>,
    /// The plan, for ids that begin with a dash
    #[arg(long = "plan", value_name = "PLAN", conflicts_with = "plan")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) dashed: Option<String>,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// File what CMD writes in the log of the job, too; CMD writes to pipes then
    #[arg(long)]
    pub(crate) log: bool,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) cmd: Vec<OsString>,
}

/// Help for the environment of CMD.
const COMMAND_ENVIRONMENT: &str = "\
CMD is given PLANBOX_PLAN, PLANBOX_STORE and PLANBOX_PATH_<NAME> for every resource (NAME in upper
case, everything but letters and digits replaced by `_`). With exactly one directory or git branch,
its sandbox is the working directory of CMD; a database beside it does not change that. With --json, the standard output of CMD goes to standard error, so
that standard output is one JSON object. The plan is locked while CMD runs.";

/// `planbox open`
#[derive(Debug, Args)]
#[command(override_usage = "planbox open [OPTIONS] PLAN RESOURCES...")]
pub(crate) struct Open {
    /// The plan
    pub(crate) plan: String,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

/// `planbox exec`
#[derive(Debug, Args)]
#[command(override_usage = "planbox exec [OPTIONS] PLAN -- CMD...")]
#[command(after_help = COMMAND_ENVIRONMENT)]
pub(crate) struct Exec {
    /// The plan
    #[arg(required_unless_present = "dashed")]
    pub(crate) plan: Option<String>,
    /// The plan, for ids that begin with a dash
    #[arg(long = "plan", value_name = "PLAN", conflicts_with = "plan")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) dashed: Option<String>,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) cmd: Vec<OsString>,
}

/// `planbox path`
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// The plan
    pub(crate) plan: String,
    /// The resource; without it, one `NAME<tab>PATH` line for each
    pub(crate) name: Option<String>,
}

/// A command about one plan or all.
#[derive(Debug, Args)]
pub(crate) struct OnePlan {
    /// The plan; all of them if left out
    pub(crate) plan: Option<String>,
}

/// `planbox recover`
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// The plan; all of them if left out
    pub(crate) plan: Option<String>,
    /// After a hazard: leave what others changed as it is, and give up our side of it
    #[arg(long, requires = "plan")]
    pub(crate) keep_theirs: bool,
}

/// A command about one plan.
#[derive(Debug, Args)]
pub(crate) struct ThePlan {
    /// The plan
    pub(crate) plan: String,
}

/// `planbox diff`
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The plan
    pub(crate) plan: String,
    /// Only the totals of each resource
    #[arg(long)]
    pub(crate) stat: bool,
    /// Exit with 3 if something would be committed
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// `planbox commit`
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The plan
    pub(crate) plan: String,
    /// Check everything, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `planbox gc`
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Forget receipts and stories of plans that ended longer ago: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ended: Option<Duration>,
    /// Roll back open plans that were not touched for longer: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) idle: Option<Duration>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `planbox locks`
#[derive(Debug, Args)]
#[command(after_help = LOCK_DUMPS)]
pub(crate) struct Locks {
    /// Judge the dumps: exit with 3 on a cycle, an undeclared edge or a lock held across I/O
    #[arg(long, requires = "files", conflicts_with = "graph")]
    pub(crate) check: bool,
    /// Draw the dumps; without a FILE, the order that planbox itself declares
    #[arg(long, value_name = "FORMAT")]
    pub(crate) graph: Option<GraphFormat>,
    /// Dumps of debug builds; with neither --check nor --graph they are judged
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Help for where dumps come from.
const LOCK_DUMPS: &str = "\
Without a FILE: the plans whose lease is held, by whom, for what and since when. A program that
embeds planbox writes a dump if a debug build of it runs with PLANBOX_LOCK_EDGES=FILE; with
PLANBOX_LOCK_WITNESS=record it goes on where it would have stopped. Several FILEs are judged as one
run.";

/// How a graph of locks is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For graphviz
    Dot,
    /// For pages that draw mermaid
    Mermaid,
    /// A picture
    Svg,
    /// One `RANK/LOCK RANK/LOCK` per line: to compare runs, or for tsort
    Pairs,
}

/// `planbox job`
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show all jobs
    List,
    /// Show one job
    Show(TheJob),
    /// Print the log of a job
    Log(JobLog),
    /// Tell those who watch a job: a line for its log, and how far it is
    Note(JobNote),
    /// Ask the owner of a job to stop; a job that nobody works on is cancelled at once
    Cancel(TheJob),
    /// Remove jobs that are completed, failed or cancelled, with their logs
    Prune(JobPrune),
}

/// A command about one job.
#[derive(Debug, Args)]
pub(crate) struct TheJob {
    /// The job; a `run` is a job with the id of its plan
    pub(crate) job: String,
}

/// `planbox job note`
#[derive(Debug, Args)]
#[command(
    after_help = "In CMD of a `run`: planbox job note \"$PLANBOX_PLAN\" \"half of it\" --done 50"
)]
pub(crate) struct JobNote {
    /// The job
    pub(crate) job: String,
    /// The line
    pub(crate) line: String,
    /// How much of the work is done, in percent; never less than before, and 99 at the most
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(i64).range(0..=100))]
    pub(crate) done: Option<i64>,
}

/// `planbox job log`
#[derive(Debug, Args)]
#[command(after_help = "Each line: when, which attempt, what")]
pub(crate) struct JobLog {
    /// The job
    pub(crate) job: String,
    /// Go on until the job ends
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `planbox job prune`
#[derive(Debug, Args)]
pub(crate) struct JobPrune {
    /// The jobs; all of them if left out
    pub(crate) jobs: Vec<String>,
    /// Only those that ended longer ago: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0")]
    pub(crate) older_than: Duration,
}

/// `planbox completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Reads `0`, `500ms`, `10s`, `2m`, `1h` or `7d`; a number without a unit is in seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || "write it like 0, 500ms, 10s, 2m, 1h or 7d".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(milliseconds).ok_or("it is too long")?;
    Ok(Duration::from_millis(total))
}

#[cfg(test)]
mod tests;
