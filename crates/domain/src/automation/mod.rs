//! Automations: when, what, and how they behave when late or still busy.
//!
//! The shapes here are those of the wire and of the stored row at once. [`Timing::next_after`] says
//! when a schedule comes next, [`Condition::judge`] whether a condition fires; neither reads a clock.

mod condition;
mod cron;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::time::Timestamp;

pub use crate::ids::{AutomationId, DeliveryId, EndpointId, RunId};
pub use condition::{Comparator, Condition, Watch, figure_at};
pub use cron::{Cron, NotCron};

/// A minute: the tightest schedule.
pub const SHORTEST_SECONDS: i64 = 60;
/// A year.
pub const LONGEST_SECONDS: i64 = 31_536_000;

/// When an automation runs: one of the four.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Timing {
    Cron(CronTiming),
    Interval(Interval),
    /// By `POST /api/automations/trigger/{token}`, and on demand.
    Trigger(Trigger),
    Condition(Condition),
}

/// Five fields: minute, hour, day of month, month, day of week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct CronTiming {
    /// Such as `0 9 * * mon-fri`.
    pub expression: String,
    /// An IANA name. A local time that daylight saving skips comes once, right after the gap; one that
    /// it repeats comes once. A schedule of every hour follows elapsed time instead.
    #[serde(default = "utc")]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".into()
}

/// Every so many seconds, counted from when the automation was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Interval {
    /// 60 (a minute) to 31536000 (a year).
    pub every_seconds: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Trigger {
    /// True: a request must be signed with the secret that is shown once, as Standard Webhooks has it.
    #[serde(default)]
    pub signed: bool,
}

/// What is asked: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Task {
    Question(Question),
    Export(ExportTask),
}

/// A question of the catalogue, by the name of its MCP tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Question {
    pub name: String,
    /// As the tool takes them.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// The manifest of an export: rows, digest, watermark, and where to fetch the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ExportTask {
    pub table: String,
    /// As the route of the export takes them.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// What becomes of times that passed while no worker ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Missed {
    /// Nothing runs; the run is listed as skipped.
    Skip,
    /// One run for all of them.
    #[default]
    Once,
}

/// What becomes of a run that is due while another has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Overlap {
    /// It is listed as skipped.
    #[default]
    Skip,
    /// One waits; further ones are skipped.
    Queue,
}

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Below the timing, such as `cron.expression`.
    pub path: &'static str,
    pub reason: String,
}

impl Fault {
    fn new(path: &'static str, reason: impl Into<String>) -> Self {
        Self { path, reason: reason.into() }
    }
}

impl Timing {
    /// What a schema cannot say.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Cron(timing) => {
                if timing.expression.len() > 256 {
                    return Err(Fault::new("cron.expression", "must be at most 256 characters"));
                }
                let read = Cron::parse(&timing.expression, &timing.time_zone);
                read.map(drop).map_err(|fault| {
                    let path = if fault == NotCron::Zone { "cron.timeZone" } else { "cron.expression" };
                    Fault::new(path, fault.to_string())
                })
            }
            Self::Interval(interval) => check_seconds("interval.everySeconds", interval.every_seconds),
            Self::Trigger(_) => Ok(()),
            Self::Condition(condition) => condition.check(),
        }
    }

    /// The first time later than `after`; `None` when only others start it. `made` is where intervals
    /// are counted from.
    pub fn next_after(&self, made: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(timing) => Cron::parse(&timing.expression, &timing.time_zone).ok()?.next_after(after),
            Self::Interval(interval) => next_interval(interval.every_seconds, made, after),
            Self::Trigger(_) => None,
            Self::Condition(condition) => next_interval(condition.every_seconds, made, after),
        }
    }
}

fn check_seconds(path: &'static str, seconds: i64) -> Result<(), Fault> {
    if (SHORTEST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
        return Ok(());
    }
    Err(Fault::new(path, format!("must be between {SHORTEST_SECONDS} and {LONGEST_SECONDS}")))
}

fn next_interval(every_seconds: i64, made: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let every = every_seconds.max(1).checked_mul(1000)?;
    if after < made {
        return Some(made.plus(TimeDelta::milliseconds(every)));
    }
    let passed = (after.millis() - made.millis()) / every;
    Timestamp::from_millis(made.millis().checked_add((passed + 1).checked_mul(every)?)?)
}

