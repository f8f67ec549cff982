//! KuCoin's account ledgers: cash flows, what no other record carries, and which markets were traded.

use codash_domain::{Asset, CashFlow, EventType, FlowKind, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::asset;
use crate::pricing::{Exchange, Prices};
use crate::venues::wire::{Dec, Meaning, Millis, Text, blank, maybe_text, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const MAIN_LEDGER: &str = "main.ledger";
pub const SPOT_LEDGER: &str = "spot.ledger";
pub const FUTURES_LEDGER: &str = "futures.ledger";

/// What the business type of a ledger row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Business {
    /// Said by a fill: the trade itself, and its fee however it was paid.
    Fill,
    Flow(FlowKind),
    /// Earned, or not known.
    Other,
}

/// Business types are words in capitals in one ledger and titles in another: `TRADE_EXCHANGE`, `Loans Repaid`.
fn business(text: &str) -> Business {
    let word: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    match word.as_str() {
        "TRADE_EXCHANGE" | "EXCHANGE" | "MARGIN_EXCHANGE" | "MARGIN_TRADE" | "ISOLATED_EXCHANGE" | "KCS_PAY_FEES"
        | "REFUNDED_FEES" | "RETURNED_FEES" | "DEDUCTION_FEES" => Business::Fill,
        "DEPOSIT" | "BUY_CRYPTO" | "FIAT_DEPOSIT" => Business::Flow(FlowKind::Deposit),
        "WITHDRAW" | "WITHDRAWAL" | "SELL_CRYPTO" | "FIAT_WITHDRAW" => Business::Flow(FlowKind::Withdrawal),
        // What is earned is no principal, whatever it is earned with.
        _ if has(&["PROFIT", "EARNINGS", "INTEREST", "REWARD", "BONUS", "REBATE", "AIRDROP"]) => Business::Other,
        _ if has(&["TRANSFER", "STAKING", "EARN", "VOTING", "REDEMPTION", "SUBSCRI", "POOL", "OFFERING"]) => {
            Business::Flow(FlowKind::Transfer)
        }
        _ if has(&["LOAN", "BORROW", "DEBT", "REPAY", "LENDING"]) => Business::Flow(FlowKind::Loan),
        _ if has(&["CONVERT", "INSTANT_EXCHANGE"]) => Business::Flow(FlowKind::Conversion),
        _ => Business::Other,
    }
}

/// GET /api/v1/hf/accounts/ledgers and GET /api/v1/accounts/ledgers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LedgerRow {
    id: Text,
    currency: String,
    amount: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    account_type: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    biz_type: Option<String>,
    direction: String,
    created_at: Millis,
}

impl LedgerRow {
    /// Positive into the account.
    fn signed(&self) -> Result<Decimal, String> {
        let amount = self.amount.0.abs();
        match self.direction.as_str() {
            "in" => Ok(amount),
            "out" if amount.is_zero() => Ok(amount),
            "out" => Ok(-amount),
            other => Err(format!("unknown direction {other:?}")),
        }
    }

    fn wallet(&self) -> &'static str {
        let account = self.account_type.as_deref().unwrap_or_default().to_ascii_uppercase();
        match account.as_str() {
            "MAIN" => "main",
            account if account.starts_with("MARGIN") => "margin",
            account if account.starts_with("ISOLATED") => "isolated",
            account if account.starts_with("CONTRACT") => "futures",
            _ => "spot",
        }
    }
}

/// The trading account's ledger: the record of its transfers.
pub fn spot_ledger(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: LedgerRow, raw| ledger_row(&row, SPOT_LEDGER, raw, prices))
}

/// The ledger of all other accounts. It shows the trading account again, which has a ledger of its own.
pub fn main_ledger(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: LedgerRow, raw| match row.wallet() {
        "spot" => Ok(Meaning::Nothing),
        _ => ledger_row(&row, MAIN_LEDGER, raw, prices),
    })
}

fn ledger_row(row: &LedgerRow, stream: &'static str, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let business = business(row.biz_type.as_deref().unwrap_or_default());
    if business == Business::Fill {
        return Ok(Meaning::Nothing);
    }
    let native_id = format!("kucoin:{}:ledger:{}", row.wallet(), row.id);
    let moved = Moved { native_id, at: row.created_at.0, amount: row.signed()?, currency: &row.currency };
    match business {
        Business::Flow(kind) => moved.flow(stream, kind, row.wallet(), raw, prices),
        _ => moved.unknown(stream, raw, prices),
    }
}

