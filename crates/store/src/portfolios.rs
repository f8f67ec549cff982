//! Portfolio groups: a tree of them, written by one at a time.

use codash_domain::portfolio::Sight;
use codash_domain::{AccountId, Forest, PortfolioId, Timestamp, Unfit, WorkspaceId};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::audit::{self, By, Entry, Verb};
use crate::idempotency::Keep;
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Grant, Session, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portfolio {
    pub id: PortfolioId,
    /// `None`: at the root.
    pub parent: Option<PortfolioId>,
    pub name: String,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewPortfolio {
    pub id: PortfolioId,
    pub parent: Option<PortfolioId>,
    pub name: String,
    pub now: Timestamp,
}

/// What to change; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct PortfolioChange {
    pub name: Option<String>,
    /// `Some(None)`: to the root.
    pub parent: Option<Option<PortfolioId>>,
}

/// What became of what was in a group that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dissolved {
    pub parent: Option<PortfolioId>,
    pub portfolios: Vec<PortfolioId>,
    pub accounts: Vec<AccountId>,
}

/// Which versions a write is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Any,
    OneOf(Vec<i64>),
}

impl Expected {
    pub(crate) fn check(&self, version: i64) -> Result<(), Error> {
        match self {
            Self::OneOf(versions) if !versions.contains(&version) => Err(Error::Stale { version }),
            _ => Ok(()),
        }
    }
}

/// The whole tree as a writer finds it, held still until its transaction ends.
pub(crate) struct Tree {
    groups: Vec<Portfolio>,
    forest: Forest,
    accounts: Vec<(AccountId, Option<PortfolioId>)>,
}

impl Tree {
    /// Waits for other writers of the workspace's tree, then reads it.
    pub(crate) async fn hold(tx: &mut Transaction, workspace: WorkspaceId) -> Result<Self, Error> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('portfolios:' || $1::text, 0))")
            .bind(workspace.0)
            .execute(tx.connection())
            .await?;
        let groups = all(tx, workspace).await?;
        let rows = sqlx::query("SELECT account_id, portfolio_id FROM accounts WHERE workspace_id = $1")
            .bind(workspace.0)
            .fetch_all(tx.connection())
            .await?;
        let account = |row: &PgRow| {
            Ok((AccountId(row.col("account_id")?), row.col::<Option<Uuid>>("portfolio_id")?.map(PortfolioId)))
        };
        let accounts = rows.iter().map(account).collect::<Result<_, Error>>()?;
        Ok(Self { forest: groups.iter().map(|g| (g.id, g.parent)).collect(), groups, accounts })
    }

    /// The account may go into the group. A key with an allowlist must see all of both groups: the one
    /// that loses it and the one that gains it.
    pub(crate) fn may_regroup(
        &self,
        grant: &Grant,
        from: Option<PortfolioId>,
        to: Option<PortfolioId>,
    ) -> Result<(), Error> {
        let sight = self.sight(grant);
        if to.is_some_and(|to| !sight.sees(to)) {
            return Err(Error::Unfit(Unfit::NoGroup));
        }
        let is_whole = [from, to].into_iter().flatten().all(|group| sight.sees_wholly(Some(group)));
        if is_whole { Ok(()) } else { Err(Error::NotWholly) }
    }

    fn sight<'a>(&'a self, grant: &'a Grant) -> Sight<'a> {
        Sight::new(&self.forest, &self.accounts, grant.accounts.as_deref())
    }

    /// The group, if this key may change it: it sees the group and all that is beside it, or has no
    /// allowlist.
    fn changeable(&self, grant: &Grant, id: PortfolioId) -> Result<&Portfolio, Error> {
        let sight = self.sight(grant);
        let group = self.groups.iter().find(|g| g.id == id && sight.sees(id)).ok_or(Error::NotFound)?;
        if sight.sees_wholly(group.parent) { Ok(group) } else { Err(Error::NotWholly) }
    }
}

