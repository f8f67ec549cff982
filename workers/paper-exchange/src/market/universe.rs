//! What is traded: the coins, their markets, contracts, ticks and steps. The same for every seed.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::calendar::QuarterEnd;
use super::coins::Coin;
use super::fixed::UNITS;
use crate::model::{Contract, ContractKind, Millis, SpotId, SpotMarket, Universe, UsdmId};

/// Quarters for which dated contracts are listed, from the origin: five years.
const QUARTERS: i64 = 20;

/// What the prices of a market or contract are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Position of the coin.
    pub coin: usize,
    /// Price at log zero, in units.
    pub start: u64,
    /// Ticks are 10^-scale.
    pub scale: u32,
    /// Steps of size are 10^-scale.
    pub step_scale: u32,
    pub quote: Quote,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    Usdt,
    Usdc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Spot,
    Perpetual,
    Dated { delivery: Millis },
}

impl Quote {
    fn name(self) -> &'static str {
        match self {
            Self::Usdt => "USDT",
            Self::Usdc => "USDC",
        }
    }
}

/// The universe, how its prices are made, and where a symbol is in it.
#[derive(Debug, Default)]
pub struct Listings {
    pub universe: Universe,
    pub spot: Vec<Listing>,
    pub usdm: Vec<Listing>,
    pub spot_ids: BTreeMap<String, SpotId>,
    pub usdm_ids: BTreeMap<String, UsdmId>,
}

impl Listings {
    /// USDT markets and perpetuals in the order of the coins, then those in USDC, then the dated contracts by
    /// coin and delivery.
    pub fn new(coins: &[Coin], origin: Millis) -> Self {
        let mut all = Self::default();
        for (i, coin) in coins.iter().enumerate() {
            all.add_spot(i, coin, Quote::Usdt);
            all.add_contract(i, coin, Quote::Usdt, None);
        }
        for (i, coin) in coins.iter().enumerate().take(2) {
            all.add_spot(i, coin, Quote::Usdc);
            all.add_contract(i, coin, Quote::Usdc, None);
        }
        let first = QuarterEnd::after(origin);
        for (i, coin) in coins.iter().enumerate().take(2) {
            for quarter in 0..QUARTERS {
                all.add_contract(i, coin, Quote::Usdt, Some(first.plus(quarter)));
            }
        }
        all
    }

    fn add_spot(&mut self, i: usize, coin: &Coin, quote: Quote) {
        let symbol = format!("{}{}", coin.name, quote.name());
        let step_scale = step_scale(coin.start);
        self.spot_ids.insert(symbol.clone(), SpotId(self.spot.len()));
        self.universe.spot.push(SpotMarket {
            symbol,
            base: coin.name.clone(),
            quote: quote.name().into(),
            tick: Decimal::new(1, coin.spot_scale),
            step: Decimal::new(1, step_scale),
            min_notional: Decimal::from(5),
        });
        let scale = coin.spot_scale;
        self.spot.push(Listing { coin: i, start: coin.start, scale, step_scale, quote, kind: Kind::Spot });
    }

    fn add_contract(&mut self, i: usize, coin: &Coin, quote: Quote, until: Option<QuarterEnd>) {
        let base = if coin.multiple == 1 { coin.name.clone() } else { format!("{}{}", coin.multiple, coin.name) };
        let mut symbol = format!("{base}{}", quote.name());
        let (mut kind, mut price) = (ContractKind::Perpetual, Kind::Perpetual);
        if let Some(until) = until {
            symbol = format!("{symbol}_{}", until.code());
            // Listed when the contract of two quarters before is delivered.
            kind = ContractKind::Dated { onboard: until.plus(-2).at, delivery: until.at };
            price = Kind::Dated { delivery: until.at };
        }
        let start = coin.start * coin.multiple;
        // Contracts trade in coarser sizes than spot.
        let step_scale = step_scale(start).saturating_sub(1);
        let (max_leverage, maintenance_rate) = leverage(i);
        self.usdm_ids.insert(symbol.clone(), UsdmId(self.usdm.len()));
        self.universe.usdm.push(Contract {
            symbol,
            base,
            quote: quote.name().into(),
            kind,
            tick: Decimal::new(1, coin.usdm_scale),
            step: Decimal::new(1, step_scale),
            min_notional: Decimal::from(5),
            max_leverage,
            maintenance_rate,
        });
        self.usdm.push(Listing { coin: i, start, scale: coin.usdm_scale, step_scale, quote, kind: price });
    }
}

/// The scale at which a step is worth at most one of the quote; steps are never larger than one.
fn step_scale(start: u64) -> u32 {
    (0..8).find(|scale| start / 10_u64.pow(*scale) <= UNITS).unwrap_or(8)
}

/// Largest leverage and maintenance rate by size: coins are listed from the largest down.
fn leverage(coin: usize) -> (u32, Decimal) {
    match coin {
        0..2 => (125, Decimal::new(4, 3)),
        2..12 => (75, Decimal::new(65, 4)),
        12..40 => (50, Decimal::new(1, 2)),
        _ => (20, Decimal::new(2, 2)),
    }
}
