//! The API and the command line: two thin faces of the question catalogue, and their doorway.
//!
//! A request passes `server` (layers, in order), `auth` and `limits`, and reaches `rest` or `mcp`,
//! which call `codash_analytics` and wrap what it says. `app` is what handlers share; `config` and
//! `telemetry` come before it, `cli` starts it all. To add a REST route see [`rest`], a tool [`mcp`],
//! a setting [`config`].

pub mod app;
pub mod audit;
pub mod auth;
pub mod automate;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod dev;
pub mod docs;
pub mod limits;
pub mod load;
pub mod login;
pub mod master_keys;
pub mod mcp;
pub mod openapi;
pub mod paper;
pub mod rest;
pub mod server;
pub mod telemetry;
