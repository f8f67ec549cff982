"""D: a stranger's ids, keys that may less, and credentials in every wrong form."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone

from .world import furnish, records

BODIES = {
    "account_patch": {"name": "x"}, "portfolio": {"name": "x"}, "automation": {"paused": True}, "webhook": {"disabled": True},
    "credentials": {"venue": "paper", "name": "x", "apiKey": "a" * 64, "apiSecret": "b" * 64}, "role": {"role": "viewer"}, "rotate": {"overlapSeconds": 0},
}
# The scope of each route, as the contract's tables list them.
SCOPES = {
    "workspace:read:summary": ["/api/accounts", "/api/portfolios", "/api/portfolio/report", "/api/pnl-analysis/summary", "/api/forensics/account-summary",
                               "/api/forensics/pnl-by-symbol", "/api/forensics/pnl-buckets?bucket=hour"],
    "workspace:read:live": ["/api/portfolio", "/api/portfolio/history", "/api/portfolio/exposure-summary", "/api/status", "/api/metrics"],
    "workspace:read:raw": ["/api/trades", "/api/trade-events", "/api/trade-events/activity-summary", "/api/forensics/forced-events",
                           "/api/forensics/largest-loss-events", "/api/forensics/risk-timeline"],
    "workspace:read:exports": ["/api/export/counts", "/api/export/events/count", "/api/export/events"],
    "workspace:write:automations": ["/api/automations", "/api/automations/webhooks"],
}
TOOLS = {
    "workspace:read:summary": ["list_accounts", "get_pnl_by_symbol"],
    "workspace:read:live": ["get_portfolio_summary", "get_nav_history"],
    "workspace:read:raw": ["get_trading_activity_summary", "get_trade_events", "get_largest_loss_events"],
}


def run(t):
    furnish(t)
    strangers(t)
    named_strangers(t)
    scopes(t)
    narrow(t)
    ends(t)
    credentials(t)
    tokens(t)


def routes(t):
    """Every route with an id: method, path, body, the kind of thing, and whether it is for people."""
    for method, path, body, kind, for_people in (
        ("GET", "/api/accounts/%s", None, "account", 0), ("PATCH", "/api/accounts/%s", "account_patch", "account", 0),
        ("DELETE", "/api/accounts/%s", None, "account", 0), ("DELETE", "/api/accounts/%s?history=delete", None, "account", 0),
        ("POST", "/api/accounts/%s/sync", "", "account", 0), ("GET", "/api/portfolios/%s", None, "portfolio", 0),
        ("PATCH", "/api/portfolios/%s", "portfolio", "portfolio", 0), ("DELETE", "/api/portfolios/%s", None, "portfolio", 0),
        ("GET", "/api/automations/%s", None, "automation", 0), ("PATCH", "/api/automations/%s", "automation", "automation", 0),
        ("POST", "/api/automations/%s/run", "", "automation", 0), ("GET", "/api/automations/%s/runs", None, "automation", 0),
        ("DELETE", "/api/automations/%s", None, "automation", 0), ("PATCH", "/api/automations/webhooks/%s", "webhook", "webhook", 0),
        ("GET", "/api/automations/webhooks/%s/deliveries", None, "webhook", 0), ("DELETE", "/api/automations/webhooks/%s", None, "webhook", 0),
        ("GET", "/api/automations/deliveries/%s", None, "delivery", 0), ("POST", "/api/automations/deliveries/%s/redeliver", "", "delivery", 0),
        ("DELETE", "/api/keys/self/children/%s", None, "child", 0), ("DELETE", "/api/keys/%s", None, "child", 1),
        ("POST", "/api/keys/%s/rotate", "rotate", "child", 1), ("PATCH", "/api/owners/%s", "role", "person", 1),
        ("DELETE", "/api/owners/%s", None, "person", 1), ("DELETE", "/api/owners/invitations/%s", None, "invitation", 1),
    ):
        foreign = t.b.accounts[0] if kind == "account" and t.b.accounts else t.b.things.get(kind)
        if foreign:
            yield method, path, BODIES.get(body, {} if body == "" else None), foreign, t.a.things["token"] if for_people else t.a.key


def blind(answer, *secrets):
    """The bytes, but for the request's id and the ids that were asked for."""
    text = answer.body.decode("utf-8", "replace")
    for secret in (answer.header("x-request-id"), *secrets):
        text = text.replace(secret or "-", "…")
    kept = {"content-type", "allow", "etag", "location", "content-length", "cache-control", "www-authenticate"}
    return answer.status, text, [pair for pair in answer.headers if pair[0] in kept]


