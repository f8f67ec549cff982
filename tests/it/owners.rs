//! People: they sign up, log in, share a workspace by roles, and what they lose is lost at once.

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::TimeDelta;
use codash::app::App;
use codash_analytics::CursorKey;
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_domain::{FixedClock, Scope, Scopes};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{Agent, World, generous};
use crate::tenants::now;

pub const PASSWORD: &str = "a long enough password";

pub async fn send(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub async fn post(agent: &Agent, path: &str, body: &Value) -> (u16, Value) {
    with_body(agent.request(Method::POST, path), body).await
}

pub async fn with_body(request: reqwest::RequestBuilder, body: &Value) -> (u16, Value) {
    send(request.header("content-type", "application/json").body(body.to_string())).await
}

pub async fn get(agent: &Agent, path: &str) -> (u16, Value) {
    send(agent.request(Method::GET, path)).await
}

pub async fn delete(agent: &Agent, path: &str) -> (u16, Value) {
    send(agent.request(Method::DELETE, path)).await
}

async fn public(world: &World, path: &str, body: &Value) -> (u16, Value) {
    with_body(world.public(Method::POST, path), body).await
}

/// A person who owns the world's workspace.
pub async fn owner(world: &World) -> Agent {
    let body = json!({ "email": "owner@desk.example", "password": PASSWORD, "apiKey": world.tenant.key.reveal() });
    let (status, reply) = public(world, "/api/auth/signup", &body).await;
    assert_eq!(status, 201, "{reply}");
    person(world, &reply)
}

/// A person of another workspace.
pub async fn other_owner(world: &World, email: &str) -> Agent {
    let body = json!({ "email": email, "password": PASSWORD, "workspaceName": "theirs" });
    let (status, reply) = public(world, "/api/auth/signup", &body).await;
    assert_eq!(status, 201, "{reply}");
    person(world, &reply)
}

/// A further person of the owner's workspace.
pub async fn colleague(world: &World, owner: &Agent, email: &str, role: &str) -> (Agent, Value) {
    let (status, invited) = post(owner, "/api/owners/invitations", &json!({ "email": email, "role": role })).await;
    assert_eq!(status, 201, "{invited}");
    let body = json!({ "token": invited["data"]["token"], "email": email, "password": PASSWORD });
    let (status, reply) = public(world, "/api/auth/accept", &body).await;
    assert_eq!((status, &reply["data"]["role"]), (201, &json!(role)), "{reply}");
    (person(world, &reply), reply)
}

fn person(world: &World, reply: &Value) -> Agent {
    Agent { address: world.address, key: reply["data"]["accessToken"].as_str().unwrap().to_owned() }
}

/// The same service once more on the same database, its clock ahead by so much; not served yet.
pub fn instance(world: &World, ahead: TimeDelta) -> App {
    let clock = Arc::new(FixedClock::at(now().plus(ahead)));
    let endpoints = world.replay.endpoints();
    let venues = Venues { http: Http::new().unwrap(), endpoints, clock: clock.clone() };
    App::build(world.db.store().clone(), venues, CursorKey::new([5; 32]), clock, generous())
}

/// [`instance`], served on a port of its own.
pub async fn second_instance(world: &World, ahead: TimeDelta) -> (SocketAddr, DropGuard) {
    let app = instance(world, ahead);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(codash::server::serve(app, listener, stop.clone()));
    (address, stop.drop_guard())
}

#[tokio::test]
async fn a_login_opens_the_reads_of_its_workspace_over_rest_and_mcp_and_no_other() {
    let world = World::new().await;
    let account = world.account("Main").await;
    let owner = owner(&world).await;
    assert_eq!(owner.call("list_accounts", json!({})).await["accounts"][0]["id"], json!(account));
    let (status, accounts) = get(&owner, "/api/accounts").await;
    assert_eq!((status, &accounts["data"]["count"]), (200, &json!(1)));
    let other = other_owner(&world, "other@desk.example").await;
    assert_eq!(get(&other, "/api/accounts").await.1["data"]["count"], json!(0));
    let stolen = format!("/api/portfolio?accountId={account}");
    assert_eq!(get(&other, &stolen).await.0, 403);
    // One who signed up for a workspace of their own has no key until they make one.
    assert_eq!(get(&other, "/api/keys").await.1["data"]["count"], json!(0));
    for spoiled in [format!("{}x", owner.key), owner.key[..owner.key.len() - 1].to_owned(), "x.y.z".to_owned()] {
        let (status, reply) = get(&Agent { address: world.address, key: spoiled }, "/api/accounts").await;
        assert_eq!((status, &reply["code"]), (401, &json!("invalid_credential")));
    }
}

#[tokio::test]
async fn an_unknown_email_and_a_wrong_password_get_one_answer() {
    let world = World::new().await;
    owner(&world).await;
    let login = |email: &str, password: &str| json!({ "email": email, "password": password });
    let (status, reply) = public(&world, "/api/auth/login", &login("Owner@Desk.example", PASSWORD)).await;
    assert_eq!((status, &reply["data"]["role"]), (200, &json!("owner")), "{reply}");
    let mut refusals = Vec::new();
    for body in [login("owner@desk.example", "another long password"), login("nobody@desk.example", PASSWORD)] {
        let (status, mut reply) = public(&world, "/api/auth/login", &body).await;
        reply.as_object_mut().unwrap().remove("requestId");
        refusals.push((status, reply));
    }
    assert_eq!(refusals[0].0, 401);
    assert_eq!(refusals[0], refusals[1]);
    let again = json!({ "email": "owner@desk.example", "password": PASSWORD, "workspaceName": "x" });
    assert_eq!(public(&world, "/api/auth/signup", &again).await.0, 409);
    let short = json!({ "email": "new@desk.example", "password": "fourteen chars", "workspaceName": "x" });
    assert_eq!(public(&world, "/api/auth/signup", &short).await.0, 400);
}

#[tokio::test]
async fn a_password_is_kept_as_argon2id_and_a_weaker_hash_is_upgraded_at_login() {
    let world = World::new().await;
    owner(&world).await;
    let kept: String = world.db.admin("SELECT password FROM people").await[0].get(0);
    assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
    // argon2id of "password" with the salt "somesalt", 64 MiB: the reference implementation's own example.
    let older = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    world.db.admin(&format!("UPDATE people SET password = '{older}' RETURNING 1")).await;
    let body = json!({ "email": "owner@desk.example", "password": "password" });
    assert_eq!(public(&world, "/api/auth/login", &body).await.0, 200);
    let kept: String = world.db.admin("SELECT password FROM people").await[0].get(0);
    assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
    assert_eq!(public(&world, "/api/auth/login", &body).await.0, 200);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_second_use_ends_the_login_everywhere() {
    let world = World::new().await;
    owner(&world).await;
    let (other, _served) = second_instance(&world, TimeDelta::zero()).await;
    let body = json!({ "email": "owner@desk.example", "password": PASSWORD });
    let (_, login) = public(&world, "/api/auth/login", &body).await;
    let first = json!({ "refreshToken": login["data"]["refreshToken"] });
    let (status, second) = public(&world, "/api/auth/refresh", &first).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["data"]["refreshToken"], login["data"]["refreshToken"]);
    let there = Agent { address: other, ..person(&world, &second) };
    assert_eq!(get(&there, "/api/owners").await.0, 200);
    let (status, reply) = public(&world, "/api/auth/refresh", &first).await;
    assert_eq!((status, &reply["code"]), (401, &json!("login_over")));
    let latest = json!({ "refreshToken": second["data"]["refreshToken"] });
    assert_eq!(public(&world, "/api/auth/refresh", &latest).await.0, 401, "the thief's and the owner's alike");
    assert_eq!(get(&there, "/api/owners").await.0, 401, "the access token too, on the other instance");
}

#[tokio::test]
async fn after_logout_and_after_ten_minutes_an_access_token_opens_nothing() {
    let world = World::new().await;
    owner(&world).await;
    let body = json!({ "email": "owner@desk.example", "password": PASSWORD });
    let (_, login) = public(&world, "/api/auth/login", &body).await;
    let here = person(&world, &login);
    let (later, _served) = second_instance(&world, TimeDelta::minutes(11)).await;
    assert_eq!(get(&here, "/api/owners").await.0, 200);
    assert_eq!(get(&Agent { address: later, ..here.clone() }, "/api/owners").await.0, 401);
    let refresh = json!({ "refreshToken": login["data"]["refreshToken"] });
    assert_eq!(public(&world, "/api/auth/logout", &refresh).await.0, 200);
    assert_eq!(get(&here, "/api/owners").await.0, 401);
    assert_eq!(public(&world, "/api/auth/refresh", &refresh).await.0, 401);
}

#[tokio::test]
async fn a_new_password_ends_every_other_login_and_needs_the_old_one() {
    let world = World::new().await;
    let first = owner(&world).await;
    let login = |password: &str| json!({ "email": "owner@desk.example", "password": password });
    let (_, second) = public(&world, "/api/auth/login", &login(PASSWORD)).await;
    let second = person(&world, &second);
    let change = |old: &str, new: &str| json!({ "currentPassword": old, "newPassword": new });
    let (status, reply) =
        post(&second, "/api/auth/password", &change("not the password at all", "another long one")).await;
    assert_eq!((status, &reply["code"]), (403, &json!("wrong_password")));
    assert_eq!(post(&second, "/api/auth/password", &change(PASSWORD, "too short")).await.0, 400);
    let (status, reply) = post(&second, "/api/auth/password", &change(PASSWORD, "another long one")).await;
    assert_eq!((status, &reply["data"]["loginsEnded"]), (200, &json!(1)), "{reply}");
    assert_eq!((get(&first, "/api/owners").await.0, get(&second, "/api/owners").await.0), (401, 200));
    assert_eq!(public(&world, "/api/auth/login", &login(PASSWORD)).await.0, 401);
    assert_eq!(public(&world, "/api/auth/login", &login("another long one")).await.0, 200);
}

#[tokio::test]
async fn roles_decide_who_writes_and_a_workspace_keeps_an_owner() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let (admin, _) = colleague(&world, &owner, "admin@desk.example", "admin").await;
    let (viewer, viewed) = colleague(&world, &owner, "viewer@desk.example", "viewer").await;
    let viewer_id = viewed["data"]["personId"].as_str().unwrap();
    let ai_key = json!({ "provider": "anthropic", "key": "sk-ant-REDACTED" });
    for (agent, read, write, keys, role) in
        [(&owner, 200, 201, 200, 200), (&admin, 200, 200, 200, 403), (&viewer, 200, 403, 403, 403)]
    {
        assert_eq!(get(agent, "/api/accounts").await.0, read);
        assert_eq!(post(agent, "/api/settings/ai-keys", &ai_key).await.0, write);
        assert_eq!(get(agent, "/api/keys").await.0, keys);
        let path = format!("/api/owners/{viewer_id}");
        let changed = with_body(agent.request(Method::PATCH, &path), &json!({ "role": "viewer" })).await;
        assert_eq!(changed.0, role, "{}", changed.1);
    }
    let wish = json!({ "email": "boss@desk.example", "role": "owner" });
    assert_eq!(post(&admin, "/api/owners/invitations", &wish).await.1["code"], json!("insufficient_role"));
    let (_, owners) = get(&viewer, "/api/owners").await;
    let people = owners["data"]["owners"].as_array().unwrap();
    let first = people.iter().find(|p| p["role"] == json!("owner")).unwrap()["id"].as_str().unwrap();
    assert_eq!(owners["data"]["count"], json!(3));
    let leave = delete(&owner, &format!("/api/owners/{first}")).await;
    assert_eq!((leave.0, &leave.1["code"]), (409, &json!("last_owner")));
    assert_eq!(delete(&owner, &format!("/api/owners/{viewer_id}")).await.0, 200);
    assert_eq!(get(&viewer, "/api/accounts").await.0, 401, "removed is removed, whatever the token says");
    let stranger = other_owner(&world, "other@desk.example").await;
    assert_eq!(delete(&stranger, &format!("/api/owners/{first}")).await.0, 404);
}

