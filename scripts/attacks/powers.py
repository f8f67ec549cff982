"""I: automations that cannot be, keys that want more than their maker, tokens that are forged, fields that are nobody's to set."""

import base64
import hashlib
import hmac
import json
import time
import uuid

from .world import PASSWORD, automation, furnish

CRONS = ["", " ", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 8", "-1 * * * *", "*/0 * * * *", "*/60 * * * *", "5-1 * * * *",
         "1,,2 * * * *", ", * * * *", "1- * * * *", "-5 * * * *", "1-5- * * * *", "*/ * * * *", "*/-1 * * * *", "*/1.5 * * * *", "1e1 * * * *", "0x1 * * * *", "+1 * * * *", "a * * * *", "* * * foo *", "* * * * funday",
         "@daily", "@reboot", "@every 1s", "0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *", "? * * * *", "L * * * *", "0 0 L * *", "0 0 1W * *", "0 0 * * 1#2", "\uff10 * * * *", "* * * * *;ls", "* * * * * root x",
         "9" * 300 + " * * * *", "1" + ",1" * 2000 + " * * * *", "*\u00a0*\u00a0*\u00a0*\u00a0*", "* * * * *\u0000", "007 * * * *", "1/2/3 * * * *", "**** *"]
ZONES = ["", "Europe/Nowhere", "europe/berlin", "UTC+1", "+01:00", "CEST", "Europe/Berlin ", "../../etc/localtime", "Europe/../UTC", "\u202eUTC", "x" * 10_000, "Z\u0000", "PST8PDT,M3.2.0", "0"]
SCOPES = ["workspace:read", "workspace:read:summary", "workspace:read:live", "workspace:read:raw", "workspace:read:exports", "workspace:write:accounts", "workspace:write:ai-keys", "workspace:write:automations"]


def run(t):
    furnish(t)
    automations(t)
    triggers(t)
    attenuation(t)
    people(t)
    forged(t)
    ai_keys(t)
    accounts(t)


