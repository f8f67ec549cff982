//! What was earned and paid, grouped and pivoted as the caller likes?

use std::collections::{BTreeMap, BTreeSet};

use codash_domain::{AccountId, Usd};
use codash_store::Session;
use codash_store::accounts::Account;
use codash_store::events::EventFilter;
use codash_store::grouped::{By, GroupSums};
use codash_store::ledger::Sums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::{Validate, ValidationError};

use crate::activity_summary::Totals;
use crate::arguments::arguments;
use crate::forensics::resolve;
use crate::input::{present, whole};
use crate::moment::Moment;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow, Selection};
use crate::{Ctx, Error, Rule};

const DEFAULT_DAYS: i64 = 30;
/// More groups than this are refused: an answer that leaves some out would be wrong.
const MOST_GROUPS: usize = 50_000;

fn default_group_by() -> Vec<Dimension> {
    vec![Dimension::Symbol]
}

fn default_limit() -> Option<i64> {
    Some(100)
}

arguments! {
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        ..day_window,
        /// Length of the window in days when `from` is omitted. Default 30.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
        ..symbols,
        ..event_types,
        /// What makes a row: up to 3 dimensions, each once. An empty list makes one row of everything.
        #[serde(default = "default_group_by")]
        #[validate(length(max = 3), custom(function = "each_once"))]
        #[schemars(extend("uniqueItems" = true))]
        pub group_by: Vec<Dimension>,
        /// One more dimension, whose values become the columns of each row.
        #[serde(default, deserialize_with = "present")]
        pub pivot_by: Option<Dimension>,
        /// Rows in the order of this. Default: key when the first dimension is one of time, else netPnlUsd.
        #[serde(default, deserialize_with = "present")]
        pub order_by: Option<OrderBy>,
        /// Default: asc for key, desc for amounts.
        #[serde(default, deserialize_with = "present")]
        pub order: Option<Order>,
        /// Most rows returned.
        #[serde(default = "default_limit", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 2000))]
        pub limit: Option<i64>,
    }
}

/// What rows and columns can be made of. Times are UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Dimension {
    Symbol,
    Account,
    Venue,
    /// The group that the account itself is in; groups above it do not count it.
    Portfolio,
    /// An account with several tags counts under each of them.
    Tag,
    EventType,
    /// Added up from single events: slower than the others over long windows.
    Side,
    /// Hour of the day, 00 to 23. With day: every hour of the window.
    Hour,
    Day,
    /// monday to sunday.
    Weekday,
    /// By its Monday.
    Week,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum OrderBy {
    Key,
    EventCount,
    NotionalUsd,
    FeesUsd,
    RealizedPnlUsd,
    FundingUsd,
    NetPnlUsd,
    ForcedCloseCount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Order {
    Asc,
    Desc,
}

fn each_once(dimensions: &[Dimension]) -> Result<(), ValidationError> {
    let mut sorted = dimensions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == dimensions.len() {
        return Ok(());
    }
    Err(ValidationError::new("unique").with_message("must name each dimension once".into()))
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    pub total_row_count: usize,
    pub window: EchoedWindow,
    pub group_by: Vec<Dimension>,
    pub pivot_by: Option<Dimension>,
    /// Of all events, each counted once: rows beyond `limit` are in it, and rows by tag may add up to more.
    pub totals: Totals,
    /// Values of the pivot, in their order; empty without one. Null: records that have none.
    pub columns: Vec<Option<String>>,
    pub rows: Vec<Row>,
    /// True when there are more rows than `limit`.
    pub truncated: bool,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    #[serde(flatten)]
    pub key: Key,
    #[serde(flatten)]
    pub totals: Totals,
    /// One for each column in which the row has events; empty without a pivot.
    pub cells: Vec<Cell>,
}

/// The dimensions that the row was made by; the others are left out. Null: records that have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venue: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolio_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolio_name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Option<String>>,
    /// 00 to 23.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<Option<String>>,
    /// 2026-05-15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Option<String>>,
    /// monday to sunday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekday: Option<Option<String>>,
    /// The Monday that the week begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week: Option<Option<String>>,
    /// 2026-05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<Option<String>>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// As in `columns`.
    pub column: Option<String>,
    #[serde(flatten)]
    pub totals: Totals,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    if query.pivot_by.is_some_and(|pivot| query.group_by.contains(&pivot)) {
        let details = json!({ "argument": "pivotBy" });
        return Err(Rule::new(
            "invalid_pivot",
            "pivotBy is in groupBy already: name another, or leave it out.",
            details,
        )
        .into());
    }
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let (from, to) = (query.from.map(Moment::first), query.to.map(Moment::last));
    let (window, defaulted) = resolve(from, to, query.days, DEFAULT_DAYS, ctx)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let dimensions: Vec<Dimension> = query.group_by.iter().chain(&query.pivot_by).copied().collect();
    let groups = groups(&mut session, &dimensions, &filter).await?;
    let names: GroupNames = match dimensions.contains(&Dimension::Portfolio) {
        true => session
            .portfolios(&selection.accounts)
            .await?
            .into_iter()
            .map(|group| (group.id.to_string(), group.name))
            .collect(),
        false => GroupNames::new(),
    };
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let totals = total(groups.iter().map(|group| group.sums));
    let table = Table::of(&groups, &dimensions, query.group_by.len(), &selection);
    let limit = usize::try_from(query.limit.unwrap_or(100)).unwrap_or(100);
    let total_row_count = table.rows.len();
    let columns = table.columns(query.pivot_by);
    let mut rows = table.rows(&query, &selection, &names);
    rows.truncate(limit);
    Ok(Answer {
        count: rows.len(),
        total_row_count,
        window: EchoedWindow { window: window.into(), defaulted },
        group_by: query.group_by,
        pivot_by: query.pivot_by,
        totals: totals.into(),
        columns,
        truncated: total_row_count > limit,
        rows,
        provenance: Provenance::of_events(
            ctx.now,
            AppliedFilters::new(&selection, &filter),
            totals.unpriced_count,
            coverage,
        ),
    })
}

