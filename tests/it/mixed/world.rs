//! One of everything: a directory, a git branch, a SQLite database and a value, in one plan.

use crate::support::manifest::{Manifest, contents};
use crate::support::plan;
use planbox::{Directory, Git, SandboxManager, Sqlite, Value, VersionRegister};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plan of every test here.
pub(super) const PLAN: &str = "mixed";

/// Everything real but the value, as comparable text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Real {
    /// The directory.
    pub(super) site: Manifest,
    /// The branch: the content of its tree.
    pub(super) tree: String,
    /// The first line of each commit on the branch, newest first.
    pub(super) history: Vec<String>,
    /// What git says of the work tree that has the branch checked out.
    pub(super) status: String,
    /// The files of that work tree, without the repository.
    pub(super) checkout: Manifest,
    /// Every row of every table of the database, with the schema.
    pub(super) rows: Vec<String>,
}

/// A home with one of everything.
pub(super) struct World {
    home: PathBuf,
}

impl World {
    /// Makes everything in `home`.
    pub(super) fn make(home: &Path) -> Self {
        let world = Self::at(home);
        std::fs::create_dir_all(world.site().join("sub")).unwrap();
        write(&world.site().join("index.html"), "old page");
        write(&world.site().join("sub/gone.html"), "old");
        std::fs::create_dir(world.repo()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        write(&world.repo().join("lib.rs"), "fn old() {}\n");
        write(&world.repo().join("README"), "read me\n");
        world.git(&["add", "-A"]);
        world.git(&["commit", "-q", "-m", "base"]);
        let db = Connection::open(world.db()).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, score REAL);
             INSERT INTO users VALUES (1, 'ann', 1.5), (2, 'bob', 2), (3, 'cid', NULL);
             CREATE TABLE pages (path TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
             INSERT INTO pages VALUES ('/', x'00ff');",
        )
        .unwrap();
        world
    }

    /// What was made in `home` before.
    pub(super) fn at(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
        }
    }

    pub(super) fn site(&self) -> PathBuf {
        self.home.join("site")
    }

    pub(super) fn repo(&self) -> PathBuf {
        self.home.join("repo")
    }

    pub(super) fn db(&self) -> PathBuf {
        self.home.join("app.db")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    pub(super) fn manager(&self) -> SandboxManager {
        SandboxManager::open(self.store()).unwrap()
    }

    /// Runs git in the repository as a user would, and returns what it prints.
    pub(super) fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.repo()).args(arguments);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A User");
            command.env(format!("GIT_{who}_EMAIL"), "user@example.org");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {text}{error}");
        text
    }

    /// Opens all four in the plan; the database decides if `decides` is true.
    pub(super) fn open_all(
        &self,
        manager: &SandboxManager,
        register: &VersionRegister<u32>,
        decides: bool,
    ) -> Views {
        let plan = plan(PLAN);
        let site = manager
            .open_sandbox(&plan, Directory::at(self.site()))
            .unwrap();
        let repo = Git::at(self.repo()).branch("main").message("the plan");
        let repo = manager.open_sandbox(&plan, repo).unwrap();
        let mut db = Sqlite::at(self.db());
        if decides {
            db = db.decides();
        }
        let db = manager.open_sandbox(&plan, db).unwrap();
        let value = manager.open_sandbox(&plan, Value::of(register)).unwrap();
        value.set("2", 2).unwrap();
        Views {
            site: site.path().to_owned(),
            repo: repo.path().to_owned(),
            db: db.path().to_owned(),
        }
    }

    /// Everything real, after git and SQLite have looked whether it is sound.
    pub(super) fn real(&self) -> Real {
        self.git(&["fsck", "--strict", "--no-dangling"]);
        let history = self.git(&["log", "--format=%s", "main"]);
        let mut checkout = contents(&self.repo());
        checkout.retain(|path, _| !path.starts_with(".git"));
        Real {
            site: contents(&self.site()),
            tree: self.git(&["ls-tree", "-r", "main"]),
            history: history.lines().map(str::to_owned).collect(),
            status: self.git(&["status", "--porcelain"]),
            checkout,
            rows: rows(&self.db()),
        }
    }

    /// What the plan left behind outside of its store: nothing, once it has ended.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let refs = self.git(&["for-each-ref", "--format=%(refname)", "refs/planbox"]);
        let mut found: Vec<String> = refs.lines().map(str::to_owned).collect();
        for directory in [self.home.clone(), self.site(), self.repo()] {
            for entry in std::fs::read_dir(directory).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.contains("planbox") {
                    found.push(name);
                }
            }
        }
        let git = contents(&self.repo().join(".git"));
        let locks = git.keys().filter_map(|path| path.to_str());
        found.extend(
            locks
                .filter(|path| path.contains(".lock") || path.contains("planbox"))
                .map(str::to_owned),
        );
        found
    }
}

/// Where the plan works.
pub(super) struct Views {
    pub(super) site: PathBuf,
    pub(super) repo: PathBuf,
    pub(super) db: PathBuf,
}

impl Views {
    /// Changes something of every kind.
    pub(super) fn change(&self) {
        write(&self.site.join("index.html"), "new page, longer");
        write(&self.site.join("added.html"), "new");
        std::fs::remove_file(self.site.join("sub/gone.html")).unwrap();
        write(&self.repo.join("lib.rs"), "fn new() {}\n");
        write(&self.repo.join("added.rs"), "// new\n");
        change_rows(&self.db);
    }
}

fn change_rows(db: &Path) {
    Connection::open(db)
        .unwrap()
        .execute_batch(
            "UPDATE users SET name = 'bobby' WHERE id = 2;
             DELETE FROM users WHERE id = 3;
             INSERT INTO users VALUES (4, 'dan', 4.0);
             INSERT INTO pages VALUES ('/new', 'text');",
        )
        .unwrap();
}

pub(super) fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    std::fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// Every table with every row, and the verdict of SQLite.
fn rows(db: &Path) -> Vec<String> {
    let db = Connection::open(db).unwrap();
    let mut found = Vec::new();
    let all = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut lines = Vec::new();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
            lines.push(values.collect::<Vec<_>>().join(", "));
        }
        lines
    };
    let verdict: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'planbox%' ORDER BY name";
    let mut statement = db.prepare(tables).unwrap();
    let names = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    for name in names.map(Result::unwrap) {
        found.push(name.clone());
        found.extend(all(&format!("SELECT * FROM \"{name}\" ORDER BY 1")));
    }
    found
}
