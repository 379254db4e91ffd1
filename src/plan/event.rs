//! Events: what a manager tells those who subscribed.

use crate::error::Stage;
use crate::id::{PlanId, ResourceName};
use crate::state::PlanState;
use crate::sync::channel::{Receiver, Sender, TrySendError, bounded};
use crate::sync::{Mutex, Rank};
use serde::Serialize;

/// How many events a subscriber may lag behind before the newest are dropped.
pub const EVENT_BACKLOG: usize = 1024;

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

    pub(crate) fn is_listened_to(&self) -> bool {
        !self.subscribers.lock().is_empty()
    }
}
