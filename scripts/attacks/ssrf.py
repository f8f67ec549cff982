"""G: where webhooks may point. Nothing of the inside, however it is spelled, and no success by a name that leads there."""

import time

from .world import automation

PATH = "/api/automations/webhooks"
# 127.0.0.1, 169.254.169.254, 10.0.0.1, 192.168.0.1 and their like.
SPELLINGS = [
    "https://127.0.0.1/", "https://127.0.0.1:443/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/",
    "https://0x7f.1/", "https://017700000001/", "https://0177.0.0.1/", "https://0177.0.0.01/", "https://127.0.0.1./", "https://127.000.000.001/", "https://0/", "https://0.0.0.0/",
    "https://00/", "https://0x0/", "https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/",
    "https://[::ffff:0:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[100::1]/",
    "https://[5f00::1]/", "https://[3fff::1]/", "https://[2001:10::1]/", "https://[fec0::1]/", "https://169.254.169.254/latest/meta-data/", "https://2852039166/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/",
    "https://169.254.43518/", "https://[::ffff:169.254.169.254]/", "https://[::ffff:a9fe:a9fe]/", "https://169.254.170.2/", "https://100.100.100.200/", "https://168.63.129.16/", "https://192.0.0.192/", "https://10.0.0.1/",
    "https://10.1/", "https://167772161/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/", "https://192.168.1/", "https://0xc0a80001/", "https://100.64.0.1/", "https://100.127.255.255/", "https://198.18.0.1/",
    "https://192.0.2.1/", "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://239.255.255.255/", "https://240.0.0.1/", "https://255.255.255.255/", "https://192.88.99.1/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", "https://127\u30020\u30020\u30021/", "https://127\uff0e0\uff0e0\uff0e1/", "https://\uff11\uff12\uff17.0.0.1/", "https://\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1/",
    "https://127.0.0.1%2f/", "https://%31%32%37.0.0.1/", "https://%6c%6f%63%61%6c%68%6f%73%74/", "https://127.0.0.1#.example.com/", "https://127.0.0.1?.example.com/",
]
NAMES = [
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://localhost../", "https://a.localhost/", "https://a.localhost./", "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "https://loc\u00adalhost/",
    "https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/", "https://localhost.localdomain/", "https://metadata/", "https://metadata.google.internal/", "https://metadata.google.internal./",
    "https://metadata.GOOGLE.internal/", "https://instance-data.ec2.internal/", "https://kubernetes.default.svc.cluster.local/", "https://router.lan/", "https://printer.local/", "https://nas.home.arpa/", "https://db/",
    "https://postgres/", "https://host.docker.internal/", "https://vault.internal/", "https://a.local./",
]
FORMS = [
    "", " ", "x", "hooks.example.com", "//hooks.example.com", "/hook", "https:", "https:/", "https://", "https:///hook", "https:hooks.example.com", "https:\\\\hooks.example.com", "http://hooks.example.com/", "HTTP://hooks.example.com",
    "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://hooks.example.com/", "dict://hooks.example.com:11211/", "ldap://hooks.example.com", "data:text/plain,x", "javascript:alert(1)", "jar:https://x!/", "ws://hooks.example.com", "unix:/run/x",
    "https+unix://x", "blob:https://hooks.example.com/x", "view-source:https://hooks.example.com", "https://user@hooks.example.com/", "https://user:secret@hooks.example.com/", "https://:@hooks.example.com/", "https://@hooks.example.com/",
    "https://hooks.example.com@127.0.0.1/", "https://127.0.0.1@hooks.example.com/", "https://hooks.example.com\\@127.0.0.1/", "https://127.0.0.1\\@hooks.example.com/", "https://hooks.example.com:65536/", "https://hooks.example.com:-1/",
    "https://hooks.example.com:x/", "https://hooks.example.com:99999999999/", "https://hooks.example.com:443:443/", "https://hooks.example.com/#x", "https://hooks.example.com/#", "https://hooks.example.com/a b", "https://hooks.example.com/\n",
    "https://hooks.example.com/\r\nhost: 127.0.0.1", "\thttps://hooks.example.com/", "https://hooks.example.com/\u0000", "ht\ntps://hooks.example.com/", "https://127.0.0.1\n.example.com/", "https://hooks\u0009.example.com/", "https://[::1", "https://::1/", "https://[::1]x/",
    "https://[v1.x]/", "https://[127.0.0.1]/", "https://1.2.3.4.5/", "https://256.256.256.256/", "https://0x100000000/", "https://4294967296/", "https://1.2.3.256/", "https://%00/", "https://a%00.example.com/", "https://ex%61mple%2ecom%2f@127.0.0.1/", "https://..example.com/",
    "https://" + "a" * 64 + ".example.com/" + "b" * 2100, "https://hooks.example.com/" + "a" * 200_000, "https://xn--/", "https://xn--a/", "https://*.example.com/", "https://hooks_example/", "https://<>/", "https://hooks.example.com|127.0.0.1/", "https://^/",
]
WRONG_TYPES = ["null", "1", "true", "[]", "{}", '["https://hooks.example.com/"]', '"\\ud800"']
# Names of the public internet that lead, or may lead, inside: taken as names, and judged at each try.
REBINDING = ["https://127.0.0.1.nip.io/", "https://169-254-169-254.sslip.io/", "https://localtest.me/", "https://1u.ms/", "https://10.0.0.1.xip.io/"]
# A port is no secret door, but nought is none.
EITHER = ["https://hooks.example.com:0/", "https://hooks.example.com./", "https://example.com:22/"]


