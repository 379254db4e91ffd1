//! A participant of your own: a settings file in JSON, committed together with a directory.
//!
//! Run it with `cargo run --example participant`. `docs/participants.md` explains the contract and
//! how to have the conformance suite try it; `tests/it/conformance/example.rs` does that here.
//!
//! The settings are one flat JSON object. A plan works on a private copy; what it changed is found
//! key by key, so that people and other plans may change other keys meanwhile. The merged file is
//! made durable beside the real one before anything is decided, and renamed into place afterwards,
//! with the original kept aside by a second name.
//!
//! Its limit: a program that takes no lock can write between the last look at the real file and the
//! rename. Plans cannot: they hold the file's guard for all of it.

use planbox::sandbox::{
    Action, Change, Changes, Guard, Identity, Kind, Outcome, Place, Redo, Resource, Sandbox,
    Sealed, Vote, Work,
};
use planbox::{Conflict, Directory, Fault, ParticipantError, PlanId, ResourceKey, ResourceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Keys = BTreeMap<String, String>;

/// The resource: which file is meant.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    file: PathBuf,
}

impl Settings {
    /// The settings in `file`, an absolute path.
    pub(crate) fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }
}

impl Resource for Settings {
    fn kind(&self) -> &'static str {
        "settings"
    }

    fn name(&self) -> Option<&ResourceName> {
        None
    }

    /// The file is another one after each commit, so it is known by its directory and its name.
    fn identify(&self) -> Outcome<Identity> {
        drop(read(&self.file)?);
        let mut enclosing = Vec::new();
        for dir in self.file.ancestors().skip(1) {
            let stat = fs::metadata(dir).map_err(|e| io("look at the directory", dir, e))?;
            enclosing.push(ResourceKey::new(
                "dir",
                format!("{}:{}", stat.dev(), stat.ino()),
            ));
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let within = enclosing.first().map_or("", ResourceKey::as_str);
        Ok(Identity {
            key: ResourceKey::new("settings", format!("{within}:{name}")),
            enclosing,
            tree: None,
        })
    }

    fn open(&self, place: &Place, _work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        let base = read(&self.file)?;
        write(&place.dir.join("base.json"), &base)?;
        write(&place.dir.join("settings.json"), &base)?;
        let record = Record {
            file: self.file.clone(),
            token: place.token.clone(),
            sealed: None,
        };
        let identity = self.identify()?;
        Ok(Box::new(Copy::new(record, identity, place)))
    }
}

/// Opens sandboxes again, in any process.
#[derive(Debug)]
pub(crate) struct SettingsKind;

impl Kind for SettingsKind {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn reopen(&self, record: &str, place: &Place) -> Outcome<Box<dyn Sandbox>> {
        let record: Record = parsed(record)?;
        if record.token != place.token {
            return Err(error(Fault::Corrupt, "the record of another sandbox"));
        }
        let identity = Settings::at(&record.file).identify()?;
        Ok(Box::new(Copy::new(record, identity, place)))
    }
}

/// What the journal keeps of a sandbox.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    file: PathBuf,
    token: String,
    sealed: Option<Keys>,
}

/// What the journal keeps of a decision: the whole content before and after.
#[derive(Debug, Serialize, Deserialize)]
struct Swap {
    before: Keys,
    after: Keys,
}

/// A sandbox: a private copy of the file.
#[derive(Debug)]
struct Copy {
    record: Record,
    identity: Identity,
    dir: PathBuf,
    view: PathBuf,
    /// Beside the real file, because a rename works only within one file system.
    staged: PathBuf,
    aside: PathBuf,
}

impl Copy {
    fn new(record: Record, identity: Identity, place: &Place) -> Self {
        let name = record
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let beside = |what| {
            record
                .file
                .with_file_name(format!(".{name}.{}.{what}", record.token))
        };
        Self {
            staged: beside("new"),
            aside: beside("old"),
            dir: place.dir.clone(),
            view: place.dir.join("settings.json"),
            record,
            identity,
        }
    }

    fn base(&self) -> Outcome<Keys> {
        read(&self.dir.join("base.json"))
    }

    /// What the plan wants: what is sealed, or else what is in the view now.
    fn wanted(&self) -> Outcome<Keys> {
        self.record
            .sealed
            .clone()
            .map_or_else(|| read(&self.view), Ok)
    }

