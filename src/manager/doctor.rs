//! Self-check: what is wrong with a store, and what to do about it.

use super::SandboxManager;
use crate::error::StatusError;
use crate::fs;
use crate::state::PlanState;
use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Note,
    /// Somebody should do something.
    Problem,
}

/// One thing that the self-check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it; empty for a note.
    pub fix: String,
}

impl Finding {
    fn note(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            what: what.into(),
            fix: String::new(),
        }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Problem,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl SandboxManager {
    /// Looks for trouble: every checksum of the journal, plans that are not at rest, sandboxes that
    /// cannot be opened, directories that belong to no plan, abilities of the file system. Changes
    /// nothing and waits for nobody.
    ///
    /// # Errors
    /// [`StatusError`] if the journal cannot be read at all.
    pub fn doctor(&self) -> Result<Vec<Finding>, StatusError> {
        let mut findings = Vec::new();
        for trouble in self.services().journal.check()? {
            findings.push(Finding::problem(
                format!("journal: {trouble}"),
                "keep a copy of the store, then restore it from a backup",
            ));
        }
        self.check_plans(&mut findings)?;
        self.check_places(&mut findings)?;
        self.check_abilities(&mut findings);
        Ok(findings)
    }

    fn check_plans(&self, findings: &mut Vec<Finding>) -> Result<(), StatusError> {
        for status in self.plans()? {
            let plan = &status.plan;
            let unsettled = status.state == PlanState::Applied;
            if (status.state.needs_recovery() || unsettled) && status.holder.is_none() {
                findings.push(Finding::problem(
                    format!("plan {plan} is {} and nobody works on it", status.state),
                    format!("run `planbox recover {plan}`"),
                ));
            }
            for sandbox in status.sandboxes {
                let Some(trouble) = sandbox.trouble else {
                    continue;
                };
                findings.push(Finding::problem(
                    format!("plan {plan}: {}: {trouble}", sandbox.name),
                    format!(
                        "commit it in the process that opened it, or `planbox rollback {plan}`"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Directories of plans that the journal does not know.
    fn check_places(&self, findings: &mut Vec<Finding>) -> Result<(), StatusError> {
        let base = self.services().places.base();
        let known: std::collections::BTreeSet<String> = self
            .services()
            .journal
            .plans()?
            .into_iter()
            .map(|record| record.plan.file_name())
            .collect();
        let Ok(dir) = fs::Dir::open(base) else {
            return Ok(());
        };
        let failed = |source| StatusError::File {
            path: base.to_owned(),
            source,
        };
        for (name, _) in dir.entries().map_err(failed)?.iter() {
            if !known.contains(&*name.to_string_lossy()) {
                let path = base.join(name);
                findings.push(Finding::problem(
                    format!("{} belongs to no plan", crate::error::Shown(&path)),
                    "look into it, then remove it by hand",
                ));
            }
        }
        Ok(())
    }

    fn check_abilities(&self, findings: &mut Vec<Finding>) {
        let Ok(dir) = fs::Dir::open(self.services().places.base()) else {
            return;
        };
        let view = if dir.probe_reflink().unwrap_or(false) {
            "the store's file system can reflink: views are cheap"
        } else {
            "the store's file system cannot reflink: views are full copies"
        };
        findings.push(Finding::note(view));
        if let Ok(free) = dir.free_bytes() {
            findings.push(Finding::note(format!(
                "{} MiB are free for views",
                free >> 20
            )));
        }
    }
}
