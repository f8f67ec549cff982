//! Returns from what accounts were worth and what moved in and out of them: time-weighted.
//!
//! A sub-period ends with every hour in which an account was valued. In it, each account gained what its
//! worth changed by since it was last valued, less the flows between the two; the gain is measured against
//! the worth of all accounts before, plus the flows, each weighted by the share of its account's time that
//! it was there (Modified Dietz). Sub-periods multiply into days, days into windows.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::cover::{DAY, HOUR};
use crate::money::Usd;
use crate::time::Timestamp;

/// What an account was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valued {
    pub at: Timestamp,
    pub nav_usd: Usd,
    /// Long and short exposure, both positive; `None` where the venue stated equity alone.
    pub sides: Option<(Usd, Usd)>,
}

/// Money that came into an account (positive) or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub at: Timestamp,
    /// `None`: no price is known.
    pub value_usd: Option<Usd>,
}

/// One account through time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worth {
    /// Ascending, at most one an hour.
    pub valued: Vec<Valued>,
    /// Ascending.
    pub moved: Vec<Moved>,
    /// True when nobody reads the account any more: it leaves with its last worth.
    pub ended: bool,
}

/// Why a day has no return although there was money in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Gap {
    /// Money moved at a price that is not known.
    UnpricedFlow,
    /// Something was gained or lost while there was nothing, or less, to gain it with.
    NoBase,
    /// More was lost than there was.
    MoreThanAll,
    /// The number does not fit.
    OutOfRange,
}

/// What a unit became in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// 1.02: two percent gained.
    Of(Decimal),
    /// There was no money at work: nothing to grow.
    Idle,
    Unknown(Gap),
}

impl Growth {
    /// Of both, one after the other.
    fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Unknown(gap), _) | (_, Self::Unknown(gap)) => Self::Unknown(gap),
            (Self::Idle, other) | (other, Self::Idle) => other,
            (Self::Of(a), Self::Of(b)) => a.checked_mul(b).map_or(Self::Unknown(Gap::OutOfRange), Self::Of),
        }
    }
}

/// A period: an hour in which an account was valued, or several of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// The hour, or the day, that it begins with.
    pub start: Timestamp,
    /// Of all accounts: `nav_after = nav_before + flows + entered - left + gain`.
    pub nav_before: Usd,
    pub nav_after: Usd,
    /// Deposits, withdrawals and transfers that the worth at the end holds, in less out.
    pub flows: Usd,
    /// What accounts were worth when they were first valued.
    pub entered: Usd,
    /// What accounts were worth when they were last.
    pub left: Usd,
    pub gain: Usd,
    pub growth: Growth,
    /// Flows, entries and exits (negative: out) at their times.
    pub dated: Vec<(Timestamp, Usd)>,
    /// Long and short at the end; `None` where a venue stated equity alone.
    pub sides: Option<(Usd, Usd)>,
    /// True when an account counts with an earlier hour's worth.
    pub carried: bool,
}

/// A period for each hour from `from` on in which any account was valued, in order. What was valued before
/// is what the first begins with. Second: flows that no worth holds yet.
pub fn hours(accounts: &[Worth], from: Timestamp) -> (Vec<Period>, usize) {
    let mut by_hour: BTreeMap<Timestamp, Vec<(usize, usize)>> = BTreeMap::new();
    for (account, worth) in accounts.iter().enumerate() {
        for (i, valued) in worth.valued.iter().enumerate() {
            by_hour.entry(valued.at.floor_to(HOUR)).or_default().push((account, i));
        }
    }
    let mut live: BTreeMap<usize, Valued> = BTreeMap::new();
    let mut read = vec![0_usize; accounts.len()];
    let mut nav = Usd::ZERO;
    let mut periods = Vec::new();
    for (hour, points) in by_hour {
        let mut step = Step::new(hour, nav);
        for &(account, i) in &points {
            let Some((worth, valued)) = accounts.get(account).and_then(|w| Some((w, *w.valued.get(i)?))) else {
                continue;
            };
            let read = read.get_mut(account);
            step.value(worth, live.insert(account, valued), valued, read);
        }
        let sides = live.values().map(|v| v.sides).collect::<Option<Vec<_>>>();
        step.period.sides = sides.map(|all| all.iter().fold((Usd::ZERO, Usd::ZERO), |a, b| (a.0 + b.0, a.1 + b.1)));
        step.period.carried = live.len() > points.len();
        for &(account, i) in &points {
            let is_last = accounts.get(account).is_some_and(|w| w.ended && i + 1 == w.valued.len());
            if let Some(gone) = is_last.then(|| live.remove(&account)).flatten() {
                step.leave(gone);
            }
        }
        let period = step.finish();
        nav = period.nav_after;
        if hour >= from {
            periods.push(period);
        }
    }
    let pending = accounts.iter().zip(&read).map(|(w, read)| w.moved.len() - read.min(&w.moved.len())).sum();
    (periods, pending)
}

