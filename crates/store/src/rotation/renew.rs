//! A new data key for a workspace, and its secrets sealed again with it.

use std::fmt;

use codash_domain::WorkspaceId;
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Failed;
use crate::audit::{self, By, Entry, Verb};
use crate::row::Columns;
use crate::sealed::{Cell, SEALED, SealedTable};
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// Rows of a table that one transaction seals again.
const ROWS_AT_ONCE: usize = 500;

/// What was done in a workspace.
#[derive(Debug, Default)]
pub struct Renewed {
    /// True when a data key was made now; false when a run before this one made it.
    pub is_new: bool,
    /// Rows sealed again.
    pub resealed: u64,
    /// Versions given up, which nothing is sealed with any longer.
    pub given_up: u64,
    pub failed: Vec<Failed>,
}

/// A row that is sealed anew, one value for each of the table's columns.
struct Resealed {
    row: String,
    columns: Vec<Option<Vec<u8>>>,
}

impl Store {
    /// Workspaces behind `after`, in the order of their ids, whose data key was made under another master
    /// key than the current one, or that have a version left to give up.
    pub async fn workspaces_to_renew(&self, after: Option<WorkspaceId>, most: i32) -> Result<Vec<WorkspaceId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT workspace_id FROM workspaces_to_renew($1, $2, $3)")
            .bind(self.master_keys.current_id())
            .bind(after.map_or(Uuid::nil(), |workspace| workspace.0))
            .bind(most)
            .fetch_all(&self.writes)
            .await?;
        Ok(ids.into_iter().map(WorkspaceId).collect())
    }

    /// Gives a workspace a data key that was made under the current master key, seals every secret of it
    /// with that key, and gives up what nothing needs any longer: in one transaction, or in several where
    /// there are many secrets. A secret that does not open stays as it is and is reported; rows that
    /// somebody else holds are left to the next run.
    pub async fn renew_workspace(&self, workspace: WorkspaceId, by: &By) -> Result<Renewed, Error> {
        let mut renewed = Renewed::default();
        // Where each table goes on; one that is through drops out.
        let mut tables: Vec<(SealedTable, Option<String>)> = SEALED.map(|of| (of, None)).to_vec();
        loop {
            let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
            renewed.is_new |= self.make_next(&mut tx, workspace, by).await?;
            let newest = self.data_key(&mut tx, workspace).await?;
            let mut full = Vec::new();
            for (of, after) in tables {
                let rows = older_rows(&mut tx, workspace, of, newest.0, after.as_deref()).await?;
                if let Some(last) = self.reseal_rows(&mut tx, workspace, of, &rows, &newest, &mut renewed).await? {
                    full.push((of, Some(last)));
                }
            }
            if full.is_empty() {
                renewed.given_up = give_up_versions(&mut tx, workspace).await?;
                tx.commit().await?;
                return Ok(renewed);
            }
            tx.commit().await?;
            tables = full;
        }
    }

    /// True when the newest data key had been made under another master key, and there is a newer one now.
    async fn make_next(&self, tx: &mut Transaction, workspace: WorkspaceId, by: &By) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT version, coalesce(made_under, master_key_id) AS made_under FROM data_keys
             WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1",
        )
        .bind(workspace.0)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound)?;
        let version = row.col::<i32>("version")? + 1;
        let is_due = row.col::<String>("made_under")? != self.master_keys.current_id();
        let is_new = is_due && self.make_data_key(tx, workspace, version).await?;
        if is_new {
            let detail = json!({ "version": version, "masterKeyId": self.master_keys.current_id() });
            let entry = Entry { detail, ..Entry::done(by.clone(), Verb::DataKeyRenew, workspace.to_string()) };
            audit::record(tx, workspace, &entry).await?;
        }
        Ok(is_new)
    }

    /// Seals rows again. The last one when there may be more behind it.
    async fn reseal_rows(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        of: SealedTable,
        rows: &[PgRow],
        newest: &(i32, [u8; 32]),
        renewed: &mut Renewed,
    ) -> Result<Option<String>, Error> {
        let mut last = None;
        let mut resealed = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.col("row_id")?;
            match self.reseal(workspace, of, &id, row, newest) {
                Ok(columns) => resealed.push(Resealed { row: id.clone(), columns }),
                Err(error) => {
                    renewed.failed.push(Failed { workspace, what: format!("{} {id}", of.table), error });
                }
            }
            last = Some(id);
        }
        put_resealed(tx, workspace, of, newest.0, &resealed).await?;
        renewed.resealed += u64::try_from(resealed.len()).unwrap_or(u64::MAX);
        Ok(last.filter(|_| rows.len() >= ROWS_AT_ONCE))
    }

    /// Every sealed column of a row, opened and sealed with another data key; each is opened again.
    fn reseal(
        &self,
        workspace: WorkspaceId,
        of: SealedTable,
        id: &str,
        row: &PgRow,
        newest: &(i32, [u8; 32]),
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let column = |column: &&'static str| {
            let cell = Cell { of, column, workspace, row: &id };
            let Some(plain) = self.open_cell(cell, row)? else { return Ok(None) };
            let sealed = cell.seal(newest, &plain)?;
            match cell.open(newest, &sealed)? == plain {
                true => Ok(Some(sealed)),
                false => Err(Error::Sealed("it did not open after sealing")),
            }
        };
        of.columns.iter().map(column).collect()
    }
}

