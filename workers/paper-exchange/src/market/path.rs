//! Where every coin is at every whole hour, and how its perpetual leans against it.

use super::bridge::Hour;
use super::coins::{Coin, SECTORS};
use super::fixed::ppm;
use super::noise::{Key, Stream};
use super::regime::{Climate, Jump, Weather};
use super::series::{MOST_HOURS, PIECE_HOURS, Series};

/// Coins stay between an eighth and eight times their first price: ln 8, as a log.
const BAND: i64 = 8_931_090_433;
/// In so many hours the log falls back to a share of 1/e: about fourteen months.
const RETURN_HOURS: i64 = 10_500;
/// In so many hours a premium falls back to a share of 1/e of its distance from the lean.
const PREMIUM_HOURS: i64 = 12;
/// Premiums stay within a hundredth and a half.
const MOST_PREMIUM: i64 = ppm(15_000);

/// Six weeks of one coin, at whole hours, both ends included.
struct Piece {
    logs: Vec<i64>,
    premiums: Vec<i32>,
}

impl Piece {
    fn push(&mut self, log: i64, premium: i64) {
        self.logs.push(log);
        self.premiums.push(premium as i32);
    }
}

/// The random sources of one coin.
struct Keys {
    own: Key,
    jump: Key,
    bridge: Key,
    premium: Key,
    /// Where it stands at the first hour.
    start: i64,
}

/// The hourly paths of all coins. Hours are counted from the first day.
pub struct Paths {
    coins: Vec<Coin>,
    climate: Climate,
    sectors: [Key; SECTORS],
    keys: Vec<Keys>,
    pieces: Vec<Series<Piece>>,
}

impl Paths {
    pub fn new(seed: u64, coins: Vec<Coin>) -> Self {
        let keys = |i| Keys {
            own: Key::new(seed, Stream::Own, i),
            jump: Key::new(seed, Stream::OwnJump, i),
            bridge: Key::new(seed, Stream::Bridge, i),
            premium: Key::new(seed, Stream::Premium, i),
            start: (Key::new(seed, Stream::Start, i).bell(0) * ppm(50_000)) >> 16,
        };
        Self {
            climate: Climate::new(seed),
            sectors: std::array::from_fn(|s| Key::new(seed, Stream::Sector, s)),
            keys: (0..coins.len()).map(keys).collect(),
            pieces: coins.iter().map(|_| Series::default()).collect(),
            coins,
        }
    }

    /// One coin.
    pub fn coin(&self, coin: usize) -> &Coin {
        &self.coins[coin]
    }

    /// The path of a coin inside an hour.
    pub fn hour(&self, coin: usize, hour: usize) -> Hour {
        let (piece, at) = self.piece(coin, hour);
        let weather = self.weather(hour);
        let jumps = self.jumps(coin, hour, &weather);
        let deviation = (self.coins[coin].deviation * weather.wildness) >> 10;
        Hour {
            start: piece.logs[at],
            end: piece.logs[at + 1] - jumps[0].size - jumps[1].size,
            // The square root of sixty is 7.746.
            minute_deviation: deviation * 1000 / 7746,
            jumps,
            key: self.keys[coin].bridge.below(hour as i64),
        }
    }

    /// The premium of a coin's perpetual over its index at a whole hour and the next, as logs.
    pub fn premiums(&self, coin: usize, hour: usize) -> (i64, i64) {
        let (piece, at) = self.piece(coin, hour);
        (piece.premiums[at].into(), piece.premiums[at + 1].into())
    }

    /// How much wilder than usual an hour is: 1 = 2^10.
    pub fn wildness(&self, hour: usize) -> i64 {
        self.weather(hour).wildness
    }

    fn weather(&self, hour: usize) -> Weather {
        self.climate.piece(hour / PIECE_HOURS)[hour % PIECE_HOURS]
    }

