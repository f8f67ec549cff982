//! The money-weighted return: the one rate at which everything that came in, less everything that went
//! out, would have grown to what is there at the end.

use rust_decimal::Decimal;

use crate::cover::DAY;
use crate::maths::exp;
use crate::money::Usd;
use crate::performance::Lack;
use crate::time::Timestamp;

/// Logarithms of growth between which a rate is looked for: from a millionth to a million times.
const GRID: [i64; 21] =
    [-1400, -800, -400, -200, -100, -50, -25, -10, -5, -1, 0, 1, 5, 10, 25, 50, 100, 200, 400, 800, 1400];

/// More flows than this are taken as of the noon of their day (all but the first), which bounds the work.
const MOST_FLOWS: usize = 1000;

/// What one unit became from the first flow to the end, had all money grown at one rate. Flows: positive
/// in, negative out, what was there at the start being the first; `worth` is what is there at the end.
pub fn growth(flows: &[(Timestamp, Usd)], end: Timestamp, worth: Usd) -> Result<Growth, Lack> {
    let mut sorted: Vec<_> = flows.iter().filter(|(_, amount)| *amount != Usd::ZERO).copied().collect();
    sorted.sort_unstable_by_key(|(at, _)| *at);
    let by_day = sorted.len() > MOST_FLOWS;
    let mut paid: Vec<(i64, Decimal)> = Vec::with_capacity(sorted.len().min(MOST_FLOWS));
    for (at, amount) in sorted {
        let noon = |at: Timestamp| at.floor_to(DAY).plus(chrono::TimeDelta::milliseconds(DAY / 2));
        let at = if by_day && !paid.is_empty() { noon(at) } else { at };
        let at = at.min(end).millis().max(paid.first().map_or(0, |(first, _)| *first));
        match paid.last_mut() {
            Some((last, sum)) if *last == at => *sum = sum.checked_add(amount.0).ok_or(Lack::OutOfRange)?,
            _ => paid.push((at, amount.0)),
        }
    }
    // The two legs of a transfer.
    paid.retain(|(_, amount)| !amount.is_zero());
    let start = paid.first().map(|(at, _)| *at).ok_or(Lack::NoData)?;
    let millis = end.millis() - start;
    if millis <= 0 {
        return Err(Lack::NoData);
    }
    let largest = paid.iter().map(|(_, amount)| amount.abs()).max().unwrap_or_default().max(worth.0.abs());
    let terms = paid.iter().map(|(at, amount)| {
        let left = Decimal::from(end.millis() - at).checked_div(Decimal::from(millis))?;
        Some((left, amount.checked_div(largest)?))
    });
    let terms = terms.collect::<Option<Vec<_>>>().ok_or(Lack::OutOfRange)?;
    let equation = Equation { terms, worth: worth.0.checked_div(largest).ok_or(Lack::OutOfRange)? };
    Ok(Growth { growth: equation.solve()?, millis })
}

/// A growth, and the time that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    pub growth: Decimal,
    pub millis: i64,
}

struct Equation {
    /// Share of the time that was left, and amount.
    terms: Vec<(Decimal, Decimal)>,
    worth: Decimal,
}

impl Equation {
    /// What the flows would have become at the logarithmic rate, less what is there.
    fn excess(&self, rate: Decimal) -> Option<Decimal> {
        self.terms.iter().try_fold(-self.worth, |sum, (left, amount)| {
            sum.checked_add(amount.checked_mul(exp(rate.checked_mul(*left)?)?)?)
        })
    }

    fn solve(&self) -> Result<Decimal, Lack> {
        if self.worth.is_zero() && self.terms.iter().all(|(_, amount)| amount.is_sign_positive()) {
            return Ok(Decimal::ZERO);
        }
        let grid: Vec<(Decimal, Decimal)> = GRID
            .iter()
            .map(|hundredths| Decimal::new(*hundredths, 2))
            .filter_map(|rate| Some((rate, self.excess(rate)?)))
            // A rate of the grid that is the root lies between its neighbours.
            .filter(|(_, excess)| !excess.is_zero())
            .collect();
        let mut roots = grid.windows(2).filter_map(|pair| match pair {
            [low, high] if low.1.is_sign_negative() != high.1.is_sign_negative() => Some((*low, *high)),
            _ => None,
        });
        match (roots.next(), roots.next()) {
            (Some((low, high)), None) => self.between(low, high).and_then(exp).ok_or(Lack::OutOfRange),
            (Some(_), Some(_)) => Err(Lack::SeveralRates),
            (None, _) => Err(Lack::NoRate),
        }
    }

