//! Opening a manager: every option has a name, a unit and a default.

use super::recover::RecoveryReport;
use super::registry::Registry;
use super::settler::Settler;
use super::{CancelFlag, Inner, SandboxManager};
use crate::clock;
use crate::fs;
use crate::job::JobStore;
use crate::journal::{JournalStore, MemoryJournal};
use crate::lock::{LockTable, LockWait};
use crate::plan::{EventHub, Places, Services, Without};
use crate::sandbox::Kind;
use crate::sandbox::directory::DirectoryKind;
use crate::sandbox::git::GitKind;
use crate::sync::Rank;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a manager waits for a lock unless told otherwise: 30 seconds.
pub const DEFAULT_LOCK_WAIT: LockWait = LockWait::For(Duration::from_secs(30));

/// Builds a [`SandboxManager`].
///
/// | option | default |
/// |---|---|
/// | [`store`](Self::store) | [`default_store`] |
/// | [`wait`](Self::wait) | [`DEFAULT_LOCK_WAIT`] |
/// | [`recover_at_open`](Self::recover_at_open) | true |
/// | [`kind`](Self::kind) | the built-in kinds only |
/// | [`cancelled`](Self::cancelled) | never |
#[derive(Debug, Clone)]
#[must_use]
pub struct ManagerBuilder {
    pub(super) store: Option<PathBuf>,
    wait: LockWait,
    pub(super) recover_at_open: bool,
    kinds: BTreeMap<&'static str, Arc<dyn Kind>>,
    cancelled: CancelFlag,
    without: Without,
}

impl Default for ManagerBuilder {
    fn default() -> Self {
        let kinds: Vec<Arc<dyn Kind>> = vec![
            Arc::new(DirectoryKind),
            Arc::new(GitKind),
            #[cfg(feature = "sqlite")]
            Arc::new(crate::sandbox::sqlite::SqliteKind),
        ];
        Self {
            store: None,
            wait: DEFAULT_LOCK_WAIT,
            recover_at_open: true,
            kinds: kinds.into_iter().map(|kind| (kind.name(), kind)).collect(),
            cancelled: CancelFlag::default(),
            without: Without::default(),
        }
    }
}

impl ManagerBuilder {
    /// The store directory.
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// How long operations wait for a lock.
    pub fn wait(mut self, wait: LockWait) -> Self {
        self.wait = wait;
        self
    }

    /// Whether opening finishes what a crash left.
    pub fn recover_at_open(mut self, recover: bool) -> Self {
        self.recover_at_open = recover;
        self
    }

    /// One more kind of participant that the manager can open again from its records.
    pub fn kind(mut self, kind: Arc<dyn Kind>) -> Self {
        self.kinds.insert(kind.name(), kind);
        self
    }

    /// A flag that stops long steps (copying, sealing) when it becomes true. A decided plan is
    /// never interrupted.
    pub fn cancelled(mut self, flag: CancelFlag) -> Self {
        self.cancelled = flag;
        self
    }

    /// Takes mechanisms out, for a negative control: a test that must fail without them.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    pub fn without(mut self, change: impl FnOnce(&mut Without)) -> Self {
        change(&mut self.without);
        self
    }

    /// A manager that lives in memory, as [`SandboxManager::in_memory`].
    #[must_use]
    pub fn in_memory(self) -> SandboxManager {
        let token = clock::fresh_token();
        let base = std::env::temp_dir().join(format!("planbox-{token}"));
        let places = Places::new(base, token);
        let mut manager = self.build(Arc::new(MemoryJournal::new()), places, None);
        if let Some(inner) = Arc::get_mut(&mut manager.inner) {
            inner.temporary = true;
        }
        manager
    }

    /// A manager over the journal and the places of another one that lives in memory, as if in
    /// another process that does not see the first one's locks: for tests of the fence.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn in_memory_beside(self, other: &SandboxManager) -> SandboxManager {
        let services = other.services();
        let base = services.places.base().to_owned();
        let places = Places::new(base, services.places.store().to_owned());
        self.build(Arc::clone(&services.journal), places, None)
    }

    /// As [`in_memory_beside`](Self::in_memory_beside), with the leases that keep processes apart in
    /// the directory `leases`. Only those who have them see each other.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn in_memory_leased(self, other: &SandboxManager, leases: &Path) -> SandboxManager {
        let services = other.services();
        let base = services.places.base().to_owned();
        let places = Places::new(base, services.places.store().to_owned());
        let leases = (leases.to_owned(), leases.to_owned());
        self.build(Arc::clone(&services.journal), places, Some(leases))
    }

    pub(super) fn build(
        self,
        journal: Arc<dyn JournalStore>,
        places: Places,
        leases: Option<(PathBuf, PathBuf)>,
    ) -> SandboxManager {
        let (leases, job_leases) = leases.unzip();
        let jobs = JobStore::over(Arc::clone(&journal), job_leases.as_deref(), self.wait);
        let boot = fs::boot_id_near(places.base());
        let services = Services {
            journal,
            plans: self.without.plan_locks(),
            resources: LockTable::new(Rank::Resource),
            leases,
            kinds: self.kinds,
            places,
            events: EventHub::new(),
            cancelled: self.cancelled,
            instance: clock::fresh_token(),
            boot,
            without: self.without,
        };
        let inner = Inner {
            services: Arc::new(services),
            registry: Registry::new(self.without.registry),
            settler: Settler::new(),
            jobs,
            wait: self.wait,
            recovered: RecoveryReport::default(),
            temporary: false,
        };
        SandboxManager {
            inner: Arc::new(inner),
        }
    }
}

/// The store that is used when none is named: `PLANBOX_STORE`, else `planbox` in the user's XDG
/// state directory, else `~/.local/state/planbox`.
#[must_use]
pub fn default_store() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(store) = named("PLANBOX_STORE") {
        return Some(PathBuf::from(store));
    }
    let state = named("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = named("HOME").map(PathBuf::from);
    let state = state.or_else(|| home.map(|home| home.join(Path::new(".local/state"))));
    state.map(|state| state.join("planbox"))
}
