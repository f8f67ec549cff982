//! How did the portfolio perform: returns, risk and what they cost, over rolling windows of whole days?
//!
//! Returns are time-weighted: what the worth of the accounts gained, apart from what came in and went out.
//! `docs/metrics.md` says how every figure is made.

pub(crate) mod figures;
pub(crate) mod history;
pub mod series;

use chrono::TimeDelta;
use codash_domain::cover::DAY;
use codash_domain::performance as perf;
use codash_domain::returns::{self, Gap, Period, joined};
use codash_domain::{AccountId, Timestamp, Usd, Window};
use codash_store::Session;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use validator::{Validate, ValidationError};

use crate::arguments::arguments;
use crate::aside::aside;
use crate::input::{number, present, whole};
use crate::moment::Moment;
use crate::pnl_query::{Dimension, groups};
use crate::pnl_summary;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Number, Selection, WindowQuery};
use crate::{Ctx, Error};

pub use figures::{DayGap, DayReturn, Fall, Figures};
use figures::{Days, Realized, Terms, day_name, figures, pct, return_of, round};

/// Windows when the caller names none.
const ROLLING: [i64; 4] = [7, 30, 90, 365];
/// Closing fills are counted one by one: of the newest days that hold no more events than this.
const MOST_EVENTS: i64 = 200_000;
const LONGEST_DAYS: i64 = 3650;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        /// Asks for one window instead of rolling ones: its first day, in UTC (2026-04-13), or ISO 8601 with a
        /// zone, which begins with the next whole day.
        #[serde(default, deserialize_with = "present")]
        pub from: Option<Moment>,
        /// Its last day, inclusive, or ISO 8601 with a zone, which ends with the last whole day before.
        /// Default: yesterday.
        #[serde(default, deserialize_with = "present")]
        pub to: Option<Moment>,
        /// Its length in days when `from` is omitted. Default 30 when only `to` is given.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 3650))]
        pub days: Option<i64>,
        /// Lengths of rolling windows in days, up to 10, each 1 to 3650, all ending with yesterday. Default 7, 30,
        /// 90 and 365. The time since the first NAV comes with them.
        #[serde(default, deserialize_with = "present")]
        pub windows: Option<Lengths>,
        /// Days of a year: 365, since these markets never close, or 252 to compare with those that do.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 366))]
        pub annualization: Option<i64>,
        /// Yearly rate, in percent, that Sharpe and Sortino ratios are measured against. Default 0.
        #[serde(default, deserialize_with = "number")]
        #[validate(custom(function = "a_rate"))]
        pub risk_free_pct: Option<Number>,
        /// True: also the days of the longest window, with cumulative return, drawdown and rolling risk.
        #[serde(default, deserialize_with = "present")]
        pub series: Option<bool>,
        /// Days that the rolling figures of the series look back on. Default 30.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 2, max = 365))]
        pub rolling_days: Option<i64>,
    }
}

fn a_rate(rate: &Number) -> Result<(), ValidationError> {
    if (Decimal::from(-50)..=Decimal::from(100)).contains(&rate.0) {
        return Ok(());
    }
    let mut fault = ValidationError::new("range");
    fault.message = Some("must be between -50 and 100".into());
    Err(fault)
}

/// Lengths in days, as numbers or, from a query string, texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lengths(Vec<i64>);

impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let days = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64(),
        };
        let items = Vec::<serde_json::Value>::deserialize(deserializer)?;
        let lengths: Option<Vec<i64>> =
            items.iter().map(|item| days(item).filter(|days| (1..=LONGEST_DAYS).contains(days))).collect();
        let mut lengths = lengths.filter(|all| (1..=10).contains(&all.len())).ok_or_else(|| {
            serde::de::Error::custom("expected 1 to 10 lengths in whole days, each between 1 and 3650, such as 7,30")
        })?;
        lengths.sort_unstable();
        lengths.dedup();
        Ok(Self(lengths))
    }
}

impl JsonSchema for Lengths {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lengths".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array", "minItems": 1, "maxItems": 10,
            "items": { "type": "integer", "minimum": 1, "maximum": LONGEST_DAYS }
        })
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub account_ids: Vec<AccountId>,
    /// Days of a year.
    pub annualization: i64,
    pub risk_free_pct: Number,
    /// Shortest first; the time since the first NAV last.
    pub windows: Vec<Figures>,
    /// The day that is not over, which no window holds.
    pub today: Today,
    /// Null unless asked for. Oldest first; of the longest window.
    pub series: Option<Vec<series::Row>>,
    pub data: Data,
    pub provenance: Provenance,
}

/// Since midnight in UTC.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Today {
    pub from: Timestamp,
    /// Null before the first NAV of the day, as all figures.
    pub nav_usd: Option<Usd>,
    pub net_flows_usd: Option<Usd>,
    pub pnl_usd: Option<Usd>,
    pub return_pct: Option<Number>,
    /// Why there is no return although there was money at work.
    pub gap: Option<Gap>,
}

