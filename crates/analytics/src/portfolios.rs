//! Which portfolio groups can this key see, and what are they worth?

use std::collections::BTreeMap;

use codash_domain::{AccountId, Forest, PortfolioId, Timestamp, Usd};
use codash_store::accounts::Account;
use codash_store::nav::LatestNav;
use codash_store::portfolios::Portfolio as Group;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{Ctx, Error};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// Groups at the root, each with its children; else all groups in one list.
    #[serde(default)]
    pub tree: bool,
}

/// Groups in the order of their names.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Of all groups, whether in a list or in a tree.
    pub count: usize,
    pub portfolios: Vec<Portfolio>,
    /// Accounts that are in no group.
    pub ungrouped_account_ids: Vec<AccountId>,
}

/// A group as it stands, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    pub id: PortfolioId,
    pub name: String,
    /// Null: at the root.
    pub parent_id: Option<PortfolioId>,
    /// Counts the changes of the group; its entity tag.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Portfolio {
    #[serde(flatten)]
    pub named: Named,
    /// Accounts in this very group that the key sees. Removed ones are not listed.
    pub account_ids: Vec<AccountId>,
    /// Accounts in it and in every group below it.
    pub account_count: usize,
    /// The newest NAV of each of these, added up; null while none has a snapshot.
    pub nav_usd: Option<Usd>,
    /// Of these, accounts without a snapshot: they are not in navUsd.
    pub missing_account_ids: Vec<AccountId>,
    /// With tree=true: the groups in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<Children>,
}

/// Groups in a group. Their schema is that of their parent, which a schema without references cannot say.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Children(pub Vec<Portfolio>);

impl JsonSchema for Children {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Children".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array",
            "description": "With tree=true: the groups in it, in the shape of their parent.",
            "items": { "type": "object" },
        })
    }
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let view = View::read(ctx).await?;
    let ungrouped = view.accounts.iter().filter(|a| a.portfolio_id.is_none()).map(|a| a.id).collect();
    let all = view.groups.iter().map(|group| view.portfolio(group));
    let portfolios = if query.tree { nest(all.collect()) } else { all.collect() };
    Ok(Answer { count: view.groups.len(), portfolios, ungrouped_account_ids: ungrouped })
}

/// One group; `NotFound` alike when there is none and when this key must not see it.
pub async fn one(ctx: &Ctx<'_>, id: PortfolioId) -> Result<Portfolio, Error> {
    let view = View::read(ctx).await?;
    let group = view.groups.iter().find(|g| g.id == id).ok_or(codash_store::Error::NotFound)?;
    Ok(view.portfolio(group))
}

/// What a key sees, of one snapshot.
struct View {
    groups: Vec<Group>,
    forest: Forest,
    /// Without removed ones.
    accounts: Vec<Account>,
    navs: Vec<LatestNav>,
}

impl View {
    async fn read(ctx: &Ctx<'_>) -> Result<Self, Error> {
        let mut session = ctx.store.read(ctx.grant).begin().await?;
        let mut accounts = session.accounts().await?;
        let groups = session.portfolios(&accounts).await?;
        accounts.retain(|a| a.removed_at.is_none());
        let ids: Vec<AccountId> = accounts.iter().map(|a| a.id).collect();
        let navs = session.latest_navs(&ids).await?;
        session.finish().await?;
        Ok(Self { forest: groups.iter().map(|g| (g.id, g.parent)).collect(), groups, accounts, navs })
    }

    fn portfolio(&self, group: &Group) -> Portfolio {
        let below = |a: &&Account| a.portfolio_id.is_some_and(|own| self.forest.is_below(own, group.id));
        let all: Vec<AccountId> = self.accounts.iter().filter(below).map(|a| a.id).collect();
        let nav = |id: &AccountId| self.navs.iter().find(|nav| nav.account == *id).map(|nav| nav.nav_usd);
        let known: Vec<Usd> = all.iter().filter_map(nav).collect();
        Portfolio {
            named: Named::from(group.clone()),
            account_ids: self.accounts.iter().filter(|a| a.portfolio_id == Some(group.id)).map(|a| a.id).collect(),
            account_count: all.len(),
            nav_usd: (!known.is_empty() || all.is_empty()).then(|| Usd::new(known.into_iter().sum::<Usd>().0)),
            missing_account_ids: all.into_iter().filter(|id| nav(id).is_none()).collect(),
            children: None,
        }
    }
}

/// A list as a tree, siblings in the order of the list.
fn nest(all: Vec<Portfolio>) -> Vec<Portfolio> {
    let mut of: BTreeMap<Option<PortfolioId>, Vec<Portfolio>> = BTreeMap::new();
    for portfolio in all {
        of.entry(portfolio.named.parent_id).or_default().push(portfolio);
    }
    gather(None, &mut of)
}

/// Each list is taken once: not even a spoilt tree goes in circles.
fn gather(parent: Option<PortfolioId>, of: &mut BTreeMap<Option<PortfolioId>, Vec<Portfolio>>) -> Vec<Portfolio> {
    let mut own = of.remove(&parent).unwrap_or_default();
    for portfolio in &mut own {
        portfolio.children = Some(Children(gather(Some(portfolio.named.id), of)));
    }
    own
}

impl From<Group> for Named {
    fn from(group: Group) -> Self {
        Self {
            id: group.id,
            name: group.name,
            parent_id: group.parent,
            version: group.version,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}
