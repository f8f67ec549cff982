//! Our spelling of assets and markets, the same for every venue.
//!
//! Linear perpetual `BASE-PERP`, inverse perpetual `BASE-PERP-USD`, dated future
//! `BASE-<venue expiry>`, spot `BASE-QUOTE`. Multiplier names stay (`kPEPE-PERP`): their size is in
//! that unit. A Hyperliquid builder market keeps its dex: `flx:CRCL-PERP`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::clean;

/// An asset code in our spelling: XBT is BTC, XDG is DOGE.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Asset(String);

impl Asset {
    pub fn new(code: &str) -> Self {
        Self(match code {
            "XBT" => "BTC".into(),
            "XDG" => "DOGE".into(),
            other => clean(other, 64),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A market in our spelling, at most 128 characters, never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Symbol(String);

impl Symbol {
    /// `None` when nothing printable is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = clean(text, 128);
        (!text.is_empty()).then_some(Self(text))
    }

    pub fn linear_perp(base: &str) -> Option<Self> {
        Self::new(&format!("{}-PERP", Asset::new(base)))
    }

    pub fn inverse_perp(base: &str) -> Option<Self> {
        Self::new(&format!("{}-PERP-USD", Asset::new(base)))
    }

    pub fn dated(base: &str, expiry: &str) -> Option<Self> {
        Self::new(&format!("{}-{expiry}", Asset::new(base)))
    }

    pub fn spot(base: &str, quote: &str) -> Option<Self> {
        Self::new(&format!("{}-{}", Asset::new(base), Asset::new(quote)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
