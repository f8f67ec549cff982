//! What was recorded, moved in time so that the thirty days before an anchor hold it.
//!
//! Records that belong together (fills, the income and the order that speak of them) move together,
//! by whole hours: spacing, seconds and the hours at which funding is paid stay as recorded. Where a
//! venue's documentation sample or our own record in a documented shape stands in for a live reply,
//! the fixture says so under `provenance`.

use codash_domain::Timestamp;
use serde_json::{Value, json};

/// Embedded, so that the binary stands alone.
macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!("../../../workers/collector/fixtures/", $path, ".json"))
    };
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Records further apart than this were not made by the same few days of trading.
const APART: i64 = 10 * DAY;

/// How many days before the anchor the last record of a group lies.
const SPOT_DAYS: i64 = 20;
const SINGLE_FILL_DAYS: i64 = 12;
const FUTURES_DAYS: i64 = 6;
const SETTLEMENT_DAYS: i64 = 3;
const WALLET_DAYS: i64 = 0;
const LIQUIDATED_DAYS: i64 = 1;

/// Dollars per unit: the prices that the recorded cases were converted with. They stand still.
pub const PRICES: [(&str, &str); 7] =
    [("BTC", "65000"), ("ETH", "3500"), ("BNB", "600"), ("SOL", "150"), ("LTC", "70"), ("DOGE", "0.1"), ("HYPE", "35")];

/// A record and when it happened.
#[derive(Debug, Clone)]
pub struct Row {
    pub at: i64,
    pub json: Value,
}

/// Everything that the two venues know of the demo accounts. Lists are in order of time.
#[derive(Debug, Default)]
pub struct Recording {
    pub spot_fills: Vec<Row>,
    pub usdm_fills: Vec<Row>,
    pub income: Vec<Row>,
    pub forced_orders: Vec<Row>,
    pub usdm_positions: Vec<Value>,
    pub usdm_account: Value,
    pub spot_account: Value,
    pub restrictions: Value,
    pub wallet_fills: Vec<Row>,
    pub wallet_funding: Vec<Row>,
    pub clearinghouse: Value,
    pub wallet_spot: Value,
    pub mids: Value,
    pub meta: Value,
    pub spot_meta: Value,
}

impl Recording {
    /// The recording as an account whose life ends at `anchor`; `address` takes the place of the
    /// wallet that was liquidated when its fills were recorded.
    pub fn ending_at(anchor: Timestamp, address: &str) -> Result<Self, serde_json::Error> {
        let mut recording = Self::default();
        recording.load_futures(anchor.millis())?;
        recording.load_spot(anchor.millis())?;
        recording.load_wallet(anchor.millis(), address)?;
        recording.load_wallet_states()?;
        let lists = [
            &mut recording.spot_fills,
            &mut recording.usdm_fills,
            &mut recording.income,
            &mut recording.forced_orders,
            &mut recording.wallet_fills,
            &mut recording.wallet_funding,
        ];
        lists.into_iter().for_each(|rows| rows.sort_by_key(|row| row.at));
        Ok(recording)
    }

    /// Hedged fills, a liquidation with its order, and the income of both: one afternoon. The
    /// settlement of a dated future, months later, stands apart.
    fn load_futures(&mut self, anchor: i64) -> Result<(), serde_json::Error> {
        let income = list(fixture!("binance/usdm_income_all_types"))?;
        let first = income.iter().map(time).min().unwrap_or_default();
        let (afternoon, settled): (Vec<Value>, Vec<Value>) =
            income.into_iter().partition(|row| time(row) - first < APART);
        let shift = shift(&afternoon, anchor, FUTURES_DAYS);
        self.income = moved(afternoon, shift);
        self.income.extend(placed(settled, anchor, SETTLEMENT_DAYS));
        self.usdm_fills = moved(list(fixture!("binance/usdm_user_trades_bnb_fee_hedge"))?, shift);
        self.usdm_fills.extend(moved(list(fixture!("binance/usdm_liquidation_fills"))?, shift));
        self.usdm_fills.extend(placed(list(fixture!("binance/usdm_user_trades_recorded"))?, anchor, SINGLE_FILL_DAYS));
        self.forced_orders = moved(list(fixture!("binance/usdm_liquidation_force_order"))?, shift);
        let positions = list(fixture!("binance/usdm_positions_long_short"))?;
        self.usdm_positions = moved(positions, shift).into_iter().map(|row| row.json).collect();
        self.usdm_account = usdm_account(&self.usdm_positions)?;
        Ok(())
    }

