//! One power cut: a plan over two directories, cut, started anew, recovered, compared.

use crate::support::home_in_memory;
use planbox::faults::{Faults, Loss, Wrong};
use planbox::{Directory, GcOptions, PlanId, SandboxManager};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// What is being done when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Open,
    Seal,
    Commit,
    /// A commit of what the owner had sealed before.
    CommitSealed,
    RollBack,
}

impl Task {
    pub(super) const ALL: [Self; 5] = [
        Self::Open,
        Self::Seal,
        Self::Commit,
        Self::CommitSealed,
        Self::RollBack,
    ];

    /// About how many calls it makes that change something, with the settling.
    pub(super) fn most_calls(self) -> u64 {
        match self {
            Self::Open => 60,
            Self::Seal => 70,
            Self::Commit => 260,
            Self::CommitSealed => 200,
            Self::RollBack => 90,
        }
    }
}

/// Which cut, and what it loses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) task: Task,
    /// The call that the power goes at; if there are fewer, it goes at the end.
    pub(super) at: u64,
    /// The same of the recovery, for a second cut.
    pub(super) again: Option<u64>,
    /// One flush of the whole file system instead of many.
    pub(super) whole: bool,
    pub(super) loss: Loss,
    pub(super) seed: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// There was a call to cut at.
    pub(super) struck: bool,
    pub(super) is_new: bool,
}

/// Path -> mode and content of both directories.
type Trees = BTreeMap<PathBuf, String>;

type Run<T = ()> = Result<T, String>;

/// A plan over two directories, open and changed.
pub(super) struct Bench {
    home: tempfile::TempDir,
    pub(super) faults: Faults,
    manager: Option<SandboxManager>,
    old: Trees,
    new: Trees,
    /// Without the record of the decision, for a control.
    pub(super) undecided: bool,
}

const SIDES: [&str; 2] = ["A", "B"];

fn plan() -> PlanId {
    PlanId::new("p").unwrap()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn collect(dir: &Path, below: &Path, found: &mut Trees) {
    let mode = fs::metadata(dir).unwrap().permissions().mode();
    found.insert(below.to_owned(), format!("directory {mode:o}"));
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        let mode = entry.metadata().unwrap().permissions().mode();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&path, &below, found);
        } else if kind.is_symlink() {
            found.insert(
                below,
                format!("link to {}", fs::read_link(path).unwrap().display()),
            );
        } else {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            found.insert(below, format!("file {mode:o} {text:?}"));
        }
    }
}

fn trees(home: &Path) -> Trees {
    let mut found = Trees::new();
    for side in SIDES {
        collect(&home.join(side), Path::new(side), &mut found);
    }
    found
}

/// What the plan does in one of its views.
fn work_in(view: &Path) {
    // Every operation there is: a replacement, a creation, a deletion, an attribute.
    put(&view.join("change"), "newer");
    put(&view.join("more/deep/added"), "new");
    symlink("change", view.join("more/link")).unwrap();
    fs::remove_file(view.join("sub/gone")).unwrap();
    fs::remove_file(view.join("last/file")).unwrap();
    fs::remove_dir(view.join("last")).unwrap();
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(view.join("kept"), mode).unwrap();
}

