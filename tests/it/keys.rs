//! API keys: made by people, narrowed by keys, rotated without a gap, revoked everywhere at once.

use chrono::TimeDelta;
use codash_domain::{Scope, Scopes};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use crate::agent::{Agent, World, generous};
use crate::owners::{colleague, delete, get, other_owner, owner, post, second_instance};
use crate::tenants::now;

const OWN: &str = "/api/keys/self";
const CHILDREN: &str = "/api/keys/self/children";

/// A key that was just shown.
fn shown(maker: &Agent, reply: &Value) -> Agent {
    Agent { address: maker.address, key: reply["data"]["apiKey"].as_str().unwrap_or_else(|| panic!("{reply}")).into() }
}

fn id(reply: &Value) -> String {
    reply["data"]["key"]["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

async fn child(maker: &Agent, wish: &Value) -> (Agent, String) {
    let (status, reply) = post(maker, CHILDREN, wish).await;
    assert_eq!(status, 201, "{reply}");
    (shown(maker, &reply), id(&reply))
}

#[tokio::test]
async fn people_manage_keys_which_are_shown_once_and_listed_without_themselves() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let unnamed = post(&owner, "/api/keys", &json!({ "name": "x" })).await;
    assert_eq!((unnamed.0, &unnamed.1["details"]["errors"][0]["path"]), (400, &json!("scopes")));
    let wish = json!({ "name": "dash", "scopes": ["workspace:read:summary"], "expiresAt": "2027-01-01T00:00:00.000Z" });
    let (status, made) = post(&owner, "/api/keys", &wish).await;
    assert_eq!((status, &made["data"]["key"]["status"]), (201, &json!("live")), "{made}");
    let dash = shown(&owner, &made);
    assert_eq!(dash.call("list_accounts", json!({})).await["count"], json!(0));
    let (_, listed) = get(&owner, "/api/keys").await;
    assert_eq!(listed["data"]["count"], json!(2));
    let row = listed["data"]["keys"].as_array().unwrap().iter().find(|row| row["name"] == wish["name"]).unwrap();
    assert_eq!((&row["hint"], &row["expiresAt"]), (&json!(dash.key[..14]), &wish["expiresAt"]));
    assert!(!listed.to_string().contains(&dash.key[14..40]));
    let stored: String = world.db.admin("SELECT string_agg(to_jsonb(k)::text, '') FROM api_keys k").await[0].get(0);
    assert!(!stored.contains(&dash.key[14..40]));
    let (viewer, _) = colleague(&world, &owner, "viewer@desk.example", "viewer").await;
    assert_eq!(get(&viewer, "/api/keys").await.1["code"], json!("insufficient_role"));
    let path = format!("/api/keys/{}", id(&made));
    let stranger = other_owner(&world, "other@desk.example").await;
    assert_eq!(delete(&stranger, &path).await.0, 404);
    assert_eq!(post(&stranger, &format!("{path}/rotate"), &json!({ "overlapSeconds": 0 })).await.0, 404);
    assert_eq!(delete(&owner, &path).await.0, 200);
    assert_eq!(delete(&owner, &path).await.0, 404);
    assert_eq!(get(&dash, "/api/accounts").await.0, 401);
    let past = json!({ "name": "x", "scopes": ["workspace:read"], "expiresAt": now() });
    assert_eq!(post(&owner, "/api/keys", &past).await.0, 400);
}

#[tokio::test]
async fn a_rotation_keeps_both_secrets_for_the_overlap_in_one_window_and_never_past_the_keys_end() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let end = now().plus(TimeDelta::minutes(10));
    let wish = json!({ "name": "roll", "scopes": ["workspace:read"], "expiresAt": end });
    let (_, made) = post(&owner, "/api/keys", &wish).await;
    let first = shown(&owner, &made);
    let path = format!("/api/keys/{}/rotate", id(&made));
    let (status, rotated) = post(&owner, &path, &json!({ "overlapSeconds": 604_800 })).await;
    assert_eq!((status, &rotated["data"]["key"]["oldSecretUntil"]), (200, &json!(end)), "{rotated}");
    let second = shown(&owner, &rotated);
    let remaining = async |agent: &Agent| -> u32 {
        let response = agent.request(Method::GET, OWN).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.headers()["x-ratelimit-remaining"].to_str().unwrap().parse().unwrap()
    };
    let before = remaining(&first).await;
    assert_eq!(remaining(&second).await, before - 1, "one key, one window");
    let (_, rotated) = post(&owner, &path, &json!({ "overlapSeconds": 60 })).await;
    let soon = json!(now().plus(TimeDelta::seconds(60)));
    assert_eq!(rotated["data"]["key"]["oldSecretUntil"], soon);
    assert_eq!(get(&first, OWN).await.0, 401, "a second rotation ends the first one's overlap");
    let (_, made) = post(&second, CHILDREN, &json!({ "name": "of an old secret" })).await;
    assert_eq!(made["data"]["key"]["expiresAt"], soon, "no child outlives the secret that made it");
    let (_, rotated) = post(&owner, &path, &json!({ "overlapSeconds": 0 })).await;
    let third = shown(&owner, &rotated);
    for (agent, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(get(agent, OWN).await.0, status);
    }
    for spoiled in [json!({}), json!({ "overlapSeconds": -1 }), json!({ "overlapSeconds": 604_801 })] {
        assert_eq!(post(&owner, &path, &spoiled).await.0, 400, "{spoiled}");
    }
}

