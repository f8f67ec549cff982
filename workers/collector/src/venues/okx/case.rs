//! Recorded OKX replies, by endpoint.

use serde_json::json;

use super::envelope::data;
use super::markets::{Contract, Contracts};
use super::{bills as bill_rows, client, fault, flows, markets, parse, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::venues::Role;
use crate::venues::holdings::Holdings;

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/api/v5/trade/fills", fills),
    ("/api/v5/trade/fills-history", fills),
    ("/api/v5/account/bills", bills),
    ("/api/v5/account/bills-archive", bills),
    ("/api/v5/trade/orders-history", orders),
    ("/api/v5/trade/orders-history-archive", orders),
    ("ws orders", orders),
    ("/api/v5/asset/deposit-history", deposits),
    ("/api/v5/asset/withdrawal-history", withdrawals),
    ("/api/v5/account/balance", balance),
    ("/api/v5/asset/balances", funding),
    ("/api/v5/finance/savings/balance", savings),
    ("/api/v5/asset/asset-valuation", valuation),
    ("/api/v5/account/positions", positions),
    ("/api/v5/account/config", config),
    ("/api/v5/public/instruments", instruments),
    ("/api/v5/account/instruments", instruments),
    ("/api/v5/market/tickers", tickers),
    ("/api/v5/market/ticker", tickers),
    ("/api/v5/public/mark-price", tickers),
    ("/api/v5/market/candles", candles),
    ("/api/v5/market/history-candles", candles),
];

/// Replies that only reconcile or tell the time: recorded, but no events and no state.
const NO_MEANING: &[&str] = &["/api/v5/account/positions-history", "/api/v5/public/time"];

/// How recorded cases say that a bill of a fill is one only where the fill is missing.
const LEG: &str = "balance leg of a fill (same billId or tradeId as the fill row): never counted twice";

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let reader = case.reader(&case.endpoint, READERS, NO_MEANING)?;
    if let Some(fault) = fault::of_body(case.body()) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

fn contracts(case: &Case) -> Contracts {
    let mut contracts = Contracts::default();
    let told = case.context.as_ref().and_then(|context| context.ct_val.as_ref());
    for (id, (value, _, kind)) in told.into_iter().flatten() {
        contracts.add(id, Contract { value: value.0, is_inverse: kind == "inverse", settle: None });
    }
    contracts
}

fn fills(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::fills(&data(&case.endpoint, case.body())?, &contracts(case), &case.prices())))
}

fn bills(case: &Case) -> Result<Lines, VenueError> {
    let parsed = bill_rows::bills(&data(&case.endpoint, case.body())?, &contracts(case), &case.prices());
    Ok(Lines::rows_as(&parsed, |role| match role {
        Role::UnlessFill { .. } => LEG,
        role => role.as_str(),
    }))
}

fn orders(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::orders(&data(&case.endpoint, case.body())?, &contracts(case), &case.prices())))
}

fn deposits(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&flows::deposits(&data(&case.endpoint, case.body())?, &case.prices())))
}

fn withdrawals(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&flows::withdrawals(&data(&case.endpoint, case.body())?, &case.prices())))
}

fn balance(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::trading_account(case.body())?))
}

fn funding(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::funding_account(case.body(), &case.prices(), Case::now())?))
}

fn savings(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::savings(case.body(), &case.prices(), Case::now())?))
}

/// In bitcoin, unless another unit was asked for.
fn valuation(case: &Case) -> Result<Lines, VenueError> {
    let (worth, unit) = (state::valuation(case.body())?, case.query("ccy").unwrap_or("BTC"));
    let mut holdings = Holdings::default();
    let added = holdings.add_balance("funding and earn", unit, worth, case.prices().usd(unit, Case::now()));
    added.map_err(|why| VenueError::unreadable(&case.endpoint, why))?;
    Ok(Lines::equity(&holdings))
}

fn positions(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&state::positions(case.body(), &contracts(case), &case.prices(), Case::now())?))
}

fn config(case: &Case) -> Result<Lines, VenueError> {
    let config = state::config(case.body())?;
    Ok(Lines::one("permissions", json!({ "readOnly": config.is_read_only(), "rights": config.excess })))
}

fn instruments(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::one("symbols", markets::symbols(&data(&case.endpoint, case.body())?).into()))
}

fn tickers(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(client::tickers(&data(&case.endpoint, case.body())?)))
}

/// Closes by the instant at which their interval opens.
fn candles(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(client::candles(&case.endpoint, case.body())?))
}
