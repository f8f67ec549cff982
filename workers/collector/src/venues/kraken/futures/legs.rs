//! The account log writes an execution as two entries: which of them belong together.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::venues::wire::Text;

/// What tells which entries of the log belong together.
#[derive(Deserialize)]
struct Head {
    asset: String,
    #[serde(default)]
    contract: Option<String>,
    #[serde(default)]
    execution: Option<Text>,
}

/// Joins the two entries of each execution into a list of both, the money first.
pub fn joined(rows: &[Box<RawValue>]) -> Vec<Box<RawValue>> {
    let mut positions: HashMap<(String, String), Vec<usize>> = HashMap::new();
    let mut money: Vec<(usize, (String, String))> = Vec::new();
    for (at, raw) in rows.iter().enumerate() {
        let Ok(head) = serde_json::from_str::<Head>(raw.get()) else { continue };
        let (Some(contract), Some(execution)) = (head.contract, head.execution) else { continue };
        let contract = contract.to_ascii_lowercase();
        if contract.is_empty() || execution.0.is_empty() {
            continue;
        }
        let is_position = head.asset.eq_ignore_ascii_case(&contract);
        let key = (execution.0, contract);
        if is_position { positions.entry(key).or_default().push(at) } else { money.push((at, key)) }
    }
    // The first entry of the money has the first of the position, should there be several.
    let mut pairs: HashMap<usize, usize> = HashMap::new();
    for (at, key) in money {
        if let Some(waiting) = positions.get_mut(&key).filter(|waiting| !waiting.is_empty()) {
            pairs.insert(at, waiting.remove(0));
        }
    }
    let taken: HashSet<usize> = pairs.values().copied().collect();
    let join = |at: usize, raw: &RawValue| match pairs.get(&at).and_then(|other| rows.get(*other)) {
        Some(position) => RawValue::from_string(format!("[{},{}]", raw.get(), position.get())).ok(),
        None => (!taken.contains(&at)).then(|| raw.to_owned()),
    };
    rows.iter().enumerate().filter_map(|(at, raw)| join(at, raw)).collect()
}