    /// A recorded sale of Litecoin, and the wallet of a recorded daily snapshot. A little Litecoin is
    /// left in it, by us: the venue tells spot fills by market, and only of a market worth asking for.
    fn load_spot(&mut self, anchor: i64) -> Result<(), serde_json::Error> {
        self.spot_fills = placed(list(fixture!("binance/spot_my_trades_recorded"))?, anchor, SPOT_DAYS);
        self.restrictions = response(fixture!("binance/spot_api_restrictions_clean"))?;
        let day = response(fixture!("binance/spot_daily_snapshot"))?;
        let mut balances = day["snapshotVos"][0]["data"]["balances"].as_array().cloned().unwrap_or_default();
        balances.push(json!({ "asset": "LTC", "free": "0.10000000", "locked": "0.00000000" }));
        self.spot_account = response(fixture!("binance/spot_account"))?;
        self.spot_account["balances"] = balances.into();
        Ok(())
    }

    /// One wallet's fills and funding of two weeks, and the fills of a wallet that was liquidated.
    fn load_wallet(&mut self, anchor: i64, address: &str) -> Result<(), serde_json::Error> {
        let mut fills = list(fixture!("hyperliquid/user_fills_by_time_first_60"))?;
        fills.extend(list(fixture!("hyperliquid/user_fills_by_time_tail"))?);
        // Some rows of this reply are rows of the other two.
        for row in list(fixture!("hyperliquid/user_fills_all_dirs"))? {
            if !fills.iter().any(|known| same_fill(known, &row)) {
                fills.push(row);
            }
        }
        // Recorded newest first; asked for by time, the venue answers oldest first.
        fills.reverse();
        let shift = shift(&fills, anchor, WALLET_DAYS);
        self.wallet_fills = moved(fills, shift);
        for text in [fixture!("hyperliquid/user_funding_13"), fixture!("hyperliquid/user_funding_long")] {
            self.wallet_funding.extend(moved(list(text)?, shift));
        }
        let mut liquidated = list(fixture!("hyperliquid/user_fills_liquidated_recorded"))?;
        for row in &mut liquidated {
            if let Some(user) = row.pointer_mut("/liquidation/liquidatedUser") {
                *user = address.into();
            }
        }
        self.wallet_fills.extend(placed(liquidated, anchor, LIQUIDATED_DAYS));
        Ok(())
    }

