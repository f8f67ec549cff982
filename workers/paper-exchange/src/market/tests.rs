//! What the market promises, seen from outside.

use rust_decimal::Decimal;

use super::calendar::{DAY, HOUR, MINUTE};
use super::*;
use crate::model::ContractKind;

/// 2026-01-01T00:00:00Z
const ORIGIN: Millis = 1_767_225_600_000;

fn market(seed: u64, symbols: usize) -> Market {
    Market::new(seed, symbols, ORIGIN)
}

fn spot(market: &Market, symbol: &str) -> SpotId {
    market.spot(symbol).expect("listed")
}

fn usdm(market: &Market, symbol: &str) -> UsdmId {
    market.usdm(symbol).expect("listed")
}

/// A few figures of every kind, as text.
fn figures(market: &Market) -> Vec<String> {
    let at = ORIGIN + 400 * DAY + 12_345_678;
    let mut all = Vec::new();
    for symbol in ["BTCUSDT", "PEPEUSDT", "BTCUSDC"] {
        all.push(market.spot_price(spot(market, symbol), at).to_string());
    }
    for symbol in ["BTCUSDT", "1000PEPEUSDT", "ETHUSDC", "ETHUSDT_270625"] {
        let id = usdm(market, symbol);
        let mark = market.mark_price(id, at);
        let (low, high) = market.mark_range(id, ORIGIN + 400 * DAY);
        all.push(format!("{} {mark} {} {low} {high}", market.last_price(id, at), market.index_price(id, at)));
        all.push(market.funding_rate(id, ORIGIN + 400 * DAY).to_string());
    }
    let candle = market.usdm_candle(usdm(market, "BTCUSDT"), ORIGIN + 399 * DAY, DAY, at);
    all.push(candle.map_or_else(String::new, |c| {
        format!("{} {} {} {} {} {}", c.open, c.high, c.low, c.close, c.volume, c.trades)
    }));
    all
}

#[test]
fn a_seed_makes_these_figures_on_any_machine() {
    let pinned = [
        "113865.16",
        "0.00001892",
        "113866.72",
        "113911.9 113910.82181734 113865.16466220 113925.81461654 114375.04748250",
        "0.00010000",
        "0.0189241 0.01892430 0.01891849 0.01870703 0.01892815",
        "0.00010000",
        "5296.27 5296.23936230 5293.92557615 5317.11048742 5351.76071857",
        "0.00010000",
        "5452.30 5452.29469617 5293.96601628 5476.97788669 5517.97905444",
        "0.00000000",
        "112160.1 114777.0 111812.4 114188.4 230118.4620 14113140",
    ];
    assert_eq!(figures(&market(42, 12)), pinned);
}

#[test]
fn another_seed_makes_another_market() {
    let (one, two) = (figures(&market(1, 12)), figures(&market(2, 12)));
    assert!(one.iter().zip(&two).filter(|(a, b)| a != b).count() >= one.len() - 4);
}

#[test]
fn the_order_of_questions_changes_nothing() {
    let (ahead, back) = (market(9, 8), market(9, 8));
    let instants: Vec<Millis> = (0..60).map(|i| ORIGIN + i * 11 * DAY + i * 1_234_567).collect();
    let ask = |market: &Market, at: Millis| {
        let prices = (0..8).map(|i| market.mark_price(UsdmId(i), at)).collect::<Vec<_>>();
        (prices, market.funding_rate(UsdmId(3), at - at % (8 * HOUR)))
    };
    let forward: Vec<_> = instants.iter().map(|at| ask(&ahead, *at)).collect();
    let mut backward: Vec<_> = instants.iter().rev().map(|at| ask(&back, *at)).collect();
    backward.reverse();
    assert_eq!(forward, backward);
}

#[test]
fn more_symbols_leave_the_first_ones_as_they_are() {
    let (few, many) = (market(5, 3), market(5, 200));
    let at = ORIGIN + 100 * DAY + 5_000;
    for symbol in ["BTCUSDT", "ETHUSDT", "BNBUSDT"] {
        assert_eq!(few.mark_price(usdm(&few, symbol), at), many.mark_price(usdm(&many, symbol), at));
        assert_eq!(few.spot_price(spot(&few, symbol), at), many.spot_price(spot(&many, symbol), at));
    }
}