def automations(t):
    path = "/api/automations"

    def refuse(name, body, place=None, method="POST", at=path):
        body = body if isinstance(body, str) else json.dumps(body)
        t.refused("I", name, t.ask(method, at, t.a.key, body=body), 400, "invalid_request", place)

    for text in CRONS:
        refuse(f"cron {text[:30]!r}", automation("x", when={"cron": {"expression": text}}))
    for text in ZONES:
        refuse(f"zone {text[:30]!r}", automation("x", when={"cron": {"expression": "0 9 * * *", "timeZone": text}}))
    for text in ("59", "0", "-1", "31536001", "1e400", "60.5", '"60"', "null", "9223372036854775808", "true", "9" * 300, "[]"):
        refuse(f"every {text[:20]}", json.dumps(automation("x", when={"interval": {"everySeconds": 0}})).replace(": 0}", f": {text}}}"))
    condition = {"question": {"name": "get_portfolio_summary"}, "field": "navUsd", "comparator": "<", "value": 1}
    for name, value in (("field", ""), ("field", "a..b"), ("field", "__proto__ x"), ("field", "a[0]"), ("field", "x" * 200), ("field", "a;b"), ("field", None), ("comparator", "=="), ("comparator", "!="), ("comparator", None),
                        ("value", "1"), ("value", None), ("value", []), ("value", {"$serde_json::private::Number": "1"}), ("clearAt", 0), ("clearAt", "x"), ("clearAt", None), ("coolDownSeconds", -1), ("coolDownSeconds", 31536001), ("everySeconds", 59), ("everySeconds", 1e300),
                        ("question", {"name": "drop_table"}), ("question", {"name": "get_nav_history", "arguments": {"days": 0}}), ("question", None), ("extra", 1)):
        refuse(f"condition with {name} {value!r}"[:60], automation("x", when={"condition": condition | {name: value}}))
    for name, text in (("1e400", "1e400"), ("300 digits", "9" * 300), ("1e-400", "1e-400")):
        answer = t.ask("POST", path, t.a.key, body=json.dumps(automation("x", when={"condition": condition | {"value": 77}})).replace(": 77", f": {text}"))
        t.refused("I", f"condition of {name}", answer, 400, "invalid_request")
    for name, body in {
        "no when": {"name": "x", "what": automation("x")["what"]}, "no what": {"name": "x", "when": {"trigger": {}}}, "two whens": automation("x", when={"trigger": {}, "interval": {"everySeconds": 60}}), "no kind": automation("x", when={}),
        "an unknown kind": automation("x", when={"shell": {"command": "id"}}), "when a string": automation("x", when="trigger"), "two whats": automation("x") | {"what": {"question": {"name": "list_accounts"}, "export": {"table": "nav"}}},
        "an unknown question": automation("x") | {"what": {"question": {"name": "rm"}}}, "an unknown table": automation("x") | {"what": {"export": {"table": "pg_user"}}}, "bad arguments": automation("x") | {"what": {"question": {"name": "get_nav_history", "arguments": {"days": 366}}}},
        "unknown arguments": automation("x") | {"what": {"question": {"name": "list_accounts", "arguments": {"x": 1}}}}, "arguments an array": automation("x") | {"what": {"question": {"name": "list_accounts", "arguments": []}}},
        "eleven webhooks": automation("x", webhooks=[str(uuid.uuid4())] * 11), "an unknown webhook": automation("x", webhooks=[str(uuid.uuid4())]), "a webhook twice": automation("x", webhooks=[t.a.things["webhook"]] * 2), "a webhook that is no id": automation("x", webhooks=["x"]),
        "webhooks null": automation("x", webhooks=None), "name null": automation(None), "name unseen": automation("\u200b"), "name long": automation("x" * 101), "missed unknown": automation("x", missed="always"), "overlap unknown": automation("x", overlap="parallel"), "paused a string": automation("x", paused="no"),
        "workspaceId": automation("x", workspaceId=t.b.id), "keyId": automation("x", keyId=t.b.key_id), "id": automation("x", id=str(uuid.uuid4())), "nextAt": automation("x", nextAt="2026-01-01T00:00:00Z"),
    }.items():
        refuse(f"automation: {name}", body)
    mine = f"{path}/{t.a.things['automation']}"
    for body in ({"workspaceId": t.b.id}, {"keyId": t.b.key_id}, {"name": None}, {"when": None}, {"paused": None}, {"webhooks": None}, {"token": "x"}, {"rotateToken": "x"}, {"when": {"cron": {"expression": "x"}}}):
        refuse(f"automation changed by {json.dumps(body)[:50]}", body, method="PATCH", at=mine)
    only = t.child(t.a, scopes=["workspace:write:automations"])["apiKey"]
    t.refused("I", "an automation that may more than its key", t.ask("POST", path, only, body=automation("x")), 400, "invalid_request", "what")
    t.refused("I", "an automation changed by a key that may less", t.ask("PATCH", mine, only, body={"name": "x"}), 400, "invalid_request", "what")
    shown = t.ask("GET", f"{mine}/runs", only)
    t.case("I", "results stay hidden from a key that could not ask", all(run["result"] is None for run in shown.json["data"]["runs"]), "no result", shown)
    made = []
    for number in range(51):
        answer = t.ask("POST", path, t.b.key, body=automation(f"Quota {number}", paused=True))
        if answer.status == 201:
            made.append(answer.json["data"]["id"])
    t.refused("I", "one automation too many", answer, 409, "quota_reached")
    for one in made:
        t.must("DELETE", f"{path}/{one}", t.b.key)


