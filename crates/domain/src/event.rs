//! The canonical event: what every venue's record of money becomes.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{AccountId, EventId};
use crate::instrument::{Asset, Symbol};
use crate::money::{Price, Qty, Usd};
use crate::pnl;
use crate::time::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum EventType {
    /// A fill. Carries notional, fee and, where the venue reports it on the fill, realized PnL.
    Trade,
    /// Realized PnL that the venue reports apart from any fill.
    ClosedPnl,
    /// A funding or margin-financing payment.
    Funding,
    /// A close forced by the venue because margin ran out.
    Liquidation,
    /// A profitable position closed by the venue to cover another's liquidation.
    Adl,
    /// A close by delivery, settlement, delisting or dust conversion.
    SystemClose,
    /// A record of money whose meaning we do not know. Kept, counted, never dropped.
    Unknown,
}

impl EventType {
    pub const ALL: [Self; 7] =
        [Self::Trade, Self::ClosedPnl, Self::Funding, Self::Liquidation, Self::Adl, Self::SystemClose, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::ClosedPnl => "closed_pnl",
            Self::Funding => "funding",
            Self::Liquidation => "liquidation",
            Self::Adl => "adl",
            Self::SystemClose => "system_close",
            Self::Unknown => "unknown",
        }
    }

    /// Liquidation, ADL and system close: what `forcedCloseCount` counts.
    pub fn is_forced_close(self) -> bool {
        matches!(self, Self::Liquidation | Self::Adl | Self::SystemClose)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event type is called {0:?}")]
pub struct NotEventType(pub String);

impl FromStr for EventType {
    type Err = NotEventType;
    fn from_str(s: &str) -> Result<Self, NotEventType> {
        Self::ALL.into_iter().find(|t| t.as_str() == s).ok_or_else(|| NotEventType(s.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "buy" => Some(Self::Buy),
            "sell" => Some(Self::Sell),
            _ => None,
        }
    }
}

/// A fee as the venue charged it: positive when paid, negative when a rebate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fee {
    pub amount: Decimal,
    pub asset: Asset,
}

/// One record of money, in canonical form. The account and the event's id are not in it: a parser
/// knows neither, see [`Event::id`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The venue's stream that the record came from, such as `usdm.fills`. Part of the id.
    pub stream: &'static str,
    /// Idempotency key: venue, market and the venue's own id, such as `binance:usdm:BTCUSDT:272536245`.
    pub native_id: String,
    pub event_type: EventType,
    /// `None` when the record belongs to no market (a rebate, say).
    pub symbol: Option<Symbol>,
    /// The market as the venue spells it.
    pub native_symbol: Option<String>,
    pub occurred_at: Timestamp,
    pub side: Option<Side>,
    /// Base units, positive.
    pub qty: Option<Qty>,
    pub price: Option<Price>,
    /// Positive. `None` where the record has no size, or could not be priced (see `unpriced`).
    pub notional_usd: Option<Usd>,
    /// Gross of fees; zero where the venue reports none. `None` only when it could not be priced.
    pub realized_pnl_usd: Option<Usd>,
    /// Positive when paid. `None` only when it could not be priced.
    pub fee_usd: Option<Usd>,
    /// Positive when received. `None` only when it could not be priced.
    pub funding_usd: Option<Usd>,
    /// The fee as charged, when it was charged in an asset.
    pub fee: Option<Fee>,
    /// True when any amount above is unknown for want of a price.
    pub unpriced: bool,
    /// The venue's order that a fill belongs to, market included: what forced orders are matched by.
    pub order_ref: Option<String>,
    /// The venue's record as received, JSON text.
    pub raw: String,
}

impl Event {
    pub fn id(&self, account: AccountId) -> EventId {
        EventId::derive(account, self.stream, &self.native_id, self.occurred_at)
    }

    /// `realized + funding − fee`, or `None` when a part is unknown.
    pub fn net_pnl_impact_usd(&self) -> Option<Usd> {
        Some(pnl::net(self.realized_pnl_usd?, self.funding_usd?, self.fee_usd?))
    }

    /// A digest of what the **venue** states (our conversions and classes left out): a second
    /// reading with another digest is a restatement by the venue.
    pub fn venue_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut field = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        field(self.stream);
        field(&self.native_id);
        field(&self.occurred_at.to_string());
        field(self.native_symbol.as_deref().unwrap_or_default());
        field(self.side.map_or("", Side::as_str));
        for number in [self.qty.map(|q| q.0), self.price.map(|p| p.0), self.fee.as_ref().map(|f| f.amount)] {
            field(&number.map(|n| n.normalize().to_string()).unwrap_or_default());
        }
        field(self.fee.as_ref().map_or("", |f| f.asset.as_str()));
        // Amounts that a venue states in dollars carry no conversion that could vary.
        for amount in [self.realized_pnl_usd, self.funding_usd] {
            field(&amount.map(|a| a.to_string()).unwrap_or_default());
        }
        hash.finalize().into()
    }
}
