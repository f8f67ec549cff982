//! Weights: what each address has used of its minute, and who does not listen.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::model::Millis;

/// Hosts of Binance that share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `/api` and `/sapi`.
    Spot,
    /// `/fapi`.
    Usdm,
}

/// Weight that an address may use in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    pub spot: u32,
    pub usdm: u32,
}

impl Budgets {
    fn of(self, family: Family) -> u64 {
        match family {
            Family::Spot => self.spot.into(),
            Family::Usdm => self.usdm.into(),
        }
    }
}

/// Why a request is not served: HTTP status and seconds to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt {
    pub status: u16,
    pub retry_after: u64,
}

const MINUTE: Millis = 60_000;
/// Requests inside a `Retry-After` that turn it into a ban.
const PATIENCE: u32 = 5;
const BAN_SECONDS: u64 = 120;

#[derive(Debug, Default)]
struct Gauge {
    /// The minute being counted, and what was used in it.
    minute: Millis,
    used: u64,
    /// The last sixty seconds: instant and weight.
    recent: VecDeque<(Millis, u64)>,
    highest60s: u64,
    requests: u64,
    limited_until: Millis,
    banned_until: Millis,
    ignored: u32,
    over_budget: u64,
    during429: u64,
    during418: u64,
    first_violation: Option<Millis>,
}

/// Gauges by address and family. It runs on real time, whatever the exchange's clock does.
#[derive(Debug)]
pub struct Meter {
    budgets: Budgets,
    gauges: BTreeMap<(IpAddr, Family), Gauge>,
}

fn seconds_until(then: Millis, now: Millis) -> u64 {
    u64::try_from((then - now).max(1).div_euclid(1000) + i64::from((then - now).max(1) % 1000 != 0)).unwrap_or(1)
}

impl Meter {
    pub fn new(budgets: Budgets) -> Self {
        Self { budgets, gauges: BTreeMap::new() }
    }

    /// Counts a request. The first value is the weight used in this minute, for the header.
    pub fn charge(&mut self, ip: IpAddr, family: Family, weight: u64, now: Millis) -> (u64, Option<Halt>) {
        let gauge = self.gauges.entry((ip, family)).or_default();
        let minute = now.div_euclid(MINUTE);
        if minute != gauge.minute {
            gauge.minute = minute;
            gauge.used = 0;
        }
        gauge.used += weight;
        gauge.requests += 1;
        gauge.recent.push_back((now, weight));
        while gauge.recent.front().is_some_and(|(at, _)| now - at >= MINUTE) {
            gauge.recent.pop_front();
        }
        gauge.highest60s = gauge.highest60s.max(gauge.recent.iter().map(|(_, weight)| weight).sum());
        (gauge.used, gauge.halt(self.budgets.of(family), now))
    }

    /// Tells an address to wait: a fault switch did so.
    pub fn limit(&mut self, ip: IpAddr, family: Family, halt: Halt, now: Millis) {
        let gauge = self.gauges.entry((ip, family)).or_default();
        let until = now + Millis::try_from(halt.retry_after).unwrap_or(0) * 1000;
        match halt.status {
            418 => gauge.banned_until = gauge.banned_until.max(until),
            _ => gauge.limited_until = gauge.limited_until.max(until),
        }
    }

    pub fn reset(&mut self) {
        self.gauges.clear();
    }

    /// Per family, all addresses together; the highest minute is that of the busiest address.
    pub fn report(&self, now: Millis) -> Value {
        let family = |family: Family| {
            let of = || self.gauges.iter().filter(|((_, of), _)| *of == family).map(|(_, gauge)| gauge);
            let used = |gauge: &Gauge| if gauge.minute == now.div_euclid(MINUTE) { gauge.used } else { 0 };
            json!({
                "budget": self.budgets.of(family),
                "usedInWindow": of().map(used).max().unwrap_or(0),
                "highest60s": of().map(|gauge| gauge.highest60s).max().unwrap_or(0),
                "requests": of().map(|gauge| gauge.requests).sum::<u64>(),
                "overBudget": of().map(|gauge| gauge.over_budget).sum::<u64>(),
                "during429": of().map(|gauge| gauge.during429).sum::<u64>(),
                "during418": of().map(|gauge| gauge.during418).sum::<u64>(),
                "firstViolationAt": of().filter_map(|gauge| gauge.first_violation).min(),
                "limitedUntil": of().map(|gauge| gauge.limited_until).max().filter(|until| *until > now),
                "bannedUntil": of().map(|gauge| gauge.banned_until).max().filter(|until| *until > now),
            })
        };
        json!({ "realNow": now, "spot": family(Family::Spot), "usdm": family(Family::Usdm) })
    }
}

impl Gauge {
    fn halt(&mut self, budget: u64, now: Millis) -> Option<Halt> {
        if now < self.banned_until {
            self.during418 += 1;
            self.first_violation.get_or_insert(now);
            return Some(Halt { status: 418, retry_after: seconds_until(self.banned_until, now) });
        }
        if now < self.limited_until {
            self.during429 += 1;
            self.first_violation.get_or_insert(now);
            self.ignored += 1;
            if self.ignored >= PATIENCE {
                self.ignored = 0;
                self.banned_until = now + 1000 * BAN_SECONDS.cast_signed();
                return Some(Halt { status: 418, retry_after: BAN_SECONDS });
            }
            return Some(Halt { status: 429, retry_after: seconds_until(self.limited_until, now) });
        }
        self.ignored = 0;
        if self.used <= budget {
            return None;
        }
        self.over_budget += 1;
        self.limited_until = (self.minute + 1) * MINUTE;
        Some(Halt { status: 429, retry_after: seconds_until(self.limited_until, now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn over_the_budget_is_429_until_the_minute_ends_and_going_on_is_418() {
        let mut meter = Meter::new(Budgets { spot: 6000, usdm: 2400 });
        let mut charge = |weight, now| meter.charge(IP, Family::Usdm, weight, now);
        assert_eq!(charge(2400, 600_500), (2400, None));
        assert_eq!(charge(1, 600_600), (2401, Some(Halt { status: 429, retry_after: 60 })));
        for n in 0..4 {
            let (_, halt) = charge(1, 610_000 + n);
            assert_eq!(halt, Some(Halt { status: 429, retry_after: 50 }));
        }
        assert_eq!(charge(1, 620_000).1, Some(Halt { status: 418, retry_after: 120 }));
        assert_eq!(charge(1, 730_000).1, Some(Halt { status: 418, retry_after: 10 }));
        assert_eq!(charge(1, 740_000).1, None);
        let report = meter.report(740_000);
        assert_eq!((report["usdm"]["during429"].as_u64(), report["usdm"]["during418"].as_u64()), (Some(5), Some(1)));
        assert_eq!(report["usdm"]["firstViolationAt"].as_i64(), Some(610_000));
        assert_eq!(report["spot"]["requests"].as_u64(), Some(0));
    }

    #[test]
    fn a_new_minute_starts_from_nothing_and_the_sliding_minute_does_not() {
        let mut meter = Meter::new(Budgets { spot: 6000, usdm: 2400 });
        meter.charge(IP, Family::Spot, 5000, 659_000);
        assert_eq!(meter.charge(IP, Family::Spot, 5000, 661_000), (5000, None));
        assert_eq!(meter.report(661_000)["spot"]["highest60s"].as_u64(), Some(10_000));
    }
}