impl Bench {
    pub(super) fn new(cut: &Cut) -> Self {
        let home = home_in_memory();
        for side in SIDES {
            for name in ["change", "keep", "sub/gone", "last/file", "kept/file"] {
                put(&home.path().join(side).join(name), "old");
            }
        }
        let old = trees(home.path());
        // What new is, the same work done by hand says.
        let mut new = Trees::new();
        for side in SIDES {
            let copy = home.path().join("twin").join(side);
            for name in ["change", "keep", "sub/gone", "last/file", "kept/file"] {
                put(&copy.join(name), "old");
            }
            work_in(&copy);
            collect(&copy, Path::new(side), &mut new);
        }
        let faults = Faults::below(home.path()).unwrap();
        faults.flush_whole(Some(cut.whole));
        Self {
            home,
            faults,
            manager: None,
            old,
            new,
            undecided: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn manager(&self) -> &SandboxManager {
        self.manager.as_ref().unwrap()
    }

    fn start(&mut self) -> Run {
        let undecided = self.undecided;
        let manager = SandboxManager::builder()
            .store(self.path("store"))
            .without(|without| without.decision = undecided)
            .open();
        self.manager = Some(manager.map_err(|error| format!("the store: {error:?}"))?);
        Ok(())
    }

    fn open(&self) -> Run<Vec<PathBuf>> {
        let opened = SIDES.map(|side| {
            let directory = Directory::at(self.path(side));
            let opened = self.manager().open_sandbox(&plan(), directory);
            opened.map(|sandbox| sandbox.path().to_owned())
        });
        let opened: Result<Vec<_>, _> = opened.into_iter().collect();
        opened.map_err(|error| format!("open: {error:?}"))
    }

    fn record(&self) {
        self.faults.record(&self.path("store/journal.db")).unwrap();
    }

    /// Does what is to be cut. Whether it says that it succeeded.
    fn work(&self, task: Task) -> Run {
        let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
        match task {
            Task::Open => self.open().map(drop),
            Task::Seal => {
                let sealed = self.manager().seal(&plan());
                sealed.map(drop).map_err(|error| text(&error))
            }
            Task::Commit | Task::CommitSealed => {
                let committed = self.manager().commit_all(&plan());
                committed.map(drop).map_err(|error| text(&error))
            }
            Task::RollBack => {
                let gone = self.manager().rollback_all(&plan());
                gone.map(drop).map_err(|error| text(&error))
            }
        }
    }

    pub(super) fn play(mut self, cut: &Cut) -> Run<Fate> {
        self.start()?;
        if cut.task != Task::Open {
            self.open()?.iter().for_each(|view| work_in(view));
        }
        if cut.task == Task::CommitSealed {
            self.work(Task::Seal)?;
        }
        self.record();
        self.faults.strike(Wrong::PowerCut, cut.at);
        let said = self.work(cut.task);
        // What is said after the cut, nobody hears.
        let heard = (!self.faults.is_cut()).then_some(said);
        self.manager().settle();
        let struck = self.faults.is_cut();
        let mut story = self.power_back(cut.loss, cut.seed);
        if let Some(again) = cut.again {
            self.record();
            self.faults.strike(Wrong::PowerCut, again);
            // It may fail in any way: nobody is there to see it.
            drop(self.start());
            self.manager = self.manager.take().inspect(SandboxManager::settle);
            story.extend(self.power_back(cut.loss, cut.seed));
        }
        let is_new = self.recover(cut.task, heard).map_err(|what| {
            let lost = story.join("\n  ");
            format!("{what}\nlost:\n  {lost}")
        })?;
        Ok(Fate { struck, is_new })
    }

    fn power_back(&mut self, loss: Loss, seed: u64) -> Vec<String> {
        self.faults.cut();
        let mut story: Vec<String> = self.faults.struck().into_iter().collect();
        self.manager = None;
        self.wait_for_the_last_user();
        story.extend(self.faults.restart(loss, seed).unwrap());
        self.faults.mend();
        story
    }

    /// A settling thread may hold the manager a moment longer than anybody waits for it. The last
    /// thing that SQLite does is to close the journal; then only the recording has it open.
    fn wait_for_the_last_user(&self) {
        let journal = self.path("store/journal.db");
        let users = || {
            let open = fs::read_dir("/proc/self/fd").unwrap();
            open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
                .filter(|path| *path == journal)
                .count()
        };
        while users() > 1 {
            std::thread::yield_now();
        }
    }

    /// The next process: true if everything is new. What was `heard` before the cut must be true.
    fn recover(&mut self, task: Task, heard: Option<Run>) -> Run<bool> {
        self.start()?;
        let recovered = self.manager().recovered();
        if !recovered.is_clean() {
            return Err(format!("recovery: {recovered:?}"));
        }
        self.manager().settle();
        let found = trees(self.home.path());
        let is_new = found == self.new;
        if !is_new && found != self.old {
            return Err(format!("mixed:\n{}", self.apart(&found)));
        }
        let commits = matches!(task, Task::Commit | Task::CommitSealed);
        match heard {
            Some(Ok(())) if commits && !is_new => return Err("a commit is lost".to_owned()),
            Some(Err(error)) => return Err(format!("failed before the cut: {error}")),
            _ if is_new && !commits => return Err("nobody committed".to_owned()),
            _ => (),
        }
        self.end(task, is_new)?;
        Ok(is_new)
    }

    /// Whatever is left of the plan can be ended, and then nothing is.
    ///
    /// A commit may still succeed if the plan was sealed: with all of it. A view that was not sealed
    /// was not flushed either, and is refused.
    fn end(&self, task: Task, mut is_new: bool) -> Run {
        let again = self.manager().commit_all(&plan());
        if is_new && !again.as_ref().is_ok_and(planbox::Receipt::is_repeat) {
            return Err(format!(
                "everything is new, but the commit is not done: {again:?}"
            ));
        }
        if let (false, Ok(receipt)) = (is_new, &again) {
            let mut parts = receipt.resources().iter();
            is_new = !parts.all(|part| part.changes.entries.is_empty());
            if is_new && !matches!(task, Task::Seal | Task::CommitSealed) {
                return Err(format!("the work survived what it could not: {receipt:?}"));
            }
        }
        if again.is_err() && self.manager().status(&plan()).is_ok() {
            let gone = self.manager().rollback_all(&plan());
            gone.map_err(|error| format!("roll back: {error:?}"))?;
        }
        self.manager().settle();
        let wanted = if is_new { &self.new } else { &self.old };
        let found = trees(self.home.path());
        if found != *wanted {
            return Err(format!(
                "after the end of the plan:\n{}",
                self.apart(&found)
            ));
        }
        // A cut may bring back what was removed from a plan that has ended: that is swept.
        let swept = self.manager().gc(&GcOptions::default());
        swept.map_err(|error| format!("gc: {error:?}"))?;
        let left: Vec<_> = fs::read_dir(self.path("store/plans"))
            .map(|found| found.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("left: {left:?}"))
        }
    }

    fn apart(&self, found: &Trees) -> String {
        let paths = self.old.keys().chain(self.new.keys()).chain(found.keys());
        let paths: std::collections::BTreeSet<_> = paths.collect();
        let lines = paths.into_iter().map(|path| {
            let [old, new, is] = [&self.old, &self.new, found].map(|tree| tree.get(path));
            format!("{}: old {old:?}, new {new:?}, is {is:?}", path.display())
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
