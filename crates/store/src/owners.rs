//! Who owns a workspace: people and their roles, invitations, and the claim of a workspace that an
//! agent registered. A workspace that has owners always has one with the role owner.

use codash_domain::{InvitationId, PersonId, Role, Timestamp, WorkspaceId};
use serde_json::json;

use crate::audit::{self, By, Entry, Verb};
use crate::people::Person;
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// A person in a workspace.
#[derive(Debug, Clone)]
pub struct Owner {
    pub person: PersonId,
    pub email: String,
    pub role: Role,
    pub since: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub id: InvitationId,
    /// In lower case.
    pub email: String,
    pub role: Role,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub invited_by: PersonId,
    pub expires_at: Timestamp,
}

/// An invitation that may still be accepted.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub workspace: WorkspaceId,
    pub id: InvitationId,
    pub email: String,
    pub role: Role,
    pub expires_at: Timestamp,
}

/// Where a new person starts.
#[derive(Debug, Clone)]
pub enum Start<'a> {
    /// A workspace of their own.
    Found { workspace: WorkspaceId, name: &'a str },
    /// One that an agent registered.
    Claim { workspace: WorkspaceId },
    /// One that they were invited to.
    Join(&'a Invitation),
}

/// Why a role stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the workspace needs an owner")]
    LastOwner,
    #[error("the workspace has owners already")]
    Claimed,
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Keeps a new person, with their first workspace, or nothing. `Conflict` when the email is taken.
    pub async fn sign_up(&self, person: &Person, start: &Start<'_>, by: By) -> Result<(), Refusal> {
        let mut tx = Transaction::begin(&self.writes, start.workspace(), Mode::Write).await?;
        sqlx::query("INSERT INTO people (person_id, email, password, created_at) VALUES ($1, $2, $3, $4)")
            .bind(person.id.0)
            .bind(&person.email)
            .bind(&person.password)
            .bind(by.at.utc())
            .execute(tx.connection())
            .await?;
        self.enter(&mut tx, person.id, start, by).await?;
        Ok(tx.commit().await?)
    }

    /// Ties a person to a further workspace.
    pub async fn join(&self, person: PersonId, start: &Start<'_>, by: By) -> Result<(), Refusal> {
        let mut tx = Transaction::begin(&self.writes, start.workspace(), Mode::Write).await?;
        self.enter(&mut tx, person, start, by).await?;
        Ok(tx.commit().await?)
    }

    async fn enter(&self, tx: &mut Transaction, person: PersonId, start: &Start<'_>, by: By) -> Result<(), Refusal> {
        let workspace = start.workspace();
        let (role, verb) = match start {
            Start::Found { workspace, name } => {
                self.found(tx, *workspace, name, by.at).await?;
                (Role::Owner, Verb::WorkspaceRegister)
            }
            Start::Claim { .. } => {
                lock(tx, workspace).await?;
                if !all(tx, workspace).await?.is_empty() {
                    return Err(Refusal::Claimed);
                }
                (Role::Owner, Verb::WorkspaceClaim)
            }
            Start::Join(invitation) => {
                use_up(tx, invitation).await?;
                (invitation.role, Verb::OwnerJoin)
            }
        };
        sqlx::query("INSERT INTO owners (workspace_id, person_id, role, created_at) VALUES ($1, $2, $3, $4)")
            .bind(workspace.0)
            .bind(person.0)
            .bind(role.as_str())
            .bind(by.at.utc())
            .execute(tx.connection())
            .await?;
        let entry = Entry { detail: json!({ "role": role }), ..Entry::done(by, verb, person.to_string()) };
        Ok(audit::record(tx, workspace, &entry).await?)
    }

    /// The people of a workspace, the first one in front.
    pub async fn list_owners(&self, workspace: WorkspaceId) -> Result<Vec<Owner>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let owners = all(&mut tx, workspace).await?;
        tx.commit().await?;
        Ok(owners)
    }

    /// `NotFound` when the person is not of this workspace.
    pub async fn set_role(
        &self,
        workspace: WorkspaceId,
        person: PersonId,
        role: Role,
        by: By,
    ) -> Result<Owner, Refusal> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        lock(&mut tx, workspace).await?;
        let before = all(&mut tx, workspace).await?;
        let mut owner = before.iter().find(|o| o.person == person).cloned().ok_or(Error::NotFound)?;
        if role != Role::Owner && is_last_owner(&before, person) {
            return Err(Refusal::LastOwner);
        }
        sqlx::query("UPDATE owners SET role = $3 WHERE workspace_id = $1 AND person_id = $2")
            .bind(workspace.0)
            .bind(person.0)
            .bind(role.as_str())
            .execute(tx.connection())
            .await?;
        let detail = json!({ "from": owner.role, "to": role });
        let entry = Entry { detail, ..Entry::done(by, Verb::OwnerChange, person.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await?;
        owner.role = role;
        Ok(owner)
    }

    /// `NotFound` when the person is not of this workspace.
    pub async fn remove_owner(&self, workspace: WorkspaceId, person: PersonId, by: By) -> Result<(), Refusal> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        lock(&mut tx, workspace).await?;
        if is_last_owner(&all(&mut tx, workspace).await?, person) {
            return Err(Refusal::LastOwner);
        }
        let done = sqlx::query("DELETE FROM owners WHERE workspace_id = $1 AND person_id = $2")
            .bind(workspace.0)
            .bind(person.0)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            tx.commit().await?;
            return Err(Error::NotFound.into());
        }
        audit::record(&mut tx, workspace, &Entry::done(by, Verb::OwnerRemove, person.to_string())).await?;
        Ok(tx.commit().await?)
    }

    pub async fn invite(&self, workspace: WorkspaceId, new: &NewInvitation, by: By) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        sqlx::query(
            "INSERT INTO invitations (workspace_id, invitation_id, email, role, hash, invited_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(workspace.0)
        .bind(new.id.0)
        .bind(&new.email)
        .bind(new.role.as_str())
        .bind(&new.hash[..])
        .bind(new.invited_by.0)
        .bind(by.at.utc())
        .bind(new.expires_at.utc())
        .execute(tx.connection())
        .await?;
        let detail = json!({ "email": new.email, "role": new.role, "expiresAt": new.expires_at });
        let entry = Entry { detail, ..Entry::done(by, Verb::OwnerInvite, new.id.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await
    }

    /// Takes an invitation back. `NotFound` when there is none, also when it was accepted.
    pub async fn uninvite(&self, workspace: WorkspaceId, id: InvitationId, by: By) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query("DELETE FROM invitations WHERE workspace_id = $1 AND invitation_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            tx.commit().await?;
            return Err(Error::NotFound);
        }
        audit::record(&mut tx, workspace, &Entry::done(by, Verb::OwnerUninvite, id.to_string())).await?;
        tx.commit().await
    }

    /// The invitation with this token; `None` when unknown, used up or taken back, alike.
    pub async fn find_invitation(&self, hash: &[u8; 32]) -> Result<Option<Invitation>, Error> {
        let row =
            sqlx::query("SELECT * FROM invitation_by_hash($1)").bind(&hash[..]).fetch_optional(&self.writes).await?;
        row.map(|row| {
            Ok(Invitation {
                workspace: WorkspaceId(row.col("workspace_id")?),
                id: InvitationId(row.col("invitation_id")?),
                email: row.col("email")?,
                role: row.parsed("role")?,
                expires_at: row.at("expires_at")?,
            })
        })
        .transpose()
    }
}

