//! Messages: signed, sent, tried again for days, and never twice under two ids.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use codash_domain::{AutomationId, RunId, Timestamp};
use codash_store::Error;
use codash_store::automations::deliveries::{Outgoing, Tried, Verdict};
use codash_store::automations::runs::Run;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::sender::{Message, Reply};
use crate::{Worker, sign, unless_lost};

/// Between tries, in seconds; a fifth is added by chance. Three days in all.
const SCHEDULE: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A receiver may ask for no longer pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);
/// An endpoint that has taken nothing for so long is disabled.
const LONGEST_FAILURE_DAYS: i64 = 5;

/// Handles one message. False when none is due.
pub async fn step(worker: &Worker) -> Result<bool, Error> {
    let Some(claim) = worker.store.claim_due_delivery(&worker.holder, worker.lease).await? else { return Ok(false) };
    let outgoing = match worker.store.outgoing(&claim).await {
        Ok(outgoing) => outgoing,
        Err(Error::Fenced) => return Ok(true),
        Err(error) => return Err(error),
    };
    let started = Instant::now();
    let sent =
        if outgoing.is_disabled { Err("the endpoint is disabled".to_owned()) } else { send(worker, &outgoing).await };
    let verdict = judge(&outgoing, &sent);
    if let Verdict::Disable(reason) = &verdict {
        tracing::warn!(endpoint.id = %outgoing.endpoint, reason, "a webhook endpoint was disabled");
    }
    let tried = Tried {
        duration: started.elapsed(),
        status_code: sent.as_ref().ok().map(|reply| reply.status),
        error: match &sent {
            Ok(reply) if is_success(reply.status) => None,
            Ok(reply) => Some(format!("the receiver answered {}", reply.status)),
            Err(reason) => Some(reason.clone()),
        },
        response_head: sent.ok().map(|reply| reply.head),
    };
    unless_lost(worker.store.settle_delivery(&claim, outgoing.endpoint, &tried, &verdict).await)
}

async fn send(worker: &Worker, outgoing: &Outgoing) -> Result<Reply, String> {
    let body = body(&outgoing.run)?;
    let (id, timestamp) = (outgoing.id.to_string(), outgoing.now.millis() / 1000);
    let signatures = sign::signatures(&outgoing.secrets, &id, timestamp, &body);
    worker.sender.send(Message { url: &outgoing.url, id, timestamp, signatures, body }).await
}

/// What a receiver reads. The same bytes at every try.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Event<'a> {
    /// `automation.run.` and how the run ended.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the run ended.
    pub timestamp: Option<Timestamp>,
    pub data: Data<'a>,
}

/// What became of a run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    pub automation_id: AutomationId,
    /// The same in every message about this run.
    pub run_id: RunId,
    pub cause: codash_domain::automation::Cause,
    pub state: &'a str,
    /// When the run was due.
    pub scheduled_for: Timestamp,
    /// Why there is no result.
    pub error: Option<&'a str>,
    /// The answer, as the question gives it, with every digit.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub result: Option<Box<RawValue>>,
}

