//! Recorded Kraken replies, spot and futures, by the last part of their endpoint: versions and hosts
//! in front of it vary.

use std::collections::{BTreeMap, BTreeSet};

use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::{Pairs, contract_symbol};
use super::wire::Entries;
use super::{futures, spot};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::pricing::{PriceBook, Prices};
use crate::venues::wire::read as read_body;

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("TradesHistory", trades),
    ("QueryTrades", trades),
    ("Ledgers", ledger),
    ("QueryLedgers", ledger),
    ("Balance", balances),
    ("BalanceEx", balances),
    ("TradeBalance", trade_balance),
    ("OpenPositions", margin_positions),
    ("GetApiKeyInfo", key_info),
    ("AssetPairs", asset_pairs),
    ("Ticker", tickers),
    ("account-log", account_log),
    ("fills", fills),
    ("accounts", accounts),
    ("openpositions", positions),
    ("tickers", marks),
    ("instruments", instruments),
    ("check", key_check),
    ("1m", candles),
];

/// Replies that are no events and no state of money.
const NO_MEANING: &[&str] = &[
    "Time",
    "Assets",
    "SystemStatus",
    "OHLC",
    "Trades",
    "OpenOrders",
    "ClosedOrders",
    "QueryOrders",
    "DepositStatus",
    "WithdrawStatus",
    "executions",
    "orders",
    "triggers",
    "openorders",
];

/// How recorded cases say what a fill of futures is for.
const FUTURES_FILL: &str =
    "classifier: money (fee, PnL) comes from the account log, this row gives side, size and fill type";

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let name = case.endpoint.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let reader = case.reader(name, READERS, NO_MEANING)?;
    let fault = spot::fault::of_body(case.body()).map(spot::fault::Fault::into_error);
    let fault = fault.or_else(|| futures::fault::of_body(case.body()).map(futures::fault::Fault::into_error));
    if let Some(error) = fault {
        return Ok(Lines::error(&error));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

/// The prices of a case, which may be under Kraken's names or ours.
struct Given(PriceBook);

impl Prices for Given {
    fn usd(&self, asset: &str, at: Timestamp) -> Option<Decimal> {
        let other = match asset {
            "BTC" => "XBT",
            "DOGE" => "XDG",
            _ => return self.0.usd(asset, at),
        };
        self.0.usd(asset, at).or_else(|| self.0.usd(other, at))
    }
}

fn given(case: &Case) -> Given {
    Given(case.prices())
}

/// Base and quote of markets, where the case gives them.
fn pairs(case: &Case) -> Pairs {
    let mut pairs = Pairs::default();
    let given = case.context.as_ref().and_then(|context| context.quote.as_ref());
    for (market, (base, quote)) in given.into_iter().flatten() {
        pairs.insert(market, &[], base, quote);
    }
    pairs
}

/// Records that stand under a name, or (asked for by id) right in the result.
fn records(case: &Case, name: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    let result = spot::fault::result(&case.endpoint, case.body())?.get();
    let fields: BTreeMap<String, Box<RawValue>> = read_body(&case.endpoint, result)?;
    let found = fields.get(name).map_or(result, |records| records.get());
    Ok(read_body::<Entries>(&case.endpoint, found)?.0)
}

fn trades(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&spot::parse::trades(&records(case, "trades")?, &pairs(case), &given(case))))
}

fn ledger(case: &Case) -> Result<Lines, VenueError> {
    // A case says nothing about trades beside it.
    Ok(Lines::rows(&spot::parse::ledger(&records(case, "ledger")?, &BTreeSet::new(), &given(case))))
}

fn balances(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&spot::state::balances(case.body(), &given(case), Case::now())?))
}

fn trade_balance(case: &Case) -> Result<Lines, VenueError> {
    let mut holdings = crate::venues::holdings::Holdings::default();
    let equity = spot::state::equity(case.body())?;
    holdings.add_equity(equity).map_err(|why| VenueError::unreadable(&case.endpoint, why))?;
    Ok(Lines::equity(&holdings))
}

fn margin_positions(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&spot::state::positions(case.body(), &pairs(case), &given(case), Case::now())?))
}

fn key_info(case: &Case) -> Result<Lines, VenueError> {
    let rights = spot::state::rights(case.body())?;
    Ok(Lines::permissions(&rights.excess, &rights.missing))
}

fn asset_pairs(case: &Case) -> Result<Lines, VenueError> {
    let pairs = spot::asset_pairs(&case.endpoint, case.body())?;
    let ids = spot::market_ids(&case.endpoint, case.body())?;
    let symbols = ids.iter().filter_map(|id| pairs.symbol(id));
    Ok(Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect()))
}

fn tickers(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(spot::tickers(&case.endpoint, case.body())?))
}

fn account_log(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        logs: Vec<Box<RawValue>>,
    }
    let reply: Reply = read_body(&case.endpoint, case.body())?;
    Ok(Lines::rows(&futures::parse::log(&futures::legs::joined(&reply.logs), &given(case))))
}

fn fills(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        fills: Vec<Box<RawValue>>,
    }
    let reply: Reply = read_body(&case.endpoint, case.body())?;
    Ok(Lines::rows_as(&futures::parse::fills(&reply.fills, &given(case)), |_| FUTURES_FILL))
}

