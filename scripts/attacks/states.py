"""J: asking twice, and two who write."""

import json
import threading

from .trial import JSON
from .wire import Client
from .world import furnish

BAD_KEYS = ["", " ", "two words", "x" * 256, "\u00e9", "a\tb", "\u202e", "a, b"]


def run(t):
    furnish(t)
    again(t)
    versions(t)
    races(t)


def make(t, key, name, workspace=None, **more):
    return t.ask("POST", "/api/portfolios", (workspace or t.a).key, [("idempotency-key", key)], {"name": name, **more})


def again(t):
    key = f"once-{t.mark}"
    first, second = make(t, key, "Once"), make(t, key, "Once")
    t.answered("J", "the first request", first, 201)
    same = second.status == 201 and second.json["data"]["id"] == first.json["data"]["id"] and second.header("idempotency-replayed") == "true"
    t.case("J", "the same request again", same, "the same group, replayed", second)
    t.refused("J", "the key with another body", make(t, key, "Other"), 409, "idempotency_conflict")
    t.refused("J", "the key with one more blank", t.ask("POST", "/api/portfolios", t.a.key, [("idempotency-key", key)], '{"name":"Once" }'), 409, "idempotency_conflict")
    body = {"name": "x", "venue": "paper", "apiKey": "x", "apiSecret": "y"}
    t.refused("J", "the key on another route", t.ask("POST", "/api/accounts", t.a.key, [("idempotency-key", key)], body), 409, "idempotency_conflict")
    theirs = make(t, key, "Once", t.b)
    t.case("J", "the key of a stranger is theirs", theirs.status == 201 and theirs.json["data"]["id"] != first.json["data"]["id"], "another group", theirs)
    for bad in BAD_KEYS:
        t.refused("J", f"idempotency key {bad[:12]!r}", make(t, bad, "Bad"), 400, "invalid_request")
    twice = [("idempotency-key", "a"), ("idempotency-key", "a")]
    t.refused("J", "two idempotency keys", t.ask("POST", "/api/portfolios", t.a.key, twice, {"name": "Bad"}), 400, "invalid_request")
    failing = f"fails-{t.mark}"
    t.refused("J", "a request that fails", make(t, failing, "Once"), 409, "conflict")
    t.answered("J", "leaves its key free", make(t, failing, "Free"), 201)
    for name, body in {"no body": b"", "a broken body": b"{", "an unknown field": b'{"name":"x","id":"1"}'}.items():
        t.refused("J", f"{name} under a key", t.ask("POST", "/api/portfolios", t.a.key, [("idempotency-key", "k")], body), 400, "invalid_request")


def versions(t):
    group = make(t, f"versions-{t.mark}", "Versions")
    path, tag = f"/api/portfolios/{group.json['data']['id']}", group.header("etag")
    changed = t.ask("PATCH", path, t.a.key, [("if-match", tag)], {"name": "Versions 2"})
    t.case("J", "a change of what was read", changed.status == 200 and changed.header("etag") != tag, "another tag", changed)
    for bad in (tag, '"0"', '"-1"', '"99999999999999999999"', "x", '"', '""', "W/", '"1" "2"', "\u00e9", '"1e0"', '" 2"', ", ,", "2"):
        answer = t.ask("PATCH", path, t.a.key, [("if-match", bad)], {"name": "Lost"})
        t.refused("J", f"if-match {bad!r}", answer, 412, "version_conflict")
        t.refused("J", f"delete with if-match {bad!r}", t.ask("DELETE", path, t.a.key, [("if-match", bad)]), 412, "version_conflict")
    now = t.ask("GET", path, t.a.key)
    t.case("J", "nothing of that happened", now.json["data"]["name"] == "Versions 2", "Versions 2", now)
    for body in ({"name": None}, {"name": ""}, {"name": 1}, {"version": 9}, {"id": "x"}, {"workspaceId": t.b.id}, {"parentId": 1}, {"navUsd": 1}):
        t.refused("J", f"a group changed by {json.dumps(body)}", t.ask("PATCH", path, t.a.key, body=body), 400, "invalid_request")
    own = t.ask("PATCH", path, t.a.key, body={"parentId": path.rsplit("/", 1)[1]})
    t.refused("J", "a group below itself", own, (400, 409))
    gone = t.ask("DELETE", path, t.a.key, [("if-match", "*")])
    t.answered("J", "a group is removed", gone)
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        t.refused("J", f"{method} of what is gone", t.ask(method, path, t.a.key, body=body), 404, "not_found")
    above = t.must("POST", "/api/portfolios", t.a.key, {"name": "Depth 1"})["id"]
    for depth in range(2, 13):
        answer = t.ask("POST", "/api/portfolios", t.a.key, body={"name": f"Depth {depth}", "parentId": above})
        if depth <= 10:
            t.answered("J", f"a group {depth} deep", answer, 201)
            above = answer.json["data"]["id"]
        else:
            t.refused("J", "a group eleven deep", answer, (400, 409))


def together(t, count, ask):
    """The answers of requests that are sent at once, each from a connection of its own."""
    gate, got = threading.Barrier(count), [None] * count

    def one(i):
        client = Client(t.place)
        gate.wait()
        got[i] = ask(client, i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in got:
        t.demand("a race", answer)
    return got


def races(t):
    bearer = ("authorization", f"Bearer {t.a.key}")
    key = ("idempotency-key", f"race-{t.mark}")
    got = together(t, 12, lambda client, _: client.ask("POST", "/api/portfolios", [bearer, JSON, key], '{"name":"Race"}'))
    made = {one.json["data"]["id"] for one in got if one.status == 201}
    is_good = len(made) == 1 and all(one.status in (201, 409) for one in got)
    t.case("J", "twelve at once under one key make one", is_good, "one group", [one.status for one in got])
    got = together(t, 12, lambda client, _: client.ask("POST", "/api/portfolios", [bearer, JSON], '{"name":"Race 2"}'))
    t.case("J", "twelve at once of one name make one", sorted(one.status for one in got) == [201] + [409] * 11, "one 201", [one.status for one in got])
    group = next(one for one in got if one.status == 201)
    path, tag = f"/api/portfolios/{group.json['data']['id']}", ("if-match", group.header("etag"))
    got = together(t, 12, lambda client, i: client.ask("PATCH", path, [bearer, JSON, tag], json.dumps({"name": f"Won by {i}"})))
    t.case("J", "twelve at once of one version: one wins", sorted(one.status for one in got) == [200] + [412] * 11, "one 200", [one.status for one in got])
    got = together(t, 8, lambda client, _: client.ask("DELETE", path, [bearer]))
    t.case("J", "eight delete at once: one does", sorted(one.status for one in got) == [200] + [404] * 7, "one 200", [one.status for one in got])
    name = f"runs-{t.mark}"
    run = f"/api/automations/{t.a.things['automation']}/run"
    got = together(t, 8, lambda client, _: client.ask("POST", run, [bearer, ("idempotency-key", name)], ""))
    ids = {(one.json.get("data") or {}).get("runId") for one in got}
    t.case("J", "eight runs under one id are one", len(ids) == 1 and all(one.status == 202 for one in got), "one run", [one.status for one in got])
    child = t.child(t.a)
    got = together(t, 8, lambda client, _: client.ask("DELETE", "/api/keys/self", [("authorization", f"Bearer {child['apiKey']}")]))
    t.case("J", "a key revokes itself once", sum(one.status == 200 for one in got) == 1 and all(one.status in (200, 401, 404) for one in got), "one 200", [one.status for one in got])
