//! What every journal must do: one suite, run against both stores.

use super::*;
use crate::id::ResourceKey;

pub(super) fn plan_id(name: &str) -> PlanId {
    PlanId::new(name).unwrap()
}

pub(super) fn sandbox(name: &str) -> SandboxRecord {
    SandboxRecord {
        name: ResourceName::new(name).unwrap(),
        kind: "dir".to_owned(),
        key: ResourceKey::new("dir", "2049:131"),
        token: format!("token-{name}"),
        record: "{\"base\":1}".to_owned(),
        volatile: false,
        owner: "owner".to_owned(),
    }
}

pub(super) fn decision(record: &PlanRecord, verdict: Verdict) -> Decision {
    Decision {
        plan: record.plan.clone(),
        epoch: record.epoch,
        verdict,
        boot: "boot".to_owned(),
        sealed: true,
        participants: vec![Part {
            marker: verdict == Verdict::Ask,
            name: ResourceName::new("site").unwrap(),
            kind: "dir".to_owned(),
            volatile: false,
            redo: "{\"moves\":[[\"a\",\"b\"]]}".to_owned(),
            digest: "00ff".to_owned(),
        }],
        receipt: "{\"added\":1}".to_owned(),
        at_unix_ms: 7,
    }
}

fn begin(store: &dyn JournalStore, name: &str) -> PlanRecord {
    store
        .acquire(&plan_id(name), "open", true)
        .unwrap()
        .unwrap()
}

fn again(store: &dyn JournalStore, record: &PlanRecord) -> PlanRecord {
    store.plan(&record.plan).unwrap().unwrap()
}

fn fenced<T: fmt::Debug>(outcome: Journaled<T>, held: Epoch, newest: Epoch) {
    match outcome {
        Err(JournalError::Fenced { held: h, now, .. }) => assert_eq!((h, now), (held, newest)),
        other => panic!("not fenced: {other:?}"),
    }
}

fn finished(store: &dyn JournalStore, record: &PlanRecord, state: PlanState) {
    let (plan, epoch) = (&record.plan, record.epoch);
    store
        .finish(plan, epoch, state, "{}", Durability::Lazy)
        .unwrap();
}

fn a_plan_begins_once(store: &dyn JournalStore) {
    let unknown = plan_id("begins");
    assert_eq!(store.acquire(&unknown, "commit", false).unwrap(), None);
    assert_eq!(store.plan(&unknown).unwrap(), None);
    let first = begin(store, "begins");
    assert_eq!((first.state, first.revision), (PlanState::Open, 1));
    assert_eq!(first.operation.as_deref(), Some("open"));
    assert!(first.epoch > Epoch(0) && first.generation > 0);
    let second = store.acquire(&unknown, "commit", true).unwrap().unwrap();
    assert_eq!(second.epoch, Epoch(first.epoch.0 + 1));
    let mut expected = first.clone();
    expected.epoch = second.epoch;
    expected.operation = Some("commit".to_owned());
    assert_eq!(second, expected, "only the epoch and the operation moved");
    assert_eq!(again(store, &first), second);
    let other = begin(store, "begins-too");
    assert!(other.generation > first.generation);
}

fn sandboxes_are_filed_by_name(store: &dyn JournalStore) {
    let plan = begin(store, "files");
    let (id, epoch) = (&plan.plan, plan.epoch);
    store.enlist(id, epoch, &sandbox("b")).unwrap();
    store.enlist(id, epoch, &sandbox("a")).unwrap();
    let mut changed = sandbox("b");
    changed.record = "sealed".to_owned();
    changed.volatile = true;
    store.enlist(id, epoch, &changed).unwrap();
    let found = store.sandboxes(id).unwrap();
    assert_eq!(found, [sandbox("a"), changed.clone()]);
    assert_eq!(again(store, &plan).revision, plan.revision + 3);
    store.delist(id, epoch, &sandbox("a").name).unwrap();
    store.delist(id, epoch, &sandbox("a").name).unwrap();
    assert_eq!(store.sandboxes(id).unwrap(), [changed]);
    assert_eq!(again(store, &plan).revision, plan.revision + 4);
    assert_eq!(store.sandboxes(&plan_id("nobody")).unwrap(), []);
}

