//! What a question is about: which accounts, which window. Resolved here, for every face.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use codash_domain::{AccountId, EventType, Forest, PortfolioId, Timestamp, Usd, Venue, Window};
use codash_store::Session;
use codash_store::accounts::{Account, Visible};
use codash_store::events::EventFilter;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::{Error, Rule};

/// The accounts that a question is asked of: visible, existing, named.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Oldest first.
    pub accounts: Vec<Account>,
    /// True when no account was named and the key sees all of them: the workspace's own sums answer. Not
    /// while one of them is being erased: the sums hold it still.
    pub whole_workspace: bool,
}

impl Selection {
    pub fn ids(&self) -> Vec<AccountId> {
        self.accounts.iter().map(|a| a.id).collect()
    }

    /// What the ledger filters by: nothing when every account is meant.
    pub fn filter(&self) -> Option<Vec<AccountId>> {
        (!self.whole_workspace).then(|| self.ids())
    }

    pub fn names(&self) -> BTreeMap<AccountId, &str> {
        self.accounts.iter().map(|a| (a.id, a.name.as_str())).collect()
    }
}

/// Which accounts a caller names: those that pass every filter. One that is absent or empty passes all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// With `account_ids`: their union.
    pub account_id: Option<&'a str>,
    pub account_ids: Option<&'a [String]>,
    /// A group: the accounts in it and in every group below it. With `portfolio_ids`: their union.
    pub portfolio_id: Option<&'a str>,
    pub portfolio_ids: Option<&'a [String]>,
    pub venues: Option<&'a [Venue]>,
}

/// Resolves what a caller names. An account or a group of another tenant, one that this key must not see and
/// one that does not exist get the same answer. Removed accounts are among them: what they did is part of the
/// past.
pub async fn wanted(session: &mut Session<'_>, wanted: impl Into<Wanted<'_>>) -> Result<Selection, Error> {
    let wanted = wanted.into();
    let visible = session.visible().await?;
    let mut selection = named(&visible, wanted.account_id, wanted.account_ids)?;
    if let Some(venues) = wanted.venues.filter(|venues| !venues.is_empty()) {
        selection.accounts.retain(|account| venues.contains(&account.venue));
        selection.whole_workspace = false;
    }
    let many = wanted.portfolio_ids.unwrap_or_default().iter().map(String::as_str);
    let groups: Vec<&str> = wanted.portfolio_id.into_iter().chain(many).collect();
    if !groups.is_empty() {
        let below = below(session, &visible.accounts, &groups).await?;
        selection.accounts.retain(|account| account.portfolio_id.is_some_and(|group| below.contains(&group)));
        selection.whole_workspace = false;
    }
    Ok(selection)
}

/// These groups and every group below them.
async fn below(
    session: &mut Session<'_>,
    visible: &[Account],
    groups: &[&str],
) -> Result<BTreeSet<PortfolioId>, Error> {
    let all = session.portfolios(visible).await?;
    let forest: Forest = all.iter().map(|g| (g.id, g.parent)).collect();
    let mut below = BTreeSet::new();
    for text in groups {
        let top = text.parse::<PortfolioId>().ok().filter(|id| forest.contains(*id));
        below.extend(forest.subtree(top.ok_or_else(|| unknown_portfolio(text))?));
    }
    Ok(below)
}

/// As [`wanted`], for questions about now: removed accounts are worth nothing to anybody.
pub async fn present(session: &mut Session<'_>, wanted: impl Into<Wanted<'_>>) -> Result<Selection, Error> {
    let wanted = wanted.into();
    let is_named = wanted.account_id.is_some() || wanted.account_ids.is_some_and(|ids| !ids.is_empty());
    let mut selection = self::wanted(session, wanted).await?;
    if let Some((account, at)) =
        selection.accounts.iter().find_map(|a| a.removed_at.map(|at| (a, at))).filter(|_| is_named)
    {
        let message = format!(
            "Account {} was removed at {at}: it has no state now. Leave it out, or ask for its past by a window.",
            account.id
        );
        return Err(Rule::new("account_removed", message, json!({ "accountId": account.id, "removedAt": at })).into());
    }
    selection.accounts.retain(|a| a.removed_at.is_none());
    Ok(selection)
}

