//! Named places at which a test may stop a thread.

use std::sync::OnceLock;

static HOOK: OnceLock<fn(&str)> = OnceLock::new();

/// From now on every [`stage`](super::stage) of this process runs `hook` first. The first one stays.
#[doc(hidden)]
pub fn on_stage(hook: fn(&str)) {
    HOOK.get_or_init(|| hook);
}

pub(super) fn arrive(name: &str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}
