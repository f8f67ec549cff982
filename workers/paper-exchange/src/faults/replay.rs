//! A recorded run, to be run again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::Given;

/// One fault that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 1.
    pub n: u64,
    /// Real milliseconds since the server started.
    pub ms: i64,
    pub method: String,
    pub path: String,
    /// Account, method, path and lasting parameters; empty for what is not about a request.
    pub request: String,
    /// How often that very request had been seen before.
    pub seen: u64,
    pub rule: String,
    pub detail: Value,
}

/// Rules that stand for every request while they are on.
pub const STANDING: [&str; 5] = ["unknownTypes", "pageCap", "clockSkewMs", "permissions", "historyDays"];

/// What a log says is to happen again.
#[derive(Debug, Default)]
pub struct Replay {
    requests: HashMap<(String, u64), Vec<Given>>,
    rows: HashMap<(String, String), Value>,
    /// The standing rules, last word first of all.
    pub standing: Map<String, Value>,
}

impl Replay {
    pub fn of(log: Vec<Entry>) -> Self {
        let mut replay = Self::default();
        for entry in log {
            let row = entry.detail.get("row").and_then(Value::as_str).map(str::to_owned);
            if STANDING.contains(&entry.rule.as_str()) {
                replay.standing.insert(entry.rule, entry.detail.get("value").cloned().unwrap_or(Value::Null));
            } else if let Some(row) = row {
                replay.rows.insert((entry.rule, row), entry.detail);
            } else {
                replay.requests.entry((entry.request, entry.seen)).or_default().push((entry.rule, entry.detail));
            }
        }
        replay
    }

    /// The faults of a request that was seen `nth` times before.
    pub fn request(&self, request: &str, nth: u64) -> Vec<Given> {
        self.requests.get(&(request.to_owned(), nth)).cloned().unwrap_or_default()
    }

    /// What a rule did to a row.
    pub fn row(&self, rule: &str, row: &str) -> Option<&Value> {
        self.rows.get(&(rule.to_owned(), row.to_owned()))
    }
}
