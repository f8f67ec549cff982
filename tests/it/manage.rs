//! Accounts and portfolio groups as things that one manages: the tree, versions, repeated requests, and
//! what removing does to history.

use std::time::Duration;

use codash::dev::replay::Replay;
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_collector::{Settings, pass, schedule};
use codash_domain::{AccountId, FixedClock, Scopes};
use codash_store::Error;
use codash_store::audit::By;
use codash_store::idempotency::Begun;
use codash_store::ingest::PageWrite;
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::Row;

use crate::agent::{Agent, World, venue_keys};
use crate::ingest::fill;
use crate::tenants::now;

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }
}

async fn call(agent: &Agent, method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
    let mut request = agent.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// The data of a change that succeeds.
async fn done(agent: &Agent, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut reply = call(agent, method, path, body, &[]).await;
    assert!((200..300).contains(&reply.status), "{path}: {}", reply.body);
    reply.body["data"].take()
}

async fn data(agent: &Agent, path: &str) -> Value {
    done(agent, Method::GET, path, None).await
}

pub async fn group(agent: &Agent, name: &str, parent: Option<&str>) -> String {
    let made = done(agent, Method::POST, "/api/portfolios", Some(json!({ "name": name, "parentId": parent }))).await;
    made["id"].as_str().unwrap().to_owned()
}

pub async fn put_in(agent: &Agent, account: AccountId, group: &str) {
    done(agent, Method::PATCH, &format!("/api/accounts/{account}"), Some(json!({ "portfolioId": group }))).await;
}

async fn refused(agent: &Agent, method: Method, path: &str, body: Value) -> (u16, String, String) {
    let reply = call(agent, method, path, Some(body), &[]).await;
    let (status, code) = reply.code();
    (status, code.to_owned(), reply.body["error"].as_str().unwrap_or_default().to_owned())
}

/// Two accounts with ten days of events and a NAV.
async fn world() -> (World, AccountId, AccountId) {
    let world = World::new().await;
    let main = world.account("Main").await;
    let other = world.account("Other").await;
    for (account, offset, nav) in [(main, 0, "1000"), (other, 100, "500")] {
        let events = (0..20).map(|n| fill(offset + n, -n * 43_200 - 7_200, 10 + n)).collect();
        world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
        world.snapshot(account, nav).await;
    }
    (world, main, other)
}

/// Accounts that were made at the same moment are listed by their ids.
fn in_order(accounts: &[AccountId]) -> Value {
    let mut accounts = accounts.to_vec();
    accounts.sort_unstable();
    json!(accounts)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn groups_are_a_tree_with_the_worth_of_what_is_below() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    let arb = group(&agent, "Arb", Some(&desk)).await;
    put_in(&agent, main, &arb).await;
    let flat = data(&agent, "/api/portfolios").await;
    assert_eq!((names(&flat["portfolios"]), &flat["count"]), (vec!["Arb", "Desk"], &json!(2)));
    assert_eq!(flat["ungroupedAccountIds"], json!([other]));
    let tree = data(&agent, "/api/portfolios?tree=true").await;
    let (top, below) = (&tree["portfolios"][0], &tree["portfolios"][0]["children"][0]);
    assert_eq!((&top["name"], &top["accountIds"], &top["accountCount"]), (&json!("Desk"), &json!([]), &json!(1)));
    assert_eq!((&below["parentId"], &below["accountIds"]), (&json!(desk), &json!([main])));
    assert_eq!((top["navUsd"].to_string(), below["navUsd"].to_string()), ("1000".into(), "1000".into()));
    put_in(&agent, other, &desk).await;
    let top = data(&agent, &format!("/api/portfolios/{desk}")).await;
    assert_eq!((top["navUsd"].to_string().as_str(), &top["accountIds"]), ("1500", &json!([other])));
    let listed = agent.call("list_accounts", json!({})).await;
    let listed = listed["accounts"].as_array().unwrap().iter().find(|a| a["id"] == json!(main)).unwrap();
    assert_eq!(listed["portfolioId"], json!(arb));
    let empty = world.account("Unread").await;
    put_in(&agent, empty, &arb).await;
    let below = data(&agent, &format!("/api/portfolios/{arb}")).await;
    assert_eq!((below["navUsd"].to_string().as_str(), &below["missingAccountIds"]), ("1000", &json!([empty])));
}

#[tokio::test]
async fn a_group_that_would_spoil_the_tree_is_refused() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let mut chain = vec![group(&agent, "1", None).await];
    for n in 2..=10 {
        chain.push(group(&agent, &n.to_string(), Some(&chain[n - 2])).await);
    }
    let top = format!("/api/portfolios/{}", chain[0]);
    for below in [&chain[0], &chain[5]] {
        let (status, _, error) = refused(&agent, Method::PATCH, &top, json!({ "parentId": below })).await;
        assert!(status == 400 && error.contains("below itself"), "{error}");
    }
    let deep = json!({ "name": "11", "parentId": chain[9] });
    let (status, _, error) = refused(&agent, Method::POST, "/api/portfolios", deep).await;
    assert!(status == 400 && error.contains("10 deep"), "{error}");
    let none = json!({ "name": "x", "parentId": main });
    assert_eq!(refused(&agent, Method::POST, "/api/portfolios", none).await.0, 400);
    let twin = json!({ "name": "2", "parentId": chain[0] });
    assert_eq!(refused(&agent, Method::POST, "/api/portfolios", twin).await.0, 409);
    group(&agent, "2", None).await;
    let moved = format!("/api/portfolios/{}", chain[1]);
    assert_eq!(refused(&agent, Method::PATCH, &moved, json!({ "parentId": null })).await.0, 409);
    assert_eq!(refused(&agent, Method::PATCH, &moved, json!({})).await.0, 400);
    let many = "INSERT INTO portfolios (workspace_id, portfolio_id, name, created_at, updated_at)
                SELECT workspace_id, gen_random_uuid(), 'many ' || n, now(), now()
                FROM workspaces, generate_series(1, 989) n RETURNING 1";
    world.db.admin(many).await;
    let (status, _, error) = refused(&agent, Method::POST, "/api/portfolios", json!({ "name": "x" })).await;
    assert!(status == 400 && error.contains("1000"), "{error}");
}

