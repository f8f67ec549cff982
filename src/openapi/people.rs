//! People, keys and the audit in the contract.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{answer, body, guarded, parameters, with_errors};
use crate::rest::{Success, audit, auth, keys, owners};

pub fn paths() -> Value {
    json!({
        "/api/auth/signup": { "post": person_start::<auth::SignUp>("signUp",
            "Sign up: a person, and a workspace of their own or one that an agent registered",
            "201", &["403", "409"]) },
        "/api/auth/login": { "post": person_start::<auth::LogIn>("logIn", "Log in with email and password",
            "200", &["403"]) },
        "/api/auth/refresh": { "post": person_start::<auth::Refresh>("refreshLogin",
            "Exchange the refresh token for the next one and a new access token", "200", &["403"]) },
        "/api/auth/accept": { "post": person_start::<auth::Accept>("acceptInvitation",
            "Join a workspace by invitation", "201", &["404", "409"]) },
        "/api/auth/logout": { "post": {
            "operationId": "logOut",
            "summary": "End a login: its tokens open nothing from now on",
            "description": "Public. Limited per address.",
            "security": [],
            "requestBody": body::<auth::LogOut>(),
            "responses": with_errors(&[("200", answer::<Success<auth::LoggedOut>>("It is over", &[]))],
                &["400", "408", "413", "415", "429", "500", "504"]),
        }},
        "/api/auth/password": { "post": {
            "operationId": "changePassword",
            "summary": "Change one's password: every other login of the person ends",
            "description": PEOPLE,
            "requestBody": body::<owners::ChangePassword>(),
            "responses": guarded::<Success<owners::PasswordChanged>>("200", "It is changed", &CHANGES_OF_ONE),
        }},
        "/api/owners": { "get": {
            "operationId": "listOwners",
            "summary": "The people of the workspace and their roles",
            "description": PEOPLE,
            "responses": guarded::<Success<owners::Owners>>("200", "The people", &["405"]),
        }},
        "/api/owners/claim": { "post": {
            "operationId": "claimWorkspace",
            "summary": "Own a workspace that an agent registered and nobody owns yet",
            "description": PEOPLE,
            "requestBody": body::<owners::Claim>(),
            "responses": guarded::<Success<owners::Claimed>>("200", "The person's workspaces", &CHANGES),
        }},
        "/api/owners/invitations": { "post": {
            "operationId": "inviteOwner",
            "summary": "Invite a person; the token is shown once and good for a week",
            "description": format!("{PEOPLE} Admins invite viewers and admins, owners everybody. No mail is sent."),
            "requestBody": body::<owners::Invite>(),
            "responses": guarded::<Success<owners::Invited>>("201", "The invitation", &CHANGES),
        }},
        "/api/owners/invitations/{id}": { "delete": {
            "operationId": "uninviteOwner",
            "summary": "Take an invitation back",
            "description": format!("{PEOPLE} Role admin."),
            "parameters": [id()],
            "responses": guarded::<Success<owners::Removed>>("200", "It is taken back", &["404", "405"]),
        }},
        "/api/owners/{id}": {
            "patch": {
                "operationId": "setRole",
                "summary": "Change a person's role",
                "description": format!("{PEOPLE} Role owner."),
                "parameters": [id()],
                "requestBody": body::<owners::SetRole>(),
                "responses": guarded::<Success<owners::OwnerAnswer>>("200", "The person", &CHANGES_OF_ONE),
            },
            "delete": {
                "operationId": "removeOwner",
                "summary": "Remove a person from the workspace: their tokens open nothing from now on",
                "description": format!("{PEOPLE} Role owner; everybody may leave."),
                "parameters": [id()],
                "responses": guarded::<Success<owners::Removed>>("200", "The person is removed", &["404", "405", "409"]),
            },
        },
        "/api/keys": {
            "get": {
                "operationId": "listKeys",
                "summary": "Every key of the workspace; never a key itself",
                "description": format!("{PEOPLE} Role admin."),
                "responses": guarded::<Success<keys::Keys>>("200", "The keys", &["405"]),
            },
            "post": {
                "operationId": "createKey",
                "summary": "Make a key, which is shown once",
                "description": format!("{PEOPLE} Role admin."),
                "requestBody": body::<keys::MakeKey>(),
                "responses": guarded::<Success<keys::KeyShown>>("201", "The key", &CHANGES),
            },
        },
        "/api/keys/{id}": { "delete": {
            "operationId": "revokeKey",
            "summary": "Revoke a key and every key that it made, at once",
            "description": format!("{PEOPLE} Role admin."),
            "parameters": [id()],
            "responses": guarded::<Success<keys::KeysRevoked>>("200", "What was revoked", &["404", "405"]),
        }},
        "/api/keys/{id}/rotate": { "post": {
            "operationId": "rotateKey",
            "summary": "Give a key another secret; the old one is taken for a while",
            "description": format!("{PEOPLE} Role admin. A secret that is still taken from a rotation before ends now."),
            "parameters": [id()],
            "requestBody": body::<keys::Rotate>(),
            "responses": guarded::<Success<keys::KeyShown>>("200", "The key with its new secret", &CHANGES_OF_ONE),
        }},
        "/api/keys/self": {
            "get": {
                "operationId": "getOwnKey",
                "summary": "The key that asks",
                "description": KEYS,
                "responses": guarded::<Success<keys::KeyAnswer>>("200", "The key", &["405"]),
            },
            "delete": {
                "operationId": "revokeOwnKey",
                "summary": "Revoke the key that asks and every key that it made",
                "description": KEYS,
                "responses": guarded::<Success<keys::KeysRevoked>>("200", "What was revoked", &["404", "405"]),
            },
        },
        "/api/keys/self/children": {
            "get": {
                "operationId": "listChildKeys",
                "summary": "The keys that this key made, and they made",
                "description": KEYS,
                "responses": guarded::<Success<keys::Keys>>("200", "The keys", &["405"]),
            },
            "post": {
                "operationId": "attenuateKey",
                "summary": "Make a narrower key, which is shown once",
                "description": format!("{KEYS} Fewer scopes, fewer accounts, a shorter life, fewer addresses, a lower \
                    limit: never more of anything (403 wider_than_maker). What is left out is as this key's. Three \
                    generations deep at most."),
                "requestBody": body::<keys::MakeKey>(),
                "responses": guarded::<Success<keys::KeyShown>>("201", "The key", &CHANGES),
            },
        },
        "/api/keys/self/children/{id}": { "delete": {
            "operationId": "revokeChildKey",
            "summary": "Revoke a key that this key made, and every key that it made",
            "description": KEYS,
            "parameters": [id()],
            "responses": guarded::<Success<keys::KeysRevoked>>("200", "What was revoked", &["404", "405"]),
        }},
        "/api/audit": { "get": {
            "operationId": "listAudit",
            "summary": "Who did what, from where, when: newest first, a page at a time",
            "description": format!("{PEOPLE} Role admin. Every tool call, every request, every change. Arguments appear \
                as their SHA-256: of a tool call, of compact JSON with sorted names; of a REST question, of path and \
                query as sent, a line feed, and the body. An entry audit.gap says how many requests could not be recorded."),
            "parameters": parameters::<audit::AuditQuery>(),
            "responses": guarded::<Success<audit::AuditAnswer>>("200", "The entries", &["400", "405"]),
        }},
    })
}

const PEOPLE: &str = "For people: needs the access token of a login; an API key gets 405.";
const KEYS: &str = "For API keys, of any scope; the access token of a login gets 405.";
const CHANGES: [&str; 6] = ["400", "405", "408", "409", "413", "415"];
const CHANGES_OF_ONE: [&str; 7] = ["400", "404", "405", "408", "409", "413", "415"];

/// A public route that ends in a login.
fn person_start<Q: JsonSchema>(id: &str, summary: &str, status: &str, more: &[&'static str]) -> Value {
    let mut errors = vec!["400", "401", "408", "413", "415", "429", "500", "504"];
    errors.extend(more);
    errors.sort_unstable();
    json!({
        "operationId": id,
        "summary": summary,
        "description": "Public. Limited per address, and per email where a password is tried.",
        "security": [],
        "requestBody": body::<Q>(),
        "responses": with_errors(&[(status, answer::<Success<auth::LoggedIn>>("The tokens of the login", &[]))], &errors),
    })
}

fn id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } })
}