#[tokio::test]
async fn no_request_fails_while_a_key_is_rotated_with_an_overlap() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let (_, made) = post(&owner, "/api/keys", &json!({ "name": "roll", "scopes": ["workspace:read"] })).await;
    let (key, path) = (shown(&owner, &made), format!("/api/keys/{}/rotate", id(&made)));
    let asking = async {
        for _ in 0..40 {
            assert_eq!(get(&key, OWN).await.0, 200);
        }
    };
    let rotating = async { post(&owner, &path, &json!({ "overlapSeconds": 60 })).await };
    let ((), (status, rotated)) = tokio::join!(asking, rotating);
    assert_eq!((status, get(&shown(&owner, &rotated), OWN).await.0), (200, 200));
}

#[tokio::test]
async fn revoking_a_parent_revokes_its_whole_family_on_every_instance_at_once() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let (elsewhere, _served) = second_instance(&world, TimeDelta::zero()).await;
    let (parent, parent_id) = child(&world.agent(), &json!({ "name": "parent" })).await;
    let (son, son_id) = child(&parent, &json!({ "name": "son" })).await;
    let (grandson, _) = child(&son, &json!({ "name": "grandson" })).await;
    let (daughter, _) = child(&parent, &json!({ "name": "daughter" })).await;
    let family = [&parent, &son, &grandson, &daughter].map(|a| Agent { address: elsewhere, ..a.clone() });
    for member in &family {
        assert_eq!(get(member, OWN).await.0, 200);
    }
    assert_eq!(delete(&parent, &format!("{CHILDREN}/{son_id}")).await.0, 200);
    let statuses = async || {
        let mut statuses = Vec::new();
        for member in &family {
            statuses.push(get(member, OWN).await.0);
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 401, 401, 200], "the very next request, on the other instance");
    let (status, revoked) = delete(&owner, &format!("/api/keys/{parent_id}")).await;
    assert_eq!((status, revoked["data"]["revokedKeyIds"].as_array().unwrap().len()), (200, 2));
    assert_eq!(statuses().await, [401; 4]);
    assert_eq!(get(&world.agent(), OWN).await.0, 200, "who made the family is not of it");
}

#[tokio::test]
async fn a_key_sees_and_revokes_its_own_descendants_and_itself_and_nobody_else() {
    let world = World::new().await;
    let (a, a_id) = child(&world.agent(), &json!({ "name": "a" })).await;
    let (b, b_id) = child(&world.agent(), &json!({ "name": "b" })).await;
    let (_, a_child) = child(&a, &json!({ "name": "a's" })).await;
    let (_, of_a) = get(&a, CHILDREN).await;
    assert_eq!((&of_a["data"]["count"], &of_a["data"]["keys"][0]["id"]), (&json!(1), &json!(a_child)));
    assert_eq!(get(&world.agent(), CHILDREN).await.1["data"]["count"], json!(3));
    let stranger = world.stranger().await;
    for (agent, key) in [(&b, &a_child), (&b, &a_id), (&a, &b_id), (&a, &a_id), (&stranger, &a_child)] {
        assert_eq!(delete(agent, &format!("{CHILDREN}/{key}")).await.0, 404);
    }
    assert_eq!(get(&a, OWN).await.1["data"]["id"], json!(a_id));
    assert_eq!(delete(&a, OWN).await.1["data"]["revokedKeyIds"].as_array().unwrap().len(), 2);
    assert_eq!(get(&a, OWN).await.0, 401);
    let person = owner(&world).await;
    let (status, reply) = get(&person, OWN).await;
    assert_eq!((status, &reply["code"]), (405, &json!("login_not_accepted")));
}

