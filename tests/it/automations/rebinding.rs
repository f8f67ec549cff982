//! Names and spellings that lead inside: no connection is ever made to what webhooks may not reach.
//!
//! A name server of the test's own answers over UDP and changes its mind between questions. Sockets
//! listen on every forbidden address that this machine lets us have and count who connects:
//! on loopback everywhere, on all of them where `scripts/ssrf-netns.sh` made a network of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::names::NameServer;
use super::*;

/// In unassigned global space: a guard lets it pass and no host has it.
const PUBLIC: &str = "2d00::1";

/// Each of them alone makes a name forbidden.
const BLOCKED: [&str; 14] = [
    "127.0.0.1",
    "::1",
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "fd00:ec2::254",
    "fe80::1",
    "224.0.0.1",
];

/// Sockets on one port of every address that this machine lets us listen on.
struct Traps {
    port: u16,
    sprung: HashMap<IpAddr, Arc<AtomicUsize>>,
}

impl Traps {
    async fn set() -> Self {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut traps = Self { port, sprung: HashMap::new() };
        traps.watch("127.0.0.1".parse().unwrap(), first);
        for address in BLOCKED.iter().skip(1).chain([&PUBLIC]) {
            let address: IpAddr = address.parse().unwrap();
            let is_own = !address.is_unspecified() && address == address.to_canonical();
            if let Ok(listener) = TcpListener::bind((address, port)).await
                && is_own
            {
                traps.watch(address, listener);
            }
        }
        if let Some(least) = std::env::var_os("CODASH_TEST_TRAPS") {
            let least: usize = least.to_string_lossy().parse().unwrap();
            assert!(traps.sprung.len() >= least, "we listen on {:?} alone", traps.sprung.keys());
        }
        traps
    }

    fn watch(&mut self, address: IpAddr, listener: TcpListener) {
        let count = Arc::new(AtomicUsize::new(0));
        self.sprung.insert(address, Arc::clone(&count));
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Connections to forbidden addresses.
    fn forbidden(&self) -> usize {
        let public: IpAddr = PUBLIC.parse().unwrap();
        let inner = self.sprung.iter().filter(|(address, _)| **address != public);
        inner.map(|(_, count)| count.load(Ordering::SeqCst)).sum()
    }

    /// Connections to the public address, where we could listen on it.
    fn public(&self) -> Option<usize> {
        self.sprung.get(&PUBLIC.parse::<IpAddr>().unwrap()).map(|count| count.load(Ordering::SeqCst))
    }
}

/// Everything waiting to be sent again is due.
async fn make_due(world: &World) {
    world.db.admin("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending' RETURNING 1").await;
}

async fn deliveries(agent: &Agent, id: &str) -> Vec<Value> {
    runs(agent, id).await[0]["deliveries"].as_array().unwrap().clone()
}

fn assert_refused(delivery: &Value, tries: usize) {
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("pending"), &json!(tries)), "{delivery}");
    assert!(delivery["detail"].as_str().unwrap().contains("not of the public internet"), "{delivery}");
}

