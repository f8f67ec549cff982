//! A question's figure against a threshold, with hysteresis and a cool-down.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, LONGEST_SECONDS, Question, check_seconds};
use crate::money::{Figure, parse_decimal};
use crate::time::Timestamp;

const LONGEST_FIELD: usize = 128;

/// Fires when the figure crosses the threshold; again only after it has cleared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Condition {
    pub question: Question,
    /// A number of the answer, such as `navUsd`, `totals.netPnlUsd` or `rows.0.netPnlUsd`. A figure that
    /// is not there, or null, changes nothing.
    pub field: String,
    pub comparator: Comparator,
    #[serde(deserialize_with = "number")]
    pub value: Figure,
    /// Once fired, the condition is clear when the figure is back at this one or beyond. Default: when the
    /// comparison no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub clear_at: Option<Figure>,
    /// After firing, at least so long until it fires again. Default 0.
    #[serde(default)]
    pub cool_down_seconds: i64,
    /// How often the question is asked: 60 to 31536000. Default 300.
    #[serde(default = "five_minutes")]
    pub every_seconds: i64,
}

fn five_minutes() -> i64 {
    300
}

/// A JSON number, as the schema says: a text is none, and nothing of it is repeated.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Figure, D::Error> {
    let number = serde_json::Number::deserialize(deserializer).map_err(|_| D::Error::custom("expected a number"))?;
    parse_decimal(number.as_str()).map(Figure).map_err(|_| D::Error::custom("the number is out of range"))
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Figure>, D::Error> {
    number(deserializer).map(Some)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Comparator {
    #[serde(rename = ">")]
    Over,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "<")]
    Under,
    #[serde(rename = "<=")]
    AtMost,
}

/// What a condition remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// It fired, and has not cleared since.
    pub is_raised: bool,
    pub fired_at: Option<Timestamp>,
}

impl Condition {
    pub(super) fn check(&self) -> Result<(), Fault> {
        check_seconds("condition.everySeconds", self.every_seconds)?;
        if !(0..=LONGEST_SECONDS).contains(&self.cool_down_seconds) {
            return Err(Fault::new("condition.coolDownSeconds", format!("must be between 0 and {LONGEST_SECONDS}")));
        }
        let is_path = (1..=LONGEST_FIELD).contains(&self.field.len())
            && self.field.split('.').all(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_alphanumeric()));
        if !is_path {
            return Err(Fault::new("condition.field", "must be names and positions joined by dots: totals.netPnlUsd"));
        }
        match self.clear_at {
            Some(clear) if self.comparator.is_upward() && clear > self.value => {
                Err(Fault::new("condition.clearAt", "must not lie above value: the condition could never clear"))
            }
            Some(clear) if !self.comparator.is_upward() && clear < self.value => {
                Err(Fault::new("condition.clearAt", "must not lie below value: the condition could never clear"))
            }
            _ => Ok(()),
        }
    }

    /// What is remembered after a look, and whether the condition fires. An unknown figure is no news.
    pub fn judge(&self, watch: Watch, seen: Option<Decimal>, now: Timestamp) -> (Watch, bool) {
        let Some(seen) = seen else { return (watch, false) };
        let holds = self.comparator.holds(seen, self.value.0);
        if watch.is_raised {
            let is_clear = !holds && self.clear_at.is_none_or(|clear| self.comparator.has_cleared(seen, clear.0));
            return (Watch { is_raised: !is_clear, ..watch }, false);
        }
        let cool_down = TimeDelta::seconds(self.cool_down_seconds);
        let is_cool = watch.fired_at.is_none_or(|fired| fired.plus(cool_down) <= now);
        if holds && is_cool {
            return (Watch { is_raised: true, fired_at: Some(now) }, true);
        }
        (watch, false)
    }
}

impl Comparator {
    fn is_upward(self) -> bool {
        matches!(self, Self::Over | Self::AtLeast)
    }

    fn holds(self, seen: Decimal, value: Decimal) -> bool {
        match self {
            Self::Over => seen > value,
            Self::AtLeast => seen >= value,
            Self::Under => seen < value,
            Self::AtMost => seen <= value,
        }
    }

    fn has_cleared(self, seen: Decimal, clear: Decimal) -> bool {
        if self.is_upward() { seen <= clear } else { seen >= clear }
    }
}

