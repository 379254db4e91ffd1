//! Four unlike things in one plan: a directory, a git branch, a SQLite database and a value in
//! memory. A commit, a conflict, a failure in the middle of a commit, and a rollback.
//!
//! Run it with `cargo run --example four_kinds`. It works in a temporary directory that is removed
//! at the end, and needs git on the PATH.
#![expect(
    clippy::disallowed_methods,
    reason = "an example stands for other programs at work"
)]

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Outcome, Place, Redo, Sandbox, Sealed, Vote, Work,
};
use planbox::{
    Directory, Explain as _, Fault, Git, ParticipantError, PlanId, Resource, ResourceKey,
    ResourceName, SandboxManager, Sqlite, Value, VersionRegister,
};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "four_kinds: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The whole story, told to `out`. An error if anything is not as it is said to be.
pub(crate) fn run(out: &mut dyn Write) -> Done {
    let home = tempfile::tempdir()?;
    let world = World::new(home.path())?;
    writeln!(out, "Four things say 1:\n{}", world.manifest()?)?;

    writeln!(out, "1. All four change together.")?;
    let plan = world.release("release-2", 2)?;
    let receipt = world.manager.commit_all(&plan)?;
    writeln!(out, "{receipt}\n{}", world.manifest()?)?;

    writeln!(out, "2. A conflict in one of them changes nothing in any.")?;
    let plan = world.release("release-3", 3)?;
    fs::write(world.site(), "2, corrected by hand")?;
    let before = world.manifest()?;
    let failure = world.manager.commit_all(&plan).err();
    let failure = failure.ok_or("a change of somebody else was overwritten")?;
    writeln!(out, "{}: {failure}", failure.code())?;
    world.same_as(&before, out)?;
    world.manager.rollback_all(&plan)?;

    writeln!(
        out,
        "3. The last one fails when the others are in place: they are taken back."
    )?;
    let plan = world.release("release-4", 4)?;
    world.manager.open_sandbox(&plan, Announcement)?;
    let failure = world.manager.commit_all(&plan).err();
    let failure = failure.ok_or("what failed was committed")?;
    let cause = failure
        .source()
        .map(ToString::to_string)
        .unwrap_or_default();
    writeln!(out, "{failure}: {cause}")?;
    world.same_as(&before, out)?;

    writeln!(out, "4. Its work is kept until it is given up.")?;
    writeln!(
        out,
        "{} resources would change",
        world.manager.diff(&plan)?.resources.len()
    )?;
    let removed = world.manager.rollback_all(&plan)?;
    writeln!(out, "rolled back, {} sandboxes removed", removed.len())?;
    world.same_as(&before, out)
}

/// One real thing of each kind, and a manager.
struct World {
    home: PathBuf,
    live: VersionRegister<u32>,
    manager: SandboxManager,
}

impl World {
    fn new(home: &Path) -> Done<Self> {
        let world = Self {
            home: home.to_owned(),
            live: VersionRegister::new("v1", 1),
            manager: SandboxManager::open(home.join("store"))?,
        };
        fs::create_dir(home.join("site"))?;
        fs::write(world.site(), "1")?;
        fs::create_dir(home.join("app"))?;
        fs::write(home.join("app/VERSION"), "1")?;
        world.git(&["init", "--quiet", "--initial-branch=main"])?;
        world.git(&["add", "VERSION"])?;
        world.git(&["commit", "--quiet", "--message=Version 1"])?;
        let database = rusqlite::Connection::open(home.join("data.db"))?;
        database.execute_batch(
            "CREATE TABLE released (id INTEGER PRIMARY KEY, version TEXT NOT NULL);
             INSERT INTO released VALUES (1, '1');",
        )?;
        Ok(world)
    }

    fn site(&self) -> PathBuf {
        self.home.join("site/VERSION")
    }