    /// The root between two rates of which one's excess is negative: regula falsi, halving the weight of an
    /// end that stays (Illinois), which always closes in.
    fn between(&self, mut low: (Decimal, Decimal), mut high: (Decimal, Decimal)) -> Option<Decimal> {
        let enough = Decimal::new(1, 22);
        for round in 0..200 {
            if (high.0 - low.0).abs() <= enough {
                break;
            }
            let slope = high.1.checked_sub(low.1)?;
            let step = high.1.checked_mul(high.0 - low.0)?.checked_div(slope);
            let middle = (high.0 + low.0).checked_div(Decimal::TWO)?;
            let guess = step.map(|step| high.0 - step).filter(|_| round % 8 != 7);
            let rate = guess.filter(|g| *g > low.0.min(high.0) && *g < low.0.max(high.0)).unwrap_or(middle);
            let excess = self.excess(rate)?;
            if excess.abs() <= Decimal::new(1, 26) {
                return Some(rate);
            }
            if excess.is_sign_negative() == high.1.is_sign_negative() {
                low.1 = low.1.checked_div(Decimal::TWO)?;
            } else {
                low = high;
            }
            high = (rate, excess);
        }
        Some(high.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(days: i64, usd: i64) -> (Timestamp, Usd) {
        (at(days), Usd::new(Decimal::from(usd)))
    }

    fn at(days: i64) -> Timestamp {
        Timestamp::from_millis(days * crate::cover::DAY).unwrap()
    }

    fn solved(flows: &[(Timestamp, Usd)], end: i64, worth: &str) -> Result<Decimal, Lack> {
        growth(flows, at(end), worth.parse().unwrap()).map(|growth| growth.growth.round_dp(12).normalize())
    }

    #[test]
    fn the_rate_is_the_one_that_the_flows_grew_at() {
        let d = |text: &str| crate::money::parse_decimal(text).unwrap();
        assert_eq!(solved(&[flow(0, 100)], 365, "110"), Ok(d("1.1")));
        assert_eq!(solved(&[flow(0, 100)], 365, "100"), Ok(d("1")));
        // 100 for two halves and 100 for one, at 21% in all: 10% a half.
        assert_eq!(solved(&[flow(0, 100), flow(10, 100)], 20, "231"), Ok(d("1.21")));
        assert_eq!(solved(&[flow(0, 100), flow(10, -60)], 20, "55"), Ok(d("1.21")));
        // Everything taken out at the middle: the rate is over the whole time.
        assert_eq!(solved(&[flow(0, 100), flow(10, -110)], 20, "0"), Ok(d("1.21")));
        assert_eq!(solved(&[flow(0, 100)], 20, "0"), Ok(Decimal::ZERO));
        assert_eq!(solved(&[flow(0, 100), flow(10, 100)], 20, "0"), Ok(Decimal::ZERO));
        assert_eq!(solved(&[flow(0, 1_000_000_000_000)], 3, "250000000000"), Ok(d("0.25")));
    }

    #[test]
    fn a_great_many_flows_are_taken_by_the_day() {
        let d = |text: &str| crate::money::parse_decimal(text).unwrap();
        let hour = |n: i64| Timestamp::from_millis(n * crate::cover::HOUR).unwrap();
        let (end, rate) = (7_201, d("1.5"));
        let mut worth = Decimal::ZERO;
        let flows: Vec<_> = (0..3_000)
            .map(|n| (n * 12 / 5, if n == 0 { 10_000 } else { 10 }))
            .map(|(at, usd)| {
                let left = Decimal::from(end - at) / Decimal::from(end);
                worth += Decimal::from(usd) * crate::maths::pow(rate, left).unwrap();
                (hour(at), Usd::new(Decimal::from(usd)))
            })
            .collect();
        // Ten a day over 300 days: none is further than half a day from its noon, early ones no more than late.
        let solved_rate = growth(&flows, hour(end), Usd(worth)).unwrap().growth;
        assert!((solved_rate - rate).abs() < d("0.001"), "{solved_rate}");
        // Legs of transfers at one instant are nothing.
        let both: Vec<_> = (1..20).flat_map(|d| [flow(d, 7), flow(d, -7)]).chain([flow(0, 100)]).collect();
        assert_eq!(solved(&both, 20, "110"), Ok(crate::money::parse_decimal("1.1").unwrap()));
    }

    #[test]
    fn flows_without_one_rate_have_a_reason_instead() {
        assert_eq!(solved(&[], 20, "5"), Err(Lack::NoData));
        assert_eq!(solved(&[flow(0, 100)], 0, "5"), Err(Lack::NoData));
        assert_eq!(solved(&[flow(0, 100)], 20, "-5"), Err(Lack::NoRate));
        // 100 in, 230 out, 132 in, nothing left: 10% a half and 20% a half both explain it.
        assert_eq!(solved(&[flow(0, 100), flow(10, -230), flow(20, 132)], 20, "0"), Err(Lack::SeveralRates));
    }
}
