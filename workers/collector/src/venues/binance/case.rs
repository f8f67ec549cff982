//! Recorded Binance replies, by endpoint.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::Markets;
use super::{fault, flows as parse_flows, parse, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::pricing::Prices;
use crate::venues::Parsed;
use crate::venues::wire::{Dec, read as read_body, rows};

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/api/v3/myTrades", my_trades),
    ("/fapi/v1/userTrades", user_trades),
    ("/fapi/v1/income", income),
    ("/fapi/v1/forceOrders", force_orders),
    ("ws user data stream", user_data),
    ("/api/v3/account", spot_account),
    ("/fapi/v3/account", usdm_account),
    ("/fapi/v2/account", usdm_account),
    ("/fapi/v3/balance", usdm_balance),
    ("/fapi/v2/balance", usdm_balance),
    ("/fapi/v3/positionRisk", usdm_positions),
    ("/fapi/v2/positionRisk", usdm_positions),
    ("/dapi/v1/positionRisk", coinm_positions),
    ("/sapi/v1/asset/wallet/balance", wallet_balance),
    ("/sapi/v1/asset/get-funding-asset", funding_wallet),
    ("/sapi/v1/account/apiRestrictions", restrictions),
    ("/sapi/v1/accountSnapshot", daily_snapshots),
    ("/sapi/v1/capital/deposit/hisrec", |case| flows(case, parse_flows::deposits)),
    ("/sapi/v1/capital/withdraw/history", |case| flows(case, parse_flows::withdrawals)),
    ("/sapi/v1/asset/transfer", |case| listed_flows(case, "rows", parse_flows::transfers)),
    ("/sapi/v1/convert/tradeFlow", |case| listed_flows(case, "list", parse_flows::conversions)),
    ("/fapi/v1/premiumIndex", mark_prices),
    ("/api/v3/ticker/price", ticker_prices),
    ("/api/v3/ticker/24hr", ticker_day),
    ("/fapi/v1/klines", klines),
    ("/api/v3/klines", klines),
];

/// Replies that hold no events and no state.
const NO_MEANING: &[&str] = &[
    "/sapi/v1/asset/assetDividend",
    "/sapi/v1/asset/dribblet",
    "/sapi/v1/margin/forceLiquidationRec",
    "/fapi/v1/allOrders",
    "/api/v3/time",
    "/fapi/v1/time",
    "/api/v3/exchangeInfo",
    "/fapi/v1/exchangeInfo",
];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let reader = case.reader(&case.endpoint, READERS, NO_MEANING)?;
    if let Some(fault) = fault::of_body(case.body()) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

fn my_trades(case: &Case) -> Result<Lines, VenueError> {
    let markets = Markets(case.quotes());
    Ok(Lines::rows(&parse::spot_fills(&rows(&case.endpoint, case.body())?, &markets, &case.prices())))
}

fn user_trades(case: &Case) -> Result<Lines, VenueError> {
    let forced = case.context.as_ref().and_then(|context| context.order_class.clone()).unwrap_or_default();
    Ok(Lines::rows(&parse::usdm_fills(&rows(&case.endpoint, case.body())?, &forced, &case.prices())))
}

fn income(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::income(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn force_orders(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::forced_orders(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn user_data(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::user_data(read_body(&case.endpoint, case.body())?, &case.prices())))
}

type ParseFlows = fn(&[Box<RawValue>], &dyn Prices) -> Parsed;

/// Cash flows are no rows; what cannot be read shows.
fn flows(case: &Case, parse: ParseFlows) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse(&rows(&case.endpoint, case.body())?, &case.prices())))
}

/// As [`flows`], of a list inside an object; there is none when there are no rows.
fn listed_flows(case: &Case, field: &str, parse: ParseFlows) -> Result<Lines, VenueError> {
    let listed = parse_flows::listed(&case.endpoint, case.body(), field)?;
    Ok(Lines::rows(&parse(&listed, &case.prices())))
}

fn spot_account(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::spot_account(case.body(), &case.prices(), Case::now())?))
}

fn usdm_account(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::usdm_account(case.body(), &case.prices(), Case::now())?))
}

fn usdm_balance(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::usdm_balance(case.body(), &case.prices(), Case::now())?))
}

fn usdm_positions(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&state::usdm_positions(case.body(), &case.prices(), Case::now())?))
}

fn coinm_positions(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&state::coinm_positions(case.body(), &case.prices(), Case::now())?))
}

fn wallet_balance(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::wallet_balance(case.body(), &case.prices(), Case::now())?))
}

fn funding_wallet(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::funding_wallet(case.body(), &case.prices(), Case::now())?))
}

fn restrictions(case: &Case) -> Result<Lines, VenueError> {
    let rights = state::restrictions(case.body())?;
    Ok(Lines::permissions(&rights.excess, &rights.missing))
}

fn daily_snapshots(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::nav(state::daily_snapshots(case.body(), &case.prices())?))
}

/// One object, or a list of them when no symbol was asked for.
fn one_or_many<T: serde::de::DeserializeOwned>(case: &Case) -> Result<Vec<T>, VenueError> {
    if case.body().trim_start().starts_with('[') {
        return read_body(&case.endpoint, case.body());
    }
    Ok(vec![read_body(&case.endpoint, case.body())?])
}

fn mark_prices(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        symbol: String,
        mark_price: Dec,
    }
    Ok(Lines::prices(one_or_many::<Row>(case)?.into_iter().map(|row| (row.symbol, row.mark_price.0))))
}

fn ticker_prices(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        symbol: String,
        price: Dec,
    }
    Ok(Lines::prices(one_or_many::<Row>(case)?.into_iter().map(|row| (row.symbol, row.price.0))))
}

fn ticker_day(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        symbol: String,
        last_price: Dec,
    }
    Ok(Lines::prices(one_or_many::<Row>(case)?.into_iter().map(|row| (row.symbol, row.last_price.0))))
}

/// Closes by the instant at which their interval opens.
fn klines(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(super::klines(&case.endpoint, case.body())?))
}
