//! The path inside an hour: halved again and again, down to the second, with noise at every halving.
//!
//! The hour is a bridge between two known ends, over sixty minutes; every minute is one over sixty seconds. A
//! second costs at most twelve draws; the minutes of an hour cost one draw each.

use super::noise::Key;
use super::regime::Jump;

pub const SECONDS: i64 = 3600;
const PARTS: usize = 60;

/// How a point of the sixty follows from the two that it lies between.
#[derive(Clone, Copy)]
struct Node {
    low: u8,
    at: u8,
    high: u8,
    /// Where it lies between them: 1 = 2^16.
    share: i64,
    /// Its deviation, where that of one part is 1 = 2^16.
    deviation: i64,
}

const NONE: Node = Node { low: 0, at: 0, high: 0, share: 0, deviation: 0 };

/// The points 1 to 59, parents first.
const NODES: [Node; PARTS - 1] = nodes();
/// Where in `NODES` a point is.
const PLACE: [u8; PARTS] = places();

const fn nodes() -> [Node; PARTS - 1] {
    let mut spans = [(0_u64, 0_u64); 2 * PARTS];
    spans[0] = (0, PARTS as u64);
    let (mut read, mut written) = (0, 1);
    let mut nodes = [NONE; PARTS - 1];
    let mut made = 0;
    while read < written {
        let (low, high) = spans[read];
        read += 1;
        if high - low < 2 {
            continue;
        }
        let at = (low + high) / 2;
        let share = ((at - low) << 16) / (high - low);
        let variance = (((at - low) * (high - at)) << 32) / (high - low);
        nodes[made] = Node {
            low: low as u8,
            at: at as u8,
            high: high as u8,
            share: share as i64,
            deviation: variance.isqrt() as i64,
        };
        made += 1;
        spans[written] = (low, at);
        spans[written + 1] = (at, high);
        written += 2;
    }
    nodes
}

const fn places() -> [u8; PARTS] {
    let mut places = [0; PARTS];
    let mut i = 0;
    while i < PARTS - 1 {
        places[NODES[i].at as usize] = i as u8;
        i += 1;
    }
    places
}

impl Node {
    fn value(&self, low: i64, high: i64, deviation: i64, key: Key) -> i64 {
        let noise = (key.bell(self.at as i64) * ((deviation * self.deviation) >> 16)) >> 16;
        low + (((high - low) * self.share) >> 16) + noise
    }
}

/// One point of a bridge.
fn point(at: usize, ends: (i64, i64), deviation: i64, key: Key) -> i64 {
    if at == 0 {
        return ends.0;
    }
    let (mut low, mut high) = ((0, ends.0), (PARTS, ends.1));
    loop {
        let middle = (low.0 + high.0) / 2;
        let value = NODES[PLACE[middle] as usize].value(low.1, high.1, deviation, key);
        if middle == at {
            return value;
        } else if at < middle {
            high = (middle, value);
        } else {
            low = (middle, value);
        }
    }
}

/// All points of a bridge, both ends included.
fn points(ends: (i64, i64), deviation: i64, key: Key) -> [i64; PARTS + 1] {
    let mut all = [0; PARTS + 1];
    (all[0], all[PARTS]) = ends;
    for node in &NODES {
        all[node.at as usize] = node.value(all[node.low as usize], all[node.high as usize], deviation, key);
    }
    all
}

/// One hour of one path, in logs.
#[derive(Clone, Copy)]
pub struct Hour {
    /// The log at the start.
    pub start: i64,
    /// The log at the end, before the jumps of the hour.
    pub end: i64,
    /// The deviation of a minute.
    pub minute_deviation: i64,
    pub jumps: [Jump; 2],
    pub key: Key,
}

impl Hour {
    /// The log at a second of the hour, 0 to 3599.
    pub fn at(&self, second: i64) -> i64 {
        let (minute, rest) = ((second / 60) as usize, (second % 60) as usize);
        let start = point(minute, (self.start, self.end), self.minute_deviation, self.key);
        let smooth = if rest == 0 {
            start
        } else {
            let end = match minute + 1 {
                PARTS => self.end,
                next => point(next, (self.start, self.end), self.minute_deviation, self.key),
            };
            point(rest, (start, end), self.second_deviation(), self.minute_key(minute))
        };
        smooth + self.jumped(second)
    }

