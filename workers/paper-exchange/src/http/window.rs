//! Pages of history, by time and by id.

use super::refused::Refused;
use crate::model::Millis;

pub const HOUR: Millis = 3600 * 1000;
pub const DAY: Millis = 24 * HOUR;
/// USD-M keeps three months.
pub const USDM_KEEPS: Millis = 92 * DAY;

/// An inclusive span of time. `newest_first` when a page that does not hold it all shows its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Millis,
    pub to: Millis,
    pub newest: bool,
}

impl Window {
    /// A window that is at most `longest`; what is not said is filled in from the other end.
    pub fn bounded(
        (from, to): (Option<Millis>, Option<Millis>),
        now: Millis,
        longest: Millis,
        too_long: impl FnOnce() -> Refused,
    ) -> Result<Self, Refused> {
        match (from, to) {
            (Some(from), Some(to)) if to.saturating_sub(from) > longest => Err(too_long()),
            (Some(from), Some(to)) => Ok(Self { from, to, newest: false }),
            (Some(from), None) => Ok(Self { from, to: from.saturating_add(longest), newest: false }),
            (None, Some(to)) => Ok(Self { from: to.saturating_sub(longest), to, newest: true }),
            (None, None) => Ok(Self { from: now - longest, to: Millis::MAX, newest: true }),
        }
    }

    /// Records of an ascending list that lie in the window.
    pub fn of<T>(self, records: &[T], time: impl Fn(&T) -> Millis) -> &[T] {
        let from = records.partition_point(|record| time(record) < self.from);
        let to = records.partition_point(|record| time(record) <= self.to);
        records.get(from..to).unwrap_or(&[])
    }

    /// The first `limit` of ascending records, or the last when the window is open at its start.
    pub fn cut<T>(self, mut records: Vec<T>, limit: usize) -> Vec<T> {
        if self.newest && records.len() > limit {
            return records.split_off(records.len() - limit);
        }
        records.truncate(limit);
        records
    }
}

/// Seven days, for USD-M.
pub fn week(window: (Option<Millis>, Option<Millis>), now: Millis) -> Result<Window, Refused> {
    Window::bounded(window, now, 7 * DAY, || Refused::new(-4165, "Maximum time interval is 7 days."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_filled_in_and_never_longer_than_allowed() {
        let now = 100 * DAY;
        assert_eq!(week((None, None), now).unwrap().from, 93 * DAY);
        assert_eq!(week((Some(DAY), None), now).unwrap().to, 8 * DAY);
        assert_eq!(week((Some(0), Some(7 * DAY + 1)), now).unwrap_err().code, -4165);
        let window = Window { from: 2, to: 4, newest: false };
        assert_eq!(window.of(&[1, 2, 3, 3, 4, 5], |at| *at), [2, 3, 3, 4]);
        assert!(Window { from: 4, to: 2, newest: false }.of(&[1, 2, 3], |at| *at).is_empty());
    }

    #[test]
    fn a_page_shows_the_start_of_a_window_that_has_one_and_the_end_of_one_that_has_not() {
        let window = |newest| Window { from: 0, to: 9, newest };
        assert_eq!(window(false).cut(vec![1, 2, 3], 2), [1, 2]);
        assert_eq!(window(true).cut(vec![1, 2, 3], 2), [2, 3]);
    }
}
