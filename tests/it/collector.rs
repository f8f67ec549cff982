//! From a venue's answer to rows: over real HTTP, with real signatures, whatever fails on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codash::dev::replay::{Replay, Trouble};
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_collector::{PassReport, Settings, pass};
use codash_domain::{AccountId, AccountStatus, FixedClock, Usd, Venue};
use codash_store::{Credential, NewAccount};
use serde_json::Value;
use sqlx::Row;

use crate::agent::venue_keys;
use crate::tenants::{Tenant, TestStore, now, random, standing};

/// A database, a replaying venue and two accounts on it, at a time that stands still.
struct Bench {
    db: TestStore,
    tenant: Tenant,
    replay: Replay,
    venues: Venues,
    clock: Arc<FixedClock>,
    binance: AccountId,
}

fn settings() -> Settings {
    // Due at once, one account a pass: a test decides how often.
    Settings { every: Duration::ZERO, ignore_due: true, ..Settings::default() }
}

impl Bench {
    async fn new() -> Self {
        let db = TestStore::new().await;
        let tenant = db.workspace("demo").await;
        let clock = Arc::new(FixedClock::at(now()));
        let replay = Replay::start(now(), venue_keys(), clock.clone()).await.unwrap();
        let venues = Venues { http: Http::new().unwrap(), endpoints: replay.endpoints(), clock: clock.clone() };
        let binance = attach(&db, &tenant, Venue::Binance).await;
        attach(&db, &tenant, Venue::Hyperliquid).await;
        Self { db, tenant, replay, venues, clock, binance }
    }

    async fn pass(&self) -> PassReport {
        pass(self.db.store(), &self.restarted(), &settings()).await.unwrap()
    }

    /// What a collector that was just started knows: nothing. A minute has gone by, so the venue's
    /// budget is whole again.
    fn restarted(&self) -> Venues {
        self.clock.advance(chrono::TimeDelta::seconds(61));
        Venues { http: Http::new().unwrap(), ..self.venues.clone() }
    }

    /// Passes until both accounts have been read twice in a row without anything new.
    async fn collect(&self) {
        // What a killed collector had asked of PostgreSQL may still come to pass.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.expire_leases().await;
        let mut quiet = 0;
        for _ in 0..60 {
            let report = self.pass().await;
            if report.accounts == 0 {
                self.expire_leases().await;
            }
            let still = report.accounts == 1 && report.inserted == 0 && report.faults == 0;
            quiet = if still { quiet + 1 } else { 0 };
            if quiet == 4 {
                return;
            }
        }
        panic!("the accounts never came to rest");
    }

    /// The leases of collectors that are gone end, by the database's clock.
    async fn expire_leases(&self) {
        self.db.admin("UPDATE leases SET expires_at = '-infinity', due_at = now() RETURNING 1").await;
    }

    /// What was stored, save what differs from run to run (ids hold the account's own).
    async fn rows(&self) -> Vec<String> {
        let sql = "SELECT (to_jsonb(e) - 'batch_id' - 'workspace_id' - 'account_id' - 'event_id')::text
                   FROM events e ORDER BY native_id";
        self.db.admin(sql).await.iter().map(|r| r.get(0)).collect()
    }

    async fn status(&self, account: AccountId) -> (AccountStatus, Option<String>) {
        let accounts = self.db.store().read(&self.tenant.grant()).accounts().await.unwrap();
        let account = accounts.into_iter().find(|a| a.id == account).unwrap();
        (account.status, account.status_detail)
    }
}

async fn attach(db: &TestStore, tenant: &Tenant, venue: Venue) -> AccountId {
    let (credential, streams) = match venue {
        Venue::Binance => (
            Credential::ApiKey { key: venue_keys().api_key, secret: venue_keys().secret, passphrase: None },
            ["usdm.forced", "usdm.income"].map(String::from).to_vec(),
        ),
        Venue::Hyperliquid => (
            Credential::Wallet { address: venue_keys().address },
            ["fills", "funding", "nav"].map(String::from).to_vec(),
        ),
        other => unreachable!("{other} is not replayed"),
    };
    let account = NewAccount {
        id: AccountId::from_random(random()),
        name: format!("{venue} (replayed recording)"),
        venue,
        credential,
        tags: vec![],
        streams,
        standing: standing(),
        now: now(),
    };
    db.store().create_account(tenant.workspace, &account).await.unwrap().id
}

/// The same rows, or a failure that shows the first of those that differ.
fn assert_same(ours: &[String], reference: &[String]) {
    let missing = reference.iter().find(|row| !ours.contains(row));
    let more = ours.iter().find(|row| !reference.contains(row));
    assert_eq!((ours.len(), missing, more), (reference.len(), None, None));
}

