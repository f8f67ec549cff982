//! The figures of one window of whole days.

use std::collections::BTreeMap;

use codash_domain::cover::DAY;
use codash_domain::performance::{self as perf, Lack};
use codash_domain::returns::{Gap, Growth, Period, joined};
use codash_domain::{Timestamp, Usd, Window, money_weighted};
use codash_store::performance::ClosedTrades;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::Serialize;

use crate::select::{Number, WindowAnswer};

/// Decimal places of percentages and ratios.
const PLACES: u32 = 8;
/// At most this many days without a return are listed; `gapCount` has them all.
const GAPS_SHOWN: usize = 10;

/// What the days of a window amount to. A figure that cannot be said is null, and `missing` says why.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// 7d, 30d, ..., sinceInception, or requested.
    pub label: String,
    /// Whole days in UTC.
    pub window: WindowAnswer,
    /// The first day of the window with a NAV; null when there is none.
    pub history_from: Option<String>,
    /// Days with a return: what the statistics rest on.
    pub day_count: usize,
    /// Days up to the last with a NAV on which no account was valued: their gain is in the next day's return.
    pub unobserved_day_count: usize,
    /// Days on which some account counts with an earlier hour's worth at least once.
    pub carried_day_count: usize,
    /// endNavUsd = startNavUsd + netFlowsUsd + enteredUsd - leftUsd + pnlUsd.
    pub start_nav_usd: Option<Usd>,
    pub end_nav_usd: Option<Usd>,
    /// Deposits and transfers in, less withdrawals and transfers out.
    pub net_flows_usd: Option<Usd>,
    /// First worth of accounts that were first seen in the window.
    pub entered_usd: Option<Usd>,
    /// Last worth of accounts that are no longer read.
    pub left_usd: Option<Usd>,
    /// Change of NAV that no flow explains: realized and unrealized, after fees and funding.
    pub pnl_usd: Option<Usd>,
    /// Time-weighted.
    pub total_return_pct: Option<Number>,
    /// Money-weighted, of the period since the window's first money.
    pub mwr_pct: Option<Number>,
    /// mwrPct a year.
    pub mwr_annualized_pct: Option<Number>,
    pub annualized_return_pct: Option<Number>,
    /// Annualized standard deviation of daily returns.
    pub volatility_pct: Option<Number>,
    pub sharpe: Option<Number>,
    pub sortino: Option<Number>,
    pub calmar: Option<Number>,
    /// Zero or negative.
    pub max_drawdown_pct: Option<Number>,
    /// The days of maxDrawdownPct; null when there was none.
    pub max_drawdown: Option<Fall>,
    /// Zero or negative: the fall from the window's highest value that is left at its end.
    pub current_drawdown_pct: Option<Number>,
    pub best_day: Option<DayReturn>,
    pub worst_day: Option<DayReturn>,
    /// Share of days with a return whose return is positive.
    pub hit_rate_pct: Option<Number>,
    /// Share of closing fills with a positive result after their fee.
    pub closed_trade_hit_rate_pct: Option<Number>,
    pub closed_trade_count: Option<i64>,
    /// Net realized PnL of the days that gained over that of the days that lost (positive).
    pub profit_factor: Option<Number>,
    /// Mean over hours.
    pub average_gross_exposure_usd: Option<Usd>,
    pub average_net_exposure_usd: Option<Usd>,
    /// Mean over hours of gross exposure over NAV: 2.5 is 2.5 times.
    pub average_leverage: Option<Number>,
    /// Days with money at work that have no return. While there is one, what rests on all days is null.
    pub gap_count: usize,
    pub gaps: Vec<DayGap>,
    /// Why a figure is null, by its name.
    pub missing: BTreeMap<&'static str, Lack>,
}

/// A fall and its days, at whose end each value was reached.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fall {
    /// Null: the value that the window began with.
    pub peak_day: Option<String>,
    pub trough_day: String,
    /// Null: not yet back at the peak.
    pub recovery_day: Option<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayReturn {
    /// 2026-05-15, in UTC.
    pub day: String,
    pub return_pct: Number,
}

/// A day without a return.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayGap {
    pub day: String,
    pub reason: Gap,
}

