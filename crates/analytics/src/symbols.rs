//! Which markets have the accounts ever traded or hold positions in?

use std::collections::BTreeSet;

use chrono::TimeDelta;
use codash_domain::{Symbol, Timestamp, Window};
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::select;
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_accounts,
    }
}

/// In alphabetical order.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<BTreeSet<Symbol>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    // A venue's clock may be ahead of ours.
    let ever = Window { from: Timestamp::nearest(0), to: ctx.now.plus(TimeDelta::days(1)) };
    let sums = session.sums_by_symbol(&select::event_filter(&selection, ever, None, None)).await?;
    let positions = session.positions(&selection.ids()).await?;
    session.finish().await?;
    let traded = sums.into_iter().filter_map(|(symbol, _)| symbol);
    Ok(traded.chain(positions.into_iter().filter_map(|position| position.symbol)).collect())
}