#[test]
fn two_hundred_symbols_are_listed_each_with_a_market_and_a_perpetual() {
    let market = market(1, 200);
    let universe = market.universe();
    assert_eq!(universe.spot.len(), 202);
    assert_eq!(universe.usdm.len(), 200 + 2 + 2 * 20);
    for (i, listed) in universe.spot.iter().enumerate() {
        assert_eq!(market.spot(&listed.symbol), Some(SpotId(i)));
    }
    for (i, listed) in universe.usdm.iter().enumerate() {
        assert_eq!(market.usdm(&listed.symbol), Some(UsdmId(i)));
        let most = Decimal::ONE / Decimal::from(listed.max_leverage);
        assert!(listed.maintenance_rate < most, "{} would be liquidated as it opens", listed.symbol);
    }
    let pepe = &universe.usdm[usdm(&market, "1000PEPEUSDT").0];
    assert_eq!((pepe.base.as_str(), market.usdm("PEPEUSDT"), market.spot("1000PEPEUSDT")), ("1000PEPE", None, None));
}

#[test]
fn dated_contracts_are_listed_half_a_year_before_their_delivery() {
    let market = market(1, 3);
    let dated: Vec<_> = market.universe().usdm.iter().filter(|c| c.kind != ContractKind::Perpetual).collect();
    assert_eq!(dated[0].symbol, "BTCUSDT_260327");
    assert_eq!(dated[39].symbol, "ETHUSDT_301227");
    for contract in dated {
        let ContractKind::Dated { onboard, delivery } = contract.kind else { continue };
        assert!((180..=191).contains(&((delivery - onboard) / DAY)), "{}", contract.symbol);
    }
}

#[test]
fn a_dated_contract_meets_its_index_at_delivery_and_stays() {
    let market = market(3, 3);
    let id = usdm(&market, "BTCUSDT_260925");
    let ContractKind::Dated { onboard, delivery } = market.universe().usdm[id.0].kind else { panic!("dated") };
    let gap = |at| (market.mark_price(id, at) / market.index_price(id, at) - Decimal::ONE).abs();
    let early = (0..30).map(|d| gap(onboard.max(ORIGIN) + d * DAY)).sum::<Decimal>();
    let late = (0..30).map(|d| gap(delivery - d * DAY)).sum::<Decimal>();
    assert!(early > late * Decimal::from(2), "{early} {late}");
    assert_eq!(market.mark_price(id, delivery), market.index_price(id, delivery));
    assert_eq!(market.mark_price(id, delivery + 9 * DAY), market.index_price(id, delivery));
    assert!(gap(delivery - MINUTE) < Decimal::new(1, 6));
    assert_eq!(market.usdm_candle(id, delivery, HOUR, delivery + DAY), None);
    assert_eq!(market.funding_rate(id, delivery), Decimal::ZERO);
}

#[test]
fn bitcoin_and_ether_mostly_move_the_same_way() {
    for seed in 1..4 {
        let market = market(seed, 3);
        let rises = |symbol| {
            let id = spot(&market, symbol);
            let prices: Vec<_> = (0..8760).map(|h| market.spot_price(id, ORIGIN + h * HOUR)).collect();
            prices.windows(2).map(|w| w[1] > w[0]).collect::<Vec<_>>()
        };
        let (btc, eth) = (rises("BTCUSDT"), rises("ETHUSDT"));
        let same = btc.iter().zip(&eth).filter(|(a, b)| a == b).count();
        // Half if they had nothing to do with each other; 74 % at a correlation of 0.68.
        assert!((6_000..7_500).contains(&same), "{same} of 8759");
    }
}

#[test]
fn prices_move_like_those_of_coins() {
    // The deviation of a year from hourly steps, in percent: bitcoin is the calm one.
    let market = market(4, 40);
    let yearly = |id: usize| {
        let prices: Vec<_> = (0..8760).map(|h| market.spot_price(SpotId(id), ORIGIN + h * HOUR)).collect();
        let squares = prices.windows(2).map(|w| ((w[1] - w[0]) / w[0]).round_dp(9)).map(|r| r * r).sum::<Decimal>();
        let per_million = (squares * Decimal::from(1_000_000)).trunc();
        u64::try_from(per_million).map_or(0, u64::isqrt) / 10
    };
    let all: Vec<u64> = (0..40).map(yearly).collect();
    assert!((35..80).contains(&all[0]), "{all:?}");
    assert!(all[3..].iter().all(|y| (60..190).contains(y)), "{all:?}");
}