#[tokio::test]
async fn an_invitation_is_for_its_email_once() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let wish = json!({ "email": "New@desk.example", "role": "viewer" });
    let (_, invited) = post(&owner, "/api/owners/invitations", &wish).await;
    let accept = |email: &str| json!({ "token": invited["data"]["token"], "email": email, "password": PASSWORD });
    let (status, reply) = public(&world, "/api/auth/accept", &accept("thief@desk.example")).await;
    assert_eq!((status, &reply["code"]), (404, &json!("invalid_invitation")));
    assert_eq!(public(&world, "/api/auth/accept", &accept("new@desk.example")).await.0, 201);
    assert_eq!(public(&world, "/api/auth/accept", &accept("new@desk.example")).await.0, 404);
    let (_, taken) =
        post(&owner, "/api/owners/invitations", &json!({ "email": "b@desk.example", "role": "admin" })).await;
    let path = format!("/api/owners/invitations/{}", taken["data"]["id"].as_str().unwrap());
    let stranger = other_owner(&world, "other@desk.example").await;
    assert_eq!(delete(&stranger, &path).await.0, 404);
    assert_eq!(delete(&owner, &path).await.0, 200);
    let late = json!({ "token": taken["data"]["token"], "email": "b@desk.example", "password": PASSWORD });
    assert_eq!(public(&world, "/api/auth/accept", &late).await.0, 404);
    // A person of another workspace joins with the password that they have, and then has both.
    let wish = json!({ "email": "other@desk.example", "role": "viewer" });
    let (_, invited) = post(&owner, "/api/owners/invitations", &wish).await;
    let wrong = json!({ "token": invited["data"]["token"], "email": "other@desk.example", "password": "not the right password" });
    assert_eq!(public(&world, "/api/auth/accept", &wrong).await.0, 401);
    let right = json!({ "token": invited["data"]["token"], "email": "other@desk.example", "password": PASSWORD });
    let (status, reply) = public(&world, "/api/auth/accept", &right).await;
    assert_eq!((status, reply["data"]["workspaces"].as_array().unwrap().len()), (201, 2), "{reply}");
    assert_eq!(reply["data"]["workspaceId"], json!(world.tenant.workspace));
}