#[tokio::test]
async fn what_was_in_a_removed_group_is_in_its_parent() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    let arb = group(&agent, "Arb", Some(&desk)).await;
    let leaf = group(&agent, "Arb", Some(&arb)).await;
    put_in(&agent, main, &arb).await;
    put_in(&agent, other, &leaf).await;
    let gone = done(&agent, Method::DELETE, &format!("/api/portfolios/{arb}"), None).await;
    assert_eq!((&gone["movedTo"], &gone["movedPortfolioIds"]), (&json!(desk), &json!([leaf])));
    assert_eq!(gone["movedAccountIds"], json!([main]));
    assert_eq!(data(&agent, &format!("/api/accounts/{main}")).await["portfolioId"], json!(desk));
    let gone = done(&agent, Method::DELETE, &format!("/api/portfolios/{desk}"), None).await;
    assert_eq!(gone["movedTo"], Value::Null);
    let left = data(&agent, "/api/portfolios").await;
    assert_eq!((names(&left["portfolios"]), &left["portfolios"][0]["parentId"]), (vec!["Arb"], &Value::Null));
    assert_eq!(left["ungroupedAccountIds"], json!([main]));
    assert_eq!(call(&agent, Method::DELETE, &format!("/api/portfolios/{arb}"), None, &[]).await.status, 404);
}

#[tokio::test]
async fn a_narrow_key_sees_the_way_to_its_accounts_and_changes_only_what_it_wholly_sees() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    let mine = group(&agent, "Mine", Some(&desk)).await;
    let below = group(&agent, "Below", Some(&mine)).await;
    let theirs = group(&agent, "Theirs", Some(&desk)).await;
    group(&agent, "Empty", None).await;
    put_in(&agent, other, &below).await;
    put_in(&agent, main, &theirs).await;
    let narrow = world.key(|key| key.accounts = Some(vec![other])).await;
    let seen = data(&narrow, "/api/portfolios").await;
    assert_eq!(names(&seen["portfolios"]), ["Below", "Desk", "Mine"]);
    assert_eq!(seen["portfolios"][1]["navUsd"].to_string(), "500", "no sum holds the others");
    assert!(!seen.to_string().contains(&main.to_string()));
    let path = |id: &str| format!("/api/portfolios/{id}");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let body = (method == Method::PATCH).then(|| json!({ "name": "x" }));
        assert_eq!(call(&narrow, method, &path(&theirs), body, &[]).await.code(), (404, "not_found"));
    }
    let (status, code, _) = refused(&narrow, Method::POST, "/api/portfolios", json!({ "name": "x" })).await;
    assert_eq!((status, code.as_str()), (403, "portfolio_not_allowed"));
    // Beside Mine are groups of others, beside Below none.
    for (id, status) in [(&desk, 403), (&mine, 403), (&below, 200)] {
        let body = json!({ "name": "Theirs" });
        assert_eq!(call(&narrow, Method::PATCH, &path(id), Some(body), &[]).await.status, status, "{id}");
    }
    for parent in [json!(null), json!(desk)] {
        assert_eq!(refused(&narrow, Method::PATCH, &path(&below), json!({ "parentId": parent })).await.0, 403);
    }
    let account = format!("/api/accounts/{other}");
    for (to, status) in [(json!(theirs), 400), (json!(desk), 403), (json!(mine), 200)] {
        let reply = call(&narrow, Method::PATCH, &account, Some(json!({ "portfolioId": to })), &[]).await;
        assert_eq!(reply.status, status, "{to}: {}", reply.body);
    }
    let reply = call(&narrow, Method::GET, &format!("/api/portfolio?portfolioId={theirs}"), None, &[]).await;
    assert_eq!(reply.code(), (403, "unknown_portfolio"));
}