/// Deterministic, so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        of.iter().filter(|_| self.roll(2) == 0).cloned().collect()
    }
}

#[tokio::test]
async fn whatever_is_wished_for_a_child_opens_nothing_that_its_parent_does_not() {
    let world = World::new().await;
    let accounts = [world.account("One").await, world.account("Two").await, world.account("Three").await];
    let mut dice = Dice(11);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..40 {
        let parent = world
            .key(|key| {
                key.scopes = Scopes::new(dice.some(&Scope::ALL));
                key.accounts = (dice.roll(2) == 0).then(|| dice.some(&accounts));
                key.expires_at = (dice.roll(2) == 0).then(|| now().plus(TimeDelta::days(3)));
                key.addresses = if dice.roll(2) == 0 { vec!["127.0.0.0/8".parse().unwrap()] } else { vec![] };
            })
            .await;
        let mut wish = json!({ "name": "child" });
        if dice.roll(2) == 0 {
            wish["scopes"] = json!(dice.some(&Scope::ALL));
        }
        if dice.roll(2) == 0 {
            wish["accountIds"] = json!(dice.some(&accounts));
        }
        if dice.roll(2) == 0 {
            wish["expiresAt"] = json!(now().plus(TimeDelta::days(i64::try_from(dice.roll(6)).unwrap() + 1)));
        }
        if dice.roll(2) == 0 {
            let networks = ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0"];
            wish["addresses"] = json!([networks[usize::try_from(dice.roll(3)).unwrap()]]);
        }
        let (status, reply) = post(&parent, CHILDREN, &wish).await;
        if status != 201 {
            let is_expected = matches!(reply["code"].as_str(), Some("wider_than_maker" | "invalid_request"));
            assert!(is_expected && (status == 403 || status == 400), "{wish}: {reply}");
            refused += 1;
            continue;
        }
        made += 1;
        let child = shown(&parent, &reply);
        let (_, of_parent) = get(&parent, OWN).await;
        let (of_parent, of_child) = (&of_parent["data"], &reply["data"]["key"]);
        if let Some(end) = of_parent["expiresAt"].as_str() {
            assert!(of_child["expiresAt"].as_str().is_some_and(|own| own <= end), "{of_child}");
        }
        assert!(of_parent["addresses"] == json!([]) || !of_child["addresses"].to_string().contains("0.0.0.0/0"));
        for path in ["/api/accounts", "/api/portfolio", "/api/trade-events", "/api/export/counts"] {
            let (opened, theirs) = (get(&child, path).await, get(&parent, path).await);
            assert!(opened.0 != 200 || theirs.0 == 200, "{path}: {wish}");
            if path == "/api/accounts" && opened.0 == 200 {
                for account in opened.1["data"]["accounts"].as_array().unwrap() {
                    assert!(theirs.1.to_string().contains(account["id"].as_str().unwrap()), "{wish}");
                }
            }
        }
        let ai_key = json!({ "provider": "openai", "key": "sk-REDACTED-1234" });
        let wrote = post(&child, "/api/settings/ai-keys", &ai_key).await.0;
        assert!(wrote == 403 || post(&parent, "/api/settings/ai-keys", &ai_key).await.0 != 403, "{wish}");
    }
    assert!(made >= 5 && refused >= 5, "{made} made, {refused} refused: the dice show nothing");
}

#[tokio::test]
async fn what_a_wish_leaves_out_is_the_makers() {
    let world = World::new().await;
    let account = world.account("One").await;
    let end = now().plus(TimeDelta::days(2));
    let parent = world
        .key(|key| {
            key.scopes = Scopes::new([Scope::ReadSummary]);
            key.accounts = Some(vec![account]);
            key.expires_at = Some(end);
            key.addresses = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
    let (_, made) = post(&parent, CHILDREN, &json!({ "name": "same", "readsPerMinute": 7 })).await;
    let key = &made["data"]["key"];
    assert_eq!((&key["scopes"], &key["accountIds"]), (&json!(["workspace:read:summary"]), &json!([account])));
    assert_eq!((&key["expiresAt"], &key["addresses"]), (&json!(end), &json!(["127.0.0.1/32"])));
    let (_, made) = post(&shown(&parent, &made), CHILDREN, &json!({ "name": "same again" })).await;
    assert_eq!(made["data"]["key"]["readsPerMinute"], json!(7));
}

#[tokio::test]
async fn a_keys_own_limit_holds_and_is_never_above_its_makers() {
    let mut config = generous();
    config.limits.reads_per_minute = 100;
    config.limits.reads_per_key_max = 150;
    let world = World::with(config).await;
    let (slow, _) = child(&world.agent(), &json!({ "name": "slow", "readsPerMinute": 3 })).await;
    for left in [2, 1, 0] {
        let response = slow.request(Method::GET, OWN).send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("x-ratelimit-limit"), header("x-ratelimit-remaining")), ("3".into(), left.to_string()));
    }
    assert_eq!(get(&slow, OWN).await.0, 429);
    let (status, reply) = post(&world.agent(), CHILDREN, &json!({ "name": "fast", "readsPerMinute": 101 })).await;
    assert_eq!((status, &reply["code"]), (403, &json!("wider_than_maker")));
    let owner = owner(&world).await;
    let wish = |reads: u32| json!({ "name": "fast", "scopes": ["workspace:read"], "readsPerMinute": reads });
    assert_eq!(post(&owner, "/api/keys", &wish(151)).await.0, 403);
    let (_, made) = post(&owner, "/api/keys", &wish(150)).await;
    let response = shown(&owner, &made).request(Method::GET, OWN).send().await.unwrap();
    assert_eq!(response.headers()["x-ratelimit-limit"], "150");
}

