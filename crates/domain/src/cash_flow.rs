//! Cash flows: money that comes, goes or moves without being earned or lost. Kept apart from events;
//! returns need them.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, EventId};
use crate::instrument::Asset;
use crate::money::Usd;
use crate::time::Timestamp;

/// Why the money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FlowKind {
    /// From outside the venue.
    Deposit,
    /// To outside the venue.
    Withdrawal,
    /// Between wallets or accounts at the venue.
    Transfer,
    /// One asset for another without an order: one flow out, one in.
    Conversion,
    /// The principal of a loan taken (positive) or given back (negative).
    Loan,
}

impl FlowKind {
    pub const ALL: [Self; 5] = [Self::Deposit, Self::Withdrawal, Self::Transfer, Self::Conversion, Self::Loan];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Transfer => "transfer",
            Self::Conversion => "conversion",
            Self::Loan => "loan",
        }
    }
}

impl fmt::Display for FlowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FlowKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| format!("no cash flow is called {s:?}"))
    }
}

/// One movement of one asset in one wallet. A transfer that the venue states on both sides is two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CashFlow {
    /// The venue's stream that the record came from, such as `spot.deposits`. Part of the id.
    pub stream: &'static str,
    /// Idempotency key: venue, wallet and the venue's own id.
    pub native_id: String,
    pub kind: FlowKind,
    pub occurred_at: Timestamp,
    /// The wallet that gained or lost: `spot`, `usdm`, `funding`, ...
    pub wallet: &'static str,
    pub asset: Asset,
    /// Positive into the wallet, negative out of it, the venue's fee included.
    pub amount: Decimal,
    /// `amount` in dollars of that minute; `None` when no price is known.
    pub value_usd: Option<Usd>,
    /// The venue's record as received, JSON text.
    pub raw: String,
}

impl CashFlow {
    pub fn id(&self, account: AccountId) -> EventId {
        EventId::derive(account, self.stream, &self.native_id, self.occurred_at)
    }
}
