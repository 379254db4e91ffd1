//! Resource locks are taken in one order, whatever the order in which a plan opened its things.

use crate::support::plan;
use planbox::{CommitOptions, Directory, LockWait, PlanId, ResourceName, SandboxManager};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

/// Enough that locks taken in an order of chance are not in order by chance.
const THINGS: usize = 6;

fn name(index: usize) -> ResourceName {
    ResourceName::new(format!("thing-{index}")).unwrap()
}

/// Opens the directories in this order and changes a file of the plan's own in each.
fn open(manager: &SandboxManager, plan: &PlanId, home: &Path, order: impl Iterator<Item = usize>) {
    for index in order {
        let real = Directory::at(home.join(name(index).as_str())).named(name(index));
        let sandbox = manager.open_sandbox(plan, real).unwrap();
        std::fs::File::create(sandbox.path().join(plan.as_str())).unwrap();
    }
}

/// ```text
/// there:  opens 0 1 2 3 4 5   commit: locks in the order of keys ---- both end
/// back:   opens 5 4 3 2 1 0   commit: locks in the order of keys
///         locked as opened, each would hold what the other waits for
/// ```
#[test]
fn two_plans_over_the_same_things_in_opposite_orders_both_commit() {
    let home = tempfile::tempdir().unwrap();
    for index in 0..THINGS {
        std::fs::create_dir(home.path().join(name(index).as_str())).unwrap();
    }
    let manager = SandboxManager::in_memory();
    let (there, back) = (plan("there"), plan("back"));
    open(&manager, &there, home.path(), 0..THINGS);
    open(&manager, &back, home.path(), (0..THINGS).rev());
    let start = Barrier::new(2);
    let options = CommitOptions::default().wait(LockWait::For(Duration::from_secs(20)));
    std::thread::scope(|scope| {
        let commits = [&there, &back].map(|plan| {
            let (manager, start, options) = (&manager, &start, &options);
            scope.spawn(move || {
                start.wait();
                manager.commit_all_with(plan, options)
            })
        });
        for commit in commits {
            commit.join().unwrap().unwrap();
        }
    });
    for index in 0..THINGS {
        let real = home.path().join(name(index).as_str());
        assert!(real.join("there").exists() && real.join("back").exists());
    }
}