/// Money that moved, positive into the wallet.
struct Moved<'a> {
    native_id: String,
    at: Timestamp,
    amount: Decimal,
    currency: &'a str,
}

impl Moved<'_> {
    fn flow(
        self,
        stream: &'static str,
        kind: FlowKind,
        wallet: &'static str,
        raw: &str,
        prices: &dyn Prices,
    ) -> Result<Meaning, String> {
        let value_usd = Exchange::new(prices, self.at).derived(self.amount, asset(self.currency))?;
        Ok(Meaning::CashFlows(vec![CashFlow {
            stream,
            native_id: self.native_id,
            kind,
            occurred_at: self.at,
            wallet,
            asset: Asset::new(self.currency),
            amount: self.amount,
            value_usd,
            raw: raw.into(),
        }]))
    }

    /// Kept with its money, as what it is for is not known.
    fn unknown(self, stream: &'static str, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
        let mut exchange = Exchange::new(prices, self.at);
        let mut event = blank(stream, self.native_id, EventType::Unknown, self.at, raw);
        event.realized_pnl_usd = exchange.derived(self.amount, asset(self.currency))?;
        event.unpriced = exchange.unpriced;
        Ok(Some(Record { event, role: Role::Primary }).into())
    }
}

/// GET /api/v1/transaction-history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FuturesRow {
    time: Millis,
    #[serde(rename = "type")]
    kind: String,
    amount: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    status: Option<String>,
    offset: Text,
    currency: String,
}

/// The futures account's ledger. Its PnL rows mix PnL, fees and funding, which other records carry.
pub fn futures_ledger(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: FuturesRow, raw| {
        // What is pending, like the period that is still open, comes again when it is done.
        if row.offset.0 == "-1" || row.status.as_deref().is_some_and(|status| status != "Completed") {
            return Ok(Meaning::Nothing);
        }
        let amount = row.amount.0;
        let out = if amount.is_zero() { amount } else { -amount.abs() };
        let moved = |amount| Moved {
            native_id: format!("kucoin:futures:ledger:{}:{}", row.currency, row.offset),
            at: row.time.0,
            amount,
            currency: &row.currency,
        };
        let flow = |amount, kind| moved(amount).flow(FUTURES_LEDGER, kind, "futures", raw, prices);
        match row.kind.to_ascii_lowercase().as_str() {
            "realisedpnl" => Ok(Meaning::Nothing),
            "deposit" => flow(amount.abs(), FlowKind::Deposit),
            "withdrawal" => flow(out, FlowKind::Withdrawal),
            "transferin" => flow(amount.abs(), FlowKind::Transfer),
            "transferout" => flow(out, FlowKind::Transfer),
            _ => moved(amount).unknown(FUTURES_LEDGER, raw, prices),
        }
    })
}

/// The spot markets that ledger rows of trades name.
pub fn traded(rows: &[Box<RawValue>]) -> std::collections::BTreeSet<String> {
    #[derive(Deserialize)]
    struct Row {
        context: String,
    }
    #[derive(Deserialize)]
    struct Context {
        symbol: String,
    }
    let market = |raw: &RawValue| {
        let row: Row = serde_json::from_str(raw.get()).ok()?;
        // Older rows quote with apostrophes.
        let context: Context = serde_json::from_str(&row.context.replace('\'', "\"")).ok()?;
        super::markets::spot(&context.symbol)?;
        Some(context.symbol)
    };
    rows.iter().filter_map(|raw| market(raw)).collect()
}