/// Removes versions of the data key that nothing is sealed with, but for those that somebody holds to
/// seal with. A foreign key forbids any other.
async fn give_up_versions(tx: &mut Transaction, workspace: WorkspaceId) -> Result<u64, Error> {
    let unused: String = SEALED
        .iter()
        .map(|of| {
            let table = of.table;
            format!(
                " AND NOT EXISTS (SELECT FROM {table} s WHERE s.workspace_id = $1 AND s.data_key_version = d.version)"
            )
        })
        .collect();
    let sql = format!(
        "DELETE FROM data_keys WHERE workspace_id = $1 AND version = ANY (ARRAY(
            SELECT d.version FROM data_keys d WHERE d.workspace_id = $1
              AND d.version < (SELECT max(n.version) FROM data_keys n WHERE n.workspace_id = $1){unused}
            FOR UPDATE OF d SKIP LOCKED))"
    );
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(workspace.0).execute(tx.connection()).await?.rows_affected())
}

/// The next rows of a table that are sealed with an older version, held until the transaction ends.
async fn older_rows(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    of: SealedTable,
    newest: i32,
    after: Option<&str>,
) -> Result<Vec<PgRow>, Error> {
    let SealedTable { table, row, row_type, .. } = of;
    let columns = of.columns.iter().fold(String::new(), |sql, column| sql + ", s." + column);
    let sql = format!(
        "SELECT s.{row}::text AS row_id, s.data_key_version, k.master_key_id, k.wrapped{columns}
         FROM {table} s
         LEFT JOIN data_keys k ON k.workspace_id = s.workspace_id AND k.version = s.data_key_version
         WHERE s.workspace_id = $1 AND s.data_key_version < $2 AND ($3 IS NULL OR s.{row} > $3::{row_type})
         ORDER BY s.{row} LIMIT $4 FOR UPDATE OF s SKIP LOCKED"
    );
    Ok(sqlx::query(AssertSqlSafe(sql))
        .bind(workspace.0)
        .bind(newest)
        .bind(after)
        .bind(i64::try_from(ROWS_AT_ONCE).unwrap_or(i64::MAX))
        .fetch_all(tx.connection())
        .await?)
}

async fn put_resealed(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    of: SealedTable,
    version: i32,
    resealed: &[Resealed],
) -> Result<(), Error> {
    if resealed.is_empty() {
        return Ok(());
    }
    let SealedTable { table, row, row_type, .. } = of;
    let (mut set, mut arrays, mut names) = (String::new(), String::new(), String::new());
    for (i, column) in of.columns.iter().enumerate() {
        set += &format!(", {column} = n.c{i}");
        arrays += &format!(", ${}::bytea[]", i + 4);
        names += &format!(", c{i}");
    }
    let sql = format!(
        "UPDATE {table} s SET data_key_version = $2{set} FROM unnest($3::text[]{arrays}) AS n(row_id{names})
         WHERE s.workspace_id = $1 AND s.{row} = n.row_id::{row_type}"
    );
    let rows: Vec<&str> = resealed.iter().map(|r| r.row.as_str()).collect();
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(workspace.0).bind(version).bind(rows);
    for i in 0..of.columns.len() {
        let column: Vec<Option<&[u8]>> = resealed.iter().map(|r| r.columns.get(i)?.as_deref()).collect();
        query = query.bind(column);
    }
    query.execute(tx.connection()).await?;
    Ok(())
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workspace {}, {}: {}", self.workspace, self.what, self.error)
    }
}
