//! Whatever people ask for, the books balance and the journal makes them again.

use super::*;

/// A few months of somebody who presses every button, sensible or not.
fn play(seed: u64, presses: u64) -> Exchange {
    let mut exchange = Exchange::new(settings(seed, 3));
    let me = AccountId(3);
    let universe = exchange.market.universe().clone();
    for press in 0..presses {
        let mut draw = Draw::new(seed, Purpose::Action, 99, press.cast_signed());
        let wait = draw.below(3 * HOUR.unsigned_abs()).cast_signed();
        exchange.advance_to(exchange.now + wait);
        let id = UsdmId(draw.below(universe.usdm.len().min(24) as u64) as usize);
        let coins = SpotId(draw.below(universe.spot.len() as u64) as usize);
        let side = if draw.chance(500) { Side::Buy } else { Side::Sell };
        let press = draw.below(12);
        let futures = press < 6;
        let (price, tick, step) = if futures {
            let contract = &universe.usdm[id.0];
            (exchange.market.last_price(id, exchange.now), contract.tick, contract.step)
        } else {
            let market = &universe.spot[coins.0];
            (exchange.market.spot_price(coins, exchange.now), market.tick, market.step)
        };
        let near = |draw: &mut Draw| money::floor_to(price * draw.share(9700, 10_300), tick);
        let kinds = [
            OrderKind::Market,
            OrderKind::Limit,
            OrderKind::Limit,
            OrderKind::StopMarket,
            OrderKind::StopLimit,
            OrderKind::TakeProfitMarket,
            OrderKind::TakeProfitLimit,
        ];
        let kind = draw.pick(&kinds).copied().expect("a kind");
        let order = NewOrder {
            leg: *draw.pick(&[Leg::Both, Leg::Both, Leg::Long, Leg::Short]).expect("a leg"),
            kind,
            qty: money::floor_to(Decimal::from(draw.between(10, 20_000)) / price, step),
            price: (kind != OrderKind::Market && kind != OrderKind::StopMarket).then(|| near(&mut draw)),
            stop_price: (kind != OrderKind::Market && kind != OrderKind::Limit).then(|| near(&mut draw)),
            time_in_force: *draw
                .pick(&[
                    TimeInForce::GoodTillCancel,
                    TimeInForce::GoodTillCancel,
                    TimeInForce::GoodTillCrossing,
                    TimeInForce::ImmediateOrCancel,
                ])
                .expect("a time in force"),
            reduce_only: draw.chance(150),
            close_position: draw.chance(100),
            ..market(side, "0")
        };
        let amount = Decimal::from(draw.between(1, 30_000)) / Decimal::TEN;
        let asset = *draw.pick(&["USDT", "USDC", "BNB", "BTC"]).expect("an asset");
        // Refusals are part of the game.
        let _ = match press {
            0..5 => exchange.place_usdm(me, id, order).map(drop),
            5 => match exchange.desks[me.0].usdm_open.first().map(|open| (open.contract, open.id)) {
                Some((contract, order)) => exchange.cancel_usdm(me, contract, order).map(drop),
                None => exchange.set_hedged(me, !exchange.is_hedged(me)),
            },
            6..9 => exchange.place_spot(me, coins, order).map(drop),
            9 => match draw.below(3) {
                0 => exchange.deposit(me, asset, amount).map(drop),
                1 => exchange.withdraw(me, asset, amount).map(drop),
                _ => exchange.convert(me, asset, amount / Decimal::TEN, "ETH").map(drop),
            },
            10 => {
                let kind = if draw.chance(500) { FlowKind::ToUsdm } else { FlowKind::ToSpot };
                exchange.transfer(me, kind, asset, amount).map(drop)
            }
            _ => {
                exchange.set_fee_burn(me, draw.chance(500));
                exchange.set_leverage(me, id, 1 + draw.below(50) as u32)
            }
        };
    }
    exchange
}

#[test]
fn a_replayed_journal_is_the_same_exchange() {
    let played = play(1, 300);
    assert!(played.journal().len() > 60, "{}", played.journal().len());
    let text = serde_json::to_string(played.journal()).expect("JSON");
    let journal: Vec<Command> = serde_json::from_str(&text).expect("a journal");
    assert_eq!(journal, played.journal());
    let replayed = Exchange::replay(played.settings.clone(), journal, played.now);
    assert_same(&played, &replayed);
    assert_eq!(played.journal(), replayed.journal());
}

#[test]
fn people_and_skipping_do_not_disturb_each_other() {
    let played = play(2, 150);
    let mut walked = Exchange::new(played.settings.clone());
    for command in played.journal() {
        walked.pass_to(command.at, true);
        walked.apply(command).expect("what was accepted once");
    }
    walked.pass_to(played.now, true);
    assert_same(&played, &walked);
}

#[test]
fn whatever_is_pressed_the_books_balance() {
    for seed in 3..9 {
        let exchange = play(seed, 250);
        let desk = &exchange.desks[3];
        let mut wallets: BTreeMap<String, Decimal> = BTreeMap::new();
        for row in &desk.income {
            *wallets.entry(row.asset.clone()).or_default() += row.amount;
        }
        assert_eq!(wallets, desk.usdm);
        let account = AccountId(3);
        for (asset, purse) in &desk.spot {
            assert!(purse.free >= Decimal::ZERO && purse.locked >= Decimal::ZERO, "{asset} {purse:?}");
            let mut sum = Decimal::ZERO;
            for flow in exchange.flows(account).iter().filter(|flow| flow.asset == *asset) {
                sum += match flow.kind {
                    FlowKind::Deposit | FlowKind::ToSpot => flow.amount,
                    FlowKind::Withdrawal | FlowKind::ToUsdm => -flow.amount - flow.fee,
                };
            }
            for conversion in exchange.conversions(account) {
                sum -= if conversion.from_asset == *asset { conversion.from_amount } else { Decimal::ZERO };
                sum += if conversion.to_asset == *asset { conversion.to_amount } else { Decimal::ZERO };
            }
            for (id, fills) in &desk.spot_fills {
                let market = &exchange.market.universe().spot[id.0];
                for fill in fills {
                    let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
                    sum += if market.base == *asset { sign * fill.qty } else { Decimal::ZERO };
                    sum -= if market.quote == *asset { sign * fill.quote_qty } else { Decimal::ZERO };
                    sum -= if fill.commission_asset == *asset { fill.commission } else { Decimal::ZERO };
                }
            }
            assert_eq!(sum, purse.free + purse.locked, "seed {seed}: {asset}");
        }
        let truth = crate::truth::of(&exchange, account, ORIGIN, exchange.now);
        let told: Vec<String> =
            truth["positions"].as_array().expect("positions").iter().map(|p| p["qty"].to_string()).collect();
        let kept: Vec<String> = desk.positions.values().map(|p| p.qty.normalize().to_string()).collect();
        assert_eq!(told, kept);
    }
}