#[tokio::test]
async fn a_stranger_and_a_narrower_key_learn_nothing_of_an_id_that_is_not_theirs() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    put_in(&agent, main, &desk).await;
    let stranger = world.stranger().await;
    let narrow = world.key(|key| key.accounts = Some(vec![other])).await;
    let keys = json!({ "apiKey": venue_keys().api_key, "apiSecret": venue_keys().secret.expose_secret() });
    let none = "00000000-0000-4000-8000-000000000000";
    let account = |rest: &str| (format!("/api/accounts/{main}{rest}"), format!("/api/accounts/{none}{rest}"));
    let portfolio = (format!("/api/portfolios/{desk}"), format!("/api/portfolios/{none}"));
    let all = [
        (Method::GET, account(""), None),
        (Method::PATCH, account(""), Some(json!({ "name": "x" }))),
        (Method::DELETE, account(""), None),
        (Method::DELETE, account("?history=delete"), None),
        (Method::POST, account("/sync"), None),
        (Method::PUT, account("/credentials"), Some(keys)),
        (Method::GET, portfolio.clone(), None),
        (Method::PATCH, portfolio.clone(), Some(json!({ "name": "x" }))),
        (Method::DELETE, portfolio, None),
    ];
    for agent in [&stranger, &narrow] {
        for (method, (theirs, none), body) in &all {
            let id = [("x-request-id", "same")];
            let hidden = call(agent, method.clone(), theirs, body.clone(), &id).await;
            let absent = call(agent, method.clone(), none, body.clone(), &id).await;
            assert_eq!(hidden.code(), (404, "not_found"), "{method} {theirs}");
            assert_eq!(hidden.body, absent.body, "{method} {theirs}");
        }
    }
    let of_group = json!({ "name": "x", "parentId": desk });
    assert_eq!(refused(&stranger, Method::POST, "/api/portfolios", of_group).await.0, 400);
    assert_eq!(data(&agent, &format!("/api/accounts/{main}")).await["name"], json!("Main"));
}

#[tokio::test]
async fn an_account_is_renamed_tagged_paused_and_resumed() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let path = format!("/api/accounts/{main}");
    let wanted = json!({ "name": "Renamed", "tags": ["a", "b"], "isActive": false });
    let changed = done(&agent, Method::PATCH, &path, Some(wanted)).await;
    let shown = (&changed["name"], &changed["tags"], &changed["isActive"], &changed["version"]);
    assert_eq!(shown, (&json!("Renamed"), &json!(["a", "b"]), &json!(false), &json!(2)));
    assert_eq!(call(&agent, Method::POST, &format!("{path}/sync"), None, &[]).await.code(), (409, "account_paused"));
    // Whoever collects it is stopped.
    let store = world.db.store();
    let lease = store.take_lease(world.tenant.workspace, main, "old", Duration::from_secs(60)).await.unwrap();
    let resumed = done(&agent, Method::PATCH, &path, Some(json!({ "isActive": true }))).await;
    assert_eq!((&resumed["isActive"], &resumed["name"]), (&json!(true), &json!("Renamed")));
    assert!(matches!(store.open_account(&lease).await, Err(Error::Fenced)));
    let sql = format!("SELECT due_at <= clock_timestamp() FROM leases WHERE account_id = '{main}'");
    assert!(world.db.admin(&sql).await[0].get::<bool, _>(0), "it is due now");
    for wrong in [json!({}), json!({ "name": "" }), json!({ "tag": ["x"] }), json!({ "portfolioId": "x" })] {
        assert_eq!(refused(&agent, Method::PATCH, &path, wrong.clone()).await.0, 400, "{wrong}");
    }
    let reply = call(&agent, Method::GET, "/api/accounts?include_removed=true", None, &[]).await;
    assert!(reply.status == 400 && reply.body["error"].as_str().unwrap().contains("includeRemoved"));
    let reply = call(&agent, Method::GET, "/api/portfolios?trees=true", None, &[]).await;
    assert!(reply.status == 400 && reply.body["error"].as_str().unwrap().contains("did you mean tree"));
    let reply = call(&agent, Method::PATCH, &format!("{path}?name=x"), Some(json!({ "name": "x" })), &[]).await;
    assert!(reply.status == 400 && reply.body["error"].as_str().unwrap().contains("takes none"));
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    for path in [format!("/api/accounts/{main}"), format!("/api/portfolios/{desk}")] {
        let read = call(&agent, Method::GET, &path, None, &[]).await;
        let tag = read.etag().to_owned();
        let name = |name: &str| Some(json!({ "name": name }));
        let first = call(&agent, Method::PATCH, &path, name("First"), &[("if-match", &tag)]).await;
        assert_eq!((first.status, first.etag()), (200, "\"2\""));
        for (method, body) in [(Method::PATCH, name("Second")), (Method::DELETE, None)] {
            let second = call(&agent, method, &path, body, &[("if-match", &tag)]).await;
            assert_eq!(second.code(), (412, "version_conflict"));
            assert_eq!(second.body["details"]["version"], json!(2));
        }
        assert_eq!(call(&agent, Method::PATCH, &path, name("Third"), &[("if-match", "*")]).await.status, 200);
        assert_eq!(data(&agent, &path).await["name"], json!("Third"));
    }
    let keys = json!({ "apiKey": venue_keys().api_key, "apiSecret": venue_keys().secret.expose_secret() });
    let path = format!("/api/accounts/{main}/credentials");
    let stale = call(&agent, Method::PUT, &path, Some(keys), &[("if-match", "\"1\"")]).await;
    assert_eq!(stale.code(), (412, "version_conflict"));
}

