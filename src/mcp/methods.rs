//! The methods that need no data: what this server is, what it speaks, what it offers to a key.

use codash_domain::Scopes;
use serde_json::json;

use super::era::{self, Era};
use super::error::Fault;
use super::result::{Outcome, raw, server_info};
use super::rpc::Request;
use super::tools;

/// For agents: which tool when, and how to read what it says.
pub const INSTRUCTIONS: &str = include_str!("instructions.md");

/// Answers every method except `tools/call`, which asks the database.
pub fn answer(era: Era, request: &Request<'_>, scopes: &Scopes) -> Result<Outcome, Fault> {
    match (era, request.method.as_str()) {
        (Era::Handshake, "initialize") => initialize(request),
        (Era::Handshake, "ping") => Ok(Outcome::of(era, vec![])),
        (Era::Modern, "server/discover") => Ok(discover()),
        (_, "tools/list") => {
            unpaged(request)?;
            Ok(Outcome::cacheable(era, vec![("tools", tools::listed(scopes))]))
        }
        (_, "resources/list") => empty_list(era, request, "resources"),
        (_, "resources/templates/list") => empty_list(era, request, "resourceTemplates"),
        (_, "prompts/list") => empty_list(era, request, "prompts"),
        (_, "resources/read") => Err(read_resource(era, request)),
        (_, method) => Err(Fault::unknown_method(method, era)),
    }
}

/// Lenient in what it reads: the only thing that is decided here is the revision.
fn initialize(request: &Request<'_>) -> Result<Outcome, Fault> {
    let asked = match request.params.get("protocolVersion") {
        None => None,
        Some(_) => Some(
            request
                .params
                .text("protocolVersion")
                .ok_or_else(|| Fault::invalid_param("protocolVersion", "must be a string"))?,
        ),
    };
    let version = asked.filter(|v| era::is_handshake(v)).unwrap_or_else(|| era::DEFAULT.to_owned());
    Ok(Outcome::of(
        Era::Handshake,
        vec![
            ("protocolVersion", raw(&version)),
            ("capabilities", raw(&capabilities())),
            ("serverInfo", raw(&server_info())),
            ("instructions", raw(INSTRUCTIONS)),
        ],
    ))
}

fn discover() -> Outcome {
    Outcome::cacheable(
        Era::Modern,
        vec![
            ("supportedVersions", raw(&era::SUPPORTED)),
            ("capabilities", raw(&capabilities())),
            ("instructions", raw(INSTRUCTIONS)),
        ],
    )
}

/// Nothing is ever announced to a client later, so none of these has options.
fn capabilities() -> serde_json::Value {
    json!({ "tools": {}, "resources": {}, "prompts": {} })
}

fn empty_list(era: Era, request: &Request<'_>, name: &'static str) -> Result<Outcome, Fault> {
    unpaged(request)?;
    Ok(Outcome::cacheable(era, vec![(name, raw(&[0_u8; 0]))]))
}

/// No list has a second page, so no cursor was ever given out.
fn unpaged(request: &Request<'_>) -> Result<(), Fault> {
    match request.params.get("cursor") {
        None => Ok(()),
        Some(_) => Err(Fault::invalid_param("cursor", "this list has one page: leave cursor out")),
    }
}

fn read_resource(era: Era, request: &Request<'_>) -> Fault {
    match request.params.text("uri") {
        Some(uri) => Fault::unknown_resource(&uri, era),
        None => Fault::invalid_param("uri", "must be a string"),
    }
}

#[cfg(test)]
mod tests {
    use codash_domain::Scope;
    use serde_json::Value;

    use super::super::rpc::{Body, Message, body, message};
    use super::*;

