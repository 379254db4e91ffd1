//! After the callers: nothing fails any more, both plans end, and nothing of them is left.

use super::{Ask, PLANS, Stage, THINGS, Told, plan};
use planbox::faults::Faults;
use std::fs;

impl Stage {
    /// Nothing fails any more, and what is in doubt is ended. How many faults were met.
    pub(super) fn heal(&self, files: Option<&Faults>) -> Result<usize, String> {
        if !self.planted.is_any() {
            return Ok(0);
        }
        self.planted.heal();
        let struck = files.and_then(Faults::mend);
        let told = self.told.lock().unwrap().clone();
        let is_told = self.planted.is_told(&told, struck.is_some());
        is_told.map_err(|what| format!("{what}\n{:?}\n{told:?}", self.planted))?;
        for number in 0..PLANS {
            self.ask(0, Ask::Recover(number));
        }
        Ok(self.planted.met() + usize::from(struck.is_some()))
    }

    fn looks(&self) -> [Told; THINGS] {
        std::array::from_fn(|thing| self.answer(Ask::Look(thing)))
    }

    /// Ends both plans; nothing may be left.
    pub(super) fn end(&self) -> Result<(), String> {
        let before = self.looks();
        for number in 0..PLANS {
            let id = plan(number);
            let given_up = self.manager.rollback_all(&id).is_ok();
            let committed = !given_up
                && self
                    .manager
                    .commit_all(&id)
                    .is_ok_and(|receipt| receipt.is_repeat());
            if !given_up && !committed {
                return Err(format!("plan {number} is neither committed nor given up"));
            }
            let beside = self.script.real(&format!("beside-{number}"));
            if beside != u64::from(committed) {
                return Err(format!(
                    "beside plan {number}, committed: {committed}, is {beside}"
                ));
            }
        }
        self.manager.settle();
        let after = self.looks();
        if before != after {
            return Err(format!(
                "plans that were given up left {after:?}, not {before:?}"
            ));
        }
        let left: Vec<_> = fs::read_dir(self.home.path().join("store/plans"))
            .map(|found| found.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        let stats = self.manager.stats();
        let kept = (stats.plan_locks, stats.resource_locks, stats.live_plans);
        if kept == (0, 0, 0) && left.is_empty() {
            Ok(())
        } else {
            Err(format!("the manager keeps {stats:?}, the store {left:?}"))
        }
    }
}