#[tokio::test]
async fn a_workspace_is_claimed_once_and_by_a_whole_key_alone() {
    let world = World::new().await;
    let person = other_owner(&world, "person@desk.example").await;
    let narrow = world.key(|key| key.scopes = Scopes::new([Scope::Read])).await;
    let claim = |key: &str| json!({ "apiKey": key });
    let (status, reply) = post(&person, "/api/owners/claim", &claim(&narrow.key)).await;
    assert_eq!((status, &reply["code"]), (403, &json!("key_too_narrow")));
    assert_eq!(post(&person, "/api/owners/claim", &claim("kv_live_x")).await.0, 401);
    let (status, reply) = post(&person, "/api/owners/claim", &claim(world.tenant.key.reveal())).await;
    assert_eq!((status, reply["data"]["workspaces"].as_array().unwrap().len()), (200, 2), "{reply}");
    let second = other_owner(&world, "second@desk.example").await;
    let (status, reply) = post(&second, "/api/owners/claim", &claim(world.tenant.key.reveal())).await;
    assert_eq!((status, &reply["code"]), (409, &json!("already_claimed")));
    let body = json!({ "email": "person@desk.example", "password": PASSWORD, "workspaceId": world.tenant.workspace });
    let (_, login) = public(&world, "/api/auth/login", &body).await;
    assert_eq!(login["data"]["workspaceId"], json!(world.tenant.workspace));
    let foreign =
        json!({ "email": "second@desk.example", "password": PASSWORD, "workspaceId": world.tenant.workspace });
    assert_eq!(public(&world, "/api/auth/login", &foreign).await.0, 403);
}

#[tokio::test]
async fn an_address_tries_twenty_logins_a_minute() {
    let mut config = generous();
    config.limits.logins_per_minute = 20;
    let world = World::with(config).await;
    let body = json!({ "refreshToken": "none" });
    for _ in 0..20 {
        assert_eq!(public(&world, "/api/auth/refresh", &body).await.0, 401);
    }
    for path in ["/api/auth/refresh", "/api/auth/logout"] {
        assert_eq!(public(&world, path, &body).await.0, 429, "{path}");
    }
}
