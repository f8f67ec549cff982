//! Recorded Hyperliquid replies, by the `type` of the request.

use std::collections::BTreeSet;

use codash_domain::{Price, Symbol, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::parse::{self, DOLLAR, SpotMarkets, SpotMeta};
use super::roles::{self, UserRole};
use super::state::{self, Account, Dex};
use super::{client, ledger};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, read as read_body, rows};

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Requests whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("userFills", fills),
    ("userFillsByTime", fills),
    ("ws userFills", pushed_fills),
    ("userFunding", funding),
    ("userNonFundingLedgerUpdates", ledger),
    ("clearinghouseState", clearinghouse),
    ("spotClearinghouseState", spot_clearinghouse),
    ("userVaultEquities", vaults),
    ("subAccounts", sub_accounts),
    ("subAccounts2", sub_accounts),
    ("portfolio", portfolio),
    ("userRole", user_role),
    ("userAbstraction", abstraction),
    ("vaultDetails", vault_details),
    ("delegatorSummary", delegator_summary),
    ("perpDexs", perp_dexs),
    ("allMids", all_mids),
    ("l2Book", book),
    ("candleSnapshot", candles),
    ("meta", meta),
    ("metaAndAssetCtxs", meta_and_contexts),
    ("spotMeta", spot_meta),
    ("spotMetaAndAssetCtxs", spot_meta_and_contexts),
];

/// Replies that are recorded, but are no events and no state of ours.
const NO_MEANING: &[&str] = &[
    "delegations",
    "delegatorHistory",
    "delegatorRewards",
    "frontendOpenOrders",
    "fundingHistory",
    "historicalOrders",
    "openOrders",
    "orderStatus",
    "predictedFundings",
    "referral",
    "userFees",
    "userRateLimit",
];

/// Types for which `null` has a meaning; of others, too many requests are answered with it.
const NULLABLE: &[&str] = &["subAccounts", "subAccounts2", "userAbstraction", "vaultDetails"];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let name = match case.endpoint.as_str() {
        "/info" | "info" => case.query("type").ok_or("the query has no type")?,
        other => other,
    };
    let reader = case.reader(name, READERS, NO_MEANING)?;
    if reader.is_some() && case.body() == "null" && !NULLABLE.contains(&name) {
        return Ok(Lines::error(&super::too_many_requests()));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

/// `BASE-QUOTE` names of the context. A token's name may hold a hyphen; no quote's does.
fn spot_markets(case: &Case) -> SpotMarkets {
    let named = case.context.iter().flat_map(|context| context.spot.iter().flatten());
    let split = named.filter_map(|(coin, name)| {
        let (base, quote) = name.rsplit_once('-')?;
        Some((coin.clone(), (base.to_owned(), quote.to_owned())))
    });
    SpotMarkets(split.collect())
}

fn fills(case: &Case) -> Result<Lines, VenueError> {
    let user = case.user().unwrap_or_default();
    let page = rows(&case.endpoint, case.body())?;
    Ok(Lines::rows(&parse::fills(&page, user, &spot_markets(case), &case.prices())))
}

fn pushed_fills(case: &Case) -> Result<Lines, VenueError> {
    let (page, addressee) = parse::pushed_fills(case.body())?;
    let user = case.user().or(addressee.as_deref()).unwrap_or_default();
    Ok(Lines::rows(&parse::fills(&page, user, &spot_markets(case), &case.prices())))
}

fn funding(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::funding(&rows(&case.endpoint, case.body())?, &case.prices())))
}

/// Movements print nothing. A recording may be kept under another address than the one in its rows:
/// then whose side they tell is not known.
fn ledger(case: &Case) -> Result<Lines, VenueError> {
    let user = case.user().unwrap_or_default();
    let is_named = case.body().to_ascii_lowercase().contains(&user.to_ascii_lowercase());
    let rows = rows(&case.endpoint, case.body())?;
    Ok(Lines::rows(&ledger::ledger(&rows, if is_named { user } else { "" }, &case.prices())))
}

/// What an exchange counts in is not in the reply: dollars are meant.
fn clearinghouse(case: &Case) -> Result<Lines, VenueError> {
    let name = case.query("dex").unwrap_or_default().to_owned();
    let dex = Dex { name, state: read_body(&case.endpoint, case.body())?, collateral: Some(DOLLAR.into()) };
    Ok(Lines::account(&Account { perps: vec![dex], ..Account::default() }.holdings(&case.prices(), Case::now())))
}

fn spot_clearinghouse(case: &Case) -> Result<Lines, VenueError> {
    let spot = read_body(&case.endpoint, case.body())?;
    Ok(Lines::equity(&Account { spot, ..Account::default() }.holdings(&case.prices(), Case::now())))
}

fn vaults(case: &Case) -> Result<Lines, VenueError> {
    let mut holdings = Holdings::default();
    state::add_vaults(&mut holdings, case.body())?;
    Ok(Lines::equity(&holdings))
}

