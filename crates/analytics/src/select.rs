//! What a question is about: which accounts, which window. Resolved here, for every face.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use codash_domain::{AccountId, EventType, Timestamp, Usd, Window};
use codash_store::accounts::Account;
use codash_store::events::EventFilter;
use codash_store::{Grant, Session};
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
    /// True when no account was named and the key sees all of them: the workspace's own sums answer.
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

/// Resolves `accountId` and `accountIds` (their union; an empty list names none). An account of
/// another tenant, one that this key must not see and one that does not exist get the same answer.
pub async fn accounts(
    session: &mut Session<'_>,
    grant: &Grant,
    one: Option<&str>,
    many: Option<&[String]>,
) -> Result<Selection, Error> {
    let visible = session.accounts().await?;
    let wanted: Vec<&str> = one.into_iter().chain(many.unwrap_or_default().iter().map(String::as_str)).collect();
    if wanted.is_empty() {
        return Ok(Selection { accounts: visible, whole_workspace: grant.accounts.is_none() });
    }
    let mut ids = Vec::with_capacity(wanted.len());
    for text in wanted {
        let id = text.parse::<AccountId>().ok().filter(|id| visible.iter().any(|a| a.id == *id));
        ids.push(id.ok_or_else(|| unknown_account(text))?);
    }
    let accounts = visible.into_iter().filter(|a| ids.contains(&a.id)).collect();
    Ok(Selection { accounts, whole_workspace: false })
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