    /// The logs at the sixty whole minutes and at the end, without jumps.
    pub fn minutes(&self) -> [i64; PARTS + 1] {
        points((self.start, self.end), self.minute_deviation, self.key)
    }

    /// The logs at the seconds of a minute and at its end, without jumps, from two of [`Hour::minutes`].
    pub fn seconds(&self, minute: usize, ends: (i64, i64)) -> [i64; PARTS + 1] {
        points(ends, self.second_deviation(), self.minute_key(minute))
    }

    /// What the jumps up to a second of the hour add.
    pub fn jumped(&self, second: i64) -> i64 {
        self.jumps.iter().filter(|j| j.second <= second).map(|j| j.size).sum()
    }

    /// Whether a jump lies after second `from` and before second `to`.
    pub fn jumps_between(&self, from: i64, to: i64) -> bool {
        self.jumps.iter().any(|j| j.size != 0 && j.second > from && j.second < to)
    }

    /// How far the seconds of a minute can stray from between its two ends: six halvings, none beyond 3.47
    /// deviations of its own, which add up to 11.7 of a second's.
    pub fn reach(&self) -> i64 {
        self.second_deviation() * 41 + 64
    }

    /// Logs that no second of the hour lies outside of: loose, but free of draws.
    pub fn bound(&self) -> (i64, i64) {
        let reach = self.minute_deviation * 41 + 64 + self.reach();
        let fall: i64 = self.jumps.iter().map(|j| j.size.min(0)).sum();
        let rise: i64 = self.jumps.iter().map(|j| j.size.max(0)).sum();
        (self.start.min(self.end) - reach + fall, self.start.max(self.end) + reach + rise)
    }

    fn second_deviation(&self) -> i64 {
        // The square root of sixty is 7.746.
        self.minute_deviation * 1000 / 7746
    }

    /// Draws 1 to 59 of the hour's key are its minutes'; what lies below a minute starts beyond them.
    fn minute_key(&self, minute: usize) -> Key {
        self.key.below(100 + minute as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed::{ONE, ppm};
    use super::super::noise::Stream;
    use super::*;

    fn hour(seed: u64) -> Hour {
        Hour {
            start: 5 * ONE / 100,
            end: 6 * ONE / 100,
            minute_deviation: ppm(700),
            jumps: [Jump { second: 1234, size: -ONE / 50 }, Jump::default()],
            key: Key::new(seed, Stream::Bridge, 0),
        }
    }

    #[test]
    fn a_point_alone_is_the_point_among_all() {
        for seed in 0..5 {
            let hour = hour(seed);
            let minutes = hour.minutes();
            for minute in 0..60 {
                let seconds = hour.seconds(minute, (minutes[minute], minutes[minute + 1]));
                for (rest, smooth) in seconds[..60].iter().enumerate() {
                    let second = (minute * 60 + rest) as i64;
                    assert_eq!(hour.at(second), smooth + hour.jumped(second), "second {second}");
                }
            }
        }
    }

    #[test]
    fn no_second_strays_beyond_its_reach() {
        for seed in 0..20 {
            let hour = hour(seed);
            let minutes = hour.minutes();
            for (minute, ends) in minutes.windows(2).enumerate() {
                let (low, high) = (ends[0].min(ends[1]) - hour.reach(), ends[0].max(ends[1]) + hour.reach());
                assert!(hour.seconds(minute, (ends[0], ends[1])).iter().all(|log| (low..=high).contains(log)));
            }
        }
        // The worst that the halvings on the way to a second can do: 3.464 deviations each.
        let way = |at: u8| NODES.iter().filter(move |n| n.low < at && at < n.high).map(|n| n.deviation).sum::<i64>();
        assert!((1..60).all(|at| way(at) * 3_465 / 1_000 < 41 << 16));
    }

    #[test]
    fn a_bridge_deviates_like_a_walk() {
        // The steps of a walk of sixty parts have the deviation of one part, wherever they lie.
        let squares: i64 = (0..400)
            .map(|seed| {
                let hour = Hour { end: 5 * ONE / 100, ..hour(seed) };
                let all = hour.minutes();
                all.windows(2).map(|w| ((w[1] - w[0]) / 1000).pow(2)).sum::<i64>()
            })
            .sum();
        let one = (ppm(700) / 1000).pow(2);
        let ratio = squares * 100 / (400 * 59 * one);
        assert!((90..=110).contains(&ratio), "{ratio} of 100");
    }
}
