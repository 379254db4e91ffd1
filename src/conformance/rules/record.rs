//! Rule 17: what is stored, and damage to it.

use crate::conformance::rig::Rig;
use crate::conformance::stop::{Step, Stop, ensure, failed, told};
use crate::conformance::{Make, Spot};
use crate::error::Fault;
use crate::sandbox::{Redo, Work};

pub(super) fn damage_is_an_error(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.open()?;
    is_json("the record after open", &opened.sandbox.record())?;
    rig.change(&opened, Spot::A, 1)?;
    let redo = opened.ready()?;
    is_json("the record after prepare", &opened.sandbox.record())?;
    is_json("the redo", &redo.0)?;
    let Some(kind) = rig.subject.kind() else {
        return Ok(());
    };
    let record = opened.sandbox.record();
    for damaged in damaged(&record) {
        match kind.reopen(&damaged, &rig.place) {
            Err(error) if matches!(error.fault, Fault::Corrupt | Fault::Lost) => (),
            Err(error) => {
                return failed(format!(
                    "reopening the damaged record {damaged:?} answered {} instead of Corrupt",
                    told(&error)
                ));
            }
            Ok(_) => return failed(format!("the damaged record {damaged:?} was opened")),
        }
    }
    if opened.sandbox.marker().is_some() {
        return rig.is_old("after damaged records");
    }
    for damaged in damaged(&redo.0) {
        let damaged = Redo(damaged);
        for (step, outcome) in [
            ("apply", opened.sandbox.apply(&damaged, &Work::silent())),
            (
                "take-back",
                opened.sandbox.take_back(&damaged, &Work::silent()),
            ),
        ] {
            ensure(outcome.is_err(), || {
                format!("{step} of the damaged redo {:?} answered Ok", damaged.0)
            })?;
            rig.is_old("after a damaged redo")?;
        }
    }
    Ok(())
}

fn is_json(what: &str, text: &str) -> Step {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Stop::Failed(format!(
            "{what} is not JSON ({error}): {text:?}"
        ))),
    }
}

/// Texts that no participant can have written.
fn damaged(text: &str) -> Vec<String> {
    let half = (0..=text.len() / 2)
        .rev()
        .find_map(|end| text.get(..end))
        .unwrap_or_default();
    let mut texts: Vec<String> = ["", "null", "[]", "{}", "\u{0}", "{\"version\":"]
        .map(str::to_owned)
        .into();
    texts.push(half.to_owned());
    texts.push(format!("{text}}}"));
    texts
}
