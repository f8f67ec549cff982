//! What one or more replies about balances and positions add up to.

use codash_domain::{Asset, Balance, Position, Snapshot, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Unreadable;
use super::wire::{record, unreadable};
use crate::error::VenueError;
use crate::pricing::{PriceBook, bounded};

/// Balances and positions read so far, and the equity that they make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    pub balances: Vec<Balance>,
    pub positions: Vec<Position>,
    pub nav_usd: Usd,
    /// Assets that are held but left out of the equity for want of a price.
    pub unpriced: Vec<Asset>,
    pub unreadable: Vec<Unreadable>,
}

impl Holdings {
    /// Counts `total` units of an asset. Nothing held is nothing counted.
    pub fn add_balance(
        &mut self,
        wallet: &'static str,
        asset: &str,
        total: Decimal,
        price: Option<Decimal>,
    ) -> Result<(), String> {
        if total.is_zero() {
            return Ok(());
        }
        let value = match price {
            Some(price) => {
                Some(Usd::convert(total, price).and_then(bounded).ok_or("the balance is too large an amount")?)
            }
            None => None,
        };
        match value {
            Some(value) => self.nav_usd = self.nav_usd + value,
            None => self.name_unpriced(asset),
        }
        self.balances.push(Balance { wallet, asset: Asset::new(asset), total, value_usd: value });
        Ok(())
    }

    /// Counts equity that the venue states in dollars itself.
    pub fn add_equity(&mut self, equity: Decimal) -> Result<(), String> {
        let equity = bounded(Usd::new(equity)).ok_or("the equity is too large an amount")?;
        self.nav_usd = self.nav_usd + equity;
        Ok(())
    }

    /// Reads each row into new holdings.
    pub fn of_each<T: DeserializeOwned>(
        rows: &[Box<RawValue>],
        add: impl FnMut(&mut Self, T) -> Result<(), String>,
    ) -> Self {
        let mut holdings = Self::default();
        holdings.add_each(rows, add);
        holdings
    }

    /// Reads each row into the holdings; a row that cannot be read is set aside.
    pub fn add_each<T: DeserializeOwned>(
        &mut self,
        rows: &[Box<RawValue>],
        mut add: impl FnMut(&mut Self, T) -> Result<(), String>,
    ) {
        for raw in rows {
            let outcome = record::<T>(raw).and_then(|row| add(self, row).map_err(|why| unreadable(raw, why)));
            if let Err(bad) = outcome {
                self.unreadable.push(bad);
            }
        }
    }

    /// Adds what another reply says is held.
    pub fn join(&mut self, part: Self) {
        self.nav_usd = self.nav_usd + part.nav_usd;
        self.balances.extend(part.balances);
        self.positions.extend(part.positions);
        self.unreadable.extend(part.unreadable);
        part.unpriced.iter().for_each(|asset| self.name_unpriced(asset.as_str()));
    }

    pub fn name_unpriced(&mut self, asset: &str) {
        let asset = Asset::new(asset);
        if !self.unpriced.contains(&asset) {
            self.unpriced.push(asset);
        }
    }

    /// A snapshot is a statement about everything held: with a row that cannot be read there is none.
    pub fn into_snapshot(
        self,
        endpoint: &str,
        taken_at: Timestamp,
        prices: &PriceBook,
    ) -> Result<Snapshot, VenueError> {
        if let Some(bad) = self.unreadable.first() {
            return Err(VenueError::unreadable(endpoint, &bad.reason));
        }
        let dollars = |asset| prices.usd(asset, taken_at).map(Usd::derived);
        Ok(Snapshot {
            taken_at,
            btc_price_usd: dollars("BTC"),
            eth_price_usd: dollars("ETH"),
            balances: self.balances,
            positions: self.positions,
            nav_usd: self.nav_usd,
            unpriced_assets: self.unpriced,
        })
    }
}
