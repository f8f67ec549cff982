//! Recorded KuCoin replies, by endpoint.

use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde_json::json;
use serde_json::value::RawValue;

use super::markets::{Contract, Contracts, asset, spot};
use super::{fault, ledger, parse, state, streams};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::pricing::{PriceBook, Prices};
use crate::venues::wire::Dec;

type Reader = fn(&Case, &str) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/api/v1/fills", fills),
    ("/api/v1/hf/fills", fills),
    ("/api/v1/recentFills", fills),
    ("/api/v1/limit/fills", fills),
    ("/api/v3/hf/margin/fills", fills),
    ("/api/v1/history-positions", closed_positions),
    ("/api/v1/funding-history", funding),
    ("/api/v1/transaction-history", futures_ledger),
    ("/api/v1/accounts/ledgers", main_ledger),
    ("/api/v1/hf/accounts/ledgers", spot_ledger),
    ("/api/v1/accounts", accounts),
    ("/api/v1/account-overview", overview),
    ("/api/v1/positions", positions),
    ("/api/v1/position", positions),
    ("/api/v2/position", positions),
    ("/api/v1/user/api-key", api_key),
    ("/api/v1/contracts/active", contracts),
    ("/api/v1/market/allTickers", tickers),
    ("/api/v1/market/candles", candles),
];

/// Replies that hold orders, clocks and cash flows: recorded, but no events and no state.
const NO_MEANING: &[&str] = &[
    "/api/v1/deposits",
    "/api/v1/hist-deposits",
    "/api/v1/withdrawals",
    "/api/v1/hist-withdrawals",
    "/api/v1/orders",
    "/api/v1/hf/orders/done",
    "/api/v1/timestamp",
    "/api/v1/symbols",
    "/api/v2/symbols",
];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let reader = case.reader(&case.endpoint, READERS, NO_MEANING)?;
    let opened = match fault::open(case.body()) {
        Some(Err(fault)) => return Ok(Lines::fault(&fault)),
        Some(Ok(data)) => data,
        None => {
            let error = VenueError::unreadable(&case.endpoint, "no envelope of KuCoin's");
            return Ok(Lines::error(&error));
        }
    };
    Ok(Lines::read(reader.map(|reader| reader(case, opened.get()))))
}

/// The case's prices, in which bitcoin may be called as futures call it.
struct Named(PriceBook);

impl Prices for Named {
    fn usd(&self, code: &str, at: Timestamp) -> Option<Decimal> {
        let native = || (code == "BTC").then(|| self.0.usd("XBT", at)).flatten();
        self.0.usd(code, at).or_else(native)
    }
}

fn prices(case: &Case) -> Named {
    Named(case.prices())
}

/// `mult` of the context: size of a lot, its unit, linear or inverse, and the coin: that of the
/// account when linear, the base when inverse.
fn lots(case: &Case) -> Contracts {
    let given = case.context.iter().flat_map(|context| context.mult.iter().flatten());
    let contract = |(native, value): (&String, &serde_json::Value)| {
        let (lot, unit, kind, coin): (Dec, String, String, String) = serde_json::from_value(value.clone()).ok()?;
        let inverse = match kind.as_str() {
            "linear" => false,
            "inverse" => true,
            _ => return None,
        };
        let (base, quote) = if inverse { (&coin, &unit) } else { (&unit, &coin) };
        let contract = Contract {
            base: base.clone(),
            lot: Some(lot.0.abs()).filter(|lot| !lot.is_zero()),
            inverse,
            quote: asset(quote).into(),
            settle: asset(&coin).into(),
            // Whether it is dated, the name says.
            expiry: Contracts::default().of(native).and_then(|named| named.expiry),
        };
        Some((native.clone(), contract))
    };
    Contracts(given.filter_map(contract).collect())
}

fn rows(case: &Case, data: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    Ok(streams::batch(&case.endpoint, data, 1, usize::MAX)?.rows)
}

/// Spot and futures answer at the same path: a spot market has a dash in its name.
fn fills(case: &Case, data: &str) -> Result<Lines, VenueError> {
    let rows = rows(case, data)?;
    let is_spot = case.endpoint.contains("/hf/") || parse::symbols(&rows).iter().any(|symbol| spot(symbol).is_some());
    Ok(Lines::rows(&match is_spot {
        true => parse::spot_fills(&rows, &prices(case)),
        false => parse::futures_fills(&rows, &lots(case), &prices(case)),
    }))
}

fn closed_positions(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::closed_positions(&rows(case, data)?, &lots(case), &prices(case))))
}

fn funding(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::funding(&rows(case, data)?, &lots(case), &prices(case))))
}

fn futures_ledger(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&ledger::futures_ledger(&rows(case, data)?, &prices(case))))
}

fn main_ledger(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&ledger::main_ledger(&rows(case, data)?, &prices(case))))
}

fn spot_ledger(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&ledger::spot_ledger(&rows(case, data)?, &prices(case))))
}

fn accounts(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::accounts(data, &prices(case), Case::now())?))
}

fn overview(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::overview(data, &prices(case), Case::now())?))
}

/// A list, or one position that was asked for by its market.
fn positions(case: &Case, data: &str) -> Result<Lines, VenueError> {
    let list = if data.trim_start().starts_with('{') { format!("[{data}]") } else { data.to_owned() };
    Ok(Lines::exposure(&state::positions(&list, &lots(case), &prices(case), Case::now())?))
}

fn api_key(_: &Case, data: &str) -> Result<Lines, VenueError> {
    let rights = state::rights(data)?;
    let missing: &[&str] = if rights.reads { &[] } else { &["General"] };
    Ok(Lines::permissions(&rights.excess, missing))
}

fn contracts(_: &Case, data: &str) -> Result<Lines, VenueError> {
    let contracts = Contracts::read(data)?;
    let named = contracts.0.iter().map(|(native, contract)| {
        let told = json!({
            "symbol": contract.symbol(),
            "lot": contract.lot.map(codash_domain::Qty::new),
            "inverse": contract.inverse,
            "settle": contract.settle,
        });
        (native.clone(), told)
    });
    Ok(Lines::one("symbols", serde_json::Value::Object(named.collect())))
}

fn tickers(_: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::prices(state::tickers(data)?))
}

/// Closes by the instant at which their minute opens.
fn candles(case: &Case, data: &str) -> Result<Lines, VenueError> {
    Ok(Lines::closes(super::candles(&case.endpoint, data)?))
}
