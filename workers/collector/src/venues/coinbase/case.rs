//! Recorded Coinbase replies, by endpoint.

use serde_json::{Value, json};

use super::markets::Contracts;
use super::{derivatives, fault, markets, parse, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::pricing::PriceBook;
use crate::venues::holdings::Holdings;
use crate::venues::wire::read as read_body;

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each. `*` stands for
/// one segment; those of `/api/v3/brokerage` are named without it.
const READERS: &[(&str, Reader)] = &[
    ("/orders/historical/fills", fills),
    ("/accounts", accounts),
    ("/accounts/*", account),
    ("/portfolios/*", portfolio),
    ("/cfm/balance_summary", cfm_balance),
    ("/cfm/positions", cfm_positions),
    ("/cfm/positions/*", cfm_positions),
    ("/intx/balances/*", intx_balances),
    ("/intx/portfolio/*", intx_portfolio),
    ("/intx/portfolio", intx_portfolio),
    ("/intx/positions/*", intx_positions),
    ("/intx/positions/*/*", intx_positions),
    ("/key_permissions", key_permissions),
    ("/market/products", products),
    ("/products", products),
    ("/market/products/*", product),
    ("/products/*", product),
    ("/market/products/*/candles", candles),
    ("/products/*/candles", candles),
    ("/v2/accounts", wallets),
    ("/v2/accounts/*", wallet),
    ("/v2/accounts/*/transactions", transactions),
    ("/v2/accounts/*/transactions/*", transactions),
];

/// Replies about orders, fees, names and quotes: recorded, but no events and no state.
const NO_MEANING: &[&str] = &[
    "/transaction_summary",
    "/portfolios",
    "/orders/historical/batch",
    "/orders/historical/*",
    "/payment_methods",
    "/convert/trade/*",
    "/cfm/sweeps",
    "/cfm/intraday/margin_setting",
    "/cfm/intraday/current_margin_window",
    "/best_bid_ask",
    "/product_book",
    "/market/product_book",
    "/market/products/*/ticker",
    "/products/*/ticker",
    "/time",
    "/v2/time",
    "/v2/user",
    "/v2/currencies",
    "/v2/currencies/crypto",
    "/v2/exchange-rates",
    "/v2/accounts/*/deposits",
    "/v2/accounts/*/withdrawals",
    "/v2/accounts/*/addresses",
];

fn is_of(pattern: &str, endpoint: &str) -> bool {
    let (mut pattern, mut endpoint) = (pattern.split('/'), endpoint.split('/'));
    loop {
        match (pattern.next(), endpoint.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return false,
        }
    }
}

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let endpoint = case.endpoint.strip_prefix("/api/v3/brokerage").unwrap_or(&case.endpoint);
    let endpoint = endpoint.split('?').next().unwrap_or(endpoint);
    let patterns = READERS.iter().map(|(pattern, _)| pattern).chain(NO_MEANING);
    let name = patterns.copied().find(|pattern| is_of(pattern, endpoint)).unwrap_or(endpoint);
    let reader = case.reader(name, READERS, NO_MEANING)?;
    // A text that is no JSON cannot be recorded as a response: it is null.
    let refusal = (case.body().trim() == "null").then(|| fault::of_body("Unauthorized")).flatten();
    if let Some(fault) = refusal.or_else(|| fault::of_body(case.body())) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

fn fills(case: &Case) -> Result<Lines, VenueError> {
    let (rows, _) = super::fill_rows(&case.endpoint, case.body())?;
    Ok(Lines::rows(&parse::fills(&rows, &Contracts::default(), &case.prices())))
}

fn accounts(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::accounts(case.body(), &case.prices(), Case::now())?.0))
}

/// One of the accounts.
fn account(case: &Case) -> Result<Lines, VenueError> {
    let reply: Value = read_body(&case.endpoint, case.body())?;
    let list = json!({ "accounts": [reply.get("account").unwrap_or(&reply)] });
    Ok(Lines::equity(&state::accounts(&list.to_string(), &case.prices(), Case::now())?.0))
}

fn portfolio(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::breakdown(case.body(), &case.prices(), Case::now())?.holdings))
}

fn cfm_balance(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&derivatives::cfm_balance(case.body(), &case.prices(), Case::now())?))
}

fn exposure(read: impl Fn(&str) -> Result<Holdings, VenueError>, body: &str) -> Result<Lines, VenueError> {
    Ok(Lines::exposure(&read(body)?))
}

fn cfm_positions(case: &Case) -> Result<Lines, VenueError> {
    // One position is answered alone.
    let reply: Value = read_body(&case.endpoint, case.body())?;
    let list = match reply.get("position") {
        Some(position) => json!({ "positions": [position] }).to_string(),
        None => case.body().to_owned(),
    };
    exposure(|body| derivatives::cfm_positions(body, &Contracts::default(), &case.prices(), Case::now()), &list)
}

fn intx_positions(case: &Case) -> Result<Lines, VenueError> {
    exposure(|body| derivatives::intx_positions(body, &case.prices(), Case::now()), case.body())
}

fn intx_balances(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&derivatives::intx_balances(case.body(), &case.prices(), Case::now())?))
}

fn intx_portfolio(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&derivatives::intx_portfolio(case.body(), &case.prices(), Case::now())?))
}

fn key_permissions(case: &Case) -> Result<Lines, VenueError> {
    let rights = state::rights(case.body())?;
    Ok(Lines::permissions(&rights.excess, &rights.missing))
}

/// Prices by product, and our name of each.
fn products(case: &Case) -> Result<Lines, VenueError> {
    Ok(listed(markets::products(&case.endpoint, case.body())?))
}

fn product(case: &Case) -> Result<Lines, VenueError> {
    Ok(listed(vec![read_body(&case.endpoint, case.body())?]))
}

fn listed(products: Vec<markets::Product>) -> Lines {
    let contracts = products.iter().filter_map(|product| Some((product.product_id.clone(), product.contract()?)));
    let contracts = Contracts(contracts.collect());
    let symbols = products.iter().filter_map(|product| markets::market(&product.product_id, &contracts).0);
    let mut lines = Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect());
    let priced = products.into_iter().filter_map(|product| Some((product.product_id, product.price?.0)));
    lines.0.extend(Lines::prices(priced).0);
    lines
}

/// Closes by the instant at which their interval opens.
fn candles(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(markets::candles(&case.endpoint, case.body())?))
}

fn wallets(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::wallets(case.body(), &case.prices(), Case::now())?.1))
}

fn wallet(case: &Case) -> Result<Lines, VenueError> {
    let reply: Value = read_body(&case.endpoint, case.body())?;
    let list = json!({ "data": [reply.get("data").unwrap_or(&reply)] });
    Ok(Lines::equity(&state::wallets(&list.to_string(), &case.prices(), Case::now())?.1))
}

/// Recorded in whatever order; one alone is answered as an object.
fn transactions(case: &Case) -> Result<Lines, VenueError> {
    #[derive(serde::Deserialize)]
    struct Many {
        data: Vec<Box<serde_json::value::RawValue>>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        data: Box<serde_json::value::RawValue>,
    }
    let prices: PriceBook = case.prices();
    let rows = match read_body::<Many>(&case.endpoint, case.body()) {
        Ok(many) => many.data,
        Err(error) => match serde_json::from_str::<One>(case.body()) {
            Ok(one) if one.data.get().starts_with('{') => vec![one.data],
            _ => return Err(error),
        },
    };
    Ok(Lines::rows(&parse::transactions(&rows, &prices)))
}