    /// A plan that sets all four to `version`, each in its private view. Any tool, any process
    /// could do that: three of them are paths.
    fn release(&self, name: &str, version: u32) -> Done<PlanId> {
        let plan = PlanId::new(name)?;
        let open = &self.manager;
        let site = open.open_sandbox(&plan, Directory::at(self.home.join("site")))?;
        let branch = Git::at(self.home.join("app"))
            .branch("main")
            .message(format!("Version {version}"))
            .author("Ada Example", "ada@example.org");
        let app = open.open_sandbox(&plan, branch)?;
        let data = open.open_sandbox(&plan, Sqlite::at(self.home.join("data.db")))?;
        let live = open.open_sandbox(&plan, Value::of(&self.live))?;

        fs::write(site.path().join("VERSION"), version.to_string())?;
        fs::write(app.path().join("VERSION"), version.to_string())?;
        let database = rusqlite::Connection::open(data.path())?;
        database.execute("INSERT INTO released VALUES (?1, ?1)", [version])?;
        live.set(format!("v{version}"), version)?;
        Ok(plan)
    }

    /// What is really there, in all four.
    fn manifest(&self) -> Done<String> {
        let site = fs::read_to_string(self.site())?;
        let tip = self.git(&["rev-parse", "--short", "main"])?;
        let status = self.git(&["status", "--porcelain"])?;
        let tree = fs::read_to_string(self.home.join("app/VERSION"))?;
        let database = rusqlite::Connection::open(self.home.join("data.db"))?;
        let rows = "SELECT group_concat(id || '=' || version, ', ') FROM released";
        let rows: String = database.query_row(rows, [], |row| row.get(0))?;
        let value = self.live.snapshot();
        Ok(format!(
            "  directory  {site}\n  git        main at {} with {tree}{}\n  sqlite     {rows}\n  \
             value      {}, {}\n",
            tip.trim(),
            if status.is_empty() { "" } else { ", not clean" },
            value.version(),
            value.value().copied().unwrap_or_default()
        ))
    }

    fn same_as(&self, before: &str, out: &mut dyn Write) -> Done {
        let now = self.manifest()?;
        if now != before {
            return Err(format!("it was\n{before}and is\n{now}").into());
        }
        writeln!(out, "All four are exactly as before:\n{now}")?;
        Ok(())
    }

    fn git(&self, arguments: &[&str]) -> Done<String> {
        let mut git = Command::new("git");
        git.current_dir(self.home.join("app"))
            .args([
                "-c",
                "user.name=Ada Example",
                "-c",
                "user.email=ada@example.org",
            ])
            .args(arguments)
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for variable in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "XDG_CONFIG_HOME",
        ] {
            git.env_remove(variable);
        }
        let output = git
            .output()
            .map_err(|error| format!("four_kinds needs git on the PATH: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A participant of the host's own: a message to a server that is down when it matters. It says
/// yes when it is asked, and fails when it is to act.
#[derive(Debug, Clone, Copy)]
struct Announcement;

/// Its sandbox: there is nothing to work in.
#[derive(Debug)]
struct Draft {
    identity: Identity,
}

fn announcement() -> Identity {
    Identity {
        key: ResourceKey::new("announcement", "https://news.example.org"),
        enclosing: Vec::new(),
        tree: None,
    }
}

impl Resource for Announcement {
    fn kind(&self) -> &'static str {
        "announcement"
    }

    fn name(&self) -> Option<&ResourceName> {
        None
    }

    fn identify(&self) -> Outcome<Identity> {
        Ok(announcement())
    }

    fn open(&self, _place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        Ok(Box::new(Draft {
            identity: announcement(),
        }))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

impl Sandbox for Draft {
    fn kind(&self) -> &'static str {
        "announcement"
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        "https://news.example.org".to_owned()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn view(&self) -> &'static str {
        "memory"
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn record(&self) -> String {
        "{}".to_owned()
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        let mut changes = Changes::default();
        changes
            .entries
            .push(Change::new("announcement", Action::Added, "message", 0));
        Ok(changes)
    }

    fn seal(&mut self, work: &Work<'_>) -> Outcome<Sealed> {
        let changes = self.diff(work)?;
        let digest = "0".repeat(64);
        Ok(Sealed { changes, digest })
    }

    fn unseal(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn guards(&self) -> Outcome<Vec<Guard>> {
        Ok(Vec::new())
    }

    fn prepare(&mut self, work: &Work<'_>) -> Outcome<Vote> {
        let changes = self.diff(work)?;
        let redo = Redo("{}".to_owned());
        Ok(Vote::Ready { redo, changes })
    }

    fn apply(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        Err(ParticipantError::new(Fault::Io, "the server answered 503"))
    }

    fn take_back(&mut self, _redo: &Redo, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        Ok(())
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        Ok(())
    }
}
