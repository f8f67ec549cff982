//! Binance, spot and USD-M, as far as it can be read. Windows, pages and errors are the venue's own
//! (venue documentation: "SIGNED endpoint security", error codes, each endpoint's page).

use axum::extract::Query;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;

use super::recording::{PRICES, Recording, Row};
use super::{Answer, Keys};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60_000;

/// Contracts that the venue lists beside those whose prices we have.
const OTHER_CONTRACTS: [&str; 2] = ["BTCUSDC", "BTCUSDT_260327"];

/// An error as the venue words it.
#[derive(Debug)]
struct Refusal(StatusCode, i64, String);

impl Refusal {
    fn bad(code: i64, message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, code, message.into())
    }

    fn missing(name: &str) -> Self {
        Self::bad(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    fn illegal(name: &str) -> Self {
        Self::bad(-1100, format!("Illegal characters found in parameter '{name}'."))
    }

    fn symbol() -> Self {
        Self::bad(-1121, "Invalid symbol.")
    }
}

impl From<Refusal> for Answer {
    fn from(Refusal(status, code, msg): Refusal) -> Self {
        Self { status, body: json!({ "code": code, "msg": msg }), headers: vec![] }
    }
}

/// One request, read.
struct Asked<'a> {
    recording: &'a Recording,
    params: Vec<(String, String)>,
    now: i64,
}

