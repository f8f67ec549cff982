//! Which protocol revision a request speaks, judged from the request alone.
//!
//! Two eras share the route. In the *handshake* era a client opens with `initialize` and then names
//! its revision in a header; in the *modern* era every request carries its revision, in `_meta` and
//! in headers that must agree with the body. Nothing is remembered between requests.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Fault;
use super::rpc::{Members, Request};

/// Every revision that is served, newest first.
pub const SUPPORTED: [&str; 5] = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The first revision without a handshake.
pub const MODERN: &str = "2026-07-28";

/// What `initialize` offers to a client that asks for a revision unknown here.
pub const DEFAULT: &str = "2025-11-25";

/// The revisions in which an array of messages may be posted.
const BATCHING: [&str; 2] = ["2025-03-26", "2024-11-05"];

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    Handshake,
    Modern,
}

/// True for the revisions that `initialize` can negotiate; the modern one never is.
pub fn is_handshake(version: &str) -> bool {
    version != MODERN && SUPPORTED.contains(&version)
}

/// The headers that repeat what the body says.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    version: Line<'a>,
    method: Line<'a>,
    name: Line<'a>,
}

/// One header. Sent twice, or with bytes outside ASCII, it says nothing that could be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Absent,
    Is(&'a str),
    Unclear,
}

impl<'a> Line<'a> {
    fn of(headers: &'a HeaderMap, name: &str) -> Self {
        let mut values = headers.get_all(name).iter();
        match (values.next().map(|v| v.to_str()), values.next()) {
            (None, _) => Self::Absent,
            (Some(Ok(text)), None) => Self::Is(text.trim()),
            _ => Self::Unclear,
        }
    }

    fn is(self, expected: &str) -> bool {
        matches!(self, Self::Is(text) if text == expected)
    }
}

impl<'a> Headers<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            version: Line::of(headers, "mcp-protocol-version"),
            method: Line::of(headers, "mcp-method"),
            name: Line::of(headers, "mcp-name"),
        }
    }

    /// For messages that are owed no answer: the revision in the header, if any, must be one we serve.
    pub fn accept_unanswered(self) -> Result<Era, Fault> {
        match self.version {
            Line::Absent => Ok(Era::Handshake),
            Line::Is(MODERN) => Ok(Era::Modern),
            Line::Is(version) if is_handshake(version) => Ok(Era::Handshake),
            Line::Is(version) => Err(Fault::unsupported_version(version)),
            Line::Unclear => Err(unclear_version()),
        }
    }

    /// Batches came with one revision and went with the next; a client that names none is taken
    /// for one of that time.
    pub fn accept_batch(self) -> Result<(), Fault> {
        self.accept_unanswered()?;
        match self.version {
            Line::Is(version) if !BATCHING.contains(&version) => Err(Fault::invalid_envelope(format!(
                "protocol version {version} takes one message a request, not a batch"
            ))),
            _ => Ok(()),
        }
    }

    /// The era of a request; a modern one has been held against all that its era demands.
    pub fn era(self, request: &Request<'_>) -> Result<Era, Fault> {
        let claim = Claim::of(request);
        // The header belongs to what follows the handshake: `initialize` negotiates in its body.
        if request.method == "initialize" && !claim.is_modern() {
            return Ok(Era::Handshake);
        }
        if !claim.is_modern() && !self.version.is(MODERN) {
            return self.accept_unanswered();
        }
        self.check_modern(request)?;
        Ok(Era::Modern)
    }

    fn check_modern(self, request: &Request<'_>) -> Result<(), Fault> {
        let version = required_meta(request)?;
        if !self.version.is(&version) {
            return Err(Fault::header_mismatch(
                "the MCP-Protocol-Version header must be there and equal the version in params._meta",
            ));
        }
        if version != MODERN {
            return Err(Fault::unsupported_version(&version));
        }
        if !self.method.is(&request.method) {
            return Err(Fault::header_mismatch("the Mcp-Method header must be there and equal the method"));
        }
        self.check_name(request)
    }

    /// Where the body names a tool, prompt or resource, the header must name the same.
    fn check_name(self, request: &Request<'_>) -> Result<(), Fault> {
        let source = match request.method.as_str() {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            _ => return Ok(()),
        };
        let Some(name) = request.params.text(source) else { return Ok(()) };
        let said = match self.name {
            Line::Is(text) => decoded(text),
            Line::Absent | Line::Unclear => None,
        };
        if said.as_deref() == Some(name.as_str()) {
            return Ok(());
        }
        Err(Fault::header_mismatch(format!("the Mcp-Name header must be there and equal params.{source}")))
    }
}

