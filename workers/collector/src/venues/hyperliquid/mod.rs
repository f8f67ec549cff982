//! Hyperliquid: a wallet's address, no key, and one endpoint that only reads. To ask for another
//! type, list it in [`READS`].

pub mod case;
pub mod parse;
pub mod state;
pub mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Snapshot, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::parse::{FILLS, FUNDING, NAV, SpotMarkets};
use self::state::{Account, UserRole};
use self::streams::HistoryCursor;
use super::binance::runs;
use super::paging::{cursor, times};
use super::wire::{Dec, Millis, read, rows};
use super::{Attestation, Page, Parsed, StreamPlan, VenueAccount, Venues};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PEGGED, PriceBook, Prices, needs};

/// Every type of request that is ever sent: reads, all of them. The rest is refused.
pub const READS: &[&str] = &[
    "userRole",
    "clearinghouseState",
    "spotClearinghouseState",
    "userFillsByTime",
    "userFunding",
    "portfolio",
    "userVaultEquities",
    "allMids",
    "spotMeta",
    "candleSnapshot",
];

/// Weight per minute that the venue grants an address, all accounts together.
const BUDGET: u32 = 1200;
const FACTS_EVERY: Duration = Duration::from_secs(3600);
const ROLE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Candles that the venue keeps of an interval, and the most in one reply.
const CANDLES_LIMIT: i64 = 5000;

/// The venue answers too many requests with nothing at all.
pub fn too_many_requests() -> VenueError {
    VenueError::retry("too many requests")
}

/// The body of a listed request, and what it costs before its rows are counted.
fn request(kind: &str, mut fields: Value) -> Result<(String, u32), VenueError> {
    if !READS.contains(&kind) {
        return Err(VenueError::NotListed { endpoint: format!("POST /info {}", codash_domain::text::clean(kind, 64)) });
    }
    fields["type"] = kind.into();
    let weight = match kind {
        "clearinghouseState" | "spotClearinghouseState" | "allMids" => 2,
        "userRole" => 60,
        _ => 20,
    };
    Ok((fields.to_string(), weight))
}

/// An account at Hyperliquid.
pub struct Hyperliquid {
    venues: Venues,
    address: String,
}

