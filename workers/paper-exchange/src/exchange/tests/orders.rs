//! What orders do, and what is refused.

use super::*;

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> i32 {
    result.expect_err("a refusal").code
}

fn btc(exchange: &Exchange) -> (UsdmId, Decimal) {
    let id = exchange.market.usdm("BTCUSDT").expect("a contract");
    (id, exchange.market.last_price(id, exchange.now))
}

fn coins(exchange: &Exchange) -> (SpotId, Decimal) {
    let id = exchange.market.spot("BTCUSDT").expect("a market");
    (id, exchange.market.spot_price(id, exchange.now))
}

#[test]
fn a_market_order_fills_at_once_as_taker() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let order = exchange.place_usdm(me, id, market(Side::Buy, "0.1")).expect("an order");
    assert_eq!((order.status, order.executed_qty), (OrderStatus::Filled, d("0.1")));
    let fills = exchange.usdm_fills(me, id);
    assert_eq!(fills.iter().map(|fill| fill.qty).sum::<Decimal>(), d("0.1"));
    assert!(fills.iter().all(|fill| !fill.is_maker && fill.price > price && fill.time == exchange.now));
    let paid: Decimal = fills.iter().map(|fill| fill.commission).sum();
    let booked = exchange.income(me).iter().filter(|row| row.income_type == "COMMISSION");
    assert_eq!(booked.map(|row| row.amount).sum::<Decimal>(), -paid);
    let position = &exchange.usdm_positions(me)[0];
    assert_eq!((position.qty, position.leverage), (d("0.1"), 20));
}

#[test]
fn a_long_and_its_close_realize_the_difference_gross_of_fees() {
    let (mut exchange, me) = quiet();
    let (id, _) = btc(&exchange);
    let before = exchange.usdm_balances(me)[1].wallet_balance;
    exchange.place_usdm(me, id, market(Side::Buy, "0.2")).expect("an order");
    let entry = exchange.usdm_positions(me)[0].entry_price;
    exchange.advance_to(ORIGIN + HOUR);
    exchange.place_usdm(me, id, market(Side::Sell, "0.2")).expect("an order");
    assert!(exchange.usdm_positions(me).is_empty());
    let fills = exchange.usdm_fills(me, id);
    let sold = fills.iter().filter(|fill| fill.side == Side::Sell);
    let difference: Decimal = sold.map(|fill| (fill.price - entry) * fill.qty).sum();
    let realized: Decimal = fills.iter().map(|fill| fill.realized_pnl).sum();
    assert!((difference - realized).abs() < d("0.0000001"));
    let fees: Decimal = fills.iter().map(|fill| fill.commission).sum();
    let after = exchange.usdm_balances(me)[1].wallet_balance;
    assert_eq!(after - before, realized - fees);
}

#[test]
fn a_market_order_has_no_use_for_a_price() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let asked = NewOrder { price: Some(d("1.23")), stop_price: Some(d("4.56")), ..market(Side::Buy, "0.1") };
    let order = exchange.place_usdm(me, id, asked).expect("an order");
    assert_eq!((order.status, order.asked.price, order.asked.stop_price), (OrderStatus::Filled, None, None));
    assert!(exchange.usdm_fills(me, id).iter().all(|fill| fill.price > price));
}

#[test]
fn a_resting_order_fills_as_maker_at_its_own_price() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let tick = exchange.market.universe().usdm[id.0].tick;
    let order = exchange.place_usdm(me, id, limit(Side::Buy, "0.05", price - tick)).expect("an order");
    assert_eq!(order.status, OrderStatus::New);
    assert_eq!(exchange.usdm_open_orders(me).len(), 1);
    exchange.advance_to(ORIGIN + 5 * DAY);
    let order = exchange.usdm_order(me, order.id).expect("the order").clone();
    if order.status == OrderStatus::Filled {
        let fills = exchange.usdm_fills(me, id);
        assert!(fills.iter().all(|fill| fill.is_maker && fill.price == price - tick && fill.time % MINUTE == 0));
        assert_eq!(fills.iter().map(|fill| fill.qty).sum::<Decimal>(), d("0.05"));
    } else {
        let lasts = (0..5 * 24 * 60).map(|minute| exchange.market.last_price(id, ORIGIN + minute * MINUTE));
        assert!(lasts.skip(1).all(|last| last > price - tick));
    }
}

#[test]
fn a_limit_order_that_crosses_takes_the_better_price() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let (_, ask) = exchange.usdm_quote(id);
    let tick = exchange.market.universe().usdm[id.0].tick;
    let generous = price + tick * Decimal::from(1000);
    let order = exchange.place_usdm(me, id, limit(Side::Buy, "0.05", generous)).expect("an order");
    assert_eq!(order.status, OrderStatus::Filled);
    assert_eq!(exchange.usdm_fills(me, id)[0].price, ask);
    let post_only = NewOrder { time_in_force: TimeInForce::GoodTillCrossing, ..limit(Side::Buy, "0.05", generous) };
    assert_eq!(code(exchange.place_usdm(me, id, post_only)), -5022);
    let (coins, price) = coins(&exchange);
    let post_only =
        NewOrder { time_in_force: TimeInForce::GoodTillCrossing, ..limit(Side::Sell, "0.01", price - tick) };
    assert_eq!(code(exchange.place_spot(me, coins, post_only)), -2010);
}