/// What the figures could not know.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Up to here every account that is read has been valued; null without a NAV.
    pub valued_until: Option<Timestamp>,
    /// Accounts without any NAV: in no figure.
    pub never_valued_account_ids: Vec<AccountId>,
    /// Flows since the last NAV of their account: in no figure yet.
    pub pending_flow_count: usize,
    /// Loans taken or given back. They are no flows: NAV holds the debt.
    pub loan_count: usize,
    /// False: deposits and withdrawals may be missing, and would look like gains and losses.
    pub flows_complete: bool,
}

/// The windows that were asked for; the one since the first NAV has no start yet.
struct Plan {
    named: Vec<(String, Days)>,
    inception: bool,
    midnight: Timestamp,
}

impl Plan {
    fn new(query: &Query, now: Timestamp) -> Result<Self, Error> {
        let midnight = now.floor_to(DAY);
        let single = query.from.is_some() || query.to.is_some() || query.days.is_some();
        let mut named = Vec::new();
        if single {
            named.push(("requested".to_owned(), requested(query, now)?));
        }
        if !single || query.windows.is_some() {
            let lengths = query.windows.as_ref().map_or(ROLLING.as_slice(), |lengths| &lengths.0);
            named.extend(lengths.iter().map(|days| (format!("{days}d"), last(*days, midnight))));
        }
        Ok(Self { named, inception: !single, midnight })
    }

    fn start(&self) -> Timestamp {
        let first = self.named.iter().map(|(_, days)| days.start).min().unwrap_or(self.midnight);
        if self.inception { Timestamp::nearest(0) } else { first }
    }

    fn windows(mut self, first_day: Option<Timestamp>) -> Vec<(String, Days)> {
        if self.inception {
            let start = first_day.unwrap_or(self.midnight).min(self.midnight);
            self.named.push(("sinceInception".to_owned(), Days { start, end: self.midnight }));
        }
        self.named
    }
}

/// The last whole days before this midnight.
pub(crate) fn last(days: i64, midnight: Timestamp) -> Days {
    Days { start: midnight.minus(TimeDelta::days(days)), end: midnight }
}

/// The whole days that lie in what was asked, up to yesterday.
fn requested(query: &Query, now: Timestamp) -> Result<Days, Error> {
    let (midnight, to) = (now.floor_to(DAY), query.to.map(Moment::last));
    let length = TimeDelta::days(query.days.unwrap_or(30));
    let asked = WindowQuery { from: query.from.map(Moment::first), to, length };
    let window = select::window(asked, now)?;
    let end = window.to.plus(TimeDelta::milliseconds(1)).floor_to(DAY).min(midnight);
    let start = match query.from {
        Some(_) => window.from.plus(TimeDelta::milliseconds(DAY - 1)).floor_to(DAY),
        None => end.minus(length),
    };
    Ok(Days { start: start.min(end), end })
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let plan = Plan::new(&query, ctx.now)?;
    let year = query.annualization.unwrap_or(365);
    let free = query.risk_free_pct.unwrap_or(Number(Decimal::ZERO));
    let terms = terms(year, free);
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let history = history::load(&mut session, &selection, plan.start(), ctx.now).await?;
    let days = aside(|| returns::days(&history.hours));
    let midnight = plan.midnight;
    let windows = plan.windows(days.first().map(|day| day.start));
    let longest = windows.iter().map(|(_, days)| *days).min_by_key(|days| days.start);
    let longest = longest.unwrap_or(Days { start: midnight, end: midnight });
    let end = windows.iter().map(|(_, days)| days.end).max().unwrap_or(midnight);
    // Before the first NAV there is nothing that events could be compared with.
    let seen = days.first().map_or(longest.start, |day| longest.start.max(day.start));
    let of_events = Days { start: seen.min(end), end };
    let (realized, unpriced) = realized(&mut session, &selection, of_events).await?;
    let read = Window { from: of_events.start, to: ctx.now.max(of_events.start) };
    let coverage = provenance::flow_coverage(&mut session, &selection, read, ctx.now).await?;
    session.finish().await?;

    let rolling = usize::try_from(query.rolling_days.unwrap_or(30)).unwrap_or(30);
    let (series, windows) = aside(|| {
        let series = query.series.unwrap_or(false).then(|| series::rows(longest, &days, rolling, terms));
        let figures = |(label, window)| figures(label, window, &days, &history.hours, &realized, terms);
        (series, windows.into_iter().map(figures).collect())
    });
    let filter = select::event_filter(&selection, of_events.window(), None, None);
    let filters = AppliedFilters::new(&selection, &filter);
    let flows_complete = coverage.complete;
    let provenance = Provenance::of_events(ctx.now, filters, unpriced, coverage);
    Ok(Answer {
        account_ids: selection.ids(),
        annualization: year,
        risk_free_pct: free,
        windows,
        today: today(&history.hours, midnight),
        series,
        data: Data {
            valued_until: history.valued_until,
            loan_count: history.loans(),
            pending_flow_count: history.pending_flows,
            never_valued_account_ids: history.never_valued,
            flows_complete,
        },
        provenance: Provenance { sources: vec!["nav_hours", "cash_flows", "events"], ..provenance },
    })
}