#[tokio::test]
async fn generations_and_live_keys_are_bounded() {
    let world = World::new().await;
    let mut key = world.agent();
    for name in ["one", "two", "three"] {
        key = child(&key, &json!({ "name": name })).await.0;
    }
    let (status, reply) = post(&key, CHILDREN, &json!({ "name": "four" })).await;
    assert_eq!((status, &reply["code"]), (403, &json!("too_deep")));
    let fill = "INSERT INTO api_keys (workspace_id, key_id, name, hash, hint, scopes, created_at)
                SELECT w.workspace_id, gen_random_uuid(), 'x', sha256(n::text::bytea), 'x', '{}', now()
                FROM workspaces w, generate_series(1, 96) n RETURNING 1";
    world.db.admin(fill).await;
    let (status, reply) = post(&world.agent(), CHILDREN, &json!({ "name": "one too many" })).await;
    assert_eq!((status, &reply["code"]), (409, &json!("too_many_keys")), "{reply}");
    let owner = owner(&world).await;
    let wish = json!({ "name": "still", "scopes": ["workspace:read"] });
    assert_eq!(post(&owner, "/api/keys", &wish).await.0, 201, "a runaway agent leaves room for its owners");
}

#[tokio::test]
async fn a_key_is_used_from_its_addresses_alone_and_never_reaches_an_unknown_account() {
    let world = World::new().await;
    let (away, _) = child(&world.agent(), &json!({ "name": "away", "addresses": ["203.0.113.0/24"] })).await;
    let (status, reply) = get(&away, OWN).await;
    assert_eq!((status, &reply["code"]), (403, &json!("address_not_allowed")));
    let wishes = [
        (json!({ "name": "x", "addresses": ["here"] }), 400, "invalid_request"),
        (json!({ "name": "x", "addresses": [] }), 400, "invalid_request"),
        (json!({ "name": "x", "scopes": [] }), 400, "invalid_request"),
        (json!({ "name": "x", "scopes": ["workspace:all"] }), 400, "invalid_request"),
        (json!({ "name": "x", "scopes": null }), 400, "invalid_request"),
        (json!({ "name": "x", "unknown": 1 }), 400, "invalid_request"),
        (json!({ "name": "x", "accountIds": [world.tenant.workspace] }), 403, "unknown_account"),
    ];
    for (wish, expected, code) in wishes {
        let (status, reply) = post(&world.agent(), CHILDREN, &wish).await;
        assert_eq!((status, &reply["code"]), (expected, &json!(code)), "{wish}: {reply}");
    }
}

#[tokio::test]
async fn a_key_cannot_make_a_child_while_it_is_being_revoked() {
    let world = World::new().await;
    for round in 0..10 {
        let (parent, _) = child(&world.agent(), &json!({ "name": "parent" })).await;
        let wish = json!({ "name": "late" });
        let (made, revoked) = tokio::join!(post(&parent, CHILDREN, &wish), delete(&parent, OWN));
        assert_eq!(revoked.0, 200, "{round}");
        if made.0 == 201 {
            assert_eq!(get(&shown(&parent, &made.1), OWN).await.0, 401, "an orphan lives on ({round})");
        }
    }
    let orphans = "SELECT count(*) FROM api_keys c JOIN api_keys p ON p.key_id = c.parent_id
                   WHERE p.revoked_at IS NOT NULL AND c.revoked_at IS NULL";
    assert_eq!(world.db.admin(orphans).await[0].get::<i64, _>(0), 0);
}
