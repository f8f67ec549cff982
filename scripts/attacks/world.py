"""What the two workspaces are furnished with, once, for the groups that need things to attack."""

import time

from .wire import Broken

PASSWORD = "correct horse battery staple"
# Public by its form, and nobody's: what is sent there never arrives.
HOOK = "https://hooks.example.com/codash"


def furnish(t):
    """Groups, webhooks, automations, keys, people, and accounts with records where there is a paper exchange."""
    if t.a.things:
        return
    papers = t.paper_keys()
    for number, workspace in enumerate((t.a, t.b)):
        things = workspace.things
        things["portfolio"] = t.must("POST", "/api/portfolios", workspace.key, {"name": "Desk"})["id"]
        things["webhook"] = t.must("POST", "/api/automations/webhooks", workspace.key, {"url": HOOK})["id"]
        made = t.must("POST", "/api/automations", workspace.key, automation("Mine", webhooks=[things["webhook"]]))
        things["automation"], things["trigger"] = made["id"], made["trigger"]["path"]
        child = t.child(workspace)
        things["child"], things["child_key"] = child["key"]["id"], child["apiKey"]
        person(t, workspace, f"owner-{number}-{t.mark}@example.com")
        invited = {"email": f"guest-{number}-{t.mark}@example.com", "role": "viewer"}
        invitation = t.must("POST", "/api/owners/invitations", things["token"], invited)
        things["invitation"], things["invitation_token"] = invitation["id"], invitation["token"]
        things["run"] = t.must("POST", f"/api/automations/{things['automation']}/run", workspace.key, {})["runId"]
        for paper in papers[number * 2:number * 2 + 2]:
            body = {"name": paper["name"], "venue": "paper", "apiKey": paper["readKey"], "apiSecret": paper["readSecret"],
                    "portfolioId": things["portfolio"]}
            workspace.accounts.append(t.must("POST", "/api/accounts", workspace.key, body)["id"])
    if not papers:
        t.skip("DEJ", "no paper exchange: cases that need accounts with records")
    for workspace in (t.a, t.b):
        workspace.things["delivery"] = delivery(t, workspace)


def automation(name, **more):
    question = {"question": {"name": "get_pnl_by_symbol", "arguments": {"days": 1}}}
    return {"name": name, "when": {"trigger": {}}, "what": question, **more}


def person(t, workspace, email):
    """The owner of a workspace, who claims it with its first key."""
    body = {"email": email, "password": PASSWORD, "apiKey": workspace.key}
    login = t.must("POST", "/api/auth/signup", None, body)
    workspace.things |= {"email": email, "token": login["accessToken"], "refresh": login["refreshToken"], "person": login["personId"]}


def delivery(t, workspace, patience=40):
    """The message of the first run; None when no worker takes it on."""
    path = f"/api/automations/{workspace.things['automation']}/runs"
    for _ in range(patience * 2):
        for run in t.must("GET", path, workspace.key)["runs"]:
            if run["deliveries"]:
                return run["deliveries"][0]["id"]
        time.sleep(0.5)
    t.skip("D", "no worker ran an automation: cases that need a delivery")
    return None


def records(t, workspace, least=3, patience=90):
    """True once the accounts have events."""
    if not workspace.accounts:
        return False
    for _ in range(patience):
        answer = t.call("get_trade_events", {"limit": least}, workspace.key)
        if answer.json["result"]["structuredContent"]["count"] >= least:
            return True
        time.sleep(1)
    raise Broken("the accounts of the paper exchange have no records yet")