    fn ask(era: Era, method: &str, params: &str) -> Result<Value, Fault> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let Body::One(raw) = body(text.as_bytes()).unwrap() else { panic!("a batch") };
        let Message::Request(request) = message(raw).unwrap() else { panic!("no request") };
        answer(era, &request, &Scopes::new([Scope::Read])).map(|o| serde_json::to_value(&o).unwrap())
    }

    #[test]
    fn initialize_echoes_what_it_knows_and_offers_the_default_otherwise() {
        for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
            let result = ask(Era::Handshake, "initialize", &format!(r#"{{"protocolVersion":"{version}"}}"#)).unwrap();
            assert_eq!(result["protocolVersion"], version);
        }
        for params in [r#"{"protocolVersion":"1999-01-01"}"#, r#"{"protocolVersion":"2026-07-28"}"#, "{}"] {
            assert_eq!(ask(Era::Handshake, "initialize", params).unwrap()["protocolVersion"], "2025-11-25");
        }
        assert_eq!(ask(Era::Handshake, "initialize", r#"{"protocolVersion":7}"#).unwrap_err().code, -32602);
    }

    #[test]
    fn the_contracts_own_initialize_is_answered() {
        let params = r#"{"protocolVersion":"2025-11-25","clientInfo":{"name":"my-agent","version":"1.0.0"}}"#;
        let result = ask(Era::Handshake, "initialize", params).unwrap();
        assert_eq!(result["capabilities"], json!({ "tools": {}, "resources": {}, "prompts": {} }));
        assert!(result["instructions"].as_str().unwrap().contains("list_accounts first"));
    }

    #[test]
    fn ping_answers_an_empty_object() {
        assert_eq!(ask(Era::Handshake, "ping", "{}").unwrap(), json!({}));
    }

    #[test]
    fn lists_are_empty_where_the_contract_has_nothing() {
        for (method, name) in [
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        ] {
            assert_eq!(ask(Era::Handshake, method, "{}").unwrap(), json!({ name: [] }));
            assert_eq!(ask(Era::Modern, method, "{}").unwrap()[name], json!([]));
        }
    }

    #[test]
    fn a_cursor_that_was_never_given_out_is_refused() {
        for method in ["tools/list", "resources/list", "resources/templates/list", "prompts/list"] {
            assert_eq!(ask(Era::Handshake, method, r#"{"cursor":"x"}"#).unwrap_err().code, -32602, "{method}");
        }
    }

    #[test]
    fn discover_lists_every_version_that_a_refusal_lists() {
        let result = ask(Era::Modern, "server/discover", "{}").unwrap();
        let refusal = Fault::unsupported_version("x").data.unwrap();
        assert_eq!(result["supportedVersions"], refusal["supported"]);
        assert_eq!(result["cacheScope"], "private");
    }

    #[test]
    fn methods_of_the_other_era_are_unknown() {
        for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "subscriptions/listen"] {
            let fault = ask(Era::Modern, method, "{}").unwrap_err();
            assert_eq!((fault.code, fault.status.as_u16()), (-32601, 404), "{method}");
        }
        for method in ["server/discover", "completion/complete", "no/such", "notifications/initialized"] {
            let fault = ask(Era::Handshake, method, "{}").unwrap_err();
            assert_eq!((fault.code, fault.status.as_u16()), (-32601, 200), "{method}");
        }
    }

    #[test]
    fn no_resource_is_ever_found() {
        let old = ask(Era::Handshake, "resources/read", r#"{"uri":"test://x"}"#).unwrap_err();
        let new = ask(Era::Modern, "resources/read", r#"{"uri":"test://x"}"#).unwrap_err();
        assert_eq!((old.code, new.code), (-32002, -32602));
        assert_eq!(new.data.unwrap()["uri"], "test://x");
        assert_eq!(ask(Era::Handshake, "resources/read", "{}").unwrap_err().code, -32602);
    }

    #[test]
    fn the_instructions_name_every_tool_and_stay_short() {
        for tool in tools::names(&Scopes::full()) {
            assert!(INSTRUCTIONS.contains(tool), "{tool}");
        }
        assert!(INSTRUCTIONS.len() < 3_000, "{}", INSTRUCTIONS.len());
    }
}
