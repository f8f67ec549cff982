//! Recorded Bitget replies, by endpoint.

use serde::Deserialize;
use serde_json::json;

use super::markets::{self, Markets};
use super::{bills, client, fault, parse, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/api/v2/spot/trade/fills", spot_fills),
    ("/api/v2/spot/account/bills", spot_bills),
    ("/api/v2/spot/account/assets", spot_assets),
    ("/api/v2/spot/account/info", info),
    ("/api/v2/mix/order/fills", futures_fills),
    ("/api/v2/mix/order/fill-history", futures_fills),
    ("/api/v2/mix/account/bill", futures_bills),
    ("/api/v2/mix/account/accounts", futures_accounts),
    ("/api/v2/mix/account/account", futures_accounts),
    ("/api/v2/mix/position/all-position", futures_positions),
    ("/api/v2/mix/position/single-position", futures_positions),
    ("/api/v3/account/financial-records", unified_records),
    ("/api/v2/spot/market/tickers", tickers),
    ("/api/v2/mix/market/ticker", tickers),
    ("/api/v2/mix/market/tickers", tickers),
    ("/api/v2/mix/market/symbol-price", tickers),
    ("/api/v2/spot/market/candles", candles),
    ("/api/v2/spot/market/history-candles", candles),
    ("/api/v2/mix/market/candles", candles),
    ("/api/v2/spot/public/symbols", spot_symbols),
    ("/api/v2/mix/market/contracts", contracts),
];

/// Replies about orders and names, and those that say again what fills and bills say.
const NO_MEANING: &[&str] = &[
    "/api/v2/public/time",
    "/api/v2/mix/position/history-position",
    "/api/v2/mix/order/orders-history",
    "/api/v2/mix/order/orders-pending",
    "/api/v2/spot/trade/history-orders",
    "/api/v2/spot/trade/unfilled-orders",
    "/api/v2/spot/account/transferRecords",
    "/api/v2/spot/wallet/deposit-records",
    "/api/v2/spot/wallet/withdrawal-records",
    "/api/v2/spot/public/coins",
];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let reader = case.reader(&case.endpoint, READERS, NO_MEANING)?;
    if let Some(fault) = fault::of_body(case.body()) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

fn rows(case: &Case) -> Result<Vec<Box<serde_json::value::RawValue>>, VenueError> {
    state::rows(&case.endpoint, case.body())
}

fn spot_fills(case: &Case) -> Result<Lines, VenueError> {
    let markets = Markets(case.quotes());
    Ok(Lines::rows(&parse::spot_fills(&rows(case)?, &markets, &case.prices())))
}

fn spot_bills(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&bills::spot_bills(&rows(case)?, &case.prices())))
}

fn futures_fills(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::futures_fills(&rows(case)?, &case.prices())))
}

fn futures_bills(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&bills::futures_bills(&rows(case)?, &case.prices())))
}

fn unified_records(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&bills::unified_records(&rows(case)?, &case.prices())))
}

fn spot_assets(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::spot_assets(case.body(), &case.prices(), Case::now())?))
}

/// All accounts, or one.
fn futures_accounts(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct One {
        data: serde_json::Map<String, serde_json::Value>,
    }
    let listed = match serde_json::from_str::<One>(case.body()) {
        Ok(one) => json!({ "data": [one.data] }).to_string(),
        Err(_) => case.body().to_owned(),
    };
    Ok(Lines::equity(&state::futures_accounts(&listed, &case.prices(), Case::now())?))
}

fn futures_positions(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&state::futures_positions(case.body(), &case.prices(), Case::now())?))
}

fn info(case: &Case) -> Result<Lines, VenueError> {
    let rights = state::rights(case.body())?;
    Ok(Lines::permissions(&rights.excess, &rights.missing))
}

fn tickers(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(client::tickers(&case.endpoint, case.body())?))
}

/// Closes by the instant at which their interval opens.
fn candles(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(client::candles(&case.endpoint, case.body())?))
}

fn named(case: &Case, name: impl Fn(&str) -> Option<codash_domain::Symbol>) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        symbol: String,
    }
    let rows = rows(case)?;
    let natives = rows.iter().filter_map(|raw| Some(serde_json::from_str::<Row>(raw.get()).ok()?.symbol));
    Ok(Lines::one("symbols", natives.filter_map(|native| name(&native)).map(|symbol| symbol.to_string()).collect()))
}

fn spot_symbols(case: &Case) -> Result<Lines, VenueError> {
    named(case, |native| Markets::default().spot(native).0)
}

fn contracts(case: &Case) -> Result<Lines, VenueError> {
    named(case, |native| markets::contract(native).symbol)
}
