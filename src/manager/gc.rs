//! Cleaning: what nobody needs any more.

use super::SandboxManager;
use crate::clock;
use crate::error::{GcError, LockError, PlanFault};
use crate::id::PlanId;
use crate::journal::PlanRecord;
use crate::lock::{Lease, LockWait};
use crate::plan::{Recovered, Taking};
use crate::state::PlanState;
use serde::Serialize;
use std::time::Duration;

/// What to clean. The default removes leftovers only, never a plan's work or a receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcOptions {
    /// Forget receipts and stories of plans that ended longer ago than this; never if absent.
    pub forget_ended: Option<Duration>,
    /// Roll back plans that are open and untouched for longer than this; never if absent.
    pub give_up_idle: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl GcOptions {
    /// The same options, forgetting plans that ended longer ago than `age`.
    #[must_use]
    pub fn forget_ended(mut self, age: Duration) -> Self {
        self.forget_ended = Some(age);
        self
    }

    /// The same options, rolling back open plans untouched for longer than `age`.
    #[must_use]
    pub fn give_up_idle(mut self, age: Duration) -> Self {
        self.give_up_idle = Some(age);
        self
    }

    /// The same options, doing nothing but telling.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What was cleaned, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GcReport {
    /// Ended plans whose leftover files were removed.
    pub swept: Vec<PlanId>,
    /// Ended plans whose receipt and story were forgotten.
    pub forgotten: Vec<PlanId>,
    /// Open plans that were rolled back because they were idle.
    pub given_up: Vec<PlanId>,
    /// Plans left alone because somebody holds them.
    pub busy: Vec<PlanId>,
    /// Lease files of plans that no longer exist.
    pub lease_files: usize,
}

impl SandboxManager {
    /// Removes what nobody needs any more, as `options` say. A plan whose lock is held is never
    /// touched. Takes the lock of each plan it cleans.
    ///
    /// # Errors
    /// [`GcError`] at the first plan that cannot be cleaned; the rest is left for the next time.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport, GcError> {
        let mut report = GcReport::default();
        let now = clock::now_unix_ms();
        for record in self.services().journal.plans()? {
            self.gc_plan(&record, now, options, &mut report)?;
        }
        if !options.dry_run {
            report.lease_files = self.sweep_leases()?;
            self.sweep_jobs()?;
            for plan in self.inner.registry.plans() {
                self.let_go_of_ended(&plan);
            }
        }
        Ok(report)
    }

    fn gc_plan(
        &self,
        record: &PlanRecord,
        now_unix_ms: u64,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<(), GcError> {
        let plan = &record.plan;
        let age = Duration::from_millis(now_unix_ms.saturating_sub(record.changed_unix_ms));
        let older = |limit: Option<Duration>| limit.is_some_and(|limit| age >= limit);
        let terminal = record.state.is_terminal();
        let left = || self.services().places.has_plan(plan);
        let listed = !self.services().journal.sandboxes(plan)?.is_empty();
        let sweep = terminal && (listed || left());
        let forget = terminal && older(options.forget_ended);
        let give_up = matches!(record.state, PlanState::Open | PlanState::Sealed)
            && older(options.give_up_idle);
        if !(sweep || forget || give_up) {
            return Ok(());
        }
        if !options.dry_run {
            let taking = Taking {
                wait: LockWait::Try,
                operation: "gc",
                create: false,
            };
            let slot = self.services().plans.handle(plan);
            match self.checkout(&slot, taking) {
                Ok(mut checkout) => {
                    let locked = checkout.locked_mut();
                    // The list may be old: its plan may have been worked on since, or have ended
                    // and begun anew.
                    if locked.state() != record.state || !locked.follows(record.epoch) {
                        return Ok(());
                    }
                    if sweep && !matches!(locked.recover(), Ok(Recovered::Removed)) {
                        report.busy.push(plan.clone());
                        return Ok(());
                    }
                    if give_up && locked.rollback().is_err() {
                        report.busy.push(plan.clone());
                        return Ok(());
                    }
                    if forget {
                        locked.forget()?;
                    }
                }
                Err(PlanFault::Lock {
                    source: LockError::Busy { .. },
                    ..
                }) => {
                    report.busy.push(plan.clone());
                    return Ok(());
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        let lists = [
            (sweep, &mut report.swept),
            (forget, &mut report.forgotten),
            (give_up, &mut report.given_up),
        ];
        for (done, list) in lists {
            if done {
                list.push(plan.clone());
            }
        }
        Ok(())
    }

    /// Removes lease files that no living plan uses. A taker re-checks the inode, so a file that is
    /// removed under it costs it one more turn and nothing else.
    fn sweep_leases(&self) -> Result<usize, GcError> {
        let Some(directory) = &self.services().leases else {
            return Ok(0);
        };
        let failed = |source| GcError::File {
            path: directory.clone(),
            source,
        };
        let live: std::collections::BTreeSet<String> = self
            .services()
            .journal
            .plans()?
            .into_iter()
            .filter(|record| !record.state.is_terminal())
            .map(|record| record.plan.file_name())
            .collect();
        let mut removed = 0;
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if live.contains(name) {
                continue;
            }
            let holder = crate::lock::identify_holder(name, "gc");
            if let Ok(lease) = Lease::acquire(directory, name, &holder, LockWait::Try) {
                lease.retire();
                removed += 1;
            }
        }
        Ok(removed)
    }
}
