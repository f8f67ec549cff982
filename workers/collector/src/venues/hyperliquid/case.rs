//! Recorded Hyperliquid replies, by the `type` of the request.

use codash_domain::{Symbol, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::parse::{self, SpotMarkets};
use super::state::{self, Account, UserRole};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{read as read_body, rows};

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
    ("allMids", all_mids),
    ("meta", meta),
];

/// Replies that are recorded, but are no events and no state of ours.
const NO_MEANING: &[&str] = &["delegatorHistory", "userRateLimit", "spotMeta"];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let name = match case.endpoint.as_str() {
        "/info" | "info" => case.query_type().ok_or("the query has no type")?,
        other => other,
    };
    if NO_MEANING.contains(&name) {
        return Ok(Lines::default());
    }
    let Some((_, reader)) = READERS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = READERS.iter().map(|(name, _)| *name).chain(NO_MEANING.iter().copied()).collect();
        return Err(format!("no parser for hyperliquid {name:?}; known: {}", known.join(", ")));
    };
    // Too many requests are answered with nothing; having no sub-accounts is answered so, too.
    if case.body() == "null" && !name.starts_with("subAccounts") {
        return Ok(Lines::error(&super::too_many_requests()));
    }
    Ok(reader(case).unwrap_or_else(|error| Lines::error(&error)))
}

/// The instant of prices that hold at any instant.
fn now() -> Timestamp {
    Timestamp::from_utc(chrono::DateTime::UNIX_EPOCH)
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

fn ledger(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::ledger(&rows(&case.endpoint, case.body())?, &case.prices())))
}

fn clearinghouse(case: &Case) -> Result<Lines, VenueError> {
    let perps = vec![read_body(&case.endpoint, case.body())?];
    Ok(Lines::account(&Account { perps, ..Account::default() }.holdings(&case.prices(), now())))
}

fn spot_clearinghouse(case: &Case) -> Result<Lines, VenueError> {
    let spot = read_body(&case.endpoint, case.body())?;
    Ok(Lines::equity(&Account { spot, ..Account::default() }.holdings(&case.prices(), now())))
}

fn vaults(case: &Case) -> Result<Lines, VenueError> {
    let mut holdings = Holdings::default();
    state::add_vaults(&mut holdings, case.body())?;
    Ok(Lines::equity(&holdings))
}

fn sub_accounts(case: &Case) -> Result<Lines, VenueError> {
    let mut all = Holdings::default();
    for account in state::sub_accounts(case.body())? {
        let one = account.holdings(&case.prices(), now());
        all.nav_usd = all.nav_usd + one.nav_usd;
        one.unpriced.iter().for_each(|asset| all.name_unpriced(asset.as_str()));
        all.balances.extend(one.balances);
        all.positions.extend(one.positions);
        all.unreadable.extend(one.unreadable);
    }
    Ok(Lines::account(&all))
}

fn portfolio(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::nav(state::nav_history(case.body())?.into_iter().map(|(at, equity)| (at, Some(equity)))))
}

fn user_role(case: &Case) -> Result<Lines, VenueError> {
    let told = match state::user_role(case.body())? {
        UserRole::Holder(role) => json!({ "readOnly": true, "rights": [], "role": role, "account": true }),
        UserRole::Agent { user } => {
            json!({ "readOnly": true, "rights": [], "role": "agent", "account": false, "use": user })
        }
        UserRole::Missing => json!({ "readOnly": true, "rights": [], "role": "missing", "account": false }),
    };
    Ok(Lines::one("permissions", told))
}

fn all_mids(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(state::mids(case.body())?))
}

fn meta(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct Meta {
        universe: Vec<Coin>,
    }
    #[derive(Deserialize)]
    struct Coin {
        name: String,
    }
    let meta: Meta = read_body(&case.endpoint, case.body())?;
    let symbols = meta.universe.iter().filter_map(|coin| Symbol::linear_perp(&coin.name));
    Ok(Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect()))
}