/// The fixtures that the replay is made of. Their own `canonical` rows say what must come out.
const REPLAYED: [&str; 12] = [
    "binance/usdm_income_all_types",
    "binance/usdm_user_trades_bnb_fee_hedge",
    "binance/usdm_liquidation_fills",
    "binance/usdm_user_trades_recorded",
    "binance/spot_my_trades_recorded",
    "hyperliquid/user_fills_by_time_first_60",
    "hyperliquid/user_fills_by_time_tail",
    "hyperliquid/user_fills_all_dirs",
    "hyperliquid/user_fills_liquidated_recorded",
    "hyperliquid/user_funding_13",
    "hyperliquid/user_funding_long",
    "binance/usdm_liquidation_force_order",
];

type Money = [Usd; 4];

/// Count and money by event type, as the fixtures state them: one dollar, one row.
fn expected() -> BTreeMap<String, (i64, Money)> {
    let mut seen = BTreeMap::new();
    for name in REPLAYED {
        let path = format!("{}/workers/collector/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let case: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for row in case["canonical"].as_array().unwrap() {
            // Classifiers carry no money; what a fill states too is on the fill, which is replayed.
            if row["role"] == "primary" {
                seen.insert(row["key"].as_str().unwrap().to_owned(), row.clone());
            }
        }
    }
    let mut sums: BTreeMap<String, (i64, Money)> = BTreeMap::new();
    for row in seen.into_values() {
        let usd = |name: &str| row[name].to_string().replace("null", "0").parse::<Usd>().unwrap();
        let entry = sums.entry(row["eventType"].as_str().unwrap().to_owned()).or_default();
        entry.0 += 1;
        for (sum, name) in entry.1.iter_mut().zip(["notionalUsd", "realizedPnlUsd", "feeUsd", "fundingUsd"]) {
            *sum = *sum + usd(name);
        }
    }
    sums
}

async fn stored(bench: &Bench) -> BTreeMap<String, (i64, Money)> {
    let sql = "SELECT event_type, count(*), coalesce(sum(notional_usd), 0), sum(realized_pnl_usd), sum(fee_usd),
                      sum(funding_usd) FROM events GROUP BY 1";
    let rows = bench.db.admin(sql).await;
    let money = |row: &sqlx::postgres::PgRow, i| Usd(row.get::<rust_decimal::Decimal, _>(i));
    rows.iter().map(|r| (r.get(0), (r.get(1), [money(r, 2), money(r, 3), money(r, 4), money(r, 5)]))).collect()
}

#[tokio::test]
async fn every_recorded_dollar_is_one_row_of_the_right_type() {
    let bench = Bench::new().await;
    bench.collect().await;
    assert_eq!(stored(&bench).await, expected());
    let (status, detail) = bench.status(bench.binance).await;
    assert_eq!((status, detail), (AccountStatus::Connected, None));
    let held: i64 = bench.db.admin("SELECT count(*) FROM held_records").await[0].get(0);
    assert_eq!(held, 0, "income whose fill is stored goes");
}

#[tokio::test]
async fn collecting_again_changes_nothing() {
    let bench = Bench::new().await;
    bench.collect().await;
    let before = bench.rows().await;
    bench.db.admin("UPDATE streams SET cursor = 'null' RETURNING 1").await;
    bench.collect().await;
    assert_same(&bench.rows().await, &before);
    let restated: i64 = bench.db.admin("SELECT count(*) FROM restatements").await[0].get(0);
    assert_eq!(restated, 0);
}

#[tokio::test]
async fn a_collector_killed_at_any_point_loses_nothing_and_doubles_nothing() {
    let reference = Bench::new().await;
    reference.collect().await;
    let bench = Bench::new().await;
    // A pass that is dropped at an await is what a kill leaves behind: no clean-up runs.
    for round in 0..60_u64 {
        let patience = Duration::from_millis(1 + round * 37 % 90);
        let _ = tokio::time::timeout(patience, bench.pass()).await;
        bench.expire_leases().await;
    }
    bench.collect().await;
    assert_same(&bench.rows().await, &reference.rows().await);
}

#[tokio::test]
async fn several_collectors_at_once_store_every_record_once() {
    let reference = Bench::new().await;
    reference.collect().await;
    let bench = Bench::new().await;
    let one = |holder: &str| {
        let settings = Settings { holder: holder.into(), lease: Duration::from_secs(1), ..settings() };
        let bench = &bench;
        async move {
            for _ in 0..12 {
                // Fenced or out of turn is no failure: the other one is at it.
                let _ = pass(bench.db.store(), &bench.restarted(), &settings).await;
            }
        }
    };
    tokio::join!(one("a"), one("b"), one("c"));
    bench.collect().await;
    assert_same(&bench.rows().await, &reference.rows().await);
}

