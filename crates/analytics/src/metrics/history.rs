//! Loads what returns are made of, and makes periods of it.

use std::collections::BTreeMap;

use codash_domain::cover::DAY;
use codash_domain::returns::{Moved, Period, Worth, hours};
use codash_domain::{AccountId, Asset, FlowKind, Timestamp, Window};
use codash_store::Session;
use codash_store::performance::Movement;
use rust_decimal::Decimal;

use crate::Error;
use crate::aside::aside;
use crate::select::Selection;

/// The selection through time.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Every hour in which an account was valued.
    pub hours: Vec<Period>,
    /// Flows since the last worth of their account: in no figure yet.
    pub pending_flows: usize,
    /// Since `from` or before, oldest first.
    pub movements: Vec<Movement>,
    /// Selected accounts that were never valued.
    pub never_valued: Vec<AccountId>,
    /// The oldest of the accounts' last worths, of those that are still read.
    pub valued_until: Option<Timestamp>,
}

impl History {
    /// Loans taken or given back: no flows, since worth holds the debt.
    pub fn loans(&self) -> usize {
        self.movements.iter().filter(|m| m.kind == FlowKind::Loan).count()
    }
}

/// Two statements: worth, and what moved since the oldest of it.
pub(crate) async fn load(
    session: &mut Session<'_>,
    selection: &Selection,
    from: Timestamp,
    now: Timestamp,
) -> Result<History, Error> {
    let mut valued = session.worth_by_hour(&selection.ids(), from, now).await?;
    let since = valued.values().filter_map(|v| v.first()).map(|v| v.at).min().unwrap_or(from).min(from);
    let movements = session.movements(&selection.ids(), Window { from: since, to: now.max(since) }).await?;
    let mut moved = moved(&movements);
    let accounts = selection.accounts.iter().map(|account| Worth {
        valued: valued.remove(&account.id).unwrap_or_default(),
        moved: moved.remove(&account.id).unwrap_or_default(),
        ended: !account.is_active,
    });
    let accounts: Vec<Worth> = accounts.collect();
    let never_valued = selection.accounts.iter().zip(&accounts).filter(|(_, worth)| worth.valued.is_empty());
    let never_valued = never_valued.map(|(account, _)| account.id).collect();
    let valued_until = accounts.iter().filter(|w| !w.ended).filter_map(|w| w.valued.last()).map(|v| v.at).min();
    let (hours, pending_flows) = aside(|| hours(&accounts, from));
    Ok(History { hours, pending_flows, movements, never_valued, valued_until })
}

/// Flows of each account, oldest first. Every leg of a transfer counts, so that those between wallets or
/// accounts of the selection net out. Unpriced legs that do so in kind, asset by asset within a day, are none.
fn moved(movements: &[Movement]) -> BTreeMap<AccountId, Vec<Moved>> {
    let place = |m: &Movement| (m.asset.clone(), m.at.floor_to(DAY));
    let mut unpriced: BTreeMap<(Asset, Timestamp), Decimal> = BTreeMap::new();
    for m in movements.iter().filter(|m| m.kind == FlowKind::Transfer && m.value_usd.is_none()) {
        let sum = unpriced.entry(place(m)).or_default();
        *sum = sum.checked_add(m.amount).unwrap_or(Decimal::MAX);
    }
    let nets_out = |m: &Movement| {
        m.kind == FlowKind::Transfer && m.value_usd.is_none() && unpriced.get(&place(m)).is_some_and(Decimal::is_zero)
    };
    let mut all: BTreeMap<AccountId, Vec<Moved>> = BTreeMap::new();
    for m in movements {
        let counts = matches!(m.kind, FlowKind::Deposit | FlowKind::Withdrawal | FlowKind::Transfer);
        if counts && !nets_out(m) {
            all.entry(m.account).or_default().push(Moved { at: m.at, value_usd: m.value_usd });
        }
    }
    all
}