fn named(visible: &Visible, one: Option<&str>, many: Option<&[String]>) -> Result<Selection, Error> {
    let Visible { accounts: visible, is_whole } = visible;
    let wanted: Vec<&str> = one.into_iter().chain(many.unwrap_or_default().iter().map(String::as_str)).collect();
    if wanted.is_empty() {
        return Ok(Selection { accounts: visible.clone(), whole_workspace: *is_whole });
    }
    let mut ids = Vec::with_capacity(wanted.len());
    for text in wanted {
        let id = text.parse::<AccountId>().ok().filter(|id| visible.iter().any(|a| a.id == *id));
        ids.push(id.ok_or_else(|| unknown_account(text))?);
    }
    let accounts = visible.iter().filter(|a| ids.contains(&a.id)).cloned().collect();
    Ok(Selection { accounts, whole_workspace: false })
}

fn unknown_portfolio(text: &str) -> Rule {
    let shown = codash_domain::text::clean(text, 64);
    let message = format!("No portfolio {shown:?} is visible to this key. Use an id that GET /api/portfolios returns.");
    Rule::new("unknown_portfolio", message, json!({ "portfolioId": shown }))
}

fn unknown_account(text: &str) -> Rule {
    let shown = codash_domain::text::clean(text, 64);
    Rule::new(
        "unknown_account",
        format!("No account {shown:?} is visible to this key. Call list_accounts and use an id it returns."),
        json!({ "accountId": shown }),
    )
}

/// What was asked of a window, before defaults.
#[derive(Debug, Clone, Copy)]
pub struct WindowQuery {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Length when `from` is omitted.
    pub length: TimeDelta,
}

/// `to` defaults to now, `from` to `to` less the length. Inclusive at both ends.
pub fn window(query: WindowQuery, now: Timestamp) -> Result<Window, Error> {
    let to = query.to.unwrap_or(now);
    let from = query.from.unwrap_or_else(|| to.minus(query.length));
    if from > to {
        return Err(Rule::new(
            "invalid_window",
            format!("from ({from}) is after to ({to}): swap them, or leave both out for the default window."),
            json!({ "from": from, "to": to }),
        )
        .into());
    }
    Ok(Window { from, to })
}

/// The window as answered.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowAnswer {
    /// Inclusive.
    pub from: Timestamp,
    /// Inclusive.
    pub to: Timestamp,
    pub hours: Number,
    pub days: Number,
}

impl From<Window> for WindowAnswer {
    fn from(window: Window) -> Self {
        let millis = Decimal::from(window.to.millis() - window.from.millis());
        let per = |unit: i64| Number((millis / Decimal::from(unit)).round_dp(6).normalize());
        Self { from: window.from, to: window.to, hours: per(3_600_000), days: per(86_400_000) }
    }
}

/// The window as REST echoes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EchoedWindow {
    #[serde(flatten)]
    pub window: WindowAnswer,
    /// True when the caller named neither a start nor a length: the route's default length was taken.
    pub defaulted: bool,
}

/// `part` as a percentage of `whole`, to six places; `None` unless the whole is positive.
pub fn percent(part: Usd, whole: Usd) -> Option<Number> {
    if whole <= Usd::ZERO {
        return None;
    }
    let share = part.0.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole.0)?;
    Some(Number(share.round_dp(6).normalize()))
}

/// A plain JSON number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub Decimal);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codash_domain::Usd(self.0).serialize(serializer)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number" })
    }
}

/// The ledger's filter for a selection and a window.
pub fn event_filter(
    selection: &Selection,
    window: Window,
    symbols: Option<&[String]>,
    types: Option<&[EventType]>,
) -> EventFilter {
    let mut symbols: Vec<String> = symbols.unwrap_or_default().to_vec();
    symbols.sort_unstable();
    symbols.dedup();
    let mut event_types: Vec<EventType> = types.unwrap_or_default().to_vec();
    event_types.sort_unstable();
    event_types.dedup();
    EventFilter { accounts: selection.filter(), symbols, event_types, window }
}

/// Every item of a list argument within its bounds.
pub fn short_strings(items: &[String]) -> Result<(), validator::ValidationError> {
    if items.iter().all(|s| !s.is_empty() && s.chars().count() <= 128 && !s.contains('\0')) {
        return Ok(());
    }
    let mut fault = validator::ValidationError::new("length");
    fault.message = Some("every item must have 1 to 128 characters, none of them NUL".into());
    Err(fault)
}
