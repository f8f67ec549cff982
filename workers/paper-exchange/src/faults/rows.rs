//! What is done to chosen rows of history.

use std::cell::RefCell;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::draw;
use super::replay::Replay;
use super::rules::{Late, Rules};
use crate::model::Millis;

const DAY: Millis = 24 * 3600 * 1000;
/// Figures that a restatement changes.
const MONEY: [&str; 4] = ["commission", "realizedPnl", "income", "amount"];

/// A row was spoiled: the rule, the row, and the rule's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub rule: &'static str,
    pub row: String,
    pub detail: Value,
}

/// The rules as they stand for one request's rows.
#[derive(Debug)]
pub struct RowFaults {
    pub rules: Arc<Rules>,
    pub replay: Option<Arc<Replay>>,
    /// Whether the request's path is concerned at all.
    pub concerned: bool,
    pub hits: RefCell<Vec<Hit>>,
}

impl RowFaults {
    /// Rows a page at most.
    pub fn page_cap(&self, limit: usize) -> usize {
        match self.rules.page_cap.filter(|_| self.concerned) {
            Some(cap) => limit.min(usize::try_from(cap).unwrap_or(limit).max(1)),
            None => limit,
        }
    }

    /// The oldest instant that history is still kept for, if a switch shortens it.
    pub fn oldest(&self, now: Millis) -> Option<Millis> {
        self.rules.history_days.filter(|_| self.concerned).map(|days| now - i64::from(days) * DAY)
    }

    fn hit(&self, rule: &'static str, row: &str, detail: Value) {
        self.hits.borrow_mut().push(Hit { rule, row: row.to_owned(), detail });
    }

    /// The delay of a rule that has chosen this row.
    fn delay(&self, rule: &'static str, late: Option<&Late>, row: &str) -> Option<Millis> {
        if let Some(replay) = &self.replay {
            return replay.row(rule, row)?.get("delayMs")?.as_i64();
        }
        let late = late.filter(|_| self.concerned)?;
        draw::falls(draw::number(self.rules.seed, rule, row, 0), late.share).then(|| late.delay_ms.into())
    }

    /// Whether a row has not arrived yet.
    pub fn hides(&self, row: &str, time: Millis, now: Millis) -> bool {
        let Some(delay) = self.delay("lateRecords", self.rules.late_records.as_ref(), row) else { return false };
        let hidden = now < time.saturating_add(delay);
        if hidden {
            self.hit("lateRecords", row, json!({ "delayMs": delay }));
        }
        hidden
    }

    /// Restates, renames and breaks a row, as the rules say.
    pub fn spoil(&self, row: &str, time: Millis, now: Millis, value: &mut Value) {
        if let Some(delay) = self.delay("restateRecords", self.rules.restate_records.as_ref(), row)
            && now < time.saturating_add(delay)
            && restate(value)
        {
            self.hit("restateRecords", row, json!({ "delayMs": delay }));
        }
        if self.rules.unknown_types && self.concerned {
            rename(value);
        }
        let chosen = match &self.replay {
            Some(replay) => replay.row("malformedRows", row).is_some(),
            None => {
                self.concerned
                    && self.rules.malformed_rows.as_ref().is_some_and(|chosen| {
                        draw::falls(draw::number(self.rules.seed, "malformedRows", row, 0), chosen.share)
                    })
            }
        };
        if chosen {
            malform(draw::number(self.rules.seed, "malformedRows kind", row, 0), value);
            self.hit("malformedRows", row, json!({}));
        }
    }
}

/// Figures off by a hundredth. Says whether there was one to change.
fn restate(value: &mut Value) -> bool {
    let mut changed = false;
    for name in MONEY {
        let Some(Value::String(text)) = value.get_mut(name) else { continue };
        let Ok(figure) = text.parse::<Decimal>() else { continue };
        let Some(off) = figure.checked_mul(Decimal::new(101, 2)).filter(|_| !figure.is_zero()) else { continue };
        let mut off = off;
        off.rescale(8);
        if off == figure {
            off += Decimal::new(1, 8);
        }
        *text = off.to_string();
        changed = true;
    }
    changed
}

/// A field that nobody has heard of, and a type of income that nobody has heard of.
fn rename(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    if fields.get("incomeType").and_then(Value::as_str) == Some("WELCOME_BONUS") {
        fields.insert("incomeType".into(), "PAPER_NEVER_SEEN".into());
    }
    fields.insert("paperNeverSeen".into(), json!({ "nested": [1, "two", null] }));
}

/// A field of the wrong type, or none.
fn malform(kind: u64, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    let money = MONEY.iter().chain(&["origQty"]).find(|name| fields.contains_key(**name));
    let Some(name) = money.map(|name| (*name).to_owned()) else { return };
    match kind % 4 {
        0 => fields.insert(name, "1.2.3".into()),
        1 => fields.insert(name, json!({ "garbage": true })),
        2 => fields.shift_remove(&name),
        _ => fields.insert("time".into(), "yesterday".into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> RowFaults {
        let rules = Arc::new(serde_json::from_str(text).unwrap());
        RowFaults { rules, replay: None, concerned: true, hits: RefCell::default() }
    }

    #[test]
    fn a_late_row_is_hidden_until_its_time() {
        let faults = faults(r#"{"lateRecords":{"share":1,"delayMs":1000}}"#);
        assert!(faults.hides("row", 5000, 5999));
        assert!(!faults.hides("row", 5000, 6000));
        assert_eq!(faults.hits.borrow()[0].row, "row");
    }

    #[test]
    fn a_restated_row_tells_the_truth_after_a_while() {
        let faults = faults(r#"{"restateRecords":{"share":1,"delayMs":1000}}"#);
        let row = json!({ "income": "-2.00000000" });
        let mut early = row.clone();
        faults.spoil("row", 0, 999, &mut early);
        assert_eq!(early["income"], "-2.02000000");
        let mut late = row.clone();
        faults.spoil("row", 0, 1000, &mut late);
        assert_eq!(late, row);
    }

    #[test]
    fn a_malformed_row_stays_the_same_wreck() {
        let faults = faults(r#"{"malformedRows":{"share":1}}"#);
        let wreck = |row: &str| {
            let mut value = json!({ "commission": "1", "time": 5 });
            faults.spoil(row, 0, 0, &mut value);
            value
        };
        for row in ["a", "b", "c", "d", "e", "f"] {
            assert_eq!(wreck(row), wreck(row));
            assert_ne!(wreck(row), json!({ "commission": "1", "time": 5 }));
        }
    }
}
