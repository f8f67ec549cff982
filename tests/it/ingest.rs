//! What a page's commit promises: idempotent, order does not matter, nothing silently overwritten.

use std::time::Duration;

use codash_domain::{AccountId, Asset, Event, EventType, Fee, Price, Qty, Side, Symbol, Timestamp, Usd};
use codash_store::ingest::{ForcedOrder, Held, PageWrite, Quarantined};
use codash_store::{Error, Lease};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::Row;

use crate::tenants::{Tenant, TestStore};

pub const STREAM: &str = "usdm.fills";

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1000).unwrap()
}

/// A fill worth `pnl` dollars before a fee of one.
pub fn fill(n: i64, seconds: i64, pnl: i64) -> Event {
    Event {
        stream: STREAM,
        native_id: format!("binance:usdm:BTCUSDT:{n}"),
        event_type: EventType::Trade,
        symbol: Symbol::linear_perp("BTC"),
        native_symbol: Some("BTCUSDT".into()),
        occurred_at: at(seconds),
        side: Some(Side::Buy),
        qty: Some(Qty::new(Decimal::ONE)),
        price: Some(Price::new(Decimal::from(100))),
        notional_usd: Some(Usd::new(Decimal::from(100))),
        realized_pnl_usd: Some(Usd::new(Decimal::from(pnl))),
        fee_usd: Some(Usd::new(Decimal::ONE)),
        funding_usd: Some(Usd::ZERO),
        fee: Some(Fee { amount: Decimal::ONE, asset: Asset::new("USDT") }),
        unpriced: false,
        order_ref: Some(format!("binance:usdm:BTCUSDT:{}", n / 10)),
        raw: json!({ "id": n, "realizedPnl": pnl }).to_string(),
    }
}

pub fn page(events: Vec<Event>) -> PageWrite {
    PageWrite { stream: format!("{STREAM}:BTCUSDT"), events, read_at: Some(at(0)), ..PageWrite::default() }
}

pub async fn leased(db: &TestStore, name: &str) -> (Tenant, AccountId, Lease) {
    let tenant = db.workspace(name).await;
    let account = db.account(&tenant, "Main", &["usdm.fills:BTCUSDT", "usdm.income", "usdm.forced"]).await;
    let lease = db.store().take_lease(tenant.workspace, account, "test", Duration::from_secs(600)).await.unwrap();
    (tenant, account, lease)
}

/// Every stored event in full, save the batch that brought it.
async fn rows(db: &TestStore) -> Vec<String> {
    let sql = "SELECT (to_jsonb(e) - 'batch_id' - 'raw' - 'workspace_id' - 'account_id' - 'event_id')::text
               FROM events e ORDER BY native_id";
    db.admin(sql).await.iter().map(|r| r.get::<String, _>(0)).collect()
}

#[tokio::test]
async fn the_same_page_twice_changes_nothing() {
    let db = TestStore::new().await;
    let (_, _, lease) = leased(&db, "w").await;
    let first = db.store().commit_page(&lease, &page(vec![fill(1, 0, 5), fill(2, 1, -7)])).await.unwrap();
    assert_eq!((first.inserted, first.restated), (2, 0));
    let before = rows(&db).await;
    let again = db.store().commit_page(&lease, &page(vec![fill(1, 0, 5), fill(2, 1, -7)])).await.unwrap();
    assert_eq!((again.inserted, again.restated), (0, 0));
    assert_eq!(rows(&db).await, before);
    let version: i64 = db.admin("SELECT data_version FROM workspaces").await[0].get(0);
    assert_eq!(version, 1, "an overlap that brings nothing new makes no version");
}

#[tokio::test]
async fn a_restated_record_keeps_both_bodies_and_answers_the_later() {
    let db = TestStore::new().await;
    let (_, _, lease) = leased(&db, "w").await;
    db.store().commit_page(&lease, &page(vec![fill(1, 0, 5)])).await.unwrap();
    let done = db.store().commit_page(&lease, &page(vec![fill(1, 0, 6)])).await.unwrap();
    assert_eq!((done.inserted, done.restated), (0, 1));
    let row =
        &db.admin("SELECT reason, before ->> 'realizedPnlUsd', after ->> 'realizedPnlUsd' FROM restatements").await[0];
    assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1), row.get::<&str, _>(2)), ("restated", "5", "6"));
    let stored: Decimal = db.admin("SELECT realized_pnl_usd FROM events").await[0].get(0);
    assert_eq!(stored, Decimal::from(6));
}

