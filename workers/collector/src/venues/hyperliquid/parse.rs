//! Hyperliquid records into events: pure, by the table of section 5 of the venue notes.

use std::collections::BTreeMap;

use codash_domain::{Asset, Event, EventType, Fee, Price, Qty, Side, Symbol, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::pricing::{Exchange, Prices, product};
use crate::venues::wire::{Dec, Millis, Text, blank, parse_each, read, record};
use crate::venues::{Parsed, Record, Role};

pub const FILLS: &str = "fills";
pub const FUNDING: &str = "funding";
pub const NAV: &str = "nav";

/// The money of the perpetual exchange.
pub const DOLLAR: &str = "USDC";

/// Spot markets by coin (`@156`, `PURR/USDC`): base and quote token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpotMarkets(pub BTreeMap<String, (String, String)>);

/// What `spotMeta` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpotMeta {
    pub markets: SpotMarkets,
    /// Names of tokens by their index.
    pub tokens: BTreeMap<String, String>,
}

impl SpotMeta {
    /// Reads `spotMeta`.
    pub fn read(body: &str) -> Result<Self, VenueError> {
        #[derive(Deserialize)]
        struct Meta {
            tokens: Vec<Token>,
            universe: Vec<Market>,
        }
        #[derive(Deserialize)]
        struct Token {
            name: String,
            index: Text,
        }
        #[derive(Deserialize)]
        struct Market {
            name: String,
            tokens: Vec<Text>,
            index: Text,
        }
        let meta: Meta = read("spotMeta", body)?;
        let tokens: BTreeMap<String, String> =
            meta.tokens.into_iter().map(|token| (token.index.0, token.name)).collect();
        let mut markets = BTreeMap::new();
        for market in &meta.universe {
            let [base, quote] = market.tokens.as_slice() else { continue };
            let (Some(base), Some(quote)) = (tokens.get(&base.0), tokens.get(&quote.0)) else { continue };
            for coin in [market.name.clone(), format!("@{}", market.index)] {
                markets.insert(coin, (base.clone(), quote.clone()));
            }
        }
        Ok(Self { markets: SpotMarkets(markets), tokens })
    }
}

impl SpotMarkets {
    /// Base and quote of a spot coin: by the list, or by its own name when that says it.
    pub fn split<'a>(&'a self, coin: &'a str) -> Option<(&'a str, &'a str)> {
        match self.0.get(coin) {
            Some((base, quote)) => Some((base, quote)),
            None => coin.split_once('/'),
        }
    }

    /// Markets where a token is sold for dollars or their like.
    pub fn priced_by<'a>(&'a self, token: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let listed = self.0.iter().filter(move |(_, (base, _))| base == token);
        listed.map(|(coin, (_, quote))| (coin.as_str(), quote.as_str()))
    }
}

/// Where a coin trades, and in what its prices are.
struct Market {
    symbol: Option<Symbol>,
    /// `None` for a spot coin that is not in the list of spot markets, and for an outcome (`#…`).
    quote: Option<String>,
}

fn market(coin: &str, spot: &SpotMarkets) -> Market {
    if let Some((base, quote)) = spot.split(coin) {
        return Market { symbol: Symbol::spot(base, quote), quote: Some(quote.into()) };
    }
    if coin.starts_with(['@', '#']) {
        return Market { symbol: Symbol::new(coin), quote: None };
    }
    Market { symbol: Symbol::linear_perp(coin), quote: Some(DOLLAR.into()) }
}

/// userFills, userFillsByTime, and the same rows pushed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fill {
    coin: String,
    px: Text,
    sz: Text,
    side: String,
    time: Millis,
    #[serde(default)]
    start_position: Option<Text>,
    #[serde(default)]
    dir: Option<String>,
    closed_pnl: Dec,
    #[serde(default)]
    hash: Option<String>,
    oid: Text,
    /// Builder fee included, whatever other clients add.
    fee: Dec,
    #[serde(default)]
    fee_token: Option<String>,
    #[serde(default)]
    tid: Option<Text>,
    #[serde(default)]
    liquidation: Option<Liquidation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Liquidation {
    #[serde(default)]
    liquidated_user: Option<String>,
}

