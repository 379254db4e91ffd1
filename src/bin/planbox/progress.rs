//! A bar on standard error for long copies and applies, when somebody watches.

use crate::text::clean;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use planbox::sync::channel::{Receiver, Sender, bounded, select};
use planbox::sync::thread::{self, JoinHandle};
use planbox::{Event, SandboxManager};
use std::time::Duration;

/// What takes less than this is done before a bar could be read.
const SHORT: Duration = Duration::from_millis(300);

const WITH_TOTAL: &str = "{prefix} {bar:30} {pos}/{len} {msg} {elapsed}";
const WITHOUT_TOTAL: &str = "{prefix}: {pos} {msg} {elapsed}";

/// A thread that listens to a manager and draws.
#[derive(Debug)]
pub(crate) struct Progress {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to watch `manager`. No bar is a pity, not a failure.
    pub(crate) fn watch(manager: &SandboxManager) -> Option<Self> {
        let events = manager.subscribe();
        let (stop, stopped) = bounded(0);
        let thread = thread::spawn("progress", move || draw(&events, &stopped)).ok()?;
        Some(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Progress {
    /// Takes the bar away, so that what is said next stands alone.
    fn drop(&mut self) {
        let (gone, _) = bounded(0);
        drop(std::mem::replace(&mut self.stop, gone));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn draw(events: &Receiver<Event>, stopped: &Receiver<()>) {
    let mut bar = None;
    loop {
        let event = select! {
            recv(events) -> event => event.ok(),
            recv(stopped) -> _ => None,
        };
        let Some(event) = event else { break };
        step(&mut bar, &event);
    }
    clear(&mut bar);
}

fn step(bar: &mut Option<ProgressBar>, event: &Event) {
    let Event::Progress {
        resource,
        stage,
        done,
        total,
        unit,
        ..
    } = event
    else {
        return clear(bar);
    };
    if *total > 0 && done >= total {
        return clear(bar);
    }
    let bar = bar.get_or_insert_with(new_bar);
    if bar.is_hidden() && bar.elapsed() >= SHORT {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    let template = if *total > 0 {
        WITH_TOTAL
    } else {
        WITHOUT_TOTAL
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_length(*total);
    bar.set_prefix(format!("{stage} {}", clean(resource.as_str())));
    bar.set_message(*unit);
    bar.set_position(*done);
}

fn new_bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden())
}

fn clear(bar: &mut Option<ProgressBar>) {
    if let Some(bar) = bar.take() {
        bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planbox::{PlanId, ResourceName, Stage};

    #[test]
    fn a_bar_appears_for_an_unfinished_step_and_goes_with_its_end() {
        let event = |done| Event::Progress {
            plan: PlanId::new("p").unwrap(),
            resource: ResourceName::new("dir").unwrap(),
            stage: Stage::Open,
            done,
            total: 10,
            unit: "entries",
        };
        let mut bar = None;
        step(&mut bar, &event(10));
        assert!(bar.is_none(), "a step that is over at once needs no bar");
        step(&mut bar, &event(3));
        assert_eq!(bar.as_ref().map(ProgressBar::position), Some(3));
        assert!(
            bar.as_ref().is_some_and(ProgressBar::is_hidden),
            "not before it takes long"
        );
        step(&mut bar, &event(10));
        assert!(bar.is_none());
    }

    #[test]
    fn watching_ends_when_it_is_dropped() {
        let manager = SandboxManager::in_memory();
        drop(Progress::watch(&manager));
    }
}
