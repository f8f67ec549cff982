//! Which markets have the accounts ever traded or hold positions in?

use std::collections::BTreeSet;

use chrono::TimeDelta;
use codash_domain::{Symbol, Timestamp, Venue, Window};
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::input::present;
use crate::select::{self, short_strings};
use crate::series::{self, Of};
use crate::{Ctx, Error};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// Up to 100 ids. Empty: all visible accounts.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub account_ids: Option<Vec<String>>,
    /// Of these venues alone. Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100))]
    pub venues: Option<Vec<Venue>>,
    /// Of these portfolio groups and those below them alone, up to 100 ids. Empty: whatever their group.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub portfolio_ids: Option<Vec<String>>,
}

impl Query {
    fn of(&self) -> Of<'_> {
        Of {
            ids: self.account_ids.as_deref(),
            portfolios: self.portfolio_ids.as_deref(),
            venues: self.venues.as_deref(),
        }
    }
}

/// In alphabetical order.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<BTreeSet<Symbol>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = series::accounts(&mut session, ctx, query.of()).await?;
    // A venue's clock may be ahead of ours.
    let ever = Window { from: Timestamp::nearest(0), to: ctx.now.plus(TimeDelta::days(1)) };
    let sums = session.sums_by_symbol(&select::event_filter(&selection, ever, None, None)).await?;
    let positions = session.positions(&selection.ids()).await?;
    session.finish().await?;
    let traded = sums.into_iter().filter_map(|(symbol, _)| symbol);
    Ok(traded.chain(positions.into_iter().filter_map(|position| position.symbol)).collect())
}
