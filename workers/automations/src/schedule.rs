//! Due times and conditions become runs.

use std::time::Duration;

use chrono::TimeDelta;
use codash_domain::automation::{Cause, Condition, Missed, Task, Timing, figure_at};
use codash_domain::{KeyId, Timestamp};
use codash_store::Error;
use codash_store::automations::claims::{Advance, Due, DueRun};
use codash_store::automations::{Automation, Claim};
use serde_json::Value;
use tokio::time::timeout;

use crate::{NotAnswered, Worker, unless_lost};

/// A time found later than this counts as missed: no worker ran.
const LATE_MINUTES: i64 = 5;
/// Missed times that are counted one by one.
const MOST_COUNTED: usize = 100;
/// For a condition's question.
const PATIENCE: Duration = Duration::from_secs(60);

/// Handles one automation that is due. False when none is.
pub async fn step(worker: &Worker) -> Result<bool, Error> {
    let Some(claim) = worker.store.claim_due_automation(&worker.holder, worker.lease).await? else { return Ok(false) };
    let due = match worker.store.due_automation(&claim).await {
        Ok(due) => due,
        Err(Error::Fenced) => return Ok(true),
        Err(error) => return Err(error),
    };
    let advance = match &due.automation.definition.timing {
        Timing::Condition(condition) => look(worker, &claim, &due, condition).await?,
        _ => plan(&due.automation, due.now),
    };
    unless_lost(worker.store.advance_automation(&claim, &advance).await)
}

/// What a schedule that is due comes to. Times found in time run one by one, each its own run; times
/// that passed while no worker ran come to one, or to none, as their owner decided.
fn plan(automation: &Automation, now: Timestamp) -> Advance {
    let definition = &automation.definition;
    let next = |after: Timestamp| definition.timing.next_after(automation.created_at, after);
    let Some(due) = definition.due_at else { return Advance { next: next(now), ..Advance::default() } };
    if due.plus(TimeDelta::minutes(LATE_MINUTES)) >= now {
        return Advance { run: Some(of_schedule(due, None)), next: next(due), ..Advance::default() };
    }
    let skipped = match definition.missed {
        Missed::Once => None,
        Missed::Skip => {
            let times = std::iter::successors(Some(due), |at| next(*at));
            let count = times.take_while(|at| *at <= now).take(MOST_COUNTED).count();
            let about = if count == MOST_COUNTED { "at least " } else { "" };
            Some(format!("missed: no worker ran; {about}{count} times since {due}"))
        }
    };
    Advance { run: Some(of_schedule(due, skipped)), next: next(now), ..Advance::default() }
}

fn of_schedule(at: Timestamp, skipped: Option<String>) -> DueRun {
    DueRun { cause: Cause::Schedule, cause_id: at.to_string(), at, skipped }
}

/// Asks a condition's question and judges the figure.
async fn look(worker: &Worker, claim: &Claim, due: &Due, condition: &Condition) -> Result<Advance, Error> {
    let automation = &due.automation;
    let key: KeyId = automation.definition.key;
    let next = automation.definition.timing.next_after(automation.created_at, due.now);
    let grant = match worker.grant(claim.workspace, key, due.now).await? {
        Ok(grant) => grant,
        Err(reason) => return Ok(Advance { pause: Some(reason.into()), ..Advance::default() }),
    };
    let task = Task::Question(condition.question.clone());
    let answer = match timeout(PATIENCE, worker.answer(&grant, &task)).await {
        Ok(Ok(answer)) => answer,
        // Looked at again when it is due next: nothing is concluded.
        Ok(Err(NotAnswered::Refused(reason))) => {
            return Ok(seen(next, automation, format!("not answered: {reason}")));
        }
        Ok(Err(NotAnswered::Store(error))) => return Err(error),
        Err(_) => return Ok(seen(next, automation, "not answered within a minute".into())),
    };
    let figure = serde_json::from_str::<Value>(answer.get()).ok().and_then(|a| figure_at(&a, &condition.field));
    let (watch, fires) = condition.judge(automation.watch, figure, due.now);
    let detail = match figure {
        Some(figure) => format!("{} is {}", condition.field, figure.normalize()),
        None => format!("{} is not known, or no number", condition.field),
    };
    let at = due.now;
    let run = fires.then(|| DueRun { cause: Cause::Condition, cause_id: at.to_string(), at, skipped: None });
    Ok(Advance { run, next, watch: Some((watch, detail)), pause: None })
}

fn seen(next: Option<Timestamp>, automation: &Automation, detail: String) -> Advance {
    Advance { next, watch: Some((automation.watch, detail)), ..Advance::default() }
}

#[cfg(test)]
mod tests {
    use codash_domain::AutomationId;
    use codash_domain::automation::{Interval, Overlap, Question, Watch};
    use codash_store::automations::Definition;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hourly(missed: Missed) -> Automation {
        let made = at("2026-01-01T00:00:00Z");
        Automation {
            id: AutomationId::from_random([1; 16]),
            definition: Definition {
                key: KeyId::from_random([2; 16]),
                name: "hourly".into(),
                timing: Timing::Interval(Interval { every_seconds: 3600 }),
                task: Task::Question(Question { name: "list_accounts".into(), arguments: serde_json::Map::new() }),
                endpoints: vec![],
                missed,
                overlap: Overlap::Skip,
                is_paused: false,
                due_at: Some(at("2026-01-01T10:00:00Z")),
            },
            key_accounts: None,
            pause_reason: None,
            watch: Watch::default(),
            checked_at: None,
            check_detail: None,
            created_at: made,
            updated_at: made,
        }
    }

    #[test]
    fn a_time_found_in_time_runs_and_the_next_follows_it() {
        for now in ["2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z"] {
            let advance = plan(&hourly(Missed::Skip), at(now));
            let due = at("2026-01-01T10:00:00Z");
            assert_eq!(advance.run, Some(of_schedule(due, None)));
            assert_eq!(advance.next, Some(at("2026-01-01T11:00:00Z")));
        }
    }

    #[test]
    fn times_that_passed_unseen_come_to_one_run_or_are_told() {
        let now = at("2026-01-01T13:30:00Z");
        let once = plan(&hourly(Missed::Once), now);
        assert_eq!(once.run, Some(of_schedule(at("2026-01-01T10:00:00Z"), None)));
        assert_eq!(once.next, Some(at("2026-01-01T14:00:00Z")));
        let skip = plan(&hourly(Missed::Skip), now);
        assert!(skip.run.as_ref().unwrap().skipped.as_deref().unwrap().contains("4 times"), "{skip:?}");
        assert_eq!(skip.next, once.next);
    }
}
