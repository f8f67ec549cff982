//! The golden world: what `codash dev --golden` answers is what is checked in, and what the oracle
//! compares. Written anew by `cargo test --test it golden::write -- --ignored`.

#[expect(clippy::duplicate_mod, reason = "the oracle's comparison, of another world")]
#[path = "oracle/compare.rs"]
mod compare;

use std::collections::BTreeMap;
use std::path::PathBuf;

use codash::dev::golden::{NOW, ORIGIN, SEED, SYMBOLS};
use codash_domain::Timestamp;
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::dev::{Dev, Folder, agent};

const DAY: i64 = 24 * 3600 * 1000;
/// The last instant whose minute's prices are settled: 2026-11-21T00:05:59.999Z.
const SETTLED: i64 = NOW / 60_000 * 60_000 - 60_001;

/// The windows of the truth file: name, from, to.
fn windows() -> [(&'static str, i64, i64); 3] {
    let midnight = NOW / DAY * DAY;
    [
        ("now", NOW, NOW),
        ("whole", ORIGIN, SETTLED),
        // 2026-11-01T00:00:00.000Z to 2026-11-14T23:59:59.999Z.
        ("fortnight", midnight - 20 * DAY, midnight - 6 * DAY - 1),
    ]
}

/// The running world, as the oracle's comparison asks it.
struct Oracle {
    agent: Agent,
    paper: String,
    /// Name at the exchange, id with us.
    accounts: BTreeMap<String, String>,
    _dev: Dev,
    _folder: Folder,
}

impl Oracle {
    async fn start() -> Self {
        let folder = Folder::new();
        let (dev, ready) = Dev::started(&folder.0, &["--golden"]).await;
        let (agent, paper) = (agent(&ready), ready["paperExchangeUrl"].as_str().unwrap().to_owned());
        let listed = agent.call("list_accounts", json!({})).await;
        let there = |account: &Value| {
            // "Paper acct-01: …"
            let name = account["name"].as_str().unwrap().strip_prefix("Paper ").unwrap();
            (name.split(':').next().unwrap().to_owned(), account["id"].as_str().unwrap().to_owned())
        };
        let accounts = listed["accounts"].as_array().unwrap().iter().map(there).collect();
        Self { agent, paper, accounts, _dev: dev, _folder: folder }
    }

    async fn truth(&self, account: &str, from: i64, at: i64) -> Value {
        let url = format!("{}/truth?account={account}&from={from}&at={at}", self.paper);
        let text = crate::http_client().get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn now(&self) -> i64 {
        NOW
    }

    /// The truth file as it should be.
    async fn file(&self) -> String {
        let mut accounts = Map::new();
        for (name, id) in &self.accounts {
            let mut truth = Map::from_iter([("accountId".to_owned(), id.clone().into())]);
            for (window, from, at) in windows() {
                truth.insert(window.into(), self.truth(name, from, at).await);
            }
            accounts.insert(name.clone(), truth.into());
        }
        let file = json!({
            "seed": SEED,
            "symbols": SYMBOLS,
            "origin": text(ORIGIN),
            "now": text(NOW),
            "accounts": accounts,
        });
        serde_json::to_string_pretty(&file).unwrap() + "\n"
    }
}

fn text(millis: i64) -> String {
    Timestamp::nearest(millis).to_string()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/golden/truth.json")
}

/// A figure of an answer and of the truth, as the document's table pairs them.
fn same(place: &str, ours: &Value, truth: &Value) {
    assert!(ours.is_number(), "{place}: {ours}");
    assert_eq!(ours.to_string(), truth.to_string(), "{place}");
}

#[tokio::test]
async fn the_checked_in_truth_is_the_exchanges_and_every_answer_equals_it() {
    let golden = Oracle::start().await;
    let kept = std::fs::read_to_string(path()).unwrap();
    assert!(golden.file().await == kept, "docs/golden/truth.json is not what the exchange says any more");

    // As an integrator reads the file: docs/golden/README.md.
    let file: Value = serde_json::from_str(&kept).unwrap();
    for (name, account) in file["accounts"].as_object().unwrap() {
        let (id, now) = (&account["accountId"], &account["now"]);
        let summary = golden.agent.call("get_portfolio_summary", json!({ "accountId": id })).await;
        for (ours, theirs) in [
            ("navUsd", &now["navUsd"]),
            ("longExposureUsd", &now["exposure"]["longUsd"]),
            ("shortExposureUsd", &now["exposure"]["shortUsd"]),
            ("grossExposureUsd", &now["exposure"]["grossUsd"]),
            ("netExposureUsd", &now["exposure"]["netUsd"]),
            ("futuresUpnlUsd", &now["exposure"]["futuresUpnlUsd"]),
        ] {
            same(&format!("{name} {ours}"), &summary[ours], theirs);
        }
        for window in ["whole", "fortnight"] {
            let truth = &account[window];
            let asked = json!({ "accountId": id, "from": truth["from"], "to": truth["at"], "limit": 2000 });
            let pnl = golden.agent.call("get_pnl_by_symbol", asked).await;
            assert_eq!(pnl["provenance"]["coverage"]["complete"], true, "{}", pnl["provenance"]["coverage"]);
            let rows = pnl["rows"].as_array().unwrap();
            assert_eq!(rows.len(), truth["bySymbol"].as_array().unwrap().len(), "{name} {window}");
            for theirs in truth["bySymbol"].as_array().unwrap() {
                let ours = rows.iter().find(|row| row["symbol"] == theirs["symbol"]).unwrap();
                for sum in ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"] {
                    same(&format!("{name} {window} {} {sum}", theirs["symbol"]), &ours[sum], &theirs[sum]);
                }
            }
        }
    }
    // And as the oracle does.
    let found = compare::everything(&golden).await;
    assert_eq!(found.incomplete, [] as [String; 0]);
    found.assert_none("golden");
}

/// Every question, and what it answers.
async fn answers(golden: &Oracle) -> Vec<(String, String)> {
    let window = json!({ "from": text(ORIGIN), "to": text(NOW) });
    let mut answers = vec![];
    for (tool, arguments) in [
        ("list_accounts", json!({})),
        ("get_portfolio_summary", json!({})),
        ("get_nav_history", json!({ "days": 7 })),
        ("get_trading_activity_summary", window.clone()),
        ("get_pnl_by_symbol", window.clone()),
        ("get_trade_events", window.clone()),
        ("get_largest_loss_events", window),
    ] {
        answers.push((tool.to_owned(), golden.agent.call(tool, arguments).await.to_string()));
    }
    answers
}

#[tokio::test]
async fn two_runs_answer_the_same_to_the_last_byte() {
    let (one, other) = tokio::join!(Oracle::start(), Oracle::start());
    for ((tool, ours), (_, theirs)) in answers(&one).await.into_iter().zip(answers(&other).await) {
        let at = ours.bytes().zip(theirs.bytes()).position(|(a, b)| a != b).unwrap_or(0).saturating_sub(80);
        let end = |text: &str| text.get(at..).map_or_else(String::new, |rest| rest.chars().take(200).collect());
        assert!(ours == theirs, "{tool}: {} … {}", end(&ours), end(&theirs));
    }
}

/// Writes the truth file. To be looked at before it is committed.
#[tokio::test]
#[ignore = "writes docs/golden/truth.json"]
async fn write() {
    let golden = Oracle::start().await;
    std::fs::create_dir_all(path().parent().unwrap()).unwrap();
    std::fs::write(path(), golden.file().await).unwrap();
}
