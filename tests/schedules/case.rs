//! What is explored: bodies, and the controls that have to fail.

/// A guarantee that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// One word for what went wrong.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

pub(crate) type Verdict = Result<(), Wrong>;

/// Says that something went wrong, unless `holds`.
pub(crate) fn check(holds: bool, kind: &'static str, text: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    let text = text();
    Err(Wrong { kind, text })
}

/// On real threads: the first thread that comes to the stage `at` waits there until another one has
/// come to the stage `until`. If that is empty, it just comes by, and the stops that follow count from
/// then on. An explorer needs no such help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) at: &'static str,
    pub(crate) until: &'static str,
}

/// The thread that comes to `at` waits there until another one has come to `until`.
pub(crate) const fn stop(at: &'static str, until: &'static str) -> Stop {
    Stop { at, until }
}

/// The same body with a mechanism taken out or a fault planted: the exploration has to notice.
#[derive(Debug)]
pub(crate) struct Control {
    /// What was taken out or planted.
    pub(crate) without: &'static str,
    pub(crate) body: fn() -> Verdict,
    /// What may be found; anything else is a fault of the test.
    pub(crate) kinds: &'static [&'static str],
    /// How real threads are brought into a schedule that shows it: one stop after the other. The
    /// body itself runs with them as well, and must hold.
    #[cfg_attr(shuttle, expect(dead_code, reason = "for real threads"))]
    pub(crate) stops: &'static [Stop],
    /// Why real threads cannot be held to it, if they cannot.
    #[cfg_attr(shuttle, expect(dead_code, reason = "for real threads"))]
    pub(crate) only_explored: Option<&'static str>,
}

impl Control {
    /// A control that real threads notice by themselves.
    pub(crate) const fn new(
        without: &'static str,
        body: fn() -> Verdict,
        kinds: &'static [&'static str],
    ) -> Self {
        Self {
            without,
            body,
            kinds,
            stops: &[],
            only_explored: None,
        }
    }

    /// The same, which real threads notice if they are stopped so.
    pub(crate) const fn stops(self, stops: &'static [Stop]) -> Self {
        Self { stops, ..self }
    }

    /// The same, for the explorer alone, because of `why`.
    pub(crate) const fn only_explored(self, why: &'static str) -> Self {
        Self {
            only_explored: Some(why),
            ..self
        }
    }
}

/// How a body is explored exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Not at all: there are too many threads, or none.
    No,
    /// Every schedule with so many preemptions at the most; a run that does not come to the end of
    /// them fails. A long run goes one deeper, as far as it comes.
    Preemptions(usize),
}

/// One body.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: fn() -> Verdict,
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) depth: Depth,
    /// How many times as many schedules as others it gets: without a manager they cost little.
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) weight: usize,
    pub(crate) controls: &'static [Control],
}

impl Case {
    /// A body without a manager: its schedules cost little.
    pub(crate) const fn light(
        name: &'static str,
        depth: Depth,
        body: fn() -> Verdict,
        controls: &'static [Control],
    ) -> Self {
        Self {
            weight: 4,
            ..Self::heavy(name, depth, body, controls)
        }
    }

    /// A body with a manager.
    pub(crate) const fn heavy(
        name: &'static str,
        depth: Depth,
        body: fn() -> Verdict,
        controls: &'static [Control],
    ) -> Self {
        Self {
            name,
            body,
            depth,
            weight: 1,
            controls,
        }
    }
}

/// What an exploration came to.
#[derive(Debug)]
pub(crate) struct Explored {
    /// How many schedules ran.
    pub(crate) schedules: usize,
    /// The tree was seen to its end.
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) exhausted: bool,
    pub(crate) wrong: Option<Wrong>,
}
