//! Hyperliquid balances, positions and equity into holdings: pure, by the NAV rules of the venue notes.

use std::collections::BTreeMap;

use codash_domain::money::parse_decimal;
use codash_domain::{Position, Price, Qty, Symbol, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parse::SpotMarkets;
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, bounded, product};
use crate::venues::Unreadable;
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Millis, Text, read, record, rows, unreadable};

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

/// One account's wallets: what to add, and what would be counted twice.
#[derive(Debug, Default)]
pub struct Account {
    pub perps: Vec<Clearinghouse>,
    pub spot: SpotState,
    /// How the venue says the wallets are joined (`portfolioMargin`, `unifiedAccount`), if it does.
    pub abstraction: Option<String>,
}

impl Account {
    /// With joined wallets, the perpetual account's value is backed by the spot balance.
    fn is_joined(&self) -> bool {
        self.spot.portfolio_margin_enabled == Some(true)
            || matches!(self.abstraction.as_deref(), Some("portfolioMargin" | "unifiedAccount"))
    }

    /// Equity: account values plus spot balances; of joined wallets spot balances plus unrealized PnL.
    pub fn holdings(&self, prices: &dyn Prices, now: Timestamp) -> Holdings {
        let mut holdings = Holdings::default();
        for perp in &self.perps {
            add_positions(&mut holdings, perp);
            if !self.is_joined() {
                keep(&mut holdings, "marginSummary.accountValue", |h| {
                    h.add_equity(perp.margin_summary.account_value.0)
                });
            }
        }
        if self.is_joined() {
            let profit: Usd = holdings.positions.iter().map(|position| position.unrealized_pnl_usd).sum();
            keep(&mut holdings, "unrealizedPnl", |h| h.add_equity(profit.0));
        } else {
            self.add_perp_balance(&mut holdings);
        }
        add_spot(&mut holdings, &self.spot, prices, now);
        holdings
    }

    /// The equity of the perpetual account, shown as the dollars that it is.
    fn add_perp_balance(&self, holdings: &mut Holdings) {
        for perp in &self.perps {
            let total = perp.margin_summary.account_value.0;
            if !total.is_zero() {
                let asset = codash_domain::Asset::new(super::parse::DOLLAR);
                let value_usd = bounded(Usd::new(total));
                holdings.balances.push(codash_domain::Balance { wallet: "perp", asset, total, value_usd });
            }
        }
    }
}

fn keep(holdings: &mut Holdings, what: &str, add: impl FnOnce(&mut Holdings) -> Result<(), String>) {
    if let Err(reason) = add(holdings) {
        holdings.unreadable.push(Unreadable { reason, raw: what.into() });
    }
}

fn add_positions(holdings: &mut Holdings, perp: &Clearinghouse) {
    for raw in &perp.asset_positions {
        match record::<Held>(raw).and_then(|held| position(held.position).map_err(|why| unreadable(raw, why))) {
            Ok(Some(position)) => holdings.positions.push(position),
            Ok(None) => {}
            Err(bad) => holdings.unreadable.push(bad),
        }
    }
}

/// The value is unsigned; the direction is the sign of the size.
fn position(row: PositionRow) -> Result<Option<Position>, String> {
    if row.szi.0.is_zero() {
        return Ok(None);
    }
    let value = bounded(Usd::new(row.position_value.0.abs())).ok_or("positionValue is too large an amount")?;
    let profit = bounded(Usd::new(row.unrealized_pnl.0)).ok_or("unrealizedPnl is too large an amount")?;
    let mark = value.0.checked_div(row.szi.0.abs()).map(|mark| Price::new(Usd::derived(mark).0));
    Ok(Some(Position {
        symbol: Symbol::linear_perp(&row.coin).ok_or("the coin is empty")?,
        native_symbol: row.coin,
        leg: "both",
        qty: Qty::new(row.szi.0),
        entry_price: row.entry_px.map(|price| Price::new(price.0)),
        mark_price: mark,
        notional_usd: value,
        unrealized_pnl_usd: profit,
    }))
}

