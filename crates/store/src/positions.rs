//! Positions as of each account's newest snapshot.

use codash_domain::{AccountId, Price, Qty, Symbol, Timestamp, Usd};
use rust_decimal::Decimal;

use crate::events::account_ids;
use crate::row::Columns;
use crate::{Error, Session};

/// A derivative or margin position.
#[derive(Debug, Clone)]
pub struct StoredPosition {
    pub account: AccountId,
    pub symbol: Option<Symbol>,
    /// `both`, `long`, `short`: the leg of a hedged pair.
    pub leg: String,
    /// Signed: short < 0.
    pub qty: Qty,
    pub entry_price: Option<Price>,
    pub mark_price: Option<Price>,
    /// Positive, at the venue's mark.
    pub notional_usd: Usd,
    pub unrealized_pnl_usd: Usd,
    pub taken_at: Timestamp,
}

impl Session<'_> {
    /// The positions of these accounts, largest notional first.
    pub async fn positions(&mut self, accounts: &[AccountId]) -> Result<Vec<StoredPosition>, Error> {
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT account_id, symbol, leg, qty, entry_price, mark_price, notional_usd, unrealized_pnl_usd, taken_at
             FROM positions WHERE workspace_id = $1 AND account_id = ANY ($2)
             ORDER BY notional_usd DESC, account_id, native_symbol, leg",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredPosition {
                    account: AccountId(row.col("account_id")?),
                    symbol: Symbol::new(row.col("symbol")?),
                    leg: row.col("leg")?,
                    qty: Qty(row.col("qty")?),
                    entry_price: row.col::<Option<Decimal>>("entry_price")?.map(Price),
                    mark_price: row.col::<Option<Decimal>>("mark_price")?.map(Price),
                    notional_usd: row.usd("notional_usd")?,
                    unrealized_pnl_usd: row.usd("unrealized_pnl_usd")?,
                    taken_at: row.at("taken_at")?,
                })
            })
            .collect()
    }
}
