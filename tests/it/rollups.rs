//! Rollups equal raw sums, for every window, account set, symbol set and type set, at every instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use codash_domain::{EventType, Timestamp, Usd, Window};
use codash_store::events::EventFilter;
use codash_store::ledger::Sums;
use codash_store::{Grant, Store};

use crate::ingest::{at, fill, leased, page};
use crate::tenants::TestStore;

/// Deterministic, so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % bound).unwrap()
    }
}

fn random_fill(n: i64, dice: &mut Dice) -> codash_domain::Event {
    let mut event = fill(n, dice.roll(70 * 86_400), dice.roll(2_000) - 1_000);
    event.event_type = EventType::ALL[usize::try_from(dice.roll(7)).unwrap()];
    event.symbol =
        codash_domain::Symbol::linear_perp(["BTC", "ETH", "SOL", "XRP"][usize::try_from(dice.roll(4)).unwrap()]);
    if dice.roll(20) == 0 {
        event.fee_usd = None;
        event.unpriced = true;
    }
    event
}

fn random_filter(dice: &mut Dice, accounts: &[codash_domain::AccountId]) -> EventFilter {
    let (a, b) = (dice.roll(71 * 86_400_000), dice.roll(71 * 86_400_000));
    let base = at(0).millis();
    let instant = |offset: i64| Timestamp::from_millis(base + offset).unwrap();
    let symbols = ["BTC-PERP", "ETH-PERP", "SOL-PERP", "NONE"];
    EventFilter {
        accounts: (dice.roll(2) == 0).then(|| accounts.iter().copied().filter(|_| dice.roll(2) == 0).collect()),
        symbols: if dice.roll(2) == 0 {
            vec![]
        } else {
            symbols[..usize::try_from(dice.roll(4)).unwrap()].iter().map(ToString::to_string).collect()
        },
        event_types: if dice.roll(2) == 0 {
            vec![]
        } else {
            EventType::ALL[usize::try_from(dice.roll(6)).unwrap()..].to_vec()
        },
        window: Window { from: instant(a.min(b)), to: instant(a.max(b)) },
    }
}

/// The sums of the raw rows, added up here: no code shared with the ledger.
async fn raw_sums(store: &Store, grant: &Grant, filter: &EventFilter) -> BTreeMap<(String, String), Sums> {
    let mut session = store.read(grant).begin().await.unwrap();
    let events = session.events_page(filter, None, 1_000_000).await.unwrap();
    session.finish().await.unwrap();
    let mut sums: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for e in events {
        let entry = sums.entry((e.symbol.unwrap().to_string(), e.account.to_string())).or_default();
        *entry += Sums {
            event_count: 1,
            notional_usd: e.notional_usd.unwrap_or_default(),
            fees_usd: e.fee_usd.unwrap_or_default(),
            realized_pnl_usd: e.realized_pnl_usd.unwrap_or_default(),
            funding_usd: e.funding_usd.unwrap_or_default(),
            forced_close_count: i64::from(e.event_type.is_forced_close()),
            unpriced_count: i64::from(e.unpriced),
        };
    }
    sums
}

async fn assert_equal(store: &Store, grant: &Grant, filter: &EventFilter) {
    let raw = raw_sums(store, grant, filter).await;
    let mut session = store.read(grant).begin().await.unwrap();
    let both: BTreeMap<(String, String), Sums> = session
        .sums_by_symbol_and_account(filter)
        .await
        .unwrap()
        .into_iter()
        .map(|(symbol, account, sums)| ((symbol.unwrap().to_string(), account.to_string()), sums))
        .collect();
    let by_symbol = session.sums_by_symbol(filter).await.unwrap();
    let by_account = session.sums_by_account(filter).await.unwrap();
    let mut traders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if filter.accounts.is_none() {
        for (symbol, accounts, _) in session.sums_by_symbol_and_accounts(filter).await.unwrap() {
            let known = traders.entry(symbol.unwrap().to_string()).or_default();
            known.extend(accounts.iter().map(ToString::to_string));
        }
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (symbol, account) in raw.keys() {
            expected.entry(symbol.clone()).or_default().insert(account.clone());
        }
        // Cells hold types apart: a filter by type leaves out the accounts of the other types alone.
        assert_eq!(traders, expected, "{filter:?}");
    }
    session.finish().await.unwrap();
    assert_eq!(both, raw, "{filter:?}");
    let total = |sums: Vec<Sums>| {
        sums.into_iter().fold(Sums::default(), |mut t, s| {
            t += s;
            t
        })
    };
    let all = total(raw.into_values().collect());
    assert_eq!(total(by_symbol.into_iter().map(|(_, s)| s).collect()), all, "{filter:?}");
    assert_eq!(total(by_account.into_iter().map(|(_, s)| s).collect()), all, "{filter:?}");
}

