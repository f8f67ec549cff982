//! Coinbase records into events and cash flows: pure, by the table of section 8 of the venue notes.

use codash_domain::{Asset, CashFlow, EventType, Fee, FlowKind, Price, Qty, Side, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{self, Contracts, Market};
use crate::pricing::{Exchange, Prices, negated, product};
use crate::venues::wire::{Dec, Meaning, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const FILLS: &str = "advanced.fills";
pub const TRANSACTIONS: &str = "wallet.transactions";

/// A truth value that may be left out; as text it is written in any case.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::Null => Ok(false),
        Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        other => Err(serde::de::Error::custom(format!("expected true or false, got {other}"))),
    }
}

/// GET /api/v3/brokerage/orders/historical/fills.
#[derive(Debug, Deserialize)]
struct Fill {
    entry_id: Text,
    #[serde(default, deserialize_with = "filled")]
    order_id: Option<Text>,
    trade_time: Timestamp,
    /// `FILL`, `REVERSAL`, `CORRECTION`, `SYNTHETIC`.
    #[serde(default, deserialize_with = "filled")]
    trade_type: Option<String>,
    price: Dec,
    size: Dec,
    #[serde(default, deserialize_with = "filled")]
    commission: Option<Dec>,
    product_id: String,
    #[serde(default, deserialize_with = "is_true")]
    size_in_quote: bool,
    #[serde(default, deserialize_with = "filled")]
    side: Option<String>,
}

impl Fill {
    fn side(&self) -> Option<Side> {
        Side::parse(&self.side.as_deref()?.to_ascii_lowercase())
    }

    /// Size in units of the base, and worth in the quote; `None` where the contract's size is not known.
    fn size(&self, market: &Market) -> Result<Option<(Decimal, Worth)>, String> {
        let (size, price) = (self.size.0.abs(), self.price.0);
        if self.size_in_quote {
            let qty = size.checked_div(price).ok_or("a size in the quote and a price of zero")?;
            return Ok(Some((qty, Worth::Stated(size))));
        }
        let qty = match market {
            Market::Cfm { contract: Some(contract) } => product(size, contract.size)?,
            Market::Cfm { contract: None } => return Ok(None),
            _ => size,
        };
        Ok(Some((qty, Worth::Derived(product(qty, price)?.abs()))))
    }
}

/// An amount of the quote: the venue's own, or price × size.
enum Worth {
    Stated(Decimal),
    Derived(Decimal),
}

/// Fills. They carry the fee, in the quote; the venue states no PnL.
pub fn fills(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: Fill, raw| fill_record(fill, raw, contracts, prices).map(Some))
}

fn fill_record(fill: Fill, raw: &str, contracts: &Contracts, prices: &dyn Prices) -> Result<Record, String> {
    let mut exchange = Exchange::new(prices, fill.trade_time);
    let (symbol, market) = markets::market(&fill.product_id, contracts);
    let quote = market.quote().unwrap_or_default();
    let trade_type = fill.trade_type.as_deref().unwrap_or("FILL");
    let kind = if trade_type == "FILL" { EventType::Trade } else { EventType::Unknown };
    // The same trade again when it is undone: only the entry is one of a kind.
    let native_id = format!("coinbase:fill:{}", fill.entry_id);
    let mut event = blank(FILLS, native_id, kind, fill.trade_time, raw);
    event.side = fill.side();
    if kind == EventType::Trade && event.side.is_none() {
        return Err(format!("unknown side {:?}", fill.side));
    }
    match fill.size(&market)? {
        Some((qty, worth)) => {
            event.qty = Some(Qty::new(qty));
            event.notional_usd = match worth {
                Worth::Stated(amount) => exchange.stated(amount, quote)?,
                Worth::Derived(amount) => exchange.derived(amount, quote)?,
            };
        }
        // Looked at again when the contract may be known.
        None => exchange.unpriced = true,
    }
    let commission = fill.commission.map_or(Decimal::ZERO, |commission| commission.0);
    // A reversal gives back what the fill cost.
    let paid = if trade_type == "REVERSAL" { negated(commission) } else { commission };
    event.fee_usd = exchange.stated(paid, quote)?;
    event.fee = (!quote.is_empty()).then(|| Fee { amount: paid, asset: Asset::new(quote) });
    event.price = Some(Price::new(fill.price.0));
    event.order_ref = fill.order_id.map(|order| format!("coinbase:order:{order}"));
    event.symbol = symbol;
    event.native_symbol = Some(fill.product_id);
    event.unpriced = exchange.unpriced;
    Ok(Record { event, role: Role::Primary })
}

