//! Hyperliquid: a wallet's address, no key, and one endpoint that only reads. To ask for another
//! type, list it in [`READS`].

pub mod case;
pub mod parse;
pub mod state;
pub mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::parse::{FILLS, FUNDING, NAV, SpotMarkets};
use self::state::{Account, UserRole};
use self::streams::HistoryCursor;
use super::closes::Closes;
use super::paging::{cursor, times};
use super::reads::{Listed, Read};
use super::wire::{Dec, Millis, read, rows};
use super::{Attestation, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, closes};
use crate::error::VenueError;
use crate::http::{Body, Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PEGGED, PriceBook, Prices, needs};

/// Everything that is ever sent, by the `type` in the body of `POST /info`: reads, all of them. The
/// rest is refused.
pub const READS: &[Read] = &[
    Read::post("/info/userRole", "whose address it is"),
    Read::post("/info/clearinghouseState", "perpetual balances and positions"),
    Read::post("/info/spotClearinghouseState", "spot balances"),
    Read::post("/info/userFillsByTime", "fills"),
    Read::post("/info/userFunding", "funding"),
    Read::post("/info/portfolio", "equity at past instants"),
    Read::post("/info/userVaultEquities", "deposits in vaults"),
    Read::post("/info/allMids", "prices of now"),
    Read::post("/info/spotMeta", "spot markets"),
    Read::post("/info/candleSnapshot", "prices of past minutes"),
];

static HOST: Host = Host {
    setting: "CODASH_VENUE_HYPERLIQUID_URL",
    usual: "https://api.hyperliquid.xyz",
    budget: 1200,
    per: Duration::from_secs(60),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Hyperliquid,
    title: "Hyperliquid",
    needs: Needs::Address,
    how_to_connect: "Give the address of the account, sub-account or vault. No key is needed, none can leak.",
    attestation: "An address can do nothing.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| {
        Ok(Arc::new(Hyperliquid::new(venues.clone(), &credentials.address("hyperliquid")?)?))
    },
    read_case: case::read,
};

const NOT_COVERED: [&str; 5] = [
    "balances and positions on builder-deployed (HIP-3) exchanges; their fills and funding are read",
    "staked HYPE",
    "sub-accounts: attach each by its own address",
    "deposits, withdrawals and transfers",
    "fills before the newest 10000",
];

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
    Listed::new(READS, "POST", &format!("/info/{kind}"))?;
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
        HOST.target(&self.venues.endpoints)
    }

    async fn info(&self, kind: &str, fields: Value) -> Result<String, VenueError> {
        let (body, weight) = request(kind, fields)?;
        let (target, body) = (self.target(), Some(Body::Json(body)));
        let request = Request { target, path: "/info".into(), headers: vec![], body, weight, own_meter: None };
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
        self.venues.http.charge(self.target(), u32::try_from(rows.len() / 20).unwrap_or(u32::MAX)).await;
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

    /// The venue's own minute closes.
    async fn minute_prices(&self, needs: BTreeSet<Need>, spot: &SpotMarkets) -> Result<PriceBook, VenueError> {
        let (base, now) = (self.target().base, self.venues.clock.now());
        closes::minute_prices(&self.venues.http, base, now, needs, &Tokens { venue: self, spot }).await
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
        self.venues.http.charge(self.target(), u32::try_from(candles.len() / 60).unwrap_or(u32::MAX)).await;
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

/// Spot tokens, priced by their markets against a dollar.
struct Tokens<'a> {
    venue: &'a Hyperliquid,
    spot: &'a SpotMarkets,
}

#[async_trait]
impl Closes for Tokens<'_> {
    /// The venue keeps few closes, so the newest minutes are asked for first and older ones only as
    /// long as there are answers.
    async fn closes(&self, token: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        // Asked about a coin that it does not have, the venue fails rather than answers.
        let market = self.spot.priced_by(token).find(|(_, quote)| PEGGED.contains(quote));
        let Some((coin, _)) = market else { return Ok(vec![]) };
        let mut found = vec![];
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT).into_iter().rev() {
            let closes = self.venue.closes(coin, start, count).await?;
            let is_empty = !closes.iter().any(|(open, _)| minutes.contains(open));
            found.extend(closes);
            if is_empty {
                break;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl VenueAccount for Hyperliquid {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        Ok(match self.role().await? {
            UserRole::Holder(_) | UserRole::Agent { .. } => Attestation::Accepted(Standing {
                assurance: Assurance::Keyless,
                kind: "wallet".into(),
                not_covered: NOT_COVERED.map(Into::into).into(),
                key_expires_at: None,
            }),
            UserRole::Missing => {
                Attestation::NotAnAccount { reason: "Hyperliquid has never seen an account at this address".into() }
            }
        })
    }

    fn initial_streams(&self) -> Vec<String> {
        [FILLS, FUNDING, NAV].map(Into::into).into()
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