#[tokio::test]
async fn a_venue_that_fails_is_asked_again_and_nothing_is_missing() {
    let reference = Bench::new().await;
    reference.collect().await;
    let bench = Bench::new().await;
    let faults = bench.replay.faults();
    faults.fail("/fapi/v1/income", 2, 500, "");
    faults.next("/fapi/v1/userTrades", 1, Trouble::BreakOff);
    faults.fail("/api/v3/myTrades", 1, 503, "oops");
    faults.fail("/info userFillsByTime", 2, 502, "<html>");
    faults.next("/info userFunding", 1, Trouble::Delay(Duration::from_millis(200)));
    for _ in 0..8 {
        bench.pass().await;
    }
    bench.collect().await;
    assert_same(&bench.rows().await, &reference.rows().await);
}

#[tokio::test]
async fn an_unreadable_record_is_kept_aside_and_its_stream_says_so_until_it_reads() {
    let bench = Bench::new().await;
    bench.replay.faults().next("/info userFunding", 1, Trouble::SpoilRow(3));
    for _ in 0..4 {
        bench.pass().await;
    }
    let degraded = "SELECT stream FROM streams WHERE status = 'degraded'";
    assert_eq!(bench.db.admin(degraded).await[0].get::<String, _>(0), "funding");
    let row = &bench.db.admin("SELECT reason, raw FROM quarantined_records").await[0];
    assert!(row.get::<String, _>(1).contains("delta"), "the record is kept as received");
    let funding: i64 = bench.db.admin("SELECT count(*) FROM events WHERE event_type = 'funding'").await[0].get(0);
    assert!(funding > 80, "the rest of the page is kept");
}

#[tokio::test]
async fn a_key_that_the_venue_refuses_stops_the_account_and_tells_its_owner() {
    let bench = Bench::new().await;
    let body = r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#;
    bench.replay.faults().fail("/*", 100, 401, body);
    for _ in 0..2 {
        bench.pass().await;
    }
    let (status, detail) = bench.status(bench.binance).await;
    assert_eq!(status, AccountStatus::Error);
    assert!(detail.unwrap().contains("refuses the key"));
    let asked = bench.replay.faults().asked("/api/v3/account");
    bench.replay.faults().clear();
    bench.pass().await;
    assert_eq!(bench.replay.faults().asked("/api/v3/account"), asked, "not asked again at once");
}

#[tokio::test]
async fn a_missing_price_is_unknown_and_filled_in_later() {
    let bench = Bench::new().await;
    let unknown = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
    bench.replay.faults().fail("/api/v3/klines", 1_000, 400, unknown);
    for _ in 0..6 {
        bench.pass().await;
    }
    let unpriced = "SELECT count(*) FROM events WHERE unpriced AND fee_usd IS NULL AND fee_asset = 'BNB'";
    assert_eq!(bench.db.admin(unpriced).await[0].get::<i64, _>(0), 2);
    bench.replay.faults().clear();
    bench.db.admin("UPDATE accounts SET repriced_at = NULL RETURNING 1").await;
    for _ in 0..2 {
        bench.pass().await;
    }
    assert_eq!(stored(&bench).await, expected());
    let priced: i64 = bench.db.admin("SELECT count(*) FROM restatements WHERE reason = 'priced'").await[0].get(0);
    assert_eq!(priced, 2);
}

#[tokio::test]
async fn balances_positions_and_nav_are_those_of_the_recording() {
    let bench = Bench::new().await;
    bench.collect().await;
    let nav = "SELECT a.venue, trim_scale(n.nav_usd)::text, trim_scale(n.long_usd)::text, trim_scale(n.short_usd)::text
               FROM nav_snapshots n JOIN accounts a USING (workspace_id, account_id) ORDER BY 1";
    let rows = bench.db.admin(nav).await;
    // Spot 0.09905021 BTC at 65000, 1.89109409 USDT, 0.1 LTC at 70; futures 122607.35137903 and 650 unrealized.
    let spot = "0.09905021".parse::<rust_decimal::Decimal>().unwrap() * rust_decimal::Decimal::from(65_000);
    let rest: rust_decimal::Decimal =
        ["1.89109409", "7", "122607.35137903", "650"].iter().map(|s| s.parse::<rust_decimal::Decimal>().unwrap()).sum();
    assert_eq!(rows[0].get::<String, _>(1), (spot + rest).normalize().to_string());
    assert_eq!((rows[0].get::<&str, _>(2), rows[0].get::<&str, _>(3)), ("14000", "23750"));
    let wallet = rows.last().unwrap();
    assert_eq!((wallet.get::<&str, _>(2), wallet.get::<&str, _>(3)), ("2265.289114", "1169.52622"));
    let positions: i64 = bench.db.admin("SELECT count(*) FROM positions").await[0].get(0);
    assert_eq!(positions, 14);
}
