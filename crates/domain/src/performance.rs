//! What daily returns amount to: growth, its spread, its worst fall. Returns and rates are fractions here
//! (0.01 is one percent); faces show percentages.
//!
//! The conventions are those of the common Python tools, which a table of vectors holds us to: deviations
//! divide by n - 1, the downside by n, a year has as many days as the caller says.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::maths::{pow, sqrt};

/// Why a figure cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Lack {
    /// No complete day, or no event, to speak of.
    NoData,
    /// A spread needs two days.
    TooFewDays,
    /// Every day returned the same: there is no spread to divide by.
    NoVariation,
    /// No day lost: there is no downside to divide by.
    NoLosingDay,
    /// It never fell below its peak.
    NoDrawdown,
    /// A day of the window has no return; `gaps` says which and why.
    IncompleteDays,
    /// No rate makes the flows worth what is left.
    NoRate,
    /// More than one rate does.
    SeveralRates,
    /// Exposure was not stated.
    NoExposure,
    /// More events than are read one by one.
    TooManyEvents,
    /// The number does not fit.
    OutOfRange,
}

/// What one unit became.
pub fn growth(returns: &[Decimal]) -> Result<Decimal, Lack> {
    if returns.is_empty() {
        return Err(Lack::NoData);
    }
    let mut wealth = Decimal::ONE;
    for r in returns {
        wealth = wealth.checked_mul(Decimal::ONE.checked_add(*r).ok_or(Lack::OutOfRange)?).ok_or(Lack::OutOfRange)?;
    }
    Ok(wealth)
}

/// The yearly return that compounds to `growth` in `days`.
pub fn annualized(growth: Decimal, days: Decimal, year: Decimal) -> Result<Decimal, Lack> {
    let power = year.checked_div(days).ok_or(Lack::NoData)?;
    let yearly = pow(growth, power).ok_or(Lack::OutOfRange)?;
    yearly.checked_sub(Decimal::ONE).ok_or(Lack::OutOfRange)
}

/// Standard deviation of daily returns times the root of the year.
pub fn volatility(returns: &[Decimal], year: Decimal) -> Result<Decimal, Lack> {
    let spread = deviation(returns)?;
    sqrt(year).and_then(|root| spread.checked_mul(root)).ok_or(Lack::OutOfRange)
}

/// Mean daily return above `risk_free` (a daily rate) over its standard deviation, times the root of the year.
pub fn sharpe(returns: &[Decimal], risk_free: Decimal, year: Decimal) -> Result<Decimal, Lack> {
    let excess = less(returns, risk_free)?;
    let spread = deviation(&excess)?;
    if spread.is_zero() {
        return Err(Lack::NoVariation);
    }
    let ratio = mean(&excess)?.checked_div(spread).ok_or(Lack::OutOfRange)?;
    sqrt(year).and_then(|root| ratio.checked_mul(root)).ok_or(Lack::OutOfRange)
}

/// As [`sharpe`], over the root mean square of the days below `risk_free` alone (over all days).
pub fn sortino(returns: &[Decimal], risk_free: Decimal, year: Decimal) -> Result<Decimal, Lack> {
    if returns.len() < 2 {
        return Err(Lack::TooFewDays);
    }
    let excess = less(returns, risk_free)?;
    let losses: Vec<Decimal> = excess.iter().map(|r| (*r).min(Decimal::ZERO)).collect();
    let downside = root_of_squares(&losses, returns.len())?;
    if downside.is_zero() {
        return Err(Lack::NoLosingDay);
    }
    let ratio = mean(&excess)?.checked_div(downside).ok_or(Lack::OutOfRange)?;
    sqrt(year).and_then(|root| ratio.checked_mul(root)).ok_or(Lack::OutOfRange)
}

/// Yearly return over the depth of the worst fall.
pub fn calmar(yearly: Decimal, depth: Decimal) -> Result<Decimal, Lack> {
    if depth.is_zero() {
        return Err(Lack::NoDrawdown);
    }
    yearly.checked_div(depth.abs()).ok_or(Lack::OutOfRange)
}

