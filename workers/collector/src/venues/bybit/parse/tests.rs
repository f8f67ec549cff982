//! The transaction log, record by record.

use super::*;
use crate::pricing::PriceBook;
use crate::venues::wire::rows;

fn read(fields: &str) -> Parsed {
    let row = format!(
        r#"[{{"id":"1","transactionTime":1767226199500,"side":"Sell","qty":"3","tradePrice":"100","tradeId":"t",{fields}}}]"#
    );
    log(&rows("x", &row).unwrap(), &PriceBook::fixed([("BTC".to_owned(), Decimal::from(50_000))]))
}

fn event(fields: &str) -> Event {
    let mut parsed = read(fields);
    assert_eq!((parsed.unreadable, parsed.cash_flows), (vec![], vec![]));
    assert_eq!(parsed.records.len(), 1);
    parsed.records.remove(0).event
}

#[test]
fn an_inverse_fill_counts_dollars_and_pays_in_the_coin() {
    let event = event(
        r#""type":"TRADE","symbol":"BTCUSD","category":"inverse","currency":"BTC","cashFlow":"0.001","fee":"-0.0001","orderId":"o""#,
    );
    assert_eq!((event.qty.unwrap().to_string(), event.notional_usd.unwrap().to_string()), ("0.03".into(), "3".into()));
    assert_eq!(event.net_pnl_impact_usd().unwrap().to_string(), "55");
    assert_eq!(
        (event.native_id.as_str(), event.order_ref.unwrap().as_str()),
        ("bybit:inverse:exec:t", "bybit:inverse:o")
    );
}

#[test]
fn taxes_are_what_left_the_wallet_beyond_the_fee() {
    let fee = |taxes: &str| {
        let event = event(&format!(
            r#""type":"TRADE","symbol":"BTCUSDT","category":"linear","currency":"USDT","cashFlow":"10","fee":"1","change":"8.82","extraFees":{taxes}"#
        ));
        event.fee_usd.unwrap().to_string()
    };
    assert_eq!(
        [fee(r#""[{}]""#), fee(r#"[{"feeType":"GST"}]"#), fee(r#""""#), fee("null")],
        ["1.18", "1.18", "1", "1"]
    );
}

#[test]
fn the_spot_legs_of_a_fill_are_left_to_its_execution() {
    let legs = read(r#""type":"TRADE","symbol":"BTCUSDT","category":"spot","currency":"BTC","change":"3""#);
    assert_eq!(legs, Parsed::default());
    let forced = read(r#""type":"LIQUIDATION","symbol":"BTCUSDT","category":"spot","currency":"BTC","change":"-3""#);
    assert_eq!((forced.records.len(), forced.cash_flows[0].kind), (0, FlowKind::Conversion));
    assert_eq!(forced.cash_flows[0].value_usd.unwrap().to_string(), "-150000");
}

#[test]
fn what_we_never_heard_of_keeps_its_money_and_its_record() {
    let unknown = event(r#""type":"NEW_KIND","symbol":"","category":"","currency":"USDT","change":"-2""#);
    assert_eq!((unknown.event_type, unknown.side, unknown.qty), (EventType::Unknown, None, None));
    assert_eq!(unknown.realized_pnl_usd.unwrap().to_string(), "-2");
    assert_eq!(unknown.native_id, "bybit:log:1:NEW_KIND:1767226199500");
    assert!(unknown.raw.contains("NEW_KIND"));
    let left_out = event(r#""type":"NEW_KIND","currency":"USDT","cashFlow":"","fee":"0.5","change":"-2""#);
    assert_eq!(left_out.net_pnl_impact_usd().unwrap().to_string(), "-2");
    let unpriced = event(r#""type":"AIRDROP","currency":"NEW","cashFlow":"7""#);
    assert!(unpriced.unpriced && unpriced.realized_pnl_usd.is_none());
}

#[test]
fn nothing_about_money_is_guessed() {
    for fields in [
        r#""type":"TRADE","symbol":"BTCUSDT","currency":"USDT","cashFlow":"1""#,
        r#""type":"TRADE","symbol":"BTCUSDT","category":"linear","currency":"USDT","cashFlow":"1""#,
        r#""type":"TRADE","symbol":"BTCUSDT","category":"linear","currency":"USDT","fee":"1""#,
        r#""type":"SETTLEMENT","symbol":"BTCUSDT","category":"linear","currency":"USDT""#,
        r#""type":"TRANSFER_IN","currency":"USDT""#,
        r#""type":"INTEREST","currency":"USDT""#,
        r#""type":"TRADE","symbol":"BTCUSDT","category":"linear","currency":"USDT","cashFlow":"much""#,
    ] {
        let parsed = read(fields);
        assert_eq!((parsed.records.len(), parsed.unreadable.len()), (0, 1), "{fields}");
    }
}