/// The contracts whose PnL the futures ledger tells of.
pub fn settled(rows: &[Box<RawValue>]) -> std::collections::BTreeSet<String> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "type")]
        kind: String,
        remark: String,
    }
    let rows = rows.iter().filter_map(|raw| serde_json::from_str::<Row>(raw.get()).ok());
    let is_contract =
        |row: &Row| row.kind.eq_ignore_ascii_case("RealisedPNL") && super::streams::is_market(&row.remark);
    rows.filter(is_contract).map(|row| row.remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn rows(text: &str) -> Vec<Box<RawValue>> {
        crate::venues::wire::rows("x", text).unwrap()
    }

    #[test]
    fn business_types_are_told_apart_in_either_spelling() {
        for text in ["TRADE_EXCHANGE", "Exchange", "KCS Pay Fees", "DEDUCTION_FEES"] {
            assert_eq!(business(text), Business::Fill, "{text}");
        }
        for (text, kind) in [
            ("DEPOSIT", FlowKind::Deposit),
            ("Withdrawal", FlowKind::Withdrawal),
            ("SUB_TRANSFER", FlowKind::Transfer),
            ("Assets Transferred in After Upgrading", FlowKind::Transfer),
            ("Loans Repaid", FlowKind::Loan),
            ("Borrowings", FlowKind::Loan),
            ("Instant Exchange", FlowKind::Conversion),
            ("Redemption of Voting", FlowKind::Transfer),
        ] {
            assert_eq!(business(text), Business::Flow(kind), "{text}");
        }
        for text in ["Soft Staking Profits", "Voting Earnings", "KuCoin Bonus", "Liquidation Fees", "", "new"] {
            assert_eq!(business(text), Business::Other, "{text}");
        }
    }

    #[test]
    fn a_transfer_is_a_signed_flow_and_the_trading_account_counts_once() {
        let row = |account: &str| {
            rows(&format!(
                r#"[{{"id":"7","currency":"USDT","amount":"5","accountType":"{account}","bizType":"TRANSFER","direction":"out",
                "createdAt":"1728443957539"}}]"#
            ))
        };
        let book = PriceBook::default();
        let flow = &spot_ledger(&row("TRADE_HF"), &book).cash_flows[0];
        assert_eq!((flow.wallet, flow.amount.to_string().as_str(), flow.kind), ("spot", "-5", FlowKind::Transfer));
        assert_eq!(flow.native_id, "kucoin:spot:ledger:7");
        assert_eq!(main_ledger(&row("TRADE"), &book), Parsed::default());
        assert_eq!(main_ledger(&row("MAIN"), &book).cash_flows[0].wallet, "main");
    }

    #[test]
    fn the_futures_ledger_gives_flows_and_keeps_what_it_does_not_know() {
        let row = |kind: &str, status: &str, offset: &str| {
            let text = format!(
                r#"[{{"time":1728665747000,"type":"{kind}","amount":0.5,"fee":null,"status":"{status}","remark":"XBTUSDTM","offset":{offset},"currency":"XBT"}}]"#
            );
            futures_ledger(&rows(&text), &PriceBook::fixed([("BTC".to_owned(), Decimal::TEN)]))
        };
        let out = &row("TransferOut", "Completed", "5").cash_flows[0];
        assert_eq!((out.amount.to_string(), out.value_usd.unwrap().to_string()), ("-0.5".into(), "-5".into()));
        assert_eq!(out.native_id, "kucoin:futures:ledger:XBT:5");
        assert_eq!(row("RealisedPNL", "Completed", "6"), Parsed::default());
        assert_eq!(row("Mystery", "Pending", "-1"), Parsed::default());
        let unknown = row("Mystery", "Completed", "7").records.remove(0).event;
        assert_eq!(
            (unknown.event_type, unknown.realized_pnl_usd.unwrap().to_string()),
            (EventType::Unknown, "5".into())
        );
    }

    #[test]
    fn trades_in_the_ledgers_name_their_markets() {
        let spot = r#"[{"context":"{\"symbol\":\"KCS-USDT\"}"},{"context":"{'symbol':'CSP-USDT'}"},{"context":""},{}]"#;
        assert_eq!(traded(&rows(spot)).into_iter().collect::<Vec<_>>(), ["CSP-USDT", "KCS-USDT"]);
        let futures = r#"[{"type":"RealisedPNL","remark":"XBTUSDM"},{"type":"TransferIn","remark":"XBTUSDTM"},
            {"type":"RealisedPNL","remark":"not a market"}]"#;
        assert_eq!(settled(&rows(futures)).into_iter().collect::<Vec<_>>(), ["XBTUSDM"]);
    }
}
