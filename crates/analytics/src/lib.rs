//! The question catalogue: one file a question, asked by every face.
//!
//! A question has a `Query` (what may be asked: names, defaults and bounds, said once for every
//! face), an `Answer` (its wire shape) and `answer(ctx, query)`. To add one: write its file, list it
//! here, give it a row in `src/mcp/tools.rs` and, for REST, a handler of a few lines.
//!
//! Questions: [`list_accounts`], [`portfolio_summary`], [`nav_history`], [`activity_summary`],
//! [`pnl_by_symbol`], [`trade_events`], [`largest_losses`], [`cash_flows`]; of REST alone:
//! [`portfolios`], [`exposure_summary`], [`pnl_summary`], [`pnl_query`], [`pnl_buckets`], [`account_forensics`],
//! [`risk_timeline`], [`mod@metrics`], [`report`], and those of the tools with a postmortem's window in
//! [`forensics`]; and [`mod@export`], which gives rows and no sums. Of charts alone, as flat rows:
//! [`nav_series`], [`sum_series`], [`event_table`], [`position_table`], [`data_quality`], [`annotations`],
//! [`symbols`]; what they share is in [`series`].

pub mod account_forensics;
pub mod activity_summary;
pub mod annotations;
mod arguments;
mod aside;
pub mod cash_flows;
pub mod cursor;
pub mod data_quality;
pub mod error;
pub mod event_table;
pub mod export;
pub mod exposure_summary;
pub mod forensics;
pub mod input;
pub mod largest_losses;
pub mod list_accounts;
pub mod metrics;
pub mod moment;
pub mod nav_history;
pub mod nav_series;
pub mod pnl_buckets;
pub mod pnl_by_symbol;
pub mod pnl_query;
pub mod pnl_summary;
pub mod portfolio_summary;
pub mod portfolios;
pub mod position_table;
pub mod provenance;
pub mod report;
pub mod risk_timeline;
pub mod select;
pub mod series;
pub mod sum_series;
pub mod symbols;
pub mod trade_events;

use codash_domain::Timestamp;
use codash_store::{Grant, Store};

pub use cursor::CursorKey;
pub use error::{Error, Rule};

/// Who asks, of what, when. A [`Grant`] comes only from a key, so there is no asking without one.
#[derive(Debug, Clone, Copy)]
pub struct Ctx<'a> {
    pub store: &'a Store,
    pub grant: &'a Grant,
    pub cursor_key: &'a CursorKey,
    pub now: Timestamp,
}
