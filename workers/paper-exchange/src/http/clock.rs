//! The exchange's time: real, faster, or by hand.

use serde_json::{Value, json};

use super::settings::Speed;
use crate::model::Millis;

/// A line through real time, or a standing point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    speed: Speed,
    /// The exchange's time when the clock was last set.
    set_to: Millis,
    /// Real time of that moment.
    set_at: Millis,
}

impl Clock {
    /// Shows `now` at the real instant `real`.
    pub fn new(speed: Speed, now: Millis, real: Millis) -> Self {
        Self { speed, set_to: now, set_at: real }
    }

    /// The exchange's time at a real instant. Real time that goes back stands still here.
    pub fn now(&self, real: Millis) -> Millis {
        let Speed::Permille(permille) = self.speed else { return self.set_to };
        let passed = i128::from(real.saturating_sub(self.set_at).max(0)) * i128::from(permille) / 1000;
        self.set_to.saturating_add(Millis::try_from(passed).unwrap_or(Millis::MAX))
    }

    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Goes on from where it is, at another speed.
    pub fn set_speed(&mut self, speed: Speed, real: Millis) {
        *self = Self::new(speed, self.now(real), real);
    }

    /// Moves the hand. Time never goes back; only a clock in hand can be moved.
    pub fn move_to(&mut self, now: Millis, real: Millis) -> Result<(), &'static str> {
        if self.speed != Speed::Hand {
            return Err("the clock runs by itself; say {\"mode\":\"hand\"} first");
        }
        if now < self.set_to {
            return Err("time does not go back");
        }
        *self = Self::new(Speed::Hand, now, real);
        Ok(())
    }

    /// By how much a client's stamp may be late, as the client counts: its own clock is real.
    pub fn real_lateness(&self, stamp: Millis, shown: Millis) -> Millis {
        let late = shown.saturating_sub(stamp);
        match self.speed {
            Speed::Permille(permille) if permille > 1000 && late > 0 => {
                Millis::try_from(i128::from(late) * 1000 / i128::from(permille)).unwrap_or(late)
            }
            _ => late,
        }
    }

    /// How far a client's clock may have run ahead of one that stands or is slow.
    pub fn slack(&self, real: Millis) -> Millis {
        match self.speed {
            Speed::Permille(permille) if permille >= 1000 => 0,
            _ => real.saturating_sub(self.set_at).max(0),
        }
    }

    pub fn describe(&self, real: Millis) -> Value {
        let now = self.now(real);
        let (mode, speed) = match self.speed {
            Speed::Hand => ("hand", Value::from(0)),
            Speed::Permille(1000) => ("real", Value::from(1)),
            Speed::Permille(permille) => ("faster", super::words::number(super::words::permille(permille))),
        };
        json!({ "mode": mode, "now": now, "nowText": super::words::instant(now), "speed": speed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_clock_multiplies_real_time_and_a_change_of_speed_does_not_jump() {
        let mut clock = Clock::new(Speed::Permille(60_000), 1_000_000, 500);
        assert_eq!(clock.now(1500), 1_060_000);
        assert_eq!(clock.now(0), 1_000_000, "real time went back");
        clock.set_speed(Speed::Permille(500), 1500);
        assert_eq!(clock.now(3500), 1_061_000);
        assert!(clock.move_to(2_000_000, 3500).is_err());
        clock.set_speed(Speed::Hand, 3500);
        assert_eq!(clock.now(99_999), 1_061_000);
        assert!(clock.move_to(1_060_999, 3600).is_err());
        clock.move_to(2_000_000, 3600).unwrap();
        assert_eq!(clock.now(99_999), 2_000_000);
    }
}