impl Fill {
    /// Both sides of a liquidation carry the object: it is ours only when the liquidated user is us.
    fn kind(&self, user: &str) -> EventType {
        let dir = self.dir.as_deref().unwrap_or_default();
        let liquidated = self.liquidation.as_ref().map(|l| l.liquidated_user.as_deref().unwrap_or_default());
        match (liquidated, dir) {
            (Some(theirs), _) if !user.is_empty() && theirs.eq_ignore_ascii_case(user) => EventType::Liquidation,
            (_, "Auto-Deleveraging") => EventType::Adl,
            (_, "Settlement" | "Spot Dust Conversion") => EventType::SystemClose,
            (Some(_), _) => EventType::Trade,
            (None, "Open Long" | "Open Short" | "Close Long" | "Close Short") => EventType::Trade,
            (None, "Long > Short" | "Short > Long" | "Buy" | "Sell") => EventType::Trade,
            _ => EventType::Unknown,
        }
    }

    /// The trade id is shared by both parties and the hash by many fills, so neither is enough alone.
    fn native_id(&self) -> String {
        match &self.tid {
            Some(tid) if tid.0 != "0" && !tid.0.is_empty() => format!("hyperliquid:{}:{tid}:{}", self.coin, self.oid),
            _ => {
                let hash = self.hash.as_deref().unwrap_or_default();
                let start = self.start_position.clone().unwrap_or_default();
                let time = self.time.0.millis();
                format!("hyperliquid:{}:{hash}:{}:{time}:{}:{}:{start}", self.coin, self.oid, self.px, self.sz)
            }
        }
    }
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "B" => Ok(Side::Buy),
        "A" => Ok(Side::Sell),
        other => Err(format!("unknown side {other:?}")),
    }
}

fn decimal(text: &Text) -> Result<Decimal, String> {
    codash_domain::money::parse_decimal(&text.0).map_err(|error| error.to_string())
}

/// Fills of `user`. They carry PnL (gross of the fee) and the fee.
pub fn fills(rows: &[Box<RawValue>], user: &str, spot: &SpotMarkets, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Fill, raw| {
        Ok(Some(Record { event: fill(&row, user, spot, raw, prices)?, role: Role::Primary }))
    })
}

fn fill(row: &Fill, user: &str, spot: &SpotMarkets, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, row.time.0);
    let (price, size) = (decimal(&row.px)?, decimal(&row.sz)?.abs());
    let market = market(&row.coin, spot);
    let mut event = blank(FILLS, row.native_id(), row.kind(user), row.time.0, raw);
    event.side = Some(side(&row.side)?);
    event.qty = Some(Qty::new(size));
    event.price = Some(Price::new(price));
    event.notional_usd = in_quote(&mut exchange, product(price, size)?, market.quote.as_deref(), true)?;
    event.realized_pnl_usd = in_quote(&mut exchange, row.closed_pnl.0, market.quote.as_deref(), false)?;
    let token = row.fee_token.as_deref().filter(|token| !token.is_empty()).unwrap_or(DOLLAR);
    event.fee_usd = exchange.stated(row.fee.0, token)?;
    event.fee = Some(Fee { amount: row.fee.0, asset: Asset::new(token) });
    event.symbol = market.symbol;
    event.native_symbol = Some(row.coin.clone());
    event.order_ref = Some(format!("hyperliquid:{}:{}", row.coin, row.oid));
    event.unpriced = exchange.unpriced;
    Ok(event)
}

