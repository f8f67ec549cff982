//! Bitget bills into events and cash flows: pure, by the table of section 9 of the venue notes.

use codash_domain::{Asset, CashFlow, EventType, Fee, FlowKind, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets;
use super::parse::{Instant, primary};
use crate::pricing::{Exchange, Prices, negated};
use crate::venues::Parsed;
use crate::venues::wire::{Dec, Meaning, Text, blank, filled, parse_each};

pub const SPOT_BILLS: &str = "spot.bills";
pub const FUTURES_BILLS: &str = "futures.bills";
/// Of accounts of the unified kind: recorded cases only.
pub const UNIFIED: &str = "unified.records";

/// What a bill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bill {
    Funding,
    Flow(FlowKind),
    /// Its money is on a fill, or it moves nothing out of the wallet.
    Elsewhere,
    Unknown,
}

fn futures_bill_kind(kind: &str) -> Bill {
    match kind {
        "contract_settle_fee" | "contract_main_settle_fee" | "contract_margin_settle_fee" => Bill::Funding,
        "append_margin" | "adjust_down_lever_append_margin" | "reduce_margin" | "auto_append_margin" => Bill::Elsewhere,
        "open_long"
        | "open_short"
        | "close_long"
        | "close_short"
        | "force_close_long"
        | "force_close_short"
        | "burst_long_loss_query"
        | "burst_short_loss_query"
        | "buy"
        | "sell"
        | "force_buy"
        | "force_sell"
        | "burst_buy"
        | "burst_sell"
        | "delivery_long"
        | "delivery_short" => Bill::Elsewhere,
        _ if kind.starts_with("trans_from_") || kind.starts_with("trans_to_") => Bill::Flow(FlowKind::Transfer),
        "transfer_in" | "transfer_out" => Bill::Flow(FlowKind::Transfer),
        _ => Bill::Unknown,
    }
}

/// By the type of business first; the group is coarser.
fn spot_bill_kind(group: &str, kind: &str) -> Bill {
    match kind {
        "deposit" => Bill::Flow(FlowKind::Deposit),
        "withdraw" => Bill::Flow(FlowKind::Withdrawal),
        "transfer_in" | "transfer_out" => Bill::Flow(FlowKind::Transfer),
        // Locked money is held all the same.
        "buy"
        | "sell"
        | "deduction_of_handling_fee"
        | "deduction_handling_fee"
        | "system_lock"
        | "user_lock"
        | "order_dealt_in"
        | "order_dealt_out" => Bill::Elsewhere,
        "order_exchange_in" | "order_exchange_out" | "small_exchange_user_in" | "small_exchange_user_out" => {
            Bill::Flow(FlowKind::Conversion)
        }
        _ => match group {
            "deposit" => Bill::Flow(FlowKind::Deposit),
            "withdraw" => Bill::Flow(FlowKind::Withdrawal),
            "transfer" => Bill::Flow(FlowKind::Transfer),
            "convert" => Bill::Flow(FlowKind::Conversion),
            "transaction" => Bill::Elsewhere,
            _ => Bill::Unknown,
        },
    }
}

/// `transfer-in`, `TRANSFER_IN` and `transfer in` are one.
fn word(text: &str) -> String {
    text.to_ascii_lowercase().replace([' ', '-'], "_")
}

/// What every bill comes down to.
struct Line<'a> {
    stream: &'static str,
    native_id: String,
    at: Timestamp,
    wallet: &'static str,
    native_symbol: Option<String>,
    coin: &'a str,
    amount: Decimal,
    /// Negative when paid.
    fee: Decimal,
}

impl Line<'_> {
    fn meaning(self, bill: Bill, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
        let mut exchange = Exchange::new(prices, self.at);
        let coin = self.coin.to_ascii_uppercase();
        if bill == Bill::Elsewhere {
            return Ok(Meaning::Nothing);
        }
        if let Bill::Flow(kind) = bill {
            let amount = self.amount.checked_add(self.fee).ok_or("the amount does not fit")?;
            return Ok(Meaning::CashFlows(vec![CashFlow {
                stream: self.stream,
                native_id: self.native_id,
                kind,
                occurred_at: self.at,
                wallet: self.wallet,
                asset: Asset::new(&coin),
                amount,
                value_usd: exchange.stated(amount, &coin)?,
                raw: raw.into(),
            }]));
        }
        let kind = if bill == Bill::Funding { EventType::Funding } else { EventType::Unknown };
        let mut event = blank(self.stream, self.native_id, kind, self.at, raw);
        let amount = exchange.stated(self.amount, &coin)?;
        match bill {
            Bill::Funding => event.funding_usd = amount,
            _ => event.realized_pnl_usd = amount,
        }
        event.fee_usd = exchange.stated(negated(self.fee), &coin)?;
        event.fee = (!self.fee.is_zero()).then(|| Fee { amount: negated(self.fee), asset: Asset::new(&coin) });
        if let Some(native) = self.native_symbol {
            event.symbol = markets::contract(&native).symbol;
            event.native_symbol = Some(native);
        }
        event.unpriced = exchange.unpriced;
        Ok(Meaning::from(primary(event)))
    }
}

/// GET /api/v2/mix/account/bill.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FuturesBill {
    bill_id: Text,
    #[serde(default, deserialize_with = "filled")]
    symbol: Option<String>,
    amount: Dec,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    business_type: String,
    coin: String,
    c_time: Instant,
}