def triggers(t):
    path = t.a.things["trigger"]
    token = path.rsplit("/", 1)[1]
    for name, spelled in (("unknown", token[:-1] + ("0" if token[-1] != "0" else "1")), ("short", token[:-1]), ("long", token + "0"), ("in capitals", token.upper()), ("a key", t.a.key), ("nothing of it", "x"),
                          ("a path", "..%2f" + token), ("a NUL", token + "%00"), ("a blank", token + "%20"), ("a pattern", "kvt_%25"), ("the prefix", "kvt_")):
        t.refused("I", f"a trigger's token: {name}", t.ask("POST", path.replace(token, spelled)), (400, 404))
    t.refused("I", "a trigger is not read", t.ask("GET", path), (401, 405))
    for line in (("webhook-id", ""), ("webhook-id", "a b"), ("webhook-id", "x" * 129), ("idempotency-key", "\u00e9")):
        t.refused("I", f"a trigger with {line[0]} {line[1][:8]!r}", t.ask("POST", path, headers=[line]), 400, "invalid_request")
    t.answered("I", "a trigger", t.ask("POST", path), 202)
    same = [t.ask("POST", path, headers=[("webhook-id", f"same-{t.mark}")]).json["data"]["runId"] for _ in range(2)]
    t.case("I", "one id, one run", same[0] == same[1], "the same", same)
    signed = t.must("POST", "/api/automations", t.a.key, automation("Signed", when={"trigger": {"signed": True}}))
    door, secret = signed["trigger"]["path"], base64.b64decode(signed["trigger"]["signingSecret"].removeprefix("whsec_"))

    def sign(body="{}", at=None, name="m1", key=secret, version="v1"):
        stamp = str(int(time.time()) if at is None else at)
        tag = hmac.new(key, f"{name}.{stamp}.{body}".encode(), hashlib.sha256).digest()
        return [("webhook-id", name), ("webhook-timestamp", stamp), ("webhook-signature", f"{version},{base64.b64encode(tag).decode()}")]

    now = int(time.time())
    for name, lines, body in (
        ("none", [], "{}"), ("of another body", sign("{ }"), "{}"), ("an hour old", sign(at=now - 3600), "{}"), ("of tomorrow", sign(at=now + 86_400), "{}"), ("with another secret", sign(key=b"x" * 32), "{}"), ("with no secret", sign(key=b""), "{}"),
        ("of another version", sign(version="v2"), "{}"), ("of another id", [("webhook-id", "m2"), *sign()[1:]], "{}"), ("without an id", sign()[1:], "{}"), ("empty", [*sign()[:2], ("webhook-signature", "")], "{}"), ("a comma", [*sign()[:2], ("webhook-signature", "v1,")], "{}"),
        ("at 1e9", sign(at="1e9"), "{}"), ("at nothing", sign(at=""), "{}"), ("at infinity", sign(at="inf"), "{}"), ("at a huge number", sign(at="9" * 30), "{}"), ("at a fraction", sign(at=f"{now}.5"), "{}"), ("at the least number", sign(at="-9223372036854775808"), "{}"),
        ("a prefix", [*sign()[:2], ("webhook-signature", sign()[2][1][:20])], "{}"), ("a thousand bad ones", [*sign()[:2], ("webhook-signature", " ".join(["v1,AAAA"] * 1000))], "{}"),
    ):
        t.refused("I", f"a signature {name}", t.ask("POST", door, headers=lines, body=body), 401, "invalid_signature")
    t.answered("I", "a good signature", t.ask("POST", door, headers=sign(), body="{}"), 202)
    old = t.must("PATCH", f"/api/automations/{t.a.things['automation']}", t.a.key, {"rotateToken": True})["trigger"]["path"]
    t.refused("I", "a token that was replaced", t.ask("POST", path), 404, "not_found")
    t.a.things["trigger"] = old