fn body(run: &Run) -> Result<Vec<u8>, String> {
    let unreadable = |_: serde_json::Error| "the result could not be written".to_owned();
    let event = Event {
        kind: format!("automation.run.{}", run.state),
        timestamp: run.finished_at,
        data: Data {
            automation_id: run.automation,
            run_id: run.id,
            cause: run.cause,
            state: &run.state,
            scheduled_for: run.scheduled_for,
            error: run.detail.as_deref(),
            result: run.result.clone().map(RawValue::from_string).transpose().map_err(unreadable)?,
        },
    };
    serde_json::to_vec(&event).map_err(unreadable)
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// What follows from a try: anything but a success is tried again until the schedule ends.
fn judge(outgoing: &Outgoing, sent: &Result<Reply, String>) -> Verdict {
    if outgoing.is_disabled {
        return Verdict::GiveUp("the endpoint is disabled".into());
    }
    let reply = sent.as_ref().ok();
    match reply {
        Some(reply) if is_success(reply.status) => return Verdict::Delivered,
        Some(Reply { status: 410, .. }) => return Verdict::Disable("the receiver answered 410 Gone".into()),
        _ => {}
    }
    let since = outgoing.failing_since;
    if since.is_some_and(|since| since.plus(TimeDelta::days(LONGEST_FAILURE_DAYS)) <= outgoing.now) {
        return Verdict::Disable(format!("it has taken no message for {LONGEST_FAILURE_DAYS} days"));
    }
    let round = usize::try_from(outgoing.round).unwrap_or_default();
    let Some(seconds) = SCHEDULE.get(round) else {
        return Verdict::GiveUp(format!("not delivered in {} tries", SCHEDULE.len() + 1));
    };
    let jitter = jitter(outgoing.id.0.as_bytes(), outgoing.round, *seconds);
    let wanted = reply.and_then(|reply| reply.retry_after.as_deref()).and_then(|text| pause(text, outgoing.now));
    let wait = Duration::from_secs(seconds + jitter).max(wanted.unwrap_or_default());
    Verdict::Retry(wait.min(LONGEST_PAUSE + Duration::from_secs(SCHEDULE[SCHEDULE.len() - 1] / 5)))
}

/// Up to a fifth of the pause: the same for the same message and try, unlike for any other.
fn jitter(id: &[u8], round: i32, seconds: u64) -> u64 {
    let digest = Sha256::new().chain_update(id).chain_update(round.to_be_bytes()).finalize();
    let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    bits % (seconds / 5 + 1)
}

/// `Retry-After`: whole seconds, or a date.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    let seconds = text.trim().parse::<u64>().ok().or_else(|| {
        let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
        u64::try_from(date.timestamp().saturating_sub(now.millis() / 1000)).ok()
    })?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use codash_domain::automation::Cause;
    use codash_domain::{DeliveryId, EndpointId};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn outgoing(round: i32, failing_since: Option<&str>) -> Outgoing {
        let now = at("2026-01-10T00:00:00Z");
        let automation = AutomationId::from_random([1; 16]);
        let run = RunId::derive(automation, Cause::Manual, "x");
        let endpoint = EndpointId::from_random([2; 16]);
        Outgoing {
            id: DeliveryId::derive(run, endpoint),
            endpoint,
            url: "https://example.com/".into(),
            secrets: vec![],
            round,
            failing_since: failing_since.map(at),
            is_disabled: false,
            run: Run {
                id: run,
                automation,
                cause: Cause::Manual,
                cause_id: "x".into(),
                state: "succeeded".into(),
                detail: None,
                result: Some(r#"{"navUsd":0.10}"#.into()),
                attempts: 1,
                scheduled_for: now,
                created_at: now,
                started_at: Some(now),
                finished_at: Some(now),
                deliveries: vec![],
            },
            now,
        }
    }

    fn reply(status: u16, retry_after: Option<&str>) -> Result<Reply, String> {
        Ok(Reply { status, retry_after: retry_after.map(Into::into), head: String::new() })
    }

    fn wait(round: i32, sent: &Result<Reply, String>) -> u64 {
        match judge(&outgoing(round, None), sent) {
            Verdict::Retry(wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_has_every_digit_and_the_same_bytes_each_time() {
        let outgoing = outgoing(0, None);
        let bytes = body(&outgoing.run).unwrap();
        assert_eq!(bytes, body(&outgoing.run).unwrap());
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with(r#"{"type":"automation.run.succeeded","timestamp":"2026-01-10T00:00:00.000Z""#),
            "{text}"
        );
        assert!(text.contains(r#""result":{"navUsd":0.10}"#), "{text}");
    }

    #[test]
    fn only_2xx_is_a_success_and_410_ends_the_endpoint() {
        for status in [200, 202, 204, 299] {
            assert!(matches!(judge(&outgoing(0, None), &reply(status, None)), Verdict::Delivered), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(judge(&outgoing(0, None), &reply(status, None)), Verdict::Retry(_)), "{status}");
        }
        assert!(matches!(judge(&outgoing(0, None), &reply(410, None)), Verdict::Disable(_)));
        assert!(matches!(judge(&outgoing(0, None), &Err("x".into())), Verdict::Retry(_)));
    }

    #[test]
    fn pauses_grow_over_days_and_differ_between_messages() {
        for (round, seconds) in SCHEDULE.into_iter().enumerate() {
            let waited = wait(i32::try_from(round).unwrap(), &reply(500, None));
            assert!((seconds..=seconds + seconds / 5).contains(&waited), "{round}: {waited}");
        }
        assert!(matches!(judge(&outgoing(9, None), &reply(500, None)), Verdict::GiveUp(_)));
        assert!(SCHEDULE.iter().sum::<u64>() > 3 * 86_400);
        let jitters: std::collections::BTreeSet<u64> = (0..50_u8).map(|n| jitter(&[n; 16], 3, 7_200)).collect();
        assert!(jitters.len() > 40);
    }

    #[test]
    fn retry_after_lengthens_a_pause_and_never_shortens_it() {
        assert_eq!(wait(0, &reply(429, Some("120"))), 120);
        assert!(wait(1, &reply(503, Some("1"))) >= 300);
        assert_eq!(wait(0, &reply(503, Some("Sat, 10 Jan 2026 00:02:00 GMT"))), 120);
        assert_eq!(wait(0, &reply(503, Some("999999999"))), 86_400);
        assert!(wait(0, &reply(503, Some("soon"))) <= 6);
        assert!(wait(0, &reply(503, Some("Sat, 10 Jan 2025 00:02:00 GMT"))) <= 6);
    }

    #[test]
    fn an_endpoint_that_fails_for_days_is_disabled() {
        let long = outgoing(3, Some("2026-01-05T00:00:00Z"));
        assert!(matches!(judge(&long, &reply(500, None)), Verdict::Disable(_)));
        assert!(matches!(judge(&long, &reply(200, None)), Verdict::Delivered));
        let short = outgoing(3, Some("2026-01-05T00:00:01Z"));
        assert!(matches!(judge(&short, &reply(500, None)), Verdict::Retry(_)));
    }
}
