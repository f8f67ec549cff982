//! Hyperliquid balances, positions and equity into holdings: pure, by the NAV rules of the venue notes.

use std::collections::BTreeMap;

use codash_domain::money::parse_decimal;
use codash_domain::{Position, Price, Qty, Symbol, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ledger::{PERP, SPOT, STAKING, VAULT};
use super::parse::{DOLLAR, SpotMarkets};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, bounded, product};
use crate::venues::Unreadable;
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Millis, Text, read, record, rows, unreadable};

/// What is staked here.
pub const STAKED: &str = "HYPE";

/// clearinghouseState of one exchange.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clearinghouse {
    margin_summary: MarginSummary,
    #[serde(default)]
    asset_positions: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarginSummary {
    account_value: Dec,
}

/// spotClearinghouseState.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpotState {
    #[serde(default)]
    balances: Vec<Box<RawValue>>,
    #[serde(default)]
    portfolio_margin_enabled: Option<bool>,
    /// Told only of accounts whose wallets are joined.
    #[serde(default)]
    token_to_available_after_maintenance: Option<Value>,
}

impl SpotState {
    /// How much of a token is held, if the reply says it.
    pub fn total_of(&self, token: &str) -> Option<Decimal> {
        let rows = self.balances.iter().filter_map(|raw| record::<SpotRow>(raw).ok());
        rows.filter(|row| row.coin == token).map(|row| row.total.0).next()
    }
}

#[derive(Debug, Deserialize)]
struct SpotRow {
    coin: String,
    /// With joined wallets, what perpetuals are worth is in it, and what is owed is taken off it.
    total: Dec,
}

#[derive(Debug, Deserialize)]
struct Held {
    position: PositionRow,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    coin: String,
    szi: Dec,
    #[serde(default)]
    entry_px: Option<Dec>,
    position_value: Dec,
    unrealized_pnl: Dec,
}

/// What an account has on one perpetual exchange.
#[derive(Debug)]
pub struct Dex {
    /// Empty for the main exchange.
    pub name: String,
    pub state: Clearinghouse,
    /// The token that its equity is counted in; `None` when that is not known.
    pub collateral: Option<String>,
}

impl Dex {
    /// The main exchange, which counts in dollars.
    pub fn main(state: Clearinghouse) -> Self {
        Self { name: String::new(), state, collateral: Some(DOLLAR.into()) }
    }
}

impl Clearinghouse {
    /// True when there is neither money nor a position.
    pub fn is_empty(&self) -> bool {
        self.margin_summary.account_value.0.is_zero() && self.asset_positions.is_empty()
    }
}

/// One account's wallets: what to add, and what would be counted twice.
#[derive(Debug, Default)]
pub struct Account {
    pub perps: Vec<Dex>,
    pub spot: SpotState,
    /// How the venue says the wallets are joined (`portfolioMargin`, `unifiedAccount`), if it does.
    pub abstraction: Option<String>,
}

impl Account {
    /// With joined wallets, the spot balances hold all the money, also what perpetuals are worth.
    pub fn is_joined(&self) -> bool {
        self.spot.portfolio_margin_enabled == Some(true)
            || self.spot.token_to_available_after_maintenance.as_ref().is_some_and(|told| !told.is_null())
            || matches!(self.abstraction.as_deref(), Some("portfolioMargin" | "unifiedAccount"))
    }

    /// Equity: the value of each exchange's account plus the spot balances; of joined wallets the spot
    /// balances alone, as unrealized PnL is in them.
    pub fn holdings(&self, prices: &dyn Prices, now: Timestamp) -> Holdings {
        let mut holdings = Holdings::default();
        for dex in &self.perps {
            add_positions(&mut holdings, dex);
            if !self.is_joined() {
                add_perp_balance(&mut holdings, dex, prices, now);
            }
        }
        add_spot(&mut holdings, &self.spot, prices, now);
        holdings
    }
}