def attenuation(t):
    path = "/api/keys/self/children"
    soon = "2027-01-01T00:00:00Z"
    maker = t.child(t.a, scopes=["workspace:read:summary", "workspace:read:live"], addresses=["127.0.0.0/8", "::1/128"], expiresAt=soon, readsPerMinute=90)
    key = maker["apiKey"]
    for body in ({"scopes": [scope]} for scope in SCOPES if scope not in ("workspace:read:summary", "workspace:read:live")):
        t.refused("I", f"a child with {body}", t.ask("POST", path, key, body={"name": "x", **body}), 403, "wider_than_maker")
    for body in ({"addresses": ["0.0.0.0/0"]}, {"addresses": ["::/0"]}, {"addresses": ["127.0.0.1", "10.0.0.1"]}, {"addresses": ["126.0.0.0/7"]}, {"addresses": ["::ffff:0.0.0.0/96"]}, {"expiresAt": "2027-01-01T00:00:00.001Z"}, {"expiresAt": "9999-12-31T23:59:59Z"}, {"readsPerMinute": 91}):
        t.refused("I", f"a child with {json.dumps(body)}", t.ask("POST", path, key, body={"name": "x", **body}), 403, "wider_than_maker")
    for body in ({"addresses": []}, {"scopes": []}, {"accountIds": []}, {"scopes": ["*"]}, {"scopes": ["workspace"]}, {"scopes": ["workspace:*"]}, {"scopes": ["WORKSPACE:READ"]}, {"scopes": ["workspace:read:summary "]}, {"scopes": "workspace:read"}, {"scopes": None}, {"scopes": [None]}, {"scopes": ["workspace:read"] * 9},
                 {"addresses": ["x"]}, {"addresses": ["127.0.0.1/33"]}, {"addresses": ["127.0.0.1/-1"]}, {"addresses": ["127.1"]}, {"addresses": ["0177.0.0.1"]}, {"addresses": [""]}, {"addresses": ["127.0.0.1"] * 51}, {"addresses": None}, {"accountIds": ["x"]}, {"accountIds": None}, {"accountIds": [str(uuid.uuid4())] * 101},
                 {"expiresAt": "2020-01-01T00:00:00Z"}, {"expiresAt": "infinity"}, {"expiresAt": "+294277-01-01T00:00:00Z"}, {"expiresAt": 0}, {"expiresAt": None}, {"readsPerMinute": 0}, {"readsPerMinute": -1}, {"readsPerMinute": 1.5}, {"readsPerMinute": "1"}, {"readsPerMinute": 1e300}, {"readsPerMinute": None},
                 {"workspaceId": t.b.id}, {"parentId": t.b.key_id}, {"depth": 0}, {"id": str(uuid.uuid4())}, {"apiKey": "kv_live_x"}, {"hash": "x"}, {"createdAt": soon}, {"name": ""}, {"name": None}, {"name": "\u200b"}, {"name": "x" * 101}):
        t.refused("I", f"a child with {json.dumps(body)[:60]}", t.ask("POST", path, key, body={"name": "x", **body}), 400, "invalid_request")
    inherited = t.ask("POST", path, key, body={"name": "x"}).json["data"]["key"]
    is_good = (inherited["scopes"], inherited["expiresAt"], inherited["readsPerMinute"], len(inherited["addresses"])) == (maker["key"]["scopes"], "2027-01-01T00:00:00.000Z", 90, 2)
    t.case("I", "what is left out is as the maker's", is_good, maker["key"], inherited)
    generation = t.child(t.a)["apiKey"]
    for _ in range(2):
        generation = t.must("POST", path, generation, {"name": "x"})["apiKey"]
    t.refused("I", "a fourth generation", t.ask("POST", path, generation, body={"name": "x"}), 403, "too_deep")
    parent = t.child(t.a)
    child = t.must("POST", path, parent["apiKey"], {"name": "x"})
    t.refused("I", "a child revokes its maker", t.ask("DELETE", f"{path}/{parent['key']['id']}", child["apiKey"]), 404, "not_found")
    t.refused("I", "a child revokes its root", t.ask("DELETE", f"{path}/{t.a.key_id}", child["apiKey"]), 404, "not_found")
    t.must("DELETE", f"{path}/{parent['key']['id']}", t.a.key)
    t.refused("I", "a child of a revoked key", t.ask("GET", "/api/accounts", child["apiKey"]), 401, "invalid_credential")
    t.refused("I", "a revoked key makes a child", t.ask("POST", path, parent["apiKey"], body={"name": "x"}), 401, "invalid_credential")


