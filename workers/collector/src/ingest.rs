//! A venue's page becomes one write: what is an event, what classifies, what is held back.

use std::collections::BTreeMap;

use codash_domain::Timestamp;
use codash_store::Credential;
use codash_store::ingest::{ForcedOrder, Held, PageWrite, Quarantined};
use serde_json::value::RawValue;

use crate::venues::{Credentials, Page, Record, Role, StreamPlan, Unreadable};

/// Everything that this page of a stream changes, to be committed in one transaction.
pub fn page_write(plan: &StreamPlan, page: Page, read_at: Timestamp) -> PageWrite {
    let span = (page.not_before.or(page.covered.map(|(from, _)| from)).or_else(|| window_start(&page)), read_at);
    let mut write = PageWrite {
        stream: plan.stream.clone(),
        quarantined: page.parsed.unreadable.into_iter().map(|bad| quarantined(bad, span)).collect(),
        cash_flows: page.parsed.cash_flows,
        nav_points: page.nav_points,
        new_streams: page.new_streams,
        cursor: page.cursor,
        covered: page.covered,
        horizon: plan.horizon.map(|(oldest, why)| (oldest, why.to_owned())),
        found_horizon: page.horizon,
        up_to_date: !page.more,
        pause: if page.more { std::time::Duration::ZERO } else { plan.every },
        read_at: Some(read_at),
        ..PageWrite::default()
    };
    for record in page.parsed.records {
        place(&mut write, record);
    }
    write
}

/// Inside a window that takes several pages, the cursor still says where the window starts.
fn window_start(page: &Page) -> Option<Timestamp> {
    let from = page.cursor.get("from").or_else(|| page.cursor.get("time")?.get("from"))?;
    page.more.then(|| Timestamp::from_millis(from.as_i64()?))?
}

/// What names an instant in Unix milliseconds, in the records of the venues.
const TIMES: [&str; 14] = [
    "time",
    "fillTime",
    "execTime",
    "tradeTime",
    "cTime",
    "uTime",
    "ts",
    "timestamp",
    "updateTime",
    "createTime",
    "createdTime",
    "createdAt",
    "insertTime",
    "transactionTime",
];

/// A record that cannot be read may still tell when it happened; else it is as old as its page may be.
fn quarantined(bad: Unreadable, (not_before, not_after): (Option<Timestamp>, Timestamp)) -> Quarantined {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&bad.raw).unwrap_or_default();
    let time = |name: &&str| fields.get(*name)?.get().trim_matches('"').parse().ok().and_then(Timestamp::from_millis);
    let between = match TIMES.iter().find_map(time) {
        Some(at) => (Some(at), Some(at)),
        None => (not_before, Some(not_after)),
    };
    Quarantined { reason: bad.reason, raw: bad.raw, between }
}

fn place(write: &mut PageWrite, record: Record) {
    let Record { event, role } = record;
    match role {
        Role::Primary => write.events.push(event),
        Role::Classifier => {
            if let Some(order_ref) = event.order_ref {
                write.forced_orders.push(ForcedOrder {
                    order_ref,
                    event_type: event.event_type,
                    occurred_at: event.occurred_at,
                });
            }
        }
        Role::UnlessFill { stream, native_id } => match &event.native_symbol {
            Some(symbol) => {
                let fill_coverage = format!("{stream}:{symbol}");
                write.held.push(Held { event, fill_stream: stream, fill_native_id: native_id, fill_coverage });
            }
            // No market, so no fill can state this money.
            None => write.events.push(event),
        },
    }
}

/// The sealed credential, opened for one pass.
pub fn credentials(credential: Credential) -> Credentials {
    match credential {
        Credential::ApiKey { key, secret, passphrase } => Credentials::ApiKey { key, secret, passphrase },
        Credential::Wallet { address } => Credentials::Wallet { address },
    }
}
