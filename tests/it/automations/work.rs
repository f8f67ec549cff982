//! Workers that die, and workers that are many.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::task::Poll;

use super::*;

/// Polls a future so many times and drops it: a process that ends at that await.
async fn killed_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Automations that are all due, each telling one receiver.
async fn due(agent: &Agent, world: &World, receiver: &Receiver, number: usize) -> Vec<String> {
    let (hook, _) = webhook(agent, &receiver.url).await;
    let mut ids = Vec::new();
    for n in 0..number {
        let body = json!({ "name": format!("Number {n}"), "when": { "interval": { "everySeconds": 86_400 } },
            "what": { "question": { "name": "list_accounts" } }, "webhooks": [hook] });
        ids.push(id_of(&make(agent, &body).await));
    }
    world.db.admin("UPDATE automations SET due_at = now() RETURNING 1").await;
    ids
}

/// Each automation ran once and its message arrived, under one id.
async fn assert_all_told(agent: &Agent, ids: &[String], receiver: &Receiver) {
    let mut expected = BTreeSet::new();
    for id in ids {
        let runs = runs(agent, id).await;
        let states: Vec<&Value> = runs.iter().map(|run| &run["state"]).collect();
        assert_eq!(states, [&json!("succeeded")], "{id}: one run, whole");
        assert_eq!(runs[0]["deliveries"].as_array().unwrap().len(), 1);
        assert_eq!(runs[0]["deliveries"][0]["state"], json!("delivered"));
        expected.insert(runs[0]["deliveries"][0]["id"].as_str().unwrap().to_owned());
    }
    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in receiver.received() {
        bodies.entry(one.id).or_default().insert(one.body);
    }
    assert_eq!(bodies.keys().cloned().collect::<BTreeSet<_>>(), expected, "every message, and no other");
    assert!(bodies.values().all(|bodies| bodies.len() == 1), "one id, one message");
}

/// Time passes: what the dead held lapses, and nobody has given up yet.
async fn revive(world: &World) {
    for table in ["automations", "automation_runs", "webhook_deliveries"] {
        world.db.admin(&format!("UPDATE {table} SET lease_expires_at = '-infinity' RETURNING 1")).await;
    }
    world.db.admin("UPDATE automation_runs SET attempts = 0 RETURNING 1").await;
    world.db.admin("UPDATE webhook_deliveries SET due_at = now() RETURNING 1").await;
}

#[tokio::test]
async fn a_worker_killed_at_any_await_loses_nothing_and_doubles_nothing() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let ids = due(&agent, &world, &receiver, 30).await;
    let worker = worker(&world);
    let mut kills = 0;
    for kind in 0..3 {
        let step = async || match kind {
            0 => schedule::step(&worker).await.unwrap(),
            1 => runner::step(&worker).await.unwrap(),
            _ => deliver::step(&worker).await.unwrap(),
        };
        for _ in 0..5 {
            // Deaths at the first await, at the second, and so on, until one step comes through. Who dies
            // waiting for the COMMIT to be confirmed may have done it all: a round uses up several.
            for polls in 0.. {
                revive(&world).await;
                match killed_after(polls, step()).await {
                    None => kills += 1,
                    Some(done) => {
                        assert!(done, "there was work to die at");
                        break;
                    }
                }
            }
        }
        revive(&world).await;
        while step().await {}
    }
    assert!(kills >= 100, "{kills} deaths prove little");
    for _ in 0..3 {
        revive(&world).await;
        drain(&worker).await;
    }
    assert_all_told(&agent, &ids, &receiver).await;
}

#[tokio::test]
async fn two_workers_share_the_work_and_do_nothing_twice() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let ids = due(&agent, &world, &receiver, 20).await;
    let (one, two) = (worker(&world), worker(&world));
    let patient = |worker: Worker| Worker { lease: Duration::from_secs(60), ..worker };
    let (one, two) = (patient(one), patient(two));
    let both = || async { tokio::join!(drain(&one), drain(&two), drain(&one), drain(&two)) };
    both().await;
    // One may have looked before the other had queued.
    both().await;
    assert_all_told(&agent, &ids, &receiver).await;
    assert_eq!(receiver.received().len(), ids.len(), "nobody died: once each");
}

#[tokio::test]
async fn a_worker_that_lost_its_claim_changes_nothing() {
    use codash_store::Error;
    use codash_store::automations::claims::Advance;
    use codash_store::automations::runs::Outcome;
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let ids = due(&agent, &world, &receiver, 1).await;
    let store = world.db.store();
    let wait = Duration::from_secs(60);
    let lapse = "UPDATE automations SET lease_expires_at = '-infinity' RETURNING 1";
    let old = store.claim_due_automation("old", wait).await.unwrap().unwrap();
    assert!(store.claim_due_automation("new", wait).await.unwrap().is_none(), "it is held");
    world.db.admin(lapse).await;
    store.claim_due_automation("new", wait).await.unwrap().unwrap();
    assert!(matches!(store.due_automation(&old).await, Err(Error::Fenced)));
    assert!(matches!(store.advance_automation(&old, &Advance::default()).await, Err(Error::Fenced)));
    world.db.admin(lapse).await;
    schedule::step(&worker(&world)).await.unwrap();
    let old = store.claim_due_run("old", wait).await.unwrap().unwrap();
    world.db.admin("UPDATE automation_runs SET lease_expires_at = '-infinity' RETURNING 1").await;
    drain(&worker(&world)).await;
    let outcome = Outcome::Failed("late".into());
    let key = world.tenant.grant().key;
    assert!(matches!(store.finish_run(&old, key, &outcome, None).await, Err(Error::Fenced)));
    assert_all_told(&agent, &ids, &receiver).await;
}