#[tokio::test]
async fn a_fill_is_a_liquidation_whichever_of_fill_and_order_comes_first() {
    let order = ForcedOrder {
        order_ref: "binance:usdm:BTCUSDT:1".into(),
        event_type: EventType::Liquidation,
        occurred_at: at(5),
    };
    let forced = || PageWrite {
        stream: "usdm.forced".into(),
        forced_orders: vec![order.clone()],
        read_at: Some(at(0)),
        ..PageWrite::default()
    };
    let db = TestStore::new().await;
    let (_, _, early) = leased(&db, "order first").await;
    db.store().commit_page(&early, &forced()).await.unwrap();
    db.store().commit_page(&early, &page(vec![fill(10, 4, -50), fill(20, 4, 1)])).await.unwrap();
    let (_, _, late) = leased(&db, "fill first").await;
    db.store().commit_page(&late, &page(vec![fill(10, 4, -50), fill(20, 4, 1)])).await.unwrap();
    db.store().commit_page(&late, &forced()).await.unwrap();
    // Read again, as every overlap does: the class stays.
    db.store().commit_page(&late, &page(vec![fill(10, 4, -50)])).await.unwrap();
    let types: Vec<String> = db
        .admin("SELECT string_agg(event_type, ',' ORDER BY native_id) FROM events GROUP BY workspace_id")
        .await
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(types, ["liquidation,trade", "liquidation,trade"]);
    let changes: i64 = db.admin("SELECT count(*) FROM restatements WHERE reason = 'classified'").await[0].get(0);
    assert_eq!(changes, 1);
}

#[tokio::test]
async fn a_price_that_becomes_known_fills_the_gap_and_is_never_lost_again() {
    let db = TestStore::new().await;
    let (_, _, lease) = leased(&db, "w").await;
    let unpriced = Event { fee_usd: None, unpriced: true, ..fill(1, 0, 5) };
    db.store().commit_page(&lease, &page(vec![unpriced.clone()])).await.unwrap();
    db.store().commit_page(&lease, &page(vec![fill(1, 0, 5)])).await.unwrap();
    db.store().commit_page(&lease, &page(vec![unpriced])).await.unwrap();
    let row = &db.admin("SELECT fee_usd, unpriced FROM events").await[0];
    assert_eq!((row.get::<Decimal, _>(0), row.get::<bool, _>(1)), (Decimal::ONE, false));
}

fn held(income: Event) -> Held {
    Held {
        event: income,
        fill_stream: STREAM,
        fill_native_id: "binance:usdm:BTCUSDT:1".into(),
        fill_coverage: "usdm.fills:BTCUSDT".into(),
    }
}

fn income() -> Event {
    Event {
        stream: "usdm.income",
        native_id: "binance:usdm:income:REALIZED_PNL:9:BTCUSDT:USDT".into(),
        event_type: EventType::ClosedPnl,
        order_ref: None,
        ..fill(1, 0, 5)
    }
}

#[tokio::test]
async fn money_that_a_fill_states_too_is_counted_once_in_either_order() {
    let db = TestStore::new().await;
    let income_page = || PageWrite {
        stream: "usdm.income".into(),
        held: vec![held(income())],
        read_at: Some(at(0)),
        ..PageWrite::default()
    };
    let fill_page = || PageWrite { covered: Some((at(-1000), at(5000))), ..page(vec![fill(1, 0, 5)]) };
    for (name, fill_first) in [("a", true), ("b", false)] {
        let (tenant, _, lease) = leased(&db, name).await;
        let pages = if fill_first { [fill_page(), income_page()] } else { [income_page(), fill_page()] };
        for page in &pages {
            db.store().commit_page(&lease, page).await.unwrap();
            db.store().settle_held(&lease).await.unwrap();
        }
        let types: Vec<String> = db.events(&tenant).await.into_iter().map(|e| e.event_type.to_string()).collect();
        assert_eq!(types, ["trade"], "{name}");
    }
}

