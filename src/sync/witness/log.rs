//! What the witness has seen, in memory and in the file.
#![expect(
    clippy::disallowed_types,
    reason = "the witness cannot watch its own table through itself"
)]

use super::{Edge, Hold, Rank};
use crate::sync::analysis::{Declared, Line, Process, VERSION};
use crate::sync::order::ORDER;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::panic::Location;
use std::sync::OnceLock;

/// The file to which everything new is appended.
const FILE: &str = "PLANBOX_LOCK_EDGES";

/// `record`: nothing is refused.
const WITNESS: &str = "PLANBOX_LOCK_WITNESS";

#[derive(Default)]
struct Seen {
    edges: BTreeSet<Edge>,
    holds: BTreeSet<Hold>,
    ranks: BTreeSet<Rank>,
}

static SEEN: parking_lot::Mutex<Option<Seen>> = parking_lot::Mutex::new(None);

/// A lock, where it was taken, and a door that was passed under it.
type Passage = (
    Rank,
    &'static str,
    &'static Location<'static>,
    &'static Location<'static>,
);

thread_local! {
    /// What this thread has told already: most nestings are old ones, and are not worth a lock that
    /// all threads share.
    static TOLD: RefCell<(HashSet<Edge>, HashSet<Passage>)> = RefCell::default();
}

crate::sync::thread_local! {
    /// A test plants an error on this thread: it is not written to the file.
    pub(super) static PLANTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// True if this thread has not told of this before.
pub(super) fn is_news(passage: Passage) -> bool {
    let told = TOLD.try_with(|told| told.borrow_mut().1.insert(passage));
    told.unwrap_or(true)
}

/// True unless this is a run that only records.
pub(super) fn refuses() -> bool {
    static REFUSES: OnceLock<bool> = OnceLock::new();
    *REFUSES.get_or_init(|| std::env::var_os(WITNESS).is_none_or(|wish| wish != "record"))
}

pub(super) fn edges() -> Vec<Edge> {
    let seen = SEEN.lock();
    seen.iter().flat_map(|seen| &seen.edges).copied().collect()
}

pub(super) fn holds() -> Vec<Hold> {
    let seen = SEEN.lock();
    seen.iter().flat_map(|seen| &seen.holds).cloned().collect()
}

pub(super) fn ranks() -> Vec<Rank> {
    let seen = SEEN.lock();
    seen.iter().flat_map(|seen| &seen.ranks).copied().collect()
}

/// Records a nesting.
pub(super) fn nesting(edge: Edge) {
    let news = TOLD.try_with(|told| told.borrow_mut().0.insert(edge));
    if news == Ok(false) {
        return;
    }
    declared(edge.held);
    declared(edge.taken);
    let first = SEEN.lock().get_or_insert_default().edges.insert(edge);
    if first {
        write(&[Line::Edge(edge.into())]);
    }
}

/// Records a lock that is held across I/O.
pub(super) fn hold(hold: Hold) {
    let first = SEEN
        .lock()
        .get_or_insert_default()
        .holds
        .insert(hold.clone());
    if first {
        write(&[Line::Hold(hold)]);
    }
}

/// Records a rank of a host, with the whole order that it belongs to.
pub(super) fn declared(rank: Rank) {
    let Some(host) = rank.host() else { return };
    let first = SEEN.lock().get_or_insert_default().ranks.insert(rank);
    if first {
        let lines = host.all().map(|rank| Line::Rank(rank.into()));
        write(&lines.collect::<Vec<_>>());
    }
}

/// The file, if there is one. The first question of a process writes its first lines: who it is, and
/// the order of this crate.
fn file() -> Option<&'static OsString> {
    static PATH: OnceLock<Option<OsString>> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let path = std::env::var_os(FILE)?;
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_name());
        let process = Line::Process(Process {
            version: VERSION,
            pid: std::process::id(),
            program: program.unwrap_or_default().to_string_lossy().into_owned(),
        });
        let ranks = ORDER.iter().map(|row| Line::Rank(Declared::from(row)));
        append(
            &path,
            &std::iter::once(process).chain(ranks).collect::<Vec<_>>(),
        );
        Some(path)
    });
    path.as_ref()
}

fn write(lines: &[Line]) {
    if PLANTED.with(std::cell::Cell::get) {
        return;
    }
    if let Some(path) = file() {
        append(path, lines);
    }
}

/// One write for all of the lines, so that those of several processes do not mix.
fn append(path: &OsString, lines: &[Line]) {
    use std::io::Write as _;
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
        text.push('\n');
    }
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    // What cannot be written shows up as something that was never seen.
    drop(file.and_then(|mut file| file.write_all(text.as_bytes())));
}
