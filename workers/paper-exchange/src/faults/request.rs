//! What is done to a whole request.

use serde_json::{Value, json};

use super::draw;
use super::rules::Rules;

/// A fault that a request was given: the rule's name and its figures.
pub type Given = (String, Value);

/// How a request ends, instead of with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Silence for so many milliseconds, then 504.
    Timeout(u64),
    Limit {
        status: u16,
        retry_after: u64,
    },
    ServerError(u16),
    /// A compressed body that unfolds to more than a gigabyte.
    Bomb,
    /// The answer, broken off after so many thousandths of it.
    Cut(u64),
}

/// What is done to one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Real milliseconds to wait before anything else.
    pub latency: u64,
    pub end: Option<End>,
    /// Rows of the answer are repeated; the number says which.
    pub duplicate: Option<u64>,
    /// Rows of the answer change places; the number says how.
    pub shuffle: Option<u64>,
}

/// Draws the faults of a request: `nth` is how often this very request was seen before.
pub fn draw(rules: &Rules, request: &str, nth: u64, has_rows: bool) -> Vec<Given> {
    let hit = |rule: &str, share| draw::falls(draw::number(rules.seed, rule, request, nth), share);
    let salt = |rule: &str| draw::number(rules.seed, &format!("{rule} salt"), request, nth);
    let mut given: Vec<Given> = Vec::new();
    let mut give = |rule: &str, detail: Value| given.push((rule.to_owned(), detail));
    if let Some(delay) = rules.latency_ms.as_ref().filter(|delay| hit("latencyMs", delay.chance)) {
        give("latencyMs", json!({ "ms": delay.ms }));
    }
    let timeout = rules.timeout.as_ref().filter(|delay| hit("timeout", delay.chance));
    let ban = rules.status418.as_ref().filter(|limit| hit("status418", limit.chance));
    let limit = rules.status429.as_ref().filter(|limit| hit("status429", limit.chance));
    let is = |rule: &str, chance: &Option<super::rules::Chance>| chance.as_ref().is_some_and(|of| hit(rule, of.chance));
    // A request ends once.
    if let Some(delay) = timeout {
        give("timeout", json!({ "ms": delay.ms }));
        return given;
    } else if let Some(limit) = ban {
        give("status418", json!({ "retryAfterSeconds": limit.retry_after_seconds }));
        return given;
    } else if let Some(limit) = limit {
        give("status429", json!({ "retryAfterSeconds": limit.retry_after_seconds }));
        return given;
    } else if is("status5xx", &rules.status5xx) {
        let status = [500, 502, 503, 504][usize::try_from(salt("status5xx") % 4).unwrap_or(0)];
        give("status5xx", json!({ "status": status }));
        return given;
    } else if is("compressedBomb", &rules.compressed_bomb) {
        give("compressedBomb", json!({}));
        return given;
    }
    if has_rows && is("duplicateRows", &rules.duplicate_rows) {
        give("duplicateRows", json!({ "salt": salt("duplicateRows") }));
    }
    if has_rows && is("shuffleRows", &rules.shuffle_rows) {
        give("shuffleRows", json!({ "salt": salt("shuffleRows") }));
    }
    if is("cutPage", &rules.cut_page) {
        give("cutPage", json!({ "keepPermille": salt("cutPage") % 990 }));
    }
    given
}

impl Drawn {
    /// Reads what was given, drawn now or replayed from a log.
    pub fn of(given: &[Given]) -> Self {
        let mut drawn = Self::default();
        for (rule, detail) in given {
            let figure = |name: &str| detail.get(name).and_then(Value::as_u64).unwrap_or(0);
            let limit = |status| End::Limit { status, retry_after: figure("retryAfterSeconds") };
            match rule.as_str() {
                "latencyMs" => drawn.latency = figure("ms"),
                "timeout" => drawn.end = Some(End::Timeout(figure("ms"))),
                "status418" => drawn.end = Some(limit(418)),
                "status429" => drawn.end = Some(limit(429)),
                "status5xx" => {
                    let status = u16::try_from(figure("status")).ok().filter(|status| (500..600).contains(status));
                    drawn.end = Some(End::ServerError(status.unwrap_or(500)));
                }
                "compressedBomb" => drawn.end = Some(End::Bomb),
                "cutPage" => drawn.end = Some(End::Cut(figure("keepPermille"))),
                "duplicateRows" => drawn.duplicate = Some(figure("salt")),
                "shuffleRows" => drawn.shuffle = Some(figure("salt")),
                _ => {}
            }
        }
        drawn
    }

    /// Repeats and mixes the rows of an answer.
    pub fn spoil_rows(&self, answer: &mut Value) {
        let Some(rows) = rows_of(answer) else { return };
        if let Some(mut state) = self.duplicate
            && !rows.is_empty()
        {
            let certain = draw::below(&mut state, rows.len());
            let twice = |at: usize, row: Value, state: &mut u64| {
                let copies = if at == certain || draw::below(state, 4) == 0 { 2 } else { 1 };
                std::iter::repeat_n(row, copies)
            };
            *rows =
                std::mem::take(rows).into_iter().enumerate().flat_map(|(at, row)| twice(at, row, &mut state)).collect();
        }
        if let Some(mut state) = self.shuffle {
            for at in (1..rows.len()).rev() {
                rows.swap(at, draw::below(&mut state, at + 1));
            }
        }
    }
}

/// The rows of an answer: the answer itself, or its `rows` or `list`.
fn rows_of(answer: &mut Value) -> Option<&mut Vec<Value>> {
    match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(fields) => {
            let name = ["rows", "list"].into_iter().find(|name| fields.get(*name).is_some_and(Value::is_array))?;
            fields.get_mut(name)?.as_array_mut()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_same_request_draws_the_same_faults_whatever_came_between() {
        let rules = rules(r#"{"seed":3,"status5xx":{"chance":0.5},"cutPage":{"chance":0.5}}"#);
        let of = |nth| draw(&rules, "acct-01 GET /fapi/v1/income?limit=10", nth, true);
        let first: Vec<_> = (0..50).map(of).collect();
        let again: Vec<_> = (0..50).rev().map(of).rev().collect();
        assert_eq!(first, again);
        assert!(first.iter().any(Vec::is_empty) && first.iter().any(|given| !given.is_empty()));
    }

    #[test]
    fn repeated_and_mixed_rows_are_all_there() {
        let mut answer = json!({ "rows": (0..20).collect::<Vec<_>>() });
        let given = [("duplicateRows".into(), json!({ "salt": 5 })), ("shuffleRows".into(), json!({ "salt": 6 }))];
        Drawn::of(&given).spoil_rows(&mut answer);
        let rows: Vec<u64> = answer["rows"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        let mut different = rows.clone();
        different.sort_unstable();
        assert_ne!(rows, different);
        assert!(different.len() > 20);
        different.dedup();
        assert_eq!(different, (0..20).collect::<Vec<_>>());
    }
}
