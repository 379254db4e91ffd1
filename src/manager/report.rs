//! Read-only views for people and for the command line. None of them takes a plan lock.

use super::SandboxManager;
use crate::error::{Holder, Shown, StatusError};
use crate::id::{Epoch, PlanId, ResourceName};
use crate::journal::{Entry, PlanRecord};
use crate::lock::Lease;
use crate::plan::{Receipt, ReceiptBody};
use crate::state::PlanState;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// What is known of a plan without waiting for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanStatus {
    /// The plan.
    pub plan: PlanId,
    /// Where it is in its life, by the journal.
    pub state: PlanState,
    /// The last taking of its lease.
    pub epoch: Epoch,
    /// When it was opened: milliseconds since the Unix epoch.
    pub opened_unix_ms: u64,
    /// When it last changed: milliseconds since the Unix epoch.
    pub changed_unix_ms: u64,
    /// Who holds it now, and what that one is doing; a plan that is being committed says so here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Its sandboxes, in the order of names.
    pub sandboxes: Vec<SandboxStatus>,
}

/// What is known of a sandbox without waiting for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SandboxStatus {
    /// Its name in the plan.
    pub name: ResourceName,
    /// Its kind.
    pub kind: String,
    /// Where the real thing is.
    pub target: String,
    /// Where the plan works on it, if that is a path.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub path: Option<PathBuf>,
    /// How the view is made.
    pub view: String,
    /// True if its own commit decides for the whole plan.
    pub decides: bool,
    /// Why it cannot be worked with from here, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One line of a plan's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// Place in the journal; grows.
    pub seq: u64,
    /// The plan.
    pub plan: PlanId,
    /// When: milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// By which taking of the plan's lease.
    pub epoch: Epoch,
    /// What happened, one word.
    pub event: String,
    /// Details, as JSON or empty.
    pub detail: String,
}

impl SandboxManager {
    /// What is known of `plan`, without waiting for whoever holds it.
    ///
    /// # Errors
    /// [`StatusError`] if the store knows no such plan or the journal cannot be read.
    pub fn status(&self, plan: &PlanId) -> Result<PlanStatus, StatusError> {
        let record = self.services().journal.plan(plan)?;
        let record = record.ok_or_else(|| unknown(plan))?;
        self.status_of(record)
    }

    /// What is known of every plan, in the order of ids, without waiting for anybody.
    ///
    /// # Errors
    /// [`StatusError`] if the journal cannot be read.
    pub fn plans(&self) -> Result<Vec<PlanStatus>, StatusError> {
        let records = self.services().journal.plans()?;
        records
            .into_iter()
            .map(|record| self.status_of(record))
            .collect()
    }

    /// The sandboxes of `plan`, in the order of names.
    ///
    /// # Errors
    /// As [`SandboxManager::status`].
    pub fn sandboxes(&self, plan: &PlanId) -> Result<Vec<SandboxStatus>, StatusError> {
        self.status(plan).map(|status| status.sandboxes)
    }

    /// The receipt of `plan`, if it is committed.
    ///
    /// # Errors
    /// [`StatusError`] if the journal cannot be read.
    pub fn receipt(&self, plan: &PlanId) -> Result<Option<Receipt>, StatusError> {
        let text = self.services().journal.receipt(plan)?;
        let body = text.and_then(|text| serde_json::from_str::<ReceiptBody>(&text).ok());
        let record = self.services().journal.plan(plan)?;
        let settled = record.is_some_and(|record| record.state == PlanState::Done);
        Ok(body.map(|body| Receipt::repeated(body, settled)))
    }

    /// The journal as a story: of one plan, or of all.
    ///
    /// # Errors
    /// [`StatusError`] if the journal cannot be read.
    pub fn log(&self, plan: Option<&PlanId>) -> Result<Vec<LogEntry>, StatusError> {
        let entries = self.services().journal.log(plan)?;
        Ok(entries.into_iter().map(LogEntry::from).collect())
    }

    fn status_of(&self, record: PlanRecord) -> Result<PlanStatus, StatusError> {
        let services = self.services();
        let mut sandboxes = Vec::new();
        for enlisted in services.journal.sandboxes(&record.plan)? {
            let life = (&record.plan, record.generation);
            let place = services.places.known(life, &enlisted.token, &enlisted.name);
            let name = enlisted.name.clone();
            let kind = enlisted.kind.clone();
            sandboxes.push(match services.reopen(&record.plan, &enlisted, &place) {
                Ok(mut sandbox) => SandboxStatus {
                    decides: sandbox.marker().is_some(),
                    name,
                    kind,
                    target: sandbox.target(),
                    path: sandbox.path().map(PathBuf::from),
                    view: sandbox.view().to_owned(),
                    trouble: None,
                },
                Err(error) => SandboxStatus {
                    decides: false,
                    name,
                    kind,
                    target: enlisted.key.to_string(),
                    path: None,
                    view: if enlisted.volatile {
                        "memory"
                    } else {
                        "unknown"
                    }
                    .to_owned(),
                    trouble: (enlisted.owner != services.instance || !enlisted.volatile)
                        .then(|| error.to_string()),
                },
            });
        }
        let PlanRecord {
            plan,
            state,
            epoch,
            opened_unix_ms,
            changed_unix_ms,
            ..
        } = record;
        let holder = self.holder(&plan);
        Ok(PlanStatus {
            plan,
            state,
            epoch,
            opened_unix_ms,
            changed_unix_ms,
            holder,
            sandboxes,
        })
    }

    /// Who holds the lock of `plan` now, in any process.
    #[must_use]
    pub fn holder(&self, plan: &PlanId) -> Option<Holder> {
        let services = self.services();
        services.plans.holder(plan).or_else(|| {
            let directory = services.leases.as_ref()?;
            Lease::peek(directory, &plan.file_name())
        })
    }
}

impl From<Entry> for LogEntry {
    fn from(entry: Entry) -> Self {
        let Entry {
            seq,
            plan,
            at_unix_ms,
            epoch,
            event,
            detail,
        } = entry;
        Self {
            seq,
            plan,
            at_unix_ms,
            epoch,
            event,
            detail,
        }
    }
}

/// A path as JSON has it: text, escaped where it is not printable UTF-8.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn shown<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_deref().map(|path| Shown(path).to_string());
    text.serialize(serializer)
}

fn unknown(plan: &PlanId) -> StatusError {
    crate::error::PlanFault::Unknown { plan: plan.clone() }.into()
}
