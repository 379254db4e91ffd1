//! The writing half of `JournalStore`, the same for both stores.

/// The writing methods for a type with `write(&self, Op, Durability)`.
macro_rules! journal_writes {
    () => {
        fn acquire(
            &self,
            plan: &PlanId,
            operation: &str,
            create: bool,
        ) -> Journaled<Option<PlanRecord>> {
            let (plan, operation) = (plan.clone(), operation.to_owned());
            let op = Op::Acquire {
                plan,
                operation,
                create,
            };
            self.write(op, Durability::Lazy)
        }

        fn enlist(&self, plan: &PlanId, epoch: Epoch, sandbox: &SandboxRecord) -> Journaled<()> {
            let (plan, sandbox) = (plan.clone(), sandbox.clone());
            let op = Op::Enlist {
                plan,
                epoch,
                sandbox,
            };
            self.write(op, Durability::Lazy).map(drop)
        }

        fn delist(&self, plan: &PlanId, epoch: Epoch, name: &ResourceName) -> Journaled<()> {
            let (plan, name) = (plan.clone(), name.clone());
            self.write(Op::Delist { plan, epoch, name }, Durability::Lazy)
                .map(drop)
        }

        fn advance(
            &self,
            plan: &PlanId,
            epoch: Epoch,
            state: PlanState,
            event: &str,
            detail: &str,
            durability: Durability,
        ) -> Journaled<()> {
            let op = Op::Advance {
                plan: plan.clone(),
                epoch,
                state,
                event: event.to_owned(),
                detail: detail.to_owned(),
            };
            self.write(op, durability).map(drop)
        }

        fn decide(&self, decision: &Decision) -> Journaled<()> {
            let op = Op::Decide(decision.clone());
            self.write(op, Durability::Flushed).map(drop)
        }

        fn finish(
            &self,
            plan: &PlanId,
            epoch: Epoch,
            state: PlanState,
            receipt: &str,
            durability: Durability,
        ) -> Journaled<()> {
            let (plan, receipt) = (plan.clone(), receipt.to_owned());
            let op = Op::Finish {
                plan,
                epoch,
                state,
                receipt,
            };
            self.write(op, durability).map(drop)
        }

        fn forget(&self, plan: &PlanId, epoch: Epoch) -> Journaled<()> {
            let plan = plan.clone();
            let op = Op::Forget { plan, epoch };
            self.write(op, Durability::Lazy).map(drop)
        }
    };
}