#[tokio::test]
async fn sums_equal_raw_rows_on_random_windows_while_late_records_arrive_and_hours_are_sealed() {
    let db = TestStore::new().await;
    let (tenant, first, lease) = leased(&db, "w").await;
    let second = db.account(&tenant, "Second", &["usdm.fills:BTCUSDT"]).await;
    let other =
        db.store().take_lease(tenant.workspace, second, "t", std::time::Duration::from_secs(600)).await.unwrap();
    let grant = tenant.grant();
    let mut dice = Dice(42);
    let mut n = 0;
    for round in 0..14 {
        for lease in [&lease, &other] {
            let events = (0..40)
                .map(|_| {
                    n += 1;
                    random_fill(n, &mut dice)
                })
                .collect();
            db.store().commit_page(lease, &page(events)).await.unwrap();
        }
        if round % 3 == 1 {
            // Sometimes everything, sometimes only what is old.
            let until = at(if round % 2 == 0 { 80 * 86_400 } else { dice.roll(70 * 86_400) });
            while db.store().seal(tenant.workspace, until).await.unwrap() > 0 {}
        }
        if round % 4 == 3 {
            // A restatement of an old record: its hour is dirty again.
            let mut changed = random_fill(1, &mut Dice(42));
            changed.realized_pnl_usd = Some(Usd::new(rust_decimal::Decimal::from(round)));
            db.store().commit_page(&lease, &page(vec![changed])).await.unwrap();
        }
        for _ in 0..12 {
            assert_equal(db.store(), &grant, &random_filter(&mut dice, &[first, second])).await;
        }
    }
    let cells: i64 = sqlx::Row::get(&db.admin("SELECT count(*) FROM rollup_symbols WHERE grain = 'M'").await[0], 0);
    assert!(cells > 0, "the comparison was of rollups, not of raw rows alone");
}

#[tokio::test]
async fn sums_equal_raw_rows_while_ingest_and_sealers_run_at_once() {
    let db = TestStore::new().await;
    let (tenant, account, lease) = leased(&db, "w").await;
    let grant = tenant.grant();
    let store = db.store().clone();
    let ingesting = AtomicBool::new(true);
    let (sealed, asked) = (AtomicU64::new(0), AtomicU64::new(0));
    let ingest = async {
        let mut dice = Dice(7);
        for round in 0..60 {
            let events = (0..25).map(|i| random_fill(round * 25 + i, &mut dice)).collect();
            store.commit_page(&lease, &page(events)).await.unwrap();
        }
        ingesting.store(false, Relaxed);
    };
    let seal = || async {
        while ingesting.load(Relaxed) {
            // Two sealers may collide: the slower one's work is undone and the marks stay.
            sealed.fetch_add(store.seal(tenant.workspace, at(80 * 86_400)).await.unwrap_or(0), Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let ask = async {
        let mut dice = Dice(9);
        while ingesting.load(Relaxed) {
            let filter = random_filter(&mut dice, &[account]);
            // One snapshot for both readings.
            let mut session = store.read(&grant).begin().await.unwrap();
            let raw = session.events_page(&filter, None, 1_000_000).await.unwrap();
            let sums = session.sums_by_account(&filter).await.unwrap();
            session.finish().await.unwrap();
            let count: i64 = sums.iter().map(|(_, s)| s.event_count).sum();
            let realized: Usd = sums.iter().map(|(_, s)| s.realized_pnl_usd).sum();
            assert_eq!(count, i64::try_from(raw.len()).unwrap());
            assert_eq!(realized, raw.iter().filter_map(|e| e.realized_pnl_usd).sum::<Usd>());
            asked.fetch_add(1, Relaxed);
        }
    };
    tokio::join!(ingest, seal(), seal(), ask);
    assert!(sealed.load(Relaxed) > 0 && asked.load(Relaxed) > 20, "the three ran beside each other");
    while db.store().seal(tenant.workspace, at(80 * 86_400)).await.unwrap() > 0 {}
    // A window of all time: its end has no millisecond after it that could be written.
    let all_time =
        Window { from: "1970-01-01T00:00:00.000Z".parse().unwrap(), to: "9999-12-31T23:59:59.999Z".parse().unwrap() };
    for window in [Window { from: at(0), to: at(80 * 86_400) }, all_time] {
        let filter = EventFilter { accounts: None, symbols: vec![], event_types: vec![], window };
        assert_equal(db.store(), &grant, &filter).await;
    }
}
