//! The list of venues. A venue is a line in [`REGISTRY`] (and its word in `codash_domain::Venue`);
//! settings, the attach form, `GET /api/venues` and `codash venue parse` follow from it.

use std::sync::Arc;
use std::time::Duration;

use codash_domain::Venue;

use super::reads::Read;
use super::{
    Credentials, Endpoints, VenueAccount, Venues, binance, bitget, bybit, coinbase, gate, hyperliquid, kraken, kucoin,
    okx, paper,
};
use crate::error::VenueError;
use crate::http::Target;
use crate::parse_case::{Case, Lines};

/// An address that a venue answers at, and what it grants an egress address there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// `CODASH_VENUE_…_URL`: the setting that moves it.
    pub setting: &'static str,
    /// The venue's own address, without a trailing slash.
    pub usual: &'static str,
    /// Weight that the venue grants an address in each `per`; at most 80 % of it is used.
    pub budget: u32,
    pub per: Duration,
}

impl Host {
    /// The address and its meter.
    pub fn target<'a>(&'a self, endpoints: &'a Endpoints) -> Target<'a> {
        Target { base: endpoints.base(self), meter: self.setting, budget: self.budget, per: self.per, is_own: false }
    }
}

/// What a user gives to attach an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    KeyAndSecret,
    KeySecretAndPassphrase,
    Address,
}

/// How an account of a venue is opened.
pub type Connect = fn(&Venues, Credentials) -> Result<Arc<dyn VenueAccount>, VenueError>;

/// Everything that the rest of the program knows about a venue.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub venue: Venue,
    /// As the venue writes its own name.
    pub title: &'static str,
    pub needs: Needs,
    /// How a user makes a key that can only read, in a sentence or two.
    pub how_to_connect: &'static str,
    /// How we learn that a key can only read; says so when the venue cannot tell.
    pub attestation: &'static str,
    pub hosts: &'static [Host],
    /// Everything that is ever sent to the venue.
    pub reads: &'static [Read],
    /// Opens an account. Nothing is sent: a wrong key shows itself at the first read.
    pub connect: Connect,
    /// Reads one recorded reply.
    pub read_case: fn(&Case) -> Result<Lines, String>,
}

pub static REGISTRY: &[&Definition] = &[
    &binance::DEFINITION,
    &bitget::DEFINITION,
    &bybit::DEFINITION,
    &coinbase::DEFINITION,
    &gate::DEFINITION,
    &hyperliquid::DEFINITION,
    &kraken::spot::DEFINITION,
    &kraken::futures::DEFINITION,
    &kucoin::DEFINITION,
    &okx::DEFINITION,
    &paper::DEFINITION,
];

/// What is known about a venue; `None` for one that is only a word yet.
pub fn definition(venue: Venue) -> Option<&'static Definition> {
    REGISTRY.iter().copied().find(|definition| definition.venue == venue)
}

/// Opens an account. Nothing is sent: a wrong key shows itself at the first read.
pub fn connect(venues: &Venues, venue: Venue, credentials: Credentials) -> Result<Arc<dyn VenueAccount>, VenueError> {
    let Some(definition) = definition(venue) else {
        return Err(VenueError::KeyRefused { reason: format!("{venue} is not collected from") });
    };
    (definition.connect)(venues, credentials)
}

impl Credentials {
    /// Key and secret, or what is wrong.
    pub fn key_and_secret(self, venue: &str) -> Result<(String, secrecy::SecretString), VenueError> {
        match self {
            // A key becomes a header; what no header can hold is no key.
            Self::ApiKey { key, .. } if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(VenueError::KeyRefused { reason: "this is no API key".into() })
            }
            Self::ApiKey { key, secret, .. } => Ok((key, secret)),
            Self::Wallet { .. } => Err(VenueError::KeyRefused {
                reason: format!("{venue} needs an API key and its secret, not an address"),
            }),
        }
    }

    /// Key, secret and passphrase, or what is wrong.
    pub fn with_passphrase(
        self,
        venue: &str,
    ) -> Result<(String, secrecy::SecretString, secrecy::SecretString), VenueError> {
        let passphrase = match &self {
            Self::ApiKey { passphrase: Some(passphrase), .. } => passphrase.clone(),
            _ => {
                let reason = format!("{venue} needs the passphrase of the key too");
                return Err(VenueError::KeyRefused { reason });
            }
        };
        let (key, secret) = self.key_and_secret(venue)?;
        Ok((key, secret, passphrase))
    }

    /// The address, or what is wrong.
    pub fn address(self, venue: &str) -> Result<String, VenueError> {
        match self {
            Self::Wallet { address } => Ok(address),
            Self::ApiKey { .. } => {
                Err(VenueError::KeyRefused { reason: format!("{venue} needs the address of the account, and no key") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::venues::reads::Listed;

    #[test]
    fn settings_and_venues_are_named_once() {
        let settings: Vec<&str> = REGISTRY.iter().flat_map(|d| d.hosts).map(|host| host.setting).collect();
        let apart: BTreeSet<&&str> = settings.iter().collect();
        assert_eq!(apart.len(), settings.len());
        assert!(settings.iter().all(|name| name.starts_with("CODASH_VENUE_") && name.ends_with("_URL")));
        let venues: BTreeSet<Venue> = REGISTRY.iter().map(|d| d.venue).collect();
        assert_eq!(venues.len(), REGISTRY.len());
    }

    /// Words that change something; a read that sounds so is looked at twice.
    const VERBS: [&str; 9] =
        ["cancel", "amend", "withdraw/apply", "batch", "leverage", "create", "delete", "close-position", "/set-"];

    #[test]
    fn nothing_that_changes_something_is_listed() {
        for definition in REGISTRY {
            for read in definition.reads {
                // Looked at twice: Gate's list of past deleverages, by GET.
                let heard = read.path.replace("/auto_deleverages", "");
                assert!(!VERBS.iter().any(|verb| heard.contains(verb)), "{} {}", read.method, read.path);
                assert!(read.path.starts_with('/') && !read.path.contains('?') && !read.why.is_empty());
            }
        }
    }

    #[test]
    fn of_a_hundred_thousand_requests_only_listed_reads_pass() {
        // xorshift: the same requests every time.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "get", "HEAD", ""];
        let words = ["order", "withdraw", "..", "%2e%2e", "transfer", "", "v3", "x/y", "leverage?", "account"];
        for round in 0..100_000 {
            let definition = REGISTRY[round % REGISTRY.len()];
            let read = definition.reads[draw(definition.reads.len())];
            let method = methods[draw(methods.len())];
            let mut segments: Vec<&str> = read.path.split('/').collect();
            for _ in 0..draw(3) {
                let at = draw(segments.len());
                match draw(3) {
                    0 => segments[at] = words[draw(words.len())],
                    1 => segments.insert(at, words[draw(words.len())]),
                    _ => drop(segments.remove(at)),
                }
                if segments.is_empty() {
                    break;
                }
            }
            let path = segments.join("/");
            let is_listed = definition.reads.iter().any(|read| {
                let pattern: Vec<&str> = read.path.split('/').collect();
                let parts: Vec<&str> = path.split('/').collect();
                read.method == method
                    && pattern.len() == parts.len()
                    && pattern.iter().zip(&parts).all(|(pattern, part)| match pattern.strip_prefix('{') {
                        Some(_) => {
                            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                        }
                        None => pattern == part,
                    })
            });
            assert_eq!(Listed::new(definition.reads, method, &path).is_ok(), is_listed, "{method} {path}");
        }
    }
}
