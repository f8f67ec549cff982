//! The venues: one file (or one folder of the same shape) each, and what they share.
//!
//! A venue mirrors the wire in structs, parses purely, signs only listed read endpoints, and says
//! what it can and cannot give. How to add one: `docs/adding-a-venue.md`; the list of them: [`registry`].

pub mod binance;
pub mod bitget;
pub mod bybit;
pub mod clock;
pub mod closes;
pub mod coinbase;
pub mod fault;
pub mod flow;
pub mod gate;
pub mod hmac;
pub mod holdings;
pub mod hyperliquid;
pub mod kraken;
pub mod kucoin;
#[cfg(test)]
pub mod mock;
pub mod okx;
pub mod paging;
pub mod paper;
pub mod reads;
pub mod registry;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{CashFlow, Clock, Event, Snapshot, Standing, Timestamp, Usd};
use secrecy::SecretString;
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::registry::{Definition, Host, Needs, connect, definition};
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
    pub cash_flows: Vec<CashFlow>,
    pub unreadable: Vec<Unreadable>,
}

/// One page of one stream, read from a cursor: what is committed together.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub parsed: Parsed,
    /// Where the next page starts. Opaque to everyone but the venue; stored as JSON.
    pub cursor: Value,
    /// No record of the page is older, where that is known without `covered`.
    pub not_before: Option<Timestamp>,
    /// The venue turned out to tell nothing older, and why.
    pub horizon: Option<(Timestamp, String)>,
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
    pub every: Duration,
}

/// The family of a stream, which events carry, and what it is of (a market, a wallet) where it is of one.
pub fn family(stream: &str) -> (&str, Option<&str>) {
    match stream.split_once(':') {
        Some((family, part)) => (family, Some(part)),
        None => (stream, None),
    }
}

/// What the venue says about the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// The account may be read; how sure it is that nothing else is possible is in the standing.
    Accepted(Standing),
    /// Refused: these rights must be removed first, in the venue's own words.
    TooPowerful { rights: Vec<String> },
    /// The address or key does not belong to an account that holds positions; the reason.
    NotAnAccount { reason: String },
}

impl Attestation {
    /// The refusal of a key that may do more than read; an error for one that may not read enough.
    pub fn refusal(excess: Vec<String>, missing: &[impl AsRef<str>]) -> Result<Option<Self>, VenueError> {
        if !excess.is_empty() {
            return Ok(Some(Self::TooPowerful { rights: excess }));
        }
        if !missing.is_empty() {
            let missing: Vec<&str> = missing.iter().map(AsRef::as_ref).collect();
            return Err(VenueError::PermissionMissing { reason: format!("the key needs {}", missing.join(", ")) });
        }
        Ok(None)
    }
}

/// Rights of a key beyond reading, and rights that reading needs and the key lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    pub excess: Vec<String>,
    pub missing: Vec<String>,
}

impl Rights {
    pub fn is_read_only(&self) -> bool {
        self.excess.is_empty() && self.missing.is_empty()
    }
}

/// What an account is opened with. `Debug` shows nothing of the secrets.
#[derive(Clone)]
pub enum Credentials {
    ApiKey {
        key: String,
        secret: SecretString,
        /// The third secret of venues that have one.
        passphrase: Option<SecretString>,
    },
    /// Lower case, `0x` and 40 hex digits.
    Wallet { address: String },
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
    fn initial_streams(&self) -> Vec<String>;

    /// How a stream is read. `None` when this venue has no such stream.
    fn plan(&self, stream: &str) -> Option<StreamPlan>;

    /// Reads one page. `cursor` is `Value::Null` the first time, else the last page's `cursor`.
    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError>;

    /// A cursor that reads a stream again from an instant on. `None`: it cannot, or need not, be.
    fn again(&self, _stream: &str, _from: Timestamp) -> Option<Value> {
        None
    }

    /// Pause between two second readings of what a stream brought lately, for records that came late or
    /// were restated. The last week is read again once a day.
    fn sweep_every(&self, _stream: &str) -> Duration {
        Duration::from_secs(3600)
    }

    /// Parses stored records of a stream again, with prices that may be known by now. `stream` is the
    /// one that events carry, without a market.
    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError>;

    /// Balances, positions and NAV now, and streams that the balances reveal.
    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError>;
}

/// Base URLs by the name of their setting: the operator's, never a tenant's. What is not set is the
/// venue's own address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<&'static str, String>);

impl Endpoints {
    #[must_use]
    pub fn with(mut self, host: &Host, base: impl Into<String>) -> Self {
        self.0.insert(host.setting, base.into());
        self
    }

    /// The address of a host, without a trailing slash.
    pub fn base(&self, host: &Host) -> &str {
        self.0.get(host.setting).map_or(host.usual, String::as_str).trim_end_matches('/')
    }

    /// Every host of every venue at one address.
    pub fn all_at(base: &str) -> Self {
        let hosts = registry::REGISTRY.iter().flat_map(|venue| venue.hosts);
        hosts.fold(Self::default(), |endpoints, host| endpoints.with(host, base))
    }
}

/// What every venue shares: the outbound client, the endpoints, the clock.
#[derive(Debug, Clone)]
pub struct Venues {
    pub http: crate::http::Http,
    pub endpoints: Endpoints,
    pub clock: Arc<dyn Clock>,
}