fn sub_accounts(case: &Case) -> Result<Lines, VenueError> {
    let mut all = Holdings::default();
    for account in state::sub_accounts(case.body())? {
        all.join(account.holdings(&case.prices(), Case::now()));
    }
    Ok(Lines::account(&all))
}

fn portfolio(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::nav(state::nav_history(case.body())?.into_iter().map(|(at, equity)| (at, Some(equity)))))
}

fn user_role(case: &Case) -> Result<Lines, VenueError> {
    let role = roles::user_role(case.body())?;
    let holds = !matches!(role, UserRole::Agent { .. } | UserRole::Missing);
    let mut told = json!({ "readOnly": true, "rights": [], "role": role.as_str(), "account": holds });
    match role {
        UserRole::Agent { user } => told["use"] = user.into(),
        UserRole::SubAccount { master: Some(master) } => told["master"] = master.into(),
        _ => {}
    }
    Ok(Lines::one("permissions", told))
}

fn abstraction(case: &Case) -> Result<Lines, VenueError> {
    let abstraction = roles::abstraction(case.body())?;
    let joined = Account { abstraction: abstraction.clone(), ..Account::default() }.is_joined();
    Ok(Lines::one("abstraction", json!({ "mode": abstraction, "joined": joined })))
}

fn vault_details(case: &Case) -> Result<Lines, VenueError> {
    let vault = roles::vault(case.body())?;
    let told = vault.map(|vault| json!({ "name": vault.name, "leader": vault.leader, "children": vault.children }));
    Ok(Lines::one("vault", told.into()))
}

fn delegator_summary(case: &Case) -> Result<Lines, VenueError> {
    let mut holdings = Holdings::default();
    state::add_staked(&mut holdings, state::staked(case.body())?, &case.prices(), Case::now());
    Ok(Lines::equity(&holdings))
}

fn perp_dexs(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::one("dexes", roles::perp_dexs(case.body())?.into()))
}

fn all_mids(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(state::mids(case.body())?))
}

/// The best price on either side.
fn book(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Book {
        coin: String,
        levels: Vec<Vec<Level>>,
    }
    #[derive(Deserialize)]
    struct Level {
        px: Dec,
    }
    let book: Book = read_body(&case.endpoint, case.body())?;
    let best =
        |side: usize| book.levels.get(side).and_then(|levels| levels.first()).map(|level| Price::new(level.px.0));
    Ok(Lines::one("book", json!({ "coin": book.coin, "bid": best(0), "ask": best(1) })))
}

fn candles(case: &Case) -> Result<Lines, VenueError> {
    let candles = client::candles(case.body())?;
    let close = |(at, price): (Timestamp, Decimal)| json!({ "at": at, "price": Price::new(price) });
    Ok(Lines::one("closes", candles.into_iter().map(close).collect()))
}

#[derive(Deserialize)]
struct Universe {
    universe: Vec<Coin>,
}

#[derive(Deserialize)]
struct Coin {
    name: String,
}

impl Universe {
    fn symbols(&self) -> Lines {
        let symbols = self.universe.iter().filter_map(|coin| Symbol::linear_perp(&coin.name));
        Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect())
    }
}

/// What is told of a market beside its name, in the order of the universe.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    #[serde(default)]
    coin: Option<String>,
    #[serde(default)]
    mark_px: Option<Dec>,
}

fn meta(case: &Case) -> Result<Lines, VenueError> {
    Ok(read_body::<Universe>(&case.endpoint, case.body())?.symbols())
}

/// Marks by coin, then the symbols.
fn meta_and_contexts(case: &Case) -> Result<Lines, VenueError> {
    let (meta, contexts): (Universe, Vec<Context>) = read_body(&case.endpoint, case.body())?;
    let coins = meta.universe.iter().map(|coin| coin.name.clone());
    let marks = coins.zip(contexts).filter_map(|(coin, context)| Some((coin, context.mark_px?.0)));
    let mut lines = Lines::prices(marks);
    lines.0.extend(meta.symbols().0);
    Ok(lines)
}

fn spot_symbols(body: &str) -> Result<Lines, VenueError> {
    let markets = SpotMeta::read(body)?.markets.0;
    let symbols: BTreeSet<String> =
        markets.values().filter_map(|(base, quote)| Some(Symbol::spot(base, quote)?.to_string())).collect();
    Ok(Lines::one("symbols", symbols.into_iter().collect()))
}

fn spot_meta(case: &Case) -> Result<Lines, VenueError> {
    spot_symbols(case.body())
}

