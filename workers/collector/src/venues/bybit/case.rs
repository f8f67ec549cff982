//! Recorded Bybit replies, by endpoint.

use serde::Deserialize;
use serde_json::json;

use super::markets::{Category, Markets, contract};
use super::wire::{Listing, listing, result};
use super::{executions, fault, flows, parse, reconcile, state};
use crate::error::VenueError;
use crate::parse_case::{Case, Lines};
use crate::venues::Parsed;
use crate::venues::wire::Text;

type Reader = fn(&Case) -> Result<Lines, VenueError>;

/// Endpoints whose replies become rows, snapshots or facts, and the function for each.
const READERS: &[(&str, Reader)] = &[
    ("/v5/account/transaction-log", log),
    ("/v5/account/contract-transaction-log", log),
    ("/v5/pre-upgrade/account/transaction-log", log),
    ("/v5/execution/list", execution_list),
    ("/v5/pre-upgrade/execution/list", execution_list),
    ("ws private execution", execution_list),
    ("/v5/position/closed-pnl", closed_pnl),
    ("/v5/pre-upgrade/position/closed-pnl", closed_pnl),
    ("/v5/asset/settlement-record", sessions),
    ("/v5/pre-upgrade/asset/settlement-record", sessions),
    ("/v5/asset/delivery-record", deliveries),
    ("/v5/pre-upgrade/asset/delivery-record", deliveries),
    ("/v5/account/wallet-balance", wallet),
    ("ws private wallet", wallet),
    ("/v5/asset/transfer/query-account-coins-balance", funding),
    ("/v5/position/list", positions),
    ("ws private position", positions),
    ("/v5/user/query-api", permissions),
    ("/v5/account/info", account_info),
    ("/v5/market/tickers", tickers),
    ("/v5/market/kline", klines),
    ("/v5/market/mark-price-kline", klines),
    ("/v5/market/index-price-kline", klines),
    ("/v5/market/instruments-info", instruments),
    ("/v5/asset/deposit/query-record", deposits),
    ("/v5/asset/deposit/query-internal-record", internal_deposits),
    ("/v5/asset/withdraw/query-record", withdrawals),
    ("/v5/asset/transfer/query-inter-transfer-list", transfers),
];

/// Replies that hold orders and facts of no money: recorded, but no events and no state.
const NO_MEANING: &[&str] = &[
    "/v5/order/history",
    "/v5/order/realtime",
    "/v5/pre-upgrade/order/history",
    "ws private order",
    "/v5/market/time",
    "/v5/account/fee-rate",
    "/v5/account/collateral-info",
    "/v5/account/borrow-history",
    "/v5/asset/transfer/query-universal-transfer-list",
    "/v5/asset/exchange/order-record",
    "/v5/asset/exchange/query-convert-history",
];

/// Reads one recorded reply.
pub fn read(case: &Case) -> Result<Lines, String> {
    let reader = case.reader(&case.endpoint, READERS, NO_MEANING)?;
    if let Some(fault) = fault::of_body(case.body()) {
        return Ok(Lines::fault(&fault));
    }
    Ok(Lines::read(reader.map(|reader| reader(case))))
}

fn page(case: &Case) -> Result<Listing, VenueError> {
    listing(&case.endpoint, case.body())
}

fn log(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parse::log(&page(case)?.rows, &case.prices())))
}

fn execution_list(case: &Case) -> Result<Lines, VenueError> {
    let page = page(case)?;
    let markets = Markets(case.quotes());
    let parsed = executions::executions(&page.rows, page.category.as_deref(), &markets, &case.prices());
    Ok(Lines::rows(&parsed))
}

/// Rows that only compare, under the words for it.
fn compared(parsed: &Parsed) -> Lines {
    Lines::rows_as(parsed, |_| reconcile::ROLE)
}

fn closed_pnl(case: &Case) -> Result<Lines, VenueError> {
    let page = page(case)?;
    Ok(compared(&reconcile::closed_pnl(&page.rows, page.category.as_deref(), &case.prices())))
}

fn sessions(case: &Case) -> Result<Lines, VenueError> {
    let page = page(case)?;
    Ok(compared(&reconcile::sessions(&page.rows, page.category.as_deref(), &case.prices())))
}

fn deliveries(case: &Case) -> Result<Lines, VenueError> {
    let page = page(case)?;
    Ok(compared(&reconcile::deliveries(&page.rows, page.category.as_deref(), &case.prices())))
}

fn wallet(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::wallet(case.body(), &case.prices(), Case::now())?))
}

fn funding(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::equity(&state::funding(case.body(), &case.prices(), Case::now())?))
}

fn positions(case: &Case) -> Result<Lines, VenueError> {
    let page = page(case)?;
    Ok(Lines::exposure(&state::positions(&page.rows, page.category.as_deref(), &case.prices(), Case::now())))
}