impl Start<'_> {
    pub fn workspace(&self) -> WorkspaceId {
        match self {
            Self::Found { workspace, .. } | Self::Claim { workspace } => *workspace,
            Self::Join(invitation) => invitation.workspace,
        }
    }
}

async fn all(tx: &mut Transaction, workspace: WorkspaceId) -> Result<Vec<Owner>, Error> {
    let rows = sqlx::query(
        "SELECT o.person_id, p.email, o.role, o.created_at FROM owners o JOIN people p ON p.person_id = o.person_id
         WHERE o.workspace_id = $1 ORDER BY o.created_at, o.person_id",
    )
    .bind(workspace.0)
    .fetch_all(tx.connection())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Owner {
                person: PersonId(row.col("person_id")?),
                email: row.col("email")?,
                role: row.parsed("role")?,
                since: row.at("created_at")?,
            })
        })
        .collect()
}

fn is_last_owner(owners: &[Owner], person: PersonId) -> bool {
    let mut holders = owners.iter().filter(|o| o.role == Role::Owner).map(|o| o.person);
    holders.next() == Some(person) && holders.next().is_none()
}

/// An invitation is accepted once.
async fn use_up(tx: &mut Transaction, invitation: &Invitation) -> Result<(), Error> {
    let done = sqlx::query("DELETE FROM invitations WHERE workspace_id = $1 AND invitation_id = $2")
        .bind(invitation.workspace.0)
        .bind(invitation.id.0)
        .execute(tx.connection())
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound) }
}

/// One change of a workspace's people at a time.
async fn lock(tx: &mut Transaction, workspace: WorkspaceId) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("owners:{workspace}"))
        .execute(tx.connection())
        .await?;
    Ok(())
}
