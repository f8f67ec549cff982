//! How did position risk move through a window, and when were positions closed by force?

use codash_domain::cover::HOUR;
use codash_domain::{Timestamp, Usd};
use codash_store::grouped::GroupSums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::forensics::{DEFAULT_DAYS, FORCED, resolve};
use crate::nav_history::{HourSum, MOST_POINTS, hour_sums};
use crate::pnl_query::{Dimension, groups};
use crate::pnl_summary::net;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow, Number, percent};
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        ..window,
        ..ninety_days,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    pub window: EchoedWindow,
    /// True when there were more than 1500 hours: the most recent 1500 are returned.
    pub truncated: bool,
    /// Oldest first: each hour in which an account was read, all accounts summed as in /api/portfolio/history.
    pub points: Vec<Point>,
    /// The hour with the highest grossToNavPercent of the whole window; null while none is known.
    pub peak: Option<Point>,
    /// Hours with liquidations, ADL or system closes, oldest first; never cut.
    pub forced_close_hours: Vec<ForcedHour>,
    /// Points in which at least one account counts with an earlier hour's snapshot.
    pub carried_point_count: usize,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The hour that the point stands for.
    pub timestamp: Timestamp,
    pub nav_usd: Usd,
    /// Exposures are null where a venue stated equity alone.
    pub long_exposure_usd: Option<Usd>,
    pub short_exposure_usd: Option<Usd>,
    pub gross_exposure_usd: Option<Usd>,
    pub net_exposure_usd: Option<Usd>,
    /// grossExposureUsd as a percentage of navUsd: 250 is 2.5 times. Null while NAV is not positive.
    pub gross_to_nav_percent: Option<Number>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForcedHour {
    pub timestamp: Timestamp,
    pub forced_close_count: i64,
    pub notional_usd: Usd,
    /// Of the forced closes alone.
    pub net_pnl_usd: Usd,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let (window, defaulted) = resolve(query.from, query.to, query.days, DEFAULT_DAYS, ctx)?;
    let first_hour = window.from.plus(chrono::TimeDelta::milliseconds(HOUR - 1)).floor_to(HOUR);
    let hours = session.nav_hours(&selection.ids(), first_hour, window.to).await?;
    let filter = select::event_filter(&selection, window, None, Some(&FORCED));
    let forced = groups(&mut session, &[Dimension::Day, Dimension::Hour], &filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let mut sums = hour_sums(&hours, first_hour);
    let peak =
        sums.iter().map(point).filter(|p| p.gross_to_nav_percent.is_some()).max_by_key(|p| p.gross_to_nav_percent);
    let truncated = sums.len() > MOST_POINTS;
    sums.drain(..sums.len().saturating_sub(MOST_POINTS));
    let unpriced = forced.iter().map(|group| group.sums.unpriced_count).sum();
    let provenance = Provenance::of_events(ctx.now, AppliedFilters::new(&selection, &filter), unpriced, coverage);
    Ok(Answer {
        count: sums.len(),
        window: EchoedWindow { window: window.into(), defaulted },
        truncated,
        points: sums.iter().map(point).collect(),
        peak,
        forced_close_hours: forced_hours(&forced),
        carried_point_count: sums.iter().filter(|sum| sum.carried).count(),
        provenance: Provenance { sources: vec!["nav_hours", "events"], ..provenance },
    })
}

fn point(sum: &HourSum) -> Point {
    let side = |pick: fn((Usd, Usd)) -> Usd| sum.sides.map(|sides| Usd::new(pick(sides).0));
    let gross = side(|(long, short)| long + short);
    Point {
        timestamp: sum.hour,
        nav_usd: sum.nav_usd,
        long_exposure_usd: side(|(long, _)| long),
        short_exposure_usd: side(|(_, short)| short),
        gross_exposure_usd: gross,
        net_exposure_usd: side(|(long, short)| long - short),
        gross_to_nav_percent: gross.and_then(|gross| percent(gross, sum.nav_usd)),
    }
}

/// Groups by day and hour of the day, as hours.
fn forced_hours(groups: &[GroupSums]) -> Vec<ForcedHour> {
    let hour = |group: &GroupSums| {
        let [day, hour] = group.keys.as_slice() else { return None };
        Some(ForcedHour {
            timestamp: format!("{day}T{hour}:00:00Z").parse().ok()?,
            forced_close_count: group.sums.forced_close_count,
            notional_usd: group.sums.notional_usd,
            net_pnl_usd: net(&group.sums),
        })
    };
    let mut hours: Vec<ForcedHour> = groups.iter().filter_map(hour).collect();
    hours.sort_by_key(|hour| hour.timestamp);
    hours
}