#[test]
fn immediate_or_cancel_fills_or_expires() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let far = floor(price * d("0.9"));
    let asked = NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..limit(Side::Buy, "0.05", far) };
    let order = exchange.place_usdm(me, id, asked).expect("an order");
    assert_eq!((order.status, order.executed_qty), (OrderStatus::Expired, Decimal::ZERO));
    assert!(exchange.usdm_open_orders(me).is_empty());
}

fn floor(price: Decimal) -> Decimal {
    money::floor_to(price, Decimal::TEN)
}

#[test]
fn what_only_reduces_never_opens() {
    let (mut exchange, me) = quiet();
    let (id, _) = btc(&exchange);
    let reduce = |side, qty: &str| NewOrder { reduce_only: true, ..market(side, qty) };
    assert_eq!(code(exchange.place_usdm(me, id, reduce(Side::Sell, "0.1"))), -2022);
    exchange.place_usdm(me, id, market(Side::Buy, "0.1")).expect("an order");
    assert_eq!(code(exchange.place_usdm(me, id, reduce(Side::Buy, "0.1"))), -2022);
    let order = exchange.place_usdm(me, id, reduce(Side::Sell, "5")).expect("an order");
    assert_eq!(order.executed_qty, d("0.1"));
    assert!(exchange.usdm_positions(me).is_empty());
}

#[test]
fn hedge_mode_keeps_the_legs_apart() {
    let (mut exchange, me) = quiet();
    let (id, _) = btc(&exchange);
    let leg = |leg, side, qty: &str| NewOrder { leg, ..market(side, qty) };
    assert_eq!(code(exchange.place_usdm(me, id, leg(Leg::Long, Side::Buy, "0.1"))), -4061);
    assert_eq!(code(exchange.set_hedged(me, false)), -4059);
    exchange.set_hedged(me, true).expect("hedge mode");
    assert_eq!(code(exchange.place_usdm(me, id, market(Side::Buy, "0.1"))), -4061);
    exchange.place_usdm(me, id, leg(Leg::Long, Side::Buy, "0.3")).expect("a long");
    exchange.place_usdm(me, id, leg(Leg::Short, Side::Sell, "0.1")).expect("a short");
    let held: Vec<_> = exchange.usdm_positions(me).iter().map(|held| (held.leg, held.qty)).collect();
    assert_eq!(held, [(Leg::Long, d("0.3")), (Leg::Short, d("-0.1"))]);
    let reduce = NewOrder { reduce_only: true, ..leg(Leg::Long, Side::Sell, "0.1") };
    assert_eq!(code(exchange.place_usdm(me, id, reduce)), -1106);
    assert_eq!(code(exchange.set_hedged(me, false)), -4068);
    let order = exchange.place_usdm(me, id, leg(Leg::Short, Side::Buy, "9")).expect("a close");
    assert_eq!(order.executed_qty, d("0.1"));
    assert_eq!(code(exchange.place_usdm(me, id, leg(Leg::Short, Side::Buy, "0.1"))), -2022);
}

#[test]
fn a_stop_triggers_by_the_mark_and_closes_what_is_held() {
    let (mut exchange, me) = quiet();
    let (id, _) = btc(&exchange);
    exchange.place_usdm(me, id, market(Side::Buy, "0.1")).expect("an order");
    let mark = exchange.market.mark_price(id, exchange.now);
    let stop = |price| NewOrder {
        kind: OrderKind::StopMarket,
        stop_price: Some(price),
        close_position: true,
        ..market(Side::Sell, "0")
    };
    assert_eq!(code(exchange.place_usdm(me, id, stop(floor(mark * d("1.01"))))), -2021);
    let trigger = floor(mark * d("0.999"));
    let order = exchange.place_usdm(me, id, stop(trigger)).expect("a stop");
    assert_eq!(order.status, OrderStatus::New);
    let hit = (1..90 * 24 * 60)
        .map(|minute| ORIGIN + minute * MINUTE)
        .find(|at| exchange.market.mark_price(id, *at) <= trigger)
        .expect("a tenth of a percent down, some time in a quarter");
    exchange.advance_to(hit - 1);
    assert_eq!(exchange.usdm_order(me, order.id).map(|order| order.status), Some(OrderStatus::New));
    exchange.advance_to(hit);
    let order = exchange.usdm_order(me, order.id).expect("the stop");
    assert_eq!((order.status, order.executed_qty, order.updated_at), (OrderStatus::Filled, d("0.1"), hit));
    assert!(exchange.usdm_positions(me).is_empty());
}

