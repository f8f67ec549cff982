//! The days on which dated contracts are delivered.

use crate::model::Millis;

pub const MINUTE: Millis = 60_000;
pub const HOUR: Millis = 60 * MINUTE;
pub const DAY: Millis = 24 * HOUR;

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month > 2 { year } else { year - 1 };
    let past_march = (month + 9) % 12;
    let day_of_year = (153 * past_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The year of a day counted from 1970-01-01.
fn year_of(day: i64) -> i64 {
    let guess = 1970 + day.div_euclid(366);
    (guess..).find(|year| day < day_number(year + 1, 1, 1)).unwrap_or(guess)
}

/// The end of a quarter, for contracts: 08:00 UTC on the last Friday of March, June, September or December.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarterEnd {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub at: Millis,
}

impl QuarterEnd {
    /// `quarter` counts from the first of year 0.
    fn numbered(quarter: i64) -> Self {
        let (year, month) = (quarter.div_euclid(4), quarter.rem_euclid(4) * 3 + 3);
        let last_day = if month == 3 || month == 12 { 31 } else { 30 };
        let last = day_number(year, month, last_day);
        // Day 0 was a Thursday, day 1 a Friday.
        let back = (last - 1).rem_euclid(7);
        Self { year, month, day: last_day - back, at: (last - back) * DAY + 8 * HOUR }
    }

    /// The first one after an instant.
    pub fn after(at: Millis) -> Self {
        let first = year_of(at.div_euclid(DAY)) * 4;
        (first..).map(Self::numbered).find(|q| q.at > at).unwrap_or(Self::numbered(first + 4))
    }

    /// So many quarters later, or earlier.
    pub fn plus(self, quarters: i64) -> Self {
        Self::numbered(self.year * 4 + self.month / 3 - 1 + quarters)
    }

    /// `YYMMDD`.
    pub fn code(self) -> String {
        format!("{:02}{:02}{:02}", self.year % 100, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_end_on_the_last_friday_at_eight() {
        // 2026-01-01T00:00:00Z
        let first = QuarterEnd::after(1_767_225_600_000);
        let codes: Vec<String> = (0..9).map(|n| first.plus(n).code()).collect();
        assert_eq!(codes, ["260327", "260626", "260925", "261225", "270326", "270625", "270924", "271231", "280331"]);
        // 2026-03-27T08:00:00Z
        assert_eq!(first.at, 1_774_598_400_000);
        assert_eq!(first.plus(-1).code(), "251226");
    }

    #[test]
    fn the_end_of_a_quarter_is_followed_by_the_next() {
        let first = QuarterEnd::after(1_767_225_600_000);
        assert_eq!(QuarterEnd::after(first.at - 1), first);
        assert_eq!(QuarterEnd::after(first.at), first.plus(1));
        // Between the last Friday of December and New Year.
        assert_eq!(QuarterEnd::after(first.plus(3).at).code(), "270326");
    }
}
