//! The venue's own minute closes, for amounts in assets that are no dollars.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::Venues;
use super::wire::{Dec, Millis, Text, read};
use crate::error::VenueError;
use crate::pricing::{MINUTE_MILLIS, Need, PriceBook};

/// Where a venue's minute closes are read.
#[async_trait]
pub trait Closes: Sync {
    /// An asset's closes in dollars at (at least) these minutes, which are in order and over. What is
    /// not found stays unpriced and is looked for again.
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError>;
}

/// Prices of the minutes that a page needs. Closes of minutes that are over are shared by all accounts; one that
/// is not over yet has no close. It is over when the venue's clock, which says `server_now`, and ours agree on
/// that: a candle that is read too early looks like any other, and would be taken for the close for ever.
pub async fn minute_prices(
    venues: &Venues,
    base: &str,
    server_now: Timestamp,
    needs: BTreeSet<Need>,
    source: &dyn Closes,
) -> Result<PriceBook, VenueError> {
    let now = server_now.min(venues.clock.now());
    let shared = venues.http.minute_prices(base);
    let mut book = PriceBook::default();
    let mut asked: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    let is_over = |minute: Timestamp| minute.millis() + MINUTE_MILLIS <= now.millis();
    for (asset, minute) in needs {
        match shared.lock().unwrap_or_else(PoisonError::into_inner).usd(&asset, minute) {
            Some(price) => book.insert(&asset, minute, price),
            None if is_over(minute) => asked.entry(asset).or_default().push(minute),
            None => {}
        }
    }
    for (asset, minutes) in asked {
        for (minute, price) in source.closes(&asset, &minutes).await? {
            if minutes.contains(&minute) {
                book.insert(&asset, minute, price);
                shared.lock().unwrap_or_else(PoisonError::into_inner).insert(&asset, minute, price);
            }
        }
    }
    Ok(book)
}

/// Runs of at most `longest` minutes that hold all of `minutes`, which are in order.
pub fn runs(minutes: &[Timestamp], longest: i64) -> Vec<(Timestamp, i64)> {
    let mut runs: Vec<(Timestamp, i64)> = Vec::new();
    for minute in minutes {
        let reach = runs.last().map(|(start, _)| (minute.millis() - start.millis()) / MINUTE_MILLIS + 1);
        match (runs.last_mut(), reach) {
            (Some(run), Some(reach)) if reach <= longest => run.1 = reach,
            _ => runs.push((*minute, 1)),
        }
    }
    runs
}

/// Closes of an asset by those of a dollar in it.
pub fn inverted(closes: Vec<(Timestamp, Decimal)>) -> Vec<(Timestamp, Decimal)> {
    closes.into_iter().filter_map(|(at, close)| Some((at, Decimal::ONE.checked_div(close)?))).collect()
}

/// How a venue writes a candle as a list: first when it opens, and somewhere its close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candle {
    /// Milliseconds, open, high, low, close.
    MillisClose5,
    /// Seconds, something, close.
    SecondsClose3,
}

/// The opening instant and the close of each candle.
pub fn candles(endpoint: &str, kind: Candle, rows: &[Box<RawValue>]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    let candle = |raw: &RawValue| {
        let fields: Vec<Box<RawValue>> = read(endpoint, raw.get())?;
        let (open, close) = match (kind, fields.as_slice()) {
            (Candle::MillisClose5, [open, _, _, _, close, ..]) => (read::<Millis>(endpoint, open.get())?.0, close),
            (Candle::SecondsClose3, [open, _, close, ..]) => {
                let seconds: Option<i64> = read::<Text>(endpoint, open.get())?.0.parse().ok();
                let open = seconds.and_then(|seconds| Timestamp::from_millis(seconds.checked_mul(1000)?));
                (open.ok_or_else(|| VenueError::unreadable(endpoint, "a candle without a time"))?, close)
            }
            _ => return Err(VenueError::unreadable(endpoint, "a candle of too few fields")),
        };
        Ok((open, read::<Dec>(endpoint, close.get())?.0))
    };
    rows.iter().map(|raw| candle(raw)).collect()
}

#[cfg(test)]
mod tests {
    use codash_domain::FixedClock;

    use super::*;
    use crate::http::Http;
    use crate::venues::Endpoints;

    #[test]
    fn minutes_are_asked_for_in_few_runs() {
        let minute = |i: i64| Timestamp::from_millis(1_767_225_600_000 + i * MINUTE_MILLIS).unwrap();
        let minutes: Vec<Timestamp> = [0, 1, 999, 1000, 5000].map(minute).into();
        assert_eq!(runs(&minutes, 1000), [(minute(0), 1000), (minute(1000), 1), (minute(5000), 1)]);
    }

    #[test]
    fn a_candle_is_read_in_either_way_of_writing_it() {
        let read = |kind, text: &str| candles("x", kind, &super::super::wire::rows("x", text).unwrap());
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let told = vec![(at(1_700_000_000_000), Decimal::from(7))];
        assert_eq!(read(Candle::MillisClose5, r#"[["1700000000000","1","2","3",7,"6"]]"#), Ok(told.clone()));
        assert_eq!(read(Candle::SecondsClose3, r#"[[1700000000,"1","7.0"]]"#), Ok(told));
        for strange in [r#"[["1","2"]]"#, r#"[["x","1","2","3","4"]]"#, r#"[["1","x","x","x","x"]]"#, "[{}]"] {
            assert!(read(Candle::MillisClose5, strange).is_err() && read(Candle::SecondsClose3, strange).is_err());
        }
        assert_eq!(inverted(vec![(at(1), Decimal::TWO), (at(2), Decimal::ZERO)]), [(at(1), Decimal::new(5, 1))]);
    }

    struct Source;

    #[async_trait]
    impl Closes for Source {
        async fn closes(&self, _: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
            Ok(minutes.iter().map(|minute| (*minute, Decimal::TWO)).collect())
        }
    }

    #[tokio::test]
    async fn a_minute_that_is_not_over_has_no_close_yet() {
        let minute = |i: i64| Timestamp::from_millis(i * MINUTE_MILLIS).unwrap();
        let needs: BTreeSet<Need> = [("BNB".to_owned(), minute(1)), ("BNB".to_owned(), minute(2))].into();
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let closes = async |ours, theirs| {
            let venues = Venues {
                http: Http::new().unwrap(),
                endpoints: Endpoints::default(),
                clock: std::sync::Arc::new(FixedClock::at(at(ours))),
            };
            let book = minute_prices(&venues, "x", at(theirs), needs.clone(), &Source).await.unwrap();
            [1, 2].map(|i| book.usd("BNB", minute(i)))
        };
        assert_eq!(closes(179_999, 179_999).await, [Some(Decimal::TWO), None]);
        assert_eq!(closes(180_000, 180_000).await, [Some(Decimal::TWO); 2]);
        // Whichever clock is wrong.
        assert_eq!(closes(179_999, 225_000).await, [Some(Decimal::TWO), None]);
        assert_eq!(closes(225_000, 179_999).await, [Some(Decimal::TWO), None]);
    }
}
