//! `GET /api/venues`: which venues there are, what each needs, and everything that is ever asked of it.

use axum::http::StatusCode;
use axum::response::Response;
use codash_collector::venues::registry::REGISTRY;
use codash_collector::venues::{Definition, Needs};
use codash_domain::Venue;
use schemars::JsonSchema;
use serde::Serialize;

use super::success;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Venues {
    count: usize,
    venues: Vec<VenueInfo>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VenueInfo {
    /// As `POST /api/accounts` wants it.
    venue: Venue,
    title: &'static str,
    /// Fields of `POST /api/accounts` that an account of this venue needs.
    credential_fields: &'static [&'static str],
    /// How to make a key that can only read.
    how_to_connect: &'static str,
    /// How we learn, on attach and every 24 hours, that a key can only read.
    attestation: &'static str,
    /// The addresses that are asked. The operator may have moved them.
    hosts: Vec<&'static str>,
    /// Everything that is ever sent there. The signer refuses all else.
    reads: Vec<ReadInfo>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ReadInfo {
    method: &'static str,
    /// `{…}` stands for one segment.
    path: &'static str,
    why: &'static str,
}

pub async fn list() -> Response {
    let venues: Vec<VenueInfo> = REGISTRY.iter().map(|definition| info(definition)).collect();
    success(StatusCode::OK, Venues { count: venues.len(), venues })
}

fn info(definition: &'static Definition) -> VenueInfo {
    VenueInfo {
        venue: definition.venue,
        title: definition.title,
        credential_fields: match definition.needs {
            Needs::KeyAndSecret => &["apiKey", "apiSecret"],
            Needs::KeySecretAndPassphrase => &["apiKey", "apiSecret", "passphrase"],
            Needs::Address => &["walletAddress"],
        },
        how_to_connect: definition.how_to_connect,
        attestation: definition.attestation,
        hosts: definition.hosts.iter().map(|host| host.usual).collect(),
        reads: definition
            .reads
            .iter()
            .map(|read| ReadInfo { method: read.method, path: read.path, why: read.why })
            .collect(),
    }
}
