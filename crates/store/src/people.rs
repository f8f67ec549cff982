//! People and their logins. They belong to no tenant: what ties a person to a workspace is a row of
//! `owners`, see [`crate::owners`].

use codash_domain::{LoginId, PersonId, Role, Timestamp, WorkspaceId};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, By, Entry, Verb};
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// A person as the password check needs them. `Debug` leaves the password out.
#[derive(Clone)]
pub struct Person {
    pub id: PersonId,
    pub email: String,
    /// argon2id in the PHC form.
    pub password: String,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A workspace that a person belongs to.
#[derive(Debug, Clone)]
pub struct Membership {
    pub workspace: WorkspaceId,
    pub name: String,
    pub role: Role,
}

/// A login to be kept: the hash of its first refresh token.
#[derive(Debug, Clone)]
pub struct NewLogin {
    pub id: LoginId,
    pub person: PersonId,
    pub hash: [u8; 32],
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// What a refresh token was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It was exchanged for the next one.
    On(PersonId),
    /// It had been exchanged before: the login was ended.
    Reused(PersonId),
    /// There is no such login, or it is over.
    Unknown,
}

impl Store {
    /// The person with this email, in lower case.
    pub async fn find_person(&self, email: &str) -> Result<Option<Person>, Error> {
        let found = sqlx::query("SELECT person_id, email, password FROM people WHERE email = $1").bind(email);
        found.fetch_optional(&self.writes).await?.as_ref().map(person).transpose()
    }

    pub async fn get_person(&self, id: PersonId) -> Result<Option<Person>, Error> {
        let found = sqlx::query("SELECT person_id, email, password FROM people WHERE person_id = $1").bind(id.0);
        found.fetch_optional(&self.writes).await?.as_ref().map(person).transpose()
    }

    /// Replaces a person's password and ends their logins but the one that asks. The number of those
    /// ended; `NotFound` when the password was changed meanwhile.
    pub async fn change_password(
        &self,
        workspace: WorkspaceId,
        (person, keep): (&Person, LoginId),
        new: &str,
        by: By,
    ) -> Result<u64, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query("UPDATE people SET password = $3 WHERE person_id = $1 AND password = $2")
            .bind(person.id.0)
            .bind(&person.password)
            .bind(new)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            tx.commit().await?;
            return Err(Error::NotFound);
        }
        let ended = sqlx::query(
            "UPDATE logins SET ended_at = $3 WHERE person_id = $1 AND login_id <> $2 AND ended_at IS NULL AND expires_at > $3",
        )
        .bind(person.id.0)
        .bind(keep.0)
        .bind(by.at.utc())
        .execute(tx.connection())
        .await?
        .rows_affected();
        let detail = json!({ "loginsEnded": ended });
        let entry = Entry { detail, ..Entry::done(by, Verb::OwnerPassword, person.id.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Replaces the hash of a password, unless another did meanwhile.
    pub async fn upgrade_password(&self, person: PersonId, old: &str, new: &str) -> Result<(), Error> {
        sqlx::query("UPDATE people SET password = $3 WHERE person_id = $1 AND password = $2")
            .bind(person.0)
            .bind(old)
            .bind(new)
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// The workspaces of a person, the one joined first in front.
    pub async fn workspaces_of(&self, person: PersonId) -> Result<Vec<Membership>, Error> {
        let rows = sqlx::query("SELECT workspace_id, name, role FROM workspaces_of($1)")
            .bind(person.0)
            .fetch_all(&self.writes)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Membership {
                    workspace: WorkspaceId(row.col("workspace_id")?),
                    name: row.col("name")?,
                    role: row.parsed("role")?,
                })
            })
            .collect()
    }

    pub async fn open_login(&self, login: &NewLogin) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO logins (login_id, person_id, hash, created_at, turned_at, expires_at) VALUES ($1, $2, $3, $4, $4, $5)",
        )
        .bind(login.id.0)
        .bind(login.person.0)
        .bind(&login.hash[..])
        .bind(login.now.utc())
        .bind(login.expires_at.utc())
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// Exchanges a login's refresh token for the next one. Another secret than the current one ends the
    /// login: whoever holds it has a token that was used before, the rightful holder or a thief.
    pub async fn turn_login(
        &self,
        login: LoginId,
        held: &[u8; 32],
        next: &[u8; 32],
        now: Timestamp,
    ) -> Result<Turned, Error> {
        let turned: Option<Uuid> = sqlx::query_scalar(
            "UPDATE logins SET hash = $3, turned_at = $4
             WHERE login_id = $1 AND hash = $2 AND ended_at IS NULL AND expires_at > $4 RETURNING person_id",
        )
        .bind(login.0)
        .bind(&held[..])
        .bind(&next[..])
        .bind(now.utc())
        .fetch_optional(&self.writes)
        .await?;
        if let Some(person) = turned {
            return Ok(Turned::On(PersonId(person)));
        }
        Ok(self.end_login(login, now).await?.map_or(Turned::Unknown, Turned::Reused))
    }

    /// Ends a login: its tokens open nothing from now on. The person, when it was open until now.
    pub async fn end_login(&self, login: LoginId, now: Timestamp) -> Result<Option<PersonId>, Error> {
        let ended: Option<Uuid> = sqlx::query_scalar(
            "UPDATE logins SET ended_at = $2 WHERE login_id = $1 AND ended_at IS NULL AND expires_at > $2 RETURNING person_id",
        )
        .bind(login.0)
        .bind(now.utc())
        .fetch_optional(&self.writes)
        .await?;
        Ok(ended.map(PersonId))
    }
}

fn person(row: &sqlx::postgres::PgRow) -> Result<Person, Error> {
    Ok(Person { id: PersonId(row.col("person_id")?), email: row.col("email")?, password: row.col("password")? })
}