#[tokio::test]
async fn money_whose_fill_is_not_to_be_had_becomes_an_event_once_that_is_certain() {
    let db = TestStore::new().await;
    let (tenant, _, lease) = leased(&db, "w").await;
    let write = PageWrite {
        stream: "usdm.income".into(),
        held: vec![held(income())],
        read_at: Some(at(0)),
        ..PageWrite::default()
    };
    db.store().commit_page(&lease, &write).await.unwrap();
    db.store().settle_held(&lease).await.unwrap();
    assert!(db.events(&tenant).await.is_empty(), "not while the fills of that time are unread");
    let fills = PageWrite { covered: Some((at(-1000), at(5000))), up_to_date: true, ..page(vec![]) };
    db.store().commit_page(&lease, &PageWrite { read_at: None, ..fills.clone() }).await.unwrap();
    db.store().settle_held(&lease).await.unwrap();
    assert!(db.events(&tenant).await.is_empty(), "not while they have been read only once");
    db.store().commit_page(&lease, &PageWrite { read_at: Some(at(3601)), ..fills }).await.unwrap();
    db.store().settle_held(&lease).await.unwrap();
    let events = db.events(&tenant).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type, EventType::ClosedPnl);
    assert_eq!(events[0].realized_pnl_usd, Some(Usd::new(Decimal::from(5))));
    // The income is read again in the next overlap: it is an event already.
    db.store().commit_page(&lease, &write).await.unwrap();
    db.store().settle_held(&lease).await.unwrap();
    assert_eq!(db.events(&tenant).await.len(), 1);

    // The venue shows the fill after all: the money is counted once still.
    db.store().commit_page(&lease, &page(vec![fill(1, 0, 5)])).await.unwrap();
    db.store().settle_held(&lease).await.unwrap();
    let types: Vec<String> = db.events(&tenant).await.into_iter().map(|e| e.event_type.to_string()).collect();
    assert_eq!(types, ["trade"]);
    let kept = db.admin("SELECT reason FROM restatements").await;
    assert_eq!(kept[0].get::<String, _>(0), "superseded", "what was taken back can still be seen");
    db.store().commit_page(&lease, &write).await.unwrap();
    assert_eq!(db.events(&tenant).await.len(), 1);
}

#[tokio::test]
async fn an_unreadable_record_degrades_its_stream_and_the_rest_is_kept() {
    let db = TestStore::new().await;
    let (tenant, _, lease) = leased(&db, "w").await;
    let quarantined = vec![Quarantined {
        reason: "side is not known".into(),
        raw: r#"{"side":"\u0000"}"#.into(),
        between: (None, None),
    }];
    let write = PageWrite { quarantined, up_to_date: true, ..page(vec![fill(1, 0, 5)]) };
    let done = db.store().commit_page(&lease, &write).await.unwrap();
    assert_eq!((done.inserted, done.quarantined), (1, 1));
    let streams = db.store().read(&tenant.grant()).connectivity().await.unwrap().remove(0).streams;
    let stream = streams.into_iter().find(|s| s.stream == "usdm.fills:BTCUSDT").unwrap();
    assert_eq!((stream.status.as_str(), stream.quarantined), ("degraded", 1));
}

#[tokio::test]
async fn whoever_lost_the_lease_writes_nothing() {
    let db = TestStore::new().await;
    let (tenant, account, stale) = leased(&db, "w").await;
    db.store().take_lease(tenant.workspace, account, "other", Duration::from_secs(600)).await.unwrap();
    let refused = db.store().commit_page(&stale, &page(vec![fill(1, 0, 5)])).await;
    assert!(matches!(refused, Err(Error::Fenced)));
    assert!(db.events(&tenant).await.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// The same history, chopped and ordered in any way, with pages repeated: the same rows and ids.
    #[test]
    fn any_chopping_and_order_gives_the_same_rows(
        order in Just((0..60_i64).collect::<Vec<_>>()).prop_shuffle(),
        cuts in proptest::collection::vec(1_usize..20, 1..12),
        repeat in proptest::collection::vec(any::<bool>(), 12),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let db = TestStore::new().await;
            let make = |n: i64| fill(n, n * 97, n - 30);
            let (_, _, reference) = leased(&db, "reference").await;
            db.store().commit_page(&reference, &page((0..60).map(make).collect())).await.unwrap();
            let expected = rows(&db).await;
            let other = TestStore::new().await;
            let (_, _, lease) = leased(&other, "shuffled").await;
            let mut rest = order.as_slice();
            let mut turn = 0;
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
                for _ in 0..=usize::from(repeat[turn % repeat.len()]) {
                    other.store().commit_page(&lease, &page(head.iter().map(|n| make(*n)).collect())).await.unwrap();
                }
                (rest, turn) = (tail, turn + 1);
            }
            assert_eq!(rows(&other).await, expected);
        });
    }
}