fn in_quote(
    exchange: &mut Exchange<'_>,
    amount: Decimal,
    quote: Option<&str>,
    derived: bool,
) -> Result<Option<Usd>, String> {
    match quote {
        Some(quote) if derived => exchange.derived(amount, quote),
        Some(quote) => exchange.stated(amount, quote),
        None if amount.is_zero() => Ok(Some(Usd::ZERO)),
        None => {
            exchange.unpriced = true;
            Ok(None)
        }
    }
}

/// Fees in the token that the fill itself bought or sold for dollars: the fill is the venue's own
/// statement of that token's price at that moment. Used where the venue keeps no candle of it.
pub fn own_prices(rows: &[Box<RawValue>], spot: &SpotMarkets) -> Vec<(String, codash_domain::Timestamp, Decimal)> {
    let own = |raw: &RawValue| {
        let row = record::<Fill>(raw).ok()?;
        let (base, quote) = spot.split(&row.coin)?;
        let dollar = crate::pricing::PEGGED.contains(&quote) && row.fee_token.as_deref() == Some(base);
        dollar.then_some(())?;
        Some((base.to_owned(), row.time.0, decimal(&row.px).ok()?))
    };
    rows.iter().filter_map(|raw| own(raw)).collect()
}

#[derive(Debug, Deserialize)]
struct FundingRow {
    time: Millis,
    /// Pushed rows have the fields of `delta` in their place.
    #[serde(default)]
    delta: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct FundingDelta {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    coin: String,
    usdc: Dec,
    szi: Dec,
}

/// userFunding. The hash is all zero, so the key is coin and time.
pub fn funding(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: FundingRow, raw| {
        let delta = row.delta.as_deref().map_or(raw, RawValue::get);
        let delta: FundingDelta = serde_json::from_str(delta).map_err(|error| error.to_string())?;
        let mut exchange = Exchange::new(prices, row.time.0);
        let kind = match delta.kind.as_deref() {
            None | Some("funding") => EventType::Funding,
            Some(_) => EventType::Unknown,
        };
        let native_id = format!("hyperliquid:funding:{}:{}", delta.coin, row.time.0.millis());
        let mut event = blank(FUNDING, native_id, kind, row.time.0, raw);
        event.symbol = Symbol::linear_perp(&delta.coin);
        event.native_symbol = Some(delta.coin);
        event.side = match delta.szi.0 {
            size if size.is_zero() => None,
            size if size.is_sign_negative() => Some(Side::Sell),
            _ => Some(Side::Buy),
        };
        event.qty = Some(Qty::new(delta.szi.0.abs()));
        event.funding_usd = exchange.stated(delta.usdc.0, DOLLAR)?;
        event.unpriced = exchange.unpriced;
        Ok(Some(Record { event, role: Role::Primary }))
    })
}

/// The builder-deployed exchanges that fills or funding rows name: the part of a coin before the colon.
pub fn dexes(rows: &[Box<RawValue>]) -> impl Iterator<Item = String> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(default)]
        coin: Option<String>,
        #[serde(default)]
        delta: Option<Coin>,
    }
    #[derive(Deserialize)]
    struct Coin {
        coin: String,
    }
    rows.iter().filter_map(|raw| {
        let row: Row = serde_json::from_str(raw.get()).ok()?;
        let coin = row.coin.or(row.delta.map(|delta| delta.coin))?;
        Some(coin.split_once(':')?.0.to_owned())
    })
}