def people(t):
    signup, login = "/api/auth/signup", "/api/auth/login"
    good = {"email": f"x-{t.mark}@example.com", "password": PASSWORD, "workspaceName": "X"}
    for body in ({"email": ""}, {"email": "x"}, {"email": "@"}, {"email": "a@b@c"}, {"email": "a b@c.d"}, {"email": "a@b\u0000"}, {"email": "\u00e4@b.c"}, {"email": "a@b\r\nbcc: c@d"}, {"email": "x" * 251 + "@b.c"}, {"email": None}, {"email": ["a@b.c"]}, {"password": "short"}, {"password": ""}, {"password": None},
                 {"password": "x" * 257}, {"password": "x" * 20 + "\u0000"}, {"password": 1}, {"role": "owner"}, {"workspaceId": t.a.id}, {"workspaceName": None}, {"workspaceName": ""}, {"apiKey": t.a.key}, {"apiKey": None}, {"personId": t.a.things["person"]}, {"isAdmin": True}):
        t.refused("I", f"signing up with {json.dumps(body)[:50]}", t.ask("POST", signup, body=good | body), 400, "invalid_request")
    claim = {"email": f"y-{t.mark}@example.com", "password": PASSWORD}
    t.refused("I", "a claim of what is claimed", t.ask("POST", signup, body=claim | {"apiKey": t.a.key}), 409, "already_claimed")
    t.refused("I", "a claim by a child", t.ask("POST", signup, body=claim | {"apiKey": t.a.things["child_key"]}), 403, "key_too_narrow")
    t.refused("I", "a claim by no key", t.ask("POST", signup, body=claim | {"apiKey": "kv_live_x"}), 401, "invalid_credential")
    t.refused("I", "an email that is taken", t.ask("POST", signup, body=good | {"email": t.a.things["email"].upper()}), 409, "conflict")
    for body in ({"password": "wrong wrong wrong"}, {"email": "nobody@example.com"}, {"password": PASSWORD + " "}, {"password": PASSWORD.upper()}):
        t.refused("I", f"logging in with {json.dumps(body)}", t.ask("POST", login, body={"email": t.a.things["email"], "password": PASSWORD} | body), 401, "invalid_login")
    t.refused("I", "logging in to a stranger's workspace", t.ask("POST", login, body={"email": t.a.things["email"], "password": PASSWORD, "workspaceId": t.b.id}), 403, "no_workspace")
    t.refused("I", "an invitation of another email", t.ask("POST", "/api/auth/accept", body={"token": t.a.things["invitation_token"], "email": "nobody@example.com", "password": PASSWORD}), 404, "invalid_invitation")
    t.refused("I", "no invitation", t.ask("POST", "/api/auth/accept", body={"token": "kvi_" + "0" * 64, "email": "nobody@example.com", "password": PASSWORD}), 404, "invalid_invitation")
    guest = t.must("POST", "/api/auth/accept", None, {"token": t.a.things["invitation_token"], "email": f"guest-0-{t.mark}@example.com", "password": PASSWORD})
    t.refused("I", "an invitation twice", t.ask("POST", "/api/auth/accept", body={"token": t.a.things["invitation_token"], "email": f"guest-0-{t.mark}@example.com", "password": PASSWORD}), 404, "invalid_invitation")
    viewer = guest["accessToken"]
    for method, path, body in (("GET", "/api/keys", None), ("POST", "/api/keys", {"name": "x", "scopes": ["workspace:read"]}), ("GET", "/api/audit", None), ("PATCH", f"/api/owners/{guest['personId']}", {"role": "owner"}), ("DELETE", f"/api/owners/{t.a.things['person']}", None),
                               ("POST", "/api/owners/invitations", {"email": "a@b.c", "role": "viewer"}), ("POST", "/api/portfolios", {"name": "x"}), ("POST", "/api/settings/ai-keys", {"provider": "openai", "key": "x" * 20}), ("DELETE", f"/api/keys/{t.a.key_id}", None)):
        t.refused("I", f"a viewer: {method} {path[:24]}", t.ask(method, path, viewer, body=body), 403, ("insufficient_role", "insufficient_scope"))
    t.refused("I", "the last owner leaves", t.ask("DELETE", f"/api/owners/{t.a.things['person']}", t.a.things["token"]), 409, "last_owner")
    t.refused("I", "the last owner steps down", t.ask("PATCH", f"/api/owners/{t.a.things['person']}", t.a.things["token"], body={"role": "viewer"}), 409, "last_owner")
    t.must("DELETE", f"/api/owners/{guest['personId']}", t.a.things["token"])
    t.refused("I", "who was removed reads", t.ask("GET", "/api/accounts", viewer), 401, "invalid_credential")
    replay(t)


