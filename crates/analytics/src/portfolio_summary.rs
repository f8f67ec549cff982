//! What is the portfolio worth, and how exposed is it, now?

use codash_domain::{AccountId, Timestamp, Usd};
use codash_store::nav::LatestNav;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::select::{self, Wanted};
use crate::{Ctx, Error};

/// Decimal places of amounts in bitcoin and ether.
const COIN_SCALE: u32 = 8;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..accounts,
    }
}

arguments! {
    /// As REST asks it.
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct RestQuery {
        ..selection,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The newest snapshot in the sum; null before the first.
    pub timestamp: Option<Timestamp>,
    /// Accounts selected, with or without a snapshot.
    pub account_count: usize,
    /// Null while no selected account has a snapshot: unknown is not zero.
    pub nav_usd: Option<Usd>,
    /// Long plus short: derivative and margin positions at the venue's mark.
    pub gross_exposure_usd: Option<Usd>,
    /// Long minus short.
    pub net_exposure_usd: Option<Usd>,
    pub long_exposure_usd: Option<Usd>,
    pub short_exposure_usd: Option<Usd>,
    pub futures_upnl_usd: Option<Usd>,
    /// Each account's NAV at its own bitcoin price; null when a price is unknown.
    pub nav_btc: Option<Usd>,
    pub nav_eth: Option<Usd>,
    /// Null unless exactly one account is selected.
    pub btc_price: Option<Usd>,
    pub eth_price: Option<Usd>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub as_of: Timestamp,
    pub sources: Vec<&'static str>,
    /// The sum is only as fresh as its oldest part.
    pub oldest_snapshot_at: Option<Timestamp>,
    /// Selected accounts that have no snapshot yet and are in no number.
    pub missing_account_ids: Vec<AccountId>,
    /// Accounts of which the venue stated equity alone: in NAV, not in exposure.
    pub without_exposure_account_ids: Vec<AccountId>,
    /// Assets that NAV leaves out because no price is known.
    pub unpriced_assets: Vec<String>,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    within(ctx, query, None).await
}

pub async fn asked(ctx: &Ctx<'_>, query: RestQuery) -> Result<Answer, Error> {
    let RestQuery { account_id, account_ids, portfolio_id } = query;
    within(ctx, Query { account_id, account_ids }, portfolio_id.as_deref()).await
}

/// As [`answer`], of the accounts of a group when one is named.
pub async fn within(ctx: &Ctx<'_>, query: Query, portfolio_id: Option<&str>) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let wanted = Wanted { portfolio_id, ..Wanted::from(&query) };
    let selection = select::present(&mut session, wanted).await?;
    let ids = selection.ids();
    let navs = session.latest_navs(&ids).await?;
    session.finish().await?;
    Ok(summarize(&ids, &navs, ctx.now))
}

pub(crate) fn summarize(ids: &[AccountId], navs: &[LatestNav], as_of: Timestamp) -> Answer {
    let known = !navs.is_empty() || ids.is_empty();
    let sum = |pick: fn(&LatestNav) -> Usd| known.then(|| Usd::new(navs.iter().map(pick).sum::<Usd>().0));
    let only = match (ids, navs) {
        ([_], [nav]) => Some(nav),
        _ => None,
    };
    Answer {
        timestamp: navs.iter().map(|n| n.taken_at).max(),
        account_count: ids.len(),
        nav_usd: sum(|n| n.nav_usd),
        gross_exposure_usd: sum(|n| n.long_usd.unwrap_or_default() + n.short_usd.unwrap_or_default()),
        net_exposure_usd: sum(|n| n.long_usd.unwrap_or_default() - n.short_usd.unwrap_or_default()),
        long_exposure_usd: sum(|n| n.long_usd.unwrap_or_default()),
        short_exposure_usd: sum(|n| n.short_usd.unwrap_or_default()),
        futures_upnl_usd: sum(|n| n.futures_upnl_usd.unwrap_or_default()),
        nav_btc: in_coin(navs, |n| n.btc_price_usd),
        nav_eth: in_coin(navs, |n| n.eth_price_usd),
        btc_price: only.and_then(|n| n.btc_price_usd),
        eth_price: only.and_then(|n| n.eth_price_usd),
        provenance: Provenance {
            as_of,
            sources: vec!["nav_snapshots"],
            oldest_snapshot_at: navs.iter().map(|n| n.taken_at).min(),
            missing_account_ids: ids.iter().filter(|id| navs.iter().all(|n| n.account != **id)).copied().collect(),
            without_exposure_account_ids: navs.iter().filter(|n| n.long_usd.is_none()).map(|n| n.account).collect(),
            unpriced_assets: navs.iter().flat_map(|n| n.unpriced_assets.iter().cloned()).collect(),
        },
    }
}

/// The sum of each account's NAV at its own price, rounded to [`COIN_SCALE`] places at the end.
fn in_coin(navs: &[LatestNav], price: fn(&LatestNav) -> Option<Usd>) -> Option<Usd> {
    if navs.is_empty() {
        return None;
    }
    let parts = navs.iter().map(|n| n.nav_usd.0.checked_div(price(n)?.0));
    let total = parts.collect::<Option<Vec<Decimal>>>()?.into_iter().sum::<Decimal>();
    Some(Usd::new(total.round_dp(COIN_SCALE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nav(account: u8, nav: &str, long: &str, short: &str, btc: Option<&str>) -> LatestNav {
        let usd = |s: &str| s.parse::<Usd>().unwrap();
        LatestNav {
            account: AccountId::from_random([account; 16]),
            taken_at: Timestamp::from_millis(i64::from(account)).unwrap(),
            nav_usd: usd(nav),
            long_usd: Some(usd(long)),
            short_usd: Some(usd(short)),
            futures_upnl_usd: Some(usd("0")),
            btc_price_usd: btc.map(usd),
            eth_price_usd: None,
            unpriced_assets: vec![],
        }
    }

    #[test]
    fn several_accounts_add_up_and_show_no_price() {
        let navs = [nav(1, "65000", "10", "4", Some("65000")), nav(2, "32500.5", "1", "2.5", Some("65001"))];
        let ids: Vec<AccountId> = navs.iter().map(|n| n.account).collect();
        let answer = summarize(&ids, &navs, Timestamp::from_millis(9).unwrap());
        assert_eq!(answer.nav_usd.unwrap().to_string(), "97500.5");
        assert_eq!(answer.gross_exposure_usd.unwrap().to_string(), "17.5");
        assert_eq!(answer.net_exposure_usd.unwrap().to_string(), "4.5");
        assert_eq!(answer.nav_btc.unwrap().to_string(), "1.5");
        assert_eq!(answer.btc_price, None);
        assert_eq!(answer.nav_eth, None);
    }

    #[test]
    fn unknown_is_null_and_nothing_is_zero() {
        let id = AccountId::from_random([1; 16]);
        let now = Timestamp::from_millis(9).unwrap();
        assert_eq!(summarize(&[id], &[], now).nav_usd, None);
        assert_eq!(summarize(&[id], &[], now).provenance.missing_account_ids, [id]);
        assert_eq!(summarize(&[], &[], now).nav_usd, Some(Usd::ZERO));
    }
}