const ALL_TIME: &str = "from=2026-01-01&to=2027-01-01";

async fn totals(agent: &Agent, filter: &str) -> String {
    data(agent, &format!("/api/pnl-analysis/summary?{ALL_TIME}{filter}")).await["totals"].to_string()
}

#[tokio::test]
async fn a_removed_account_stays_in_the_past_and_leaves_the_present() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let (before, of_main) = (totals(&agent, "").await, totals(&agent, &format!("&accountId={main}")).await);
    let store = world.db.store();
    let lease = store.take_lease(world.tenant.workspace, main, "old", Duration::from_secs(60)).await.unwrap();
    let path = format!("/api/accounts/{main}");
    let gone = done(&agent, Method::DELETE, &path, None).await;
    assert_eq!((&gone["history"], &gone["removedAt"]), (&json!("kept"), &json!(now())));
    // The past.
    assert_eq!(totals(&agent, "").await, before);
    assert_eq!(totals(&agent, &format!("&accountId={main}")).await, of_main);
    let summary = data(&agent, &format!("/api/pnl-analysis/summary?{ALL_TIME}")).await;
    assert_eq!(summary["provenance"]["appliedFilters"]["accountIds"], in_order(&[main, other]));
    let later = data(&agent, "/api/pnl-analysis/summary?from=2026-12-01&to=2026-12-02").await;
    let read = later["provenance"]["coverage"]["accounts"].as_array().unwrap().len();
    assert_eq!(read, 1, "after its end there is nothing to read");
    let rows = data(&agent, "/api/trades?limit=1000").await;
    assert!(rows.to_string().contains("\"Main\""));
    // The present.
    let portfolio = agent.call("get_portfolio_summary", json!({})).await;
    assert_eq!((portfolio["navUsd"].to_string().as_str(), &portfolio["accountCount"]), ("500", &json!(1)));
    let exposure = data(&agent, "/api/portfolio/exposure-summary").await;
    assert_eq!(exposure["navUsd"].to_string(), "500");
    assert_eq!(agent.refused("get_portfolio_summary", json!({ "accountId": main })).await, "account_removed");
    assert_eq!(agent.call("list_accounts", json!({})).await["count"], json!(1));
    assert_eq!(data(&agent, "/api/accounts").await["count"], json!(1));
    let all = data(&agent, "/api/accounts?includeRemoved=true").await;
    let removed = all["accounts"].as_array().unwrap().iter().find(|a| a["id"] == json!(main)).unwrap();
    assert_eq!((&removed["removedAt"], &removed["lastBalanceUsd"]), (&json!(now()), &Value::Null));
    assert_eq!(data(&agent, &path).await["removedAt"], json!(now()));
    let status = call(&agent, Method::GET, "/api/status", None, &[]).await.body;
    assert!(!status.to_string().contains(&main.to_string()));
    let history = agent.call("get_nav_history", json!({})).await;
    assert_eq!(history["points"].as_array().unwrap().last().unwrap()["nav"].to_string(), "500");
    // Nobody collects it, nothing opens it.
    assert!(matches!(store.open_account(&lease).await, Err(Error::Fenced)));
    let again = store.take_lease(world.tenant.workspace, main, "new", Duration::from_secs(60)).await;
    assert!(matches!(again, Err(Error::NotFound)));
    let mut claimed = Vec::new();
    while let Some(lease) = store.claim_due_account("test", Duration::from_secs(60)).await.unwrap() {
        claimed.push(lease.account);
    }
    assert!(!claimed.contains(&main));
    let secrets = format!("SELECT count(*) FROM account_secrets WHERE account_id = '{main}'");
    assert_eq!(world.db.admin(&secrets).await[0].get::<i64, _>(0), 0);
    assert_eq!(call(&agent, Method::POST, &format!("{path}/sync"), None, &[]).await.code(), (409, "account_removed"));
    assert_eq!(done(&agent, Method::DELETE, &path, None).await["removedAt"], json!(now()), "once more is no harm");
}

