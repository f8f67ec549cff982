//! Money that comes, goes and changes places.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::money::{MOST, booked, booked_down};
use super::{Exchange, refuse};
use crate::model::*;

/// What taking one amount of an asset out costs, on top, in that asset.
pub(super) fn withdrawal_fee(asset: &str) -> Decimal {
    match asset {
        "USDT" | "USDC" => Decimal::ONE,
        "BTC" => Decimal::new(2, 5),
        "ETH" | "BNB" => Decimal::new(5, 4),
        _ => Decimal::ZERO,
    }
}

/// Share of the price that a conversion costs.
const CONVERSION: Decimal = Decimal::from_parts(1, 0, 0, false, 3);

impl Exchange {
    fn knows(&self, asset: &str) -> bool {
        matches!(asset, "USDT" | "USDC") || self.market.universe().spot.iter().any(|market| market.base == asset)
    }

    fn check_amount(&self, asset: &str, amount: Decimal) -> Result<(), Refusal> {
        if !self.knows(asset) {
            return refuse(-1102, format!("Unknown asset '{asset}'."));
        }
        if amount <= Decimal::ZERO || amount > MOST || booked(amount) != amount {
            return refuse(-9000, "The amount must be positive and have no more than eight decimals.");
        }
        Ok(())
    }

    fn write_flow(&mut self, a: usize, kind: FlowKind, asset: &str, amount: Decimal, fee: Decimal) -> Flow {
        let flow = Flow { id: self.ids.tran(), kind, asset: asset.to_owned(), amount, fee, time: self.now };
        self.desks[a].flows.push(flow.clone());
        self.touch(a);
        flow
    }

    pub(super) fn pay_in(&mut self, a: usize, asset: &str, amount: Decimal) -> Result<Flow, Refusal> {
        self.check_amount(asset, amount)?;
        self.desks[a].move_free(asset, amount);
        Ok(self.write_flow(a, FlowKind::Deposit, asset, amount, Decimal::ZERO))
    }

    pub(super) fn pay_out(&mut self, a: usize, asset: &str, amount: Decimal) -> Result<Flow, Refusal> {
        self.check_amount(asset, amount)?;
        let fee = withdrawal_fee(asset);
        if self.desks[a].free(asset) < amount + fee {
            return refuse(-4026, "User has insufficient balance.");
        }
        self.desks[a].move_free(asset, -(amount + fee));
        Ok(self.write_flow(a, FlowKind::Withdrawal, asset, amount, fee))
    }

    pub(super) fn shift(&mut self, a: usize, kind: FlowKind, asset: &str, amount: Decimal) -> Result<Flow, Refusal> {
        self.check_amount(asset, amount)?;
        if !matches!(asset, "USDT" | "USDC" | "BNB") {
            return refuse(-5011, "The futures wallet takes USDT, USDC and BNB.");
        }
        let (signed, there) = match kind {
            FlowKind::ToUsdm => (amount, self.desks[a].free(asset)),
            FlowKind::ToSpot => {
                // Profit that is not realized yet cannot leave.
                let wallet = self.desks[a].wallet(asset);
                (-amount, wallet.min(self.standing(AccountId(a), asset).available()))
            }
            FlowKind::Deposit | FlowKind::Withdrawal => return refuse(-1102, "Not a transfer."),
        };
        if there < amount {
            return refuse(-5013, "Asset transfer failed: insufficient balance");
        }
        let flow = self.write_flow(a, kind, asset, amount, Decimal::ZERO);
        self.desks[a].move_free(asset, -signed);
        self.desks[a].book(Income {
            symbol: String::new(),
            income_type: "TRANSFER",
            amount: signed,
            asset: asset.to_owned(),
            time: flow.time,
            tran_id: flow.id,
            trade_id: None,
        });
        Ok(flow)
    }

    pub(super) fn swap(&mut self, a: usize, from: &str, amount: Decimal, to: &str) -> Result<Conversion, Refusal> {
        self.check_amount(from, amount)?;
        if !self.knows(to) || from == to {
            return refuse(-1102, format!("Nothing converts to '{to}'."));
        }
        if self.desks[a].free(from) < amount {
            return refuse(-2010, "Account has insufficient balance for requested action.");
        }
        let worth = amount * self.usd_price(from);
        let got = booked_down(worth * (Decimal::ONE - CONVERSION) / self.usd_price(to));
        if got <= Decimal::ZERO {
            return refuse(-9000, "The amount is too small.");
        }
        self.desks[a].move_free(from, -amount);
        self.desks[a].move_free(to, got);
        let conversion = Conversion {
            id: self.ids.tran(),
            from_asset: from.to_owned(),
            from_amount: amount,
            to_asset: to.to_owned(),
            to_amount: got,
            time: self.now,
        };
        self.desks[a].conversions.push(conversion.clone());
        self.touch(a);
        Ok(conversion)
    }

    /// Spot price of an asset in dollars, now: USDT and USDC are one.
    pub(super) fn usd_price(&self, asset: &str) -> Decimal {
        let market = Arc::clone(&self.market);
        if matches!(asset, "USDT" | "USDC") {
            return Decimal::ONE;
        }
        market.spot(&format!("{asset}USDT")).map_or(Decimal::ONE, |id| market.spot_price(id, self.now))
    }
}