def strangers(t):
    for method, path, body, foreign, key in routes(t):
        unknown = str(uuid.uuid4())
        theirs, nobodys = (t.ask(method, path % one, key, body=body) for one in (foreign, unknown))
        name = f"{method} {path % '{id}'}"
        t.refused("D", f"{name} of a stranger", theirs, 404, "not_found")
        t.case("D", f"{name}: a stranger's is as unknown", blind(theirs, foreign) == blind(nobodys, unknown), nobodys, theirs)
        shouted = t.ask(method, path % foreign.upper(), key, body=body)
        t.refused("D", f"{name} of a stranger, in capitals", shouted, 404, "not_found")
        for spelled in ("x", "0", "%2e%2e", "%00", "%ff", "'%20OR%201=1", foreign + "%20", "*", foreign[:-1], foreign + "0"):
            answer = t.ask(method, path % spelled, key, body=body)
            t.refused("D", f"{name} of {spelled}", answer, (400, 404))
    for name, path, key in (("key", "/api/keys/self", t.b.things["child_key"]), ("automation", f"/api/automations/{t.b.things['automation']}", t.b.key),
                            ("portfolio", f"/api/portfolios/{t.b.things['portfolio']}", t.b.key)):
        t.answered("D", f"the stranger's {name} is as it was", t.ask("GET", path, key))


def named_strangers(t):
    """Ids in arguments: of a stranger, and of nobody."""
    unknown = str(uuid.uuid4())
    foreign = {"accountId": (t.b.accounts or [None])[0], "portfolioId": t.b.things["portfolio"]}
    paths = t.ask("GET", "/openapi.json").json["paths"]
    for path, operations in paths.items():
        names = {p["name"] for p in operations.get("get", {}).get("parameters", []) if p["in"] == "query"}
        fixed = "bucket=hour&" if path.endswith("pnl-buckets") else ""
        for name in names & {"accountId", "accountIds", "portfolioId", "portfolioIds"}:
            theirs = foreign[name.rstrip("s")]
            if not theirs or "{id}" in path:
                continue
            url = path.replace("{table}", "events") + f"?{fixed}{name}="
            one, other = (t.ask("GET", url + value, t.a.key) for value in (theirs, unknown))
            code = "unknown_account" if name.startswith("account") else "unknown_portfolio"
            t.refused("D", f"GET {url}", one, 403, code)
            t.case("D", f"GET {url}: a stranger's is as unknown", blind(one, theirs) == blind(other, unknown), other, one)
    for tool, arguments in (("get_portfolio_summary", "accountId"), ("get_nav_history", "accountId"), ("get_trade_events", "accountIds")):
        if t.b.accounts:
            both = [t.call(tool, {arguments: one if arguments == "accountId" else [one]}) for one in (t.b.accounts[0], unknown)]
            t.told("D", f"{tool} of a stranger", both[0], "unknown_account")
            t.case("D", f"{tool}: a stranger's is as unknown", blind(both[0], t.b.accounts[0]) == blind(both[1], unknown), both[1], both[0])
    for name, method, path, body in (
        ("a webhook in an automation", "PATCH", f"/api/automations/{t.a.things['automation']}", lambda one: {"webhooks": [one[0]]}),
        ("a parent of a group", "POST", "/api/portfolios", lambda one: {"name": f"x-{one[1][:8]}", "parentId": one[1]}),
        ("an account of a key", "POST", "/api/keys/self/children", lambda one: {"name": "x", "accountIds": [one[2]]}),
    ):
        ids = (t.b.things["webhook"], t.b.things["portfolio"], (t.b.accounts or [str(uuid.uuid4())])[0])
        nobodys = (unknown,) * 3
        theirs, none = (t.ask(method, path, t.a.key, body=body(one)) for one in (ids, nobodys))
        t.refused("D", f"{name} of a stranger", theirs, (400, 403, 404))
        t.case("D", f"{name}: a stranger's is as unknown", blind(theirs, *ids) == blind(none, *nobodys), none, theirs)