/// Recorded equity is that of the multi-collateral wallet; what the collector adds to it is told
/// beside it.
fn accounts(case: &Case) -> Result<Lines, VenueError> {
    let wallets = futures::state::wallets(case.body(), &given(case), Case::now())?;
    let Some(flex) = &wallets.flex else { return Ok(Lines::equity(&wallets.all())) };
    let mut lines = Lines::equity(flex);
    let parts = [("cash", &wallets.cash), ("single", &wallets.single)];
    let told =
        |(name, part): (&str, _)| Some((name.to_owned(), Lines::equity(part).0.first()?.get("snapshot")?.clone()));
    let others: serde_json::Map<_, _> = parts.into_iter().filter_map(told).collect();
    if let Some(line) = lines.0.first_mut() {
        line["otherWallets"] = others.into();
    }
    let set_aside = |part| Lines::equity(part).0.into_iter().skip(1);
    lines.0.extend([&wallets.cash, &wallets.single, &wallets.unknown].into_iter().flat_map(set_aside));
    Ok(lines)
}

fn positions(case: &Case) -> Result<Lines, VenueError> {
    // A case has no tickers beside it: the given prices stand in for marks.
    Ok(Lines::exposure(&futures::state::positions(case.body(), &BTreeMap::new(), &given(case), Case::now())?))
}

fn marks(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(futures::Marks::read(case.body())?.all))
}

fn instruments(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        instruments: Vec<Instrument>,
    }
    #[derive(Deserialize)]
    struct Instrument {
        symbol: String,
    }
    let reply: Reply = read_body(&case.endpoint, case.body())?;
    let symbols = reply.instruments.iter().filter_map(|instrument| contract_symbol(&instrument.symbol));
    Ok(Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect()))
}

fn key_check(case: &Case) -> Result<Lines, VenueError> {
    let rights = futures::state::rights(case.body())?;
    // Told only where nothing else is wrong.
    let missing: &[&str] = if rights.can_read || !rights.excess.is_empty() { &[] } else { &["general"] };
    Ok(Lines::permissions(&rights.excess, missing))
}

/// Closes by the instant at which their interval opens.
fn candles(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(futures::candles(&case.endpoint, case.body())?))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::parse_case::parse_case;

    fn lines(venue: &str, endpoint: &str, response: &str) -> Vec<Value> {
        let case = format!(
            r#"{{"venue":"{venue}","endpoint":"{endpoint}","query":null,"response":{response},"pricesUsd":{{"XBT":50000}}}}"#
        );
        parse_case(&case).unwrap()
    }

    #[test]
    fn records_asked_for_by_id_stand_right_in_the_result() {
        let trade = r#"{"error":[],"result":{"T1":{"pair":"ETH/XBT","time":"1.25","type":"sell","price":0.05,"fee":"0.001","vol":"2","cost":"","misc":null}}}"#;
        let told = &lines("kraken", "/0/private/QueryTrades", trade)[0];
        assert_eq!((told["symbol"].as_str(), told["notionalUsd"].to_string()), (Some("ETH-BTC"), "5000".into()));
        assert_eq!(
            (told["feeUsd"].to_string(), told["occurredAt"].as_str()),
            ("50".into(), Some("1970-01-01T00:00:01.250Z"))
        );
        let entry = r#"{"error":[],"result":{"L1":{"refid":null,"time":1,"type":"dividend","asset":"XXBT","amount":"1e-3","fee":""}}}"#;
        assert_eq!(lines("kraken", "/0/private/QueryLedgers", entry)[0]["netPnlImpactUsd"].to_string(), "50");
    }

    #[test]
    fn both_venues_read_the_replies_of_both() {
        for venue in ["kraken", "kraken_futures"] {
            let key = r#"{"permissions":{"general":"READ_ONLY","transfer":"FULL_ACCESS"}}"#;
            let told = &lines(venue, "/api/auth/v1/api-keys/v3/check", key)[0]["permissions"];
            assert_eq!((&told["readOnly"], &told["rights"][0]), (&false.into(), &"transfer: FULL_ACCESS".into()));
            assert_eq!(
                lines(venue, "/0/private/Ledgers", r#"{"error":[],"result":{"ledger":{},"count":0}}"#),
                [] as [Value; 0]
            );
            let bad =
                lines(venue, "/derivatives/api/v3/accounts", r#"{"result":"error","error":"authenticationError"}"#);
            assert_eq!(bad[0]["error"]["class"], "key_refused");
        }
    }

    #[test]
    fn versions_and_hosts_in_front_of_an_endpoint_vary() {
        let log = r#"{"logs":[{"asset":"usd","booking_uid":7,"date":"2026-01-01T00:00:00Z","info":"never heard of","new_balance":"2","old_balance":1.5}]}"#;
        for endpoint in
            ["/api/history/v2/account-log", "account-log", "https://futures.kraken.com/api/history/v3/account-log"]
        {
            let told = &lines("kraken", endpoint, log)[0];
            assert_eq!(
                (told["eventType"].as_str(), told["realizedPnlUsd"].to_string()),
                (Some("unknown"), "0.5".into())
            );
        }
        let candles = r#"{"candles":[{"time":1767225600000,"close":"95000.5"}],"more_candles":false}"#;
        let told = &lines("kraken", "/api/charts/v1/spot/PI_XBTUSD/1m", candles)[0];
        assert_eq!(told["prices"]["2026-01-01T00:00:00.000Z"].to_string(), "95000.5");
        assert!(
            parse_case(r#"{"venue":"kraken","endpoint":"/0/private/AddOrder","response":{}}"#)
                .unwrap_err()
                .contains("Ledgers")
        );
    }

    #[test]
    fn an_envelope_that_is_not_the_venues_is_an_error() {
        for endpoint in
            ["/0/private/Ledgers", "/0/private/Balance", "/derivatives/api/v3/fills", "account-log", "tickers"]
        {
            assert_eq!(
                lines("kraken", endpoint, r#"{"html":"maintenance"}"#)[0]["error"]["class"],
                "unreadable",
                "{endpoint}"
            );
        }
    }
}
