//! Answers as flat rows: which columns each dataset has, in which order.

use codash_analytics::annotations::Annotation;
use codash_analytics::data_quality::{Covered, Owner, StreamLag};
use codash_analytics::exposure_summary::{self, Sides};
use codash_analytics::nav_series::{self, Drawdown, Point};
use codash_analytics::provenance::Gap;
use codash_analytics::series::Group;
use codash_analytics::sum_series::{self, Row, Rows};
use codash_analytics::trade_events;
use codash_domain::{Timestamp, Usd};
use codash_store::accounts::Account;

use super::table::{Cell, Table, shown};

/// Which columns stand before the figures: of a time, and of what names a series.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    is_timed: bool,
    labels: &'static [&'static str],
}

const ACCOUNT: &[&str] = &["accountId", "accountName"];
const VENUE: &[&str] = &["venue"];
const SYMBOL: &[&str] = &["symbol"];

impl Shape {
    pub fn of_nav(split: Option<nav_series::Split>) -> Self {
        let labels = match split {
            None => &[],
            Some(nav_series::Split::Account) => ACCOUNT,
            Some(nav_series::Split::Venue) => VENUE,
        };
        Self { is_timed: true, labels }
    }

    pub fn of_sums(query: &sum_series::Query) -> Self {
        let timed = |labels| Self { is_timed: true, labels };
        match (query.by, query.split_by) {
            (Rows::Symbol, _) => Self { is_timed: false, labels: SYMBOL },
            (Rows::Account, _) => Self { is_timed: false, labels: ACCOUNT },
            (Rows::Venue, _) => Self { is_timed: false, labels: VENUE },
            (Rows::Time | Rows::Day, None) => timed(&[]),
            (Rows::Time | Rows::Day, Some(sum_series::Split::Symbol)) => timed(SYMBOL),
            (Rows::Time | Rows::Day, Some(sum_series::Split::Account)) => timed(ACCOUNT),
            (Rows::Time | Rows::Day, Some(sum_series::Split::Venue)) => timed(VENUE),
        }
    }