fn unclear_version() -> Fault {
    Fault::invalid_envelope("the MCP-Protocol-Version header must be there once, in plain ASCII")
}

/// The revision that a request's `_meta` claims.
enum Claim {
    None,
    Version(String),
    /// There is a claim, and it is no string.
    Unreadable,
}

impl Claim {
    fn of(request: &Request<'_>) -> Self {
        let Some(meta) = request.params.get("_meta").and_then(|raw| Members::read(raw).ok()) else { return Self::None };
        match (meta.get(VERSION_KEY), meta.text(VERSION_KEY)) {
            (None, _) => Self::None,
            (Some(_), Some(version)) => Self::Version(version),
            (Some(_), None) => Self::Unreadable,
        }
    }

    /// A claim to a handshake revision asks for that revision's manners, not for the modern ones.
    fn is_modern(&self) -> bool {
        match self {
            Self::None => false,
            Self::Version(version) => !is_handshake(version),
            Self::Unreadable => true,
        }
    }
}

/// What `_meta` must hold in the modern era: the revision, which is returned, and the capabilities.
fn required_meta(request: &Request<'_>) -> Result<String, Fault> {
    let raw = request.params.get("_meta").ok_or_else(|| Fault::invalid_meta("params._meta is missing"))?;
    let meta = Members::read(raw).map_err(|reason| Fault::invalid_meta(format!("params._meta {reason}")))?;
    let version = meta
        .text(VERSION_KEY)
        .ok_or_else(|| Fault::invalid_meta(format!("params._meta must hold {VERSION_KEY:?}, a string")))?;
    let declared = meta.get(CAPABILITIES_KEY).is_some_and(|raw| raw.get().starts_with('{'));
    if !declared {
        return Err(Fault::invalid_meta(format!("params._meta must hold {CAPABILITIES_KEY:?}, an object")));
    }
    Ok(version)
}

/// A header value may be wrapped as `=?base64?…?=` to carry what plain ASCII cannot. `None` when
/// the wrapping is there and what is inside is not UTF-8 in canonical Base64.
fn decoded(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(text.to_owned());
    };
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

/// The W3C trace that the caller's `_meta` continues, when it is well formed.
pub fn traceparent(request: &Request<'_>) -> Option<String> {
    let meta = Members::read(request.params.get("_meta")?).ok()?;
    meta.text("traceparent").filter(|text| is_traceparent(text))
}

