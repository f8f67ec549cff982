//! What can be seen of the exchange.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::desk::between;
use super::money::TAKER;
use super::{Exchange, Settings};
use crate::market::Market;
use crate::model::*;

impl Exchange {
    /// What it was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where its prices come from.
    pub fn market(&self) -> &Arc<Market> {
        &self.market
    }

    /// The instant up to which time has passed.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The bots' accounts and, last, the one for people. An [`AccountId`] is a place in this list.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Whose key this is, and what it may do.
    pub fn key(&self, api_key: &str) -> Option<(AccountId, Rights)> {
        self.accounts.iter().enumerate().find_map(|(place, account)| {
            if account.read_key == api_key {
                Some((AccountId(place), Rights::Read))
            } else if account.trade_key == api_key {
                Some((AccountId(place), Rights::Trade))
            } else {
                None
            }
        })
    }

    // --- futures ---

    /// Ascending by id; open and closed.
    pub fn usdm_orders(&self, account: AccountId) -> &[Order] {
        &self.desks[account.0].usdm_orders
    }

    /// By its id.
    pub fn usdm_order(&self, account: AccountId, id: u64) -> Option<&Order> {
        let desk = &self.desks[account.0];
        desk.usdm_order(id).map(|place| &desk.usdm_orders[place])
    }

    /// Ascending by id.
    pub fn usdm_open_orders(&self, account: AccountId) -> Vec<&Order> {
        let desk = &self.desks[account.0];
        desk.usdm_open.iter().filter_map(|open| self.usdm_order(account, open.id)).collect()
    }

    /// Orders that the exchange placed for the account. Ascending by id.
    pub fn forced_orders(&self, account: AccountId) -> Vec<&Order> {
        self.desks[account.0].usdm_orders.iter().filter(|order| order.forced.is_some()).collect()
    }

    /// Of one contract, ascending by id and time.
    pub fn usdm_fills(&self, account: AccountId, contract: UsdmId) -> &[UsdmFill] {
        self.desks[account.0].usdm_fills.get(&contract).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of `from` to `to`, both included.
    pub fn usdm_fills_between(&self, account: AccountId, contract: UsdmId, from: Millis, to: Millis) -> &[UsdmFill] {
        between(self.usdm_fills(account, contract), |row| row.time, from, to)
    }

    /// Ascending by time and `tran_id`.
    pub fn income(&self, account: AccountId) -> &[Income] {
        &self.desks[account.0].income
    }

    /// Those of `from` to `to`, both included.
    pub fn income_between(&self, account: AccountId, from: Millis, to: Millis) -> &[Income] {
        between(self.income(account), |row| row.time, from, to)
    }

    /// Assets ever held, zero balances included. Ascending by asset.
    pub fn usdm_balances(&self, account: AccountId) -> Vec<UsdmBalance> {
        let wallets = &self.desks[account.0].usdm;
        wallets
            .iter()
            .map(|(asset, wallet)| UsdmBalance {
                asset: asset.clone(),
                wallet_balance: *wallet,
                unrealized_profit: self.standing(account, asset).unrealized,
            })
            .collect()
    }

    /// What a futures asset has available for new positions.
    pub fn available(&self, account: AccountId, asset: &str) -> Decimal {
        self.standing(account, asset).available()
    }

    /// Open positions at the marks of now, by contract and leg.
    pub fn usdm_positions(&self, account: AccountId) -> Vec<UsdmPosition> {
        let desk = &self.desks[account.0];
        let universe = self.market.universe();
        let position = |((id, leg), position): (&(UsdmId, Leg), &super::position::Position)| {
            let contract = &universe.usdm[id.0];
            let mark = self.market.mark_price(*id, self.now);
            UsdmPosition {
                symbol: contract.symbol.clone(),
                leg: *leg,
                qty: position.qty,
                entry_price: position.entry,
                mark_price: mark,
                unrealized_profit: position.unrealized(mark),
                liquidation_price: self.liquidation_price(account.0, *id, *leg),
                margin_asset: contract.quote.clone(),
                leverage: desk.leverage(*id, contract.max_leverage),
                updated_at: position.updated_at,
            }
        };
        desk.positions.iter().map(position).collect()
    }

    /// Whether it trades in legs, LONG and SHORT.
    pub fn is_hedged(&self, account: AccountId) -> bool {
        self.desks[account.0].hedged
    }

    /// Twenty, or the contract's most, until it was set.
    pub fn leverage(&self, account: AccountId, contract: UsdmId) -> u32 {
        let most = self.market.universe().usdm[contract.0].max_leverage;
        self.desks[account.0].leverage(contract, most)
    }

    /// Whether fees are paid in BNB while there is any.
    pub fn fee_burn(&self, account: AccountId) -> bool {
        self.desks[account.0].fee_burn
    }

    /// Futures fees as shares of the notional: maker (below zero for a rebate), taker.
    pub fn usdm_rates(&self, account: AccountId) -> (Decimal, Decimal) {
        (self.desks[account.0].maker, TAKER)
    }

    // --- spot ---

    /// Ascending by id; open and closed.
    pub fn spot_orders(&self, account: AccountId) -> &[Order] {
        &self.desks[account.0].spot_orders
    }

    /// By its id.
    pub fn spot_order(&self, account: AccountId, id: u64) -> Option<&Order> {
        let desk = &self.desks[account.0];
        desk.spot_order(id).map(|place| &desk.spot_orders[place])
    }

    /// Ascending by id.
    pub fn spot_open_orders(&self, account: AccountId) -> Vec<&Order> {
        let desk = &self.desks[account.0];
        desk.spot_open.iter().filter_map(|open| self.spot_order(account, open.id)).collect()
    }

    /// Of one market, ascending by id and time.
    pub fn spot_fills(&self, account: AccountId, market: SpotId) -> &[SpotFill] {
        self.desks[account.0].spot_fills.get(&market).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of `from` to `to`, both included.
    pub fn spot_fills_between(&self, account: AccountId, market: SpotId, from: Millis, to: Millis) -> &[SpotFill] {
        between(self.spot_fills(account, market), |row| row.time, from, to)
    }

    /// Assets ever held, zero balances included. Ascending by asset.
    pub fn spot_balances(&self, account: AccountId) -> Vec<SpotBalance> {
        let purses = &self.desks[account.0].spot;
        purses
            .iter()
            .map(|(asset, purse)| SpotBalance { asset: asset.clone(), free: purse.free, locked: purse.locked })
            .collect()
    }

    // --- cash flows ---

    /// Ascending by id and time.
    pub fn flows(&self, account: AccountId) -> &[Flow] {
        &self.desks[account.0].flows
    }

    /// Those of `from` to `to`, both included.
    pub fn flows_between(&self, account: AccountId, from: Millis, to: Millis) -> &[Flow] {
        between(self.flows(account), |row| row.time, from, to)
    }

    /// Ascending by id and time.
    pub fn conversions(&self, account: AccountId) -> &[Conversion] {
        &self.desks[account.0].conversions
    }

    /// Those of `from` to `to`, both included.
    pub fn conversions_between(&self, account: AccountId, from: Millis, to: Millis) -> &[Conversion] {
        between(self.conversions(account), |row| row.time, from, to)
    }
}