/// The number at a path of an answer; `None` when there is none, or it is null.
pub fn figure_at(answer: &Value, field: &str) -> Option<Decimal> {
    let mut place = answer;
    for step in field.split('.') {
        place = match place {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            other => other.get(step)?,
        };
    }
    parse_decimal(place.as_number()?.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(comparator: &str, value: i64, clear_at: Option<i64>, cool_down: i64) -> Condition {
        let mut text = json!({ "question": { "name": "q" }, "field": "x", "comparator": comparator, "value": value,
            "coolDownSeconds": cool_down });
        if let Some(clear) = clear_at {
            text["clearAt"] = json!(clear);
        }
        serde_json::from_value(text).unwrap()
    }

    /// Looks a minute apart; an F where it fires.
    fn watch(condition: &Condition, figures: &[Option<i64>]) -> String {
        let mut watch = Watch::default();
        let mut now = Timestamp::from_millis(1_000_000).unwrap();
        let mut fired = String::new();
        for figure in figures {
            let (next, fires) = condition.judge(watch, figure.map(Decimal::from), now);
            fired.push(if fires { 'F' } else { '.' });
            watch = next;
            now = now.plus(TimeDelta::seconds(60));
        }
        fired
    }

    #[test]
    fn it_fires_once_for_each_crossing() {
        let over = condition(">", 5, None, 0);
        assert_eq!(watch(&over, &[5, 6, 7, 6, 5, 6].map(Some)), ".F...F");
        let at_least = condition(">=", 5, None, 0);
        assert_eq!(watch(&at_least, &[4, 5, 5, 4, 5].map(Some)), ".F..F");
        let under = condition("<", 5, None, 0);
        assert_eq!(watch(&under, &[5, 4, 3, 5, 4].map(Some)), ".F..F");
        let at_most = condition("<=", 5, None, 0);
        assert_eq!(watch(&at_most, &[6, 5, 6, 5].map(Some)), ".F.F");
    }

    #[test]
    fn a_figure_that_trembles_at_the_threshold_fires_once_with_hysteresis() {
        let over = condition(">", 5, Some(3), 0);
        assert_eq!(watch(&over, &[6, 4, 6, 4, 6, 3, 6].map(Some)), "F.....F");
        let under = condition("<", 5, Some(7), 0);
        assert_eq!(watch(&under, &[4, 6, 4, 7, 4].map(Some)), "F...F");
        // At the very threshold, a comparison that still holds is not clear.
        assert_eq!(watch(&condition(">=", 5, Some(5), 0), &[5, 5, 4, 5].map(Some)), "F..F");
    }

    #[test]
    fn a_cool_down_delays_the_next_firing_and_loses_none_that_lasts() {
        let over = condition(">", 5, None, 240);
        assert_eq!(watch(&over, &[6, 4, 6, 6, 6, 6].map(Some)), "F...F.");
        assert_eq!(watch(&over, &[6, 4, 6, 4, 4, 4].map(Some)), "F.....");
    }

    #[test]
    fn the_unknown_neither_fires_nor_clears() {
        let over = condition(">", 5, None, 0);
        assert_eq!(watch(&over, &[None, Some(6), None, Some(6), Some(5), None, Some(6)]), ".F....F");
    }

    #[test]
    fn a_threshold_that_cannot_clear_is_refused() {
        assert_eq!(condition(">", 5, Some(6), 0).check().unwrap_err().path, "condition.clearAt");
        assert_eq!(condition("<", 5, Some(4), 0).check().unwrap_err().path, "condition.clearAt");
        assert!(condition(">", 5, Some(5), 0).check().is_ok());
        assert_eq!(condition(">", 5, None, -1).check().unwrap_err().path, "condition.coolDownSeconds");
        for field in ["", ".", "a..b", "a b", "$.x", "a[0]"] {
            let broken = Condition { field: field.into(), ..condition(">", 5, None, 0) };
            assert_eq!(broken.check().unwrap_err().path, "condition.field", "{field}");
        }
    }

    #[test]
    fn a_path_leads_to_a_number_or_nowhere() {
        let answer: Value = serde_json::from_str(r#"{"a":{"b":[{"c":1.10},{"c":null}]},"d":"7","e":1e3}"#).unwrap();
        for (path, figure) in [
            ("a.b.0.c", Some("1.1")),
            ("a.b.1.c", None),
            ("a.b.2.c", None),
            ("a.x", None),
            ("d", None),
            ("e", Some("1000")),
            ("a", None),
        ] {
            assert_eq!(figure_at(&answer, path).map(|d| d.to_string()).as_deref(), figure, "{path}");
        }
    }
}
