//! Where an answer comes from and how far it can be trusted: sources, filters applied, what could not
//! be priced, what has not been read.

use codash_domain::{AccountId, EventType, Timestamp, Window};
use codash_store::Session;
use codash_store::accounts::Account;
use codash_store::coverage::{StreamCoverage, Streams};
use codash_store::events::EventFilter;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Error;
use crate::select::Selection;

/// At most this many gaps of an account are listed; `gapCount` has them all.
const GAPS_SHOWN: usize = 10;

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The instant of the snapshot that every number of this answer was read from.
    pub as_of: Timestamp,
    /// Tables that the numbers come from.
    pub sources: Vec<&'static str>,
    /// What stood in for a source that had no answer. Empty: nothing did.
    pub fallbacks: Vec<&'static str>,
    pub applied_filters: AppliedFilters,
    /// Events of the answer with an amount that is unknown for want of a price. Their unknown
    /// amounts are in no total.
    pub unpriced_event_count: i64,
    pub coverage: Coverage,
}

impl Provenance {
    /// Of an answer that rests on events alone.
    pub fn of_events(
        as_of: Timestamp,
        applied_filters: AppliedFilters,
        unpriced_event_count: i64,
        coverage: Coverage,
    ) -> Self {
        let (sources, fallbacks) = (vec!["events"], vec![]);
        Self { as_of, sources, fallbacks, applied_filters, unpriced_event_count, coverage }
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedFilters {
    pub account_ids: Vec<AccountId>,
    pub symbols: Vec<String>,
    pub event_types: Vec<EventType>,
}

impl AppliedFilters {
    pub fn new(selection: &Selection, filter: &EventFilter) -> Self {
        Self { account_ids: selection.ids(), symbols: filter.symbols.clone(), event_types: filter.event_types.clone() }
    }
}

/// Which part of the window has been read from the venues.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// True when every stream of every account has been read completely from the window's start to
    /// at least `readUntil`, and no record was unreadable. Otherwise totals may lack events.
    pub complete: bool,
    pub accounts: Vec<AccountCoverage>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCoverage {
    pub account_id: AccountId,
    pub complete: bool,
    /// Up to here every stream has been read; null when some stream was never read in this window.
    pub read_until: Option<Timestamp>,
    /// What of the account is not read at all, and so in no total.
    pub not_covered: Vec<String>,
    /// Records that could not be understood; they are in no total.
    pub unreadable_record_count: i64,
    pub gap_count: usize,
    pub gaps: Vec<Gap>,
}

/// A span of the window (inclusive) in which a stream has not been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    pub stream: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub reason: String,
}

/// Reads how far the selected accounts cover the window.
pub async fn coverage(
    session: &mut Session<'_>,
    selection: &Selection,
    window: Window,
    now: Timestamp,
) -> Result<Coverage, Error> {
    coverage_of(session, selection, window, now, Streams::Events).await
}

/// As [`coverage`], of cash flows: some come with events, others in streams of their own.
pub async fn flow_coverage(
    session: &mut Session<'_>,
    selection: &Selection,
    window: Window,
    now: Timestamp,
) -> Result<Coverage, Error> {
    coverage_of(session, selection, window, now, Streams::EventsAndFlows).await
}

async fn coverage_of(
    session: &mut Session<'_>,
    selection: &Selection,
    window: Window,
    now: Timestamp,
    of: Streams,
) -> Result<Coverage, Error> {
    let past = Window { from: window.from, to: window.to.min(now) };
    let streams = if past.from > past.to { Vec::new() } else { session.coverage(&selection.ids(), past, of).await? };
    let accounts: Vec<AccountCoverage> = selection
        .accounts
        .iter()
        // Of an account that was removed before the window there was nothing to read.
        .filter(|account| account.removed_at.is_none_or(|at| at >= window.from))
        .map(|account| {
            let past = Window { to: account.removed_at.map_or(past.to, |at| at.min(past.to)), ..past };
            let own: Vec<&StreamCoverage> = streams.iter().filter(|s| s.account == account.id).collect();
            account_coverage(account, &own, past)
        })
        .collect();
    Ok(Coverage { complete: accounts.iter().all(|a| a.complete), accounts })
}

fn account_coverage(account: &Account, streams: &[&StreamCoverage], window: Window) -> AccountCoverage {
    let mut gaps = Vec::new();
    let mut read_until = Some(window.to);
    let mut unreadable = 0;
    for stream in streams {
        let (until, own) = gaps_of(stream, window);
        read_until = read_until.zip(until).map(|(a, b)| a.min(b));
        gaps.extend(own);
        unreadable += stream.quarantined;
    }
    let gap_count = gaps.len();
    gaps.sort_by(|a, b| a.from.cmp(&b.from).then_with(|| a.stream.cmp(&b.stream)));
    gaps.truncate(GAPS_SHOWN);
    AccountCoverage {
        account_id: account.id,
        complete: gap_count == 0 && unreadable == 0 && read_until.is_some(),
        read_until,
        not_covered: account.not_covered.clone(),
        unreadable_record_count: unreadable,
        gap_count,
        gaps,
    }
}

/// Where the stream's reading ends, and the gaps before that. What lies after the last reading is
/// no gap of its own: `readUntil` says it.
pub(crate) fn gaps_of(stream: &StreamCoverage, window: Window) -> (Option<Timestamp>, Vec<Gap>) {
    let step = chrono::TimeDelta::milliseconds(1);
    let gap = |from: Timestamp, to: Timestamp| {
        let beyond = stream.horizon.as_ref().filter(|(horizon, _)| from < *horizon);
        let reason = match beyond {
            Some((_, why)) => format!("not available: {why}"),
            None if stream.status == "error" => "the venue refuses to answer".to_owned(),
            None => "not read yet".to_owned(),
        };
        Gap { stream: stream.stream.clone(), from, to, reason }
    };
    let mut gaps = Vec::new();
    let mut at = window.from;
    for &(from, to) in &stream.read {
        if from > at {
            gaps.push(gap(at, from.minus(step).min(window.to)));
        }
        at = at.max(to.plus(step));
    }
    if let Some(missing) = stream.missing_since {
        let reason = "other records speak of a fill that the venue has not shown yet".to_owned();
        gaps.push(Gap { stream: stream.stream.clone(), from: missing, to: missing, reason });
    }
    let Some(&(_, last)) = stream.read.last() else {
        gaps.push(gap(window.from, window.to));
        return (None, gaps);
    };
    (Some(last.min(window.to)), gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    fn stream(read: Vec<(Timestamp, Timestamp)>) -> StreamCoverage {
        StreamCoverage {
            account: AccountId::from_random([1; 16]),
            stream: "fills".into(),
            status: "ok".into(),
            horizon: Some((t(50), "3 months at most".into())),
            quarantined: 0,
            missing_since: None,
            read,
        }
    }

    #[test]
    fn a_stream_read_throughout_has_no_gap_and_says_until_when() {
        let (until, gaps) = gaps_of(&stream(vec![(t(10), t(90))]), Window { from: t(20), to: t(100) });
        assert_eq!((until, gaps), (Some(t(90)), vec![]));
    }

    #[test]
    fn a_hole_and_what_lies_before_the_horizon_are_gaps_with_their_reason() {
        let (_, gaps) = gaps_of(&stream(vec![(t(60), t(70)), (t(80), t(100))]), Window { from: t(20), to: t(100) });
        assert_eq!(gaps.len(), 2);
        assert_eq!((gaps[0].from, gaps[0].reason.as_str()), (t(20), "not available: 3 months at most"));
        assert_eq!((gaps[1].from.millis(), gaps[1].to.millis()), (70_001, 79_999));
        assert_eq!(gaps[1].reason, "not read yet");
    }

    #[test]
    fn a_stream_never_read_makes_the_account_incomplete() {
        let never = stream(vec![]);
        let account = Account {
            id: never.account,
            name: "a".into(),
            venue: codash_domain::Venue::Binance,
            portfolio_id: None,
            tags: vec![],
            is_active: true,
            status: codash_domain::AccountStatus::Pending,
            status_detail: None,
            assurance: None,
            kind: None,
            not_covered: vec![],
            key_expires_at: None,
            last_nav_usd: None,
            last_checked_at: None,
            removed_at: None,
            version: 1,
            created_at: t(1),
            updated_at: t(1),
        };
        let answer = account_coverage(&account, &[&never], Window { from: t(60), to: t(100) });
        assert!(!answer.complete);
        assert_eq!(answer.read_until, None);
    }
}
