//! Venues and the states of an account, in the words that tables and answers use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The list of venues, said once: a line here and one in the collector's registry make a venue.
macro_rules! venues {
    ($($name:ident = $word:literal),* $(,)?) => {
        /// An exchange that accounts can be attached to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[schemars(inline)]
        pub enum Venue {
            $(#[serde(rename = $word)] $name,)*
        }

        impl Venue {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word that tables, routes and answers use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

venues! {
    Binance = "binance",
    Bitget = "bitget",
    Bybit = "bybit",
    Coinbase = "coinbase",
    Gate = "gate",
    Hyperliquid = "hyperliquid",
    Kraken = "kraken",
    KrakenFutures = "kraken_futures",
    Kucoin = "kucoin",
    Okx = "okx",
    // The simulated exchange of `codash paper-exchange`.
    Paper = "paper",
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no venue we collect from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no venue is called {0:?}; known: {known}", known = known())]
pub struct NotVenue(pub String);

fn known() -> String {
    Venue::ALL.iter().map(|venue| venue.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Venue {
    type Err = NotVenue;
    fn from_str(s: &str) -> Result<Self, NotVenue> {
        Self::ALL.iter().copied().find(|v| v.as_str() == s).ok_or_else(|| NotVenue(crate::text::clean(s, 64)))
    }
}

/// How sure it is that the credentials of an account can only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Assurance {
    /// The venue confirms that the key can only read.
    ReadOnly,
    /// There is no key: an address, which can do nothing.
    Keyless,
    /// The venue cannot say what the key may do. We only read with it; make sure that it is read-only.
    Unproven,
}

impl Assurance {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Keyless => "keyless",
            Self::Unproven => "unproven",
        }
    }
}

impl FromStr for Assurance {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        [Self::ReadOnly, Self::Keyless, Self::Unproven]
            .into_iter()
            .find(|v| v.as_str() == s)
            .ok_or_else(|| format!("no assurance is called {s:?}"))
    }
}

/// What the venue said about an account when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub assurance: Assurance,
    /// The venue's kind of account, a word of ours: `wallet`, `vault`, `sub_account`, `unified`, `spot`, ...
    pub kind: String,
    /// What of the account is not read, in words for the user: no total holds it.
    pub not_covered: Vec<String>,
    /// When the key ends at the venue, where it says so.
    pub key_expires_at: Option<Timestamp>,
}

/// The stream of equity at past instants, where a venue has one. It brings no events, so their
/// coverage does not depend on it.
pub const NAV_STREAM: &str = "nav";

/// What the names of streams begin with that bring cash flows and no events: no total of events
/// depends on their coverage.
pub const FLOW_STREAMS: &str = "flows.";

/// How the connection to the venue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AccountStatus {
    /// Attached, not yet read.
    Pending,
    /// Being read; history may still be on its way.
    Connected,
    /// Some records could not be read; the rest is collected.
    Degraded,
    /// The venue refuses the credentials, or the key gained rights it must not have.
    Error,
}

impl AccountStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
            Self::Error => "error",
        }
    }
}

impl FromStr for AccountStatus {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        [Self::Pending, Self::Connected, Self::Degraded, Self::Error]
            .into_iter()
            .find(|v| v.as_str() == s)
            .ok_or_else(|| format!("no account status is called {s:?}"))
    }
}
