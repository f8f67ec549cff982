//! The venues: one file (or one folder of the same shape) each, and the registry.
//!
//! A venue mirrors the wire in structs, parses purely, signs only listed read endpoints, and says
//! what it can and cannot give. To add one: write `venues/<name>.rs`, add it to [`connect`] and
//! [`crate::parse_case`], and put its recorded responses under `fixtures/<name>/`.

pub mod binance;
pub mod holdings;
pub mod hyperliquid;
#[cfg(test)]
pub mod mock;
pub mod paging;
pub mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use codash_domain::{Clock, Event, Snapshot, Timestamp, Usd, Venue};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::VenueError;

/// What a record counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Carries its own money.
    Primary,
    /// Says what kind of event the fills with this [`Event::order_ref`] are; carries no money.
    Classifier,
    /// Money that another record states too: an event only when the fill with this native id (in
    /// this stream) is not to be had.
    UnlessFill { stream: &'static str, native_id: String },
}

impl Role {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Classifier => "classifier",
            Self::UnlessFill { .. } => "only if the fill with this tradeId is missing",
        }
    }
}

/// One record that a parser understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub event: Event,
    pub role: Role,
}

/// One record that a parser could not understand: kept with its reason, never skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: String,
    /// The record as received.
    pub raw: String,
}

/// What a page of records became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    pub records: Vec<Record>,
    pub unreadable: Vec<Unreadable>,
}

/// One page of one stream, read from a cursor: what is committed together.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub parsed: Parsed,
    /// Where the next page starts. Opaque to everyone but the venue; stored as JSON.
    pub cursor: Value,
    /// The span (inclusive) that this page completes, when it does.
    pub covered: Option<(Timestamp, Timestamp)>,
    /// True when another page is waiting now; false when the stream has been read up to the present.
    pub more: bool,
    /// Streams that this page revealed (a symbol never seen before).
    pub new_streams: Vec<String>,
    /// Equity that the venue states for past instants.
    pub nav_points: Vec<(Timestamp, Usd)>,
}

/// A stream of records that an account has, as cursors and coverage name it: `usdm.income`,
/// `usdm.fills:BTCUSDT`. Events carry the part before the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlan {
    pub stream: String,
    /// Lower is read first in a pass: classifiers, then what reveals symbols, then fills.
    pub order: u8,
    /// The venue keeps nothing older than this, and why, in words for the user.
    pub horizon: Option<(Timestamp, &'static str)>,
    /// Pause between two reads of a stream that is up to date.
    pub every: std::time::Duration,
}

/// What the venue says about the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// The venue confirms that the key can only read.
    ReadOnly,
    /// Nothing here can trade by its nature: an address.
    Keyless,
    /// Refused: these rights must be removed first, in the venue's own words.
    TooPowerful { rights: Vec<String> },
    /// The address or key does not belong to an account that holds positions; the reason.
    NotAnAccount { reason: String },
}

/// What an account is opened with. `Debug` shows nothing of the secrets.
#[derive(Clone)]
pub enum Credentials {
    ApiKey {
        key: String,
        secret: secrecy::SecretString,
    },
    /// Lower case, `0x` and 40 hex digits.
    Wallet {
        address: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApiKey { .. } => "ApiKey(…)",
            Self::Wallet { .. } => "Wallet(…)",
        })
    }
}

/// A connected account at one venue. Everything is a read.
#[async_trait]
pub trait VenueAccount: Send + Sync {
    /// What may this key do? Read from the venue, on attach and every 24 hours.
    async fn attest(&self) -> Result<Attestation, VenueError>;

    /// The streams that every account of this venue has from the start.
    fn initial_streams(&self) -> Vec<&'static str>;

    /// How a stream is read. `None` when this venue has no such stream.
    fn plan(&self, stream: &str) -> Option<StreamPlan>;

    /// Reads one page. `cursor` is `Value::Null` the first time, else the last page's `cursor`.
    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError>;

    /// Parses stored records of a stream again, with prices that may be known by now. `stream` is the
    /// one that events carry, without a market.
    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError>;

    /// Balances, positions and NAV now, and streams that the balances reveal.
    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError>;
}

/// Base URLs: the operator's setting, never a tenant's.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub binance_spot: String,
    pub binance_usdm: String,
    pub hyperliquid: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            binance_spot: "https://api.binance.com".into(),
            binance_usdm: "https://fapi.binance.com".into(),
            hyperliquid: "https://api.hyperliquid.xyz".into(),
        }
    }
}

/// What every venue shares: the outbound client, the endpoints, the clock.
#[derive(Debug, Clone)]
pub struct Venues {
    pub http: crate::http::Http,
    pub endpoints: Endpoints,
    pub clock: Arc<dyn Clock>,
}

/// Opens an account. Nothing is sent: a wrong key shows itself at the first read.
pub fn connect(venues: &Venues, venue: Venue, credentials: Credentials) -> Result<Arc<dyn VenueAccount>, VenueError> {
    match (venue, credentials) {
        (Venue::Binance, Credentials::ApiKey { key, secret }) => {
            Ok(Arc::new(binance::Binance::new(venues.clone(), key, secret)?))
        }
        (Venue::Hyperliquid, Credentials::Wallet { address }) => {
            Ok(Arc::new(hyperliquid::Hyperliquid::new(venues.clone(), &address)?))
        }
        (Venue::Binance, Credentials::Wallet { .. }) => {
            Err(VenueError::KeyRefused { reason: "binance needs an API key and its secret, not an address".into() })
        }
        (Venue::Hyperliquid, Credentials::ApiKey { .. }) => {
            Err(VenueError::KeyRefused { reason: "hyperliquid needs the address of the account, and no key".into() })
        }
    }
}
