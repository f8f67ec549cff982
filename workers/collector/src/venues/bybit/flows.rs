//! Deposits, withdrawals and transfers of the funding wallet. The unified wallet's side of a
//! transfer is in the transaction log. These streams bring no events.

use codash_domain::{FlowKind, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::FUNDING;
use super::wire::Maybe;
use crate::pricing::{Prices, negated, sum};
use crate::venues::Parsed;
use crate::venues::flow::Flow;
use crate::venues::wire::{Dec, Meaning, Millis, Text, parse_each};

pub const DEPOSITS: &str = "flows.deposits";
pub const INTERNAL_DEPOSITS: &str = "flows.internal_deposits";
pub const WITHDRAWALS: &str = "flows.withdrawals";
pub const TRANSFERS: &str = "flows.transfers";

fn flow(moved: Flow<'_>, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    if moved.asset.is_empty() {
        return Err("no coin".into());
    }
    Ok(Meaning::CashFlows(vec![moved.priced(raw, prices)?]))
}

/// GET /v5/asset/deposit/query-record. Only what has arrived counts.
pub fn deposits(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        #[serde(default)]
        id: Option<Text>,
        #[serde(rename = "txID", default)]
        tx_id: Option<Text>,
        coin: String,
        amount: Dec,
        status: Text,
        #[serde(default)]
        success_at: Option<Text>,
    }
    parse_each(rows, |row: Row, raw| {
        // 3: success; 10012: credited from the pool that a deposit over the limit waits in.
        if !matches!(row.status.0.as_str(), "3" | "10012") {
            return Ok(Meaning::Nothing);
        }
        let id = super::wire::id(row.id.as_ref()).or(super::wire::id(row.tx_id.as_ref())).ok_or("no id")?;
        let moved = Flow {
            stream: DEPOSITS,
            native_id: format!("bybit:deposit:{id}"),
            kind: FlowKind::Deposit,
            at: instant(row.success_at.as_ref())?,
            wallet: FUNDING,
            asset: &row.coin,
            amount: row.amount.0,
        };
        flow(moved, raw, prices)
    })
}

/// GET /v5/asset/deposit/query-internal-record: from another user of Bybit.
pub fn internal_deposits(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        id: Text,
        coin: String,
        amount: Dec,
        status: Text,
        #[serde(default)]
        created_time: Option<Text>,
    }
    parse_each(rows, |row: Row, raw| {
        if row.status.0 != "2" {
            return Ok(Meaning::Nothing);
        }
        let moved = Flow {
            stream: INTERNAL_DEPOSITS,
            native_id: format!("bybit:internal_deposit:{}", row.id),
            kind: FlowKind::Deposit,
            at: instant(row.created_time.as_ref())?,
            wallet: FUNDING,
            asset: &row.coin,
            amount: row.amount.0,
        };
        flow(moved, raw, prices)
    })
}

/// GET /v5/asset/withdraw/query-record: what was sent, and the fee on top of it.
pub fn withdrawals(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        withdraw_id: Text,
        coin: String,
        amount: Dec,
        #[serde(default)]
        withdraw_fee: Maybe,
        status: String,
        create_time: Millis,
    }
    parse_each(rows, |row: Row, raw| {
        if !matches!(row.status.as_str(), "success" | "BlockchainConfirmed") {
            return Ok(Meaning::Nothing);
        }
        let moved = Flow {
            stream: WITHDRAWALS,
            native_id: format!("bybit:withdrawal:{}", row.withdraw_id),
            kind: FlowKind::Withdrawal,
            at: row.create_time.0,
            wallet: FUNDING,
            asset: &row.coin,
            amount: negated(sum([row.amount.0, row.withdraw_fee.or_zero()])?),
        };
        flow(moved, raw, prices)
    })
}

