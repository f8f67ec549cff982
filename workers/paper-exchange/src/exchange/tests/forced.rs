//! What happens to positions without being asked for.

use super::*;

#[test]
fn funding_is_minus_size_times_mark_times_rate() {
    let (mut exchange, me) = quiet();
    let id = exchange.market.usdm("ETHUSDT").expect("a contract");
    exchange.place_usdm(me, id, market(Side::Sell, "2")).expect("a short");
    exchange.advance_to(ORIGIN + 25 * HOUR);
    let paid: Vec<(Millis, Decimal)> = exchange
        .income(me)
        .iter()
        .filter(|row| row.income_type == "FUNDING_FEE")
        .map(|row| (row.time, row.amount))
        .collect();
    let expected: Vec<(Millis, Decimal)> = [8, 16, 24]
        .map(|hour| ORIGIN + hour * HOUR)
        .map(|at| (at, exchange.market.mark_price(id, at) * exchange.market.funding_rate(id, at)))
        .map(|(at, each)| (at, money::booked(each * Decimal::TWO)))
        .to_vec();
    assert_eq!(paid, expected);
}

#[test]
fn too_much_is_closed_by_force_and_nothing_is_owed() {
    for seed in 0..12 {
        let mut exchange = Exchange::new(Settings { seed, origin: ORIGIN, accounts: 0, symbols: 16 });
        let me = AccountId(0);
        exchange.advance_to(ORIGIN + 1_000);
        let id = exchange.market.usdm("BTCUSDT").expect("a contract");
        let other = exchange.market.usdm("DOGEUSDT").expect("a contract");
        exchange.set_leverage(me, id, 125).expect("leverage");
        let price = exchange.market.last_price(id, exchange.now);
        // On the side against which the market first moves a hundredth.
        let change = |minute| exchange.market.mark_price(id, ORIGIN + minute * MINUTE) / price - Decimal::ONE;
        let first = (1..30 * 24 * 60).map(change).find(|change| change.abs() > d("0.01")).expect("a move");
        let side = if first > Decimal::ZERO { Side::Sell } else { Side::Buy };
        let step = exchange.market.universe().usdm[id.0].step;
        let qty = money::floor_to(d("11500000") / price, step);
        exchange.place_usdm(me, id, market(side, &qty.to_string())).expect("a bet");
        exchange.place_usdm(me, other, limit(Side::Buy, "1000", d("0.01"))).expect("an order that waits");
        exchange.advance_to(ORIGIN + 30 * DAY);
        let forced = exchange.forced_orders(me);
        assert!(!forced.is_empty(), "seed {seed}");
        assert!(forced[0].client_order_id.starts_with("autoclose-"));
        assert!(exchange.usdm_positions(me).is_empty() && exchange.usdm_open_orders(me).is_empty());
        let desk = &exchange.desks[0];
        assert!(desk.wallet("USDT") >= Decimal::ZERO);
        let cleared: Vec<_> = desk.income.iter().filter(|row| row.income_type == "INSURANCE_CLEAR").collect();
        let topped_up = cleared.iter().any(|row| row.amount > Decimal::ZERO);
        assert!(!topped_up || desk.wallet("USDT").is_zero());
        assert!(!cleared.is_empty() || desk.wallet("USDT").is_zero(), "seed {seed}");
        let fee = &desk.usdm_fills[&id].last().expect("the forced fill");
        assert_eq!(fee.commission, money::booked(fee.price * fee.qty * money::TAKER));
    }
}

#[test]
fn a_delivery_closes_at_the_mark_without_a_fill() {
    let (mut exchange, me) = quiet();
    let universe = exchange.market.universe().clone();
    let (place, delivery) = universe
        .usdm
        .iter()
        .enumerate()
        .find_map(|(place, contract)| match contract.kind {
            ContractKind::Dated { onboard, delivery } if onboard <= ORIGIN => Some((UsdmId(place), delivery)),
            _ => None,
        })
        .expect("a dated contract");
    exchange.place_usdm(me, place, market(Side::Sell, "0.5")).expect("a short");
    let low = money::floor_to(exchange.market.last_price(place, exchange.now) / Decimal::TEN, Decimal::TEN);
    let waiting = exchange.place_usdm(me, place, limit(Side::Buy, "0.5", low)).expect("an order");
    let entry = exchange.usdm_positions(me)[0].entry_price;
    let fills = exchange.usdm_fills(me, place).len();
    exchange.advance_to(delivery);
    assert!(exchange.usdm_positions(me).is_empty());
    assert_eq!(exchange.usdm_fills(me, place).len(), fills);
    assert_eq!(exchange.usdm_order(me, waiting.id).map(|order| order.status), Some(OrderStatus::Expired));
    let row = exchange.income(me).last().expect("a settlement");
    let mark = exchange.market.mark_price(place, delivery);
    assert_eq!((row.income_type, row.time), ("DELIVERED_SETTELMENT", delivery));
    assert_eq!(row.amount, money::booked((entry - mark) * d("0.5")));
    let refused = exchange.place_usdm(me, place, market(Side::Sell, "0.5")).expect_err("it is over");
    assert_eq!(refused.code, -4108);
}