fn a_life_from_open_to_done(store: &dyn JournalStore) {
    let plan = begin(store, "lives");
    let (id, epoch) = (&plan.plan, plan.epoch);
    let step = |state, event, durability| store.advance(id, epoch, state, event, "{}", durability);
    step(PlanState::Sealed, "sealed", Durability::Lazy).unwrap();
    step(PlanState::Prepared, "prepared", Durability::Flushed).unwrap();
    assert_eq!(store.decision(id).unwrap(), None);
    let commit = decision(&plan, Verdict::Commit);
    store.decide(&commit).unwrap();
    assert_eq!(store.decision(id).unwrap(), Some(commit));
    assert_eq!(again(store, &plan).state, PlanState::Committing);
    let back = decision(&plan, Verdict::TakeBack);
    store.decide(&back).unwrap();
    assert_eq!(store.decision(id).unwrap(), Some(back), "replaced");
    assert_eq!(again(store, &plan).state, PlanState::Aborting);
    assert_eq!(store.receipt(id).unwrap(), None);
    store
        .finish(id, epoch, PlanState::Applied, "{\"n\":1}", Durability::Lazy)
        .unwrap();
    finished(store, &plan, PlanState::Done);
    assert_eq!(store.receipt(id).unwrap().as_deref(), Some("{}"));
    let end = again(store, &plan);
    assert_eq!(
        (end.state, end.revision),
        (PlanState::Done, plan.revision + 6)
    );
    assert!(end.changed_unix_ms >= end.opened_unix_ms);
    let lines = store.log(Some(id)).unwrap();
    let events: Vec<&str> = lines.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(
        events,
        [
            "opened", "sealed", "prepared", "decided", "decided", "applied", "done"
        ]
    );
    assert!(lines.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(lines.iter().all(|entry| entry.epoch == epoch));
    assert!(lines.iter().all(|entry| entry.plan == *id));
}

fn an_older_epoch_writes_nothing(store: &dyn JournalStore) {
    let old = begin(store, "fenced");
    let new = begin(store, "fenced");
    let (id, epoch) = (&old.plan, old.epoch);
    let lines = store.log(Some(id)).unwrap();
    let moved = store.advance(id, epoch, PlanState::Sealed, "x", "", Durability::Flushed);
    let ended = store.finish(id, epoch, PlanState::Done, "{}", Durability::Flushed);
    for outcome in [
        store.enlist(id, epoch, &sandbox("a")),
        store.delist(id, epoch, &sandbox("a").name),
        store.decide(&decision(&old, Verdict::Commit)),
        moved,
        ended,
    ] {
        fenced(outcome, epoch, new.epoch);
    }
    let ahead = Epoch(new.epoch.0 + 1);
    fenced(store.enlist(id, ahead, &sandbox("a")), ahead, new.epoch);
    assert_eq!(again(store, &old), new);
    assert_eq!(store.sandboxes(id).unwrap(), []);
    assert_eq!(store.decision(id).unwrap(), None);
    assert_eq!(store.log(Some(id)).unwrap(), lines);
}

fn forgetting_leaves_a_floor(store: &dyn JournalStore) {
    let before = store.plans().unwrap().len();
    let plan = begin(store, "forgotten");
    let (id, epoch) = (&plan.plan, plan.epoch);
    store.enlist(id, epoch, &sandbox("a")).unwrap();
    let refused = store.forget(id, epoch);
    assert!(
        matches!(refused, Err(JournalError::Store { .. })),
        "a plan that is open is kept: {refused:?}"
    );
    store.decide(&decision(&plan, Verdict::Commit)).unwrap();
    finished(store, &plan, PlanState::Done);
    let taken = store.acquire(id, "somebody else", false).unwrap().unwrap();
    let old = store.forget(id, epoch);
    assert!(matches!(old, Err(JournalError::Fenced { .. })), "{old:?}");
    store.forget(id, taken.epoch).unwrap();
    store.forget(id, taken.epoch).unwrap();
    assert_eq!(store.plans().unwrap().len(), before);
    assert_eq!(store.plan(id).unwrap(), None);
    assert_eq!(store.sandboxes(id).unwrap(), []);
    assert_eq!(store.decision(id).unwrap(), None);
    assert_eq!(store.receipt(id).unwrap(), None);
    assert_eq!(store.log(Some(id)).unwrap(), []);
    let gone = store.enlist(id, epoch, &sandbox("a"));
    assert!(matches!(gone, Err(JournalError::Fenced { .. })), "{gone:?}");
    let reborn = begin(store, "forgotten");
    assert!(reborn.epoch > epoch, "epochs never come back");
    assert!(reborn.generation > plan.generation);
    assert_eq!((reborn.state, reborn.revision), (PlanState::Open, 1));
    fenced(store.enlist(id, epoch, &sandbox("a")), epoch, reborn.epoch);
}

fn texts_come_back_byte_by_byte(store: &dyn JournalStore) {
    let odd = "caf\u{e9} '; DROP TABLE plans; -- %s \u{1f980}";
    let plan = begin(store, odd);
    let mut kept = sandbox(odd);
    kept.record = format!("\0\n{odd}");
    kept.key = ResourceKey::new("git", "a:b:c");
    store.enlist(&plan.plan, plan.epoch, &kept).unwrap();
    assert_eq!(store.sandboxes(&plan.plan).unwrap(), [kept]);
    let listed = store.plans().unwrap();
    assert!(listed.contains(&plan_record(store, &plan.plan)));
    let sorted = listed.windows(2).all(|pair| pair[0].plan < pair[1].plan);
    assert!(sorted, "plans come in the order of their ids");
}

fn plan_record(store: &dyn JournalStore, plan: &PlanId) -> PlanRecord {
    store.plan(plan).unwrap().unwrap()
}

fn takings_from_many_threads_all_differ(store: &dyn JournalStore) {
    let mut epochs: Vec<Epoch> = crate::sync::thread::scope(|scope| {
        let take = || {
            let take = |_| begin(store, "crowded").epoch;
            (0..20).map(take).collect::<Vec<Epoch>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        let joined = threads.into_iter().flat_map(|one| one.join().unwrap());
        joined.collect()
    });
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 160);
}

fn closing_is_final(store: &dyn JournalStore) {
    let plan = begin(store, "last");
    store.close();
    store.close();
    let late = store.enlist(&plan.plan, plan.epoch, &sandbox("late"));
    assert!(matches!(late, Err(JournalError::Store { .. })), "{late:?}");
    assert_eq!(again(store, &plan), plan, "reading goes on");
}

fn suite(store: &dyn JournalStore) {
    a_plan_begins_once(store);
    sandboxes_are_filed_by_name(store);
    a_life_from_open_to_done(store);
    an_older_epoch_writes_nothing(store);
    forgetting_leaves_a_floor(store);
    texts_come_back_byte_by_byte(store);
    takings_from_many_threads_all_differ(store);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    closing_is_final(store);
}

#[test]
fn the_memory_journal_conforms() {
    suite(&MemoryJournal::new());
}

#[cfg(feature = "sqlite")]
#[test]
fn the_sqlite_journal_conforms() {
    let dir = tempfile::TempDir::new().unwrap();
    suite(&SqliteJournal::open(dir.path()).unwrap());
}
