//! Every error code, said once: the status it travels with, what it means and what to do.
//!
//! `docs/errors.md`, the page at `/docs` and the schema of errors are printed from here, and the status
//! of a broken rule is read from here. A code that is used and not listed fails a test.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// One code.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub code: &'static str,
    pub status: u16,
    pub meaning: &'static str,
    /// What the caller changes.
    pub remedy: &'static str,
    pub retry: Retry,
    pub of: Of,
}

/// May the same request be sent again?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will be refused again.
    No,
    Once,
    /// When `Retry-After` has passed.
    After,
}

/// Which operations can answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    All,
    /// Every operation behind a key.
    Keyed,
    /// Those that need a scope.
    Scoped,
    /// Those that take this argument, in the query string or the body.
    Argument(&'static str),
    /// Those with a path that begins like this.
    Path(&'static str),
    /// Those that take a body.
    Body,
    /// No documented operation: another path, another method.
    None,
}

impl Retry {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Once => "once",
            Self::After => "after Retry-After",
        }
    }
}

const fn entry(
    (code, status): (&'static str, u16),
    of: Of,
    retry: Retry,
    meaning: &'static str,
    remedy: &'static str,
) -> Entry {
    Entry { code, status, meaning, remedy, retry, of }
}

use Of::{All, Argument, Body, Keyed, Path, Scoped};
use Retry::{After, No, Once};

/// By status, then by name.
pub const CATALOGUE: &[Entry] = &[
    entry(
        ("invalid_request", 400),
        All,
        No,
        "A parameter or a field is missing, unknown, of the wrong type or out of its bounds, or the body is no JSON object.",
        "Mend what details.errors lists, each with its path; an unknown name comes with the nearest known one.",
    ),
    entry(
        ("invalid_cursor", 400),
        Argument("cursor"),
        No,
        "The cursor was changed, or belongs to another key, route or set of filters.",
        "Pass nextCursor unchanged with the arguments of the first page, or begin again without a cursor.",
    ),
    entry(
        ("invalid_filter", 400),
        Path("/api/export/{table}"),
        No,
        "The table has nothing to filter by this argument.",
        "Leave out the argument that details names.",
    ),
    entry(
        ("invalid_pivot", 400),
        Argument("pivotBy"),
        No,
        "pivotBy is one of groupBy.",
        "Pivot by another dimension, or take it out of groupBy.",
    ),
    entry(
        ("invalid_watermark", 400),
        Argument("afterWatermark"),
        No,
        "The watermark is beyond the data: it is of another workspace.",
        "Pass the x-export-watermark of an earlier export of this workspace, or none for all rows.",
    ),
    entry(
        ("invalid_window", 400),
        Argument("from"),
        No,
        "from is after to.",
        "Swap them, or leave both out for the default window.",
    ),
    entry(
        ("key_too_powerful", 400),
        Path("/api/accounts"),
        No,
        "The venue's key can trade or withdraw.",
        "Remove the rights that details.rightsToRemove lists at the venue, or make a read-only key.",
    ),
    entry(
        ("not_an_account", 400),
        Path("/api/accounts"),
        No,
        "The venue has no account to read behind these credentials.",
        "Check the address or the kind of key.",
    ),
    entry(
        ("out_of_range", 400),
        All,
        No,
        "A sum or a number of groups is larger than can be answered exactly.",
        "Ask for a shorter window or fewer dimensions.",
    ),
    entry(("repeated_column", 400), Argument("columns"), No, "A column is named twice.", "Name it once."),
    entry(
        ("unknown_column", 400),
        Argument("columns"),
        No,
        "The table has no such column.",
        "Choose from details.allowed.",
    ),
    entry(
        ("venue_refused_key", 400),
        Path("/api/accounts"),
        No,
        "The venue refuses the credentials, or they lack a permission to read.",
        "Correct them at the venue; the message has the venue's words.",
    ),
    entry(("expired_credential", 401), Keyed, No, "The API key has expired.", "Use another key."),
    entry(
        ("invalid_credential", 401),
        Keyed,
        No,
        "The API key is malformed, unknown or revoked, or it is no API key.",
        "Check for a truncated or mistyped key; a lost one cannot be recovered.",
    ),
    entry(
        ("invalid_login", 401),
        Path("/api/auth/"),
        No,
        "The email or the password is wrong.",
        "Send the right ones.",
    ),
    entry(
        ("login_over", 401),
        Path("/api/auth/refresh"),
        No,
        "The login has ended, or its refresh token was used before.",
        "Log in again.",
    ),
    entry(
        ("invalid_signature", 401),
        Path("/api/automations/trigger/"),
        No,
        "The trigger wants signed requests, and this signature is missing, wrong or too old.",
        "Sign as docs/automations.md says.",
    ),
    entry(
        ("missing_credential", 401),
        Keyed,
        No,
        "No API key was sent.",
        "Send Authorization: Bearer kv_live_… or x-api-key.",
    ),
    entry(
        ("account_not_allowed", 403),
        Path("/api/accounts"),
        No,
        "The API key is limited to certain accounts and cannot attach another.",
        "Use a key without an account allowlist.",
    ),
    entry(
        ("address_not_allowed", 403),
        Keyed,
        No,
        "The API key may not be used from this address.",
        "Call from an allowed address, or have the key's allowlist changed.",
    ),
    entry(
        ("insufficient_scope", 403),
        Scoped,
        No,
        "The API key lacks the scope in details.requiredScope.",
        "Use a key that has it.",
    ),
    entry(
        ("insufficient_role", 403),
        All,
        No,
        "The person's role in the workspace is below what the route needs.",
        "Ask an owner for details.requiredRole.",
    ),
    entry(
        ("key_too_narrow", 403),
        Path("/api/"),
        No,
        "A workspace is claimed with a key that is not narrowed.",
        "Send the key of its registration.",
    ),
    entry(
        ("no_workspace", 403),
        Path("/api/auth/"),
        No,
        "The person belongs to no such workspace.",
        "Leave workspaceId out, or ask its owners for an invitation.",
    ),
    entry(
        ("too_deep", 403),
        Path("/api/keys/self"),
        No,
        "Keys make each other three generations deep at most.",
        "Ask the key above for a sibling.",
    ),
    entry(
        ("wider_than_maker", 403),
        Path("/api/keys/self"),
        No,
        "The wanted key may more than the key that makes it.",
        "Narrow what details.errors lists.",
    ),
    entry(
        ("wrong_password", 403),
        Path("/api/auth/password"),
        No,
        "currentPassword is not the password.",
        "Send the right one.",
    ),
    entry(
        ("origin_not_allowed", 403),
        All,
        No,
        "A page of another site sent the request.",
        "Call from a server, or have the operator list the origin.",
    ),
    entry(
        ("portfolio_not_allowed", 403),
        Path("/api/portfolios"),
        No,
        "The API key is limited to certain accounts, and the change would touch groups that others may be in.",
        "Use a key without an account allowlist.",
    ),
    entry(
        ("unknown_account", 403),
        Argument("accountId"),
        No,
        "No such account is visible to the API key.",
        "Take an id that GET /api/accounts returns.",
    ),
    entry(
        ("unknown_portfolio", 403),
        Argument("portfolioId"),
        No,
        "No such portfolio group is visible to the API key.",
        "Take an id that GET /api/portfolios returns.",
    ),
    entry(
        ("invalid_invitation", 404),
        Path("/api/auth/accept"),
        No,
        "The invitation is for another email, was used or taken back, or is too old.",
        "Ask for a new one.",
    ),
    entry(
        ("not_found", 404),
        Path("/api/settings/ai-keys/"),
        No,
        "There is nothing at this path, or nothing that the API key may see.",
        "Check the path; there are no trailing or double slashes.",
    ),
    entry(
        ("unknown_table", 404),
        Path("/api/export/{table}"),
        No,
        "There is no such table to export.",
        "Choose from details.allowed.",
    ),
    entry(
        ("api_key_not_accepted", 405),
        Of::None,
        No,
        "The route is for people.",
        "Log in at POST /api/auth/login and send its access token.",
    ),
    entry(
        ("login_not_accepted", 405),
        Of::None,
        No,
        "The route is about the API key that asks.",
        "Send Authorization: Bearer kv_live_…",
    ),
    entry(
        ("method_not_allowed", 405),
        Of::None,
        No,
        "The route does not answer this method.",
        "Use one that the header Allow lists.",
    ),
    entry(
        ("request_timeout", 408),
        Body,
        Once,
        "The body took too long to arrive.",
        "Send it again, at once and whole.",
    ),
    entry(
        ("account_paused", 409),
        Path("/api/accounts/{id}/sync"),
        No,
        "The account is paused.",
        "Resume it first: PATCH it with isActive true.",
    ),
    entry(
        ("account_removed", 409),
        Path("/api/"),
        No,
        "The account was removed: it has a past and no present, and its credentials cannot be attached beside it.",
        "Ask for its past by a window, or bring it back with PUT /api/accounts/{id}/credentials.",
    ),
    entry(
        ("another_account", 409),
        Path("/api/accounts/{id}/credentials"),
        No,
        "The credentials are of another account.",
        "Attach it as one of its own with POST /api/accounts.",
    ),
    entry(
        ("already_claimed", 409),
        Path("/api/"),
        No,
        "The workspace has owners already.",
        "Ask one of them for an invitation.",
    ),
    entry(
        ("last_owner", 409),
        Path("/api/owners"),
        No,
        "The workspace would be left without an owner.",
        "Make another person owner first.",
    ),
    entry(("too_many_keys", 409), Path("/api/keys"), No, "There are as many live keys as may be.", "Revoke one."),
    entry(
        ("automation_paused", 409),
        Path("/api/automations/{id}/run"),
        No,
        "The automation is paused.",
        "Resume it first: PATCH it with paused false.",
    ),
    entry(
        ("quota_reached", 409),
        Path("/api/automations"),
        No,
        "There are as many automations, webhooks or runs as may be.",
        "Remove one, or wait for the hour to pass.",
    ),
    entry(
        ("webhook_disabled", 409),
        Path("/api/automations/deliveries"),
        No,
        "The webhook is disabled.",
        "Enable it first: PATCH it with disabled false.",
    ),
    entry(
        ("conflict", 409),
        Path("/api/"),
        No,
        "It exists already, or changed meanwhile.",
        "Use what is there, or read it again.",
    ),
    entry(
        ("idempotency_conflict", 409),
        Argument("Idempotency-Key"),
        No,
        "The Idempotency-Key was used for another request.",
        "Send a new key with a new request.",
    ),
    entry(
        ("idempotency_in_progress", 409),
        Argument("Idempotency-Key"),
        After,
        "The first request with this Idempotency-Key is not answered yet.",
        "Send the same request again in a moment.",
    ),
    entry(
        ("version_conflict", 412),
        Argument("If-Match"),
        No,
        "It was changed since the version that If-Match names.",
        "Read it again and decide again.",
    ),
    entry(("payload_too_large", 413), All, No, "The body is larger than details.maxBytes.", "Send a smaller one."),
    entry(
        ("uri_too_long", 414),
        All,
        No,
        "The address is longer than 32 KiB.",
        "Name fewer ids or symbols, or ask in parts.",
    ),
    entry(
        ("unsupported_media_type", 415),
        All,
        No,
        "The body is not application/json, or compressed.",
        "Send plain JSON with Content-Type: application/json.",
    ),
    entry(
        ("rate_limited", 429),
        All,
        After,
        "Too many requests in the last minute (or hour, to register).",
        "Wait as long as Retry-After says.",
    ),
    entry(("headers_too_large", 431), All, No, "The headers are larger than 64 KiB.", "Send fewer or shorter headers."),
    entry(("internal", 500), All, Once, "Something failed on our side.", "Retry once; then report the requestId."),
    entry(
        ("deadline_exceeded", 504),
        All,
        Once,
        "The request took longer than the server allows, or the database was lost on the way.",
        "Retry once; then ask for a shorter window or fewer accounts.",
    ),
    entry(
        ("venue_unavailable", 504),
        Path("/api/accounts"),
        After,
        "The venue could not be asked what the key may do.",
        "Wait as long as Retry-After says.",
    ),
];

/// The entry of a code.
pub fn find(code: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.code == code)
}