/// The worst fall from a peak. Places are indices of days, at whose end the value was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawdown {
    /// Zero or negative: -0.25 is a quarter lost.
    pub depth: Decimal,
    /// `None`: the value that the first day began with.
    pub peak: Option<usize>,
    pub trough: usize,
    /// The first day that was back at the peak; `None` when none was.
    pub recovery: Option<usize>,
    /// The fall at the last day from the highest value so far.
    pub current: Decimal,
}

pub fn drawdown(returns: &[Decimal]) -> Result<Drawdown, Lack> {
    let falls = falls(returns)?;
    let mut worst = Drawdown { depth: Decimal::ZERO, peak: None, trough: 0, recovery: None, current: Decimal::ZERO };
    let mut peak = None;
    for (day, fall) in falls.iter().enumerate() {
        if fall.is_zero() {
            peak = Some(day);
            if worst.depth < Decimal::ZERO {
                worst.recovery = worst.recovery.or(Some(day));
            }
        }
        if *fall < worst.depth {
            worst = Drawdown { depth: *fall, peak, trough: day, recovery: None, current: Decimal::ZERO };
        }
    }
    worst.current = falls.last().copied().unwrap_or_default();
    Ok(worst)
}

/// The fall from the highest value so far, at the end of each day: zero or negative.
pub fn falls(returns: &[Decimal]) -> Result<Vec<Decimal>, Lack> {
    if returns.is_empty() {
        return Err(Lack::NoData);
    }
    let (mut wealth, mut highest) = (Decimal::ONE, Decimal::ONE);
    let fall = |r: &Decimal| {
        wealth = wealth.checked_mul(Decimal::ONE.checked_add(*r)?)?;
        highest = highest.max(wealth);
        wealth.checked_sub(highest)?.checked_div(highest)
    };
    returns.iter().map(fall).collect::<Option<_>>().ok_or(Lack::OutOfRange)
}

/// A daily rate that compounds to `yearly` in a year.
pub fn daily(yearly: Decimal, year: Decimal) -> Option<Decimal> {
    if yearly.is_zero() {
        return Some(yearly);
    }
    pow(Decimal::ONE.checked_add(yearly)?, Decimal::ONE.checked_div(year)?)?.checked_sub(Decimal::ONE)
}

pub fn mean(values: &[Decimal]) -> Result<Decimal, Lack> {
    let sum = values.iter().try_fold(Decimal::ZERO, |sum, v| sum.checked_add(*v)).ok_or(Lack::OutOfRange)?;
    sum.checked_div(Decimal::from(values.len())).ok_or(Lack::NoData)
}

fn less(returns: &[Decimal], rate: Decimal) -> Result<Vec<Decimal>, Lack> {
    returns.iter().map(|r| r.checked_sub(rate)).collect::<Option<_>>().ok_or(Lack::OutOfRange)
}

/// Standard deviation, dividing by n - 1.
fn deviation(values: &[Decimal]) -> Result<Decimal, Lack> {
    if values.len() < 2 {
        return Err(Lack::TooFewDays);
    }
    // A mean of equal values may differ from them in its last digit: that is no spread.
    if values.iter().all(|v| Some(v) == values.first()) {
        return Ok(Decimal::ZERO);
    }
    root_of_squares(&less(values, mean(values)?)?, values.len() - 1)
}

/// The root of the sum of squares over `count`. Squares are taken of shares of the largest value, so that
/// small ones keep their digits and large ones fit.
fn root_of_squares(values: &[Decimal], count: usize) -> Result<Decimal, Lack> {
    let largest = values.iter().map(Decimal::abs).max().unwrap_or_default();
    if largest.is_zero() {
        return Ok(largest);
    }
    let squares = values.iter().try_fold(Decimal::ZERO, |sum, v| {
        let share = v.checked_div(largest)?;
        sum.checked_add(share.checked_mul(share)?)
    });
    let root = squares.and_then(|sum| sqrt(sum.checked_div(Decimal::from(count))?));
    root.and_then(|root| root.checked_mul(largest)).ok_or(Lack::OutOfRange)
}

#[cfg(test)]
#[path = "performance_tests.rs"]
mod tests;