/// The equity of an exchange's account, shown as the token that it is counted in.
fn add_perp_balance(holdings: &mut Holdings, dex: &Dex, prices: &dyn Prices, now: Timestamp) {
    let total = dex.state.margin_summary.account_value.0;
    let (asset, price) = match &dex.collateral {
        Some(token) => (token.clone(), prices.usd(token, now)),
        None => (format!("collateral of {}", dex.name), None),
    };
    if let Err(reason) = holdings.add_balance(PERP, &asset, total, price) {
        holdings.unreadable.push(Unreadable { reason, raw: "marginSummary.accountValue".into() });
    }
}

fn add_positions(holdings: &mut Holdings, dex: &Dex) {
    for raw in &dex.state.asset_positions {
        let read = record::<Held>(raw);
        match read.and_then(|held| position(held.position, &dex.name).map_err(|why| unreadable(raw, why))) {
            Ok(Some(position)) => holdings.positions.push(position),
            Ok(None) => {}
            Err(bad) => holdings.unreadable.push(bad),
        }
    }
}

/// The value is unsigned; the direction is the sign of the size. Every exchange quotes in dollars,
/// whatever its collateral.
fn position(row: PositionRow, dex: &str) -> Result<Option<Position>, String> {
    if row.szi.0.is_zero() {
        return Ok(None);
    }
    let value = bounded(Usd::new(row.position_value.0.abs())).ok_or("positionValue is too large an amount")?;
    let profit = bounded(Usd::new(row.unrealized_pnl.0)).ok_or("unrealizedPnl is too large an amount")?;
    let mark = value.0.checked_div(row.szi.0.abs()).map(|mark| Price::new(Usd::derived(mark).0));
    let coin = match dex.is_empty() || row.coin.contains(':') {
        true => row.coin,
        false => format!("{dex}:{}", row.coin),
    };
    Ok(Some(Position {
        symbol: Symbol::linear_perp(&coin).ok_or("the coin is empty")?,
        native_symbol: coin,
        leg: "both",
        qty: Qty::new(row.szi.0),
        entry_price: row.entry_px.map(|price| Price::new(price.0)),
        mark_price: mark,
        notional_usd: value,
        unrealized_pnl_usd: profit,
    }))
}

fn add_spot(holdings: &mut Holdings, spot: &SpotState, prices: &dyn Prices, now: Timestamp) {
    for raw in &spot.balances {
        let outcome = record::<SpotRow>(raw).and_then(|row| {
            holdings
                .add_balance(SPOT, &row.coin, row.total.0, prices.usd(&row.coin, now))
                .map_err(|why| unreadable(raw, why))
        });
        if let Err(bad) = outcome {
            holdings.unreadable.push(bad);
        }
    }
}

/// userVaultEquities: deposits in vaults, which appear in neither clearinghouse.
pub fn add_vaults(holdings: &mut Holdings, body: &str) -> Result<(), VenueError> {
    #[derive(Deserialize)]
    struct Row {
        equity: Dec,
    }
    for raw in rows("userVaultEquities", body)? {
        let outcome = record::<Row>(&raw).and_then(|row| {
            holdings.add_balance(VAULT, DOLLAR, row.equity.0, Some(Decimal::ONE)).map_err(|why| unreadable(&raw, why))
        });
        if let Err(bad) = outcome {
            holdings.unreadable.push(bad);
        }
    }
    Ok(())
}

/// delegatorSummary: what is staked, is about to be, or is on its way back.
pub fn staked(body: &str) -> Result<Decimal, VenueError> {
    const ENDPOINT: &str = "delegatorSummary";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Summary {
        delegated: Dec,
        undelegated: Dec,
        total_pending_withdrawal: Dec,
    }
    let summary: Summary = read(ENDPOINT, body)?;
    let sum = summary.delegated.0.checked_add(summary.undelegated.0);
    sum.and_then(|sum| sum.checked_add(summary.total_pending_withdrawal.0))
        .ok_or_else(|| VenueError::unreadable(ENDPOINT, "the amounts are too large"))
}