impl Store {
    pub async fn create_portfolio(
        &self,
        grant: &Grant,
        new: &NewPortfolio,
        by: By,
        keep: Option<&Keep<'_, Portfolio>>,
    ) -> Result<Portfolio, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let tree = Tree::hold(&mut tx, workspace).await?;
        if new.parent.is_some_and(|parent| !tree.sight(grant).sees(parent)) {
            return Err(Error::Unfit(Unfit::NoGroup));
        }
        // An empty group is nobody's: a key with an allowlist would not see what it made.
        if grant.accounts.is_some() {
            return Err(Error::NotWholly);
        }
        tree.forest.may_add(new.parent).map_err(Error::Unfit)?;
        let row = sqlx::query(
            "INSERT INTO portfolios (workspace_id, portfolio_id, parent_id, name, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $5) RETURNING *",
        )
        .bind(workspace.0)
        .bind(new.id.0)
        .bind(new.parent.map(|p| p.0))
        .bind(&new.name)
        .bind(new.now.utc())
        .fetch_one(tx.connection())
        .await?;
        let created = portfolio(&row)?;
        note(
            &mut tx,
            workspace,
            Verb::PortfolioCreate,
            new.id,
            by,
            json!({ "name": new.name, "parentId": new.parent }),
        )
        .await?;
        if let Some(keep) = keep {
            keep.done(&mut tx, workspace, &created).await?;
        }
        tx.commit().await?;
        Ok(created)
    }

    pub async fn change_portfolio(
        &self,
        grant: &Grant,
        id: PortfolioId,
        expected: &Expected,
        change: &PortfolioChange,
        by: By,
    ) -> Result<Portfolio, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let tree = Tree::hold(&mut tx, workspace).await?;
        let group = tree.changeable(grant, id)?;
        expected.check(group.version)?;
        if let Some(parent) = change.parent.filter(|parent| *parent != group.parent) {
            let sight = tree.sight(grant);
            if parent.is_some_and(|parent| !sight.sees(parent)) {
                return Err(Error::Unfit(Unfit::NoGroup));
            }
            if !sight.sees_wholly(parent) {
                return Err(Error::NotWholly);
            }
            tree.forest.may_move(id, parent).map_err(Error::Unfit)?;
        }
        let row = sqlx::query(
            "UPDATE portfolios SET name = $3, parent_id = $4, version = version + 1, updated_at = $5
             WHERE workspace_id = $1 AND portfolio_id = $2 RETURNING *",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(change.name.as_ref().unwrap_or(&group.name))
        .bind(change.parent.unwrap_or(group.parent).map(|p| p.0))
        .bind(by.at.utc())
        .fetch_one(tx.connection())
        .await?;
        let changed = portfolio(&row)?;
        let detail = json!({ "name": change.name, "parentId": change.parent });
        note(&mut tx, workspace, Verb::PortfolioChange, id, by, detail).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Takes a group away; what is in it moves up to its parent.
    pub async fn remove_portfolio(
        &self,
        grant: &Grant,
        id: PortfolioId,
        expected: &Expected,
        by: By,
    ) -> Result<Dissolved, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let tree = Tree::hold(&mut tx, workspace).await?;
        let group = tree.changeable(grant, id)?;
        expected.check(group.version)?;
        let moved = |sql: &'static str| {
            sqlx::query_scalar::<_, Uuid>(sql)
                .bind(workspace.0)
                .bind(id.0)
                .bind(group.parent.map(|p| p.0))
                .bind(by.at.utc())
        };
        // First out of its way: a child may have its name.
        let aside = format!("{}\u{FFFF}", group.name);
        sqlx::query("UPDATE portfolios SET name = $3 WHERE workspace_id = $1 AND portfolio_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .bind(aside)
            .execute(tx.connection())
            .await?;
        let portfolios = moved(
            "UPDATE portfolios SET parent_id = $3, version = version + 1, updated_at = $4
             WHERE workspace_id = $1 AND parent_id = $2 RETURNING portfolio_id",
        )
        .fetch_all(tx.connection())
        .await?;
        let accounts = moved(
            "UPDATE accounts SET portfolio_id = $3, version = version + 1, updated_at = $4
             WHERE workspace_id = $1 AND portfolio_id = $2 RETURNING account_id",
        )
        .fetch_all(tx.connection())
        .await?;
        sqlx::query("DELETE FROM portfolios WHERE workspace_id = $1 AND portfolio_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        let detail = json!({ "name": group.name, "movedTo": group.parent });
        note(&mut tx, workspace, Verb::PortfolioRemove, id, by, detail).await?;
        tx.commit().await?;
        Ok(Dissolved {
            parent: group.parent,
            portfolios: portfolios.into_iter().map(PortfolioId).collect(),
            accounts: accounts.into_iter().map(AccountId).collect(),
        })
    }
}

impl Session<'_> {
    /// The groups that this key sees, by name; of a key with an account allowlist those in whose
    /// subtrees `visible`, its accounts, are.
    pub async fn portfolios(&mut self, visible: &[crate::accounts::Account]) -> Result<Vec<Portfolio>, Error> {
        let grant = self.grant;
        let mut groups = all(&mut self.transaction, grant.workspace).await?;
        if grant.accounts.is_some() {
            let forest: Forest = groups.iter().map(|g| (g.id, g.parent)).collect();
            let seen = forest.above(visible.iter().filter_map(|a| a.portfolio_id));
            groups.retain(|g| seen.contains(&g.id));
        }
        Ok(groups)
    }
}

/// Records a change of a group in its own transaction.
async fn note(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    verb: Verb,
    group: PortfolioId,
    by: By,
    detail: Value,
) -> Result<(), Error> {
    audit::record(tx, workspace, &Entry { detail, ..Entry::done(by, verb, group.to_string()) }).await
}

/// Held until the transaction ends.
pub(crate) async fn must_exist(tx: &mut Transaction, workspace: WorkspaceId, id: PortfolioId) -> Result<(), Error> {
    let found = sqlx::query("SELECT 1 FROM portfolios WHERE workspace_id = $1 AND portfolio_id = $2 FOR KEY SHARE")
        .bind(workspace.0)
        .bind(id.0)
        .fetch_optional(tx.connection())
        .await?;
    found.map(|_| ()).ok_or(Error::Unfit(Unfit::NoGroup))
}

async fn all(tx: &mut Transaction, workspace: WorkspaceId) -> Result<Vec<Portfolio>, Error> {
    let rows = sqlx::query("SELECT * FROM portfolios WHERE workspace_id = $1 ORDER BY name, portfolio_id")
        .bind(workspace.0)
        .fetch_all(tx.connection())
        .await?;
    rows.iter().map(portfolio).collect()
}

fn portfolio(row: &PgRow) -> Result<Portfolio, Error> {
    Ok(Portfolio {
        id: PortfolioId(row.col("portfolio_id")?),
        parent: row.col::<Option<Uuid>>("parent_id")?.map(PortfolioId),
        name: row.col("name")?,
        version: row.col("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}