/// Why a run is there. The words are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Cause {
    Schedule,
    Condition,
    Trigger,
    Manual,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Condition => "condition",
            Self::Trigger => "trigger",
            Self::Manual => "manual",
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Schedule, Self::Condition, Self::Trigger, Self::Manual];
        all.into_iter().find(|cause| cause.as_str() == text).ok_or_else(|| format!("no cause is called {text:?}"))
    }
}

impl RunId {
    /// The same cause of the same automation is the same run, whoever notices it and how often.
    pub fn derive(automation: AutomationId, cause: Cause, cause_id: &str) -> Self {
        Self(derived(&[b"run", automation.0.as_bytes(), cause.as_str().as_bytes(), cause_id.as_bytes()]))
    }
}

impl DeliveryId {
    /// A run is sent to an endpoint under one id.
    pub fn derive(run: RunId, endpoint: EndpointId) -> Self {
        Self(derived(&[b"delivery", run.0.as_bytes(), endpoint.0.as_bytes()]))
    }
}

/// A version 8 id: 122 bits of a hash.
fn derived(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_interval_keeps_its_beat_however_late_it_is_asked() {
        let made = at("2026-01-01T00:00:30Z");
        let timing = Timing::Interval(Interval { every_seconds: 3600 });
        for (after, next) in [
            ("2025-12-31T00:00:00Z", "2026-01-01T01:00:30.000Z"),
            ("2026-01-01T00:00:30Z", "2026-01-01T01:00:30.000Z"),
            ("2026-01-01T01:00:29.999Z", "2026-01-01T01:00:30.000Z"),
            ("2026-01-01T01:00:30Z", "2026-01-01T02:00:30.000Z"),
            ("2026-01-09T05:45:00Z", "2026-01-09T06:00:30.000Z"),
        ] {
            assert_eq!(timing.next_after(made, at(after)).unwrap().to_string(), next, "{after}");
        }
        assert_eq!(Timing::Trigger(Trigger::default()).next_after(made, made), None);
    }

    #[test]
    fn bounds_are_told_with_their_field() {
        for (timing, path) in [
            (json!({ "interval": { "everySeconds": 59 } }), "interval.everySeconds"),
            (json!({ "interval": { "everySeconds": 31_536_001 } }), "interval.everySeconds"),
            (json!({ "cron": { "expression": "* * * *" } }), "cron.expression"),
            (json!({ "cron": { "expression": "* * * * *", "timeZone": "Nowhere" } }), "cron.timeZone"),
        ] {
            let timing: Timing = serde_json::from_value(timing).unwrap();
            assert_eq!(timing.check().unwrap_err().path, path);
        }
        assert!(serde_json::from_value::<Timing>(json!({ "interval": { "everySeconds": 60, "x": 1 } })).is_err());
        assert!(serde_json::from_value::<Timing>(json!({ "cron": {}, "interval": {} })).is_err());
    }

    #[test]
    fn a_timing_reads_back_what_it_writes_with_every_digit() {
        let text = r#"{"condition":{"question":{"name":"get_portfolio_summary","arguments":{}},"field":"navUsd","comparator":"<","value":1000.10,"clearAt":1234567890123456.789,"coolDownSeconds":0,"everySeconds":300}}"#;
        let timing: Timing = serde_json::from_str(text).unwrap();
        let back = serde_json::to_string(&timing).unwrap();
        assert!(back.contains("1234567890123456.789"), "{back}");
        assert_eq!(serde_json::from_str::<Timing>(&back).unwrap(), timing);
    }

    #[test]
    fn one_cause_is_one_run_and_one_message_to_each_endpoint() {
        let automation = AutomationId::from_random([1; 16]);
        let run = RunId::derive(automation, Cause::Schedule, "a");
        assert_eq!(run, RunId::derive(automation, Cause::Schedule, "a"));
        assert_ne!(run, RunId::derive(automation, Cause::Trigger, "a"));
        assert_ne!(run, RunId::derive(AutomationId::from_random([2; 16]), Cause::Schedule, "a"));
        let (one, two) = (EndpointId::from_random([1; 16]), EndpointId::from_random([2; 16]));
        assert_eq!(DeliveryId::derive(run, one), DeliveryId::derive(run, one));
        assert_ne!(DeliveryId::derive(run, one), DeliveryId::derive(run, two));
    }
}