pub(crate) fn terms(year: i64, free: Number) -> Terms {
    let year = Decimal::from(year);
    let yearly = free.0.checked_div(Decimal::ONE_HUNDRED).unwrap_or_default();
    Terms { year, risk_free: perf::daily(yearly, year).unwrap_or_default() }
}

/// What events realized, by day, and how many have an amount without a price.
pub(crate) async fn realized(
    session: &mut Session<'_>,
    selection: &Selection,
    window: Days,
) -> Result<(Realized, i64), Error> {
    if window.start >= window.end {
        return Ok((Realized::default(), 0));
    }
    let filter = select::event_filter(selection, window.window(), None, None);
    let mut by_day = groups(session, &[Dimension::Day], &filter).await?;
    by_day.sort_by(|a, b| a.keys.cmp(&b.keys));
    let unpriced = by_day.iter().map(|day| day.sums.unpriced_count).sum();
    let name = |keys: &[String]| keys.last().cloned().unwrap_or_default();
    let first = counted_from(by_day.iter().map(|day| (name(&day.keys), day.sums.event_count)).rev(), MOST_EVENTS);
    let counted = Days { start: first.unwrap_or(window.start).min(window.end), end: window.end };
    let trades = if counted.start < counted.end {
        session.closed_trades(selection.filter().as_deref(), counted.window()).await?
    } else {
        Vec::new()
    };
    let nets = by_day.iter().map(|day| (name(&day.keys), pnl_summary::net(&day.sums))).collect();
    Ok((Realized { nets, trades, trades_from: first.map(day_name) }, unpriced))
}

/// The first of the newest days that hold at most `most` events; `None`: all of them do. Days newest first.
fn counted_from(days: impl Iterator<Item = (String, i64)>, most: i64) -> Option<Timestamp> {
    let mut count = 0_i64;
    let mut days = days.skip_while(|(_, events)| {
        count = count.saturating_add(*events);
        count <= most
    });
    let one_too_many = days.next()?.0.parse::<chrono::NaiveDate>().ok()?;
    let midnight = one_too_many.succ_opt()?.and_hms_opt(0, 0, 0)?.and_utc();
    Timestamp::from_millis(midnight.timestamp_millis())
}

pub(crate) fn today(hours: &[Period], midnight: Timestamp) -> Today {
    let own: Vec<Period> = hours.iter().filter(|hour| hour.start >= midnight).cloned().collect();
    let all = joined(&own);
    let outcome = all.as_ref().map(return_of);
    let gap = outcome.and_then(Result::err);
    let priced = all.as_ref().filter(|_| gap != Some(Gap::UnpricedFlow));
    Today {
        from: midnight,
        nav_usd: all.as_ref().map(|all| all.nav_after),
        net_flows_usd: priced.map(|all| all.flows),
        pnl_usd: priced.map(|all| all.gain),
        return_pct: outcome.and_then(Result::ok).flatten().and_then(|r| pct(r).ok()).map(round),
        gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_are_counted_of_the_newest_days_that_are_few_enough() {
        let days = || ["2026-05-03", "2026-05-02", "2026-04-30"].map(|day| (day.to_owned(), 10)).into_iter();
        let from = |most| counted_from(days(), most).map(day_name);
        assert_eq!(from(30), None);
        assert_eq!(from(29).as_deref(), Some("2026-05-01"));
        assert_eq!(from(20).as_deref(), Some("2026-05-01"));
        assert_eq!(from(10).as_deref(), Some("2026-05-03"));
        assert_eq!(from(9).as_deref(), Some("2026-05-04"));
    }

    #[test]
    fn a_requested_window_holds_only_whole_days_that_are_over() {
        let now: Timestamp = "2026-05-28T20:26:40Z".parse().unwrap();
        let of = |query: serde_json::Value| {
            let query: Query = serde_json::from_value(query).unwrap();
            let days = requested(&query, now).unwrap();
            (day_name(days.start), day_name(days.end))
        };
        let named = |from: &str, end: &str| (from.to_owned(), end.to_owned());
        use serde_json::json;
        assert_eq!(of(json!({ "days": 3 })), named("2026-05-25", "2026-05-28"));
        assert_eq!(of(json!({ "from": "2026-05-20" })), named("2026-05-20", "2026-05-28"));
        assert_eq!(
            of(json!({ "from": "2026-05-20T01:00:00Z", "to": "2026-05-22T23:59:59.998Z" })),
            named("2026-05-21", "2026-05-22")
        );
        assert_eq!(of(json!({ "to": "2026-05-22", "days": 2 })), named("2026-05-21", "2026-05-23"));
        // Today is not over: nothing of it is whole.
        assert_eq!(of(json!({ "from": "2026-05-28" })), named("2026-05-28", "2026-05-28"));
        assert_eq!(of(json!({ "from": "2026-05-01", "to": "2099-01-01" })), named("2026-05-01", "2026-05-28"));
    }
}