/// Marks by coin, then the symbols.
fn spot_meta_and_contexts(case: &Case) -> Result<Lines, VenueError> {
    let (meta, contexts): (Box<RawValue>, Vec<Context>) = read_body(&case.endpoint, case.body())?;
    let universe: Universe = read_body(&case.endpoint, meta.get())?;
    let coins = universe.universe.into_iter().map(|coin| Some(coin.name)).chain(std::iter::repeat(None));
    // A context names its coin; where it does not, the order tells.
    let mark = |(context, coin): (Context, Option<String>)| Some((context.coin.or(coin)?, context.mark_px?.0));
    let mut lines = Lines::prices(contexts.into_iter().zip(coins).filter_map(mark));
    lines.0.extend(spot_symbols(meta.get())?.0);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::parse_case::parse_case;

    /// The lines of a reply to a request.
    fn lines(query: Value, response: Value) -> Vec<Value> {
        let case = json!({ "venue": "hyperliquid", "endpoint": "/info", "query": query, "response": response,
                           "pricesUsd": { "HYPE": 40 } });
        parse_case(&case.to_string()).unwrap()
    }

    fn of(kind: &str, response: Value) -> Vec<Value> {
        lines(json!({ "type": kind, "user": "0x1" }), response)
    }

    #[test]
    fn facts_about_an_address_are_told() {
        assert_eq!(
            of("userRole", json!({ "role": "subAccount", "data": { "master": "0x2" } }))[0]["permissions"]["master"],
            "0x2"
        );
        assert_eq!(of("userAbstraction", json!("portfolioMargin"))[0]["abstraction"]["joined"], true);
        assert_eq!(of("userAbstraction", Value::Null)[0]["abstraction"]["joined"], false);
        assert_eq!(of("userAbstraction", json!("newMode"))[0]["error"]["retryable"], false);
        let staked =
            json!({ "delegated": "12.5", "undelegated": 0, "totalPendingWithdrawal": "2.5", "nPendingWithdrawals": 1 });
        assert_eq!(of("delegatorSummary", staked)[0]["snapshot"]["navUsd"].to_string(), "600");
        assert_eq!(of("vaultDetails", json!({ "name": "V", "leader": "0x3" }))[0]["vault"]["leader"], "0x3");
        assert_eq!(of("subAccounts", Value::Null)[0]["snapshot"]["navUsd"].to_string(), "0");
        assert_eq!(of("perpDexs", json!([null, { "name": "flx" }]))[0]["dexes"], json!(["flx"]));
    }

    #[test]
    fn a_builder_exchange_is_read_under_its_name() {
        let state = json!({ "marginSummary": { "accountValue": "10" }, "assetPositions": [
            { "position": { "coin": "CRCL", "szi": "1", "positionValue": "75", "unrealizedPnl": "5" } }] });
        let told = lines(json!({ "type": "clearinghouseState", "user": "0x1", "dex": "flx" }), state);
        assert_eq!(told[0]["snapshot"]["longExposureUsd"].to_string(), "75");
        assert_eq!(told[0]["snapshot"]["navUsd"].to_string(), "10");
    }

    #[test]
    fn prices_and_markets_are_told_by_the_venues_names() {
        let perps = json!([{ "universe": [{ "name": "flx:CRCL" }, { "name": "flx:OLD" }], "collateralToken": 360 },
                           [{ "markPx": "75.5", "oraclePx": "75" }, { "markPx": null }]]);
        let told = lines(json!({ "type": "metaAndAssetCtxs", "dex": "flx" }), perps);
        assert_eq!(told[0]["prices"].to_string(), r#"{"flx:CRCL":75.5}"#);
        assert_eq!(told[1]["symbols"], json!(["flx:CRCL-PERP", "flx:OLD-PERP"]));
        let spot = json!([{ "tokens": [{ "name": "USDC", "index": 0 }, { "name": "HYPE", "index": 150 }],
                            "universe": [{ "name": "@107", "tokens": [150, 0], "index": 107 }] },
                          [{ "coin": "@107", "markPx": "41" }]]);
        let told = of("spotMetaAndAssetCtxs", spot.clone());
        assert_eq!(told[0]["prices"]["@107"].to_string(), "41");
        assert_eq!(told[1]["symbols"], json!(["HYPE-USDC"]));
        assert_eq!(of("spotMeta", spot[0].clone())[0]["symbols"], json!(["HYPE-USDC"]));
        let book = json!({ "coin": "BTC", "time": 1, "levels": [[{ "px": "9", "sz": "1", "n": 1 }], []] });
        assert_eq!(of("l2Book", book)[0]["book"].to_string(), r#"{"coin":"BTC","bid":9,"ask":null}"#);
        let candles = json!([{ "t": 1_767_225_600_000_i64, "c": "41" }]);
        assert_eq!(of("candleSnapshot", candles)[0]["closes"][0]["price"].to_string(), "41");
    }

    #[test]
    fn movements_print_nothing_whoever_is_asked_about() {
        let row = json!([{ "time": 1, "hash": "0x0", "delta": { "type": "spotTransfer", "token": "USDC", "amount": "1",
                           "user": "0x8", "destination": "0x9", "fee": "0" } }]);
        assert!(of("userNonFundingLedgerUpdates", row).is_empty());
    }
}
