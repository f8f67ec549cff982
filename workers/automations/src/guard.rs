//! Which addresses webhooks may be sent to: public ones, by https.
//!
//! A name is judged by what it resolves to, at the moment of connecting, on every try: the addresses
//! that were judged are the ones connected to, so that a name which changes its mind in between gains
//! nothing. One forbidden address among several forbids the name.

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const LONGEST_URL: usize = 2048;

/// How far webhooks reach. The operator's choice, never a tenant's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses, by https.
    #[default]
    Public,
    /// Also this machine, and by http: for trials and tests.
    Local,
}

/// An address that is not spoken to, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Reads an endpoint's URL. What only its resolution can tell is judged at each try.
pub fn check_url(text: &str, reach: Reach) -> Result<Url, Refused> {
    let refuse = |why: &str| Err(Refused(why.to_owned()));
    if text.len() > LONGEST_URL {
        return refuse("must be at most 2048 characters");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return refuse("must hold no spaces, control characters or backslashes");
    }
    let Ok(url) = Url::parse(text) else { return refuse("must be an absolute URL such as https://example.com/hook") };
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Local) if has_authority(text) => {}
        _ => return refuse("must begin with https:// and a host"),
    }
    if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        return refuse("must hold no user name or password");
    }
    if url.fragment().is_some() {
        return refuse("must hold no fragment");
    }
    let Some(host) = url.host_str() else { return refuse("must name a host") };
    // An address in any spelling (decimal, octal, hexadecimal, short) has become a plain one by now.
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse::<IpAddr>();
    match literal {
        Ok(address) => check_address(address, reach)?,
        Err(_) => check_name(host, reach)?,
    }
    Ok(url)
}

/// Two slashes, as written: a parser takes none for two, and three as well.
fn has_authority(text: &str) -> bool {
    let rest = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
    rest.is_some_and(|rest| !rest.starts_with('/'))
}

/// What stands between the slashes, as it was written: a parser drops an empty user name.
fn authority(text: &str) -> &str {
    let rest = text.split_once("//").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn check_name(host: &str, reach: Reach) -> Result<(), Refused> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_within = |domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    if reach == Reach::Local && is_within("localhost") {
        return Ok(());
    }
    let is_inner = ["localhost", "local", "internal", "lan", "home.arpa", "localdomain"].into_iter().any(is_within);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if is_inner || !name.contains('.') || !name.split('.').all(is_label) {
        return Err(Refused("must name a host of the public internet".into()));
    }
    Ok(())
}

/// Refuses every address that is not a public host's.
pub fn check_address(address: IpAddr, reach: Reach) -> Result<(), Refused> {
    let address = address.to_canonical();
    if reach == Reach::Local && address.is_loopback() {
        return Ok(());
    }
    let is_public = match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    };
    if is_public { Ok(()) } else { Err(Refused("leads to an address that is not of the public internet".into())) }
}

/// Reserved by the IANA registry of special-purpose addresses, or a cloud's own.
const RESERVED_V4: [([u8; 4], u32); 20] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// Inside 2000::/3, the only space that public hosts have: protocol assignments (Teredo, ORCHID,
/// benchmarks), documentation, 6to4, and sinks.
const RESERVED_V6: [([u16; 3], u32); 5] = [
    ([0x2001, 0, 0], 23),
    ([0x2001, 0x0DB8, 0], 32),
    ([0x2002, 0, 0], 16),
    ([0x2620, 0x004F, 0x8000], 48),
    ([0x3FFF, 0, 0], 20),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let inside = |(net, bits): &([u8; 4], u32)| {
        (address.to_bits() ^ u32::from_be_bytes(*net)).checked_shr(32 - bits).unwrap_or_default() == 0
    };
    !RESERVED_V4.iter().any(inside)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let inside = |([a, b, c], bits): &([u16; 3], u32)| {
        let net = Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0).to_bits();
        (address.to_bits() ^ net) >> (128 - bits) == 0
    };
    // Whatever is not 2000::/3 is none: loopback, mapped and compatible, NAT64, ULA, link-local, multicast.
    address.to_bits() >> 125 == 0b001 && !RESERVED_V6.iter().any(inside)
}

/// How a name becomes addresses; tests bring their own.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The resolver of the system.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| Box::pin(async move { tokio::net::lookup_host((name.as_str(), 0)).await.map(Iterator::collect) }))
}

/// Resolves, and lets nothing through that [`check_address`] refuses.
#[derive(Clone)]
pub struct Guarded {
    pub reach: Reach,
    pub lookup: Lookup,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, found) = (self.reach, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let found = found.await?;
            for address in &found {
                check_address(address.ip(), reach)?;
            }
            if found.is_empty() {
                return Err(Refused("has no address".into()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Our own refusal among the causes of a failed try.
pub fn refusal(error: &reqwest::Error) -> Option<&Refused> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