/// The status of a rule that a question breaks.
pub fn status(code: &str) -> StatusCode {
    find(code).and_then(|entry| StatusCode::from_u16(entry.status).ok()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The codes as JSON, for the document.
pub fn as_json() -> Value {
    let row = |entry: &Entry| {
        json!({
            "code": entry.code,
            "status": entry.status,
            "meaning": entry.meaning,
            "remedy": entry.remedy,
            "retry": entry.retry.as_str(),
        })
    };
    CATALOGUE.iter().map(row).collect()
}

/// `docs/errors.md`.
pub fn markdown() -> String {
    let rows = CATALOGUE.iter().map(|entry| {
        let Entry { code, status, meaning, remedy, retry, .. } = entry;
        format!("| `{code}` | {status} | {meaning} | {remedy} | {} |\n", retry.as_str())
    });
    format!("{INTRODUCTION}{}", rows.collect::<String>())
}

const INTRODUCTION: &str = "<!-- Printed by `cargo test errors::write -- --ignored`. Do not edit. -->
# Errors

Every error of the REST surface is `{\"success\": false, \"error\", \"code\", \"details\", \"requestId\"}`. Decide by
the HTTP status and `code`, which are stable; `error` is for people and may change. `requestId` is the response
header `x-request-id`: quote it when you report something.

Errors inside MCP's own envelope are listed in the [contract](../openapi.yaml) at `POST /mcp`; a broken rule of a
tool has the same `code` there, in `structuredContent.error`.

| code | status | meaning | what to do | retry |
| --- | --- | --- | --- | --- |
";

#[cfg(test)]
mod errors {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn path() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")
    }

    #[test]
    fn the_page_is_what_the_table_prints() {
        let is_same = std::fs::read_to_string(path()).unwrap_or_default() == markdown();
        assert!(is_same, "run `cargo test errors::write -- --ignored`");
    }

    #[test]
    #[ignore = "writes docs/errors.md"]
    fn write() {
        std::fs::write(path(), markdown()).unwrap();
    }

    #[test]
    fn the_table_is_in_order_and_names_each_code_once() {
        let codes: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.code).collect();
        assert_eq!(codes.len(), CATALOGUE.len());
        assert!(CATALOGUE.is_sorted_by_key(|entry| entry.status));
        assert!(CATALOGUE.iter().all(|entry| StatusCode::from_u16(entry.status).is_ok()));
    }

    /// The code in what follows `Rule::new(` or `ApiError::new(`: the first text that looks like one.
    fn code(after: &str) -> Option<&str> {
        let text = after.split(';').next()?;
        let quoted = text.split('"').nth(1)?;
        quoted.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(quoted)
    }

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("catalogue.rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_code_in_the_sources_is_listed_and_every_listed_one_is_used() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut texts = Vec::new();
        for folder in ["src", "crates/analytics/src"] {
            sources(&root.join(folder), &mut texts);
        }
        let mut used = BTreeSet::new();
        for text in &texts {
            let makers =
                ["Rule::new(", "ApiError::new(", "Self::new(StatusCode::", "Self::new(\n            StatusCode::"];
            for maker in makers {
                used.extend(text.split(maker).skip(1).filter_map(code));
            }
        }
        let listed: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.code).collect();
        assert_eq!(
            used.difference(&listed).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "used, and not in src/catalogue.rs"
        );
        let text = texts.concat();
        let unused: Vec<_> = listed.iter().filter(|code| !text.contains(&format!("\"{code}\""))).collect();
        assert_eq!(unused, Vec::<&&str>::new(), "listed, and used nowhere");
    }
}