#[test]
fn funding_follows_the_basis() {
    let market = market(6, 6);
    let id = usdm(&market, "SOLUSDT");
    let (mut high, mut low) = (Vec::new(), Vec::new());
    for n in 1..1000 {
        let at = ORIGIN + n * 8 * HOUR;
        let premiums = (0..480)
            .map(|m| at - 8 * HOUR + m * MINUTE)
            .map(|t| (market.mark_price(id, t) / market.index_price(id, t) - Decimal::ONE).round_dp(12));
        let average = premiums.sum::<Decimal>() / Decimal::from(480);
        let rate = market.funding_rate(id, at);
        let interest = Decimal::new(1, 4);
        let limit = Decimal::new(5, 4);
        let expected = average + (interest - average).clamp(-limit, limit);
        assert!((rate - expected).abs() < Decimal::new(3, 8), "{rate} {expected}");
        if average.is_sign_positive() { high.push(rate) } else { low.push(rate) }
    }
    assert!(high.len() > 300 && low.len() > 100, "{} {}", high.len(), low.len());
    assert!(high.iter().all(|r| *r > Decimal::ZERO), "who is crowding in pays");
    assert!(low.iter().any(|r| *r < Decimal::ZERO));
    assert!(high.iter().any(|r| *r > Decimal::new(3, 4)), "and pays more than the interest");
}

#[test]
fn candles_chain_and_bracket() {
    let market = market(8, 10);
    let now = ORIGIN + 300 * DAY;
    for length in [1_000, MINUTE, 5 * MINUTE, HOUR, 4 * HOUR, DAY, DAY + 7 * MINUTE] {
        for id in [0, 7, 10, 12] {
            let from = ORIGIN + 70 * DAY;
            for n in 0..5 {
                let open_time = from + n * length;
                let candle = market.usdm_candle(UsdmId(id), open_time, length, now).expect("open");
                assert_eq!(candle.open, market.last_price(UsdmId(id), open_time));
                assert_eq!(candle.close, market.last_price(UsdmId(id), open_time + length - 1));
                assert!(candle.low <= candle.open.min(candle.close) && candle.high >= candle.open.max(candle.close));
                assert!(candle.volume > Decimal::ZERO);
            }
        }
        let id = spot(&market, "PEPEUSDT");
        let candle = market.spot_candle(id, ORIGIN + DAY, length, now).expect("open");
        assert_eq!(candle.open, market.spot_price(id, ORIGIN + DAY));
        assert_eq!(candle.close, market.spot_price(id, ORIGIN + DAY + length - 1));
    }
}

#[test]
fn a_long_candle_is_made_of_its_short_ones() {
    let market = market(8, 3);
    let (from, now) = (ORIGIN + 33 * DAY, ORIGIN + 40 * DAY);
    let id = usdm(&market, "ETHUSDC");
    let long = market.usdm_candle(id, from, 12 * HOUR, now).expect("open");
    let short: Vec<_> = (0..720).filter_map(|m| market.usdm_candle(id, from + m * MINUTE, MINUTE, now)).collect();
    assert_eq!(short.len(), 720);
    assert_eq!(Some(long.high), short.iter().map(|c| c.high).max());
    assert_eq!(Some(long.low), short.iter().map(|c| c.low).min());
    assert_eq!((long.open, long.close), (short[0].open, short[719].close));
    assert_eq!(long.volume, short.iter().map(|c| c.volume).sum::<Decimal>());
    assert_eq!(long.trades, short.iter().map(|c| c.trades).sum::<u64>());
}

#[test]
fn an_unfinished_candle_goes_as_far_as_now() {
    let market = market(8, 3);
    let id = spot(&market, "BTCUSDT");
    let open_time = ORIGIN + 5 * DAY;
    let at = |now| market.spot_candle(id, open_time, MINUTE, now);
    assert_eq!(at(open_time - 1), None);
    let first = at(open_time).expect("open");
    assert_eq!((first.open, first.close), (market.spot_price(id, open_time), market.spot_price(id, open_time)));
    let half = at(open_time + 30_500).expect("open");
    assert_eq!(half.close, market.spot_price(id, open_time + 30_500));
    let whole = at(open_time + DAY).expect("open");
    assert!(half.volume < whole.volume && half.high <= whole.high && half.low >= whole.low);
    assert_eq!(market.spot_candle(id, ORIGIN - HOUR, HOUR, ORIGIN + DAY), None);
}