def replay(t):
    """A refresh token is good once; the second use ends the login."""
    one = t.must("POST", "/api/auth/login", None, {"email": t.a.things["email"], "password": PASSWORD})
    two = t.must("POST", "/api/auth/refresh", None, {"refreshToken": one["refreshToken"]})
    t.answered("I", "a refreshed token", t.ask("GET", "/api/accounts", two["accessToken"]))
    t.refused("I", "a refresh token twice", t.ask("POST", "/api/auth/refresh", body={"refreshToken": one["refreshToken"]}), 401, "login_over")
    t.refused("I", "its successor falls too", t.ask("POST", "/api/auth/refresh", body={"refreshToken": two["refreshToken"]}), 401, "login_over")
    t.refused("I", "and its access token", t.ask("GET", "/api/accounts", two["accessToken"]), 401, "invalid_credential")
    other = t.must("POST", "/api/auth/login", None, {"email": t.a.things["email"], "password": PASSWORD})
    strange = t.ask("POST", "/api/auth/refresh", body={"refreshToken": other["refreshToken"], "workspaceId": t.b.id})
    t.refused("I", "a refresh into a stranger's workspace", strange, 403, "no_workspace")
    fresh = t.must("POST", "/api/auth/login", None, {"email": t.a.things["email"], "password": PASSWORD})
    token = fresh["refreshToken"]
    for name, text in (("cut", token[:-1]), ("changed", token[:-1] + ("A" if token[-1] != "A" else "B")), ("of another login", one["refreshToken"][:26] + token[26:]), ("padded", token + "="), ("a key", t.a.key), ("an access token", fresh["accessToken"][:256]), ("in capitals", token.upper()), ("zeros", "kvr_" + "A" * 64)):
        t.refused("I", f"a refresh token: {name}", t.ask("POST", "/api/auth/refresh", body={"refreshToken": text}), 401, "login_over")


def part(value):
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")


def forged(t):
    token = t.a.things["token"]
    head, claims, tag = token.split(".")
    header, body = (json.loads(base64.urlsafe_b64decode(text + "==")) for text in (head, claims))

    def signed(header, body, key=b""):
        text = f"{part(header)}.{part(body)}"
        return f"{text}.{part(hmac.new(key, text.encode(), hashlib.sha256).digest())}"

    tricks = {
        "none": f"{part(header | {'alg': 'none'})}.{claims}.", "None": f"{part(header | {'alg': 'None'})}.{claims}.{tag}", "no alg": f"{part({'typ': 'JWT', 'kid': header['kid']})}.{claims}.{tag}", "HS512": f"{part(header | {'alg': 'HS512'})}.{claims}.{tag}",
        "RS256": f"{part(header | {'alg': 'RS256'})}.{claims}.{tag}", "an empty key": signed(header, body), "the kid as key": signed(header, body, header["kid"].encode()), "zeros as key": signed(header, body, bytes(32)), "a key as key": signed(header, body, t.a.key.encode()),
        "no tag": f"{head}.{claims}.", "two parts": f"{head}.{claims}", "four parts": f"{token}.{tag}", "five parts": f"{head}..{claims}.{tag}.", "cut": token[:-2], "tag changed": token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:], "padded": token + "=",
        "tag first": f"{tag}.{claims}.{head}", "a stranger's claims": f"{head}.{t.b.things['token'].split('.')[1]}.{tag}", "a stranger's tag": f"{head}.{claims}.{t.b.things['token'].split('.')[2]}", "other workspace": f"{head}.{part(body | {'ws': t.b.id})}.{tag}",
        "no end": f"{head}.{part(body | {'exp': 9999999999})}.{tag}", "a role": f"{head}.{part(body | {'role': 'owner'})}.{tag}", "not JSON": f"{head}.{part(b'x')}.{tag}", "blanks": f"{head} .{claims}.{tag}", "standard alphabet": token.replace("-", "+").replace("_", "/") + "+/", "long": token + "A" * 50_000,
        "embedded key": signed(header | {"jwk": {"kty": "oct", "k": part(b"x" * 32)}}, body, b"x" * 32), "a key's address": signed(header | {"jku": "https://evil.example/keys"}, body, b"x"), "a critical header": signed(header | {"crit": ["b64"], "b64": False}, body, b""),
    }
    tricks |= {f"kid {kid!r}"[:40]: f"{part(header | {'kid': kid})}.{claims}.{tag}" for kid in ("", "0", "-1", "../../dev/null", "' UNION SELECT 'x", "9" * 30, str(int(header["kid"]) + 1), str(int(header["kid"]) - 1), "99999999", None, [], 1)}
    for name, text in tricks.items():
        t.refused("I", f"a token: {name}", t.ask("GET", "/api/accounts", headers=[("authorization", f"Bearer {text}")]), 401, "invalid_credential")


