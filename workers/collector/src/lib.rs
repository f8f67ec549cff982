//! The data-collector: venues in, canonical rows out. Read-only by construction.
//!
//! A pass takes no input, does the same thing each time and is safe to kill at any instant: it claims
//! a due account under a lease, reads pages from committed cursors, and commits each page whole. Find
//! the claim and the order of reading in [`schedule`], a page's way into rows in [`ingest`], and
//! everything that a venue says and means under [`venues`].

pub mod error;
pub mod http;
pub mod ingest;
pub mod meter;
pub mod parse_case;
pub mod pricing;
pub mod schedule;
pub mod venues;

pub use schedule::{PassReport, Settings, pass, run};
