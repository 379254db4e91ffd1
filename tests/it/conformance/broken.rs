//! Would the suite notice? Each defect breaks exactly the rules that it is about.

use super::shelf::Shelf;
use planbox::conformance::{RULES, Report, Subject, Tried, run};
use std::collections::BTreeSet;

/// What can be wrong with a shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    PrepareWrites,
    ViewFollows,
    DiffIsBlind,
    SealDoesNotFreeze,
    NeverReadOnly,
    OverlooksConflicts,
    WritesEverything,
    AppliesTooMuch,
    AppliesTwice,
    AppliesOnlyItsOwn,
    ForgetsWhatIsDone,
    DropDeletesWork,
    DiscardLeavesLitter,
    TakeBackDoesNothing,
    TakeBackOverwrites,
    TouchesTheNeighbour,
    RecordIsNoJson,
    PanicsOnDamage,
    ProbeAffirms,
    ProbeDenies,
    CommitsWhatWasDenied,
}

/// Each defect, and the rules that it breaks.
const BREAKS: &[(Defect, &[u8])] = &[
    (Defect::PrepareWrites, &[1, 10, 11, 12, 16, 17]),
    (Defect::ViewFollows, &[2]),
    (Defect::DiffIsBlind, &[3, 10]),
    (Defect::SealDoesNotFreeze, &[4]),
    (Defect::NeverReadOnly, &[5]),
    (Defect::OverlooksConflicts, &[6]),
    (Defect::WritesEverything, &[7]),
    (Defect::AppliesTooMuch, &[8]),
    (Defect::AppliesTwice, &[9, 12]),
    (Defect::AppliesOnlyItsOwn, &[9, 12]),
    (Defect::ForgetsWhatIsDone, &[9]),
    (Defect::DropDeletesWork, &[10, 14]),
    (Defect::DiscardLeavesLitter, &[10, 14, 16]),
    (Defect::TakeBackDoesNothing, &[7, 11, 12, 13, 15, 16]),
    (Defect::TakeBackOverwrites, &[13]),
    (Defect::TouchesTheNeighbour, &[15]),
    (Defect::RecordIsNoJson, &[17]),
    (Defect::PanicsOnDamage, &[17]),
];

/// The same for a shelf whose own commit decides.
const BREAKS_MARKERS: &[(Defect, &[u8])] = &[
    (Defect::ProbeAffirms, &[9, 11, 12]),
    (Defect::ProbeDenies, &[9, 12, 13]),
    (Defect::CommitsWhatWasDenied, &[11]),
];

fn tried(defect: Option<Defect>, marker: bool) -> Report {
    let make = move |_: &std::path::Path| -> Tried<Box<dyn Subject>> {
        Ok(Box::new(Shelf::new(defect, marker)))
    };
    run(&make)
}

#[test]
fn a_sound_participant_passes() {
    let report = tried(None, false);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_sound_marker_passes() {
    let report = tried(None, true);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn each_defect_breaks_exactly_the_rules_that_it_is_about() {
    let mut noticed = BTreeSet::new();
    let mut wrong = Vec::new();
    for (defects, marker) in [(BREAKS, false), (BREAKS_MARKERS, true)] {
        for (defect, rules) in defects {
            let report = tried(Some(*defect), marker);
            if report.broken() != *rules {
                wrong.push(format!("{defect:?}: {:?}", report.broken()));
            }
            noticed.extend(report.broken());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<u8> = RULES.iter().map(|rule| rule.number).collect();
    assert_eq!(noticed, all, "a rule that no defect breaks proves nothing");
}

mod sound {
    planbox::conformance_tests!(crate::conformance::shelf::shelf);
}