/// No cash flows were recorded of this account: what the venue says then.
const NO_FLOWS: [(&str, &str); 5] = [
    ("/sapi/v1/capital/deposit/hisrec", "[]"),
    ("/sapi/v1/capital/withdraw/history", "[]"),
    ("/sapi/v1/asset/transfer", r#"{"total":0}"#),
    ("/sapi/v1/convert/tradeFlow", r#"{"list":[],"moreData":false}"#),
    ("/sapi/v1/asset/dribblet", r#"{"total":0,"userAssetDribblets":[]}"#),
];

/// What a request costs of the host's minute: `None` for what is no endpoint here.
pub fn weight(method: &Method, uri: &Uri) -> Option<u32> {
    if method != Method::GET {
        return None;
    }
    let for_one = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("symbol=")));
    Some(match uri.path() {
        "/api/v3/ping" | "/api/v3/time" | "/sapi/v1/account/apiRestrictions" => 1,
        "/fapi/v1/ping" | "/fapi/v1/time" | "/fapi/v1/exchangeInfo" => 1,
        path if NO_FLOWS.iter().any(|(known, _)| *known == path) => 1,
        "/api/v3/exchangeInfo" | "/api/v3/account" | "/api/v3/myTrades" => 20,
        "/api/v3/ticker/price" => 2 + 2 * u32::from(!for_one),
        "/api/v3/klines" => 2,
        "/fapi/v1/klines" | "/fapi/v1/userTrades" | "/fapi/v3/account" | "/fapi/v3/positionRisk" => 5,
        "/fapi/v1/income" => 30,
        "/fapi/v1/forceOrders" => 20 + 30 * u32::from(!for_one),
        "/fapi/v1/premiumIndex" => 1 + 9 * u32::from(!for_one),
        _ => return None,
    })
}

/// Answers a listed read.
pub fn answer(recording: &Recording, keys: &Keys, now: i64, uri: &Uri, headers: &HeaderMap) -> Answer {
    let Ok(Query(params)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Refusal::bad(-1101, "Too many parameters; expected fewer.").into();
    };
    let asked = Asked { recording, params, now };
    let told = match asked.public(uri.path()) {
        Some(told) => told,
        None => asked.admit(keys, uri, headers).and_then(|()| asked.signed(uri.path())),
    };
    told.map_or_else(Answer::from, Answer::ok)
}

impl Asked<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.param(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::illegal(name))
    }

    fn limit(&self, usual: i64, most: i64) -> Result<usize, Refusal> {
        let limit = self.number("limit")?.unwrap_or(usual).min(most);
        usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| Refusal::illegal("limit"))
    }

    /// A known key, a fresh timestamp and a signature of exactly what was sent.
    fn admit(&self, keys: &Keys, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let unauthorized = |code, message: &str| Refusal(StatusCode::UNAUTHORIZED, code, message.into());
        let Some(key) = headers.get("x-mbx-apikey") else {
            return Err(unauthorized(-2014, "API-key format invalid."));
        };
        if key.as_bytes() != keys.api_key.as_bytes() {
            return Err(unauthorized(-2015, "Invalid API-key, IP, or permissions for action."));
        }
        let sent = self.number("timestamp")?.ok_or_else(|| Refusal::missing("timestamp"))?;
        let window = self.number("recvWindow")?.unwrap_or(5000);
        if !(1..=60_000).contains(&window) {
            return Err(Refusal::bad(-1131, "recvWindow must be less than 60000."));
        }
        if sent >= self.now + 1000 {
            return Err(Refusal::bad(-1021, "Timestamp for this request was 1000ms ahead of the server's time."));
        }
        if self.now - sent > window {
            return Err(Refusal::bad(-1021, "Timestamp for this request is outside of the recvWindow."));
        }
        let signature = self.param("signature").ok_or_else(|| Refusal::missing("signature"))?;
        if is_signed(keys, uri.query().unwrap_or_default(), signature) {
            return Ok(());
        }
        Err(Refusal::bad(-1022, "Signature for this request is not valid."))
    }

    fn public(&self, path: &str) -> Option<Result<Value, Refusal>> {
        Some(match path {
            "/api/v3/ping" | "/fapi/v1/ping" => Ok(json!({})),
            "/api/v3/time" | "/fapi/v1/time" => Ok(json!({ "serverTime": self.now })),
            "/api/v3/exchangeInfo" => Ok(self.exchange_info("TRADING", 6000)),
            "/fapi/v1/exchangeInfo" => Ok(self.exchange_info("PERPETUAL", 2400)),
            "/api/v3/ticker/price" => self.by_symbol(|market, price| json!({ "symbol": market, "price": price })),
            "/fapi/v1/premiumIndex" => self.by_symbol(|market, price| {
                json!({ "symbol": market, "markPrice": price, "indexPrice": price, "lastFundingRate": "0.00010000",
                        "nextFundingTime": (self.now / (8 * HOUR) + 1) * 8 * HOUR, "time": self.now })
            }),
            "/api/v3/klines" | "/fapi/v1/klines" => self.klines(),
            _ => return None,
        })
    }

    fn signed(&self, path: &str) -> Result<Value, Refusal> {
        let recording = self.recording;
        match path {
            "/sapi/v1/account/apiRestrictions" => Ok(recording.restrictions.clone()),
            "/api/v3/account" => Ok(recording.spot_account.clone()),
            "/fapi/v3/account" => Ok(recording.usdm_account.clone()),
            "/fapi/v3/positionRisk" => self.positions(),
            "/api/v3/myTrades" => self.fills(&recording.spot_fills, DAY, -1127),
            "/fapi/v1/userTrades" => self.fills(&recording.usdm_fills, 7 * DAY, -4165),
            "/fapi/v1/income" => self.income(),
            "/fapi/v1/forceOrders" => self.forced_orders(),
            path if NO_FLOWS.iter().any(|(known, _)| *known == path) => {
                let empty = NO_FLOWS.iter().find(|(known, _)| *known == path).map_or("[]", |(_, empty)| *empty);
                Ok(serde_json::from_str(empty).unwrap_or_default())
            }
            _ => Err(Refusal(StatusCode::NOT_FOUND, -1000, "no such endpoint".into())),
        }
    }

    fn exchange_info(&self, kind: &str, per_minute: u32) -> Value {
        let symbols: Vec<Value> = markets()
            .map(|(market, asset, _)| match kind {
                "PERPETUAL" => {
                    json!({ "symbol": market, "pair": market, "contractType": kind, "status": "TRADING",
                            "baseAsset": asset, "quoteAsset": "USDT", "marginAsset": "USDT" })
                }
                _ => json!({ "symbol": market, "status": kind, "baseAsset": asset, "quoteAsset": "USDT" }),
            })
            .collect();
        let limit =
            json!({ "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": per_minute });
        json!({ "timezone": "UTC", "serverTime": self.now, "rateLimits": [limit], "symbols": symbols })
    }

    /// One market's object, or all of them in a list.
    fn by_symbol(&self, tell: impl Fn(&str, &str) -> Value) -> Result<Value, Refusal> {
        match self.param("symbol") {
            Some(symbol) => {
                let (market, _, price) = markets().find(|(market, ..)| market == symbol).ok_or_else(Refusal::symbol)?;
                Ok(tell(&market, price))
            }
            None => Ok(markets().map(|(market, _, price)| tell(&market, price)).collect()),
        }
    }

    /// Candles of a price that stands still.
    fn klines(&self) -> Result<Value, Refusal> {
        let symbol = self.param("symbol").ok_or_else(|| Refusal::missing("symbol"))?;
        let (_, _, price) = markets().find(|(market, ..)| market == symbol).ok_or_else(Refusal::symbol)?;
        let length = match self.param("interval") {
            Some("1m") => MINUTE,
            Some("1h") => HOUR,
            Some("1d") => DAY,
            Some(_) => return Err(Refusal::bad(-1120, "Invalid interval.")),
            None => return Err(Refusal::missing("interval")),
        };
        let limit = i64::try_from(self.limit(500, 1000)?).unwrap_or(1000);
        let end = self.number("endTime")?.unwrap_or(self.now).min(self.now);
        let start = self.number("startTime")?.unwrap_or(end - (limit - 1) * length);
        let first = (start.max(0) + length - 1) / length * length;
        let opens = (0..limit).map(|i| first + i * length).take_while(|open| *open <= end);
        let candle =
            |open: i64| json!([open, price, price, price, price, "0", open + length - 1, "0", 0, "0", "0", "0"]);
        Ok(opens.map(candle).collect())
    }

    fn positions(&self) -> Result<Value, Refusal> {
        let wanted = |row: &&Value| self.param("symbol").is_none_or(|symbol| row["symbol"] == symbol);
        Ok(self.recording.usdm_positions.iter().filter(wanted).cloned().collect())
    }

    /// From an id on, or in a window no longer than `longest`; neither, and it is the newest.
    fn fills(&self, rows: &[Row], longest: i64, too_long: i64) -> Result<Value, Refusal> {
        let symbol = self.param("symbol").ok_or_else(|| Refusal::missing("symbol"))?;
        if !markets().any(|(market, ..)| market == symbol) && !OTHER_CONTRACTS.contains(&symbol) {
            return Err(Refusal::symbol());
        }
        let limit = self.limit(500, 1000)?;
        let order = self.number("orderId")?;
        let mine = |row: &&Row| {
            row.json["symbol"] == symbol
                && row.at <= self.now
                && order.is_none_or(|order| id(&row.json["orderId"]) == Some(order))
        };
        let rows: Vec<&Row> = rows.iter().filter(mine).collect();
        if let Some(from) = self.number("fromId")? {
            if self.param("startTime").is_some() || self.param("endTime").is_some() {
                return Err(Refusal::bad(-1128, "Combination of optional parameters invalid."));
            }
            let mut rows: Vec<&Row> =
                rows.into_iter().filter(|row| id(&row.json["id"]).is_some_and(|id| id >= from)).collect();
            rows.sort_by_key(|row| id(&row.json["id"]));
            return Ok(told(rows.into_iter().take(limit)));
        }
        let (start, end) = match (self.number("startTime")?, self.number("endTime")?) {
            (None, None) => {
                let newest = rows.len().saturating_sub(limit);
                return Ok(told(rows[newest..].iter().copied()));
            }
            (Some(start), end) => (start, end.unwrap_or(start + longest)),
            (None, Some(end)) => (end - longest, end),
        };
        if end - start > longest {
            return Err(Refusal::bad(
                too_long,
                format!("More than {} hours between startTime and endTime.", longest / HOUR),
            ));
        }
        Ok(told(rows.into_iter().filter(|row| (start..=end).contains(&row.at)).take(limit)))
    }

    /// The last seven days unless a window is given, a numbered page at a time.
    fn income(&self) -> Result<Value, Refusal> {
        let limit = self.limit(100, 1000)?;
        let page = self.number("page")?.unwrap_or(1);
        let skipped = usize::try_from(page - 1).map_err(|_| Refusal::illegal("page"))?.saturating_mul(limit);
        let (start, end) = self.window()?;
        let fits = |row: &&Row| {
            (start..=end).contains(&row.at)
                && self.param("symbol").is_none_or(|symbol| row.json["symbol"] == symbol)
                && self.param("incomeType").is_none_or(|kind| row.json["incomeType"] == kind)
        };
        Ok(told(self.recording.income.iter().filter(fits).skip(skipped).take(limit)))
    }

    fn forced_orders(&self) -> Result<Value, Refusal> {
        let limit = self.limit(50, 100)?;
        let (start, end) = self.window()?;
        let close = self.param("autoCloseType");
        let fits = |row: &&Row| {
            let is_adl = row.json["clientOrderId"].as_str().is_some_and(|id| id.starts_with("adl_"));
            (start..=end).contains(&row.at)
                && self.param("symbol").is_none_or(|symbol| row.json["symbol"] == symbol)
                && close.is_none_or(|close| (close == "ADL") == is_adl)
        };
        Ok(told(self.recording.forced_orders.iter().filter(fits).take(limit)))
    }

    /// What was asked for, else the last seven days; never what is still to come.
    fn window(&self) -> Result<(i64, i64), Refusal> {
        let end = self.number("endTime")?.unwrap_or(self.now);
        Ok((self.number("startTime")?.unwrap_or(end - 7 * DAY), end.min(self.now)))
    }
}

fn told<'a>(rows: impl Iterator<Item = &'a Row>) -> Value {
    rows.map(|row| row.json.clone()).collect()
}

fn id(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Name, asset and price of every market.
fn markets() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    PRICES.into_iter().map(|(asset, price)| (format!("{asset}USDT"), asset, price))
}

/// The signature covers the rest of the query string, byte for byte.
fn is_signed(keys: &Keys, query: &str, signature: &str) -> bool {
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("signature=")).collect();
    let Ok(signature) = hex::decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(keys.secret.expose_secret().as_bytes()) else { return false };
    mac.update(rest.join("&").as_bytes());
    mac.verify_slice(&signature).is_ok()
}