    /// Recorded positions and balances. HYPE, which is held, is younger than the recorded prices.
    fn load_wallet_states(&mut self) -> Result<(), serde_json::Error> {
        self.clearinghouse = response(fixture!("hyperliquid/user_state_positions"))?;
        self.wallet_spot = response(fixture!("hyperliquid/spot_balances"))?;
        self.meta = response(fixture!("hyperliquid/meta"))?;
        self.mids = response(fixture!("hyperliquid/all_mids"))?;
        for (coin, price) in PRICES {
            self.mids[coin] = price.into();
        }
        self.mids["@107"] = self.mids["HYPE"].clone();
        self.spot_meta = json!({
            "tokens": [
                { "name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "isCanonical": true },
                { "name": "HYPE", "szDecimals": 2, "weiDecimals": 8, "index": 150, "isCanonical": true },
            ],
            "universe": [{ "name": "@107", "tokens": [150, 0], "index": 107, "isCanonical": false }],
        });
        Ok(())
    }
}

/// The documented account reply around the balance of another documented reply, with the profit of
/// the positions that are served: the two must tell one story.
fn usdm_account(positions: &[Value]) -> Result<Value, serde_json::Error> {
    let mut account = response(fixture!("binance/usdm_account_v3"))?;
    let wallet = decimal(&response(fixture!("binance/usdm_balances"))?[0]["balance"]);
    let profit: rust_decimal::Decimal = positions.iter().map(|row| decimal(&row["unRealizedProfit"])).sum();
    let (wallet, profit, margin) = (wallet.to_string(), format!("{profit:.8}"), (wallet + profit).to_string());
    let mut assets = account["assets"].as_array().cloned().unwrap_or_default();
    assets.truncate(1);
    for (holder, fields) in [
        (&mut account, ["totalWalletBalance", "totalUnrealizedProfit", "totalMarginBalance"]),
        (&mut assets[0], ["walletBalance", "unrealizedProfit", "marginBalance"]),
    ] {
        for (field, value) in fields.into_iter().zip([&wallet, &profit, &margin]) {
            holder[field] = value.as_str().into();
        }
    }
    account["assets"] = assets.into();
    account["positions"] = json!([]);
    Ok(account)
}

fn decimal(value: &Value) -> rust_decimal::Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The recorded reply of a case.
fn response(case: &str) -> Result<Value, serde_json::Error> {
    let mut case: Value = serde_json::from_str(case)?;
    Ok(case["response"].take())
}

fn list(case: &str) -> Result<Vec<Value>, serde_json::Error> {
    serde_json::from_value(response(case)?)
}

/// Unix milliseconds, which some recorders wrote as text.
fn millis(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn time(row: &Value) -> i64 {
    row.get("time").or_else(|| row.get("updateTime")).and_then(millis).unwrap_or_default()
}

fn same_fill(one: &Value, other: &Value) -> bool {
    ["hash", "oid", "time", "px", "sz", "startPosition"].iter().all(|field| one[field] == other[field])
}

/// By how many whole hours the last of these rows must move to lie `days` before the anchor.
fn shift(rows: &[Value], anchor: i64, days: i64) -> i64 {
    let last = rows.iter().map(time).max().unwrap_or_default();
    (anchor - days * DAY - last).div_euclid(HOUR) * HOUR
}

fn placed(rows: Vec<Value>, anchor: i64, days: i64) -> Vec<Row> {
    let shift = shift(&rows, anchor, days);
    moved(rows, shift)
}

/// Moves every instant of the rows, leaving numbers numbers and text text.
fn moved(rows: Vec<Value>, shift: i64) -> Vec<Row> {
    let moved = |mut json: Value| {
        for field in ["time", "updateTime"] {
            let Some(at) = json.get_mut(field) else { continue };
            let Some(then) = millis(at).filter(|then| *then > 0) else { continue };
            *at = if at.is_string() { (then + shift).to_string().into() } else { (then + shift).into() };
        }
        Row { at: time(&json), json }
    };
    rows.into_iter().map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0x00000000000000000000000000000000000000dd";

    fn anchor() -> Timestamp {
        "2026-05-15T10:20:30.456Z".parse().unwrap()
    }

    #[test]
    fn the_last_thirty_days_hold_every_record_in_order() {
        let recording = Recording::ending_at(anchor(), ADDRESS).unwrap();
        let lists = [
            (&recording.spot_fills, 1),
            (&recording.usdm_fills, 5),
            (&recording.income, 9),
            (&recording.forced_orders, 1),
            (&recording.wallet_funding, 93),
        ];
        for (rows, count) in lists {
            assert_eq!(rows.len(), count);
        }
        assert!(recording.wallet_fills.len() > 120);
        for rows in lists.into_iter().map(|(rows, _)| rows).chain([&recording.wallet_fills]) {
            assert!(rows.is_sorted_by_key(|row| row.at));
            assert!(rows.iter().all(|row| (anchor().millis() - 30 * DAY..anchor().millis()).contains(&row.at)));
        }
    }

    #[test]
    fn what_belongs_together_moves_together_by_whole_hours() {
        let recording = Recording::ending_at(anchor(), ADDRESS).unwrap();
        let pnl = recording.income.iter().find(|row| row.json["incomeType"] == "REALIZED_PNL").unwrap();
        let fill = recording.usdm_fills.iter().find(|row| row.json["id"] == json!(918_273_645)).unwrap();
        assert_eq!(pnl.at, fill.at);
        let funding = recording.income.iter().find(|row| row.json["incomeType"] == "FUNDING_FEE").unwrap();
        assert_eq!(funding.at % HOUR, 0);
        assert_eq!(fill.at % HOUR, 60_000);
        let recorded = recording.usdm_fills.iter().find(|row| row.json["symbol"] == "BTCUSDT").unwrap();
        assert!(recorded.json["time"].is_string() && recorded.at % 1000 == 419);
    }

    #[test]
    fn the_account_tells_the_same_story_as_its_positions() {
        let recording = Recording::ending_at(anchor(), ADDRESS).unwrap();
        assert_eq!(recording.usdm_account["assets"][0]["unrealizedProfit"], "650.00000000");
        assert_eq!(recording.usdm_account["totalMarginBalance"], "123257.35137903");
        let liquidated = recording.wallet_fills.iter().filter(|row| row.json.get("liquidation").is_some());
        assert!(
            liquidated.clone().count() == 2
                && liquidated.clone().all(|row| row.json["liquidation"]["liquidatedUser"] == ADDRESS)
        );
    }
}
