use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::money::parse_decimal;
use crate::money_weighted;

fn d(text: &str) -> Decimal {
    parse_decimal(text).unwrap()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

/// Minutes after the start of 2026.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + minutes * 60_000).unwrap()
}

fn valued(minutes: i64, nav: &str) -> Valued {
    Valued { at: at(minutes), nav_usd: usd(nav), sides: None }
}

fn moved(minutes: i64, value: &str) -> Moved {
    Moved { at: at(minutes), value_usd: value.parse().ok() }
}

fn account(navs: &[(i64, &str)], flows: &[(i64, &str)]) -> Worth {
    Worth {
        valued: navs.iter().map(|(m, nav)| valued(*m, nav)).collect(),
        moved: flows.iter().map(|(m, value)| moved(*m, value)).collect(),
        ended: false,
    }
}

fn all(accounts: &[Worth], from: i64) -> Period {
    joined(&hours(accounts, at(from)).0).unwrap()
}

#[test]
fn a_gain_is_measured_against_what_was_there_and_flows_by_their_time() {
    // Valued at 0:30 and 1:30; 60 came at 1:00, half of the time between: (100 + 60 / 2) made 13.
    let period = all(&[account(&[(30, "100"), (90, "173")], &[(60, "60")])], 60);
    assert_eq!((period.gain, period.flows, period.growth), (usd("13"), usd("60"), Growth::Of(d("1.1"))));
    // A withdrawal of all at the last moment takes nothing from the base.
    let period = all(&[account(&[(30, "100"), (90, "0")], &[(90, "-110")])], 60);
    assert_eq!((period.gain, period.growth), (usd("10"), Growth::Of(d("1.1"))));
}

#[test]
fn a_transfer_between_two_of_the_accounts_nets_out_however_late_its_other_side_is_seen() {
    let from = account(&[(30, "100"), (90, "60"), (150, "60"), (210, "60")], &[(61, "-40")]);
    let to = account(&[(30, "100"), (210, "140")], &[(61, "40")]);
    let period = all(&[from, to], 60);
    assert_eq!((period.flows, period.gain, period.growth), (Usd::ZERO, Usd::ZERO, Growth::Of(Decimal::ONE)));
    assert!(period.carried);
}

#[test]
fn an_account_enters_with_its_first_worth_and_leaves_with_its_last() {
    let first = account(&[(30, "100"), (90, "110"), (150, "121"), (210, "121")], &[]);
    let late = account(&[(100, "1000"), (160, "1000")], &[(95, "1000")]);
    let ended = Worth { ended: true, ..late };
    let (periods, pending) = hours(&[first, ended], at(60));
    let all = joined(&periods).unwrap();
    assert_eq!((all.entered, all.left, all.flows, all.gain), (usd("1000"), usd("1000"), Usd::ZERO, usd("21")));
    assert_eq!((all.nav_before, all.nav_after, pending), (usd("100"), usd("121"), 0));
    let growths: Vec<Growth> = periods.iter().map(|p| p.growth).collect();
    // Entering moves no return; once in, it weighs: 11 of 1110.
    let second = Decimal::ONE + d("11") / d("1110");
    assert_eq!(growths, [Growth::Of(d("1.1")), Growth::Of(second), Growth::Of(Decimal::ONE)]);
}

#[test]
fn periods_without_a_return_say_why_and_idle_ones_are_none() {
    let growth = |navs: &[(i64, &str)], flows: &[(i64, &str)]| all(&[account(navs, flows)], 60).growth;
    assert_eq!(growth(&[(30, "100"), (90, "150")], &[(60, "unknown")]), Growth::Unknown(Gap::UnpricedFlow));
    assert_eq!(growth(&[(30, "0"), (90, "5")], &[]), Growth::Unknown(Gap::NoBase));
    assert_eq!(growth(&[(30, "-3"), (90, "-5")], &[]), Growth::Unknown(Gap::NoBase));
    assert_eq!(growth(&[(30, "100"), (90, "-5")], &[]), Growth::Unknown(Gap::MoreThanAll));
    assert_eq!(growth(&[(30, "100"), (90, "0")], &[]), Growth::Of(Decimal::ZERO));
    assert_eq!(growth(&[(30, "0"), (90, "0")], &[]), Growth::Idle);
    // Emptied, idle, and filled again at the end of an hour: the idle time changes nothing.
    let period = all(&[account(&[(30, "100"), (90, "0"), (150, "50"), (210, "60")], &[(90, "-110"), (150, "50")])], 60);
    assert_eq!(period.growth, Growth::Of(d("1.32")));
}

#[test]
fn what_was_valued_before_is_where_the_first_period_begins_and_late_flows_are_pending() {
    let worth = account(&[(30, "100"), (24 * 60 + 30, "120")], &[(10, "100"), (24 * 60 + 40, "7")]);
    let (periods, pending) = hours(&[worth], at(24 * 60));
    assert_eq!((periods.len(), periods[0].nav_before, pending), (1, usd("100"), 1));
    assert_eq!(periods[0].growth, Growth::Of(d("1.2")));
    assert_eq!(joined(&[]), None);
}

#[test]
fn days_begin_at_midnight_in_utc_and_are_the_product_of_their_hours() {
    let day = 24 * 60;
    let worth = account(&[(30, "100"), (day - 1, "110"), (day + 1, "121"), (2 * day - 1, "242")], &[]);
    let periods = hours(&[worth], at(0)).0;
    let days = days(&periods);
    assert_eq!(
        days.iter().map(|p| (p.start, p.growth)).collect::<Vec<_>>(),
        [(at(0), Growth::Of(d("1.1"))), (at(day), Growth::Of(d("2.2")))]
    );
    assert_eq!((days[1].nav_before, days[1].nav_after, days[0].entered), (usd("110"), usd("242"), usd("100")));
}

