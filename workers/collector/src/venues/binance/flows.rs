//! Binance records of money that moved into cash flows: pure.

use std::collections::BTreeMap;

use codash_domain::{FlowKind, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::pricing::Prices;
use crate::venues::Parsed;
use crate::venues::flow::Flow;
use crate::venues::paging::DAY_MILLIS;
use crate::venues::wire::{self, Dec, Meaning, Millis, Text, parse_each, read};

pub const DEPOSITS: &str = "flows.deposits";
pub const WITHDRAWALS: &str = "flows.withdrawals";
/// One stream for each of [`TRANSFER_TYPES`].
pub const TRANSFERS: &str = "flows.transfers";
pub const CONVERSIONS: &str = "flows.conversions";
pub const DUST: &str = "flows.dust";

/// Transfers of the spot wallet, by the venue's words: from it, and to it.
pub const TRANSFER_TYPES: [&str; 8] = [
    "MAIN_UMFUTURE",
    "UMFUTURE_MAIN",
    "MAIN_FUNDING",
    "FUNDING_MAIN",
    "MAIN_CMFUTURE",
    "CMFUTURE_MAIN",
    "MAIN_MARGIN",
    "MARGIN_MAIN",
];

/// Binance tells of transfers for six months.
const TRANSFERS_HORIZON: i64 = 180 * DAY_MILLIS;
/// Each window of conversions is dear: two years are enough.
const CONVERSIONS_HORIZON: i64 = 730 * DAY_MILLIS;

/// The rows under `field` of a reply; Binance leaves the field out, or writes null, when there are none.
pub fn listed(endpoint: &str, body: &str, field: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    let reply: BTreeMap<String, Box<RawValue>> = read(endpoint, body)?;
    match reply.get(field).filter(|rows| rows.get() != "null") {
        Some(rows) => read(endpoint, rows.get()),
        None => Ok(vec![]),
    }
}

/// GET /sapi/v1/capital/deposit/hisrec.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deposit {
    id: Text,
    amount: Dec,
    coin: String,
    /// 0 pending, 6 credited but not yet to be withdrawn, 7 wrong, 8 waiting for the user, 1 success.
    status: i64,
    insert_time: Millis,
    /// 0 spot wallet, 1 funding wallet.
    #[serde(default)]
    wallet_type: i64,
}

/// Deposits that have been credited.
pub fn deposits(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Deposit, raw| {
        if !matches!(row.status, 1 | 6) || row.wallet_type != 0 {
            return Ok(Meaning::Nothing);
        }
        let native_id = format!("binance:deposit:{}", row.id);
        let (kind, at, asset, amount) = (FlowKind::Deposit, row.insert_time.0, row.coin.as_str(), row.amount.0);
        let deposit = Flow { stream: DEPOSITS, native_id, kind, at, wallet: "spot", asset, amount };
        Ok(Meaning::CashFlows(vec![deposit.priced(raw, prices)?]))
    })
}

/// GET /sapi/v1/capital/withdraw/history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Withdrawal {
    id: Text,
    /// What left the venue; the fee comes on top.
    amount: Dec,
    #[serde(default)]
    transaction_fee: Option<Dec>,
    coin: String,
    /// 1 cancelled, 3 rejected, 5 failed; the others have left the wallet.
    status: i64,
    /// `YYYY-MM-DD HH:MM:SS`, UTC.
    apply_time: String,
    #[serde(default)]
    wallet_type: i64,
}

/// Withdrawals on their way or done.
pub fn withdrawals(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Withdrawal, raw| {
        if matches!(row.status, 1 | 3 | 5) || row.wallet_type != 0 {
            return Ok(Meaning::Nothing);
        }
        let at = utc(&row.apply_time)?;
        let fee = row.transaction_fee.map_or(Decimal::ZERO, |fee| fee.0);
        let amount = row.amount.0.checked_add(fee).ok_or("the amount does not fit")?;
        let native_id = format!("binance:withdrawal:{}", row.id);
        let (kind, asset) = (FlowKind::Withdrawal, row.coin.as_str());
        let withdrawal = Flow { stream: WITHDRAWALS, native_id, kind, at, wallet: "spot", asset, amount: -amount };
        Ok(Meaning::CashFlows(vec![withdrawal.priced(raw, prices)?]))
    })
}

/// `2026-01-31 12:00:00` as the instant it is in UTC.
pub fn utc(text: &str) -> Result<Timestamp, String> {
    format!("{}Z", text.replacen(' ', "T", 1)).parse().map_err(|_| format!("{text:?} is no UTC time"))
}

/// GET /sapi/v1/asset/transfer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transfer {
    tran_id: Text,
    asset: String,
    amount: Dec,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    timestamp: Millis,
}

/// The spot wallet's side of transfers; the futures wallet's is its income row.
pub fn transfers(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Transfer, raw| {
        if row.status != "CONFIRMED" {
            return Ok(Meaning::Nothing);
        }
        let amount = match (row.kind.starts_with("MAIN_"), row.kind.ends_with("_MAIN")) {
            (true, false) => -row.amount.0,
            (false, true) => row.amount.0,
            _ => return Err(format!("unknown transfer {:?}", row.kind)),
        };
        let native_id = format!("binance:transfer:{}:{}", row.kind, row.tran_id);
        let (kind, at, asset) = (FlowKind::Transfer, row.timestamp.0, row.asset.as_str());
        let transfer = Flow { stream: TRANSFERS, native_id, kind, at, wallet: "spot", asset, amount };
        Ok(Meaning::CashFlows(vec![transfer.priced(raw, prices)?]))
    })
}