def run(t):
    for url in SPELLINGS + NAMES + FORMS:
        refuse(t, url)
    for text in WRONG_TYPES:
        t.refused("G", f"url {text}", t.ask("POST", PATH, t.a.key, body='{"url":%s}' % text), 400, "invalid_request")
    for text in ('{}', '{"url":"https://hooks.example.com/","secret":"whsec_x"}', '{"url":"https://hooks.example.com/","URL":"https://127.0.0.1/"}',
                 '{"url":"https://hooks.example.com/","url":"https://127.0.0.1/"}', '["https://hooks.example.com/"]', '{"url":"https://hooks.example.com/","workspaceId":"x"}'):
        t.refused("G", f"a webhook of {text[:60]}", t.ask("POST", PATH, t.a.key, body=text), 400, "invalid_request")
    updates(t)
    listed = t.ask("GET", PATH, t.a.key).json["data"]["webhooks"]
    t.case("G", "none of them was kept", all("example.com" in one["url"] for one in listed), "example.com alone", listed)
    rebinding(t)


def refuse(t, url):
    answer = t.ask("POST", PATH, t.a.key, body={"url": url})
    if answer.status == 201:
        t.ask("DELETE", f"{PATH}/{answer.json['data']['id']}", t.a.key)
    t.refused("G", f"webhook {url[:70]!r}", answer, 400, "invalid_request", "url")


def updates(t):
    """What was made cannot be pointed elsewhere."""
    made = t.must("POST", PATH, t.a.key, {"url": "https://hooks.example.com/g"})
    for body in ({"url": "https://127.0.0.1/"}, {"url": "https://hooks.example.com/"}, {"host": "127.0.0.1"}, {"disabled": None}, {"disabled": "no"}, {"rotateSecret": "yes"}, {"secret": "x"}, {"id": t.b.id}):
        t.refused("G", f"a webhook changed by {body}", t.ask("PATCH", f"{PATH}/{made['id']}", t.a.key, body=body), 400, "invalid_request")
    t.answered("G", "a webhook is removed", t.ask("DELETE", f"{PATH}/{made['id']}", t.a.key))
    for url in EITHER:
        answer = t.ask("POST", PATH, t.a.key, body={"url": url})
        t.answered("G", f"webhook {url}", answer, (201, 400))
        if answer.status == 201:
            t.ask("DELETE", f"{PATH}/{answer.json['data']['id']}", t.a.key)


def rebinding(t, patience=20):
    hooks = {}
    for url in REBINDING:
        answer = t.ask("POST", PATH, t.a.key, body={"url": url})
        t.answered("G", f"webhook {url}", answer, (201, 400))
        if answer.status == 201:
            hooks[answer.json["data"]["id"]] = url
    made = t.must("POST", "/api/automations", t.a.key, automation("Rebinding", webhooks=list(hooks)))
    t.must("POST", f"/api/automations/{made['id']}/run", t.a.key, {})
    tried = {}
    for _ in range(patience * 2):
        for hook in hooks:
            for one in t.must("GET", f"{PATH}/{hook}/deliveries", t.a.key)["deliveries"]:
                if one["attempts"]:
                    tried[hook] = t.must("GET", f"/api/automations/deliveries/{one['id']}", t.a.key)
        if len(tried) == len(hooks):
            break
        time.sleep(0.5)
    if not tried:
        t.skip("G", "no worker tried to deliver: names that lead inside were judged by their form alone")
    for hook, told in tried.items():
        is_good = told["delivery"]["state"] != "delivered" and all(one["statusCode"] is None for one in told["log"])
        t.case("G", f"nothing arrives at {hooks[hook]}", is_good, "no answer from there", told)
    t.must("DELETE", f"/api/automations/{made['id']}", t.a.key)
    for hook in hooks:
        t.must("DELETE", f"{PATH}/{hook}", t.a.key)