fn attach_body() -> Value {
    let keys = venue_keys();
    json!({ "name": "Real", "venue": "binance", "apiKey": keys.api_key, "apiSecret": keys.secret.expose_secret() })
}

fn new_keys() -> Value {
    json!({ "apiKey": venue_keys().api_key, "apiSecret": venue_keys().secret.expose_secret() })
}

async fn attach(agent: &Agent) -> AccountId {
    let made = done(agent, Method::POST, "/api/accounts", Some(attach_body())).await;
    made["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_removed_account_is_not_attached_beside_its_history_but_comes_back_to_it() {
    let world = World::new().await;
    let agent = world.agent();
    let account = attach(&agent).await;
    let store = world.db.store();
    let old = store.take_lease(world.tenant.workspace, account, "old", Duration::from_secs(60)).await.unwrap();
    let path = format!("/api/accounts/{account}");
    done(&agent, Method::DELETE, &path, None).await;
    let again = call(&agent, Method::POST, "/api/accounts", Some(attach_body()), &[]).await;
    assert_eq!(again.code(), (409, "account_removed"));
    assert_eq!(again.body["details"]["accountId"], json!(account));
    let back = done(&agent, Method::PUT, &format!("{path}/credentials"), Some(new_keys())).await;
    assert_eq!(
        (&back["removedAt"], &back["isActive"], &back["status"]),
        (&Value::Null, &json!(true), &json!("pending"))
    );
    assert!(matches!(store.open_account(&old).await, Err(Error::Fenced)), "an old epoch never comes back");
    let new = store.claim_due_account("new", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(new.account == account && new.epoch > old.epoch);
    store.open_account(&new).await.unwrap();
}

#[tokio::test]
async fn new_credentials_take_the_place_of_the_old_and_are_of_the_same_account() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let store = world.db.store();
    let secret = format!("SELECT sealed FROM account_secrets WHERE account_id = '{main}'");
    let before: Vec<u8> = world.db.admin(&secret).await[0].get(0);
    let lease = store.take_lease(world.tenant.workspace, main, "old", Duration::from_secs(60)).await.unwrap();
    let path = format!("/api/accounts/{main}/credentials");
    let wrong = call(&agent, Method::PUT, &path, Some(json!({ "apiKey": "unknown", "apiSecret": "x" })), &[]).await;
    assert_eq!(wrong.code(), (400, "venue_refused_key"));
    assert_eq!(world.db.admin(&secret).await[0].get::<Vec<u8>, _>(0), before, "a refused key changes nothing");
    let replaced = done(&agent, Method::PUT, &path, Some(new_keys())).await;
    assert_eq!((&replaced["status"], &replaced["version"]), (&json!("pending"), &json!(2)));
    let rows = world.db.admin(&secret).await;
    assert!(rows.len() == 1 && rows[0].get::<Vec<u8>, _>(0) != before);
    assert!(matches!(store.open_account(&lease).await, Err(Error::Fenced)), "the old key is not used to the end");
    let lease = store.take_lease(world.tenant.workspace, main, "new", Duration::from_secs(60)).await.unwrap();
    let codash_store::Credential::ApiKey { key, .. } = store.open_account(&lease).await.unwrap().credential else {
        panic!("a key is sealed");
    };
    assert_eq!(key, venue_keys().api_key);
    let taken = call(&agent, Method::POST, "/api/accounts", Some(attach_body()), &[]).await;
    assert_eq!(taken.code(), (409, "conflict"), "the new key is known as attached");
    // A wallet is its address.
    let wallet = json!({ "name": "W", "venue": "hyperliquid", "address": venue_keys().address });
    let wallet = done(&agent, Method::POST, "/api/accounts", Some(wallet)).await["id"].take();
    let path = format!("/api/accounts/{}/credentials", wallet.as_str().unwrap());
    let elsewhere = json!({ "address": format!("0x{}", "ab".repeat(20)) });
    let reply = call(&agent, Method::PUT, &path, Some(elsewhere), &[]).await;
    assert!(reply.status == 409 || reply.status == 400, "{}", reply.body);
    let same = call(&agent, Method::PUT, &path, Some(json!({ "address": venue_keys().address })), &[]).await;
    assert_eq!(same.status, 200, "{}", same.body);
}

/// Tables that name an account, and how many of their rows name this one.
async fn rows_of(world: &World, account: AccountId) -> Vec<(String, i64)> {
    let tables = "SELECT table_name::text FROM information_schema.columns
                  WHERE table_schema = 'public' AND column_name = 'account_id' ORDER BY 1";
    let mut counts = Vec::new();
    for row in world.db.admin(tables).await {
        let table: String = row.get(0);
        let count = world.db.admin(&format!("SELECT count(*) FROM {table} WHERE account_id = '{account}'")).await;
        counts.push((table, count[0].get(0)));
    }
    counts
}

#[tokio::test]
async fn an_erased_account_leaves_no_row_and_no_dollar() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let store = world.db.store();
    while store.seal(world.tenant.workspace, now()).await.unwrap() > 0 {}
    let symbols =
        async || data(&agent, &format!("/api/forensics/pnl-by-symbol?{ALL_TIME_ISO}")).await["rows"].to_string();
    let of_other = totals(&agent, &format!("&accountId={other}")).await;
    let raw = "SELECT count(*) FROM rollup_symbols WHERE account_ids @> ARRAY[$$";
    let cells = format!("{}{main}$$::uuid]", raw);
    assert!(world.db.admin(&cells).await[0].get::<i64, _>(0) > 0, "sealed cells hold it");
    let version = "SELECT data_version, event_count FROM workspaces WHERE name = 'ours'";
    let before: i64 = world.db.admin(version).await[0].get(0);

    let gone = done(&agent, Method::DELETE, &format!("/api/accounts/{main}?history=delete"), None).await;
    assert_eq!((&gone["history"], &gone["removedAt"]), (&json!("deleted"), &Value::Null));
    let left: Vec<_> = rows_of(&world, main).await.into_iter().filter(|(_, n)| *n > 0).map(|(t, _)| t).collect();
    assert_eq!(left, ["batches"], "the log that numbers versions stays");
    let streams = format!("SELECT DISTINCT stream FROM batches WHERE account_id = '{main}'");
    assert_eq!(world.db.admin(&streams).await[0].get::<String, _>(0), "");
    let row = world.db.admin(version).await;
    assert!(row[0].get::<i64, _>(0) > before, "exports see another version");
    assert_eq!(row[0].get::<i64, _>(1), 20);
    assert_eq!(call(&agent, Method::GET, &format!("/api/accounts/{main}"), None, &[]).await.status, 404);
    assert_eq!(data(&agent, "/api/accounts?includeRemoved=true").await["count"], json!(1));

    assert_eq!(totals(&agent, "").await, of_other, "while its hours are read raw");
    let raw = symbols().await;
    while store.seal(world.tenant.workspace, now()).await.unwrap() > 0 {}
    assert_eq!(totals(&agent, "").await, of_other, "from cells made anew");
    assert_eq!(symbols().await, raw);
    assert_eq!(world.db.admin(&cells).await[0].get::<i64, _>(0), 0);
    assert_eq!(agent.call("get_portfolio_summary", json!({})).await["navUsd"].to_string(), "500");
}

