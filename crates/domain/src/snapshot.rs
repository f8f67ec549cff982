//! States: what an account holds at an instant.

use rust_decimal::Decimal;

use crate::instrument::{Asset, Symbol};
use crate::money::{Price, Qty, Usd};
use crate::time::Timestamp;

/// Units of one asset in one wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The venue's wallet: `spot`, `usdm`, `perp`, …
    pub wallet: &'static str,
    pub asset: Asset,
    /// Free plus locked; may be negative where the venue lends.
    pub total: Decimal,
    /// `None` when no price is known.
    pub value_usd: Option<Usd>,
}

/// A derivative or margin position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub symbol: Symbol,
    pub native_symbol: String,
    /// Distinguishes the legs of a hedged pair: `both`, `long`, `short`.
    pub leg: &'static str,
    /// Signed: short < 0.
    pub qty: Qty,
    pub entry_price: Option<Price>,
    pub mark_price: Option<Price>,
    /// Positive, at the venue's mark.
    pub notional_usd: Usd,
    pub unrealized_pnl_usd: Usd,
}

/// Everything read of an account in one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub taken_at: Timestamp,
    pub balances: Vec<Balance>,
    pub positions: Vec<Position>,
    /// Equity as the venue states it, unrealized PnL included.
    pub nav_usd: Usd,
    /// Assets left out of `nav_usd` because no price is known.
    pub unpriced_assets: Vec<Asset>,
    pub btc_price_usd: Option<Usd>,
    pub eth_price_usd: Option<Usd>,
}
