//! The shapes of the automations' routes.

use codash_domain::automation::{Cause, Missed, Overlap, Task, Timing};
use codash_domain::{AutomationId, DeliveryId, EndpointId, KeyId, RunId, Timestamp};
use codash_store::automations::Automation;
use codash_store::automations::deliveries::{Attempt, DeliveryState};
use codash_store::automations::endpoints::Endpoint;
use codash_store::automations::runs::Run;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use validator::Validate;

use crate::rest::extract::visible_name;
use codash_analytics::input::{present, whole};

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAutomation {
    /// 1 to 100 characters.
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = crate::rest::extract::LONGEST_NAME, "pattern" = codash_domain::text::VISIBLE))]
    pub name: String,
    pub when: Timing,
    pub what: Task,
    /// Ids of up to 10 webhooks that are told what came of each run.
    #[serde(default)]
    #[validate(length(max = 10))]
    pub webhooks: Vec<EndpointId>,
    /// Times that passed while no worker ran: skip, or once for all of them. Default once.
    #[serde(default)]
    pub missed: Missed,
    /// A run that is due while another has not ended: skip, or queue one. Default skip.
    #[serde(default)]
    pub overlap: Overlap,
    #[serde(default)]
    pub paused: bool,
}

/// What is left out stays. The automation acts with the key of this request from now on.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeAutomation {
    /// 1 to 100 characters.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = crate::rest::extract::LONGEST_NAME, "pattern" = codash_domain::text::VISIBLE))]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub when: Option<Timing>,
    #[serde(default, deserialize_with = "present")]
    pub what: Option<Task>,
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 10))]
    pub webhooks: Option<Vec<EndpointId>>,
    #[serde(default, deserialize_with = "present")]
    pub missed: Option<Missed>,
    #[serde(default, deserialize_with = "present")]
    pub overlap: Option<Overlap>,
    /// True pauses, false resumes: with the next time, not with those that passed.
    #[serde(default, deserialize_with = "present")]
    pub paused: Option<bool>,
    /// True: the trigger gets a new token (and secret); the old ones end at once.
    #[serde(default)]
    pub rotate_token: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Automations {
    pub count: usize,
    pub automations: Vec<AutomationAnswer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutomationAnswer {
    pub id: AutomationId,
    pub name: String,
    pub when: Timing,
    pub what: Task,
    pub webhooks: Vec<EndpointId>,
    pub missed: Missed,
    pub overlap: Overlap,
    pub paused: bool,
    /// Why, when it paused itself.
    pub pause_reason: Option<String>,
    /// When it is due; null when only others start it, or it is paused.
    pub next_at: Option<Timestamp>,
    /// The key whose rights it acts with.
    pub key_id: KeyId,
    /// How a condition stands; null for other automations.
    pub condition: Option<ConditionState>,
    /// What its owner should know, such as a webhook that was disabled.
    pub notices: Vec<String>,
    /// Shown when the token is made, and never again.
    pub trigger: Option<TriggerOpened>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionState {
    /// It fired and has not cleared since.
    pub raised: bool,
    pub fired_at: Option<Timestamp>,
    pub checked_at: Option<Timestamp>,
    /// What the last look said.
    pub last_check: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerOpened {
    /// POST here. It holds the token: treat it as a secret.
    pub path: String,
    /// What requests are signed with; null when they need no signature.
    pub signing_secret: Option<String>,
    pub warning: &'static str,
}

impl AutomationAnswer {
    /// With what the state of its webhooks means for it.
    pub fn with_notices(mut self, endpoints: &[Endpoint]) -> Self {
        let disabled = endpoints.iter().filter(|one| one.is_disabled && self.webhooks.contains(&one.id));
        let notice = |one: &Endpoint| {
            let reason = one.disabled_reason.as_deref().unwrap_or("no reason is known");
            format!("webhook {} is disabled and gets no messages: {reason}", one.id)
        };
        self.notices = disabled.map(notice).collect();
        self
    }
}

impl From<Automation> for AutomationAnswer {
    fn from(automation: Automation) -> Self {
        let Automation { definition, watch, .. } = automation;
        let condition = matches!(definition.timing, Timing::Condition(_)).then_some(ConditionState {
            raised: watch.is_raised,
            fired_at: watch.fired_at,
            checked_at: automation.checked_at,
            last_check: automation.check_detail,
        });
        Self {
            id: automation.id,
            name: definition.name,
            when: definition.timing,
            what: definition.task,
            webhooks: definition.endpoints,
            missed: definition.missed,
            overlap: definition.overlap,
            paused: definition.is_paused,
            pause_reason: automation.pause_reason,
            next_at: definition.due_at.filter(|_| !definition.is_paused),
            key_id: definition.key,
            condition,
            notices: Vec::new(),
            trigger: None,
            created_at: automation.created_at,
            updated_at: automation.updated_at,
        }
    }
}

/// Which page of a list, newest first.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PageQuery {
    /// 1 to 100. Default 20.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 100))]
    pub limit: Option<i64>,
    /// nextCursor of the page before.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    pub cursor: Option<Uuid>,
}

impl PageQuery {
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(20)
    }
}

/// The id to go on from, when the page is full.
pub fn next_cursor(count: usize, limit: i64, last: Option<Uuid>) -> Option<Uuid> {
    last.filter(|_| i64::try_from(count).is_ok_and(|count| count == limit))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    pub count: usize,
    pub runs: Vec<RunAnswer>,
    pub next_cursor: Option<Uuid>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunAnswer {
    pub id: RunId,
    pub automation_id: AutomationId,
    pub cause: Cause,
    /// queued, running, succeeded, failed or skipped.
    pub state: String,
    /// Why it failed or was skipped.
    pub detail: Option<String>,
    pub scheduled_for: Timestamp,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub attempts: i32,
    /// The answer, as the question gives it; null until there is one, and for a key that could not have
    /// asked.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub result: Option<Box<RawValue>>,
    /// True: there is a result, which this key may not see.
    pub result_hidden: bool,
    pub deliveries: Vec<DeliveryAnswer>,
}

impl RunAnswer {
    pub fn of(run: Run, shows_result: bool) -> Self {
        let result_hidden = run.result.is_some() && !shows_result;
        let result = run.result.filter(|_| shows_result).and_then(|text| RawValue::from_string(text).ok());
        Self {
            id: run.id,
            automation_id: run.automation,
            cause: run.cause,
            state: run.state,
            detail: run.detail,
            scheduled_for: run.scheduled_for,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            attempts: run.attempts,
            result,
            result_hidden,
            deliveries: run.deliveries.into_iter().map(DeliveryAnswer::from).collect(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    pub run_id: RunId,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    pub id: Uuid,
    pub removed: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryAnswer {
    /// The header webhook-id of every try.
    pub id: DeliveryId,
    pub webhook_id: EndpointId,
    pub run_id: RunId,
    /// pending, delivered or failed.
    pub state: String,
    pub detail: Option<String>,
    pub attempts: i32,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// When it is tried next, while it is pending.
    pub next_attempt_at: Option<Timestamp>,
}

impl From<DeliveryState> for DeliveryAnswer {
    fn from(delivery: DeliveryState) -> Self {
        let is_pending = delivery.state == "pending";
        Self {
            id: delivery.id,
            webhook_id: delivery.endpoint,
            run_id: delivery.run,
            state: delivery.state,
            detail: delivery.detail,
            attempts: delivery.attempts,
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
            next_attempt_at: is_pending.then_some(delivery.due_at),
        }
    }
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// https, to a public host; no user name, password or fragment. It cannot be changed later.
    #[validate(length(max = 2048))]
    pub url: String,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeWebhook {
    /// True: messages get a new secret, shown once; the old one signs too for a day.
    #[serde(default)]
    pub rotate_secret: bool,
    /// True ends what waits; false takes messages again.
    #[serde(default, deserialize_with = "present")]
    pub disabled: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhooks {
    pub count: usize,
    pub webhooks: Vec<WebhookAnswer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAnswer {
    pub id: EndpointId,
    pub url: String,
    pub disabled: bool,
    /// Why no message is sent any longer.
    pub disabled_reason: Option<String>,
    /// The first failure since the last success; null while all is well.
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before the present one signs too.
    pub previous_secret_until: Option<Timestamp>,
    /// `whsec_…`, shown when it is made and never again.
    pub secret: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Endpoint> for WebhookAnswer {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url,
            disabled: endpoint.is_disabled,
            disabled_reason: endpoint.disabled_reason,
            failing_since: endpoint.failing_since,
            previous_secret_until: endpoint.previous_until,
            secret: None,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    pub count: usize,
    pub deliveries: Vec<DeliveryAnswer>,
    pub next_cursor: Option<Uuid>,
}

/// A delivery with its log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryLog {
    pub delivery: DeliveryAnswer,
    /// Oldest first.
    pub log: Vec<AttemptAnswer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptAnswer {
    pub attempt: i32,
    pub attempted_at: Timestamp,
    pub duration_ms: i64,
    /// Null when there was no answer.
    pub status_code: Option<i32>,
    pub error: Option<String>,
    /// The first 20 KiB of what the receiver said: its words, not ours.
    pub response_head: Option<String>,
}

impl From<Attempt> for AttemptAnswer {
    fn from(attempt: Attempt) -> Self {
        Self {
            attempt: attempt.attempt,
            attempted_at: attempt.attempted_at,
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            error: attempt.error,
            response_head: attempt.response_head,
        }
    }
}
