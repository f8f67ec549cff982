//! Where sealed secrets are: every table and column, what each is bound to, and how one is opened.
//!
//! A table with sealed columns has a `data_key_version`, a foreign key from it to `data_keys`, and a line
//! in [`SEALED`], which the renewal of data keys walks. A test compares the list with the catalogue.

use std::fmt::Display;

use codash_domain::WorkspaceId;
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use crate::row::Columns;
use crate::session::Transaction;
use crate::{Error, Store, vault};

/// A table with sealed columns.
#[derive(Debug, Clone, Copy)]
pub struct SealedTable {
    pub table: &'static str,
    /// What tells its rows apart within a workspace.
    pub row: &'static str,
    /// The type of that column.
    pub row_type: &'static str,
    pub columns: &'static [&'static str],
}

pub(crate) const ACCOUNT_SECRETS: SealedTable =
    SealedTable { table: "account_secrets", row: "account_id", row_type: "uuid", columns: &["sealed"] };
pub(crate) const AI_KEYS: SealedTable =
    SealedTable { table: "ai_keys", row: "provider", row_type: "text", columns: &["sealed"] };
pub(crate) const AUTOMATIONS: SealedTable =
    SealedTable { table: "automations", row: "automation_id", row_type: "uuid", columns: &["sealed"] };
pub(crate) const WEBHOOK_ENDPOINTS: SealedTable = SealedTable {
    table: "webhook_endpoints",
    row: "endpoint_id",
    row_type: "uuid",
    columns: &["sealed", "sealed_previous"],
};

/// Every table with sealed columns.
pub const SEALED: [SealedTable; 4] = [ACCOUNT_SECRETS, AI_KEYS, AUTOMATIONS, WEBHOOK_ENDPOINTS];

impl SealedTable {
    /// What a ciphertext of this cell is bound to: `table[.column]:workspace:row:version`. The first
    /// column of a table goes without its name.
    pub(crate) fn place(
        &self,
        column: &'static str,
        workspace: WorkspaceId,
        row: &(dyn Display + Sync),
        version: i32,
    ) -> String {
        let Self { table, .. } = self;
        match column {
            "sealed" => format!("{table}:{workspace}:{row}:{version}"),
            other => format!("{table}.{other}:{workspace}:{row}:{version}"),
        }
    }
}

/// A cell of a row of [`SealedTable`].
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub of: SealedTable,
    pub column: &'static str,
    pub workspace: WorkspaceId,
    pub row: &'a (dyn Display + Sync),
}

impl Cell<'_> {
    /// Seals `plain` for this cell, under one version of the workspace's data key.
    pub fn seal(&self, (version, data_key): &(i32, [u8; 32]), plain: &[u8]) -> Result<Vec<u8>, Error> {
        vault::seal(data_key, crate::workspaces::random()?, &self.place(*version), plain)
    }

    pub fn open(&self, (version, data_key): &(i32, [u8; 32]), sealed: &[u8]) -> Result<Vec<u8>, Error> {
        vault::open(data_key, &self.place(*version), sealed)
    }

    fn place(&self, version: i32) -> String {
        self.of.place(self.column, self.workspace, self.row, version)
    }
}

impl Store {
    /// What a cell holds, read in one statement with its data key; see [`Store::open_cell`].
    pub(crate) async fn read_cell(&self, tx: &mut Transaction, cell: Cell<'_>) -> Result<Option<Vec<u8>>, Error> {
        let SealedTable { table, row, row_type, .. } = cell.of;
        let sql = format!(
            "SELECT s.{column}, s.data_key_version, k.master_key_id, k.wrapped
             FROM {table} s
             LEFT JOIN data_keys k ON k.workspace_id = s.workspace_id AND k.version = s.data_key_version
             WHERE s.workspace_id = $1 AND s.{row} = $2::text::{row_type}",
            column = cell.column,
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(cell.workspace.0)
            .bind(cell.row.to_string())
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::NotFound)?;
        self.open_cell(cell, &found)
    }

