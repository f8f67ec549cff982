//! Sending: one endpoint, listed types only, and the facts that are asked for seldom.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::parse::{DOLLAR, SpotMarkets, SpotMeta};
use super::roles::{self, UserRole};
use super::{HOST, READS, state};
use crate::error::VenueError;
use crate::http::{Body, Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PEGGED, PriceBook};
use crate::venues::Venues;
use crate::venues::closes::{self, Closes};
use crate::venues::reads::Listed;
use crate::venues::wire::{Dec, Millis, read, rows};

const FACTS_EVERY: Duration = Duration::from_secs(3600);
const ROLE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Wallets that are joined never come apart again; the others may be joined any time.
const MODE_EVERY: Duration = Duration::from_secs(600);
/// Candles that the venue keeps of an interval, and the most in one reply.
const CANDLES_LIMIT: i64 = 5000;

/// The venue answers too many requests with nothing at all.
pub fn too_many_requests() -> VenueError {
    VenueError::retry("too many requests")
}

/// The body of a listed request, and what it costs before its rows are counted.
pub fn request(kind: &str, mut fields: Value) -> Result<(String, u32), VenueError> {
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
    pub(super) venues: Venues,
    pub(super) address: String,
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

    pub(super) fn target(&self) -> Target<'_> {
        HOST.target(&self.venues.endpoints)
    }

    /// Names a kept fact.
    fn fact(&self, what: &str) -> String {
        format!("{} {what}", self.target().base)
    }

    /// A reply that is something: `null` is what too many requests are answered with.
    pub(super) async fn info(&self, kind: &str, fields: Value) -> Result<String, VenueError> {
        let body = self.info_or_null(kind, fields).await?;
        if body.trim() == "null" { Err(too_many_requests()) } else { Ok(body) }
    }

    /// A reply for which `null` has a meaning of its own.
    pub(super) async fn info_or_null(&self, kind: &str, fields: Value) -> Result<String, VenueError> {
        let (body, weight) = request(kind, fields)?;
        let (target, body) = (self.target(), Some(Body::Json(body)));
        let request = Request { target, path: "/info".into(), headers: vec![], body, weight, own_meter: None };
        let reply = self.venues.http.send(request).await?;
        match reply.status {
            200..=299 => Ok(reply.body),
            422 => Err(VenueError::unreadable(kind, "the venue cannot read our request (HTTP 422)")),
            status => Err(VenueError::retry(format!("HTTP {status}"))),
        }
    }

    /// A list about a user; long lists cost more, which only the reply shows.
    pub(super) async fn list(
        &self,
        kind: &str,
        fields: Value,
        rows_a_weight: usize,
    ) -> Result<Vec<Box<RawValue>>, VenueError> {
        let rows = rows(kind, &self.info(kind, fields).await?)?;
        let weight = u32::try_from(rows.len() / rows_a_weight.max(1)).unwrap_or(u32::MAX);
        self.venues.http.charge(self.target(), weight).await;
        Ok(rows)
    }

    pub(super) async fn role(&self) -> Result<UserRole, VenueError> {
        roles::user_role(&self.info("userRole", json!({ "user": self.address })).await?)
    }

    /// The address that holds the positions: an agent's is its user's.
    pub(super) async fn holder(&self) -> Result<String, VenueError> {
        let name = self.fact(&format!("holder of {}", self.address));
        if let Some(holder) = self.venues.http.recall::<String>(&name, ROLE_EVERY) {
            return Ok(holder.as_ref().clone());
        }
        let holder = match self.role().await? {
            UserRole::Agent { user } => Self::new(self.venues.clone(), &user)?.address,
            _ => self.address.clone(),
        };
        Ok(self.venues.http.keep(name, holder).as_ref().clone())
    }

    pub(super) async fn spot_meta(&self) -> Result<Arc<SpotMeta>, VenueError> {
        let name = self.fact("spotMeta");
        if let Some(meta) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(meta);
        }
        let meta = SpotMeta::read(&self.info("spotMeta", json!({})).await?)?;
        Ok(self.venues.http.keep(name, meta))
    }

    /// The names of the builder-deployed exchanges.
    async fn perp_dexs(&self) -> Result<Arc<Vec<String>>, VenueError> {
        let name = self.fact("perpDexs");
        if let Some(dexes) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(dexes);
        }
        let dexes = roles::perp_dexs(&self.info("perpDexs", json!({})).await?)?;
        Ok(self.venues.http.keep(name, dexes))
    }

    /// The token that an exchange counts in; `None` when the venue does not say.
    pub(super) async fn collateral(&self, dex: &str) -> Result<Option<String>, VenueError> {
        if dex.is_empty() {
            return Ok(Some(DOLLAR.into()));
        }
        let name = self.fact(&format!("collateral of {dex}"));
        if let Some(token) = self.venues.http.recall::<Option<String>>(&name, FACTS_EVERY) {
            return Ok(token.as_ref().clone());
        }
        let index = state::collateral(&self.info("meta", json!({ "dex": dex })).await?)?;
        let meta = self.spot_meta().await?;
        let token = index.and_then(|index| meta.tokens.get(&index).cloned());
        Ok(self.venues.http.keep(name, token).as_ref().clone())
    }

    /// How the wallets of a user are joined, where the venue says it.
    pub(super) async fn abstraction(&self, user: &str) -> Result<Option<String>, VenueError> {
        let name = self.fact(&format!("abstraction of {user}"));
        if let Some(mode) = self.venues.http.recall::<Option<String>>(&name, MODE_EVERY) {
            return Ok(mode.as_ref().clone());
        }
        let mode = roles::abstraction(&self.info_or_null("userAbstraction", json!({ "user": user })).await?)?;
        Ok(self.venues.http.keep(name, mode).as_ref().clone())
    }

    /// What a user has staked. Nothing is staked or taken back without the spot balance changing, so
    /// that while it stands still only the rewards are behind, by ten minutes at most.
    pub(super) async fn staked(&self, user: &str, beside: Option<Decimal>) -> Result<Decimal, VenueError> {
        let name = self.fact(&format!("staked of {user}"));
        match self.venues.http.recall::<(Option<Decimal>, Decimal)>(&name, MODE_EVERY) {
            Some(known) if known.0 == beside => Ok(known.1),
            _ => {
                let staked = state::staked(&self.info("delegatorSummary", json!({ "user": user })).await?)?;
                self.venues.http.keep(name, (beside, staked));
                Ok(staked)
            }
        }
    }

    /// The builder-deployed exchanges where a user is known to hold something, as long as we run.
    fn known_dexes(&self, user: &str) -> Arc<Mutex<BTreeSet<String>>> {
        let name = self.fact(&format!("exchanges of {user}"));
        self.venues.http.recall(&name, Duration::MAX).unwrap_or_else(|| self.venues.http.keep(name, Mutex::default()))
    }

    /// Remembers exchanges that records name.
    pub(super) fn learn_dexes(&self, user: &str, dexes: impl Iterator<Item = String>) {
        let named = dexes.filter(|dex| !dex.is_empty() && dex != super::ledger::SPOT);
        self.known_dexes(user).lock().unwrap_or_else(PoisonError::into_inner).extend(named);
    }

    /// The builder-deployed exchanges to ask, and whether they are all there are: once an hour.
    pub(super) async fn dexes_to_ask(&self, user: &str) -> Result<(BTreeSet<String>, bool), VenueError> {
        let mut dexes = self.known_dexes(user).lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.venues.http.recall::<()>(&self.fact(&format!("sweep of {user}")), FACTS_EVERY).is_none();
        if all {
            dexes.extend(self.perp_dexs().await?.iter().cloned());
        }
        Ok((dexes, all))
    }

    /// All exchanges were asked: only these hold something.
    pub(super) fn swept_dexes(&self, user: &str, held: BTreeSet<String>) {
        *self.known_dexes(user).lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.venues.http.keep(self.fact(&format!("sweep of {user}")), ());
    }

    /// The venue's own minute closes.
    pub(super) async fn minute_prices(
        &self,
        needs: BTreeSet<Need>,
        spot: &SpotMarkets,
    ) -> Result<PriceBook, VenueError> {
        let (base, now) = (self.target().base, self.venues.clock.now());
        closes::minute_prices(&self.venues, base, now, needs, &Tokens { venue: self, spot }).await
    }

    async fn closes(&self, coin: &str, start: Timestamp, count: i64) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let end = start.millis() + count * MINUTE_MILLIS - 1;
        let asked = json!({ "coin": coin, "interval": "1m", "startTime": start.millis(), "endTime": end });
        let body = match self.info("candleSnapshot", json!({ "req": asked })).await {
            Ok(body) => body,
            // The venue has no such market: the token has no price there.
            Err(VenueError::Unreadable { .. }) => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let candles = candles(&body)?;
        self.venues.http.charge(self.target(), u32::try_from(candles.len() / 60).unwrap_or(u32::MAX)).await;
        Ok(candles)
    }
}

/// candleSnapshot: when each candle opens, and its close.
pub fn candles(body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    struct Candle {
        t: Millis,
        c: Dec,
    }
    let candles: Vec<Candle> = read("candleSnapshot", body)?;
    Ok(candles.into_iter().map(|candle| (candle.t.0, candle.c.0)).collect())
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
