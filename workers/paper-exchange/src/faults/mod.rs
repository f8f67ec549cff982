//! Fault switches: the same seed spoils the same requests and rows, and a log says which.

mod bomb;
mod draw;
mod replay;
mod request;
mod rows;
mod rules;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

pub use bomb::body as bomb;
pub use replay::Entry;
use replay::{Replay, STANDING};
pub use request::{Drawn, End};
pub use rows::{Hit, RowFaults};
pub use rules::{Chance, Chosen, Delay, Late, Limit, Permissions, Rules, Share};

use crate::model::Millis;

/// Entries that the log keeps.
const LONGEST_LOG: usize = 10_000;

/// The switches, and what they have done.
#[derive(Debug)]
pub struct Faults {
    started: Millis,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Arc<Rules>,
    replay: Option<Arc<Replay>>,
    seen: HashMap<String, u64>,
    noted_rows: HashSet<(&'static str, String)>,
    log: Vec<Entry>,
    /// Faults beyond the longest log.
    unlogged: u64,
}

impl State {
    fn note(&mut self, ms: i64, request: (&str, &str, &str, u64), rule: &str, detail: Value) {
        if self.log.len() >= LONGEST_LOG {
            self.unlogged += 1;
            return;
        }
        let (method, path, request, seen) = request;
        let n = u64::try_from(self.log.len()).unwrap_or(0) + 1;
        let (method, path, request) = (method.to_owned(), path.to_owned(), request.to_owned());
        self.log.push(Entry { n, ms, method, path, request, seen, rule: rule.to_owned(), detail });
    }
}

impl Faults {
    /// `real` is the real time of the start.
    pub fn new(rules: Rules, real: Millis) -> Self {
        let faults = Self { started: real, state: Mutex::default() };
        faults.put(rules, None, real);
        faults
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces everything: rules, log, and counts of what was seen.
    fn put(&self, rules: Rules, replay: Option<Replay>, real: Millis) {
        let mut state = State { rules: Arc::new(rules), replay: replay.map(Arc::new), ..State::default() };
        let standing = serde_json::to_value(&*state.rules).unwrap_or_default();
        for rule in STANDING {
            if let Some(value) = standing.get(rule) {
                state.note(real - self.started, ("", "", "", 0), rule, json!({ "value": value }));
            }
        }
        *self.state() = state;
    }

    /// `PUT /faults`: the rules, with `replay` the log of another run.
    pub fn set(&self, mut body: Value, real: Millis) -> Result<(), String> {
        let fields = body.as_object_mut().ok_or("the rules are a JSON object")?;
        let replay = fields.shift_remove("replay").filter(|log| !log.is_null());
        let replay = replay.map(serde_json::from_value::<Vec<Entry>>).transpose();
        let replay = replay.map_err(|error| format!("replay: {error}"))?.map(Replay::of);
        if let Some(replay) = &replay {
            let mut whole: Map<String, Value> = replay.standing.clone();
            whole.append(fields);
            body = Value::Object(whole);
        }
        let rules: Rules = serde_json::from_value(body).map_err(|error| error.to_string())?;
        self.put(rules, replay, real);
        Ok(())
    }

    /// `DELETE /faults`: everything off, the log empty.
    pub fn clear(&self, real: Millis) {
        self.put(Rules::default(), None, real);
    }

    /// `GET /faults`.
    pub fn report(&self) -> Value {
        let state = self.state();
        json!({
            "seed": state.rules.seed,
            "rules": &*state.rules,
            "replaying": state.replay.is_some(),
            "log": &state.log,
            "unlogged": state.unlogged,
        })
    }

    /// Draws, and records, what is done to a request.
    pub fn draw(&self, method: &str, path: &str, identity: &str, has_rows: bool, real: Millis) -> Drawn {
        let mut state = self.state();
        let rules = Arc::clone(&state.rules);
        if state.replay.is_none() && (*rules == Rules::default() || !rules.concern(path)) {
            return Drawn::default();
        }
        let seen = state.seen.entry(identity.to_owned()).or_default();
        let nth = *seen;
        *seen += 1;
        let given = match &state.replay {
            Some(replay) => replay.request(identity, nth),
            None => request::draw(&rules, identity, nth, has_rows),
        };
        for (rule, detail) in &given {
            state.note(real - self.started, (method, path, identity, nth), rule, detail.clone());
        }
        Drawn::of(&given)
    }

    /// The rules as they stand for the rows of a request.
    pub fn rows(&self, path: &str) -> RowFaults {
        let state = self.state();
        let concerned = state.rules.concern(path);
        let (rules, replay) = (Arc::clone(&state.rules), state.replay.clone());
        RowFaults { rules, replay, concerned, hits: RefCell::default() }
    }

    /// Records which rows were spoiled: each once.
    pub fn note_rows(&self, method: &str, path: &str, hits: Vec<Hit>, real: Millis) {
        let mut state = self.state();
        for Hit { rule, row, mut detail } in hits {
            if state.noted_rows.insert((rule, row.clone())) {
                detail["row"] = row.into();
                state.note(real - self.started, (method, path, "", 0), rule, detail);
            }
        }
    }

    /// The rules themselves, for what concerns every request.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.state().rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_replays_exactly_what_it_records() {
        let faults = Faults::new(Rules::default(), 0);
        let rules = json!({ "seed": 9, "status429": { "chance": 0.3, "retryAfterSeconds": 2 }, "clockSkewMs": 250,
            "latencyMs": { "chance": 0.3, "ms": 1 }, "lateRecords": { "share": 0.5, "delayMs": 10 } });
        faults.set(rules, 0).unwrap();
        let run = |order: &[u64]| {
            let mut drawn: Vec<(u64, Drawn)> =
                order.iter().map(|n| (*n, faults.draw("GET", "/x", &format!("r{}", n % 7), true, 5))).collect();
            drawn.sort_by_key(|(n, _)| *n);
            let rows = faults.rows("/x");
            let hidden: Vec<bool> = (0..20).map(|n| rows.hides(&format!("row{n}"), 0, 5)).collect();
            faults.note_rows("GET", "/x", rows.hits.into_inner(), 5);
            (drawn, hidden)
        };
        let order: Vec<u64> = (0..60).collect();
        let first = run(&order);
        let log = faults.report()["log"].clone();
        assert!(log.as_array().unwrap().len() > 10);
        faults.set(json!({ "replay": log }), 0).unwrap();
        assert_eq!(faults.rules().clock_skew_ms, 250);
        assert_eq!(run(&order), first);
        assert_eq!(faults.report()["log"].as_array().unwrap().len(), log.as_array().unwrap().len());
    }

    #[test]
    fn switched_off_nothing_happens_and_nothing_is_recorded() {
        let faults = Faults::new(Rules::default(), 0);
        faults.set(json!({ "cutPage": { "chance": 1 }, "only": ["/fapi"] }), 0).unwrap();
        assert_eq!(faults.draw("GET", "/api/v3/time", "x", false, 0), Drawn::default());
        assert!(faults.draw("GET", "/fapi/v1/time", "x", false, 0).end.is_some());
        faults.clear(0);
        assert_eq!(faults.draw("GET", "/fapi/v1/time", "x", false, 0), Drawn::default());
        assert_eq!(faults.report()["log"], json!([]));
        assert!(faults.set(json!({ "unheardOf": 1 }), 0).is_err());
    }
}