/// Counts what is staked.
pub fn add_staked(holdings: &mut Holdings, staked: Decimal, prices: &dyn Prices, now: Timestamp) {
    if let Err(reason) = holdings.add_balance(STAKING, STAKED, staked, prices.usd(STAKED, now)) {
        holdings.unreadable.push(Unreadable { reason, raw: "delegatorSummary".into() });
    }
}

/// The index of the token that an exchange counts in, if its `meta` says it.
pub fn collateral(body: &str) -> Result<Option<String>, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        #[serde(default)]
        collateral_token: Option<Text>,
    }
    Ok(read::<Meta>("meta", body)?.collateral_token.map(|token| token.0))
}

/// subAccounts and subAccounts2: every sub-account's wallets. `null` when there are none.
pub fn sub_accounts(body: &str) -> Result<Vec<Account>, VenueError> {
    const ENDPOINT: &str = "subAccounts";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sub {
        #[serde(default)]
        clearinghouse_state: Option<Clearinghouse>,
        /// Pairs of an exchange's name and its state.
        #[serde(default)]
        dex_to_clearinghouse_state: Option<Vec<(String, Clearinghouse)>>,
        #[serde(default)]
        spot_state: Option<SpotState>,
        #[serde(default)]
        abstraction: Option<String>,
    }
    let subs: Option<Vec<Sub>> = read(ENDPOINT, body)?;
    // What a builder-deployed exchange counts in is not in this reply.
    let dex = |(name, state): (String, Clearinghouse)| match name.is_empty() {
        true => Dex::main(state),
        false => Dex { name, state, collateral: None },
    };
    let account = |sub: Sub| Account {
        perps: match sub.dex_to_clearinghouse_state {
            Some(dexes) => dexes.into_iter().map(dex).collect(),
            None => sub.clearinghouse_state.into_iter().map(Dex::main).collect(),
        },
        spot: sub.spot_state.unwrap_or_default(),
        abstraction: sub.abstraction,
    };
    Ok(subs.unwrap_or_default().into_iter().map(account).collect())
}

/// portfolio: equity at past instants, from the coarse history to the fine, each instant once. The
/// `perp…` series leave spot out, so they are no equity.
pub fn nav_history(body: &str) -> Result<Vec<(Timestamp, Usd)>, VenueError> {
    const ENDPOINT: &str = "portfolio";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Series {
        #[serde(default)]
        account_value_history: Vec<(Millis, Dec)>,
    }
    let periods: Vec<(String, Series)> = read(ENDPOINT, body)?;
    let mut points = BTreeMap::new();
    for (_, series) in periods.iter().filter(|(name, _)| !name.starts_with("perp")) {
        for (at, equity) in &series.account_value_history {
            let equity = bounded(Usd::new(equity.0))
                .ok_or_else(|| VenueError::unreadable(ENDPOINT, "an equity is too large"))?;
            points.insert(at.0, equity);
        }
    }
    Ok(points.into_iter().collect())
}

/// allMids: prices by coin.
pub fn mids(body: &str) -> Result<BTreeMap<String, Decimal>, VenueError> {
    let texts: BTreeMap<String, Text> = read("allMids", body)?;
    let price =
        |text: &Text| parse_decimal(&text.0).map_err(|error| VenueError::unreadable("allMids", error.to_string()));
    texts.iter().map(|(coin, text)| Ok((coin.clone(), price(text)?))).collect()
}