pub(crate) fn total(sums: impl Iterator<Item = Sums>) -> Sums {
    sums.fold(Sums::default(), |mut total, sums| {
        total += sums;
        total
    })
}

/// Every group, or a refusal.
pub(crate) async fn groups(
    session: &mut Session<'_>,
    dimensions: &[Dimension],
    filter: &EventFilter,
) -> Result<Vec<GroupSums>, Error> {
    let groups = session.sums_grouped(&physical(dimensions), filter, MOST_GROUPS + 1).await?;
    if groups.len() > MOST_GROUPS {
        let message =
            format!("The question makes more than {MOST_GROUPS} groups: take a shorter window, or fewer dimensions.");
        return Err(Rule::new("out_of_range", message, json!({ "mostGroups": MOST_GROUPS })).into());
    }
    Ok(groups)
}

/// What the store groups by: venues, groups and tags are their accounts'.
fn by(dimension: Dimension) -> By {
    match dimension {
        Dimension::Symbol => By::Symbol,
        Dimension::Account | Dimension::Venue | Dimension::Portfolio | Dimension::Tag => By::Account,
        Dimension::EventType => By::EventType,
        Dimension::Side => By::Side,
        Dimension::Hour => By::Hour,
        Dimension::Day => By::Day,
        Dimension::Weekday => By::Weekday,
        Dimension::Week => By::Week,
        Dimension::Month => By::Month,
    }
}

fn physical(dimensions: &[Dimension]) -> Vec<By> {
    let mut all: Vec<By> = Vec::new();
    for by in dimensions.iter().map(|d| by(*d)) {
        if !all.contains(&by) {
            all.push(by);
        }
    }
    all
}

/// A key's text as the store orders it; `None`, which comes first: the records have none.
type Text = Option<String>;

/// A row under construction, by column too.
#[derive(Debug, Default)]
struct Line {
    sums: Sums,
    cells: BTreeMap<Text, Sums>,
}

/// Rows and columns under construction.
#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<Vec<Text>, Line>,
}

impl Table {
    fn of(groups: &[GroupSums], dimensions: &[Dimension], row_dimensions: usize, selection: &Selection) -> Self {
        let physical = physical(dimensions);
        let accounts: BTreeMap<AccountId, &Account> = selection.accounts.iter().map(|a| (a.id, a)).collect();
        let mut table = Self::default();
        for group in groups {
            for mut key in keys(group, dimensions, &physical, &accounts) {
                let column = key.split_off(row_dimensions).pop();
                let line = table.rows.entry(key).or_default();
                line.sums += group.sums;
                if let Some(column) = column {
                    *line.cells.entry(column).or_default() += group.sums;
                }
            }
        }
        table
    }

    fn columns(&self, pivot: Option<Dimension>) -> Vec<Option<String>> {
        let Some(pivot) = pivot else { return Vec::new() };
        let columns: BTreeSet<&Text> = self.rows.values().flat_map(|line| line.cells.keys()).collect();
        columns.into_iter().map(|text| shown(pivot, text.clone())).collect()
    }

    fn rows(self, query: &Query, selection: &Selection, groups: &GroupNames) -> Vec<Row> {
        let names = selection.names();
        let row = |(texts, line): (Vec<Text>, Line)| Row {
            key: key(&query.group_by, texts, &names, groups),
            totals: line.sums.into(),
            cells: line
                .cells
                .into_iter()
                .map(|(column, sums)| Cell {
                    column: query.pivot_by.and_then(|pivot| shown(pivot, column)),
                    totals: sums.into(),
                })
                .collect(),
        };
        let mut rows: Vec<Row> = self.rows.into_iter().map(row).collect();
        sort(&mut rows, query);
        rows
    }
}