fn permissions(case: &Case) -> Result<Lines, VenueError> {
    let rights = state::rights(case.body())?;
    Ok(Lines::one("permissions", json!({ "readOnly": rights.excess.is_empty(), "rights": rights.excess })))
}

fn account_info(case: &Case) -> Result<Lines, VenueError> {
    let generation = state::generation(case.body())?;
    Ok(Lines::one("account", json!({ "unified": generation >= 3, "unifiedMarginStatus": generation })))
}

fn tickers(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::prices(super::tickers(&case.endpoint, case.body())?))
}

/// Closes by the instant at which their interval opens.
fn klines(case: &Case) -> Result<Lines, VenueError> {
    Ok(Lines::closes(super::klines(&case.endpoint, case.body())?))
}

fn instruments(case: &Case) -> Result<Lines, VenueError> {
    #[derive(Deserialize)]
    struct About {
        #[serde(default)]
        category: Option<Text>,
    }
    let markets = super::instruments(&case.endpoint, case.body())?;
    let stated = result::<About>(&case.endpoint, case.body())?.category;
    let name = |native: &String| {
        let category = Category::of(stated.as_ref().map(|text| text.0.as_str()), native).unwrap_or(Category::Spot);
        match category {
            Category::Spot => markets.spot(native).0,
            _ => contract(category, native).symbol,
        }
    };
    let symbols = markets.0.keys().filter_map(name);
    Ok(Lines::one("symbols", symbols.map(|symbol| symbol.to_string()).collect()))
}

/// Cash flows are no lines; what cannot be read of them is.
fn no_rows(parsed: Parsed) -> Result<Lines, VenueError> {
    Ok(Lines::rows(&parsed))
}

fn deposits(case: &Case) -> Result<Lines, VenueError> {
    no_rows(flows::deposits(&page(case)?.rows, &case.prices()))
}

fn internal_deposits(case: &Case) -> Result<Lines, VenueError> {
    no_rows(flows::internal_deposits(&page(case)?.rows, &case.prices()))
}

fn withdrawals(case: &Case) -> Result<Lines, VenueError> {
    no_rows(flows::withdrawals(&page(case)?.rows, &case.prices()))
}

fn transfers(case: &Case) -> Result<Lines, VenueError> {
    no_rows(flows::transfers(&page(case)?.rows, &case.prices()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::parse_case::parse_case;

    fn lines(endpoint: &str, response: &Value) -> Vec<Value> {
        let case = json!({ "venue": "bybit", "endpoint": endpoint, "response": response });
        parse_case(&case.to_string()).unwrap()
    }

    fn good(result: Value) -> Value {
        json!({ "retCode": 0, "retMsg": "OK", "result": result })
    }

    #[test]
    fn facts_of_the_market_are_told() {
        let candles =
            json!({ "symbol": "BTCUSD", "list": [["1670608800000", "17071", "17073", "17027", "17055.5", "1", "1"]] });
        let told = lines("/v5/market/kline", &good(candles));
        assert_eq!(told[0]["prices"]["2022-12-09T18:00:00.000Z"].to_string(), "17055.5");
        let listed = |category: &str, symbol: &str| {
            let row = json!({ "symbol": symbol, "baseCoin": "BTC", "quoteCoin": "USDT" });
            let told = lines("/v5/market/instruments-info", &good(json!({ "category": category, "list": [row] })));
            told[0]["symbols"][0].as_str().unwrap().to_owned()
        };
        assert_eq!([listed("linear", "BTCUSDT"), listed("spot", "BTCUSDT")], ["BTC-PERP", "BTC-USDT"]);
    }

    #[test]
    fn cash_flows_are_no_lines_but_what_cannot_be_read_of_them_is() {
        let row = json!({ "withdrawId": 1, "coin": "USDT", "amount": "5", "status": "success", "createTime": 1_698_889_833_000_i64 });
        let mut answer = good(json!({ "rows": [row] }));
        assert_eq!(lines("/v5/asset/withdraw/query-record", &answer), [] as [Value; 0]);
        answer["result"]["rows"][0]["amount"] = json!("much");
        assert!(lines("/v5/asset/withdraw/query-record", &answer)[0]["unreadable"].is_object());
    }

    #[test]
    fn a_reply_that_is_none_is_an_error_at_every_endpoint() {
        let strange = ["null", "[]", "7", r#""html""#, "{}", r#"{"retCode":0}"#];
        for (endpoint, _) in READERS {
            for text in strange {
                let told = lines(endpoint, &serde_json::from_str(text).unwrap());
                assert_eq!(told[0]["error"]["class"], "unreadable", "{endpoint} {text}");
            }
        }
        assert!(parse_case(r#"{"venue":"bybit","endpoint":"/v5/order/create","response":{}}"#).is_err());
    }
}