    /// The piece that has an hour, and where in it.
    fn piece(&self, coin: usize, hour: usize) -> (&Piece, usize) {
        let hour = hour.min(MOST_HOURS - 1);
        let piece = self.pieces[coin].piece(hour / PIECE_HOURS, |n, before| self.make(coin, n, before));
        (piece, hour % PIECE_HOURS)
    }

    fn make(&self, coin: usize, number: usize, before: Option<&Piece>) -> Piece {
        let mut piece =
            Piece { logs: Vec::with_capacity(PIECE_HOURS + 1), premiums: Vec::with_capacity(PIECE_HOURS + 1) };
        let (mut log, mut premium) = (self.keys[coin].start, 0);
        if let Some(Piece { logs, premiums }) = before {
            (log, premium) = (logs[PIECE_HOURS], premiums[PIECE_HOURS].into());
        }
        piece.push(log, premium);
        let first = number * PIECE_HOURS;
        for (i, weather) in self.climate.piece(number).iter().enumerate() {
            (log, premium) = self.step(coin, first + i, weather, log, premium);
            piece.push(log, premium);
        }
        piece
    }

    /// Log and premium an hour later.
    fn step(&self, i: usize, hour: usize, weather: &Weather, log: i64, premium: i64) -> (i64, i64) {
        let (coin, keys, n) = (&self.coins[i], &self.keys[i], hour as i64);
        let alone = self.sectors[coin.sector].bell(n) * coin.sector_deviation + keys.own.bell(n) * coin.own_deviation;
        let moved = ((weather.drift * coin.beta) >> 10) + (((alone >> 16) * weather.wildness) >> 10);
        let jumped: i64 = self.jumps(i, hour, weather).iter().map(|j| j.size).sum();
        let mut log = log + moved + jumped - log / RETURN_HOURS;
        if log > BAND {
            log = 2 * BAND - log;
        } else if log < -BAND {
            log = -2 * BAND - log;
        }
        // Premiums follow the weather, and a little the coin's own move: who buys the rise pays for it.
        let target = (weather.lean * coin.lean) >> 10;
        let noise = (keys.premium.bell(n) * ((ppm(100) * weather.wildness) >> 10)) >> 16;
        let premium = premium + (target - premium) / PREMIUM_HOURS + noise + moved / 100;
        (log, premium.clamp(-MOST_PREMIUM, MOST_PREMIUM))
    }

    /// The jumps of a coin in an hour: its own, and what it makes of the market's.
    fn jumps(&self, coin: usize, hour: usize, weather: &Weather) -> [Jump; 2] {
        let shared = Jump { size: (weather.jump.size * self.coins[coin].beta) >> 10, ..weather.jump };
        let (key, n) = (self.keys[coin].jump, hour as i64);
        let own = if key.happens(n, 1_000) {
            Jump::drawn(key.below(n).draw(0), self.coins[coin].least_jump, 130)
        } else {
            Jump::default()
        };
        [own, shared]
    }
}

#[cfg(test)]
mod tests {
    use super::super::coins::coins;
    use super::super::fixed::ONE;
    use super::*;

    #[test]
    fn a_path_is_one_line_over_hours_and_pieces() {
        let paths = Paths::new(3, coins(5));
        for hour in (PIECE_HOURS - 30)..(PIECE_HOURS + 30) {
            let (this, next) = (paths.hour(4, hour), paths.hour(4, hour + 1));
            assert_eq!(this.end + this.jumped(3599), next.start, "hour {hour}");
            assert_eq!(paths.premiums(4, hour).1, paths.premiums(4, hour + 1).0, "hour {hour}");
        }
    }

    #[test]
    fn every_coin_stays_in_its_band_and_uses_it() {
        for seed in 1..4 {
            let paths = Paths::new(seed, coins(40));
            let mut widest = 0;
            for coin in 0..40 {
                let logs = (0..5 * 8760).map(|h| paths.hour(coin, h).start);
                widest = widest.max(logs.map(i64::abs).max().unwrap_or(0));
            }
            assert!(widest <= BAND && widest > ONE, "{widest}");
        }
    }
}
