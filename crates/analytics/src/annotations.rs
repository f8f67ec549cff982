//! What happened that a chart should show beside its figures: forced closes, spans that were not read, and
//! events that changed after they were first stored.

use codash_domain::Timestamp;
use codash_store::restatements::RestatedDay;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::data_quality::{Owner, all_gaps, streams};
use crate::event_table::{self, ForcedQuery};
use crate::input::present;
use crate::provenance::Gap;
use crate::select::{self, short_strings};
use crate::series::{self, bounded};
use crate::trade_events::Row;
use crate::{Ctx, Error};

/// More of a kind than this are refused.
const MOST: usize = 2000;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_window,
        ..chart_accounts,
        /// Up to 100 symbols, of which forced closes are shown. Gaps and restatements are of accounts.
        #[serde(default, deserialize_with = "present")]
        #[validate(length(max = 100), custom(function = "short_strings"))]
        pub symbols: Option<Vec<String>>,
        /// Which kinds: forcedClose, coverageGap, restatement. Empty: all.
        #[serde(default, deserialize_with = "present")]
        #[validate(length(max = 3))]
        pub kinds: Option<Vec<Kind>>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Kind {
    ForcedClose,
    CoverageGap,
    Restatement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    pub time: Timestamp,
    /// Of a span.
    pub time_end: Option<Timestamp>,
    pub title: String,
    pub text: String,
    pub tags: Vec<String>,
}

/// Oldest first.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<Annotation>, Error> {
    let wants = |kind: Kind| query.kinds.as_ref().is_none_or(|kinds| kinds.is_empty() || kinds.contains(&kind));
    let mut annotations: Vec<Annotation> = Vec::new();
    if wants(Kind::ForcedClose) {
        let Query { from, to, account_ids, venues, portfolio_ids, symbols, .. } = query.clone();
        let rows = event_table::answer(
            ctx,
            ForcedQuery { from, to, account_ids, venues, portfolio_ids, symbols, limit: None }.into(),
        )
        .await?;
        annotations.extend(bounded(rows, MOST)?.into_iter().map(forced_close));
    }
    if wants(Kind::CoverageGap) || wants(Kind::Restatement) {
        let mut session = ctx.store.read(ctx.grant).begin().await?;
        let selection = select::wanted(&mut session, &query).await?;
        let window = series::window(query.from, query.to, ctx)?;
        if wants(Kind::CoverageGap) {
            let (past, streams) = streams(&mut session, &selection, window, ctx.now).await?;
            annotations.extend(bounded(all_gaps(&selection, past, &streams), MOST)?.into_iter().map(gap));
        }
        if wants(Kind::Restatement) {
            let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
            let days = bounded(session.restated_days(&selection.ids(), window, limit).await?, MOST)?;
            let names = selection.names();
            annotations.extend(days.into_iter().map(|day| {
                let name = names.get(&day.account).copied().unwrap_or_default();
                restatement(&day, name)
            }));
        }
        session.finish().await?;
    }
    annotations.sort_by_key(|annotation| annotation.time);
    Ok(annotations)
}

fn forced_close(row: Row) -> Annotation {
    let symbol = row.symbol.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = row.event_type.as_str();
    let mut text = format!("{what} of {symbol} in {}", row.account_name);
    if let (Some(qty), Some(price)) = (row.qty, row.price) {
        text.push_str(&format!(": {qty} at {price}"));
    }
    text.push_str(&match row.net_pnl_impact_usd {
        Some(net) => format!(", net {net} USD"),
        None => ", net unknown for want of a price".to_owned(),
    });
    let tags = ["forcedClose".to_owned(), what.to_owned(), symbol.clone(), row.account_name];
    Annotation {
        time: row.occurred_at,
        time_end: None,
        title: format!("{what} {symbol}").trim_end().to_owned(),
        text,
        tags: tags.into_iter().filter(|tag| !tag.is_empty()).collect(),
    }
}

fn gap((owner, gap): (Owner, Gap)) -> Annotation {
    Annotation {
        time: gap.from,
        time_end: Some(gap.to),
        title: format!("not read: {}", gap.stream),
        text: format!("{} of {}: {}", gap.stream, owner.account_name, gap.reason),
        tags: vec!["coverageGap".to_owned(), owner.venue.to_string(), owner.account_name],
    }
}

fn restatement(day: &RestatedDay, name: &str) -> Annotation {
    let what = match day.reason.as_str() {
        "restated" => "stated anew by the venue",
        "classified" => "found to be forced",
        "priced" => "priced later",
        "superseded" => "taken back for the fill that they stood in for",
        other => other,
    };
    Annotation {
        time: day.first,
        time_end: Some(day.last),
        title: format!("events {}", day.reason),
        text: format!("{} events of {name} {what}, last at {}", day.change_count, day.recorded_at),
        tags: vec!["restatement".to_owned(), day.reason.clone(), name.to_owned()],
    }
}