/// The rows inside a pushed message: `data.fills`, or the list itself.
pub fn pushed_fills(body: &str) -> Result<(Vec<Box<RawValue>>, Option<String>), VenueError> {
    #[derive(Deserialize)]
    struct Message {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        fills: Vec<Box<RawValue>>,
        #[serde(default)]
        user: Option<String>,
    }
    let message: Message = read("ws userFills", body)?;
    Ok((message.data.fills, message.data.user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    const US: &str = "0xAb00000000000000000000000000000000000001";

    fn parsed(extra: &str) -> Parsed {
        let body = format!(
            r#"[{{"coin":"BTC","px":"10","sz":"2","side":"B","time":1767225600000,"startPosition":"0","closedPnl":"0",
                "hash":"0x0","oid":1,"fee":"0.1","feeToken":"USDC","tid":7{extra}}}]"#
        );
        fills(&rows("userFills", &body).unwrap(), US, &SpotMarkets::default(), &PriceBook::default())
    }

    fn kind(extra: &str) -> EventType {
        parsed(extra).records[0].event.event_type
    }

    #[test]
    fn the_liquidated_user_decides_and_not_the_wording() {
        let ours =
            r#","dir":"Close Long","liquidation":{"liquidatedUser":"0xab00000000000000000000000000000000000001"}"#;
        let theirs = r#","dir":"Liquidated Cross Long","liquidation":{"liquidatedUser":"0xcd"}"#;
        assert_eq!(kind(ours), EventType::Liquidation);
        assert_eq!(kind(theirs), EventType::Trade);
        assert_eq!(kind(r#","dir":"Auto-Deleveraging","liquidation":{"liquidatedUser":"0xcd"}"#), EventType::Adl);
    }

    #[test]
    fn a_direction_we_do_not_know_is_unknown_and_a_side_we_do_not_know_is_set_aside() {
        assert_eq!(kind(r#","dir":"Merge Outcome""#), EventType::Unknown);
        assert_eq!(kind(""), EventType::Unknown);
        assert_eq!(kind(r#","dir":"Settlement""#), EventType::SystemClose);
        let body = r#"[{"coin":"BTC","px":"1","sz":"1","side":"C","time":1,"closedPnl":"0","oid":1,"fee":"0"}]"#;
        let parsed = fills(&rows("userFills", body).unwrap(), US, &SpotMarkets::default(), &PriceBook::default());
        assert_eq!(parsed.unreadable.len(), 1);
        assert!(parsed.unreadable[0].reason.contains("unknown side"));
    }

    #[test]
    fn a_fee_in_an_unpriced_token_is_unknown_and_the_rest_is_known() {
        let event = parsed(r#","dir":"Buy","feeToken":"WHAT""#);
        // The later of two equal fields is a malformed record, so it is set aside and not guessed at.
        assert_eq!(event.unreadable.len(), 1);
        let body = r#"[{"coin":"PURR/USDC","px":"2","sz":"3","side":"B","time":1,"dir":"Buy","closedPnl":"0","oid":1,"fee":"0.5","feeToken":"PURR","tid":9}]"#;
        let page = rows("userFills", body).unwrap();
        let event = &fills(&page, US, &SpotMarkets::default(), &PriceBook::default()).records[0].event;
        assert!(event.unpriced && event.fee_usd.is_none() && event.net_pnl_impact_usd().is_none());
        assert_eq!(event.notional_usd.unwrap().to_string(), "6");
        assert_eq!(own_prices(&page, &SpotMarkets::default())[0].0, "PURR");
    }

    #[test]
    fn a_spot_coin_that_is_not_listed_is_not_taken_for_dollars() {
        let body = r#"[{"coin":"@9","px":"2","sz":"3","side":"B","time":1,"dir":"Buy","closedPnl":"0","oid":1,"fee":"0","tid":9}]"#;
        let page = rows("userFills", body).unwrap();
        let event = &fills(&page, US, &SpotMarkets::default(), &PriceBook::default()).records[0].event;
        assert!(event.unpriced && event.notional_usd.is_none());
        let meta = r#"{"tokens":[{"name":"USDC","index":0},{"name":"X","index":4}],"universe":[{"name":"@9","tokens":[4,0],"index":9}]}"#;
        let event = &fills(&page, US, &SpotMeta::read(meta).unwrap().markets, &PriceBook::default()).records[0].event;
        assert_eq!((event.symbol.as_ref().unwrap().as_str(), event.unpriced), ("X-USDC", false));
    }
}
