//! Five-field cron in a time zone, with its daylight rules.
//!
//! **A schedule of fixed hours follows the clock on the wall**: a local time that a change to summer
//! time skips comes once, at the first instant after the gap, and one that a change back repeats
//! comes once, the first time. **A schedule of every hour** (`*` or `*/1` as hour) **follows elapsed
//! time**: what is skipped is not made up for, what is repeated comes twice, so that "every fifteen
//! minutes" stays that.

use std::str::FromStr;

use chrono::{Datelike, Days, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::time::Timestamp;

/// Between two 29ths of February lie eight years at most; one more for whoever asks at a leap day.
const HORIZON_DAYS: u64 = 366 * 9;
/// No zone has ever skipped more than a day.
const LONGEST_GAP_MINUTES: i64 = 25 * 60;

/// When, in five fields and a zone. [`Cron::parse`] refuses what never comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month and day of week are both limited: either will do, as cron has it.
    either_day: bool,
    zone: Tz,
}

/// An expression that is none, with what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCron {
    #[error("must be an IANA name such as Europe/Berlin or UTC")]
    Zone,
    #[error("{0}")]
    Expression(String),
}

/// Name, first, last and words of a field.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", first: 0, last: 59, words: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, words: &[] };
const DAY: Field = Field { name: "day of month", first: 1, last: 31, words: &[] };
const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// 7 is Sunday too.
const WEEKDAY: Field =
    Field { name: "day of week", first: 0, last: 7, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Cron {
    /// `minute hour day-of-month month day-of-week`, each `*`, a value, a range `a-b`, a step `*/n`,
    /// `a-b/n` or `a/n`, or a list of these; months and days also by their English names. The zone is
    /// an IANA name.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, NotCron> {
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(NotCron::Expression(format!(
                "expected five fields (minute, hour, day of month, month, day of week), found {}",
                fields.len()
            )));
        };
        let zone = Tz::from_str(zone).map_err(|_| NotCron::Zone)?;
        let weekdays = set_of(&WEEKDAY, weekday)?;
        let cron = Self {
            minutes: set_of(&MINUTE, minute)?,
            hours: set_of(&HOUR, hour)?,
            days: set_of(&DAY, day)?,
            months: set_of(&MONTH, month)?,
            // 7 and 0 are one day.
            weekdays: (weekdays | weekdays >> 7) & 0x7F,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            zone,
        };
        match cron.next_after(Timestamp::EPOCH) {
            Some(_) => Ok(cron),
            None => Err(NotCron::Expression("there is no such date: the schedule never comes".into())),
        }
    }

    /// The first instant of the schedule that is later than `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let local = self.zone.from_utc_datetime(&after.utc().naive_utc()).date_naive();
        // A gap may carry what was due late in a day into the next.
        let first = local.checked_sub_days(Days::new(1)).unwrap_or(local);
        (0..HORIZON_DAYS)
            .map_while(|n| first.checked_add_days(Days::new(n)))
            .filter(|date| self.has_day(*date))
            .find_map(|date| self.instants(date).into_iter().filter(|instant| *instant > after).min())
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        let has_date = has(self.days, date.day());
        let has_weekday = has(self.weekdays, date.weekday().num_days_from_sunday());
        let has_either = if self.either_day { has_date || has_weekday } else { has_date && has_weekday };
        has(self.months, date.month()) && has_either
    }

    /// Every instant of a local day, in no order.
    fn instants(&self, date: NaiveDate) -> Vec<Timestamp> {
        let follows_elapsed_time = self.hours == all(&HOUR);
        let mut found = Vec::new();
        for hour in (0..24).filter(|hour| has(self.hours, *hour)) {
            for minute in (0..60).filter(|minute| has(self.minutes, *minute)) {
                let Some(local) = date.and_hms_opt(hour, minute, 0) else { continue };
                match self.zone.from_local_datetime(&local) {
                    MappedLocalTime::Single(at) => found.push(Timestamp::from_utc(at.with_timezone(&Utc))),
                    MappedLocalTime::Ambiguous(first, second) => {
                        found.push(Timestamp::from_utc(first.with_timezone(&Utc)));
                        if follows_elapsed_time {
                            found.push(Timestamp::from_utc(second.with_timezone(&Utc)));
                        }
                    }
                    MappedLocalTime::None if follows_elapsed_time => {}
                    MappedLocalTime::None => found.extend(self.after_the_gap(local)),
                }
            }
        }
        found
    }

    /// The first instant after a gap that swallowed this local time.
    fn after_the_gap(&self, local: NaiveDateTime) -> Option<Timestamp> {
        (1..=LONGEST_GAP_MINUTES)
            .map_while(|n| local.checked_add_signed(TimeDelta::minutes(n)))
            .find_map(|later| self.zone.from_local_datetime(&later).earliest())
            .map(|at| Timestamp::from_utc(at.with_timezone(&Utc)))
    }
}

