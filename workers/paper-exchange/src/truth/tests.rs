//! The fold and the exchange, compared where they stand.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use super::of;
use crate::exchange::{Exchange, Settings};
use crate::model::*;

const ORIGIN: Millis = 1_780_272_000_000;
const MINUTE: Millis = 60_000;

fn exchange(seed: u64) -> Exchange {
    Exchange::new(Settings { seed, origin: ORIGIN, accounts: 8, symbols: 14 })
}

fn decimal(value: &Value) -> Decimal {
    value.to_string().parse().expect("a decimal")
}

fn compare(exchange: &Exchange, account: AccountId) {
    let truth = of(exchange, account, ORIGIN, exchange.now());
    let mut told: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    for row in truth["balances"].as_array().expect("balances") {
        let text = |key: &str| row[key].as_str().expect("text").to_owned();
        told.insert((text("wallet"), text("asset")), decimal(&row["total"]));
    }
    let spot = exchange.spot_balances(account).into_iter();
    let spot = spot.map(|row| (("spot".to_owned(), row.asset), row.free + row.locked));
    let usdm = exchange.usdm_balances(account).into_iter();
    let usdm = usdm.map(|row| (("usdm".to_owned(), row.asset), row.wallet_balance));
    let kept: BTreeMap<_, _> = spot.chain(usdm).filter(|(_, total)| !total.is_zero()).collect();
    assert_eq!(told, kept);

    let told: Vec<(String, Decimal, Decimal, Decimal, Decimal)> = truth["positions"]
        .as_array()
        .expect("positions")
        .iter()
        .map(|row| {
            let figure = |key: &str| decimal(&row[key]);
            let native = row["nativeSymbol"].as_str().expect("a symbol").to_owned();
            (native, figure("qty"), figure("entryPrice"), figure("markPrice"), figure("unrealizedPnlUsd"))
        })
        .collect();
    let kept: Vec<_> = exchange
        .usdm_positions(account)
        .into_iter()
        .map(|row| (row.symbol, row.qty, row.entry_price, row.mark_price, row.unrealized_profit))
        .collect();
    assert_eq!(told, kept);
    let upnl: Decimal = exchange.usdm_balances(account).iter().map(|row| row.unrealized_profit).sum();
    assert_eq!(decimal(&truth["exposure"]["futuresUpnlUsd"]), upnl);
}

#[test]
fn the_rows_add_up_to_what_the_exchange_keeps() {
    for seed in 0..3_i64 {
        let mut exchange = exchange(seed.cast_unsigned());
        for step in 1..=14 {
            // Odd instants, on and off the grid, over some eighty days.
            exchange.advance_to(ORIGIN + step * (5 * 86_400_000 + 3 * 3_600_000) + seed * 7_919 * step);
            for account in 0..exchange.accounts().len() {
                compare(&exchange, AccountId(account));
            }
        }
    }
}

#[test]
fn what_was_true_once_stays_true() {
    let mut exchange = exchange(5);
    let then = ORIGIN + 20 * 86_400_000 + 12_345;
    exchange.advance_to(then + 2 * MINUTE);
    let early = of(&exchange, AccountId(0), ORIGIN, then);
    exchange.advance_to(then + 30 * 86_400_000);
    assert_eq!(of(&exchange, AccountId(0), ORIGIN, then), early);
    assert_eq!(early["provisional"], Value::Bool(false));
}

#[test]
fn windows_add_up_and_nets_are_what_they_are_made_of() {
    let mut exchange = exchange(6);
    let (middle, end) = (ORIGIN + 30 * 86_400_000, ORIGIN + 60 * 86_400_000);
    exchange.advance_to(end + MINUTE);
    for account in (0..8).map(AccountId) {
        let totals = |from, at| of(&exchange, account, from, at)["totals"].clone();
        let (whole, first, second) = (totals(ORIGIN, end), totals(ORIGIN, middle), totals(middle + 1, end));
        for key in ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"] {
            assert_eq!(decimal(&whole[key]), decimal(&first[key]) + decimal(&second[key]), "{key}");
        }
        let figure = |key: &str| decimal(&whole[key]);
        assert_eq!(figure("netPnlUsd"), figure("realizedPnlUsd") + figure("fundingUsd") - figure("feesUsd"));
    }
}

#[test]
fn a_minute_that_has_not_ended_is_provisional() {
    let mut exchange = exchange(1);
    exchange.advance_to(ORIGIN + 86_400_000);
    let account = AccountId(0);
    let provisional = |exchange: &Exchange| {
        let last = exchange.spot_fills(account, SpotId(0)).last().map(|fill| fill.time).unwrap_or_default();
        (last, of(exchange, account, ORIGIN, exchange.now())["provisional"] == Value::Bool(true))
    };
    // A coin is bought right now: the fee is in a coin, and its minute is young.
    let order = NewOrder {
        side: Side::Buy,
        leg: Leg::Both,
        kind: OrderKind::Market,
        qty: Decimal::ZERO,
        quote_qty: Some(Decimal::from(100)),
        price: None,
        stop_price: None,
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        close_position: false,
        client_order_id: None,
    };
    exchange.advance_to(exchange.now() + 10_500);
    exchange.place_spot(account, SpotId(0), order).expect("a market order");
    assert_eq!(provisional(&exchange), (exchange.now(), true));
    exchange.advance_to(exchange.now() + 49_499);
    assert!(!provisional(&exchange).1);
}

#[test]
fn a_record_is_priced_by_the_close_of_its_candle() {
    let mut exchange = exchange(2);
    exchange.advance_to(ORIGIN + 3_600_000);
    let bnb = exchange.market().spot("BNBUSDT").expect("a market");
    let mut prices = super::prices::Prices::new(exchange.market(), exchange.now());
    for time in [ORIGIN, ORIGIN + 61_234, ORIGIN + 3_599_000] {
        let minute = time - time.rem_euclid(MINUTE);
        let candle = exchange.market().spot_candle(bnb, minute, MINUTE, exchange.now()).expect("a candle");
        assert_eq!(prices.usd_of("BNB", Decimal::ONE, time), candle.close);
    }
    assert_eq!(prices.usd_of("USDC", Decimal::ONE, ORIGIN), Decimal::ONE);
}

#[test]
fn cash_flows_are_signed_for_each_wallet() {
    let mut exchange = exchange(3);
    let paper = AccountId(8);
    exchange.advance_to(ORIGIN + 1_000);
    exchange.withdraw(paper, "USDT", Decimal::from(50)).expect("a withdrawal");
    exchange.convert(paper, "USDT", Decimal::from(80), "BNB").expect("a conversion");
    let truth = of(&exchange, paper, ORIGIN, exchange.now());
    let flows = truth["cashFlows"].as_array().expect("flows");
    let amounts: Vec<String> = flows
        .iter()
        .map(|row| format!("{} {} {}", row["kind"].as_str().expect("a kind"), row["wallet"], row["amount"]))
        .collect();
    assert_eq!(amounts[..3], ["deposit \"spot\" 200000", "transfer \"spot\" -100000", "transfer \"usdm\" 100000"]);
    assert!(amounts.contains(&"withdrawal \"spot\" -51".to_owned()));
    assert!(amounts.contains(&"conversion \"spot\" -80".to_owned()));
    assert_eq!(truth["cashFlows"][0]["at"], "2026-06-01T00:00:00.000Z");
    // What is deposited is no profit.
    assert_eq!(truth["totals"]["netPnlUsd"].to_string(), "0");
}