def scopes(t):
    every = [*SCOPES, "workspace:write:accounts", "workspace:write:ai-keys"]
    writes = {"workspace:write:accounts": ("/api/accounts", {"name": "x", "venue": "paper", "apiKey": "x", "apiSecret": "x"}),
              "workspace:write:ai-keys": ("/api/settings/ai-keys", {"provider": "anthropic", "key": "x" * 20})}
    for scope in every:
        others = [one for one in every if one != scope]
        key = t.child(t.a, scopes=others)["apiKey"]
        for path in SCOPES.get(scope, []):
            answer = t.ask("GET", path, key)
            t.refused("D", f"GET {path} without {scope}", answer, 403, "insufficient_scope")
            t.case("D", f"{path} says the scope", (answer.json.get("details") or {}).get("requiredScope") == scope, scope, answer)
        for tool in TOOLS.get(scope, []):
            answer = t.call(tool, {}, key)
            t.fault("D", f"{tool} without {scope}", answer, -32001)
        if scope in TOOLS:
            listed = t.rpc('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', key).json["result"]["tools"]
            hidden = {one["name"] for one in listed} & set(TOOLS[scope])
            t.case("D", f"tools/list without {scope}", not hidden and len(listed) == 7 - len(TOOLS[scope]), "none of them", hidden)
        if scope in writes:
            path, body = writes[scope]
            t.refused("D", f"POST {path} without {scope}", t.ask("POST", path, key, body=body), 403, "insufficient_scope")
    umbrella = t.child(t.a, scopes=["workspace:read"])["apiKey"]
    for tool in sum(TOOLS.values(), []):
        t.told("D", f"{tool} with the umbrella", t.call(tool, {}, umbrella))
    for path, body in writes.values():
        t.refused("D", f"POST {path} with the umbrella", t.ask("POST", path, umbrella, body=body), 403, "insufficient_scope")


def narrow(t):
    if len(t.a.accounts) < 2:
        return
    records(t, t.a)
    mine, hidden = t.a.accounts
    key = t.child(t.a, accountIds=[mine])["apiKey"]
    seen = [one["id"] for one in t.call("list_accounts", {}, key).json["result"]["structuredContent"]["accounts"]]
    t.case("D", "a narrow key sees its account alone", seen == [mine], [mine], seen)
    t.told("D", "a narrow key asks for the other", t.call("get_trade_events", {"accountId": hidden}, key), "unknown_account")
    t.refused("D", "a narrow key reads the other", t.ask("GET", f"/api/accounts/{hidden}", key), 404, "not_found")
    t.refused("D", "a narrow key attaches", t.ask("POST", "/api/accounts", key, body={"name": "x", "venue": "paper", "apiKey": "x", "apiSecret": "x"}), 403, "account_not_allowed")
    for path in ("/api/trade-events?limit=1000", "/api/status", "/api/export/events?format=jsonl", "/api/export/accounts", "/api/portfolios?tree=true",
                 "/api/grafana/account-status", "/api/grafana/variables/account", "/api/forensics/account-summary", "/api/automations"):
        answer = t.ask("GET", path, key)
        t.case("D", f"{path} of a narrow key has nothing of the other", answer.status == 200 and hidden.encode() not in answer.body, hidden, answer)
        other = t.ask("GET", path, t.b.key)
        t.case("D", f"{path} of a stranger has nothing of ours", other.status == 200 and mine.encode() not in other.body, mine, other)
    wider = t.ask("POST", "/api/keys/self/children", key, body={"name": "x", "accountIds": [hidden]})
    t.refused("D", "a narrow key makes a wider one", wider, 403, ("wider_than_maker", "unknown_account"))