    /// What a cell holds, `None` when it is empty. `row` has the column, its `data_key_version`, and beside
    /// them `master_key_id` and `wrapped` of that version: read in **one** statement, so that a renewal of
    /// the data key in between is not seen by halves.
    pub(crate) fn open_cell(&self, cell: Cell<'_>, row: &PgRow) -> Result<Option<Vec<u8>>, Error> {
        let Some(sealed) = row.col::<Option<Vec<u8>>>(cell.column)? else { return Ok(None) };
        let version: i32 = row.col("data_key_version")?;
        let data_key = self.unwrap_data_key(cell.workspace, version, row)?;
        cell.open(&(version, data_key), &sealed).map(Some)
    }
}

pub(crate) fn text(plain: Vec<u8>) -> Result<SecretString, Error> {
    String::from_utf8(plain).map(SecretString::from).map_err(|_| Error::Sealed("it is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: [i32; 2] = [1, 2];

    /// A sequence that looks random and is the same in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
        }
    }

    /// A cell, the version and the data key that it is sealed with, and the ciphertext.
    type Sealed<'a> = (Cell<'a>, (i32, [u8; 32]), Vec<u8>);

    /// Every column of two rows in each of two workspaces, under two versions of each data key.
    fn sealed_cells<'a>(workspaces: &[WorkspaceId], rows: &'a [String]) -> Vec<Sealed<'a>> {
        let mut cells = Vec::new();
        for of in SEALED {
            for column in of.columns {
                for (i, workspace) in workspaces.iter().enumerate() {
                    for (row, version) in rows.iter().flat_map(|row| VERSIONS.map(|version| (row, version))) {
                        let cell = Cell { of, column, workspace: *workspace, row };
                        let key = (version, [u8::try_from(i * 2).unwrap() + u8::try_from(version).unwrap(); 32]);
                        cells.push((cell, key, cell.seal(&key, b"sk-a secret").unwrap()));
                    }
                }
            }
        }
        cells
    }

    fn changed(dice: &mut Dice, sealed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut changed = sealed.to_vec();
        match dice.below(4) {
            0 => {
                for _ in 0..=dice.below(3) {
                    let bit = dice.below(changed.len() * 8);
                    changed[bit / 8] ^= 1 << (bit % 8);
                }
            }
            1 => changed.truncate(dice.below(sealed.len())),
            2 => changed.push(u8::try_from(dice.below(256)).unwrap()),
            _ => {
                let at = dice.below(sealed.len());
                changed[at..].copy_from_slice(&other[at..]);
            }
        }
        changed
    }

    #[test]
    fn of_ten_thousand_forgeries_none_opens() {
        let workspaces = [WorkspaceId::from_random([1; 16]), WorkspaceId::from_random([2; 16])];
        let rows = ["a".to_owned(), "b".to_owned()];
        let cells = sealed_cells(&workspaces, &rows);
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let (mut tried, mut opened) = (0, 0);
        while tried < 10_000 {
            let (cell, key, sealed) = &cells[dice.below(cells.len())];
            let (there, their_key, theirs) = &cells[dice.below(cells.len())];
            let forged = match dice.below(2) {
                // Moved: to another cell, or to another version of its own, with the key of either.
                0 if sealed != theirs => {
                    let place = |cell: &Cell<'_>| cell.place(0);
                    match place(cell) == place(there) {
                        true => there.open(&(their_key.0, key.1), sealed),
                        false => there.open([key, their_key][dice.below(2)], sealed),
                    }
                }
                _ => {
                    let changed = changed(&mut dice, sealed, theirs);
                    if changed == *sealed {
                        continue;
                    }
                    cell.open(key, &changed)
                }
            };
            tried += 1;
            opened += usize::from(forged.is_ok());
        }
        assert_eq!(opened, 0);
        assert!(cells.iter().all(|(cell, key, sealed)| cell.open(key, sealed).unwrap() == b"sk-a secret"));
    }
}
