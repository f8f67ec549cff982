//! One binary of tests: the real app on a real PostgreSQL, a fresh database per test.

mod agent;
mod audit;
mod automations;
mod cancel;
mod collector;
mod dev;
mod doorway;
mod examples;
mod exports;
mod golden;
mod grafana;
mod harness;
mod ingest;
mod keys;
mod limits;
mod manage;
mod manners;
mod meters;
mod metrics;
mod oracle;
mod owners;
mod parity;
mod postgres;
mod questions;
mod readme;
mod replay;
mod rest;
mod rollups;
mod schema;
mod tenants;

/// A client that no proxy of the environment comes between.
pub fn http_client() -> reqwest::Client {
    // Another test may have installed one already; any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}
