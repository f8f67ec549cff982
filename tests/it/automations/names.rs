//! A name server of the test's own: as much DNS as one question over UDP needs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use codash_automations::guard::Lookup;
use tokio::net::UdpSocket;

/// What a name resolves to: the first turn's addresses, then the second's, the last for good.
type Turns = Vec<Vec<IpAddr>>;

/// A DNS server on loopback that knows what it is told.
#[derive(Clone)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Turns>>>,
    /// Questions for IPv4 addresses, by name: one for each resolution.
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

const A: u8 = 1;
const AAAA: u8 = 28;

impl NameServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let server = Self { address, zone: Arc::default(), asked: Arc::default() };
        let answering = server.clone();
        tokio::spawn(async move {
            let (mut question, mut turns) = ([0; 512], HashMap::new());
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let answer = answering.answer(&question[..length], &mut turns);
                drop(socket.send_to(&answer, from).await);
            }
        });
        server
    }

    pub fn knows(&self, name: &str, turns: &[&[&str]]) {
        let turn = |turn: &&[&str]| turn.iter().map(|address| address.parse().unwrap()).collect();
        self.zone.lock().unwrap().insert(name.to_owned(), turns.iter().map(turn).collect());
    }

    pub fn resolutions(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn answer(&self, question: &[u8], turns: &mut HashMap<(String, u8), usize>) -> Vec<u8> {
        let name = name_of(&question[12..]);
        let end = 12 + name.len() + 2;
        let kind = question[end + 1];
        if kind == A {
            *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        }
        let turn = turns.entry((name.clone(), kind)).or_default();
        let zone = self.zone.lock().unwrap();
        let known = zone.get(&name).unwrap_or_else(|| panic!("{name} was never told"));
        let addresses: Vec<Vec<u8>> = known[(*turn).min(known.len() - 1)]
            .iter()
            .filter_map(|address| match (address, kind) {
                (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
                (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
                _ => None,
            })
            .collect();
        *turn += 1;
        let count = u8::try_from(addresses.len()).unwrap();
        // The question's id; an answer; one question; so many addresses, each good for no time at all.
        let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &question[12..end + 4]].concat();
        for address in addresses {
            answer.extend([0xC0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, u8::try_from(address.len()).unwrap()]);
            answer.extend(address);
        }
        answer
    }

    /// A resolver that asks this server at every try, as one without a cache does.
    pub fn lookup(&self) -> Lookup {
        let server = self.address;
        Arc::new(move |name| {
            Box::pin(async move {
                let mut found = ask(server, &name, A).await?;
                found.extend(ask(server, &name, AAAA).await?);
                Ok(found)
            })
        })
    }
}

/// The name that labels spell.
fn name_of(labels: &[u8]) -> String {
    let (mut parts, mut rest) = (Vec::new(), labels);
    while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, after) = after.split_at(usize::from(length));
        parts.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    parts.join(".")
}

async fn ask(server: SocketAddr, name: &str, kind: u8) -> std::io::Result<Vec<SocketAddr>> {
    let mut question = vec![0x2A, kind, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await?;
    let (mut rest, mut found) = (&answer[question.len()..length], Vec::new());
    for _ in 0..answer[7] {
        let (address, after) = rest[12..].split_at(usize::from(rest[11]));
        let address: IpAddr = match <[u8; 4]>::try_from(address) {
            Ok(v4) => v4.into(),
            Err(_) => <[u8; 16]>::try_from(address).unwrap().into(),
        };
        found.push(SocketAddr::new(address, 0));
        rest = after;
    }
    Ok(found)
}
