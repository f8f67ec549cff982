//! Hyperliquid's `/info`: one endpoint, a type in the body, no key.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Answer;
use super::recording::{PRICES, Recording, Row};

const MINUTE: i64 = 60_000;
const FILLS_LIMIT: usize = 2000;
const FUNDING_LIMIT: usize = 500;
/// Candles that the venue keeps of an interval.
const KEPT_CANDLES: i64 = 5000;

/// The type of a request, if it has one.
pub fn kind(body: &Value) -> Option<&str> {
    body.get("type")?.as_str()
}

/// What a request costs of an address's minute, before its rows are counted.
pub fn weight(kind: &str) -> u32 {
    match kind {
        "clearinghouseState" | "spotClearinghouseState" | "allMids" => 2,
        "userRole" => 60,
        _ => 20,
    }
}

/// Answers a request about the demo's `address`; of any other the venue knows nothing.
pub fn answer(recording: &Recording, address: &str, now: i64, body: &Value) -> Answer {
    told(recording, address, now, body).map_or_else(unreadable, Answer::ok)
}

fn unreadable() -> Answer {
    let body = json!("Failed to deserialize the JSON body into the target type");
    Answer { status: StatusCode::UNPROCESSABLE_ENTITY, body, headers: vec![] }
}

/// `None` where the venue cannot read the request.
fn told(recording: &Recording, address: &str, now: i64, body: &Value) -> Option<Value> {
    let kind = kind(body)?;
    match kind {
        "allMids" => return Some(recording.mids.clone()),
        "meta" => return Some(recording.meta.clone()),
        // The main exchange, and no other.
        "perpDexs" => return Some(json!([null])),
        "vaultDetails" => return Some(Value::Null),
        "spotMeta" => return Some(recording.spot_meta.clone()),
        "candleSnapshot" => return candles(now, body.get("req")?),
        _ => {}
    }
    let ours = body.get("user")?.as_str()?.eq_ignore_ascii_case(address);
    let of_ours = |rows: &[Row], limit| match ours {
        true => between(rows, now, body, limit),
        false => Some(json!([])),
    };
    Some(match kind {
        "userRole" => json!({ "role": if ours { "user" } else { "missing" } }),
        "clearinghouseState" if ours && is_first_dex(body) => at_time(&recording.clearinghouse, now),
        "clearinghouseState" => nothing_held(now),
        "spotClearinghouseState" if ours => recording.wallet_spot.clone(),
        "spotClearinghouseState" => json!({ "balances": [] }),
        "userFillsByTime" => of_ours(&recording.wallet_fills, FILLS_LIMIT)?,
        "userFunding" => of_ours(&recording.wallet_funding, FUNDING_LIMIT)?,
        // No recorded deposits or equity curve are of an account of this size.
        "userNonFundingLedgerUpdates" => of_ours(&[], FUNDING_LIMIT)?,
        "portfolio" => empty_portfolio(),
        "userVaultEquities" => json!([]),
        "subAccounts" => Value::Null,
        "userAbstraction" => json!("disabled"),
        "delegatorSummary" => json!({ "delegated": "0.0", "undelegated": "0.0", "totalPendingWithdrawal": "0.0",
                                      "nPendingWithdrawals": 0 }),
        _ => return None,
    })
}

fn is_first_dex(body: &Value) -> bool {
    body.get("dex").and_then(Value::as_str).unwrap_or_default().is_empty()
}

/// Oldest first, both ends included, never what is still to come.
fn between(rows: &[Row], now: i64, body: &Value, limit: usize) -> Option<Value> {
    let start = body.get("startTime")?.as_i64()?;
    let end = match body.get("endTime") {
        None | Some(Value::Null) => now,
        Some(end) => end.as_i64()?.min(now),
    };
    let fits = |row: &&Row| (start..=end).contains(&row.at);
    Some(rows.iter().filter(fits).take(limit).map(|row| row.json.clone()).collect())
}

fn at_time(state: &Value, now: i64) -> Value {
    let mut state = state.clone();
    state["time"] = now.into();
    state
}

fn nothing_held(now: i64) -> Value {
    let summary =
        json!({ "accountValue": "0.0", "totalMarginUsed": "0.0", "totalNtlPos": "0.0", "totalRawUsd": "0.0" });
    json!({ "marginSummary": summary, "crossMarginSummary": summary, "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": "0.0", "assetPositions": [], "time": now })
}

fn empty_portfolio() -> Value {
    let nothing = json!({ "accountValueHistory": [], "pnlHistory": [], "vlm": "0.0" });
    let periods = ["day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime"];
    periods.iter().map(|period| json!([period, nothing])).collect()
}

/// Candles of a price that stands still, as far back as the venue keeps them.
fn candles(now: i64, asked: &Value) -> Option<Value> {
    let coin = asked.get("coin")?.as_str()?;
    let name = if coin == "@107" { "HYPE" } else { coin };
    let (_, price) = PRICES.into_iter().find(|(asset, _)| *asset == name)?;
    let interval = asked.get("interval")?.as_str()?;
    let length = match interval {
        "1m" => MINUTE,
        "1h" => 60 * MINUTE,
        "1d" => 24 * 60 * MINUTE,
        _ => return None,
    };
    let start = asked.get("startTime")?.as_i64()?.max(now - KEPT_CANDLES * length);
    let end = asked.get("endTime")?.as_i64()?.min(now);
    let first = (start + length - 1) / length * length;
    let opens = (0..KEPT_CANDLES).map(|i| first + i * length).take_while(|open| *open <= end);
    let candle = |open: i64| {
        json!({ "t": open, "T": open + length - 1, "s": coin, "i": interval, "o": price, "c": price, "h": price,
                "l": price, "v": "0.0", "n": 0 })
    };
    Some(opens.map(candle).collect())
}