fn add_spot(holdings: &mut Holdings, spot: &SpotState, prices: &dyn Prices, now: Timestamp) {
    #[derive(Deserialize)]
    struct Row {
        coin: String,
        total: Dec,
    }
    for raw in &spot.balances {
        let outcome = record::<Row>(raw).and_then(|row| {
            holdings
                .add_balance("spot", &row.coin, row.total.0, prices.usd(&row.coin, now))
                .map_err(|why| unreadable(raw, why))
        });
        if let Err(bad) = outcome {
            holdings.unreadable.push(bad);
        }
    }
}

/// How the venue says that an account's wallets are joined, in whichever reply it says it.
pub fn abstraction(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Joined {
        #[serde(default)]
        abstraction: Option<String>,
    }
    serde_json::from_str::<Joined>(body).ok()?.abstraction
}

/// userVaultEquities: deposits in vaults, which appear in neither clearinghouse.
pub fn add_vaults(holdings: &mut Holdings, body: &str) -> Result<(), VenueError> {
    #[derive(Deserialize)]
    struct Row {
        equity: Dec,
    }
    for raw in rows("userVaultEquities", body)? {
        let outcome = record::<Row>(&raw).and_then(|row| {
            holdings
                .add_balance("vaults", "USDC", row.equity.0, Some(Decimal::ONE))
                .map_err(|why| unreadable(&raw, why))
        });
        if let Err(bad) = outcome {
            holdings.unreadable.push(bad);
        }
    }
    Ok(())
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
    let account = |sub: Sub| Account {
        perps: match sub.dex_to_clearinghouse_state {
            Some(dexes) => dexes.into_iter().map(|(_, state)| state).collect(),
            None => sub.clearinghouse_state.into_iter().collect(),
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

/// userRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRole {
    /// A user, a vault or a sub-account: something that holds positions.
    Holder(String),
    /// A signing key of the user at this address.
    Agent {
        user: String,
    },
    Missing,
}

pub fn user_role(body: &str) -> Result<UserRole, VenueError> {
    const ENDPOINT: &str = "userRole";
    #[derive(Deserialize)]
    struct Reply {
        role: String,
        #[serde(default)]
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        user: Option<String>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    match reply.role.as_str() {
        "missing" => Ok(UserRole::Missing),
        "agent" => {
            let user = reply.data.and_then(|data| data.user);
            let user = user.ok_or_else(|| VenueError::unreadable(ENDPOINT, "an agent without its user"))?;
            Ok(UserRole::Agent { user: user.to_ascii_lowercase() })
        }
        "user" | "vault" | "subAccount" => Ok(UserRole::Holder(reply.role)),
        other => Err(VenueError::unreadable(ENDPOINT, format!("unknown role {other:?}"))),
    }
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

    #[test]
    fn joined_wallets_are_not_counted_twice() {
        let spot = r#"{"balances":[{"coin":"USDC","total":"1000"}]}"#;
        let now = Timestamp::from_millis(NOW).unwrap();
        let apart = Account { perps: vec![perp("50")], spot: serde_json::from_str(spot).unwrap(), abstraction: None };
        assert_eq!(apart.holdings(&PriceBook::default(), now).nav_usd.to_string(), "1050");
        let joined = Account { abstraction: Some("unifiedAccount".into()), ..apart };
        let holdings = joined.holdings(&PriceBook::default(), now);
        assert_eq!(holdings.nav_usd.to_string(), "1005");
        assert_eq!(holdings.positions[0].mark_price.unwrap().to_string(), "200");
    }

    #[test]
    fn a_role_names_the_account_that_holds_the_positions() {
        assert_eq!(
            user_role(r#"{"role":"agent","data":{"user":"0xAB"}}"#).unwrap(),
            UserRole::Agent { user: "0xab".into() }
        );
        assert_eq!(user_role(r#"{"role":"missing"}"#).unwrap(), UserRole::Missing);
        assert!(user_role(r#"{"role":"agent"}"#).is_err() && user_role(r#"{"role":"ghost"}"#).is_err());
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