/// GET /v5/asset/transfer/query-inter-transfer-list: the funding wallet's side alone.
pub fn transfers(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        transfer_id: Text,
        coin: String,
        amount: Dec,
        from_account_type: String,
        to_account_type: String,
        timestamp: Millis,
        status: String,
    }
    parse_each(rows, |row: Row, raw| {
        let (out, in_) = (row.from_account_type == "FUND", row.to_account_type == "FUND");
        if row.status != "SUCCESS" || out == in_ {
            return Ok(Meaning::Nothing);
        }
        let moved = Flow {
            stream: TRANSFERS,
            native_id: format!("bybit:transfer:{}", row.transfer_id),
            kind: FlowKind::Transfer,
            at: row.timestamp.0,
            wallet: FUNDING,
            asset: &row.coin,
            amount: if out { negated(row.amount.0) } else { row.amount.0 },
        };
        flow(moved, raw, prices)
    })
}

/// An instant in milliseconds, or in seconds, as internal deposits write it.
fn instant(text: Option<&Text>) -> Result<Timestamp, String> {
    const SECONDS_END: i64 = 100_000_000_000;
    let number: i64 = text.and_then(|text| text.0.parse().ok()).ok_or("no instant")?;
    let millis = if number < SECONDS_END { number.saturating_mul(1000) } else { number };
    Timestamp::from_millis(millis).ok_or_else(|| format!("{number} is no instant"))
}

#[cfg(test)]
mod tests {
    use codash_domain::CashFlow;

    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    fn told(parsed: Parsed) -> Vec<(String, String, String)> {
        assert_eq!((parsed.unreadable, parsed.records.len()), (vec![], 0));
        let flow = |flow: CashFlow| (flow.native_id, flow.amount.to_string(), flow.occurred_at.to_string());
        parsed.cash_flows.into_iter().map(flow).collect()
    }

    fn one(id: &str, amount: &str, at: &str) -> Vec<(String, String, String)> {
        vec![(id.into(), amount.into(), at.into())]
    }

    #[test]
    fn only_what_has_arrived_is_a_deposit() {
        let page = rows(
            "x",
            r#"[{"id":"1","coin":"USDT","amount":"10","status":3,"successAt":"1672134274000"},
                                 {"id":"2","coin":"USDT","amount":"11","status":2,"successAt":""}]"#,
        )
        .unwrap();
        let flows = told(deposits(&page, &PriceBook::default()));
        assert_eq!(flows, one("bybit:deposit:1", "10", "2022-12-27T09:44:34.000Z"));
        let page =
            rows("x", r#"[{"id":"1103","amount":"0.1","type":1,"coin":"ETH","status":2,"createdTime":"1705393280"}]"#);
        let flows = told(internal_deposits(&page.unwrap(), &PriceBook::default()));
        assert_eq!(flows, one("bybit:internal_deposit:1103", "0.1", "2024-01-16T08:21:20.000Z"));
    }

    #[test]
    fn a_withdrawal_takes_its_fee_along() {
        let page = rows(
            "x",
            r#"[{"coin":"USDT","amount":"77","status":"SecurityCheck","withdrawFee":"10","createTime":"1670922217000","withdrawId":"1"},
                                 {"coin":"USDT","amount":"20","status":"success","withdrawFee":"1.5","createTime":"1698889833000","withdrawId":"2"}]"#,
        );
        let flows = told(withdrawals(&page.unwrap(), &PriceBook::default()));
        assert_eq!(flows, one("bybit:withdrawal:2", "-21.5", "2023-11-02T01:50:33.000Z"));
    }

    #[test]
    fn a_transfer_is_the_funding_wallets_side_of_it() {
        let row = |id: &str, from: &str, to: &str, status: &str| {
            format!(
                r#"{{"transferId":"{id}","coin":"USDT","amount":"5","fromAccountType":"{from}","toAccountType":"{to}","timestamp":"1667283263000","status":"{status}"}}"#
            )
        };
        let page = format!(
            "[{},{},{},{}]",
            row("a", "FUND", "UNIFIED", "SUCCESS"),
            row("b", "UNIFIED", "FUND", "SUCCESS"),
            row("c", "SPOT", "UNIFIED", "SUCCESS"),
            row("d", "FUND", "UNIFIED", "FAILED")
        );
        let flows = told(transfers(&rows("x", &page).unwrap(), &PriceBook::default()));
        let amounts: Vec<(&str, &str)> = flows.iter().map(|(id, amount, _)| (id.as_str(), amount.as_str())).collect();
        assert_eq!(amounts, [("bybit:transfer:a", "-5"), ("bybit:transfer:b", "5")]);
    }
}
