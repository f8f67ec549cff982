//! Exposure of derivative and margin positions. Spot holdings count in NAV, not here.

use crate::money::Usd;
use crate::snapshot::Position;

/// Absolute notional at the venue's mark: `gross = long + short`, `net = long − short`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    pub long_usd: Usd,
    pub short_usd: Usd,
    /// Unrealized PnL of the positions.
    pub futures_upnl_usd: Usd,
}

impl Exposure {
    pub fn of(positions: &[Position]) -> Self {
        positions.iter().fold(Self::default(), |sum, p| {
            let notional = p.notional_usd.abs();
            let upnl = sum.futures_upnl_usd + p.unrealized_pnl_usd;
            if p.qty.0.is_sign_negative() {
                Self { short_usd: sum.short_usd + notional, futures_upnl_usd: upnl, ..sum }
            } else {
                Self { long_usd: sum.long_usd + notional, futures_upnl_usd: upnl, ..sum }
            }
        })
    }

    pub fn gross_usd(self) -> Usd {
        self.long_usd + self.short_usd
    }

    pub fn net_usd(self) -> Usd {
        self.long_usd - self.short_usd
    }
}