def ends(t):
    child = t.child(t.a)
    t.answered("D", "a key before it is revoked", t.ask("GET", "/api/accounts", child["apiKey"]))
    t.must("DELETE", f"/api/keys/self/children/{child['key']['id']}", t.a.key)
    t.refused("D", "a revoked key", t.ask("GET", "/api/accounts", child["apiKey"]), 401, "invalid_credential")
    elsewhere = t.child(t.a, addresses=["192.0.2.0/24", "2001:db8::/32"])["apiKey"]
    forged = ["x-forwarded-for", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-originating-ip", "x-remote-addr", "x-cluster-client-ip"]
    for lines in [[], *[[(name, "192.0.2.1")] for name in forged], [("forwarded", "for=192.0.2.1")], [("x-forwarded-for", "192.0.2.1")] * 2,
                  [("x-forwarded-for", "127.0.0.1, 192.0.2.1")], [("x-forwarded-for", "2001:db8::1")], [("via", "1.1 192.0.2.1")]]:
        answer = t.ask("GET", "/api/accounts", elsewhere, lines)
        t.refused("D", f"a key of another address, with {lines[:1]}", answer, 403, "address_not_allowed")
    soon = (datetime.now(timezone.utc) + timedelta(seconds=1.5)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    short = t.child(t.a, expiresAt=soon)["apiKey"]
    time.sleep(2)
    t.refused("D", "an expired key", t.ask("GET", "/api/accounts", short), 401, "expired_credential")


def credentials(t):
    key, other = t.a.key, t.b.key
    flipped = key[:-1] + ("0" if key[-1] != "0" else "1")
    near = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]

    def ask(*headers, path="/api/accounts"):
        return t.ask("GET", path, headers=headers)

    t.refused("D", "no credential", ask(), 401, "missing_credential")
    for value in ("", "Bearer", "Bearer ", key, f"Basic {key}", f"Token {key}", f"Bearer\t{key}", f"Bearer:{key}", f"Bearer={key}", f"Bearer {flipped}", f"Bearer {near}",
                  f"Bearer {key[:-1]}", f"Bearer {key}x", f"Bearer {key}, Bearer {key}", f'Bearer "{key}"', f"Bearer {key} {key}", f"Bearer {key.upper()}",
                  f"Bearer {key.lower()}", f"Bearer kv_test_{key[8:]}", f"Bearer KV_LIVE_{key[8:]}", f"Bearer {key}%20", f"Bearer k\u0475_live_{key[8:]}", f"Bearer {key}\u200b",
                  "Bearer null", "Bearer undefined", "Bearer kv_live_", "Bearer kv_live_" + "0" * 49, "Bearer " + "x" * 20_000, "Bearer ' OR 1=1--", f"bearer{key}",
                  "Basic " + "dXNlcjpwYXNz", "Digest username=x", "Negotiate x", "Bearer eyJhbGciOiJub25lIn0.e30."):
        t.refused("D", f"authorization {value[:24]!r} of {len(value)}", ask(("authorization", value)), 401, ("invalid_credential", "missing_credential"))
    for value in ("", flipped, near, key + ",", f"Bearer {key}", f"{key},{key}", other[:-1]):
        t.refused("D", f"x-api-key {value[:16]!r} of {len(value)}", ask(("x-api-key", value)), 401, "invalid_credential")
    for value in (f"Bearer {key}", f"bearer {key}", f"BEARER {key}", f"Bearer  {key}", f"Bearer {key}  "):
        t.answered("D", f"authorization {value[:9]!r} is a key", ask(("authorization", value)))
    bearer, bad = ("authorization", f"Bearer {key}"), ("authorization", f"Bearer {flipped}")
    t.answered("D", "x-api-key wins over a bad bearer", ask(("x-api-key", key), bad))
    t.refused("D", "a bad x-api-key wins over a bearer", ask(("x-api-key", flipped), bearer), 401)
    mine = ask(("x-api-key", other), bearer, path="/api/keys/self")
    t.case("D", "x-api-key says whose", mine.status == 200 and mine.json["data"]["id"] == t.b.key_id, t.b.key_id, mine)
    for name, pair in (("two bearers", [bearer, bearer]), ("two bearers of two", [bearer, ("authorization", f"Bearer {other}")]),
                       ("two x-api-keys", [("x-api-key", key), ("x-api-key", other)]), ("one x-api-key twice", [("x-api-key", key)] * 2)):
        t.refused("D", name, ask(*pair), 401, "invalid_credential")
    for name in ("apiKey", "api_key", "key", "x-api-key", "access_token", "authorization", "token"):
        t.refused("D", f"the key in the query as {name}", ask(path=f"/api/accounts?{name}={key}"), 401, "missing_credential")
    for line in (("cookie", f"apiKey={key}; session={key}"), ("proxy-authorization", f"Bearer {key}"), ("x-authorization", f"Bearer {key}"),
                 ("api-key", key), ("x_api_key", key), ("x-apikey", key), ("x-forwarded-authorization", f"Bearer {key}"), ("x-auth-token", key)):
        t.refused("D", f"the key in {line[0]}", ask(line), 401, "missing_credential")


def tokens(t):
    """A login where a key is wanted, and the reverse."""
    token = t.a.things["token"]
    t.answered("D", "a login reads", t.ask("GET", "/api/accounts", token))
    t.refused("D", "a login in x-api-key", t.ask("GET", "/api/accounts", headers=[("x-api-key", token)]), 401, "invalid_credential")
    t.refused("D", "a refresh token as a bearer", t.ask("GET", "/api/accounts", t.a.things["refresh"]), 401, "invalid_credential")
    t.refused("D", "an invitation as a bearer", t.ask("GET", "/api/accounts", t.a.things["invitation_token"]), 401, "invalid_credential")
    for method, path, body in (("GET", "/api/keys/self", None), ("GET", "/api/keys/self/children", None), ("POST", "/api/keys/self/children", {"name": "x"}),
                               ("DELETE", "/api/keys/self", None), ("POST", "/api/automations", json.loads('{"name":"x","when":{"trigger":{}},"what":{"question":{"name":"list_accounts"}}}'))):
        t.refused("D", f"{method} {path} with a login", t.ask(method, path, token, body=body), 405, "login_not_accepted")
    for method, path, body in (("GET", "/api/keys", None), ("POST", "/api/keys", {"name": "x", "scopes": ["workspace:read"]}), ("GET", "/api/owners", None), ("GET", "/api/audit", None),
                               ("POST", "/api/owners/invitations", {"email": "a@b.c", "role": "owner"}), ("DELETE", f"/api/keys/{t.a.key_id}", None),
                               ("POST", f"/api/keys/{t.a.key_id}/rotate", {"overlapSeconds": 0}), ("DELETE", f"/api/owners/{t.a.things['person']}", None),
                               ("POST", "/api/owners/claim", {"apiKey": t.a.key}), ("POST", "/api/auth/password", {"currentPassword": "x" * 15, "newPassword": "y" * 15})):
        t.refused("D", f"{method} {path} with a key", t.ask(method, path, t.a.key, body=body), 405, "api_key_not_accepted")
