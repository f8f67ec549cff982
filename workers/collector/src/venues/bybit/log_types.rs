//! The types of the transaction log, and what each means. What is not here stays unknown.

use codash_domain::{EventType, FlowKind};

/// What a type of record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Fill(EventType),
    /// Funding, and the session's PnL of USDC perpetuals.
    Settlement,
    Flow(FlowKind),
    /// Interest, fees, bonuses, and what we have never heard of: an event that keeps its money.
    Other,
}

/// Borrowed, or given back.
const LOANS: [&str; 12] = [
    "BORROW",
    "REPAY",
    "BORROWED_AMOUNT_INS_LOAN",
    "PRINCIPLE_REPAYMENT_INS_LOAN",
    "AUTO_PRINCIPLE_REPAYMENT_INS_LOAN",
    "INSTITUTION_LOAN_IN",
    "INSTITUTION_PAYBACK_PRINCIPAL_OUT",
    "INSTITUTION_LIQ_PRINCIPAL_OUT",
    "LOANS_BORROW_FUNDS",
    "FLOATING_TO_FIXED_BORROW",
    "FLOATING_TO_FIXED_REPAY",
    "INSTITUTION_LOAN_WITHOUT_WITHDRAW",
];

/// One asset for another, a row each.
const CONVERSIONS: [&str; 7] = [
    "CONVERT",
    "AUTO_SOLD_COLLATERAL_INS_LOAN",
    "AUTO_BUY_LIABILITY_INS_LOAN",
    "INSTITUTION_EXCHANGE_SELL",
    "INSTITUTION_EXCHANGE_BUY",
    "EARNING_REDEMPTION_SELL",
    "EARNING_REDEMPTION_BUY",
];

/// To or from a product or a custodian outside the wallet, under names of their own.
const TRANSFERS: [&str; 13] = [
    "PREMARKET_TRANSFER_OUT",
    "PEF_TRANSFER_IN",
    "PEF_TRANSFER_OUT",
    "CUSTODY_LOCK",
    "CUSTODY_UNLOCK",
    "CUSTODY_UNLOCK_REFUND",
    "LOANS_PLEDGE_ASSET",
    "INSTITUTION_LOAN_TRANSFER_IN",
    "INSTITUTION_LOAN_TRANSFER_OUT",
    "INSTITUTION_LOAN_RESERVE_IN",
    "INSTITUTION_LOAN_RESERVE_OUT",
    "DBS_CASH_IN",
    "DBS_CASH_OUT",
];

/// Products that money goes into and comes back from: `…_SUBSCRIPTION`, `…_REDEMPTION`, `…_REFUND`.
const PRODUCTS: [&str; 11] = [
    "TOKENS_",
    "FLEXIBLE_STAKING_",
    "FIXED_STAKING_",
    "ONCHAINEARN_",
    "STRUCTURE_PRODUCT_",
    "CLASSIC_WEALTH_MANAGEMENT_",
    // The venue's own spelling.
    "PREMIMUM_WEALTH_MANAGEMENT_",
    "LIQUIDITY_MINING_",
    "PWM_",
    "DEFI_INVESTMENT_",
    "DUAL_ASSET_",
];

pub fn kind(name: &str) -> Kind {
    match name {
        "TRADE" => Kind::Fill(EventType::Trade),
        "LIQUIDATION" => Kind::Fill(EventType::Liquidation),
        "ADL" => Kind::Fill(EventType::Adl),
        "DELIVERY" => Kind::Fill(EventType::SystemClose),
        "SETTLEMENT" => Kind::Settlement,
        _ if LOANS.contains(&name) => Kind::Flow(FlowKind::Loan),
        _ if is_conversion(name) => Kind::Flow(FlowKind::Conversion),
        _ if is_transfer(name) => Kind::Flow(FlowKind::Transfer),
        _ => Kind::Other,
    }
}

fn is_conversion(name: &str) -> bool {
    let family = ["CURRENCY_", "SPOT_REPAYMENT_", "IDN_CONVERT_"];
    CONVERSIONS.contains(&name) || family.iter().any(|prefix| name.starts_with(prefix))
}

fn is_transfer(name: &str) -> bool {
    let moved = |rest: &str| matches!(rest, "SUBSCRIPTION" | "REDEMPTION" | "REFUND");
    name.starts_with("TRANSFER_")
        || TRANSFERS.contains(&name)
        || PRODUCTS.iter().any(|product| name.strip_prefix(product).is_some_and(moved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_is_a_flow_and_earnings_are_not() {
        assert_eq!(kind("TRANSFER_IN"), Kind::Flow(FlowKind::Transfer));
        assert_eq!(kind("TRANSFER_OUT_INS_LOAN"), Kind::Flow(FlowKind::Transfer));
        assert_eq!(kind("ONCHAINEARN_REDEMPTION"), Kind::Flow(FlowKind::Transfer));
        assert_eq!(kind("CURRENCY_SELL"), Kind::Flow(FlowKind::Conversion));
        assert_eq!(kind("REPAY"), Kind::Flow(FlowKind::Loan));
        for earned in
            ["INTEREST", "INTEREST_REPAYMENT_INS_LOAN", "FEE_REFUND", "BONUS", "BONUS_TRANSFER_IN", "NEW_KIND", ""]
        {
            assert_eq!(kind(earned), Kind::Other, "{earned}");
        }
    }
}