/// Dollars per token now: of its spot market against dollars, else of its perpetual.
pub fn token_prices(mids: &BTreeMap<String, Decimal>, spot: &SpotMarkets) -> PriceBook {
    let mut prices: BTreeMap<String, Decimal> = mids
        .iter()
        .filter(|(coin, _)| !coin.starts_with('@') && !coin.contains('/'))
        .map(|(c, p)| (c.clone(), *p))
        .collect();
    for (coin, (base, quote)) in &spot.0 {
        if let Some(mid) = mids.get(coin).filter(|_| crate::pricing::PEGGED.contains(&quote.as_str())) {
            prices.insert(base.clone(), *mid);
        }
    }
    let crossed: Vec<(String, Decimal)> = spot
        .0
        .iter()
        .filter(|(_, (base, _))| !prices.contains_key(base))
        .filter_map(|(coin, (base, quote))| Some((base.clone(), product(*mids.get(coin)?, *prices.get(quote)?).ok()?)))
        .collect();
    prices.extend(crossed);
    for dollar in crate::pricing::PEGGED {
        prices.remove(dollar);
    }
    PriceBook::fixed(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000;

    fn perp(value: &str) -> Clearinghouse {
        let body = format!(
            r#"{{"marginSummary":{{"accountValue":"{value}"}},"assetPositions":[{{"position":{{"coin":"BTC",
                "szi":"-0.5","positionValue":"100","unrealizedPnl":"5"}}}}]}}"#
        );
        serde_json::from_str(&body).unwrap()
    }

    fn nav(account: &Account) -> String {
        let now = Timestamp::from_millis(NOW).unwrap();
        account.holdings(&PriceBook::fixed([("USDE".to_owned(), Decimal::TWO)]), now).nav_usd.to_string()
    }

    #[test]
    fn joined_wallets_are_not_counted_twice() {
        let spot =
            |more: &str| serde_json::from_str(&format!(r#"{{"balances":[{{"coin":"USDC","total":"1000"}}]{more}}}"#));
        let account = |abstraction: Option<&str>, more: &str| Account {
            perps: vec![Dex::main(perp("50"))],
            spot: spot(more).unwrap(),
            abstraction: abstraction.map(Into::into),
        };
        for apart in [None, Some("disabled"), Some("default"), Some("dexAbstraction")] {
            assert_eq!(nav(&account(apart, "")), "1050");
        }
        // The profit of five is in the thousand already.
        assert_eq!(nav(&account(Some("unifiedAccount"), "")), "1000");
        assert_eq!(nav(&account(Some("default"), r#","portfolioMarginEnabled":true"#)), "1000");
        assert_eq!(nav(&account(None, r#","tokenToAvailableAfterMaintenance":[[0,"900"]]"#)), "1000");
        let now = Timestamp::from_millis(NOW).unwrap();
        let holdings = account(Some("unifiedAccount"), "").holdings(&PriceBook::default(), now);
        assert_eq!(holdings.positions[0].mark_price.unwrap().to_string(), "200");
    }

    #[test]
    fn each_exchange_counts_in_its_own_token() {
        let dex = |collateral: Option<&str>| Account {
            perps: vec![Dex { name: "hyna".into(), state: perp("50"), collateral: collateral.map(Into::into) }],
            ..Account::default()
        };
        assert_eq!(nav(&dex(Some("USDC"))), "50");
        assert_eq!(nav(&dex(Some("USDE"))), "100");
        assert_eq!(nav(&dex(None)), "0");
        let now = Timestamp::from_millis(NOW).unwrap();
        let holdings = dex(None).holdings(&PriceBook::default(), now);
        assert_eq!(holdings.unpriced[0].as_str(), "collateral of hyna");
        assert_eq!(holdings.positions[0].symbol.as_str(), "hyna:BTC-PERP");
    }

    #[test]
    fn a_token_is_priced_by_its_spot_market_before_its_perpetual() {
        let mids = mids(r#"{"HYPE":"40","@107":"41","@5":"2","BTC":"90000"}"#).unwrap();
        let pair = |base: &str, quote: &str| (base.to_owned(), quote.to_owned());
        let spot = SpotMarkets([("@107".into(), pair("HYPE", "USDC")), ("@5".into(), pair("X", "HYPE"))].into());
        let book = token_prices(&mids, &spot);
        let usd = |asset: &str| book.usd(asset, Timestamp::from_millis(NOW).unwrap()).map(|p| p.to_string());
        assert_eq!(
            [usd("HYPE"), usd("X"), usd("BTC"), usd("Y")],
            [Some("41".into()), Some("82".into()), Some("90000".into()), None]
        );
    }
}
