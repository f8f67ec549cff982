//! Troubles on demand, and a count of what was asked: for tests of how a collector bears a bad venue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// What happens to a request instead of, or on the way to, its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Another answer altogether.
    Answer { status: u16, body: String, retry_after: Option<u64> },
    /// The right answer, late.
    Delay(Duration),
    /// The right answer, broken off in the middle.
    BreakOff,
    /// The right list, but for one record whose amount cannot be read.
    SpoilRow(usize),
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(String, u32, Trouble)>,
    asked: BTreeMap<String, u64>,
}

/// A handle on a running venue's troubles. Endpoints are named by path, and those of `/info` by their
/// type: `/info userFunding`. A name ending in `*` stands for all that begin so.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests of an endpoint meet this trouble.
    pub fn next(&self, endpoint: &str, times: u32, trouble: Trouble) {
        self.state().waiting.push((endpoint.to_owned(), times, trouble));
    }

    /// The next `times` requests are answered with this status and body.
    pub fn fail(&self, endpoint: &str, times: u32, status: u16, body: &str) {
        self.next(endpoint, times, Trouble::Answer { status, body: body.into(), retry_after: None });
    }

    /// No more troubles.
    pub fn clear(&self) {
        self.state().waiting.clear();
    }

    /// How often an endpoint was asked, troubles included.
    pub fn asked(&self, endpoint: &str) -> u64 {
        self.state().asked.iter().filter(|(name, _)| is_meant(endpoint, name)).map(|(_, count)| count).sum()
    }

    /// Counts a request and takes the trouble that waits for it.
    pub(super) fn meet(&self, endpoint: &str) -> Option<Trouble> {
        let mut state = self.state();
        *state.asked.entry(endpoint.to_owned()).or_default() += 1;
        let at = state.waiting.iter().position(|(name, _, _)| is_meant(name, endpoint))?;
        let (_, times, trouble) = &mut state.waiting[at];
        let trouble = trouble.clone();
        *times = times.saturating_sub(1);
        if *times == 0 {
            state.waiting.remove(at);
        }
        Some(trouble)
    }
}

fn is_meant(name: &str, endpoint: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => endpoint.starts_with(beginning),
        None => endpoint == name,
    }
}

/// Spoils the amount of one record of a list.
pub(super) fn spoil(answer: &mut Value, row: usize) {
    const AMOUNTS: [&str; 5] = ["/price", "/income", "/executedQty", "/px", "/delta/usdc"];
    let Some(row) = answer.get_mut(row) else { return };
    if let Some(pointer) = AMOUNTS.iter().find(|pointer| row.pointer(pointer).is_some())
        && let Some(amount) = row.pointer_mut(pointer)
    {
        *amount = json!({ "spoiled": true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_comes_as_often_as_ordered_and_only_where_it_was() {
        let faults = Faults::default();
        faults.fail("/fapi/*", 2, 503, "");
        assert_eq!(faults.meet("/api/v3/time"), None);
        assert!(faults.meet("/fapi/v1/income").is_some() && faults.meet("/fapi/v1/time").is_some());
        assert_eq!(faults.meet("/fapi/v1/income"), None);
        assert_eq!((faults.asked("/fapi/v1/income"), faults.asked("/fapi/*")), (2, 3));
    }
}