/// `version-trace-parent-flags`, lower-case hexadecimal of 2, 32, 16 and 2 digits.
fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue, StatusCode};

    use super::super::rpc::{Body, Message, body, message};
    use super::*;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn judge(pairs: &[(&str, &str)], method: &str, params: &str) -> Result<Era, Fault> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        let Body::One(raw) = body(text.as_bytes()).unwrap() else { panic!("a batch") };
        let Message::Request(request) = message(raw).unwrap() else { panic!("no request") };
        Headers::of(&headers(pairs)).era(&request)
    }

    fn code(judged: Result<Era, Fault>) -> (i32, u16) {
        let fault = judged.unwrap_err();
        (fault.code, fault.status.as_u16())
    }

    #[test]
    fn without_any_word_a_request_is_of_the_handshake_era() {
        assert_eq!(judge(&[], "tools/list", ""), Ok(Era::Handshake));
        assert_eq!(judge(&[], "tools/list", r#""_meta":{"progressToken":1}"#), Ok(Era::Handshake));
        for version in &SUPPORTED[1..] {
            assert_eq!(judge(&[("mcp-protocol-version", version)], "ping", ""), Ok(Era::Handshake), "{version}");
        }
    }

    #[test]
    fn a_header_with_an_unknown_version_is_refused_with_the_versions_served() {
        let fault = judge(&[("mcp-protocol-version", "1999-01-01")], "ping", "").unwrap_err();
        assert_eq!((fault.code, fault.status), (-32022, StatusCode::BAD_REQUEST));
        let data = fault.data.unwrap();
        assert_eq!(data["requested"], "1999-01-01");
        assert_eq!(data["supported"], serde_json::json!(SUPPORTED));
    }

    #[test]
    fn initialize_negotiates_in_its_body_whatever_the_header_says() {
        for version in ["1999-01-01", MODERN] {
            assert_eq!(judge(&[("mcp-protocol-version", version)], "initialize", ""), Ok(Era::Handshake));
        }
        let modern = [("mcp-protocol-version", MODERN), ("mcp-method", "initialize")];
        assert_eq!(judge(&modern, "initialize", META), Ok(Era::Modern));
    }

    #[test]
    fn a_modern_request_agrees_with_its_headers() {
        let listed = [("mcp-protocol-version", MODERN), ("Mcp-Method", "tools/list")];
        assert_eq!(judge(&listed, "tools/list", META), Ok(Era::Modern));
        for wrong in [
            &[][..],
            &[("mcp-protocol-version", MODERN)],
            &[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")],
            &[("mcp-protocol-version", MODERN), ("mcp-method", "prompts/list")],
            &[("mcp-protocol-version", MODERN), ("mcp-method", "TOOLS/LIST")],
            &[("mcp-protocol-version", MODERN), ("mcp-method", "tools/list"), ("mcp-method", "tools/list")],
        ] {
            assert_eq!(code(judge(wrong, "tools/list", META)), (-32020, 400), "{wrong:?}");
        }
    }

    #[test]
    fn the_name_in_the_header_is_the_name_in_the_body() {
        let call = |name: Option<&str>, body: &str| {
            let mut pairs = vec![("mcp-protocol-version", MODERN), ("mcp-method", "tools/call")];
            pairs.extend(name.map(|name| ("mcp-name", name)));
            judge(&pairs, "tools/call", &format!(r#""name":{body},{META}"#))
        };
        assert_eq!(call(Some("list_accounts"), r#""list_accounts""#), Ok(Era::Modern));
        assert_eq!(call(Some("  list_accounts  "), r#""list_accounts""#), Ok(Era::Modern));
        assert_eq!(call(Some("=?base64?w6k=?="), r#""é""#), Ok(Era::Modern));
        for wrong in [None, Some("other"), Some("=?base64?w6k?="), Some("=?base64?!!!?=")] {
            assert_eq!(code(call(wrong, r#""é""#)), (-32020, 400), "{wrong:?}");
        }
        // What the body does not name, the method itself refuses.
        assert_eq!(call(None, "7"), Ok(Era::Modern));
    }

    #[test]
    fn a_modern_request_without_its_meta_is_refused() {
        let pairs = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")];
        for params in [
            "",
            r#""_meta":7"#,
            r#""_meta":{}"#,
            r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}"#,
        ] {
            assert_eq!(code(judge(&pairs, "tools/list", params)), (-32602, 400), "{params}");
        }
    }

    #[test]
    fn a_version_from_the_future_is_named_and_refused() {
        let meta = META.replace(MODERN, "2031-01-01");
        let pairs = [("mcp-protocol-version", "2031-01-01"), ("mcp-method", "tools/list")];
        assert_eq!(code(judge(&pairs, "tools/list", &meta)), (-32022, 400));
    }

    #[test]
    fn a_claim_to_a_handshake_version_is_served_as_that() {
        let meta = META.replace(MODERN, "2025-11-25");
        assert_eq!(judge(&[("mcp-protocol-version", "2025-11-25")], "tools/list", &meta), Ok(Era::Handshake));
        assert_eq!(code(judge(&[("mcp-protocol-version", MODERN)], "tools/list", &meta)), (-32020, 400));
    }

    #[test]
    fn batches_are_taken_where_the_revision_has_them() {
        let batch = |pairs: &[(&str, &str)]| Headers::of(&headers(pairs)).accept_batch().map_err(|f| f.code);
        assert_eq!(batch(&[]), Ok(()));
        assert_eq!(batch(&[("mcp-protocol-version", "2025-03-26")]), Ok(()));
        for version in ["2025-06-18", "2025-11-25", MODERN] {
            assert_eq!(batch(&[("mcp-protocol-version", version)]), Err(-32600), "{version}");
        }
        assert_eq!(batch(&[("mcp-protocol-version", "1999-01-01")]), Err(-32022));
    }

    #[test]
    fn only_a_well_formed_trace_is_continued() {
        assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"));
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-x-y-01",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
    }
}
