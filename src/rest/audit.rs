//! `GET /api/audit`: who did what, for the people of a workspace. An API key gets 405.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::cursor::Position;
use codash_analytics::input::{present, whole};
use codash_analytics::select::Number;
use codash_domain::{EventId, Role, Timestamp, Window};
use codash_store::audit::{ActorKind, AuditFilter, AuditRow, Outcome, Verb, first_id_at};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use validator::Validate;

use super::error::ApiError;
use super::extract::Params;
use super::success;
use crate::app::App;
use crate::auth::Person;

const USUAL_LIMIT: i64 = 100;

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditQuery {
    /// Only these verbs.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 50))]
    #[schemars(length(max = 50))]
    pub verbs: Option<Vec<Verb>>,
    /// Only what this key or person did.
    #[serde(default, deserialize_with = "present")]
    pub actor_id: Option<Uuid>,
    /// Inclusive.
    #[serde(default, deserialize_with = "present")]
    pub from: Option<Timestamp>,
    /// Inclusive.
    #[serde(default, deserialize_with = "present")]
    pub to: Option<Timestamp>,
    /// 1 to 1000, by default 100.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 1000))]
    #[schemars(with = "Option<i64>", range(min = 1, max = 1000))]
    pub limit: Option<i64>,
    /// nextCursor of the page before, with the same filters. from and to are those of the first page.
    #[serde(default, deserialize_with = "present")]
    pub cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditAnswer {
    pub count: usize,
    /// null on the last page.
    pub next_cursor: Option<String>,
    /// Newest first.
    pub entries: Vec<AuditEntry>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: Timestamp,
    pub actor: ActorKind,
    /// The key's or the person's id; null for the operator and the service itself.
    pub actor_id: Option<Uuid>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// What was done; a newer version of the service may add verbs.
    pub verb: String,
    /// What it was done to: an id, a tool, a route.
    pub target: Option<String>,
    pub outcome: Outcome,
    /// The error's code.
    pub code: Option<String>,
    /// SHA-256 of what was asked, in hexadecimal digits.
    pub arguments_hash: Option<String>,
    /// The rows of the answer, where it counts them; what is missing, for audit.gap.
    pub row_count: Option<i64>,
    pub milliseconds: Option<Number>,
    /// What changed, in names and ids; never a secret.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub detail: Value,
}

pub async fn list(
    State(app): State<App>,
    person: Person,
    Params(query): Params<AuditQuery>,
) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    let grant = &person.caller.grant;
    let verbs = query.verbs.unwrap_or_default();
    let mut names: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
    names.sort_unstable();
    let bound_to = json!(["audit", grant.workspace, grant.key, names, query.actor_id]).to_string();
    let first =
        Window { from: query.from.unwrap_or(Timestamp::EPOCH), to: query.to.unwrap_or(Timestamp::nearest(i64::MAX)) };
    if first.from > first.to {
        return Err(ApiError::invalid_field("from", "is after to: swap them"));
    }
    let (window, before) = match &query.cursor {
        Some(text) => {
            let position = app.cursor_key.read(text, &bound_to).map_err(codash_analytics::Error::Rule)?;
            (position.window, Some(position.before.uuid()))
        }
        None => (first, None),
    };
    let (from, to) = window.millis();
    let limit = query.limit.unwrap_or(USUAL_LIMIT);
    let filter = AuditFilter {
        verbs,
        actor_id: query.actor_id,
        from: Some(first_id_at(from)),
        before: Some(before.unwrap_or(first_id_at(to))),
    };
    let mut session = app.store.read(grant).begin().await?;
    let mut rows = session.audit_page(&filter, limit + 1).await?;
    session.finish().await?;
    let has_more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    rows.truncate(usize::try_from(limit).unwrap_or_default());
    let next_cursor = rows
        .last()
        .filter(|_| has_more)
        .map(|last| app.cursor_key.write(&Position { window, before: EventId::from_uuid(last.id) }, &bound_to));
    let entries: Vec<AuditEntry> = rows.into_iter().map(Into::into).collect();
    Ok(success(StatusCode::OK, AuditAnswer { count: entries.len(), next_cursor, entries }))
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            actor_id: row.actor_id,
            address: row.address,
            request_id: row.request_id,
            verb: row.verb,
            target: row.target,
            outcome: row.outcome,
            code: row.code,
            arguments_hash: row.arguments_hash.map(hex::encode),
            row_count: row.row_count,
            milliseconds: row.micros.map(|micros| Number(Decimal::new(micros, 3).normalize())),
            detail: row.detail,
        }
    }
}