fn has(set: u64, value: u32) -> bool {
    set >> value & 1 == 1
}

fn all(field: &Field) -> u64 {
    (field.first..=field.last).fold(0, |set, value| set | 1 << value)
}

fn set_of(field: &Field, text: &str) -> Result<u64, NotCron> {
    text.split(',').try_fold(0, |set, part| Ok(set | part_of(field, part)?))
}

fn part_of(field: &Field, part: &str) -> Result<u64, NotCron> {
    let fault =
        |what: &str| NotCron::Expression(format!("{}: {what} (in {:?})", field.name, crate::text::clean(part, 32)));
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => {
            let step = whole(step).filter(|step| (1..=field.last).contains(step));
            (range, Some(step.ok_or_else(|| fault("a step is a whole number within the field"))?))
        }
        None => (part, None),
    };
    let (first, last) = if range == "*" {
        (field.first, if field.last == 7 { 6 } else { field.last })
    } else if let Some((first, last)) = range.split_once('-') {
        let first = value(field, first).ok_or_else(|| fault(&expected(field)))?;
        let last = value(field, last).ok_or_else(|| fault(&expected(field)))?;
        // Sunday ends a week as well as it begins one.
        (first, if field.last == 7 && last == 0 && first > 0 { 7 } else { last })
    } else {
        let first = value(field, range).ok_or_else(|| fault(&expected(field)))?;
        (first, if step.is_some() { field.last.min(if field.last == 7 { 6 } else { 59 }) } else { first })
    };
    if first > last {
        return Err(fault("a range runs from the smaller to the larger"));
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
    Ok((first..=last).step_by(step).fold(0, |set, value| set | 1 << value))
}

fn expected(field: &Field) -> String {
    let words = match (field.words.first(), field.words.last()) {
        (Some(first), Some(last)) => format!(" or {first} to {last}"),
        _ => String::new(),
    };
    format!("expected {} to {}{words}", field.first, field.last)
}

fn value(field: &Field, text: &str) -> Option<u32> {
    let word = field.words.iter().position(|word| word.eq_ignore_ascii_case(text));
    let word = word.and_then(|n| u32::try_from(n).ok()).map(|n| if field.last == 7 { n } else { n + field.first });
    word.or_else(|| whole(text)).filter(|value| (field.first..=field.last).contains(value))
}

