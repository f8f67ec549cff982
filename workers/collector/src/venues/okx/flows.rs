//! OKX records of money that moved into cash flows: pure.

use codash_domain::{CashFlow, FlowKind};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bills::{BILLS, Bill};
use crate::pricing::Prices;
use crate::venues::Parsed;
use crate::venues::flow::Flow;
use crate::venues::wire::{Dec, Meaning, Millis, Text, filled, parse_each};

pub const DEPOSITS: &str = "flows.deposits";
pub const WITHDRAWALS: &str = "flows.withdrawals";

const TRADING: &str = "trading";
const FUNDING: &str = "funding";
/// Margin of isolated positions, which is no part of the trading account's own balance.
const ISOLATED: &str = "isolated";

/// The cash flow that a type of bill is, if it is one: no event.
pub fn kind_of_bill(bill_type: &str) -> Option<FlowKind> {
    match bill_type {
        // Between accounts; of an isolated position's margin; to and from a trading bot.
        "1" | "6" | "12" => Some(FlowKind::Transfer),
        // System token conversion, convert, easy convert, one-click repay.
        "11" | "27" | "28" | "29" => Some(FlowKind::Conversion),
        // Quick margin, borrowing, repay: principal. Interest is a type of its own.
        "15" | "16" | "22" => Some(FlowKind::Loan),
        _ => None,
    }
}

/// The sides of a movement that a bill states: always the trading account's, and the other where it
/// is named.
pub fn of_bill(bill: &Bill, kind: FlowKind, raw: &str, prices: &dyn Prices) -> Result<Vec<CashFlow>, String> {
    let amount = bill.bal_chg.ok_or("no balChg")?.0;
    let leg = |wallet: &'static str, amount: Decimal| {
        let amount = amount.normalize();
        let native_id = match wallet {
            TRADING => bill.key(),
            other => format!("{}:{other}", bill.key()),
        };
        Flow { stream: BILLS, native_id, kind, at: bill.at(), wallet, asset: &bill.ccy, amount }.priced(raw, prices)
    };
    let is = |end: &Option<Text>, account: &str| end.as_ref().is_some_and(|end| end.0 == account);
    let with_funding = (is(&bill.from, "6") && is(&bill.to, "18")) || (is(&bill.from, "18") && is(&bill.to, "6"));
    let other = match bill.kind.0.as_str() {
        "1" if with_funding => Some((FUNDING, -amount)),
        "6" => bill.pos_bal_chg.map(|change| (ISOLATED, change.0)),
        _ => None,
    };
    let legs = [Some((TRADING, amount)), other].into_iter().flatten();
    legs.filter(|(_, amount)| !amount.is_zero()).map(|(wallet, amount)| leg(wallet, amount)).collect()
}

/// GET /api/v5/asset/deposit-history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deposit {
    dep_id: Text,
    ccy: String,
    amt: Dec,
    state: Text,
    ts: Millis,
}

/// Deposits that have been credited.
pub fn deposits(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Deposit, raw| {
        match row.state.0.as_str() {
            "1" | "2" => {}
            // Waiting for confirmations, suspended, under review or returned.
            "0" | "8" | "11" | "12" | "13" | "14" | "17" => return Ok(Meaning::Nothing),
            other => return Err(format!("unknown state {other:?} of a deposit")),
        }
        let native_id = format!("okx:deposit:{}", row.dep_id);
        let (kind, at, asset, amount) = (FlowKind::Deposit, row.ts.0, row.ccy.as_str(), row.amt.0.normalize());
        let deposit = Flow { stream: DEPOSITS, native_id, kind, at, wallet: FUNDING, asset, amount };
        Ok(Meaning::CashFlows(vec![deposit.priced(raw, prices)?]))
    })
}

/// GET /api/v5/asset/withdrawal-history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Withdrawal {
    wd_id: Text,
    ccy: String,
    /// What arrives; the fee comes on top.
    amt: Dec,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fee_ccy: Option<String>,
    state: Text,
    ts: Millis,
}

