//! Money that moved without being earned or lost, worth what its asset was worth in its minute.

use codash_domain::{Asset, CashFlow, FlowKind, Timestamp};
use rust_decimal::Decimal;

use crate::pricing::{Exchange, Prices};

/// What every flow has.
pub struct Flow<'a> {
    pub stream: &'static str,
    pub native_id: String,
    pub kind: FlowKind,
    pub at: Timestamp,
    pub wallet: &'static str,
    pub asset: &'a str,
    /// Positive into the wallet.
    pub amount: Decimal,
}

impl Flow<'_> {
    pub fn priced(self, raw: &str, prices: &dyn Prices) -> Result<CashFlow, String> {
        let value_usd = Exchange::new(prices, self.at).stated(self.amount, self.asset)?;
        Ok(CashFlow {
            stream: self.stream,
            native_id: self.native_id,
            kind: self.kind,
            occurred_at: self.at,
            wallet: self.wallet,
            asset: Asset::new(self.asset),
            amount: self.amount,
            value_usd,
            raw: raw.into(),
        })
    }
}
