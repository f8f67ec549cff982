//! `codash load`: fills a workspace with made-up events through the ordinary ingest path, for trials
//! and benchmarks. The same seed makes the same events. Its accounts are named as generated and are
//! never collected.

use std::time::Duration;

use codash_domain::{AccountId, Assurance, Standing, cover::DAY};
use codash_domain::{
    Asset, Event, EventType, Fee, Price, Qty, Side, Snapshot, Symbol, Timestamp, Usd, Venue, WorkspaceId,
};
use codash_store::ingest::PageWrite;
use codash_store::{Credential, Lease, NewAccount, Store};
use rust_decimal::Decimal;
use serde_json::json;

/// How much to make.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    #[arg(long)]
    pub workspace: WorkspaceId,
    #[arg(long, default_value_t = 100_000)]
    pub events: u64,
    #[arg(long, default_value_t = 4)]
    pub accounts: u32,
    #[arg(long, default_value_t = 20)]
    pub symbols: u32,
    #[arg(long, default_value_t = 365)]
    pub days: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Events committed in one transaction.
const BATCH: u64 = 5_000;
const STREAM: &str = "generated";

/// Fills the workspace up to `now`; `progress` is told after every account.
pub async fn run(
    store: &Store,
    args: &LoadArgs,
    now: Timestamp,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), codash_store::Error> {
    let mut random = SplitMix(args.seed);
    for n in 0..args.accounts.max(1) {
        let id = AccountId::from_random(random.bytes());
        let account = NewAccount {
            id,
            name: format!("Generated {} (seed {})", n + 1, args.seed),
            venue: Venue::Hyperliquid,
            credential: Credential::Wallet { address: format!("generated:{}:{n}", args.seed) },
            tags: vec!["generated".into()],
            streams: vec![STREAM.into()],
            standing: Standing {
                assurance: Assurance::Keyless,
                kind: "generated".into(),
                not_covered: vec![],
                key_expires_at: None,
            },
            now,
        };
        store.create_account(args.workspace, &account).await?;
        store.set_active(args.workspace, id, false).await?;
        let lease = store.take_lease(args.workspace, id, "load", Duration::from_secs(3600)).await?;
        let share = args.events / u64::from(args.accounts.max(1));
        fill(store, &lease, args, share, now, &mut random).await?;
        store.release_lease(&lease, Duration::from_secs(86_400)).await?;
        progress(&format!("account {} of {}: {share} events", n + 1, args.accounts.max(1)));
    }
    Ok(())
}

async fn fill(
    store: &Store,
    lease: &Lease,
    args: &LoadArgs,
    events: u64,
    now: Timestamp,
    random: &mut SplitMix,
) -> Result<(), codash_store::Error> {
    let span = i64::from(args.days.max(1)) * DAY;
    let start = now.millis() - span;
    let mut made = 0;
    while made < events {
        let count = BATCH.min(events - made);
        // In time order, as a venue's history arrives.
        let at = |i: u64| {
            start + i64::try_from(u128::from(made + i) * span.unsigned_abs() as u128 / u128::from(events)).unwrap_or(0)
        };
        let page = PageWrite {
            stream: STREAM.into(),
            events: (0..count).filter_map(|i| event(at(i), made + i, args, random)).collect(),
            cursor: json!(made + count),
            covered: Timestamp::from_millis(start).zip(Timestamp::from_millis(at(count))),
            up_to_date: made + count == events,
            pause: Duration::from_secs(86_400),
            read_at: Some(now),
            ..PageWrite::default()
        };
        store.commit_page(lease, &page).await?;
        made += count;
    }
    store.commit_snapshot(lease, &snapshot(now, random), &[]).await
}

fn event(millis: i64, number: u64, args: &LoadArgs, random: &mut SplitMix) -> Option<Event> {
    let symbol = random.below(u64::from(args.symbols.max(1))).min(random.below(u64::from(args.symbols.max(1))));
    let event_type = match random.below(1000) {
        0..=1 => EventType::Liquidation,
        2 => EventType::Adl,
        3..=149 => EventType::Funding,
        _ => EventType::Trade,
    };
    let price = Decimal::new(i64::try_from(100_000 + random.below(9_900_000)).ok()?, 2);
    let qty = Decimal::new(i64::try_from(1 + random.below(50_000)).ok()?, 4);
    let notional = Usd::convert(qty, price)?;
    let amount = |scale: u32, most: u64, random: &mut SplitMix| -> Decimal {
        Decimal::new(i64::try_from(random.below(most)).unwrap_or(0) - i64::try_from(most / 2).unwrap_or(0), scale)
    };
    let funding = event_type == EventType::Funding;
    let fee = if funding { Decimal::ZERO } else { Usd::convert(notional.0, Decimal::new(4, 4))?.0 };
    Some(Event {
        stream: STREAM,
        native_id: format!("generated:{}:{number}", args.seed),
        event_type,
        symbol: Symbol::linear_perp(&format!("G{symbol:03}")),
        native_symbol: Some(format!("G{symbol:03}")),
        occurred_at: Timestamp::from_millis(millis)?,
        side: (!funding).then_some(if random.below(2) == 0 { Side::Buy } else { Side::Sell }),
        qty: Some(Qty::new(qty)),
        price: (!funding).then_some(Price::new(price)),
        notional_usd: (!funding).then_some(notional),
        realized_pnl_usd: Some(Usd::new(if funding { Decimal::ZERO } else { amount(8, 20_000_000_000, random) })),
        fee_usd: Some(Usd::new(fee)),
        funding_usd: Some(Usd::new(if funding { amount(8, 1_000_000_000, random) } else { Decimal::ZERO })),
        fee: (!funding).then(|| Fee { amount: fee, asset: Asset::new("USDC") }),
        unpriced: false,
        order_ref: None,
        raw: json!({ "generated": number }).to_string(),
    })
}

fn snapshot(now: Timestamp, random: &mut SplitMix) -> Snapshot {
    Snapshot {
        taken_at: now,
        balances: vec![],
        positions: vec![],
        nav_usd: Usd::new(Decimal::new(i64::try_from(random.below(1_000_000_000)).unwrap_or(0), 2)),
        unpriced_assets: vec![],
        btc_price_usd: Some(Usd::new(Decimal::from(65_000))),
        eth_price_usd: Some(Usd::new(Decimal::from(3_500))),
    }
}

/// SplitMix64: the same numbers from the same seed on any machine and in any version.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn bytes(&mut self) -> [u8; 16] {
        let (a, b) = (self.next().to_be_bytes(), self.next().to_be_bytes());
        std::array::from_fn(|i| if i < 8 { a[i] } else { b[i - 8] })
    }
}