    fn changes(&self) -> Outcome<Changes> {
        let (base, wanted) = (self.base()?, self.wanted()?);
        let mut changes = Changes::default();
        for key in touched(&base, &wanted) {
            let (action, bytes) = match (base.get(key), wanted.get(key)) {
                (None, Some(new)) => (Action::Added, new.len() as u64),
                (_, Some(new)) => (Action::Modified, new.len() as u64),
                (_, None) => (Action::Removed, 0),
            };
            changes
                .entries
                .push(Change::new(key, action, "setting", bytes));
        }
        Ok(changes)
    }
}

impl Sandbox for Copy {
    fn kind(&self) -> &'static str {
        "settings"
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn target(&self) -> String {
        self.record
            .file
            .display()
            .to_string()
            .escape_debug()
            .to_string()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.view)
    }

    fn view(&self) -> &'static str {
        "copy"
    }

    fn record(&self) -> String {
        serde_json::to_string(&self.record).unwrap_or_default()
    }

    fn diff(&self, _work: &Work<'_>) -> Outcome<Changes> {
        self.changes()
    }

    /// The sealed content is part of the record, where the plan cannot reach it.
    fn seal(&mut self, _work: &Work<'_>) -> Outcome<Sealed> {
        let wanted = self.wanted()?;
        let text = serde_json::to_string(&wanted).unwrap_or_default();
        self.record.sealed = Some(wanted);
        let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Sealed {
            changes: self.changes()?,
            digest,
        })
    }

    fn unseal(&mut self) -> Outcome<()> {
        self.record.sealed = None;
        remove(&self.staged)
    }

    /// The directory that the file is in: nobody commits there while we look and rename.
    fn guards(&self) -> Outcome<Vec<Guard>> {
        let dir = self.record.file.parent().unwrap_or(Path::new("/"));
        let file = File::open(dir).map_err(|e| io("open the directory", dir, e))?;
        let key = self
            .identity
            .enclosing
            .first()
            .unwrap_or(&self.identity.key);
        Ok(vec![Guard {
            key: key.clone(),
            file: Some(file),
            shared: false,
        }])
    }

    fn prepare(&mut self, _work: &Work<'_>) -> Outcome<Vote> {
        let (base, wanted, now) = (self.base()?, self.wanted()?, read(&self.record.file)?);
        let (mut merged, mut conflicts) = (now.clone(), Vec::new());
        for key in touched(&base, &wanted) {
            if now.get(key) != base.get(key) {
                conflicts.push(conflict(key, &base, &now, &wanted));
            }
            set(&mut merged, key, wanted.get(key));
        }
        if !conflicts.is_empty() {
            return Ok(Vote::Conflict(conflicts));
        }
        if merged == now {
            return Ok(Vote::ReadOnly);
        }
        write(&self.staged, &merged)?;
        let swap = Swap {
            before: now,
            after: merged,
        };
        let redo = Redo(serde_json::to_string(&swap).unwrap_or_default());
        Ok(Vote::Ready {
            redo,
            changes: self.changes()?,
        })
    }

    /// Done if and only if the original lies aside and nothing is staged any more.
    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let swap: Swap = parsed(&redo.0)?;
        if !self.staged.exists() {
            let done = self.aside.exists();
            return if done {
                Ok(())
            } else {
                Err(error(Fault::Lost, "the staged file is gone"))
            };
        }
        let now = read(&self.record.file)?;
        let foreign = touched(&swap.before, &now);
        let foreign: Vec<_> = foreign
            .map(|key| conflict(key, &swap.before, &now, &swap.after))
            .collect();
        if !foreign.is_empty() {
            let theirs_stands = work.keeps_theirs();
            return if theirs_stands {
                Ok(())
            } else {
                Err(ParticipantError::conflict(foreign))
            };
        }
        remove(&self.aside)?;
        let kept = fs::hard_link(&self.record.file, &self.aside);
        kept.map_err(|e| io("keep the original aside", &self.aside, e))?;
        drop(work.step(1, 2, "names"));
        rename(&self.staged, &self.record.file)?;
        drop(work.step(2, 2, "names"));
        Ok(())
    }

    /// Key by key, so that what others changed since is kept.
    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()> {
        let swap: Swap = parsed(&redo.0)?;
        if self.staged.exists() || !self.aside.exists() {
            return remove(&self.aside);
        }
        let now = read(&self.record.file)?;
        let (mut back, mut foreign) = (now.clone(), Vec::new());
        for key in touched(&swap.before, &swap.after) {
            if now.get(key) == swap.after.get(key) {
                set(&mut back, key, swap.before.get(key));
            } else if now.get(key) != swap.before.get(key) {
                foreign.push(conflict(key, &swap.after, &now, &swap.before));
            }
        }
        if back == swap.before {
            return rename(&self.aside, &self.record.file);
        }
        if back != now {
            write(&self.staged, &back)?;
            rename(&self.staged, &self.record.file)?;
        }
        if foreign.is_empty() || work.keeps_theirs() {
            return remove(&self.aside);
        }
        let mut error = error(Fault::Hazard, "others changed what the plan had committed");
        error.conflicts = foreign;
        Err(error.at(&self.aside))
    }

    fn settle(&mut self, _redo: &Redo) -> Outcome<()> {
        let dir = self.record.file.parent().unwrap_or(Path::new("/"));
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|e| io("sync the directory", dir, e))
    }

    fn discard(&mut self, _work: &Work<'_>) -> Outcome<()> {
        let base = self.dir.join("base.json");
        [&self.staged, &self.aside, &self.view, &base]
            .into_iter()
            .try_for_each(|path| remove(path))
    }
}

