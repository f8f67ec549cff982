//! `/api/owners…`: the people of a workspace. For people alone: an API key gets 405.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_domain::{InvitationId, PersonId, Role, Timestamp};
use codash_store::owners::{NewInvitation, Owner, Start};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use validator::Validate;

use super::auth::{WorkspaceOf, claimable, email, long_enough, refused, secret, workspaces};
use super::error::ApiError;
use super::extract::{Json, Visitor};
use super::success;
use crate::app::App;
use crate::auth::Person;
use crate::login::INVITATION_DAYS;

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invite {
    #[validate(custom(function = "email"))]
    #[schemars(length(min = 3, max = 254))]
    pub email: String,
    pub role: Role,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetRole {
    pub role: Role,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// A key of the workspace that is not narrowed, such as the one of its registration.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub api_key: SecretString,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub current_password: SecretString,
    /// 15 to 256 characters.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 15, max = 256))]
    pub new_password: SecretString,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordChanged {
    /// The person's other logins, which open nothing from now on.
    pub logins_ended: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerAnswer {
    pub id: PersonId,
    pub email: String,
    pub role: Role,
    pub since: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owners {
    pub count: usize,
    /// The first one in front.
    pub owners: Vec<OwnerAnswer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    pub id: InvitationId,
    pub email: String,
    pub role: Role,
    pub expires_at: Timestamp,
    /// For POST /api/auth/accept. Shown here and never again: hand it to the person.
    pub token: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    pub removed: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    /// The person's workspaces now. Refresh with workspaceId for a token of another one.
    pub workspaces: Vec<WorkspaceOf>,
}

pub async fn list(State(app): State<App>, person: Person) -> Result<Response, ApiError> {
    let owners: Vec<OwnerAnswer> =
        app.store.list_owners(person.caller.grant.workspace).await?.into_iter().map(Into::into).collect();
    Ok(success(StatusCode::OK, Owners { count: owners.len(), owners }))
}

/// An admin invites viewers and admins; owners are invited by owners.
pub async fn invite(State(app): State<App>, person: Person, Json(wanted): Json<Invite>) -> Result<Response, ApiError> {
    person.require(wanted.role.max(Role::Admin))?;
    let token = format!("kvi_{}", hex::encode(app.random::<32>()?));
    let expires_at = app.clock.now().plus(INVITATION_DAYS);
    let invitation = NewInvitation {
        id: InvitationId::from_random(app.random()?),
        email: wanted.email.to_ascii_lowercase(),
        role: wanted.role,
        hash: Sha256::digest(token.as_bytes()).into(),
        invited_by: person.id,
        expires_at,
    };
    app.store.invite(person.caller.grant.workspace, &invitation, person.caller.by(&app)).await?;
    let NewInvitation { id, email, role, .. } = invitation;
    Ok(success(StatusCode::CREATED, Invited { id, email, role, expires_at, token }))
}

pub async fn uninvite(State(app): State<App>, person: Person, Path(id): Path<String>) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    let id: InvitationId = id.parse().map_err(|_| ApiError::not_found())?;
    app.store.uninvite(person.caller.grant.workspace, id, person.caller.by(&app)).await?;
    Ok(success(StatusCode::OK, Removed { removed: true }))
}

pub async fn set_role(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Json(wanted): Json<SetRole>,
) -> Result<Response, ApiError> {
    person.require(Role::Owner)?;
    let by = person.caller.by(&app);
    let changed = app.store.set_role(person.caller.grant.workspace, person_id(&id)?, wanted.role, by).await;
    Ok(success(StatusCode::OK, OwnerAnswer::from(changed.map_err(refused)?)))
}

/// Owners remove others; everybody may leave.
pub async fn remove(State(app): State<App>, person: Person, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id = person_id(&id)?;
    if id != person.id {
        person.require(Role::Owner)?;
    }
    let by = person.caller.by(&app);
    app.store.remove_owner(person.caller.grant.workspace, id, by).await.map_err(refused)?;
    Ok(success(StatusCode::OK, Removed { removed: true }))
}

/// A workspace that an agent registered gets its first owner.
pub async fn claim(
    State(app): State<App>,
    person: Person,
    visitor: Visitor,
    Json(wanted): Json<Claim>,
) -> Result<Response, ApiError> {
    let workspace = claimable(&app, &wanted.api_key, &visitor).await?;
    app.store.join(person.id, &Start::Claim { workspace }, person.caller.by(&app)).await.map_err(refused)?;
    let of = app.store.workspaces_of(person.id).await?;
    Ok(success(StatusCode::OK, Claimed { workspaces: workspaces(&of) }))
}

/// A new password; every other login of the person ends with it.
pub async fn change_password(
    State(app): State<App>,
    person: Person,
    Json(wanted): Json<ChangePassword>,
) -> Result<Response, ApiError> {
    long_enough("newPassword", &wanted.new_password)?;
    let known = app.store.get_person(person.id).await?.ok_or_else(ApiError::invalid_credential)?;
    app.limits.take_guess(&known.email).await?;
    if !app.passwords.check(&wanted.current_password, Some(&known.password)).await?.is_right {
        let message = "currentPassword: is not the password";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_password", message));
    }
    let (new, by) = (app.passwords.hash(&wanted.new_password).await?, person.caller.by(&app));
    let who = (&known, person.login);
    let logins_ended = app.store.change_password(person.caller.grant.workspace, who, &new, by).await?;
    Ok(success(StatusCode::OK, PasswordChanged { logins_ended }))
}

fn person_id(text: &str) -> Result<PersonId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

impl From<Owner> for OwnerAnswer {
    fn from(owner: Owner) -> Self {
        Self { id: owner.person, email: owner.email, role: owner.role, since: owner.since }
    }
}