/// Withdrawals that have left, with their fee.
pub fn withdrawals(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Withdrawal, raw| {
        match row.state.0.as_str() {
            "2" => {}
            // Cancelled, cancelling or failed; waiting, under review, approved or being sent.
            "-3" | "-2" | "-1" => return Ok(Meaning::Nothing),
            "0" | "1" | "4" | "5" | "6" | "7" | "8" | "9" | "10" | "12" | "15" | "16" | "17" | "19" => {
                return Ok(Meaning::Nothing);
            }
            other => return Err(format!("unknown state {other:?} of a withdrawal")),
        }
        let leg = |part: &str, asset: &str, amount: Decimal| {
            let amount = amount.normalize();
            let native_id = format!("okx:withdrawal:{}{part}", row.wd_id);
            let kind = FlowKind::Withdrawal;
            let withdrawn = Flow { stream: WITHDRAWALS, native_id, kind, at: row.ts.0, wallet: FUNDING, asset, amount };
            withdrawn.priced(raw, prices)
        };
        let fee = row.fee.map_or(Decimal::ZERO, |fee| fee.0.abs());
        let fee_ccy = row.fee_ccy.as_deref().unwrap_or(&row.ccy);
        if fee_ccy == row.ccy {
            let amount = row.amt.0.checked_add(fee).ok_or("the amount does not fit")?;
            return Ok(Meaning::CashFlows(vec![leg("", &row.ccy, -amount)?]));
        }
        let mut flows = vec![leg("", &row.ccy, -row.amt.0)?];
        if !fee.is_zero() {
            flows.push(leg(":fee", fee_ccy, -fee)?);
        }
        Ok(Meaning::CashFlows(flows))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::okx::bills::bills;
    use crate::venues::okx::markets::Contracts;

    fn rows(list: &str) -> Vec<Box<RawValue>> {
        serde_json::from_str(list).unwrap()
    }

    fn told(parsed: &Parsed) -> Vec<String> {
        let told = |f: &CashFlow| format!("{} {} {} {} {}", f.native_id, f.kind, f.wallet, f.amount, f.asset);
        parsed.cash_flows.iter().map(told).collect()
    }

    #[test]
    fn bills_of_transfers_conversions_and_principal_are_cash_flows() {
        let bill = |id: u32, kind: u32, rest: &str| {
            format!(r#"{{"billId":"{id}","type":"{kind}","ccy":"USDT","ts":"1767225600000"{rest}}}"#)
        };
        let list = [
            bill(1, 1, r#","balChg":"-500","from":"18","to":"6""#),
            bill(2, 1, r#","balChg":"7","from":"","to":"""#),
            bill(3, 6, r#","balChg":"-20","posBalChg":"20""#),
            bill(4, 27, r#","balChg":"-3","subType":"319""#),
            bill(5, 22, r#","balChg":"-4","subType":"308""#),
            bill(6, 1, ""),
        ];
        let book = PriceBook::default();
        let parsed = bills(&rows(&format!("[{}]", list.join(","))), &Contracts::default(), &book);
        let expected = [
            "okx:bill:1 transfer trading -500 USDT",
            "okx:bill:1:funding transfer funding 500 USDT",
            "okx:bill:2 transfer trading 7 USDT",
            "okx:bill:3 transfer trading -20 USDT",
            "okx:bill:3:isolated transfer isolated 20 USDT",
            "okx:bill:4 conversion trading -3 USDT",
            "okx:bill:5 loan trading -4 USDT",
        ];
        assert_eq!(told(&parsed), expected);
        assert_eq!((parsed.records.len(), parsed.unreadable.len()), (0, 1), "an amount is not guessed");
    }

    #[test]
    fn deposits_count_when_credited_and_withdrawals_when_gone_with_their_fee() {
        let deposit = |id: u32, state: &str| {
            format!(r#"{{"depId":"{id}","ccy":"USDT","amt":"10.50","state":"{state}","ts":"1767225600000"}}"#)
        };
        let list = ["2", "1", "0", "11", "99"].map(|state| deposit(1, state)).join(",");
        let parsed = deposits(&rows(&format!("[{list}]")), &PriceBook::default());
        assert_eq!(told(&parsed), ["okx:deposit:1 deposit funding 10.5 USDT"; 2]);
        assert_eq!(parsed.unreadable.len(), 1, "a state that nobody knows");
        let withdrawal = |state: &str, fee: &str| {
            format!(r#"{{"wdId":"9","ccy":"USDT","amt":"10","state":"{state}","ts":"1767225600000"{fee}}}"#)
        };
        let list = [
            withdrawal("2", r#","fee":"0.8","feeCcy":"USDT""#),
            withdrawal("2", r#","fee":"0.001","feeCcy":"ETH""#),
            withdrawal("2", ""),
            withdrawal("-2", ""),
            withdrawal("0", ""),
        ];
        let parsed = withdrawals(&rows(&format!("[{}]", list.join(","))), &PriceBook::default());
        let expected = [
            "okx:withdrawal:9 withdrawal funding -10.8 USDT",
            "okx:withdrawal:9 withdrawal funding -10 USDT",
            "okx:withdrawal:9:fee withdrawal funding -0.001 ETH",
            "okx:withdrawal:9 withdrawal funding -10 USDT",
        ];
        assert_eq!(told(&parsed), expected);
        assert_eq!(parsed.cash_flows[2].value_usd, None, "no price of ETH");
    }
}