impl Hyperliquid {
    /// An account of one address. Nothing is sent.
    pub fn new(venues: Venues, address: &str) -> Result<Self, VenueError> {
        let address = address.to_ascii_lowercase();
        let digits = address.strip_prefix("0x").unwrap_or_default();
        if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(VenueError::KeyRefused { reason: "an address is 0x and 40 hexadecimal digits".into() });
        }
        Ok(Self { venues, address })
    }

    fn target(&self) -> Target<'_> {
        Target { base: self.venues.endpoints.hyperliquid.trim_end_matches('/'), per_minute: BUDGET }
    }

    async fn info(&self, kind: &str, fields: Value) -> Result<String, VenueError> {
        let (body, weight) = request(kind, fields)?;
        let request = Request { target: self.target(), path: "/info".into(), header: None, body: Some(body), weight };
        let reply = self.venues.http.send(request).await?;
        match reply.status {
            200..=299 if reply.body.trim() == "null" => Err(too_many_requests()),
            200..=299 => Ok(reply.body),
            422 => Err(VenueError::unreadable(kind, "the venue cannot read our request (HTTP 422)")),
            status => Err(VenueError::retry(format!("HTTP {status}"))),
        }
    }

    /// A list about a user; long lists cost more, which only the reply shows.
    async fn list(&self, kind: &str, fields: Value) -> Result<Vec<Box<RawValue>>, VenueError> {
        let rows = rows(kind, &self.info(kind, fields).await?)?;
        self.venues.http.charge(self.target(), u32::try_from(rows.len() / 20).unwrap_or(u32::MAX));
        Ok(rows)
    }

    async fn role(&self) -> Result<UserRole, VenueError> {
        state::user_role(&self.info("userRole", json!({ "user": self.address })).await?)
    }

    /// The address that holds the positions: an agent's is its user's.
    async fn holder(&self) -> Result<String, VenueError> {
        let name = format!("{} holder of {}", self.target().base, self.address);
        if let Some(holder) = self.venues.http.recall::<String>(&name, ROLE_EVERY) {
            return Ok(holder.as_ref().clone());
        }
        let holder = match self.role().await? {
            UserRole::Agent { user } => Self::new(self.venues.clone(), &user)?.address,
            UserRole::Holder(_) | UserRole::Missing => self.address.clone(),
        };
        Ok(self.venues.http.keep(name, holder).as_ref().clone())
    }

    async fn spot_markets(&self) -> Result<Arc<SpotMarkets>, VenueError> {
        let name = format!("{} spotMeta", self.target().base);
        if let Some(markets) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(markets);
        }
        let markets = SpotMarkets::from_meta(&self.info("spotMeta", json!({})).await?)?;
        Ok(self.venues.http.keep(name, markets))
    }

    async fn fills(&self, stored: &Value) -> Result<Page, VenueError> {
        let user = self.holder().await?;
        let spot = self.spot_markets().await?;
        let now = self.venues.clock.now().millis();
        let at = cursor(stored, HistoryCursor::start)?;
        let window = at.time.window(i64::MAX, now);
        let asked = json!({ "user": user, "startTime": window.from, "endTime": window.to });
        let rows = self.list("userFillsByTime", asked).await?;
        let parsed = self.priced_fills(&rows, &user, &spot).await?;
        let mut page = Page { parsed, ..Page::default() };
        streams::after(&mut page, &at, window, now, &times(&rows), (streams::FILLS_LIMIT, false))?;
        Ok(page)
    }

    async fn priced_fills(&self, rows: &[Box<RawValue>], user: &str, spot: &SpotMarkets) -> Result<Parsed, VenueError> {
        let parse = |prices: &dyn Prices| parse::fills(rows, user, spot, prices);
        let mut book = self.minute_prices(needs(parse), spot).await?;
        for (token, at, price) in parse::own_prices(rows, spot) {
            if book.usd(&token, at).is_none() {
                book.insert(&token, at, price);
            }
        }
        Ok(parse(&book))
    }

    async fn funding(&self, stored: &Value) -> Result<Page, VenueError> {
        let user = self.holder().await?;
        let now = self.venues.clock.now().millis();
        let at = cursor(stored, HistoryCursor::start)?;
        let window = at.time.window(i64::MAX, now);
        let asked = json!({ "user": user, "startTime": window.from, "endTime": window.to });
        let rows = self.list("userFunding", asked).await?;
        let parsed: Parsed = parse::funding(&rows, &PriceBook::default());
        let mut page = Page { parsed, ..Page::default() };
        streams::after(&mut page, &at, window, now, &times(&rows), (streams::FUNDING_LIMIT, true))?;
        Ok(page)
    }

    /// Equity at past instants, as the venue states it.
    async fn nav(&self) -> Result<Page, VenueError> {
        let user = self.holder().await?;
        let now = self.venues.clock.now();
        let nav_points = state::nav_history(&self.info("portfolio", json!({ "user": user })).await?)?;
        Ok(Page { nav_points, cursor: json!({ "readAt": now.millis() }), ..Page::default() })
    }

    /// The venue's own minute closes. It keeps few, so a token's newest minutes are asked for first
    /// and older ones only as long as there are answers.
    async fn minute_prices(&self, needs: BTreeSet<Need>, spot: &SpotMarkets) -> Result<PriceBook, VenueError> {
        let shared = self.venues.http.minute_prices(self.target().base);
        let mut book = PriceBook::default();
        let mut asked: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for (token, minute) in needs {
            match shared.lock().unwrap_or_else(PoisonError::into_inner).usd(&token, minute) {
                Some(price) => book.insert(&token, minute, price),
                None => asked.entry(token).or_default().push(minute),
            }
        }
        let over = self.venues.clock.now().minus(chrono::TimeDelta::minutes(1));
        for (token, minutes) in asked {
            // Asked about a coin that it does not have, the venue fails rather than answers.
            let market = spot.priced_by(&token).find(|(_, quote)| PEGGED.contains(quote));
            let Some((coin, _)) = market else { continue };
            for (start, count) in runs(&minutes, CANDLES_LIMIT).into_iter().rev() {
                let closes = self.closes(coin, start, count).await?;
                let wanted: Vec<_> = closes.into_iter().filter(|(open, _)| minutes.contains(open)).collect();
                for (minute, price) in &wanted {
                    book.insert(&token, *minute, *price);
                    // The close of a minute that is not over yet will change.
                    if *minute <= over {
                        shared.lock().unwrap_or_else(PoisonError::into_inner).insert(&token, *minute, *price);
                    }
                }
                if wanted.is_empty() {
                    break;
                }
            }
        }
        Ok(book)
    }

    async fn closes(&self, coin: &str, start: Timestamp, count: i64) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        #[derive(Deserialize)]
        struct Candle {
            t: Millis,
            c: Dec,
        }
        let end = start.millis() + count * MINUTE_MILLIS - 1;
        let asked = json!({ "coin": coin, "interval": "1m", "startTime": start.millis(), "endTime": end });
        let body = match self.info("candleSnapshot", json!({ "req": asked })).await {
            Ok(body) => body,
            // The venue has no such market: the token has no price there.
            Err(VenueError::Unreadable { .. }) => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let candles: Vec<Candle> = read("candleSnapshot", &body)?;
        self.venues.http.charge(self.target(), u32::try_from(candles.len() / 60).unwrap_or(u32::MAX));
        Ok(candles.into_iter().map(|candle| (candle.t.0, candle.c.0)).collect())
    }

    async fn read_snapshot(&self) -> Result<Snapshot, VenueError> {
        let user = json!({ "user": self.holder().await? });
        let markets = self.spot_markets().await?;
        let now = self.venues.clock.now();
        let perp = self.info("clearinghouseState", user.clone()).await?;
        let spot = self.info("spotClearinghouseState", user.clone()).await?;
        let vaults = self.info("userVaultEquities", user).await?;
        let mids = state::mids(&self.info("allMids", json!({})).await?)?;
        let prices = state::token_prices(&mids, &markets);
        let account = Account {
            perps: vec![read("clearinghouseState", &perp)?],
            spot: read("spotClearinghouseState", &spot)?,
            abstraction: state::abstraction(&perp).or_else(|| state::abstraction(&spot)),
        };
        let mut holdings = account.holdings(&prices, now);
        state::add_vaults(&mut holdings, &vaults)?;
        holdings.into_snapshot("the balances", now, &prices)
    }
}

#[async_trait]
impl VenueAccount for Hyperliquid {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        Ok(match self.role().await? {
            UserRole::Holder(_) | UserRole::Agent { .. } => Attestation::Keyless,
            UserRole::Missing => {
                Attestation::NotAnAccount { reason: "Hyperliquid has never seen an account at this address".into() }
            }
        })
    }

    fn initial_streams(&self) -> Vec<&'static str> {
        vec![FILLS, FUNDING, NAV]
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let (order, minutes) = match stream {
            FILLS => (0, 1),
            FUNDING => (1, 10),
            NAV => (2, 24 * 60),
            _ => return None,
        };
        // Only the newest 10000 fills exist; how far back they reach shows in the coverage.
        Some(StreamPlan { stream: stream.into(), order, horizon: None, every: Duration::from_secs(minutes * 60) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match stream {
            FILLS => self.fills(cursor).await,
            FUNDING => self.funding(cursor).await,
            NAV => self.nav().await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            FILLS => self.priced_fills(records, &self.holder().await?, &*self.spot_markets().await?).await,
            FUNDING => Ok(parse::funding(records, &PriceBook::default())),
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        Ok((self.read_snapshot().await?, vec![]))
    }
}

#[cfg(test)]
mod tests;
