//! Bitget balances and positions into holdings: pure, by the NAV rules of the venue notes.

use codash_domain::{Position, Price, Qty, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets;
use crate::error::VenueError;
use crate::pricing::{Prices, product, worth};
use crate::venues::Rights;
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, filled, read};

/// The records of a reply: `data` is a list, or an object that holds one under a name.
pub fn rows(endpoint: &str, body: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default)]
        data: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "fillList", alias = "bills", alias = "list", default)]
        list: Option<Vec<Box<RawValue>>>,
    }
    let Some(data) = read::<Reply>(endpoint, body)?.data else {
        return Err(VenueError::unreadable(endpoint, "a reply without data"));
    };
    match data.get().as_bytes().first() {
        Some(b'[') => read(endpoint, data.get()),
        // Nothing found is written as null inside.
        Some(b'{') => Ok(read::<Named>(endpoint, data.get())?.list.unwrap_or_default()),
        _ => Err(VenueError::unreadable(endpoint, "the data are no records")),
    }
}

/// GET /api/v2/spot/account/assets.
pub fn spot_assets(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        coin: String,
        available: Dec,
        #[serde(default, deserialize_with = "filled")]
        frozen: Option<Dec>,
        #[serde(default, deserialize_with = "filled")]
        locked: Option<Dec>,
    }
    Ok(Holdings::of_each(&rows("/api/v2/spot/account/assets", body)?, |holdings, row: Row| {
        let parts = [Some(row.available), row.frozen, row.locked];
        let total = parts.into_iter().flatten().try_fold(Decimal::ZERO, |sum, part| sum.checked_add(part.0));
        let coin = row.coin.to_ascii_uppercase();
        holdings.add_balance("spot", &coin, total.ok_or("the sum does not fit")?, prices.usd(&coin, now))
    }))
}

/// GET /api/v2/mix/account/accounts: equity by margin coin, open profit included.
pub fn futures_accounts(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        margin_coin: String,
        account_equity: Dec,
    }
    Ok(Holdings::of_each(&rows("/api/v2/mix/account/accounts", body)?, |holdings, row: Row| {
        let coin = row.margin_coin.to_ascii_uppercase();
        holdings.add_balance("futures", &coin, row.account_equity.0, prices.usd(&coin, now))
    }))
}

/// GET /api/v2/mix/position/all-position.
pub fn futures_positions(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        symbol: String,
        #[serde(default, deserialize_with = "filled")]
        margin_coin: Option<String>,
        hold_side: String,
        #[serde(default, deserialize_with = "filled")]
        pos_mode: Option<String>,
        total: Dec,
        #[serde(default, deserialize_with = "filled")]
        open_price_avg: Option<Dec>,
        mark_price: Dec,
        #[serde(rename = "unrealizedPL")]
        unrealized: Dec,
    }
    Ok(Holdings::of_each(&rows("/api/v2/mix/position/all-position", body)?, |holdings, row: Row| {
        if row.total.0.is_zero() {
            return Ok(());
        }
        let native = row.symbol.to_ascii_uppercase();
        let contract = markets::contract(&native);
        let quote = contract.quote.ok_or("the quote of the symbol is not known")?;
        let money = row.margin_coin.as_deref().map(str::to_ascii_uppercase);
        let money = money.as_deref().or(contract.money).ok_or("the money of the position is not known")?;
        let (Some(per_quote), Some(per_money)) = (prices.usd(quote, now), prices.usd(money, now)) else {
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            holdings.name_unpriced(if prices.usd(quote, now).is_none() { quote } else { money });
            return Ok(());
        };
        let (leg, size) = match row.hold_side.as_str() {
            "long" => ("long", row.total.0.abs()),
            "short" => ("short", -row.total.0.abs()),
            other => return Err(format!("unknown holdSide {other:?}")),
        };
        holdings.positions.push(Position {
            symbol: contract.symbol.clone().ok_or("the symbol is empty")?,
            leg: if row.pos_mode.as_deref() == Some("hedge_mode") { leg } else { "both" },
            qty: Qty::new(size),
            entry_price: row.open_price_avg.map(|price| Price::new(price.0)),
            mark_price: Some(Price::new(row.mark_price.0)),
            notional_usd: worth(product(size.abs(), row.mark_price.0)?, per_quote)?,
            unrealized_pnl_usd: worth(row.unrealized.0, per_money)?,
            native_symbol: native.clone(),
        });
        Ok(())
    }))
}