/// An hour that is being added up.
struct Step {
    period: Period,
    /// Flows, each times the share of its account's time that it was there.
    weighted: Option<Decimal>,
    unpriced: bool,
}

impl Step {
    fn new(start: Timestamp, nav: Usd) -> Self {
        let period = Period {
            start,
            nav_before: nav,
            nav_after: nav,
            flows: Usd::ZERO,
            entered: Usd::ZERO,
            left: Usd::ZERO,
            gain: Usd::ZERO,
            growth: Growth::Idle,
            dated: Vec::new(),
            sides: None,
            carried: false,
        };
        Self { period, weighted: Some(Decimal::ZERO), unpriced: false }
    }

    /// An account was valued; `read` is how many of its flows earlier worths hold.
    fn value(&mut self, worth: &Worth, before: Option<Valued>, now: Valued, read: Option<&mut usize>) {
        let Some(read) = read else { return };
        let first = *read;
        *read = worth.moved.partition_point(|flow| flow.at <= now.at);
        let Some(before) = before else {
            // Its flows until now are in its first worth.
            self.period.entered = self.period.entered + now.nav_usd;
            self.period.nav_after = self.period.nav_after + now.nav_usd;
            self.period.dated.push((now.at, now.nav_usd));
            return;
        };
        let mut flows = Usd::ZERO;
        for flow in worth.moved.get(first..*read).unwrap_or_default() {
            let Some(value) = flow.value_usd else {
                self.unpriced = true;
                continue;
            };
            flows = flows + value;
            self.period.dated.push((flow.at, value));
            let part = share(flow.at, before.at, now.at).and_then(|share| value.0.checked_mul(share));
            self.weighted = self.weighted.zip(part).and_then(|(sum, part)| sum.checked_add(part));
        }
        let change = now.nav_usd - before.nav_usd;
        self.period.flows = self.period.flows + flows;
        self.period.gain = self.period.gain + change - flows;
        self.period.nav_after = self.period.nav_after + change;
    }

    fn leave(&mut self, last: Valued) {
        self.period.left = self.period.left + last.nav_usd;
        self.period.nav_after = self.period.nav_after - last.nav_usd;
        self.period.dated.push((last.at, -last.nav_usd));
    }

    fn finish(mut self) -> Period {
        self.period.growth = match self.weighted.and_then(|w| self.period.nav_before.0.checked_add(w)) {
            _ if self.unpriced => Growth::Unknown(Gap::UnpricedFlow),
            Some(base) => grown(base, self.period.gain.0),
            None => Growth::Unknown(Gap::OutOfRange),
        };
        self.period
    }
}

/// The share of the time from `before` to `now` that is left at `at`.
fn share(at: Timestamp, before: Timestamp, now: Timestamp) -> Option<Decimal> {
    let (left, whole) = (now.millis() - at.millis(), now.millis() - before.millis());
    Decimal::from(left.clamp(0, whole.max(0))).checked_div(Decimal::from(whole.max(1)))
}

fn grown(base: Decimal, gain: Decimal) -> Growth {
    if base <= Decimal::ZERO {
        return if gain.is_zero() { Growth::Idle } else { Growth::Unknown(Gap::NoBase) };
    }
    match gain.checked_div(base).and_then(|r| Decimal::ONE.checked_add(r)) {
        Some(growth) if growth.is_sign_negative() && !growth.is_zero() => Growth::Unknown(Gap::MoreThanAll),
        Some(growth) => Growth::Of(growth),
        None => Growth::Unknown(Gap::OutOfRange),
    }
}

/// The periods as one; `None` of none.
pub fn joined(periods: &[Period]) -> Option<Period> {
    let (first, rest) = periods.split_first()?;
    let mut all = first.clone();
    for period in rest {
        all.nav_after = period.nav_after;
        all.flows = all.flows + period.flows;
        all.entered = all.entered + period.entered;
        all.left = all.left + period.left;
        all.gain = all.gain + period.gain;
        all.growth = all.growth.then(period.growth);
        all.dated.extend_from_slice(&period.dated);
        all.sides = period.sides;
        all.carried |= period.carried;
    }
    Some(all)
}

/// Days in UTC in which any account was valued, in order.
pub fn days(hours: &[Period]) -> Vec<Period> {
    let day = |period: &Period| period.start.floor_to(DAY);
    let of = |hours: &[Period]| joined(hours).map(|all| Period { start: all.start.floor_to(DAY), ..all });
    hours.chunk_by(|a, b| day(a) == day(b)).filter_map(of).collect()
}

#[cfg(test)]
#[path = "returns_tests.rs"]
mod tests;
