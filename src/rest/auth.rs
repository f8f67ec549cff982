//! `/api/auth/…`: people sign up, log in, stay logged in, log out. Public, limited per address, and per
//! email where a password is tried. An unknown email and a wrong password get one answer, after the
//! same work.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::input::present;
use codash_domain::{ApiKey, LoginId, PersonId, Reach, Role, Scopes, Timestamp, WorkspaceId, text};
use codash_store::audit::{Actor, Entry, Outcome, Verb};
use codash_store::owners::{Refusal, Start};
use codash_store::people::{Membership, NewLogin, Person, Turned};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use tracing::Instrument;
use validator::{Validate, ValidationError};

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, Visitor, fault, visible_name};
use super::success;
use crate::app::App;
use crate::login::{ACCESS_SECONDS, LOGIN_DAYS, RefreshToken, access_token};

const SHORTEST_PASSWORD: usize = 15;
const LONGEST_SECRET: usize = 256;

/// As `email` below reads one, for the contract.
const EMAIL: &str = "^[!-?A-~]+@[!-?A-~]+$";

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["workspaceName"] }, { "required": ["apiKey"] }]))]
pub struct SignUp {
    #[validate(custom(function = "email"))]
    #[schemars(extend("minLength" = 3, "maxLength" = 254, "pattern" = EMAIL))]
    pub email: String,
    /// 15 to 256 characters.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 15, max = 256))]
    pub password: SecretString,
    /// The name of a new workspace. This or apiKey.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub workspace_name: Option<String>,
    /// A key that an agent registered with, to own its workspace instead of making a new one.
    #[serde(default, deserialize_with = "maybe_secret")]
    #[schemars(with = "Option<String>", extend("minLength" = 1, "maxLength" = 256))]
    pub api_key: Option<SecretString>,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIn {
    #[validate(custom(function = "email"))]
    #[schemars(extend("minLength" = 3, "maxLength" = 254, "pattern" = EMAIL))]
    pub email: String,
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub password: SecretString,
    /// Which of the person's workspaces; the one joined first when absent.
    #[serde(default, deserialize_with = "present")]
    pub workspace_id: Option<WorkspaceId>,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// Good once: the answer has the next one. Used a second time, it ends the login.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub refresh_token: SecretString,
    /// Another of the person's workspaces.
    #[serde(default, deserialize_with = "present")]
    pub workspace_id: Option<WorkspaceId>,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogOut {
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub refresh_token: SecretString,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accept {
    /// The invitation's token.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub token: SecretString,
    /// The email that was invited.
    #[validate(custom(function = "email"))]
    #[schemars(extend("minLength" = 3, "maxLength" = 254, "pattern" = EMAIL))]
    pub email: String,
    /// The person's password; a new one, of 15 to 256 characters, for who has none yet.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    pub password: SecretString,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    pub token_type: &'static str,
    /// Send it as Authorization: Bearer ….
    pub access_token: String,
    pub expires_in_seconds: i64,
    pub refresh_token: String,
    pub person_id: PersonId,
    /// The workspace that the access token opens.
    pub workspace_id: WorkspaceId,
    pub role: Role,
    pub workspaces: Vec<WorkspaceOf>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceOf {
    pub id: WorkspaceId,
    pub name: String,
    pub role: Role,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedOut {
    pub logged_out: bool,
}

pub async fn sign_up(
    State(app): State<App>,
    visitor: Visitor,
    Json(wanted): Json<SignUp>,
) -> Result<Response, ApiError> {
    app.limits.take_login(visitor.address).await?;
    let name = wanted.workspace_name.as_deref().map(|name| text::clean(name, LONGEST_NAME));
    let start = match (&name, &wanted.api_key) {
        (Some(name), None) => Start::Found { workspace: WorkspaceId::from_random(app.random()?), name },
        (None, Some(key)) => Start::Claim { workspace: claimable(&app, key, &visitor).await? },
        _ => return Err(ApiError::invalid_field("workspaceName", "give this or apiKey, one of the two")),
    };
    if matches!(start, Start::Found { .. }) {
        // A new workspace is one, whichever door it comes in by.
        app.limits.take_registration(visitor.address).await?;
    }
    let person = new_person(&app, &wanted.email, &wanted.password).await?;
    let by = visitor.by(&app, Actor::Person(person.id));
    app.store.sign_up(&person, &start, by).await.map_err(refused)?;
    tracing::info!(workspace.id = %start.workspace(), "a person signed up");
    log_in_as(&app, &visitor, person.id, Some(start.workspace()), StatusCode::CREATED).await
}

pub async fn log_in(State(app): State<App>, visitor: Visitor, Json(wanted): Json<LogIn>) -> Result<Response, ApiError> {
    app.limits.take_login(visitor.address).await?;
    let email = wanted.email.to_ascii_lowercase();
    let person = proven(&app, &visitor, &email, &wanted.password).await?.ok_or_else(wrong)?;
    log_in_as(&app, &visitor, person.id, wanted.workspace_id, StatusCode::OK).await
}

pub async fn refresh(
    State(app): State<App>,
    visitor: Visitor,
    Json(wanted): Json<Refresh>,
) -> Result<Response, ApiError> {
    app.limits.take_login(visitor.address).await?;
    let held = RefreshToken::parse(wanted.refresh_token.expose_secret()).ok_or_else(over)?;
    let next = RefreshToken::new(held.login, app.random()?);
    let turned = app.store.turn_login(held.login, &held.hash(), &next.hash(), app.clock.now()).await?;
    match turned {
        Turned::On(person) => {
            let of = app.store.workspaces_of(person).await?;
            let at = chosen(&of, wanted.workspace_id)?;
            Ok(success(StatusCode::OK, tokens(&app, person, &next, at, &of)))
        }
        Turned::Reused(person) => {
            tracing::warn!(person.id = %person, "a refresh token came twice: the login was ended");
            tell(&app, &visitor, person, Verb::OwnerTokenReused, Outcome::Refused).await;
            Err(over())
        }
        Turned::Unknown => Err(over()),
    }
}

/// Ends the login; what is no login any more is as good as ended.
pub async fn log_out(
    State(app): State<App>,
    visitor: Visitor,
    Json(wanted): Json<LogOut>,
) -> Result<Response, ApiError> {
    app.limits.take_login(visitor.address).await?;
    if let Some(held) = RefreshToken::parse(wanted.refresh_token.expose_secret()) {
        let now = app.clock.now();
        // Whoever ends a login must hold its token, and a used one ends it too.
        let next = RefreshToken::new(held.login, app.random()?);
        if let Turned::On(person) = app.store.turn_login(held.login, &held.hash(), &next.hash(), now).await? {
            app.store.end_login(held.login, now).await?;
            tell(&app, &visitor, person, Verb::OwnerLogout, Outcome::Done).await;
        }
    }
    Ok(success(StatusCode::OK, LoggedOut { logged_out: true }))
}

/// Joins a workspace by invitation, with a new password or the one that the person has.
pub async fn accept(
    State(app): State<App>,
    visitor: Visitor,
    Json(wanted): Json<Accept>,
) -> Result<Response, ApiError> {
    app.limits.take_login(visitor.address).await?;
    let hash = Sha256::digest(wanted.token.expose_secret().as_bytes()).into();
    let email = wanted.email.to_ascii_lowercase();
    let invitation = app.store.find_invitation(&hash).await?;
    let invitation = invitation.filter(|i| i.email == email && i.expires_at > app.clock.now());
    let invitation = invitation.ok_or_else(|| {
        let message = "this invitation is not valid: it is for another email, was used, taken back, or is too old";
        ApiError::new(StatusCode::NOT_FOUND, "invalid_invitation", message)
    })?;
    let (start, workspace) = (Start::Join(&invitation), invitation.workspace);
    let person = match app.store.find_person(&email).await? {
        Some(_) => {
            let person = proven(&app, &visitor, &email, &wanted.password).await?.ok_or_else(wrong)?;
            let by = visitor.by(&app, Actor::Person(person.id));
            app.store.join(person.id, &start, by).await.map_err(refused)?;
            person
        }
        None => {
            let person = new_person(&app, &email, &wanted.password).await?;
            let by = visitor.by(&app, Actor::Person(person.id));
            app.store.sign_up(&person, &start, by).await.map_err(refused)?;
            person
        }
    };
    log_in_as(&app, &visitor, person.id, Some(workspace), StatusCode::CREATED).await
}

/// The workspace of a key that proves its ownership: of the first generation, unbounded, usable now.
pub async fn claimable(app: &App, key: &SecretString, visitor: &Visitor) -> Result<WorkspaceId, ApiError> {
    app.limits.take_credential(visitor.address).await?;
    let key = ApiKey::parse(key.expose_secret().trim()).ok_or_else(ApiError::invalid_credential)?;
    let found = app.store.find_key(&key.hash()).await?.ok_or_else(ApiError::invalid_credential)?;
    let grant = &found.grant;
    let is_usable =
        grant.expires_at.is_none_or(|end| end > app.clock.now()) && Reach::admits(&grant.addresses, visitor.address);
    let holds_all = Scopes::full().iter().all(|scope| grant.scopes.allows(scope));
    if !is_usable || found.depth > 0 || grant.accounts.is_some() || !holds_all {
        let message = "apiKey: a workspace is claimed with a key that is not narrowed, such as the one of its \
                       registration";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "key_too_narrow", message));
    }
    Ok(grant.workspace)
}

/// The refusals of taking on a role.
pub fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::LastOwner => ApiError::new(
            StatusCode::CONFLICT,
            "last_owner",
            "the workspace would be left without an owner: make another person owner first",
        ),
        Refusal::Claimed => ApiError::new(
            StatusCode::CONFLICT,
            "already_claimed",
            "the workspace has owners already: ask one of them for an invitation",
        ),
        Refusal::Store(codash_store::Error::Conflict { constraint }) if constraint.starts_with("people") => {
            ApiError::conflict("this email is taken: log in instead")
        }
        Refusal::Store(error) => error.into(),
    }
}

pub fn workspaces(of: &[Membership]) -> Vec<WorkspaceOf> {
    of.iter().map(|m| WorkspaceOf { id: m.workspace, name: m.name.clone(), role: m.role }).collect()
}

/// A password alone must be long; nothing else is asked of it.
pub fn long_enough(field: &str, password: &SecretString) -> Result<(), ApiError> {
    let is_long = password.expose_secret().chars().count() >= SHORTEST_PASSWORD;
    if is_long { Ok(()) } else { Err(ApiError::invalid_field(field, "must be at least 15 characters long")) }
}

async fn new_person(app: &App, email: &str, password: &SecretString) -> Result<Person, ApiError> {
    long_enough("password", password)?;
    let id = PersonId::from_random(app.random()?);
    Ok(Person { id, email: email.to_ascii_lowercase(), password: app.passwords.hash(password).await? })
}

/// The person whose email and password these are.
async fn proven(
    app: &App,
    visitor: &Visitor,
    email: &str,
    password: &SecretString,
) -> Result<Option<Person>, ApiError> {
    app.limits.take_guess(email).await?;
    let person = app.store.find_person(email).await?;
    let checked = app.passwords.check(password, person.as_ref().map(|p| p.password.as_str())).await?;
    let Some(person) = person else { return Ok(None) };
    if !checked.is_right {
        // Beside the answer, which must take as long as for an email that nobody has.
        let (app, visitor, id) = (app.clone(), visitor.clone(), person.id);
        let told = async move { tell(&app, &visitor, id, Verb::OwnerLoginRefused, Outcome::Refused).await };
        tokio::spawn(told.in_current_span());
        return Ok(None);
    }
    if let Some(upgraded) = &checked.upgraded {
        app.store.upgrade_password(person.id, &person.password, upgraded).await?;
    }
    Ok(Some(person))
}

async fn log_in_as(
    app: &App,
    visitor: &Visitor,
    person: PersonId,
    wanted: Option<WorkspaceId>,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let of = app.store.workspaces_of(person).await?;
    let at = chosen(&of, wanted)?;
    let (now, token) = (app.clock.now(), RefreshToken::new(LoginId::from_random(app.random()?), app.random()?));
    let login = NewLogin { id: token.login, person, hash: token.hash(), now, expires_at: now.plus(LOGIN_DAYS) };
    app.store.open_login(&login).await?;
    let by = visitor.by(app, Actor::Person(person));
    app.audit.note(at.workspace, Entry::done(by, Verb::OwnerLogin, person.to_string()));
    Ok(success(status, tokens(app, person, &token, at, &of)))
}

fn chosen(of: &[Membership], wanted: Option<WorkspaceId>) -> Result<&Membership, ApiError> {
    let chosen = of.iter().find(|m| wanted.is_none_or(|wanted| m.workspace == wanted));
    chosen.ok_or_else(|| {
        let message = "you belong to no such workspace: leave workspaceId out, or ask its owners for an invitation";
        ApiError::new(StatusCode::FORBIDDEN, "no_workspace", message)
    })
}

fn tokens(app: &App, person: PersonId, refresh: &RefreshToken, at: &Membership, of: &[Membership]) -> LoggedIn {
    let now: Timestamp = app.clock.now();
    let key = |purpose: &str| app.store.derived_keys(purpose);
    LoggedIn {
        token_type: "Bearer",
        access_token: access_token(&key, (person, at.workspace, refresh.login), now),
        expires_in_seconds: ACCESS_SECONDS,
        refresh_token: refresh.reveal(),
        person_id: person,
        workspace_id: at.workspace,
        role: at.role,
        workspaces: workspaces(of),
    }
}

/// Notes something about a person in each of their workspaces.
async fn tell(app: &App, visitor: &Visitor, person: PersonId, verb: Verb, outcome: Outcome) {
    match app.store.workspaces_of(person).await {
        Ok(of) => {
            for membership in of {
                let by = visitor.by(app, Actor::Person(person));
                let entry = Entry { outcome, ..Entry::done(by, verb, person.to_string()) };
                app.audit.note(membership.workspace, entry);
            }
        }
        Err(error) => tracing::error!(%error, "what a person did could not be noted"),
    }
}

fn wrong() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_login", "the email or the password is wrong")
}

fn over() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "login_over", "the login is over: log in again")
}

/// Validator: one at sign with something on both sides, nothing unseen, no blank. Whether it reaches
/// anybody is not known.
pub fn email(email: &str) -> Result<(), ValidationError> {
    let is_plain = email.is_ascii() && email.bytes().all(|b| b.is_ascii_graphic()) && email.len() <= 254;
    let is_address = email.split_once('@').is_some_and(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains('@'));
    if is_plain && is_address { Ok(()) } else { Err(fault("must be an email address of at most 254 ASCII characters")) }
}

/// Never shown again, and by no message repeated.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_sane = (1..=LONGEST_SECRET).contains(&text.chars().count()) && !text.contains('\0');
    if is_sane { Ok(text.into()) } else { Err(serde::de::Error::custom("expected 1 to 256 characters")) }
}

fn maybe_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    secret(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_checked_by_its_form_alone() {
        for good in ["a@b", "A.Person+desk@Example.com"] {
            assert!(email(good).is_ok(), "{good}");
        }
        for bad in ["", "@", "a@", "@b", "a b@c", "a@b@c", "é@example.com", "a@b\n", &format!("{}@b", "a".repeat(253))]
        {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
