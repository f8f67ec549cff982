//! A venue's page becomes one write: what is an event, what classifies, what is held back.

use codash_domain::Timestamp;
use codash_store::Credential;
use codash_store::ingest::{ForcedOrder, Held, PageWrite, Quarantined};

use crate::venues::{Credentials, Page, Record, Role, StreamPlan};

/// Everything that this page of a stream changes, to be committed in one transaction.
pub fn page_write(plan: &StreamPlan, page: Page, read_at: Timestamp) -> PageWrite {
    let mut write = PageWrite {
        stream: plan.stream.clone(),
        quarantined: page.parsed.unreadable.into_iter().map(|u| Quarantined { reason: u.reason, raw: u.raw }).collect(),
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
        not_before: page.not_before.or(page.covered.map(|(from, _)| from)),
        ..PageWrite::default()
    };
    for record in page.parsed.records {
        place(&mut write, record);
    }
    write
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