/// Futures bills: funding, transfers, and what no fill carries.
pub fn futures_bills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |bill: FuturesBill, raw| {
        let kind = word(&bill.business_type);
        let amount = match kind.as_str() {
            "transfer_out" => -bill.amount.0.abs(),
            _ if kind.starts_with("trans_to_") => -bill.amount.0.abs(),
            _ => bill.amount.0,
        };
        let line = Line {
            stream: FUTURES_BILLS,
            native_id: format!("bitget:mix:bill:{}", bill.bill_id),
            at: bill.c_time.0,
            wallet: "futures",
            native_symbol: bill.symbol.map(|symbol| symbol.to_ascii_uppercase()),
            coin: &bill.coin,
            amount,
            fee: bill.fee.map_or(Decimal::ZERO, |fee| fee.0),
        };
        line.meaning(futures_bill_kind(&kind), raw, prices)
    })
}

/// GET /api/v2/spot/account/bills.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpotBill {
    bill_id: Text,
    #[serde(default, deserialize_with = "filled")]
    group_type: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    business_type: Option<String>,
    coin: String,
    size: Dec,
    #[serde(default, deserialize_with = "filled")]
    fees: Option<Dec>,
    c_time: Instant,
}

/// Spot bills: deposits, withdrawals, transfers, conversions, rewards. Trades are on the fills.
pub fn spot_bills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |bill: SpotBill, raw| {
        let group = word(bill.group_type.as_deref().unwrap_or_default());
        let kind = word(bill.business_type.as_deref().unwrap_or_default());
        let leaves = matches!(kind.as_str(), "withdraw" | "transfer_out") || kind.ends_with("_out");
        let line = Line {
            stream: SPOT_BILLS,
            native_id: format!("bitget:spot:bill:{}", bill.bill_id),
            at: bill.c_time.0,
            wallet: "spot",
            native_symbol: None,
            coin: &bill.coin,
            amount: if leaves { -bill.size.0.abs() } else { bill.size.0 },
            fee: bill.fees.map_or(Decimal::ZERO, |fees| -fees.0.abs()),
        };
        line.meaning(spot_bill_kind(&group, &kind), raw, prices)
    })
}

/// GET /api/v3/account/financial-records, of accounts of the unified kind: recorded cases only.
#[derive(Debug, Deserialize)]
struct UnifiedRecord {
    id: Text,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "filled")]
    symbol: Option<String>,
    coin: String,
    amount: Dec,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    ts: Instant,
}

pub fn unified_records(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: UnifiedRecord, raw| {
        let kind = word(&row.kind);
        let bill = match kind.as_str() {
            // What was exchanged is neither won nor lost; its fee is in no other record that we know.
            "order_dealt_in" | "order_dealt_out" => Bill::Unknown,
            _ if kind.contains("transfer") || kind.starts_with("trans_") => Bill::Flow(FlowKind::Transfer),
            _ if kind.contains("settle_fee") || kind.contains("funding") => Bill::Funding,
            _ if kind.starts_with("deposit") => Bill::Flow(FlowKind::Deposit),
            _ if kind.starts_with("withdraw") => Bill::Flow(FlowKind::Withdrawal),
            _ => Bill::Unknown,
        };
        let line = Line {
            stream: UNIFIED,
            native_id: format!("bitget:unified:{}", row.id),
            at: row.ts.0,
            wallet: "unified",
            native_symbol: row.symbol.map(|symbol| symbol.to_ascii_uppercase()),
            coin: &row.coin,
            amount: if kind.starts_with("order_dealt_") { Decimal::ZERO } else { row.amount.0 },
            fee: row.fee.map_or(Decimal::ZERO, |fee| fee.0),
        };
        line.meaning(bill, raw, prices)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    #[test]
    fn bills_that_move_money_are_cash_flows_and_those_of_fills_are_nothing() {
        let bill = |kind: &str, amount: &str| {
            format!(
                r#"{{"billId":"{kind}","amount":"{amount}","fee":"","businessType":"{kind}","coin":"usdt","cTime":"1767225600000"}}"#
            )
        };
        let all = [
            bill("trans_to_exchange", "5"),
            bill("trans_from_exchange", "7"),
            bill("close_long", "9"),
            bill("append_margin", "1"),
            bill("cash_gift_issue", "2"),
        ];
        let parsed = futures_bills(&rows("x", &format!("[{}]", all.join(","))).unwrap(), &PriceBook::default());
        let flows: Vec<String> = parsed.cash_flows.iter().map(|flow| flow.amount.to_string()).collect();
        assert_eq!(flows, ["-5", "7"]);
        assert_eq!((parsed.records.len(), parsed.unreadable.len()), (1, 0));
        assert_eq!(parsed.records[0].event.realized_pnl_usd.unwrap().to_string(), "2");
        let spot = r#"[{"billId":"1","groupType":"withdraw","businessType":"WITHDRAW","coin":"USDT","size":"10","fees":"1","cTime":"1767225600000"},
            {"billId":"2","groupType":"transaction","businessType":"new","coin":"USDT","size":"10","cTime":"1767225600000"},
            {"billId":"3","groupType":"financial","businessType":"interest","coin":"USDT","size":"0.1","cTime":"1767225600000"}]"#;
        let parsed = spot_bills(&rows("x", spot).unwrap(), &PriceBook::default());
        assert_eq!(parsed.cash_flows[0].amount.to_string(), "-11");
        assert_eq!((parsed.cash_flows.len(), parsed.records.len()), (1, 1));
    }
}
