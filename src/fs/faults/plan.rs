//! What goes wrong below one directory, and when.

use super::Id;
use super::crash::Loss;
use super::trace::Trace;
use crate::fs::stat::Time;
use crate::sync::{Mutex, Rank};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// How many directories are registered: without one, every call is made as it is.
static REGISTERED: AtomicUsize = AtomicUsize::new(0);

static PLANS: OnceLock<Mutex<Vec<Weak<Plan>>>> = OnceLock::new();

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// It fails with this error number; the next one works again.
    Once(i32),
    /// It fails with EIO, and so does everything after it: the disk is gone.
    Gone,
    /// If it writes content, a part reaches the file and the rest fails with ENOSPC. Any other call
    /// fails with ENOSPC.
    Short,
    /// It does not happen, nor does anything after it: the power is gone.
    PowerCut,
}

/// The faults of everything below one directory, until it is dropped.
#[derive(Debug)]
pub struct Faults {
    plan: Arc<Plan>,
}

#[derive(Debug)]
pub(super) struct Plan {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<(Wrong, u64)>,
    gone: bool,
    cut: bool,
    calls: u64,
    struck: Option<String>,
    trace: Option<Trace>,
    whole: Option<bool>,
    forgotten: Vec<String>,
    boots: u64,
    shown: HashMap<Id, (Time, Time)>,
}

pub(super) fn any() -> bool {
    REGISTERED.load(Ordering::Relaxed) > 0
}

fn plans() -> Vec<Arc<Plan>> {
    let Some(plans) = PLANS.get() else {
        return Vec::new();
    };
    plans.lock().iter().filter_map(Weak::upgrade).collect()
}

/// The plan of the directory that `path` is below.
pub(super) fn covering(path: &Path) -> Option<Arc<Plan>> {
    plans()
        .into_iter()
        .find(|plan| path.starts_with(&plan.root))
}

pub(super) fn shown(id: Id, ctime: Time) -> Time {
    let found = plans().into_iter().find_map(|plan| {
        let state = plan.state.lock();
        let (real, shown) = state.shown.get(&id)?;
        (*real == ctime).then_some(*shown)
    });
    found.unwrap_or(ctime)
}

impl Faults {
    /// Watches over everything below `root`, a directory without links on its way. Nothing goes
    /// wrong until a test says so.
    ///
    /// # Errors
    /// What the system says about `root`.
    pub fn below(root: &Path) -> io::Result<Self> {
        let plan = Arc::new(Plan {
            root: std::fs::canonicalize(root)?,
            state: Mutex::new(Rank::Leaf, "faults", State::default()),
        });
        let plans = PLANS.get_or_init(|| Mutex::new(Rank::Leaf, "plans of faults", Vec::new()));
        plans.lock().push(Arc::downgrade(&plan));
        REGISTERED.fetch_add(1, Ordering::SeqCst);
        Ok(Self { plan })
    }

    /// From now on, the `nth` call that changes something (1 is the next) goes wrong.
    pub fn strike(&self, wrong: Wrong, nth: u64) {
        let mut state = self.plan.state.lock();
        state.armed = Some((wrong, nth.max(1)));
        state.struck = None;
    }