/// The products that a page of fills names.
pub fn products_of(rows: &[Box<RawValue>]) -> std::collections::BTreeSet<String> {
    #[derive(Deserialize)]
    struct Named {
        product_id: String,
    }
    rows.iter().filter_map(|raw| Some(serde_json::from_str::<Named>(raw.get()).ok()?.product_id)).collect()
}

/// GET /v2/accounts/{id}/transactions.
#[derive(Debug, Deserialize)]
struct Transaction {
    id: Text,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "filled")]
    status: Option<String>,
    amount: Amount,
    created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Amount {
    amount: Dec,
    currency: String,
}

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// It may still move money.
    Waiting,
    /// It never will.
    Dead,
}

fn progress(status: Option<&str>) -> Result<Progress, String> {
    match status.map(str::trim) {
        None | Some("completed") => Ok(Progress::Done),
        Some("pending" | "waiting_for_clearing" | "waiting_for_signature") => Ok(Progress::Waiting),
        Some("failed" | "canceled" | "cancelled" | "expired") => Ok(Progress::Dead),
        Some(other) => Err(format!("unknown status {other:?}")),
    }
}

/// What a type of transaction is; `None` for money whose meaning we do not know.
fn flow_kind(kind: &str, amount: Decimal) -> Option<FlowKind> {
    Some(match kind {
        "send" | "receive" | "request" if amount.is_sign_negative() => FlowKind::Withdrawal,
        "send" | "receive" | "request" | "fiat_deposit" => FlowKind::Deposit,
        "fiat_withdrawal" => FlowKind::Withdrawal,
        "transfer"
        | "vault_withdrawal"
        | "exchange_deposit"
        | "exchange_withdrawal"
        | "pro_deposit"
        | "pro_withdrawal"
        | "intx_deposit"
        | "intx_withdrawal"
        | "derivatives_settlement"
        | "staking_transfer"
        | "unstaking_transfer" => FlowKind::Transfer,
        "buy"
        | "sell"
        | "trade"
        | "wrap_asset"
        | "unwrap_asset"
        | "retail_simple_dust"
        | "retail_eth2_deprecation"
        | "asset_migration"
        | "fcm_futures_usdc_sell"
        | "fcm_futures_usdc_sell_additional_encumberment_rollup" => FlowKind::Conversion,
        _ => return None,
    })
}

/// Transactions of a wallet: cash flows, and money of other kinds.
pub fn transactions(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Transaction, raw| transaction(row, raw, prices))
}

fn transaction(row: Transaction, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    // A fill is read as a fill; here it is stated once for each of its two assets.
    if row.kind == "advanced_trade_fill" || progress(row.status.as_deref())? != Progress::Done {
        return Ok(Meaning::Nothing);
    }
    let mut exchange = Exchange::new(prices, row.created_at);
    let (amount, currency) = (row.amount.amount.0, row.amount.currency.as_str());
    let value_usd = exchange.stated(amount, currency)?;
    let native_id = format!("coinbase:v2:{}:{currency}", row.id);
    let Some(kind) = flow_kind(&row.kind, amount) else {
        let mut event = blank(TRANSACTIONS, native_id, EventType::Unknown, row.created_at, raw);
        event.realized_pnl_usd = value_usd;
        event.unpriced = exchange.unpriced;
        return Ok(Some(Record { event, role: Role::Primary }).into());
    };
    Ok(Meaning::CashFlows(vec![CashFlow {
        stream: TRANSACTIONS,
        native_id,
        kind,
        occurred_at: row.created_at,
        wallet: "spot",
        asset: Asset::new(currency),
        amount,
        value_usd,
        raw: raw.into(),
    }]))
}