/// `list` of GET /sapi/v1/convert/tradeFlow.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conversion {
    order_id: Text,
    order_status: String,
    from_asset: String,
    from_amount: Dec,
    to_asset: String,
    to_amount: Dec,
    create_time: Millis,
}

/// Conversions: one flow out, one in.
pub fn conversions(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Conversion, raw| {
        if row.order_status != "SUCCESS" {
            return Ok(Meaning::Nothing);
        }
        let (kind, at) = (FlowKind::Conversion, row.create_time.0);
        let leg = |side: &str, asset: &str, amount: Decimal| {
            let native_id = format!("binance:convert:{}:{side}", row.order_id);
            Flow { stream: CONVERSIONS, native_id, kind, at, wallet: "spot", asset, amount }.priced(raw, prices)
        };
        Ok(Meaning::CashFlows(vec![
            leg("from", &row.from_asset, -row.from_amount.0)?,
            leg("to", &row.to_asset, row.to_amount.0)?,
        ]))
    })
}

/// The conversions of GET /sapi/v1/asset/dribblet, which come in groups.
pub fn dust_rows(endpoint: &str, body: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    let groups = listed(endpoint, body, "userAssetDribblets")?;
    let mut rows = vec![];
    for group in groups {
        rows.extend(listed(endpoint, group.get(), "userAssetDribbletDetails")?);
    }
    Ok(rows)
}

/// `userAssetDribbletDetails` of GET /sapi/v1/asset/dribblet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dust {
    trans_id: Text,
    from_asset: String,
    amount: Dec,
    /// BNB (or the target asset) received, the service charge taken off already.
    transfered_amount: Dec,
    #[serde(default)]
    target_asset: Option<String>,
    operate_time: Millis,
}

/// Dust turned into BNB.
pub fn dust(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Dust, raw| {
        let (kind, at) = (FlowKind::Conversion, row.operate_time.0);
        let leg = |side: &str, asset: &str, amount: Decimal| {
            let native_id = format!("binance:dust:{}:{}:{side}", row.trans_id, row.from_asset);
            Flow { stream: DUST, native_id, kind, at, wallet: "spot", asset, amount }.priced(raw, prices)
        };
        let target = row.target_asset.as_deref().unwrap_or("BNB");
        Ok(Meaning::CashFlows(vec![
            leg("from", &row.from_asset, -row.amount.0)?,
            leg("to", target, row.transfered_amount.0)?,
        ]))
    })
}

/// The records of a reply: endpoint, body.
pub type RowsOf = fn(&str, &str) -> Result<Vec<Box<RawValue>>, VenueError>;

/// How one stream of cash flows is asked for.
pub struct FlowStream {
    pub path: &'static str,
    /// The longest window, in milliseconds.
    pub longest: i64,
    /// How far back the venue goes; `None`: to its beginning.
    pub horizon: Option<i64>,
    /// Rows in a reply; so many of them may not be all of the window.
    pub limit: usize,
    pub params: Vec<(&'static str, String)>,
    pub rows: RowsOf,
    pub parse: fn(&[Box<RawValue>], &dyn Prices) -> Parsed,
}

/// The stream of a family and, for transfers, a type.
pub fn flow_stream(family: &str, kind: Option<&str>) -> Option<FlowStream> {
    let size = |name, limit: usize| vec![(name, limit.to_string())];
    let (longest, horizon) = (89 * DAY_MILLIS, None);
    Some(match (family, kind) {
        (DEPOSITS, None) => FlowStream {
            path: "/sapi/v1/capital/deposit/hisrec",
            longest,
            horizon,
            limit: 1000,
            params: size("limit", 1000),
            rows: wire::rows,
            parse: deposits,
        },
        (WITHDRAWALS, None) => FlowStream {
            path: "/sapi/v1/capital/withdraw/history",
            longest,
            horizon,
            limit: 1000,
            params: size("limit", 1000),
            rows: wire::rows,
            parse: withdrawals,
        },
        (CONVERSIONS, None) => FlowStream {
            path: "/sapi/v1/convert/tradeFlow",
            longest: 29 * DAY_MILLIS,
            horizon: Some(CONVERSIONS_HORIZON),
            limit: 1000,
            params: size("limit", 1000),
            rows: |endpoint, body| listed(endpoint, body, "list"),
            parse: conversions,
        },
        (DUST, None) => FlowStream {
            path: "/sapi/v1/asset/dribblet",
            longest,
            horizon: Some(CONVERSIONS_HORIZON),
            limit: 100,
            params: vec![],
            rows: dust_rows,
            parse: dust,
        },
        (TRANSFERS, Some(kind)) if TRANSFER_TYPES.contains(&kind) => FlowStream {
            path: "/sapi/v1/asset/transfer",
            longest: 29 * DAY_MILLIS,
            horizon: Some(TRANSFERS_HORIZON),
            limit: 100,
            params: vec![("type", kind.to_owned()), ("size", "100".into())],
            rows: |endpoint, body| listed(endpoint, body, "rows"),
            parse: transfers,
        },
        _ => return None,
    })
}
