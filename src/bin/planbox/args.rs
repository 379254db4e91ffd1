//! What can be asked for: the arguments as they are typed.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Help for the exit status, at the end of `planbox --help`.
const EXIT_STATUS: &str = "\
Exit status:
  0    done (also: already committed, nothing to do)
  1    failed, nothing changed
  2    usage, or refused input
  3    findings (doctor, diff --exit-code)
  4    conflict with changes made by others, nothing changed
  5    busy, or the lock time-out ran out; nothing changed
  6    recovery needed: run `planbox recover`
  7    CMD failed, nothing changed, the sandbox is kept
  130  interrupted

Data goes to standard output, everything else to standard error.";

/// Commit several directories together, or not at all.
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
    #[arg(long, global = true, value_name = "DIR")]
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
    #[arg(long = "dir", value_name = "[NAME=]PATH")]
    pub(crate) dirs: Vec<OsString>,
    /// How the private view is made
    #[arg(long, value_name = "VIEW", default_value = "auto")]
    pub(crate) view: ViewArg,
    /// Leave everything of this name out of the view and of the commit
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<OsString>,
    /// Take the directories of version control systems in, too
    #[arg(long)]
    pub(crate) with_vcs: bool,
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
#[command(override_usage = "planbox run [OPTIONS] [PLAN] [--dir [NAME=]PATH]... -- CMD...")]
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
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) cmd: Vec<OsString>,
}

/// Help for the environment of CMD.
const COMMAND_ENVIRONMENT: &str = "\
CMD is given PLANBOX_PLAN, PLANBOX_STORE and PLANBOX_PATH_<NAME> for every resource (NAME in upper
case, everything but letters and digits replaced by `_`). With exactly one directory, its sandbox is
the working directory of CMD. With --json, the standard output of CMD goes to standard error, so
that standard output is one JSON object. The plan is locked while CMD runs.";

/// `planbox open`
#[derive(Debug, Args)]
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
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read() {
        let cases = [
            ("0", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("7", 7_000),
            ("2m", 120_000),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("1d"), Ok(Duration::from_secs(86_400)));
        for text in [
            "",
            "s",
            "1w",
            "-1s",
            "1.5s",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn global_options_go_before_and_after_the_command() {
        for line in ["planbox --json -q status", "planbox status --json -q"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json && cli.global.quiet, "{line}");
        }
    }

    #[test]
    fn the_plan_of_run_is_optional_and_the_command_is_kept_as_it_is() {
        let line = ["planbox", "run", "--dir", "a=x", "--", "sh", "-c", "--json"];
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!((run.plan, run.cmd.len(), cli.global.json), (None, 3, false));
        let line = ["planbox", "run", "--plan", "-p", "--dir", "x", "--", "true"];
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        assert_eq!(run.dashed.as_deref(), Some("-p"));
        assert!(Cli::try_parse_from(["planbox", "run", "p", "--dir", "x", "true"]).is_err());
        assert!(Cli::try_parse_from(["planbox", "exec", "--", "true"]).is_err());
    }
}