#[test]
fn orders_off_the_grid_or_beyond_the_purse_are_refused() {
    let (mut exchange, me) = quiet();
    let (id, price) = btc(&exchange);
    let tick = exchange.market.universe().usdm[id.0].tick;
    assert_eq!(code(exchange.place_usdm(me, id, market(Side::Buy, "0.00001"))), -1111);
    assert_eq!(code(exchange.place_usdm(me, id, market(Side::Buy, "0"))), -4003);
    assert_eq!(code(exchange.place_usdm(me, id, limit(Side::Buy, "0.1", price + tick / Decimal::TWO))), -4014);
    let cents = exchange.market.usdm("DOGEUSDT").expect("a contract");
    assert_eq!(code(exchange.place_usdm(me, cents, market(Side::Buy, "1"))), -4164);
    assert_eq!(code(exchange.place_usdm(me, id, market(Side::Buy, "1000"))), -2019);
    assert_eq!(code(exchange.cancel_usdm(me, id, 1)), -2011);
    assert_eq!(code(exchange.set_leverage(me, id, 500)), -4028);
    let (coins, price) = coins(&exchange);
    let step = exchange.market.universe().spot[coins.0].step;
    assert_eq!(code(exchange.place_spot(me, coins, market(Side::Buy, "1000"))), -2010);
    assert_eq!(code(exchange.place_spot(me, coins, market(Side::Sell, "1.5"))), -2010);
    assert_eq!(
        code(exchange.place_spot(me, coins, limit(Side::Buy, &step.to_string(), floor(price / d("10"))))),
        -1013
    );
    assert_eq!(code(exchange.withdraw(me, "USDT", d("999999"))), -4026);
    assert_eq!(code(exchange.transfer(me, FlowKind::ToUsdm, "BTC", d("0.1"))), -5011);
    assert_eq!(code(exchange.transfer(me, FlowKind::ToSpot, "USDT", d("100001"))), -5013);
    let named = NewOrder { client_order_id: Some("autoclose-1".to_owned()), ..market(Side::Buy, "0.1") };
    assert_eq!(code(exchange.place_usdm(me, id, named)), -4015);
    assert!(exchange.journal().is_empty());
    assert!(exchange.usdm_orders(me).is_empty() && exchange.spot_orders(me).is_empty());
}

#[test]
fn a_waiting_spot_order_holds_its_money_and_gives_it_back() {
    let (mut exchange, me) = quiet();
    let (id, price) = coins(&exchange);
    let balance = |exchange: &Exchange| {
        exchange.spot_balances(me).into_iter().find(|row| row.asset == "USDT").map(|row| (row.free, row.locked))
    };
    let far = floor(price * d("0.5"));
    let order = exchange.place_spot(me, id, limit(Side::Buy, "0.1", far)).expect("an order");
    let held = far * d("0.1");
    assert_eq!(balance(&exchange), Some((d("100000") - held, held)));
    assert_eq!(exchange.cancel_spot(me, id, order.id).map(|order| order.status), Ok(OrderStatus::Canceled));
    assert_eq!(balance(&exchange), Some((d("100000"), Decimal::ZERO)));
    assert_eq!(code(exchange.cancel_spot(me, id, order.id)), -2011);
}

#[test]
fn spot_fees_are_in_what_is_received_or_in_bnb() {
    let (mut exchange, me) = quiet();
    let (id, _) = coins(&exchange);
    let spend = NewOrder { quote_qty: Some(d("1000")), ..market(Side::Buy, "0") };
    exchange.place_spot(me, id, spend.clone()).expect("an order");
    exchange.place_spot(me, id, market(Side::Sell, "0.01")).expect("an order");
    exchange.set_fee_burn(me, true);
    exchange.place_spot(me, id, spend).expect("an order");
    let fills = exchange.spot_fills(me, id);
    let (first, last) = (&fills[0], &fills[fills.len() - 1]);
    assert_eq!((first.commission_asset.as_str(), first.commission), ("BTC", money::booked(first.qty * d("0.001"))));
    assert!(first.quote_qty <= d("1000"));
    assert!(fills[1..fills.len() - 1].iter().all(|fill| fill.commission_asset == "USDT"));
    let bnb = exchange.bnb_price();
    let expected = money::booked(last.price * last.qty * d("0.00075") / bnb);
    assert_eq!((last.commission_asset.as_str(), last.commission), ("BNB", expected));
}

#[test]
fn futures_fees_in_bnb_are_a_tenth_lower() {
    let (mut exchange, me) = quiet();
    let (id, _) = btc(&exchange);
    exchange.set_fee_burn(me, true);
    exchange.place_usdm(me, id, market(Side::Buy, "0.01")).expect("an order");
    // Without BNB in the futures wallet there is nothing to burn.
    exchange.transfer(me, FlowKind::ToSpot, "BNB", exchange.desks[me.0].wallet("BNB")).expect("a transfer");
    exchange.place_usdm(me, id, market(Side::Buy, "0.01")).expect("an order");
    let fills = exchange.usdm_fills(me, id);
    let (first, last) = (&fills[0], &fills[fills.len() - 1]);
    let expected = money::booked(first.price * first.qty * d("0.00045") / exchange.bnb_price());
    assert_eq!((first.commission_asset.as_str(), first.commission), ("BNB", expected));
    let expected = money::booked(last.price * last.qty * d("0.0005"));
    assert_eq!((last.commission_asset.as_str(), last.commission), ("USDT", expected));
}