fn growth_of(period: &Period) -> Decimal {
    match period.growth {
        Growth::Of(growth) => growth,
        other => panic!("{other:?}"),
    }
}

fn near(a: Decimal, b: Decimal) -> bool {
    (a - b).abs() <= b.abs() * d("1e-18")
}

/// Worth by the hour after these returns (in hundredths of a percent), valued at minute 59.
fn path(start: Decimal, basis_points: &[i64]) -> Vec<Decimal> {
    let mut nav = start;
    let steps = basis_points.iter().map(|bp| {
        nav *= Decimal::ONE + Decimal::new(*bp, 4);
        nav
    });
    std::iter::once(start).chain(steps).collect()
}

fn worth_of(navs: &[Decimal], first_hour: i64) -> Worth {
    let point = |(i, nav): (usize, &Decimal)| Valued {
        at: at((first_hour + i as i64) * 60 + 59),
        nav_usd: Usd(*nav),
        sides: None,
    };
    Worth { valued: navs.iter().enumerate().map(point).collect(), ..Worth::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_deposit_or_withdrawal_when_the_account_is_valued_changes_no_return(
        steps in prop::collection::vec(-900_i64..900, 2..60), place in 0_usize..60, percent in -95_i64..400,
    ) {
        let navs = path(d("1000"), &steps);
        let place = place % (navs.len() - 1);
        let plain = growth_of(&all(&[worth_of(&navs, 0)], 60));
        let flow = navs[place] * Decimal::new(percent, 2);
        let scale = (navs[place] + flow) / navs[place];
        let scaled: Vec<Decimal> = navs.iter().enumerate().map(|(i, n)| if i < place { *n } else { n * scale }).collect();
        let mut moved = worth_of(&scaled, 0);
        moved.moved = vec![Moved { at: moved.valued[place].at, value_usd: Some(Usd(flow)) }];
        prop_assert!(near(growth_of(&all(&[moved], 60)), plain));
    }

    #[test]
    fn an_account_added_late_changes_a_return_only_by_its_weight(
        steps in prop::collection::vec(-900_i64..900, 5..40),
        first in 1_i64..30,
    ) {
        let navs = path(d("1000"), &steps);
        let alone = growth_of(&all(&[worth_of(&navs, 0)], 60));
        let with_dust = growth_of(&all(&[worth_of(&navs, 0), worth_of(&[d("1e-24"), d("1e-24")], first)], 60));
        prop_assert!(near(with_dust, alone));
        // Of the same returns as the first in every hour that it is there: none is added or taken.
        let from = (first as usize).min(navs.len() - 1);
        let twin: Vec<Decimal> = navs[from..].iter().map(|nav| nav * d("3")).collect();
        let with_twin = growth_of(&all(&[worth_of(&navs, 0), worth_of(&twin, from as i64)], 60));
        prop_assert!(near(with_twin, alone));
    }

    #[test]
    fn without_flows_the_money_weighted_return_is_the_time_weighted_one(
        steps in prop::collection::vec(-900_i64..900, 2..60),
    ) {
        let navs = path(d("1000"), &steps);
        let worth = worth_of(&navs, 0);
        let end = worth.valued.last().unwrap().at;
        let period = all(&[worth], 60);
        let flows = [(at(59), period.nav_before)];
        let weighted = money_weighted::growth(&flows, end, period.nav_after).unwrap().growth;
        prop_assert!((weighted - growth_of(&period)).abs() <= d("1e-15"), "{weighted}");
    }

    #[test]
    fn what_is_there_is_what_was_there_and_came_and_was_gained(
        a in prop::collection::vec((0_i64..5_000, -50_i64..500), 1..30),
        b in prop::collection::vec((0_i64..5_000, -50_i64..500), 1..30),
        flows in prop::collection::vec((0_i64..6_000, -90_i64..90), 0..20), ended in any::<bool>(),
    ) {
        let build = |points: &[(i64, i64)], ended| {
            let by_hour: BTreeMap<i64, (i64, i64)> = points.iter().map(|(m, nav)| (m / 60, (*m, *nav))).collect();
            let mut moved: Vec<Moved> = flows.iter().map(|(m, v)| Moved { at: at(*m), value_usd: Some(Usd(Decimal::from(*v))) }).collect();
            moved.sort_by_key(|flow| flow.at);
            let valued = by_hour.values().map(|(m, nav)| Valued { at: at(*m), nav_usd: Usd(Decimal::from(*nav)), sides: None }).collect();
            Worth { valued, moved, ended }
        };
        let (periods, _) = hours(&[build(&a, ended), build(&b, false)], at(0));
        for period in periods.iter().chain([&joined(&periods).unwrap()]).chain(&days(&periods)) {
            let sum = period.nav_before + period.flows + period.entered - period.left + period.gain;
            prop_assert_eq!(sum, period.nav_after);
            let dated: Usd = period.dated.iter().map(|(_, amount)| *amount).sum();
            prop_assert_eq!(dated, period.flows + period.entered - period.left);
        }
        let last: Usd = [(&a, ended), (&b, false)].iter().filter(|(_, ended)| !ended)
            .map(|(points, _)| build(points, false).valued.last().unwrap().nav_usd).sum();
        prop_assert_eq!(periods.last().unwrap().nav_after, last);
    }
}