/// What figures are said with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Days of a year.
    pub year: Decimal,
    /// A daily rate.
    pub risk_free: Decimal,
}

/// What was realized, by day.
#[derive(Debug, Clone, Default)]
pub(crate) struct Realized {
    /// Net PnL of the events of each day.
    pub nets: Vec<(String, Usd)>,
    pub trades: Vec<ClosedTrades>,
    /// Before this day, trades were not counted: there are too many.
    pub trades_from: Option<String>,
}

/// Half-open, at midnights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Days {
    pub fn holds(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    pub fn window(self) -> Window {
        Window { from: self.start, to: self.end.minus(chrono::TimeDelta::milliseconds(1)).max(self.start) }
    }
}

pub(crate) fn day_name(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

pub(crate) fn round(value: Decimal) -> Number {
    Number(value.round_dp_with_strategy(PLACES, RoundingStrategy::MidpointNearestEven).normalize())
}

pub(crate) fn pct(fraction: Decimal) -> Result<Decimal, Lack> {
    fraction.checked_mul(Decimal::ONE_HUNDRED).ok_or(Lack::OutOfRange)
}

/// The return of a period, or why there is none; `Ok(None)`: no money was at work.
pub(crate) fn return_of(period: &Period) -> Result<Option<Decimal>, Gap> {
    match period.growth {
        Growth::Of(growth) => growth.checked_sub(Decimal::ONE).map(Some).ok_or(Gap::OutOfRange),
        Growth::Idle => Ok(None),
        Growth::Unknown(gap) => Err(gap),
    }
}

/// Collects figures and the reasons of those that lack.
#[derive(Debug, Default)]
pub(crate) struct Sayer(pub BTreeMap<&'static str, Lack>);

impl Sayer {
    pub fn ratio(&mut self, name: &'static str, value: Result<Decimal, Lack>) -> Option<Number> {
        self.say(name, value).map(round)
    }

    pub fn pct(&mut self, name: &'static str, fraction: Result<Decimal, Lack>) -> Option<Number> {
        self.ratio(name, fraction.and_then(pct))
    }

    pub fn say<T>(&mut self, name: &'static str, value: Result<T, Lack>) -> Option<T> {
        value.map_err(|lack| self.0.insert(name, lack)).ok()
    }
}

/// Days of the window, apart: those with a return, and those that should have one.
struct Split {
    returns: Vec<Decimal>,
    days: Vec<Timestamp>,
    gaps: Vec<DayGap>,
}

fn split(days: &[Period]) -> Split {
    let mut split = Split { returns: vec![], days: vec![], gaps: vec![] };
    for day in days {
        match return_of(day) {
            Ok(Some(r)) => {
                split.returns.push(r);
                split.days.push(day.start);
            }
            Ok(None) => {}
            Err(reason) => split.gaps.push(DayGap { day: day_name(day.start), reason }),
        }
    }
    split
}

/// The figures of the days and hours that lie in the window.
pub(crate) fn figures(
    label: String,
    window: Days,
    days: &[Period],
    hours: &[Period],
    realized: &Realized,
    terms: Terms,
) -> Figures {
    let own: Vec<Period> = days.iter().filter(|day| window.holds(day.start)).cloned().collect();
    let all = joined(&own);
    let mut say = Sayer::default();
    let mut split = split(&own);
    // A figure of the whole needs every day of it.
    let whole = if split.gaps.is_empty() { Ok(()) } else { Err(Lack::IncompleteDays) };
    let all_days = whole.map(|()| split.returns.as_slice());
    let unpriced = split.gaps.iter().any(|gap| gap.reason == Gap::UnpricedFlow);
    let priced = |pick: fn(&Period) -> Usd| match &all {
        _ if unpriced => Err(Lack::IncompleteDays),
        Some(all) => Ok(pick(all)),
        None => Err(Lack::NoData),
    };
    let of_all = |pick: fn(&Period) -> Usd| all.as_ref().map(pick).ok_or(Lack::NoData);
    let spanned = own.first().zip(own.last()).map_or(0, |(first, last)| {
        let start = if first.nav_before == Usd::ZERO { first.start } else { window.start };
        (last.start.millis() - start.millis()) / DAY + 1
    });
    let unobserved = usize::try_from(spanned).unwrap_or_default().saturating_sub(own.len());
    let grown = all_days.and_then(perf::growth);
    let elapsed = Decimal::from(split.returns.len()) + Decimal::from(unobserved);
    let yearly = grown.and_then(|growth| perf::annualized(growth, elapsed, terms.year));
    let fall = all_days.and_then(perf::drawdown);
    let weighted = whole.and_then(|()| money_weighted(window, &own, all.as_ref()));
    let exposure = Exposure::over(hours.iter().filter(|hour| window.holds(hour.start)));
    let trades = trades(window, realized);
    let best = extreme(&split, |r| r);
    let worst = extreme(&split, |r| -r);
    let gap_count = split.gaps.len();
    split.gaps.truncate(GAPS_SHOWN);
    Figures {
        label,
        window: window.window().into(),
        history_from: own.first().map(|day| day_name(day.start)),
        day_count: split.returns.len(),
        unobserved_day_count: unobserved,
        carried_day_count: own.iter().filter(|day| day.carried).count(),
        start_nav_usd: say.say("startNavUsd", of_all(|all| all.nav_before)),
        end_nav_usd: say.say("endNavUsd", of_all(|all| all.nav_after)),
        net_flows_usd: say.say("netFlowsUsd", priced(|all| all.flows)),
        entered_usd: say.say("enteredUsd", of_all(|all| all.entered)),
        left_usd: say.say("leftUsd", of_all(|all| all.left)),
        pnl_usd: say.say("pnlUsd", priced(|all| all.gain)),
        total_return_pct: say.pct("totalReturnPct", grown.map(|growth| growth - Decimal::ONE)),
        mwr_pct: say.pct("mwrPct", weighted.map(|w| w.growth - Decimal::ONE)),
        mwr_annualized_pct: say.pct(
            "mwrAnnualizedPct",
            weighted.and_then(|w| perf::annualized(w.growth, Decimal::from(w.millis) / Decimal::from(DAY), terms.year)),
        ),
        annualized_return_pct: say.pct("annualizedReturnPct", yearly),
        volatility_pct: say.pct("volatilityPct", perf::volatility(&split.returns, terms.year)),
        sharpe: say.ratio("sharpe", perf::sharpe(&split.returns, terms.risk_free, terms.year)),
        sortino: say.ratio("sortino", perf::sortino(&split.returns, terms.risk_free, terms.year)),
        calmar: say.ratio("calmar", fall.and_then(|fall| perf::calmar(yearly?, fall.depth))),
        max_drawdown_pct: say.pct("maxDrawdownPct", fall.map(|fall| fall.depth)),
        max_drawdown: fall.ok().filter(|fall| !fall.depth.is_zero()).and_then(|fall| fall_days(&fall, &split.days)),
        current_drawdown_pct: say.pct("currentDrawdownPct", fall.map(|fall| fall.current)),
        best_day: say.say("bestDay", best),
        worst_day: say.say("worstDay", worst),
        hit_rate_pct: say.pct("hitRatePct", hit_rate(&split.returns)),
        closed_trade_hit_rate_pct: say.pct("closedTradeHitRatePct", trades.and_then(|(won, all)| share(won, all))),
        closed_trade_count: say.say("closedTradeCount", trades.map(|(_, all)| all)),
        profit_factor: say.ratio("profitFactor", profit_factor(window, realized)),
        average_gross_exposure_usd: say.say("averageGrossExposureUsd", exposure.mean(exposure.gross)),
        average_net_exposure_usd: say.say("averageNetExposureUsd", exposure.mean(exposure.net)),
        average_leverage: say.ratio("averageLeverage", exposure.leverage()),
        gap_count,
        gaps: split.gaps,
        missing: say.0,
    }
}

fn money_weighted(window: Days, own: &[Period], all: Option<&Period>) -> Result<money_weighted::Growth, Lack> {
    let all = all.ok_or(Lack::NoData)?;
    let end = own.last().map_or(window.end, |day| day.start.plus(chrono::TimeDelta::milliseconds(DAY)));
    let mut flows = vec![(window.start, all.nav_before)];
    flows.extend(all.dated.iter().map(|(at, amount)| ((*at).clamp(window.start, end), *amount)));
    money_weighted::growth(&flows, end, all.nav_after)
}

fn fall_days(fall: &perf::Drawdown, days: &[Timestamp]) -> Option<Fall> {
    let name = |place: usize| days.get(place).copied().map(day_name);
    Some(Fall {
        peak_day: fall.peak.and_then(name),
        trough_day: name(fall.trough)?,
        recovery_day: fall.recovery.and_then(name),
    })
}

fn extreme(split: &Split, worth: fn(Decimal) -> Decimal) -> Result<DayReturn, Lack> {
    // The first of equals.
    let best = split.days.iter().zip(&split.returns).rev().max_by_key(|(_, r)| worth(**r)).ok_or(Lack::NoData)?;
    Ok(DayReturn { day: day_name(*best.0), return_pct: round(pct(*best.1)?) })
}

fn hit_rate(returns: &[Decimal]) -> Result<Decimal, Lack> {
    let won = returns.iter().filter(|r| **r > Decimal::ZERO).count();
    Decimal::from(won).checked_div(Decimal::from(returns.len())).ok_or(Lack::NoData)
}

fn share(part: i64, whole: i64) -> Result<Decimal, Lack> {
    Decimal::from(part).checked_div(Decimal::from(whole)).ok_or(Lack::NoData)
}

/// Closing fills that won, and all.
fn trades(window: Days, realized: &Realized) -> Result<(i64, i64), Lack> {
    let (first, end) = (day_name(window.start), day_name(window.end));
    if realized.trades_from.as_ref().is_some_and(|from| first < *from) {
        return Err(Lack::TooManyEvents);
    }
    let own = realized.trades.iter().filter(|trades| first <= trades.day && trades.day < end);
    Ok(own.fold((0, 0), |sum, trades| (sum.0 + trades.won, sum.1 + trades.count)))
}

fn profit_factor(window: Days, realized: &Realized) -> Result<Decimal, Lack> {
    let (first, end) = (day_name(window.start), day_name(window.end));
    let own = || realized.nets.iter().filter(|(day, _)| first <= *day && *day < end).map(|(_, net)| *net);
    let gained: Usd = own().filter(|net| *net > Usd::ZERO).sum();
    let lost: Usd = own().filter(|net| *net < Usd::ZERO).sum();
    match own().next() {
        None => Err(Lack::NoData),
        Some(_) if lost == Usd::ZERO => Err(Lack::NoLosingDay),
        Some(_) => gained.0.checked_div(-lost.0).ok_or(Lack::OutOfRange),
    }
}

/// Sums over hours whose exposure is known.
#[derive(Debug, Clone, Copy, Default)]
struct Exposure {
    hours: i64,
    gross: Usd,
    net: Usd,
    /// Of hours with a positive NAV: how many, and the sum of gross over NAV.
    levered: Option<(i64, Decimal)>,
}

impl Exposure {
    fn over<'a>(hours: impl Iterator<Item = &'a Period>) -> Self {
        let mut sum = Self { levered: Some((0, Decimal::ZERO)), ..Self::default() };
        for hour in hours {
            let Some((long, short)) = hour.sides else { continue };
            let (gross, nav) = (long + short, hour.nav_after + hour.left);
            sum.hours += 1;
            sum.gross = sum.gross + gross;
            sum.net = sum.net + long - short;
            if nav > Usd::ZERO {
                let part = gross.0.checked_div(nav.0);
                sum.levered = sum.levered.zip(part).and_then(|((n, s), part)| Some((n + 1, s.checked_add(part)?)));
            }
        }
        sum
    }

    fn mean(&self, sum: Usd) -> Result<Usd, Lack> {
        sum.0.checked_div(Decimal::from(self.hours)).map(Usd::derived).ok_or(Lack::NoExposure)
    }

    fn leverage(&self) -> Result<Decimal, Lack> {
        let (hours, sum) = self.levered.ok_or(Lack::OutOfRange)?;
        sum.checked_div(Decimal::from(hours)).ok_or(Lack::NoExposure)
    }
}
