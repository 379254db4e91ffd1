//! Events: what a manager tells those who subscribed.

use crate::error::Stage;
use crate::id::{PlanId, ResourceName};
use crate::sandbox::Progress;
use crate::state::PlanState;
use crate::sync::channel::{Receiver, Sender, TrySendError, bounded};
use crate::sync::{Mutex, Rank};
use serde::Serialize;

/// How many events a subscriber may lag behind before the newest are dropped.
pub const EVENT_BACKLOG: usize = 1024;

/// Least time between two progress events of one step, in milliseconds.
const PROGRESS_EVERY_MS: u64 = 50;

/// True if subscribers hear of `progress` at `now_ms`, having heard of the same step at `last_ms`.
/// The end of a step is always told.
pub(super) fn is_due(progress: Progress, last_ms: u64, now_ms: u64) -> bool {
    let ended = progress.total > 0 && progress.done >= progress.total;
    ended || now_ms.saturating_sub(last_ms) >= PROGRESS_EVERY_MS
}

/// Something that happened to a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The plan moved to another state.
    State {
        /// The plan.
        plan: PlanId,
        /// The state it is in now.
        state: PlanState,
    },
    /// A long step went on.
    Progress {
        /// The plan.
        plan: PlanId,
        /// The resource that is being worked on.
        resource: ResourceName,
        /// The step.
        stage: Stage,
        /// How much is done, in `unit`s.
        done: u64,
        /// How much there is; 0 if that is not known.
        total: u64,
        /// What is counted: `entries` or `bytes`.
        unit: &'static str,
    },
}

/// The list of subscribers, behind one leaf latch.
#[derive(Debug)]
pub(crate) struct EventHub {
    subscribers: Mutex<Vec<Sender<Event>>>,
}

impl EventHub {
    pub(crate) fn new() -> Self {
        Self {
            subscribers: Mutex::new(Rank::Leaf, "events", Vec::new()),
        }
    }

    pub(crate) fn subscribe(&self) -> Receiver<Event> {
        let (sender, receiver) = bounded(EVENT_BACKLOG);
        self.subscribers.lock().push(sender);
        receiver
    }

    /// Tells everybody who still listens. Never waits: a subscriber that lags loses the event.
    pub(crate) fn tell(&self, event: &Event) {
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|sender| {
            !matches!(
                sender.try_send(event.clone()),
                Err(TrySendError::Disconnected(_))
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(done: u64, total: u64, after_ms: u64) -> bool {
        let unit = "bytes";
        is_due(Progress { done, total, unit }, 1_000, 1_000 + after_ms)
    }

    #[test]
    fn progress_is_told_every_fifty_milliseconds_and_at_the_end() {
        assert!(!due(1, 3, 0) && !due(2, 3, 49));
        assert!(due(1, 3, 50) && due(2, 3, 51));
        assert!(due(3, 3, 0) && due(4, 3, 0), "the end, whenever it is");
        assert!(!due(7, 0, 49), "a step of unknown length has no end");
        assert!(due(7, 0, 50));
    }
}