    /// Everything works again. What was struck first, if anything was.
    #[expect(
        clippy::must_use_candidate,
        reason = "most callers only want it to work again"
    )]
    pub fn mend(&self) -> Option<String> {
        let mut state = self.plan.state.lock();
        state.armed = None;
        state.gone = false;
        state.struck.take()
    }

    /// What was struck first since the last [`strike`](Self::strike).
    #[must_use]
    pub fn struck(&self) -> Option<String> {
        self.plan.state.lock().struck.clone()
    }

    /// How many calls that change something were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan.state.lock().calls
    }

    /// Whether many flushes become one of the whole file system; `None` leaves it to the product.
    pub fn flush_whole(&self, whole: Option<bool>) {
        self.plan.state.lock().whole = whole;
    }

    /// For a negative control: from now on, a flush of anything whose path contains `part` does
    /// nothing.
    pub fn without_flush(&self, part: &str) {
        self.plan.state.lock().forgotten.push(part.to_owned());
    }

    /// Begins to record. Everything that was done before counts as flushed. `journal` is the
    /// durable journal of the store.
    ///
    /// # Errors
    /// What the system says.
    pub fn record(&self, journal: &Path) -> io::Result<()> {
        let shown = self.plan.state.lock().shown.clone();
        let trace = Trace::begin(&self.plan.root, journal, shown)?;
        self.plan.state.lock().trace = Some(trace);
        Ok(())
    }

    /// The power goes, if it has not gone yet.
    pub fn cut(&self) {
        self.plan.state.lock().cut_now();
    }

    /// True if the power is gone.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.plan.state.lock().cut
    }

    /// The power is back, and the machine is started anew: what was not flushed is lost as `loss`
    /// and `seed` say. Says what is lost. Whoever used the files must be gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn restart(&self, loss: Loss, seed: u64) -> io::Result<Vec<String>> {
        self.cut();
        let trace = self.plan.state.lock().trace.take();
        let mut shown = HashMap::new();
        let told = match trace {
            Some(trace) => trace.crash(loss, seed, &mut shown)?,
            None => Vec::new(),
        };
        let mut state = self.plan.state.lock();
        state.shown.extend(shown);
        state.armed = None;
        state.cut = false;
        state.gone = false;
        state.boots += 1;
        Ok(told)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        REGISTERED.fetch_sub(1, Ordering::SeqCst);
        if let Some(plans) = PLANS.get() {
            let own = Arc::downgrade(&self.plan);
            plans.lock().retain(|plan| !plan.ptr_eq(&own));
        }
    }
}

impl State {
    fn cut_now(&mut self) {
        if !self.cut {
            self.cut = true;
            if let Some(trace) = &mut self.trace {
                trace.journal_at_the_cut();
            }
        }
    }

    /// Whether the call may be made; how many bytes of it, if it is one that falls short.
    fn gate(&mut self, call: &str) -> Result<Option<u64>, Errno> {
        if self.cut || self.gone {
            return Err(Errno::IO);
        }
        self.calls += 1;
        let Some((wrong, left)) = &mut self.armed else {
            return Ok(None);
        };
        *left -= 1;
        if *left > 0 {
            return Ok(None);
        }
        let wrong = *wrong;
        self.armed = None;
        match wrong {
            Wrong::Once(errno) => Err(Errno::from_raw_os_error(errno)),
            Wrong::Short if call == "write" => Ok(Some(3)),
            Wrong::Short => Err(Errno::NOSPC),
            Wrong::Gone => {
                self.gone = true;
                Err(Errno::IO)
            }
            Wrong::PowerCut => {
                self.cut_now();
                Err(Errno::IO)
            }
        }
    }
}

impl Plan {
    /// Asks whether a call may be made.
    pub(super) fn pass(
        &self,
        call: &str,
        path: impl FnOnce() -> PathBuf,
    ) -> io::Result<Option<u64>> {
        let mut state = self.state.lock();
        let gate = state.gate(call);
        if !matches!(gate, Ok(None)) && state.struck.is_none() {
            let path = path();
            let below = path.strip_prefix(&self.root).unwrap_or(&path);
            state.struck = Some(format!("{call} {}", below.display()));
        }
        Ok(gate?)
    }

    /// Works on the recording, if there is one.
    pub(super) fn trace<T>(&self, work: impl FnOnce(&mut Trace) -> T) -> Option<T> {
        self.state.lock().trace.as_mut().map(work)
    }

    pub(super) fn records(&self) -> bool {
        self.state.lock().trace.is_some()
    }

    pub(super) fn forgets(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        let state = self.state.lock();
        state.forgotten.iter().any(|part| path.contains(part))
    }

    pub(super) fn flushes_whole(&self) -> Option<bool> {
        self.state.lock().whole
    }

    pub(super) fn boot(&self) -> Option<String> {
        let boots = self.state.lock().boots;
        (boots > 0).then(|| format!("started anew {boots} times"))
    }

    pub(super) fn journal_flushed(&self) {
        let mut state = self.state.lock();
        if !state.cut
            && let Some(trace) = &mut state.trace
        {
            trace.journal_flushed();
        }
    }
}
