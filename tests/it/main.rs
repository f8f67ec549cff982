//! One binary of tests: the real app on a real PostgreSQL, a fresh database per test.

mod agent;
mod audit;
mod automations;
mod cancel;
mod collector;
mod cursors;
mod dev;
mod doorway;
mod examples;
mod exports;
mod golden;
mod grafana;
mod harness;
mod ingest;
mod interference;
mod keys;
mod limits;
mod manage;
mod manners;
mod master_keys;
mod meters;
mod metrics;
mod oracle;
mod otlp;
mod owners;
mod parity;
mod postgres;
mod processes;
mod questions;
mod readme;
mod redaction;
mod replay;
mod rest;
mod rollups;
mod schema;
mod tenants;
mod traces;

/// A client that no proxy of the environment comes between.
pub fn http_client() -> reqwest::Client {
    // Another test may have installed one already; any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}
