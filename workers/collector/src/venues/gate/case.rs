//! Recorded Gate replies, by endpoint.

use codash_domain::EventType;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::markets::{BTC, Contract, Contracts, Settle, USDT, perpetual};
use super::parse::{self, Book};
use super::{fault, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::venues::wire::{Dec, maybe_dec, record, rows};

/// A reader is told the settle coin of a futures path; spot paths have none, and are told USDT.
type Reader = fn(&Case, &'static Settle) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/spot/my_trades", spot_fills),
    ("/spot/accounts", spot_accounts),
    ("/spot/tickers", tickers),
    ("/spot/candlesticks", candles),
    ("/wallet/deposits", deposits),
    ("/wallet/withdrawals", withdrawals),
    ("/account/main_keys", main_keys),
    ("/futures/{settle}/my_trades", futures_fills),
    ("/futures/{settle}/my_trades_timerange", futures_fills),
    ("/futures/{settle}/account_book", futures_book),
    ("/futures/{settle}/liquidates", liquidates),
    ("/futures/{settle}/auto_deleverages", auto_deleverages),
    ("/futures/{settle}/position_close", position_close),
    ("/futures/{settle}/accounts", futures_account),
    ("/futures/{settle}/positions", positions),
    ("/futures/{settle}/contracts", contracts),
];

/// Replies that are recorded, but are no events and no state of ours.
const NO_MEANING: &[&str] =
    &["/spot/time", "/spot/currency_pairs", "/spot/account_book", "/account/detail", "/futures/{settle}/orders"];

/// The name of an endpoint in the lists above, and its settle coin.
fn named(endpoint: &str) -> (String, &'static Settle) {
    let path = endpoint.strip_prefix("/api/v4").unwrap_or(endpoint);
    for settle in [&USDT, &BTC] {
        if let Some(rest) = path.strip_prefix(&format!("/futures/{}/", settle.path)) {
            return (format!("/futures/{{settle}}/{rest}"), settle);
        }
    }
    (path.into(), &USDT)
}

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let (name, settle) = named(&case.endpoint);
    let reader = case.reader(&name, READERS, NO_MEANING)?;
    if let Some(fault) = fault::of_body(case.body()) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case, settle))))
}

/// `mult` of the context: the size of a contract, alone or first in a list that may say `inverse`.
fn known_contracts(case: &Case) -> Contracts {
    let given = case.context.iter().flat_map(|context| context.mult.iter().flatten());
    let contract = |(native, value): (&String, &serde_json::Value)| {
        let parts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if parts.iter().any(|part| part == "inverse") {
            return Some((native.clone(), Contract::Dollar));
        }
        let unit: Dec = serde_json::from_value(parts.first()?.clone()).ok()?;
        (!unit.0.is_zero()).then(|| (native.clone(), Contract::Base(unit.0.abs())))
    };
    Contracts(given.filter_map(contract).collect())
}

fn spot_fills(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::spot_fills(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn deposits(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::deposits(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn withdrawals(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::withdrawals(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn futures_fills(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    let book = Book { settle, contracts: &known_contracts(case) };
    Ok(Lines::rows(&parse::futures_fills(&rows(&case.endpoint, case.body())?, book, &case.prices())))
}

fn futures_book(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    let book = Book { settle, contracts: &known_contracts(case) };
    Ok(Lines::rows(&parse::futures_book(&rows(&case.endpoint, case.body())?, book, &case.prices())))
}

fn forced(case: &Case, settle: &'static Settle, kind: EventType) -> Result<Lines, VenueError> {
    let book = Book { settle, contracts: &known_contracts(case) };
    Ok(Lines::rows(&parse::forced(&rows(&case.endpoint, case.body())?, kind, book, &case.prices())))
}

fn liquidates(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    forced(case, settle, EventType::Liquidation)
}

fn auto_deleverages(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    forced(case, settle, EventType::Adl)
}

/// What closed positions sum up. The account book carries the same money, so they are no events.
fn position_close(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Closed {
        contract: String,
        /// Net of fees and funding.
        pnl: Dec,
        #[serde(default, deserialize_with = "maybe_dec")]
        pnl_pnl: Option<Decimal>,
        #[serde(default, deserialize_with = "maybe_dec")]
        pnl_fund: Option<Decimal>,
        #[serde(default, deserialize_with = "maybe_dec")]
        pnl_fee: Option<Decimal>,
    }
    let told = |raw: &RawValue| match record::<Closed>(raw) {
        Ok(closed) => {
            let part = |amount: Option<Decimal>| amount.map(codash_domain::Usd::new);
            json!({
                "symbol": perpetual(&closed.contract),
                "asset": settle.coin,
                "net": part(Some(closed.pnl.0)),
                "pnl": part(closed.pnl_pnl),
                "funding": part(closed.pnl_fund),
                "fee": part(closed.pnl_fee),
            })
        }
        Err(bad) => json!({ "unreadable": { "reason": bad.reason, "raw": bad.raw } }),
    };
    let all: Vec<serde_json::Value> = rows(&case.endpoint, case.body())?.iter().map(|raw| told(raw)).collect();
    Ok(Lines::one("closedPositions", all.into()))
}

fn spot_accounts(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::spot_accounts(case.body(), &case.prices(), Case::now())?))
}

fn futures_account(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::futures_account(case.body(), settle, &case.prices(), Case::now())?))
}

fn positions(case: &Case, settle: &'static Settle) -> Result<Lines, VenueError> {
    let contracts = known_contracts(case);
    Ok(Lines::exposure(&state::positions(case.body(), settle, &contracts, &case.prices(), Case::now())?))
}

fn main_keys(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    let told = match state::rights(case.body(), None)? {
        state::Rights::Known { excess } => json!({ "readOnly": excess.is_empty(), "rights": excess }),
        state::Rights::Unknown => json!({ "readOnly": null, "rights": [] }),
    };
    Ok(Lines::one("permissions", told))
}

fn contracts(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    let contracts = Contracts::read(case.body())?;
    let told = contracts.0.iter().map(|(native, contract)| {
        let unit = match contract {
            Contract::Base(unit) => json!({ "symbol": perpetual(native), "base": codash_domain::Qty::new(*unit) }),
            Contract::Dollar => json!({ "symbol": perpetual(native), "usd": 1 }),
        };
        (native.clone(), unit)
    });
    Ok(Lines::one("symbols", serde_json::Value::Object(told.collect())))
}

fn tickers(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::prices(state::tickers(case.body())?))
}

/// Closes by the instant at which their minute opens.
fn candles(case: &Case, _: &'static Settle) -> Result<Lines, VenueError> {
    Ok(Lines::closes(super::candles(&case.endpoint, case.body())?))
}