/// The keys in which two contents differ.
fn touched<'a>(one: &'a Keys, other: &'a Keys) -> impl Iterator<Item = &'a String> {
    let both: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    both.into_iter()
        .filter(|key| one.get(*key) != other.get(*key))
}

fn set(keys: &mut Keys, key: &str, value: Option<&String>) {
    match value {
        Some(value) => keys.insert(key.to_owned(), value.clone()),
        None => keys.remove(key),
    };
}

fn conflict(key: &str, base: &Keys, theirs: &Keys, ours: &Keys) -> Conflict {
    let shown = |keys: &Keys| {
        keys.get(key)
            .map_or("nothing".to_owned(), |text| format!("{text:?}"))
    };
    let place = key.escape_debug().to_string();
    Conflict::new(place, shown(base), shown(theirs), shown(ours))
}

fn error(fault: Fault, text: impl Into<String>) -> ParticipantError {
    ParticipantError::new(fault, text)
}

fn io(action: &str, path: &Path, source: std::io::Error) -> ParticipantError {
    ParticipantError::io(action, path, source)
}

fn parsed<T: for<'de> Deserialize<'de>>(text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|e| error(Fault::Corrupt, e.to_string()))
}

fn read(path: &Path) -> Outcome<Keys> {
    match fs::read_to_string(path) {
        Ok(text) => parsed(&text).map_err(|error| error.at(path)),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(error(Fault::Lost, "no such file").at(path))
        }
        Err(e) => Err(io("read the settings", path, e)),
    }
}

/// Writes the file, on disk when it returns.
fn write(path: &Path, keys: &Keys) -> Outcome<()> {
    let text = serde_json::to_string_pretty(keys).unwrap_or_default();
    let written = File::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    });
    written.map_err(|e| io("write the settings", path, e))
}

#[expect(
    clippy::disallowed_methods,
    reason = "planbox's own door to renames is not public"
)]
fn rename(from: &Path, to: &Path) -> Outcome<()> {
    fs::rename(from, to).map_err(|e| io("rename into place", to, e))
}

fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Commits settings and a directory together.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let (file, site) = (home.path().join("settings.json"), home.path().join("site"));
    fs::create_dir(&site)?;
    write(
        &file,
        &Keys::from([("theme".to_owned(), "light".to_owned())]),
    )?;

    let builder = planbox::SandboxManager::builder().kind(Arc::new(SettingsKind));
    let manager = builder.store(home.path().join("store")).open()?;
    let plan = PlanId::new("dark-theme")?;
    let pages = manager.open_sandbox(&plan, Directory::at(&site))?;
    let settings: Box<dyn Resource> = Box::new(Settings::at(&file));
    let settings = manager.open_sandbox(&plan, settings)?;

    // Any tool may do this, in any process.
    File::create(pages.path().join("dark.css"))?.write_all(b"body { color: white }")?;
    let view = settings.path().ok_or("settings have a path")?;
    File::create(view)?.write_all(br#"{ "theme": "dark", "since": "today" }"#)?;

    let receipt = manager.commit_all(&plan)?; // both, or neither
    writeln!(
        std::io::stdout(),
        "{receipt}\n{}",
        fs::read_to_string(&file)?
    )?;
    Ok(())
}
