//! Venues and the states of an account, in the words that tables and answers use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An exchange that accounts can be attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Venue {
    Binance,
    Hyperliquid,
}

impl Venue {
    pub const ALL: [Self; 2] = [Self::Binance, Self::Hyperliquid];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Hyperliquid => "hyperliquid",
        }
    }

    /// What of an account there is not read, in words for the user: no total holds it.
    pub fn not_covered(self) -> &'static [&'static str] {
        match self {
            Self::Binance => &[
                "margin, earn, funding and options wallets, COIN-M futures and sub-accounts",
                "spot markets of assets that are no longer held and were sold before the account was attached",
                "deposits, withdrawals, conversions and dividends",
            ],
            Self::Hyperliquid => &[
                "balances and positions on builder-deployed (HIP-3) exchanges; their fills and funding are read",
                "staked HYPE",
                "sub-accounts: attach each by its own address",
                "deposits, withdrawals and transfers",
                "fills before the newest 10000",
            ],
        }
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no venue we collect from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no venue is called {0:?}; known: binance, hyperliquid")]
pub struct NotVenue(pub String);

impl FromStr for Venue {
    type Err = NotVenue;
    fn from_str(s: &str) -> Result<Self, NotVenue> {
        Self::ALL.into_iter().find(|v| v.as_str() == s).ok_or_else(|| NotVenue(crate::text::clean(s, 64)))
    }
}

/// The stream of equity at past instants, where a venue has one. It brings no events, so their
/// coverage does not depend on it.
pub const NAV_STREAM: &str = "nav";

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