/// Id, instant and progress of a page's transactions, in the order received; a status that we do not
/// know is no reason to wait.
pub fn steps(rows: &[Box<RawValue>]) -> Vec<(String, i64, Progress)> {
    #[derive(Deserialize)]
    struct Step {
        id: Text,
        #[serde(default, deserialize_with = "filled")]
        status: Option<String>,
        created_at: Timestamp,
    }
    let step = |raw: &RawValue| {
        let step: Step = serde_json::from_str(raw.get()).ok()?;
        let progress = progress(step.status.as_deref()).unwrap_or(Progress::Dead);
        Some((step.id.0, step.created_at.millis(), progress))
    };
    rows.iter().filter_map(|raw| step(raw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    fn fill(more: &str) -> String {
        format!(
            r#"{{"entry_id":"e","order_id":null,"trade_time":"2026-01-01T00:00:00.123456789Z","price":"95000",
            "size":"2","commission":"0.3","side":"SELL",{more}}}"#
        )
    }

    fn read_fills(more: &str) -> Parsed {
        let page = rows("x", &format!("[{}]", fill(more))).unwrap();
        fills(&page, &Contracts::default(), &PriceBook::default())
    }

    #[test]
    fn a_future_counts_contracts_and_one_of_unknown_size_waits_for_it() {
        let parsed = read_fills(r#""product_id":"BIT-26DEC25-CDE","trade_type":"FILL""#);
        let event = &parsed.records[0].event;
        assert_eq!(event.symbol.as_ref().unwrap().as_str(), "BTC-26DEC25");
        assert_eq!(
            (event.qty.unwrap().to_string(), event.notional_usd.unwrap().to_string()),
            ("0.02".into(), "1900".into())
        );
        assert!(!event.unpriced);
        let event = &read_fills(r#""product_id":"GOL-27MAR26-CDE""#).records[0].event;
        assert_eq!((event.qty, event.notional_usd, event.unpriced), (None, None, true));
        assert_eq!(event.fee_usd.unwrap().to_string(), "0.3");
    }

    #[test]
    fn a_fee_in_another_money_has_no_dollars_until_there_is_a_price() {
        let event = &read_fills(r#""product_id":"BTC-EUR","size_in_quote":"true""#).records[0].event;
        assert_eq!((event.fee_usd, event.notional_usd, event.unpriced), (None, None, true));
        assert_eq!(event.fee.as_ref().unwrap().asset.as_str(), "EUR");
        assert_eq!(event.occurred_at.to_string(), "2026-01-01T00:00:00.123Z");
    }

    #[test]
    fn what_would_be_guessed_is_set_aside() {
        for bad in [r#""product_id":"BTC-USD","size_in_quote":7"#, r#""product_id":null"#] {
            assert_eq!(read_fills(bad).unreadable.len(), 1, "{bad}");
        }
        let sideless = fill(r#""product_id":"BTC-USD""#).replace("SELL", "UNKNOWN_ORDER_SIDE");
        let page = rows("x", &format!("[{sideless}]")).unwrap();
        assert_eq!(fills(&page, &Contracts::default(), &PriceBook::default()).unreadable.len(), 1);
    }

    #[test]
    fn money_that_moves_is_a_cash_flow_and_other_money_an_event() {
        let row = |kind: &str, amount: &str, status: &str| {
            format!(
                r#"{{"id":"{kind}","type":"{kind}","status":"{status}","created_at":"2026-01-01T00:00:00-07:00",
                "amount":{{"amount":"{amount}","currency":"USDC"}}}}"#
            )
        };
        let page = format!(
            "[{}]",
            [
                row("fiat_deposit", "10", "completed"),
                row("send", "-4", "completed"),
                row("trade", "-3", "completed"),
                row("intx_deposit", "-2", "completed"),
                row("staking_reward", "0.5", "completed"),
                row("something_new", "-0.25", "completed"),
                row("advanced_trade_fill", "9", "completed"),
                row("fiat_withdrawal", "-1", "pending"),
                row("buy", "1", "failed"),
                row("buy", "1", "dreaming"),
            ]
            .join(",")
        );
        let parsed = transactions(&rows("x", &page).unwrap(), &PriceBook::default());
        let flows: Vec<_> =
            parsed.cash_flows.iter().map(|flow| (flow.kind.as_str(), flow.amount.to_string())).collect();
        let flow = |kind, amount: &str| (kind, amount.to_owned());
        assert_eq!(
            flows,
            [flow("deposit", "10"), flow("withdrawal", "-4"), flow("conversion", "-3"), flow("transfer", "-2")]
        );
        assert_eq!(parsed.cash_flows[1].value_usd.unwrap().to_string(), "-4");
        let events: Vec<_> = parsed.records.iter().map(|record| &record.event).collect();
        assert!(events.iter().all(|event| event.event_type == EventType::Unknown));
        assert_eq!(events[1].native_id, "coinbase:v2:something_new:USDC");
        assert_eq!(events[1].net_pnl_impact_usd().unwrap().to_string(), "-0.25");
        assert_eq!((events.len(), parsed.unreadable.len()), (2, 1));
    }
}