#[tokio::test]
async fn whatever_a_name_turns_to_no_forbidden_address_is_connected_to() {
    let world = World::new().await;
    let (agent, names, traps) = (world.agent(), NameServer::start().await, Traps::set().await);
    let name = |n: usize| format!("n{n}.rebound.example.com");
    let mut hooks = Vec::new();
    for (n, blocked) in BLOCKED.iter().enumerate() {
        match n % 2 {
            0 => names.knows(&name(n), &[&[blocked]]),
            _ => names.knows(&name(n), &[&[PUBLIC, blocked], &[blocked, PUBLIC]]),
        }
        hooks.push(webhook(&agent, &format!("https://{}:{}/", name(n), traps.port)).await.0);
    }
    let worker = worker_reaching(&world, Reach::Public, names.lookup());
    let mut ids = Vec::new();
    for some in hooks.chunks(7) {
        let id = id_of(&make(&agent, &triggered(json!({ "webhooks": some, "overlap": "queue" }))).await);
        run_now(&agent, &id).await;
        ids.push(id);
    }
    drain(&worker).await;
    for _ in 0..2 {
        make_due(&world).await;
        drain(&worker).await;
    }
    for id in &ids {
        let deliveries = deliveries(&agent, id).await;
        assert_eq!(deliveries.len(), 7);
        deliveries.iter().for_each(|delivery| assert_refused(delivery, 3));
    }
    // An owner's own change, and a message sent again by hand, are tries as any other.
    for hook in &hooks {
        let path = format!("/api/automations/webhooks/{hook}");
        for change in [json!({ "disabled": true }), json!({ "disabled": false }), json!({ "rotateSecret": true })] {
            done(&agent, Method::PATCH, &path, Some(&change)).await;
        }
    }
    world.db.admin("UPDATE webhook_deliveries SET state = 'failed' RETURNING 1").await;
    for id in &ids {
        for delivery in deliveries(&agent, id).await {
            let path = format!("/api/automations/deliveries/{}/redeliver", delivery["id"].as_str().unwrap());
            done(&agent, Method::POST, &path, None).await;
        }
    }
    drain(&worker).await;
    for (n, blocked) in BLOCKED.iter().enumerate() {
        assert_eq!(names.resolutions(&name(n)), 4, "judged anew at every try, and resolved once: {blocked}");
    }
    assert_eq!(traps.forbidden(), 0, "somebody connected");
    // The traps do spring: for an operator who lets webhooks come here.
    drain(&worker_reaching(&world, Reach::Local, names.lookup())).await;
    make_due(&world).await;
    drain(&worker_reaching(&world, Reach::Local, names.lookup())).await;
    assert!(traps.forbidden() > 0, "a trap that cannot spring proves nothing");
}

#[tokio::test]
async fn a_name_that_was_public_at_first_is_judged_by_what_it_is_now() {
    let world = World::new().await;
    let (agent, names, traps) = (world.agent(), NameServer::start().await, Traps::set().await);
    let name = "turncoat.example.com";
    let turns: Vec<&[&str]> = std::iter::once(&[PUBLIC][..]).chain(BLOCKED.iter().map(std::slice::from_ref)).collect();
    names.knows(name, &turns);
    let (hook, _) = webhook(&agent, &format!("https://{name}:{}/", traps.port)).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    run_now(&agent, &id).await;
    let worker = worker_reaching(&world, Reach::Public, names.lookup());
    drain(&worker).await;
    let first = deliveries(&agent, &id).await.remove(0);
    assert!(!first["detail"].as_str().unwrap().contains("public internet"), "it was let through: {first}");
    assert_eq!(names.resolutions(name), 1, "what was judged is what is connected to");
    // Where we listen on the public address, the one try came there.
    assert!(matches!(traps.public(), None | Some(1)));
    for (blocked, tries) in BLOCKED.iter().zip(2_usize..) {
        // The schedule has ten tries: its round is set back, the count of tries goes on.
        world.db.admin("UPDATE webhook_deliveries SET due_at = now(), round = 0 RETURNING 1").await;
        drain(&worker).await;
        assert_refused(&deliveries(&agent, &id).await[0], tries);
        assert_eq!(names.resolutions(name), tries, "{blocked}");
    }
    assert_eq!((traps.forbidden(), traps.public().unwrap_or(1)), (0, 1));
}