const ALL_TIME_ISO: &str = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z";

#[tokio::test]
async fn while_an_account_is_being_erased_no_answer_counts_it_and_the_collector_ends_it() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let store = world.db.store();
    while store.seal(world.tenant.workspace, now()).await.unwrap() > 0 {}
    let of_other = totals(&agent, &format!("&accountId={other}")).await;
    let any = codash_store::portfolios::Expected::Any;
    // As when the process ends right after the first transaction.
    store.remove_account(&world.tenant.grant(), main, &any, true, By::operator(now())).await.unwrap();
    assert_eq!(totals(&agent, "").await, of_other);
    let rows = data(&agent, &format!("/api/forensics/pnl-by-symbol?{ALL_TIME_ISO}")).await;
    assert!(!rows.to_string().contains(&main.to_string()));
    let counted = data(&agent, "/api/export/events/count").await;
    assert_eq!(counted["rowCount"].as_i64().or(counted["count"].as_i64()), Some(20), "{counted}");
    assert_eq!(call(&agent, Method::GET, &format!("/api/accounts/{main}"), None, &[]).await.status, 404);
    schedule::tidy(store).await.unwrap();
    assert_eq!(totals(&agent, "").await, of_other);
    assert!(rows_of(&world, main).await.iter().all(|(table, n)| *n == 0 || table == "batches"));
    assert_eq!(store.accounts_to_erase().await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_sync_reads_history_again_where_it_is_asked_to() {
    let world = World::new().await;
    let agent = world.agent();
    let account = attach(&agent).await;
    let clock = std::sync::Arc::new(FixedClock::at(now()));
    // The same exchange at a clock that the test can turn.
    let replay = Replay::start(now(), venue_keys(), clock.clone()).await.unwrap();
    let venues = || {
        clock.advance(chrono::TimeDelta::seconds(61));
        Venues { http: Http::new().unwrap(), endpoints: replay.endpoints(), clock: clock.clone() }
    };
    let settings = Settings { every: Duration::ZERO, ignore_due: true, ..Settings::default() };
    let collect = async || {
        let mut quiet = 0;
        for _ in 0..60 {
            let report = pass(world.db.store(), &venues(), &settings).await.unwrap();
            quiet = if report.inserted == 0 && report.faults == 0 { quiet + 1 } else { 0 };
            if quiet == 3 {
                return;
            }
        }
        panic!("the account never came to rest");
    };
    collect().await;
    let count = async || -> i64 { world.db.admin("SELECT count(*) FROM events").await[0].get(0) };
    let all = count().await;
    assert!(all > 0);
    // As if records had been lost long ago.
    let lost = "DELETE FROM events WHERE stream = 'usdm.income' OR stream LIKE 'usdm.fills%' RETURNING 1";
    assert!(!world.db.admin(lost).await.is_empty());
    collect().await;
    assert!(count().await < all, "by itself it does not look back so far");
    let body = json!({ "from": "2026-01-01T00:00:00Z" });
    let path = format!("/api/accounts/{account}/sync");
    let reply = call(&agent, Method::POST, &path, Some(body), &[]).await;
    assert_eq!((reply.status, &reply.body["data"]["readAgainFrom"]), (202, &json!("2026-01-01T00:00:00.000Z")));
    collect().await;
    assert_eq!(count().await, all);
    let waiting = "SELECT stream FROM streams WHERE resync_from IS NOT NULL AND swept_at IS NOT NULL";
    let waiting: Vec<String> = world.db.admin(waiting).await.iter().map(|r| r.get(0)).collect();
    assert_eq!(waiting, Vec::<String>::new());
    let future = json!({ "from": "2999-01-01T00:00:00Z" });
    assert_eq!(refused(&agent, Method::POST, &path, future).await.0, 400);
    assert_eq!(call(&agent, Method::POST, &path, None, &[]).await.status, 202);
}

#[tokio::test]
async fn a_creation_that_is_sent_twice_happens_once() {
    let world = World::new().await;
    let agent = world.agent();
    let key = [("idempotency-key", "first")];
    for (path, body) in [("/api/accounts", attach_body()), ("/api/portfolios", json!({ "name": "Desk" }))] {
        let key = [("idempotency-key", path)];
        let first = call(&agent, Method::POST, path, Some(body.clone()), &key).await;
        let again = call(&agent, Method::POST, path, Some(body.clone()), &key).await;
        assert_eq!((first.status, again.status), (201, 201), "{} {}", first.body, again.body);
        assert_eq!((first.body.to_string(), first.etag()), (again.body.to_string(), again.etag()));
        assert!(first.headers.get("idempotency-replayed").is_none());
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let mut other = body.clone();
        other["name"] = json!("Another");
        let other = call(&agent, Method::POST, path, Some(other), &key).await;
        assert_eq!(other.code(), (409, "idempotency_conflict"));
        // Another workspace's key of the same name is another.
        let stranger = Agent { key: world.db.workspace(path).await.key.reveal().to_owned(), ..agent.clone() };
        assert_ne!(call(&stranger, Method::POST, path, Some(body), &key).await.body, first.body);
    }
    assert_eq!(data(&agent, "/api/accounts").await["count"], json!(1));
    assert_eq!(data(&agent, "/api/portfolios").await["count"], json!(1));
    let kept = world.db.admin("SELECT key || reply || encode(request, 'escape') FROM idempotency_keys").await;
    let secret = venue_keys();
    for row in kept {
        let text: String = row.get(0);
        assert!(!text.contains(secret.secret.expose_secret()) && !text.contains(&secret.api_key));
    }
    // A failure leaves the key free.
    let twin = call(&agent, Method::POST, "/api/portfolios", Some(json!({ "name": "Desk" })), &key).await;
    assert_eq!(twin.status, 409);
    let good = call(&agent, Method::POST, "/api/portfolios", Some(json!({ "name": "Second" })), &key).await;
    assert_eq!(good.status, 201, "{}", good.body);
}

#[tokio::test]
async fn a_request_under_way_makes_the_second_wait_and_a_day_frees_the_key() {
    let world = World::new().await;
    let agent = world.agent();
    let store = world.db.store();
    let workspace = world.tenant.workspace;
    let body = json!({ "name": "Desk" });
    let text = body.to_string();
    let parts: [&[u8]; 2] = [b"POST /api/portfolios", text.as_bytes()];
    assert_eq!(store.begin_once(workspace, "k", &parts).await.unwrap(), Begun::Fresh { attempt: 1 });
    let headers = [("idempotency-key", "k")];
    let second = call(&agent, Method::POST, "/api/portfolios", Some(body.clone()), &headers).await;
    assert_eq!(second.code(), (409, "idempotency_in_progress"));
    assert!(second.headers.contains_key("retry-after"));
    // A request that never ended is taken over, and cannot end any more.
    let age = |age: &str| format!("UPDATE idempotency_keys SET started_at = now() - interval '{age}' RETURNING 1");
    world.db.admin(&age("61 seconds")).await;
    assert_eq!(store.begin_once(workspace, "k", &parts).await.unwrap(), Begun::Fresh { attempt: 2 });
    store.forget_once(workspace, "k", 1).await.unwrap();
    assert_eq!(store.begin_once(workspace, "k", &parts).await.unwrap(), Begun::Running);
    store.forget_once(workspace, "k", 2).await.unwrap();
    assert_eq!(call(&agent, Method::POST, "/api/portfolios", Some(body), &headers).await.status, 201);
    world.db.admin(&age("25 hours")).await;
    let other = json!({ "name": "Other" });
    assert_eq!(call(&agent, Method::POST, "/api/portfolios", Some(other), &headers).await.status, 201);
    world.db.admin(&age("25 hours")).await;
    schedule::tidy(store).await.unwrap();
    assert!(world.db.admin("SELECT 1 FROM idempotency_keys").await.is_empty());
}

#[tokio::test]
async fn questions_are_asked_of_a_group_and_of_all_below_it() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    let arb = group(&agent, "Arb", Some(&desk)).await;
    let empty = group(&agent, "Empty", None).await;
    put_in(&agent, main, &arb).await;
    put_in(&agent, other, &desk).await;
    for (id, account) in [(&arb, json!([main])), (&desk, in_order(&[main, other])), (&empty, json!([]))] {
        let summary = data(&agent, &format!("/api/pnl-analysis/summary?portfolioId={id}")).await;
        assert_eq!(summary["provenance"]["appliedFilters"]["accountIds"], account);
        let history = data(&agent, &format!("/api/portfolio/history?portfolioId={id}")).await;
        assert_eq!(history["accountIds"], account);
        for path in [
            "/api/forensics/account-summary",
            "/api/forensics/pnl-by-symbol",
            "/api/forensics/pnl-buckets",
            "/api/forensics/largest-loss-events",
            "/api/forensics/forced-events",
            "/api/forensics/risk-timeline",
            "/api/trades",
        ] {
            let answer = data(&agent, &format!("{path}?portfolioId={id}")).await;
            assert_eq!(answer["provenance"]["appliedFilters"]["accountIds"], account, "{path}");
        }
    }
    for (id, nav) in [(&arb, "1000"), (&desk, "1500"), (&empty, "0")] {
        for path in ["/api/portfolio", "/api/portfolio/exposure-summary"] {
            let answer = data(&agent, &format!("{path}?portfolioId={id}")).await;
            assert_eq!(answer["navUsd"].to_string(), nav, "{path}");
        }
    }
    assert_eq!(
        totals(&agent, &format!("&portfolioId={arb}")).await,
        totals(&agent, &format!("&accountId={main}")).await
    );
    for (account, group, nav) in [(main, &desk, "1000"), (main, &arb, "1000"), (other, &arb, "0")] {
        let answer = data(&agent, &format!("/api/portfolio?portfolioId={group}&accountId={account}")).await;
        assert_eq!(answer["navUsd"].to_string(), nav, "both narrow: {account} {group}");
    }

    let wanted = json!({ "groupBy": ["portfolio"], "orderBy": "key", "portfolioId": desk });
    let rows = done(&agent, Method::POST, "/api/pnl-analysis/query", Some(wanted)).await;
    let mut names: Vec<&str> =
        rows["rows"].as_array().unwrap().iter().map(|r| r["portfolioName"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Arb", "Desk"], "an account counts under its own group alone");
    done(&agent, Method::PATCH, &format!("/api/accounts/{other}"), Some(json!({ "portfolioId": null }))).await;
    let wanted = json!({ "groupBy": ["portfolio"], "orderBy": "key" });
    let rows = done(&agent, Method::POST, "/api/pnl-analysis/query", Some(wanted)).await;
    let first = &rows["rows"][0];
    assert_eq!((&first["portfolioId"], &first["portfolioName"]), (&Value::Null, &Value::Null), "in no group");
    let only_read = world.key(|key| key.scopes = Scopes::new([codash_domain::Scope::ReadSummary])).await;
    assert_eq!(refused(&only_read, Method::POST, "/api/portfolios", json!({ "name": "x" })).await.0, 403);
}
