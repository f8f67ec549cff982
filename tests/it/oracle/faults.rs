//! Under every fault switch, alone and mixed: what is presented as complete is the truth, and once the
//! fault is gone everything is.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Oracle, assert_true, compare, seeds};

/// Every switch, by name.
fn switches() -> Vec<(&'static str, Value)> {
    vec![
        ("latency", json!({ "latencyMs": { "chance": 0.2, "ms": 30 } })),
        ("timeouts", json!({ "timeout": { "chance": 0.02, "ms": 4000 } })),
        ("429", json!({ "status429": { "chance": 0.01, "retryAfterSeconds": 1 } })),
        ("418", json!({ "status418": { "chance": 0.01, "retryAfterSeconds": 1 } })),
        ("5xx", json!({ "status5xx": { "chance": 0.15 } })),
        ("cut pages", json!({ "cutPage": { "chance": 0.15 } })),
        ("short pages", json!({ "pageCap": 37 })),
        ("duplicated rows", json!({ "duplicateRows": { "chance": 0.5 } })),
        ("shuffled rows", json!({ "shuffleRows": { "chance": 0.5 } })),
        ("late records", json!({ "lateRecords": { "share": 0.1, "delayMs": 900_000 } })),
        ("restated records", json!({ "restateRecords": { "share": 0.1, "delayMs": 900_000 } })),
        ("unknown types", json!({ "unknownTypes": true })),
        ("malformed rows", json!({ "malformedRows": { "share": 0.02 } })),
        ("clock skew", json!({ "clockSkewMs": 45_000 })),
        ("a key that may trade", json!({ "permissions": "trade" })),
        ("a key that is gone", json!({ "permissions": "none" })),
        ("expired history", json!({ "historyDays": 9 })),
        ("compressed bombs", json!({ "compressedBomb": { "chance": 0.05 } })),
        (
            "everything at once",
            json!({ "status5xx": { "chance": 0.05 }, "cutPage": { "chance": 0.05 }, "duplicateRows": { "chance": 0.2 },
                    "shuffleRows": { "chance": 0.2 }, "lateRecords": { "share": 0.05, "delayMs": 600_000 },
                    "restateRecords": { "share": 0.05, "delayMs": 600_000 }, "unknownTypes": true,
                    "malformedRows": { "share": 0.01 }, "clockSkewMs": -30_000, "pageCap": 53,
                    "status429": { "chance": 0.005, "retryAfterSeconds": 1 } }),
        ),
    ]
}

/// Troubled days, then peace. What was complete in between was true; in the end all is.
async fn survives(seed: u64, name: &str, mut rules: Value) {
    let what = format!("seed {seed}, {name}");
    let oracle = Oracle::new(seed, 2, 8, 12).await;
    rules["seed"] = seed.into();
    oracle.paper.set_faults(rules).unwrap();
    for _ in 0..6 {
        let venues = oracle.restarted();
        for _ in 0..oracle.accounts.len() {
            oracle.pass(&venues).await;
            oracle.expire_leases().await;
        }
        oracle.advance(TimeDelta::minutes(11)).await;
    }
    // Records that the venue does not show yet cannot be missed: there, complete means as shown.
    if !name.contains("late") && !name.contains("restated") && !name.contains("everything") {
        compare::everything(&oracle).await.assert_none(&what);
    }
    oracle.paper.set_faults(json!({})).unwrap();
    // A silence that was asked for is kept.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    oracle.advance(TimeDelta::minutes(3)).await;
    oracle.collect().await;
    oracle.settle().await;
    oracle.advance(TimeDelta::minutes(3)).await;
    oracle.collect().await;
    if name == "expired history" {
        // What was gone when it was asked for stays unknown, and every answer that needs it says so.
        let found = compare::everything(&oracle).await;
        found.assert_none(&what);
        assert!(!found.incomplete.is_empty(), "{what}: old windows are not whole");
    } else {
        assert_true(&oracle, &format!("{what}, in the end")).await;
    }
    assert_eq!(oracle.paper.meter()["usdm"]["during418"], 0, "{what}: {}", oracle.paper.meter());
}

macro_rules! under {
    ($($test:ident: $numbers:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let all = switches();
                for (name, rules) in &all[$numbers] {
                    survives(seeds()[0], name, rules.clone()).await;
                }
            }
        )*

        #[test]
        fn every_switch_is_thrown() {
            let thrown: Vec<usize> = [$($numbers),*].into_iter().flatten().collect();
            assert_eq!(thrown, (0..switches().len()).collect::<Vec<_>>());
        }
    };
}

under! {
    the_truth_survives_slow_and_failing_requests: 0..5;
    the_truth_survives_cut_short_doubled_and_shuffled_pages: 5..9;
    the_truth_survives_late_restated_unknown_and_malformed_records: 9..13;
    the_truth_survives_a_wrong_clock_and_lost_rights: 13..16;
    the_truth_survives_expired_history_bombs_and_everything_at_once: 16..19;
}