    /// Rows of this shape, each with its figures behind.
    fn table<R>(
        self,
        rows: &[R],
        of: fn(&R) -> (Option<Timestamp>, Option<&Group>),
        measures: &[&'static str],
        cells: impl Fn(&R) -> Vec<Cell>,
        measure: &str,
    ) -> Table {
        let time: &[&str] = if self.is_timed { &["time"] } else { &[] };
        let lines = rows
            .iter()
            .map(|row| {
                let (time, group) = of(row);
                time.map(Cell::from).into_iter().chain(label_cells(group)).chain(cells(row)).collect()
            })
            .collect();
        let table = Table::new([time, self.labels, measures].concat(), lines);
        if self.is_timed { table.of_series(self.labels.len(), measure) } else { table }
    }
}

fn label_cells(group: Option<&Group>) -> Vec<Cell> {
    match group {
        None => vec![],
        Some(Group::Account { name, id }) => vec![shown(id), name.as_str().into()],
        Some(Group::Venue(venue)) => vec![venue.as_str().into()],
        // Records that belong to no market.
        Some(Group::Symbol(symbol)) if symbol.is_empty() => vec![Cell::Null],
        Some(Group::Symbol(symbol)) => vec![symbol.as_str().into()],
    }
}

pub fn nav(points: &[Point], shape: Shape) -> Table {
    shape.table(
        points,
        |p| (Some(p.time), p.group.as_ref()),
        &["navUsd", "carried"],
        |p| vec![p.nav_usd.into(), p.carried.into()],
        "navUsd",
    )
}

pub fn exposure(points: &[Point], shape: Shape) -> Table {
    let columns = [
        "longExposureUsd",
        "shortExposureUsd",
        "grossExposureUsd",
        "netExposureUsd",
        "navUsd",
        "grossToNavPercent",
        "carried",
    ];
    let cells = |p: &Point| {
        vec![
            p.long_usd.into(),
            p.short_usd.into(),
            p.gross_usd.into(),
            p.net_usd.into(),
            p.nav_usd.into(),
            p.gross_to_nav_percent.into(),
            p.carried.into(),
        ]
    };
    shape.table(points, |p| (Some(p.time), p.group.as_ref()), &columns, cells, "grossExposureUsd")
}

const SIDES: [&str; 6] = ["positionCount", "longUsd", "shortUsd", "grossUsd", "netUsd", "unrealizedPnlUsd"];

fn sides(sides: &Sides) -> Vec<Cell> {
    vec![
        sides.position_count.into(),
        sides.long_usd.into(),
        sides.short_usd.into(),
        sides.gross_usd.into(),
        sides.net_usd.into(),
        sides.unrealized_pnl_usd.into(),
    ]
}

pub fn exposure_by_symbol(answer: Option<&exposure_summary::Answer>) -> Table {
    let columns = ["symbol"].into_iter().chain(SIDES).chain(["sharePercent"]);
    let row = |row: &exposure_summary::SymbolExposure| {
        let symbol = row.symbol.as_ref().map_or(Cell::Null, shown);
        std::iter::once(symbol).chain(sides(&row.sides)).chain([row.share_percent.into()]).collect()
    };
    Table::new(columns, answer.into_iter().flat_map(|a| &a.by_symbol).map(row).collect())
}

pub fn exposure_by_account(answer: Option<&exposure_summary::Answer>) -> Table {
    let columns = ["accountId", "accountName"].into_iter().chain(SIDES).chain(["grossToNavPercent"]);
    let row = |row: &exposure_summary::AccountExposure| {
        let account = [shown(row.account_id), row.account_name.as_str().into()];
        account.into_iter().chain(sides(&row.sides)).chain([row.gross_to_nav_percent.into()]).collect()
    };
    Table::new(columns, answer.into_iter().flat_map(|a| &a.by_account).map(row).collect())
}

pub fn positions(rows: &[exposure_summary::PositionRow]) -> Table {
    let columns = [
        "time",
        "accountId",
        "accountName",
        "symbol",
        "leg",
        "qty",
        "entryPrice",
        "markPrice",
        "notionalUsd",
        "unrealizedPnlUsd",
        "unrealizedPnlPercent",
    ];
    let row = |row: &exposure_summary::PositionRow| {
        vec![
            row.taken_at.into(),
            shown(row.account_id),
            row.account_name.as_str().into(),
            row.symbol.as_ref().map_or(Cell::Null, shown),
            row.leg.as_str().into(),
            row.qty.into(),
            row.entry_price.into(),
            row.mark_price.into(),
            row.notional_usd.into(),
            row.unrealized_pnl_usd.into(),
            row.unrealized_pnl_percent.into(),
        ]
    };
    Table::new(columns, rows.iter().map(row).collect())
}

pub fn drawdown(rows: &[Drawdown]) -> Table {
    let cells = |row: &Drawdown| {
        vec![row.nav_usd.into(), row.peak_usd.into(), row.drawdown_usd.into(), row.drawdown_percent.into()]
    };
    Shape::of_nav(None).table(
        rows,
        |row| (Some(row.time), None),
        &["navUsd", "peakUsd", "drawdownUsd", "drawdownPercent"],
        cells,
        "drawdownPercent",
    )
}

pub fn pnl(rows: &[Row], shape: Shape) -> Table {
    let columns = [
        "eventCount",
        "notionalUsd",
        "feesUsd",
        "realizedPnlUsd",
        "fundingUsd",
        "netPnlUsd",
        "forcedCloseCount",
        "cumulativeNetPnlUsd",
        "unpricedEventCount",
    ];
    let cells = |row: &Row| {
        vec![
            row.totals.event_count.into(),
            row.totals.notional_usd.into(),
            row.totals.fees_usd.into(),
            row.totals.realized_pnl_usd.into(),
            row.totals.funding_usd.into(),
            row.totals.net_pnl_usd.into(),
            row.totals.forced_close_count.into(),
            row.cumulative_net_pnl_usd.into(),
            row.unpriced_event_count.into(),
        ]
    };
    shape.table(rows, |row| (row.time, row.group.as_ref()), &columns, cells, "netPnlUsd")
}

/// One of the sums alone.
pub fn one_sum(rows: &[Row], shape: Shape, name: &'static str, pick: fn(&Row) -> Usd) -> Table {
    let cells = |row: &Row| vec![pick(row).into(), row.unpriced_event_count.into()];
    shape.table(rows, |row| (row.time, row.group.as_ref()), &[name, "unpricedEventCount"], cells, name)
}

pub fn events(rows: Vec<trade_events::Row>) -> Table {
    let columns = [
        "time",
        "id",
        "accountId",
        "accountName",
        "symbol",
        "eventType",
        "side",
        "qty",
        "price",
        "notionalUsd",
        "realizedPnlUsd",
        "feeUsd",
        "fundingUsd",
        "netPnlImpactUsd",
    ];
    let row = |row: trade_events::Row| {
        vec![
            row.occurred_at.into(),
            shown(row.id),
            shown(row.account_id),
            row.account_name.into(),
            row.symbol.map_or(Cell::Null, shown),
            row.event_type.as_str().into(),
            row.side.map(|side| side.as_str()).into(),
            row.qty.into(),
            row.price.into(),
            row.notional_usd.into(),
            row.realized_pnl_usd.into(),
            row.fee_usd.into(),
            row.funding_usd.into(),
            row.net_pnl_impact_usd.into(),
        ]
    };
    Table::new(columns, rows.into_iter().map(row).collect())
}

pub fn accounts(accounts: Vec<Account>) -> Table {
    let columns = [
        "accountId",
        "accountName",
        "venue",
        "isActive",
        "status",
        "detail",
        "navUsd",
        "lastCheckedAt",
        "kind",
        "assurance",
        "keyExpiresAt",
    ];
    let row = |account: Account| {
        vec![
            shown(account.id),
            account.name.into(),
            shown(account.venue),
            account.is_active.into(),
            account.status.as_str().into(),
            account.status_detail.into(),
            account.last_nav_usd.into(),
            account.last_checked_at.into(),
            account.kind.into(),
            account.assurance.map(|assurance| assurance.as_str()).into(),
            account.key_expires_at.into(),
        ]
    };
    Table::new(columns, accounts.into_iter().map(row).collect())
}

const OWNER: [&str; 3] = ["accountId", "accountName", "venue"];

fn owner(owner: Owner) -> [Cell; 3] {
    [shown(owner.account_id), owner.account_name.into(), shown(owner.venue)]
}

pub fn lags(rows: Vec<StreamLag>) -> Table {
    let own =
        ["stream", "status", "lagSeconds", "lastReadAt", "coveredFrom", "coveredTo", "unreadableRecordCount", "detail"];
    let row = |row: StreamLag| {
        let state = row.state;
        let own = [
            state.stream.into(),
            state.status.into(),
            row.lag_seconds.into(),
            state.last_read_at.into(),
            state.covered_from.into(),
            state.covered_to.into(),
            state.quarantined.into(),
            state.detail.into(),
        ];
        owner(row.owner).into_iter().chain(own).collect()
    };
    Table::new(OWNER.into_iter().chain(own), rows.into_iter().map(row).collect())
}

pub fn coverage(rows: Vec<Covered>) -> Table {
    let own = ["stream", "status", "complete", "coveredPercent", "readUntil", "gapCount", "unreadableRecordCount"];
    let row = |row: Covered| {
        let own = [
            row.stream.into(),
            row.status.into(),
            row.complete.into(),
            row.covered_percent.into(),
            row.read_until.into(),
            row.gap_count.into(),
            row.unreadable_record_count.into(),
        ];
        owner(row.owner).into_iter().chain(own).collect()
    };
    Table::new(OWNER.into_iter().chain(own), rows.into_iter().map(row).collect())
}

pub fn gaps(rows: Vec<(Owner, Gap)>) -> Table {
    let columns = ["time", "timeEnd"].into_iter().chain(OWNER).chain(["stream", "reason"]);
    let row = |(whose, gap): (Owner, Gap)| {
        let span: [Cell; 2] = [gap.from.into(), gap.to.into()];
        span.into_iter().chain(owner(whose)).chain([gap.stream.into(), gap.reason.into()]).collect()
    };
    Table::new(columns, rows.into_iter().map(row).collect())
}

pub fn annotations(rows: Vec<Annotation>) -> Table {
    let row = |row: Annotation| {
        vec![row.time.into(), row.time_end.into(), row.title.into(), row.text.into(), Cell::Tags(row.tags)]
    };
    Table::new(["time", "timeEnd", "title", "text", "tags"], rows.into_iter().map(row).collect())
}

/// Choices of a variable: what is shown, and what is sent.
pub fn choices(choices: impl IntoIterator<Item = (String, String)>) -> Table {
    let rows = choices.into_iter().map(|(text, value)| vec![text.into(), value.into()]).collect();
    Table::new(["text", "value"], rows)
}