def ai_keys(t):
    path, good = "/api/settings/ai-keys", {"provider": "anthropic", "key": "sk-" + "x" * 20}
    for body in ({"provider": "x"}, {"provider": "Anthropic"}, {"provider": None}, {"provider": "../x"}, {"key": ""}, {"key": "short"}, {"key": "x" * 513}, {"key": "a b" * 5}, {"key": "\u00e9" * 10}, {"key": "x" * 10 + "\n"}, {"key": None}, {"key": 1}, {"workspaceId": t.b.id}, {"hint": "x"}):
        answer = t.ask("POST", path, t.a.key, body=good | body)
        t.refused("I", f"an AI key with {json.dumps(body)[:40]}", answer, 400, "invalid_request")
    kept = t.ask("POST", path, t.a.key, body=good)
    t.case("I", "an AI key is not shown again", kept.status in (200, 201) and good["key"].encode() not in kept.body, "its hint", kept)
    t.refused("I", "a stranger removes it", t.ask("DELETE", f"{path}/anthropic", t.b.key), 404, "not_found")
    for provider in ("Anthropic", "x", "%00", "..", "anthropic%20", "openai"):
        t.refused("I", f"removing {provider}", t.ask("DELETE", f"{path}/{provider}", t.a.key), (400, 404))
    t.answered("I", "removing it", t.ask("DELETE", f"{path}/anthropic", t.a.key))


def accounts(t):
    good = {"name": "x", "venue": "paper", "apiKey": "k" * 20, "apiSecret": "s" * 20}
    for body in ({"name": None}, {"name": ""}, {"name": "\u202e"}, {"name": "x" * 101}, {"venue": "x"}, {"venue": "BINANCE"}, {"venue": None}, {"venue": ["paper"]}, {"apiKey": None}, {"apiKey": ""}, {"apiKey": "a b"}, {"apiKey": "k\r\nx-evil: 1"}, {"apiKey": "\u00e9"}, {"apiKey": "x" * 513}, {"apiSecret": ""}, {"apiSecret": 1},
                 {"apiSecret": "\u0000"}, {"walletAddress": "0x" + "0" * 40}, {"passphrase": "x"}, {"tags": None}, {"tags": "x"}, {"tags": [""]}, {"tags": ["x"] * 21}, {"tags": ["x" * 51]}, {"tags": [1]}, {"tags": ["\u200b"]}, {"portfolioId": "x"}, {"portfolioId": None}, {"workspaceId": t.b.id}, {"id": str(uuid.uuid4())}, {"isActive": True},
                 {"status": "connected"}, {"venueUrl": "http://127.0.0.1"}, {"lastBalanceUsd": 1e9}):
        t.refused("I", f"an account with {json.dumps(body)[:50]}", t.ask("POST", "/api/accounts", t.a.key, body=good | body), 400, "invalid_request")
    for body in ({"venue": "hyperliquid", "name": "x"}, {"venue": "hyperliquid", "name": "x", "walletAddress": "0x1"}, {"venue": "hyperliquid", "name": "x", "walletAddress": "0x" + "g" * 40}, {"venue": "hyperliquid", "name": "x", "walletAddress": "0x" + "\uff10" * 40},
                 {"venue": "hyperliquid", "name": "x", "walletAddress": "0x" + "0" * 40, "address": "0x" + "0" * 40}, {"venue": "hyperliquid", "name": "x", "walletAddress": "0x" + "0" * 40, "apiKey": "x"}):
        t.refused("I", f"a wallet with {json.dumps(body)[:60]}", t.ask("POST", "/api/accounts", t.a.key, body=body), 400, "invalid_request")
    papers = t.paper_keys()
    if papers and t.a.accounts:
        paper = papers[2]
        refused = t.ask("POST", "/api/accounts", t.a.key, body=good | {"apiKey": paper["readKey"], "apiSecret": "0" * 64})
        t.refused("I", "a key that the venue refuses", refused, 400, "venue_refused_key")
        trades = t.ask("POST", "/api/accounts", t.a.key, body=good | {"apiKey": paper["tradeKey"], "apiSecret": paper["tradeSecret"]})
        t.refused("I", "a key that can trade", trades, 400, "key_too_powerful")
        t.case("I", "no secret in what is said of them", paper["tradeSecret"].encode() not in trades.body + refused.body and b"0" * 64 not in refused.body, "none", trades)
        twice = t.ask("POST", "/api/accounts", t.a.key, body=good | {"apiKey": papers[0]["readKey"], "apiSecret": papers[0]["readSecret"]})
        t.refused("I", "an account twice", twice, 409, ("conflict", "account_removed"))