#[test]
fn ranges_are_those_of_the_whole_minutes() {
    let market = market(11, 9);
    let dated = usdm(&market, "ETHUSDT_260327");
    let ContractKind::Dated { delivery, .. } = market.universe().usdm[dated.0].kind else { panic!("dated") };
    let ids = [UsdmId(0), UsdmId(7), usdm(&market, "BTCUSDC"), dated];
    let extremes = |prices: &[Decimal]| (prices.iter().min().copied(), prices.iter().max().copied());
    for id in ids {
        for hour in (0..40).map(|n| ORIGIN + n * 211 * HOUR).chain([delivery - HOUR, delivery, ORIGIN - HOUR]) {
            let times = (0..60).map(|m| hour + m * MINUTE);
            let marks: Vec<_> = times.clone().map(|t| market.mark_price(id, t)).collect();
            let lasts: Vec<_> = times.map(|t| market.last_price(id, t)).collect();
            assert_eq!(market.mark_minutes(id, hour)[..], marks[..]);
            assert_eq!(market.last_minutes(id, hour)[..], lasts[..]);
            let (low, high) = market.mark_range(id, hour);
            assert_eq!((Some(low), Some(high)), extremes(&marks));
            let (low, high) = market.last_range(id, hour);
            assert_eq!((Some(low), Some(high)), extremes(&lasts));
        }
    }
    let id = spot(&market, "PEPEUSDT");
    for hour in (0..40).map(|n| ORIGIN + n * 97 * HOUR) {
        let prices: Vec<_> = (0..60).map(|m| market.spot_price(id, hour + m * MINUTE)).collect();
        let (low, high) = market.spot_range(id, hour);
        assert_eq!((Some(low), Some(high)), extremes(&prices));
        assert_eq!(market.spot_minutes(id, hour)[..], prices[..]);
    }
}

#[test]
fn no_price_of_an_hour_is_out_of_its_bound() {
    let market = market(12, 9);
    let dated = usdm(&market, "ETHUSDT_260327");
    let ContractKind::Dated { delivery, .. } = market.universe().usdm[dated.0].kind else { panic!("dated") };
    for id in [UsdmId(0), UsdmId(7), usdm(&market, "BTCUSDC"), dated] {
        for hour in (0..1500).map(|n| ORIGIN + n * 11 * HOUR).chain([delivery - HOUR, delivery, ORIGIN - HOUR]) {
            let (bound, range) = (market.mark_bound(id, hour), market.mark_range(id, hour));
            assert!(bound.0 <= range.0 && range.1 <= bound.1, "{bound:?} {range:?}");
            let (bound, range) = (market.last_bound(id, hour), market.last_range(id, hour));
            assert!(bound.0 <= range.0 && range.1 <= bound.1, "{bound:?} {range:?}");
        }
    }
    let id = spot(&market, "XRPUSDT");
    for hour in (0..300).map(|n| ORIGIN + n * 41 * HOUR) {
        let bound = market.spot_bound(id, hour);
        let candle = market.spot_candle(id, hour, HOUR, hour + HOUR).expect("open");
        assert!(bound.0 <= candle.low && candle.high <= bound.1, "{bound:?} {candle:?}");
        assert!(bound.1 < candle.open * Decimal::TWO, "a bound is no use when it is too wide");
    }
}

#[test]
fn no_price_falls_to_its_floor_in_five_years() {
    for seed in [1, 2, 3] {
        let market = market(seed, 60);
        for (i, listed) in market.universe().usdm.iter().enumerate().take(60) {
            let floor = listed.tick * Decimal::from(100);
            for day in 0..5 * 365 {
                let (low, high) = market.mark_range(UsdmId(i), ORIGIN + day * DAY + (day % 24) * HOUR);
                assert!(low > floor && high < Decimal::from(1_500_000), "{} {low} {high}", listed.symbol);
            }
        }
    }
}

#[test]
fn prices_lie_on_their_ticks() {
    let market = market(1, 60);
    for minute in 0..500 {
        let at = ORIGIN + minute * 7 * HOUR + minute * 61_000;
        for (i, listed) in market.universe().spot.iter().enumerate() {
            assert_eq!(market.spot_price(SpotId(i), at) % listed.tick, Decimal::ZERO);
        }
        for (i, listed) in market.universe().usdm.iter().enumerate() {
            assert_eq!(market.last_price(UsdmId(i), at) % listed.tick, Decimal::ZERO);
            assert!(market.mark_price(UsdmId(i), at).scale() <= 8);
        }
    }
}

/// By hand: `cargo test -p codash-paper-exchange years_of -- --ignored`. About a second a seed.
#[test]
#[ignore = "a measure of speed"]
fn years_of_two_hundred_symbols_are_made_twice_the_same() {
    let (one, two) = (market(1, 200), market(1, 200));
    let end = ORIGIN + 3 * 365 * DAY;
    for id in (0..200).map(UsdmId) {
        assert_eq!(one.mark_price(id, end), two.mark_price(id, end));
    }
}

/// By hand: half a million positions and hours.
#[test]
#[ignore = "a measure of speed"]
fn half_a_million_ranges_are_made() {
    let market = market(1, 20);
    let mut wide = 0;
    for hour in 0..25_000 {
        for id in (0..20).map(UsdmId) {
            let (low, high) = market.mark_range(id, ORIGIN + hour * HOUR);
            wide += u64::from(low < high);
        }
    }
    assert_eq!(wide, 500_000);
}