/// The ways to write an address into a URL so that a careless reader sees something else.
fn spellings(address: &str) -> Vec<String> {
    let v4: Ipv4Addr = address.parse().unwrap();
    let [a, b, c, d] = v4.octets();
    let (whole, hex) = (v4.to_bits(), |high: u8, low: u8| format!("{:x}", u16::from_be_bytes([high, low])));
    let (h, l) = (hex(a, b), hex(c, d));
    let from = |zero: u32| -> String {
        let digit = |c: char| c.to_digit(10).and_then(|n| char::from_u32(zero + n)).unwrap_or(c);
        address.chars().map(digit).collect()
    };
    vec![
        address.to_owned(),
        format!("{address}."),
        whole.to_string(),
        format!("{whole:#x}"),
        format!("0{whole:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.{b}.{:#X}", u16::from_be_bytes([c, d])),
        format!("{a}.{b}.{}", u16::from_be_bytes([c, d])),
        format!("{a}.{}", whole & 0x00FF_FFFF),
        // Full-width and mathematical digits, ideographic full stops, percent signs.
        from(0xFF10),
        from(0x1D7CE),
        address.replace('.', "。"),
        address.replace('.', "｡"),
        address.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        format!("[::ffff:{address}]"),
        format!("[::ffff:{h}:{l}]"),
        format!("[0:0:0:0:0:ffff:{h}:{l}]"),
        format!("[::{address}]"),
        format!("[::ffff:0:{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[64:ff9b:1::{address}]"),
        format!("[2002:{h}:{l}::1]"),
        format!("[fe80::5efe:{address}]"),
        format!("user@{address}"),
        format!("example.com:443@{address}"),
        format!("example.com%2f@{address}"),
    ]
}

fn every_spelling() -> Vec<String> {
    let addresses = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.0.1", "172.16.0.1"];
    addresses.into_iter().flat_map(spellings).collect()
}

#[tokio::test]
async fn no_spelling_of_a_forbidden_host_is_taken_or_sent_to() {
    let world = World::new().await;
    let (agent, traps) = (world.agent(), Traps::set().await);
    let spellings = every_spelling();
    assert!(spellings.len() >= 60, "{}", spellings.len());
    let url = |host: &str| format!("https://{host}:{}/hook", traps.port);
    let client = crate::http_client();
    for host in &spellings {
        let request = client.post(format!("http://{}/api/automations/webhooks", agent.address)).bearer_auth(&agent.key);
        let body = json!({ "url": url(host) }).to_string();
        let (status, reply) = sent(request.header("content-type", "application/json").body(body)).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{host}: {reply}");
    }
    // As if each had been kept all the same: it is judged again before anything is sent.
    let (hook, _) = webhook(&agent, &url("hooks.example.com")).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    run_now(&agent, &id).await;
    let nobody: Lookup = Arc::new(|name| panic!("{name} is an address, there is nothing to resolve"));
    let worker = worker_reaching(&world, Reach::Public, nobody);
    while schedule::step(&worker).await.unwrap() || runner::step(&worker).await.unwrap() {}
    let mut behind = world.db.connect().await;
    for (host, tries) in spellings.iter().zip(1_i32..) {
        let keep = sqlx::query("UPDATE webhook_endpoints SET url = $1").bind(url(host));
        keep.execute(&mut behind).await.unwrap();
        let due = "UPDATE webhook_deliveries SET due_at = now(), round = 0";
        sqlx::query(due).execute(&mut behind).await.unwrap();
        assert!(deliver::step(&worker).await.unwrap());
        let row = sqlx::query("SELECT state, attempts, detail FROM webhook_deliveries");
        let row = row.fetch_one(&mut behind).await.unwrap();
        assert_eq!((row.get::<&str, _>(0), row.get::<i32, _>(1)), ("pending", tries), "{host}");
        let detail: String = row.get(2);
        assert!(detail.starts_with("the address "), "{host}: {detail}");
    }
    assert_eq!(traps.forbidden(), 0, "somebody connected");
}

#[tokio::test]
async fn no_redirect_of_any_kind_is_followed() {
    let world = local().await;
    let (agent, receiver, traps) = (world.agent(), Receiver::start().await, Traps::set().await);
    let (hook, _) = webhook(&agent, &receiver.url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    let statuses = [301, 302, 303, 307, 308];
    let inside = format!("http://127.0.0.1:{}/", traps.port);
    receiver.will_answer(statuses.map(|status| (status, vec![("location", inside.clone())], String::new())));
    run_now(&agent, &id).await;
    let worker = worker(&world);
    for tries in 1..=statuses.len() {
        drain(&worker).await;
        assert_eq!(receiver.received().len(), tries);
        make_due(&world).await;
    }
    drain(&worker).await;
    assert_eq!(receiver.received().len(), statuses.len() + 1, "each was a failure, and was tried again");
    assert_eq!(traps.forbidden(), 0, "the receiver sent us on, and we went");
}