/// GET /api/v2/spot/account/info, strictly: a right that is not known to read only is one too many.
pub fn rights(body: &str) -> Result<Rights, VenueError> {
    /// Futures orders and positions, spot, margin, copy trading, transfers, taxes, sub-accounts, P2P
    /// and loans: the reading kind of each.
    const READING: [&str; 12] =
        ["readonly", "read", "coor", "cpor", "stor", "smor", "ttor", "wtor", "taxr", "chor", "p2pr", "pllr"];
    const ENDPOINT: &str = "/api/v2/spot/account/info";
    #[derive(Deserialize)]
    struct Reply {
        data: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        authorities: Vec<String>,
    }
    let Reply { data: Info { authorities } } = read(ENDPOINT, body)?;
    if authorities.is_empty() {
        return Err(VenueError::unreadable(ENDPOINT, "no authorities"));
    }
    let has = |name: &str| authorities.iter().any(|right| right == name);
    let mut missing = vec![];
    if !has("readonly") && !has("read") {
        let needed = [("stor", "spot (read)"), ("coor", "futures orders (read)"), ("cpor", "futures positions (read)")];
        let lacking = needed.into_iter().filter(|(code, _)| !has(code) && !has(&format!("{}w", &code[..3])));
        missing.extend(lacking.map(|(_, told)| told.to_owned()));
    }
    let excess = authorities.iter().filter(|right| !READING.contains(&right.as_str()));
    Ok(Rights { excess: excess.map(|right| codash_domain::text::clean(right, 80)).collect(), missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rights_that_are_known_to_read_are_accepted() {
        let read = |list: &str| rights(&format!(r#"{{"code":"00000","data":{{"authorities":[{list}]}}}}"#));
        assert!(read(r#""coor","cpor","stor""#).unwrap().is_read_only());
        assert!(read(r#""readonly""#).unwrap().is_read_only());
        assert_eq!(read(r#""stor","coow","cpor","wwow""#).unwrap().excess, ["coow", "wwow"]);
        assert_eq!(read(r#""readonly","zzzr""#).unwrap().excess, ["zzzr"], "a right that we never heard of");
        assert_eq!(read(r#""stor""#).unwrap().missing.len(), 2);
        assert!(read("").is_err());
    }

    #[test]
    fn records_are_found_in_each_kind_of_envelope() {
        let count = |data: &str| rows("x", &format!(r#"{{"code":"00000","data":{data}}}"#)).map(|rows| rows.len());
        assert_eq!(count("[1,2]"), Ok(2));
        assert_eq!(count(r#"{"fillList":[1],"endId":"1"}"#), Ok(1));
        assert_eq!(count(r#"{"bills":null,"endId":null}"#), Ok(0));
        assert!(count("null").is_err() && count("7").is_err());
    }

    #[test]
    fn an_inverse_position_is_valued_at_its_mark_and_pays_in_its_coin() {
        let now = Timestamp::from_millis(0).unwrap();
        let book = crate::pricing::PriceBook::fixed([("BTC".to_owned(), Decimal::from(50_000))]);
        let body = r#"{"data":[{"symbol":"BTCUSD","marginCoin":"BTC","holdSide":"short","posMode":"one_way_mode","total":"0.1",
            "openPriceAvg":"","markPrice":"50000","unrealizedPL":"0.001"}]}"#;
        let held = futures_positions(body, &book, now).unwrap();
        let position = &held.positions[0];
        assert_eq!((position.leg, position.qty.to_string().as_str()), ("both", "-0.1"));
        assert_eq!(
            (position.notional_usd.to_string(), position.unrealized_pnl_usd.to_string()),
            ("5000".into(), "50".into())
        );
    }
}