/// Rows come in the order of their keys, and stay so where amounts are equal.
fn sort(rows: &mut [Row], query: &Query) {
    use Dimension::{Day, Hour, Month, Week, Weekday};
    let is_time = matches!(query.group_by.first(), Some(Day | Hour | Month | Week | Weekday));
    let order_by = query.order_by.unwrap_or(if is_time { OrderBy::Key } else { OrderBy::NetPnlUsd });
    let usual = if order_by == OrderBy::Key { Order::Asc } else { Order::Desc };
    let is_descending = query.order.unwrap_or(usual) == Order::Desc;
    let amount = |totals: &Totals| match order_by {
        OrderBy::Key => Usd::ZERO,
        OrderBy::EventCount => Usd(totals.event_count.into()),
        OrderBy::NotionalUsd => totals.notional_usd,
        OrderBy::FeesUsd => totals.fees_usd,
        OrderBy::RealizedPnlUsd => totals.realized_pnl_usd,
        OrderBy::FundingUsd => totals.funding_usd,
        OrderBy::NetPnlUsd => totals.net_pnl_usd,
        OrderBy::ForcedCloseCount => Usd(totals.forced_close_count.into()),
    };
    match (order_by, is_descending) {
        (OrderBy::Key, false) => {}
        (OrderBy::Key, true) => rows.reverse(),
        (_, false) => rows.sort_by_key(|row| amount(&row.totals)),
        (_, true) => rows.sort_by_key(|row| std::cmp::Reverse(amount(&row.totals))),
    }
}

/// The keys that a group counts under: one, or one for each tag of its account.
fn keys(
    group: &GroupSums,
    dimensions: &[Dimension],
    physical: &[By],
    accounts: &BTreeMap<AccountId, &Account>,
) -> Vec<Vec<Text>> {
    let mut keys: Vec<Vec<Text>> = vec![Vec::with_capacity(dimensions.len())];
    for dimension in dimensions {
        let place = physical.iter().position(|p| *p == by(*dimension)).unwrap_or_default();
        let text = group.keys.get(place).map(String::as_str).unwrap_or_default();
        let account = || text.parse::<AccountId>().ok().and_then(|id| accounts.get(&id));
        let values: Vec<Text> = match dimension {
            Dimension::Venue => vec![account().map(|a| a.venue.to_string())],
            Dimension::Portfolio => vec![account().and_then(|a| a.portfolio_id).map(|id| id.to_string())],
            Dimension::Tag => match account().map(|a| a.tags.as_slice()) {
                // Each once, also when the account was given one twice.
                Some(tags @ [_, ..]) => tags.iter().collect::<BTreeSet<_>>().into_iter().cloned().map(Some).collect(),
                _ => vec![None],
            },
            _ => vec![(!text.is_empty()).then(|| text.to_owned())],
        };
        keys = keys
            .into_iter()
            .flat_map(|key| values.iter().map(move |value| [key.as_slice(), std::slice::from_ref(value)].concat()))
            .collect();
    }
    keys
}

/// A key's text as answers show it.
fn shown(dimension: Dimension, text: Text) -> Text {
    match dimension {
        Dimension::Weekday => text.map(|number| weekday(&number).to_owned()),
        _ => text,
    }
}

/// Of `1` to `7`.
pub(crate) fn weekday(number: &str) -> &'static str {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let place = number.parse::<usize>().unwrap_or_default().saturating_sub(1);
    NAMES.get(place).copied().unwrap_or_default()
}

/// Names by id.
type GroupNames = BTreeMap<String, String>;

fn key(dimensions: &[Dimension], texts: Vec<Text>, names: &BTreeMap<AccountId, &str>, groups: &GroupNames) -> Key {
    let mut key = Key::default();
    for (dimension, text) in dimensions.iter().zip(texts) {
        let text = shown(*dimension, text);
        match dimension {
            Dimension::Symbol => key.symbol = Some(text),
            Dimension::Account => {
                let name = text.as_deref().and_then(|id| id.parse().ok()).and_then(|id: AccountId| names.get(&id));
                key.account_name = Some(name.copied().unwrap_or_default().to_owned());
                key.account_id = text;
            }
            Dimension::Venue => key.venue = Some(text),
            Dimension::Portfolio => {
                key.portfolio_name = Some(text.as_ref().and_then(|id| groups.get(id)).cloned());
                key.portfolio_id = Some(text);
            }
            Dimension::Tag => key.tag = Some(text),
            Dimension::EventType => key.event_type = Some(text),
            Dimension::Side => key.side = Some(text),
            Dimension::Hour => key.hour = Some(text),
            Dimension::Day => key.day = Some(text),
            Dimension::Weekday => key.weekday = Some(text),
            Dimension::Week => key.week = Some(text),
            Dimension::Month => key.month = Some(text),
        }
    }
    key
}