/// Digits alone: no sign, no space.
fn whole(text: &str) -> Option<u32> {
    let is_digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(expression: &str, zone: &str) -> Cron {
        Cron::parse(expression, zone).unwrap()
    }

    /// The next `n` instants after `after`.
    fn next(expression: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let cron = cron(expression, zone);
        let first: Timestamp = after.parse().unwrap();
        std::iter::successors(cron.next_after(first), |at| cron.next_after(*at))
            .take(n)
            .map(|t| t.to_string())
            .collect()
    }

    fn short(expression: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        next(expression, zone, after, n).into_iter().map(|t| t[..16].to_owned()).collect()
    }

    #[test]
    fn fields_mean_what_cron_means() {
        for (expression, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:00Z", ["2026-01-01T00:01", "2026-01-01T00:02"]),
            ("*/20 3 * * *", "2026-01-01T03:19:59.999Z", ["2026-01-01T03:20", "2026-01-01T03:40"]),
            ("5-10/5 0 * * *", "2026-01-01T00:05:00Z", ["2026-01-01T00:10", "2026-01-02T00:05"]),
            ("50/5 0 * * *", "2026-01-01T00:50:00Z", ["2026-01-01T00:55", "2026-01-02T00:50"]),
            ("0 9 * * mon-fri", "2026-05-15T09:00:00Z", ["2026-05-18T09:00", "2026-05-19T09:00"]),
            ("0 9 * * SAT-SUN", "2026-05-15T09:00:00Z", ["2026-05-16T09:00", "2026-05-17T09:00"]),
            ("0 9 * * 7", "2026-05-15T09:00:00Z", ["2026-05-17T09:00", "2026-05-24T09:00"]),
            ("0 0 1 jan,jul *", "2026-01-01T00:00:00Z", ["2026-07-01T00:00", "2027-01-01T00:00"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]),
            ("0 0 29 2 *", "2096-03-01T00:00:00Z", ["2104-02-29T00:00", "2108-02-29T00:00"]),
            // Both days limited: either will do. One of them begins with a star: both must fit.
            ("0 0 13 * fri", "2026-02-01T00:00:00Z", ["2026-02-06T00:00", "2026-02-13T00:00"]),
            ("0 0 */2 * fri", "2026-02-01T00:00:00Z", ["2026-02-13T00:00", "2026-02-27T00:00"]),
        ] {
            assert_eq!(short(expression, "UTC", after, 2), expected, "{expression}");
        }
    }

    #[test]
    fn a_skipped_local_time_comes_once_right_after_the_gap() {
        // 2026-03-29: 02:00 to 03:00 does not exist in Berlin; it is 01:00Z.
        let berlin = "Europe/Berlin";
        assert_eq!(short("30 2 * * *", berlin, "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00", "2026-03-30T00:30"]);
        assert_eq!(
            short("0,15,30 2 * * *", berlin, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00", "2026-03-30T00:00"]
        );
        // Together with a time that exists at that very instant: once.
        assert_eq!(short("0 2,3 29 3 *", berlin, "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00", "2027-03-29T00:00"]);
        // New York, 2026-03-08 02:00; Lord Howe skips half an hour at 02:00 on 2026-10-04; Santiago skips midnight.
        assert_eq!(short("30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", 1), ["2026-03-08T07:00"]);
        assert_eq!(short("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:00:00Z", 1), ["2026-10-03T15:30"]);
        assert_eq!(short("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", 1), ["2026-09-06T04:00"]);
    }

    #[test]
    fn a_repeated_local_time_comes_once() {
        // 2026-10-25: 02:00 to 03:00 comes twice in Berlin, at 00:00Z and 01:00Z.
        assert_eq!(
            short("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30", "2026-10-26T01:30"]
        );
        assert_eq!(
            short("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2),
            ["2026-11-01T05:30", "2026-11-02T06:30"]
        );
        // Asked between the two: not again.
        assert_eq!(short("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", 1), ["2026-10-26T01:30"]);
        assert_eq!(
            short("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
            ["2026-04-04T14:45", "2026-04-05T15:15"]
        );
    }

    #[test]
    fn a_schedule_of_every_hour_follows_elapsed_time() {
        let berlin = "Europe/Berlin";
        assert_eq!(
            short("30 * * * *", berlin, "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]
        );
        assert_eq!(
            short("30 * * * *", berlin, "2026-10-25T00:00:00Z", 3),
            ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]
        );
        for (from, hours) in [("2026-03-28T23:00:00Z", 23), ("2026-10-24T22:00:00Z", 25)] {
            let cron = cron("*/15 * * * *", berlin);
            let start: Timestamp = from.parse().unwrap();
            let mut at = start;
            for n in 1..=hours * 4 {
                at = cron.next_after(at).unwrap();
                assert_eq!(at, start.plus(TimeDelta::minutes(15 * n)), "{from}");
            }
        }
    }

    #[test]
    fn a_day_of_fixed_hours_has_each_local_time_once_in_every_zone() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Chatham"]
        {
            let cron = cron("10 0,2,12 * * *", zone);
            let mut at: Timestamp = "2026-01-01T15:00:00Z".parse().unwrap();
            let end: Timestamp = "2027-01-01T15:00:00Z".parse().unwrap();
            let mut count = 0;
            while let Some(next) = cron.next_after(at).filter(|next| *next <= end) {
                assert!(next > at);
                (at, count) = (next, count + 1);
            }
            assert_eq!(count, 365 * 3, "{zone}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_field() {
        for (expression, said) in [
            ("* * * *", "found 4"),
            ("* * * * * *", "found 6"),
            ("@daily", "found 1"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * 32 * *", "day of month"),
            ("* * * 13 *", "month"),
            ("* * * foo *", "jan to dec"),
            ("* * * * 8", "day of week"),
            ("*/0 * * * *", "step"),
            ("*/x * * * *", "step"),
            ("5-1 * * * *", "smaller"),
            ("1,,2 * * * *", "minute"),
            ("-1 * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("1.5 * * * *", "minute"),
            ("* * ? * *", "day of month"),
            ("* * L * *", "day of month"),
            ("0 0 30 2 *", "never"),
            ("0 0 31 4,6,9,11 *", "never"),
        ] {
            let fault = Cron::parse(expression, "UTC").unwrap_err().to_string();
            assert!(fault.contains(said), "{expression}: {fault}");
        }
        for zone in ["", "Mars/Base", "CEST+2", "europe/berlin\0"] {
            assert!(Cron::parse("* * * * *", zone) == Err(NotCron::Zone), "{zone}");
        }
    }
}
