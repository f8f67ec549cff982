//! The page at `/docs` and the text at `/llms.txt`, printed from the contract, the catalogue of errors and
//! the table of tools. Prose that no type holds is in `docs/guide.html`.

mod llms;
mod operation;

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codash_domain::Scope;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::catalogue::CATALOGUE;
use crate::{mcp, openapi};

pub use llms::text as llms_text;

const STYLE: &str = include_str!("docs/style.css");

/// Nothing is loaded and nothing runs: the page's own style, by its digest, is all that is allowed.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let digest = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The page, made once.
pub fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(write);
    &PAGE
}

/// An operation of the document.
#[derive(Debug, Clone, Copy)]
struct Operation<'a> {
    path: &'a str,
    /// In capitals.
    method: &'static str,
    value: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.value["operationId"].as_str().unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap_or_default()
    }
}

/// Every operation, in the document's order.
fn operations() -> Vec<Operation<'static>> {
    let paths = openapi::document()["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().into_iter().flatten();
            methods.map(|(method, value)| Operation { path, method: capitals(method), value })
        })
        .collect()
}

fn capitals(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|m| m.eq_ignore_ascii_case(method)).unwrap_or("GET")
}

/// What each scope opens.
fn scopes() -> Vec<(&'static str, String)> {
    let opens = |scope: Scope| match scope {
        Scope::Read => "every read family, and the tools of MCP".to_owned(),
        scope => {
            let needed: Vec<String> = operations()
                .iter()
                .filter(|operation| operation.text("x-required-scope") == scope.as_str())
                .map(|operation| format!("{} {}", operation.method, operation.path))
                .collect();
            if needed.is_empty() { "nothing yet".into() } else { needed.join(", ") }
        }
    };
    Scope::ALL.into_iter().map(|scope| (scope.as_str(), opens(scope))).collect()
}

/// The limits as the document states them: what, how many, in how many seconds.
fn limits() -> Vec<(&'static str, String)> {
    let limits = openapi::document()["x-limits"].as_array().into_iter().flatten();
    let said = |limit: &'static Value| {
        let span = if limit["seconds"] == 60 { "minute" } else { "hour" };
        (limit["what"].as_str().unwrap_or_default(), format!("{} in any {span}", limit["requests"]))
    };
    limits.map(said).collect()
}

fn write() -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>CO-DASH API</title><style>{STYLE}</style></head>\n\
         <body><main>\n{}",
        include_str!("docs/guide.html")
    );
    let rows = scopes().into_iter().map(|(scope, opens)| vec![code(scope), escape(&opens)]);
    section(&mut page, "scopes", "Scopes", &table(&["scope", "opens"], rows));
    let rows = limits().into_iter().map(|(what, limit)| vec![escape(what), escape(&limit)]);
    let told = "<p>Windows slide: in no 60 seconds are more accepted. How a key stands is in <code>x-ratelimit-limit\
        </code>, <code>-remaining</code> and <code>-reset</code> (seconds) of each answer. Over the limit comes 429 with \
        <code>Retry-After</code>, in whole seconds. An operator may have set other limits.</p>";
    section(&mut page, "limits", "Limits", &format!("{}{told}", table(&["what", "accepted"], rows)));
    contents(&mut page);
    for tag in openapi::document()["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = write!(page, "<h2 id=\"{}\">{}</h2>\n<p>", anchor(name), escape(name));
        let _ = writeln!(page, "{}</p>", escape(tag["description"].as_str().unwrap_or_default()));
        for operation in operations().iter().filter(|operation| operation.value["tags"][0] == name) {
            operation::write(&mut page, operation);
        }
    }
    tools(&mut page);
    let rows = CATALOGUE.iter().map(|entry| {
        let retry = entry.retry.as_str().to_owned();
        vec![code(entry.code), entry.status.to_string(), escape(entry.meaning), escape(entry.remedy), retry]
    });
    let errors = table(&["code", "status", "meaning", "what to do", "retry"], rows);
    section(&mut page, "errors", "Errors", &errors);
    page.push_str("</main></body></html>\n");
    page
}

fn contents(page: &mut String) {
    let item = |operation: &Operation<'_>| {
        let (method, path) = (operation.method, escape(operation.path));
        format!("<li><a href=\"#{}\"><span class=\"method\">{method}</span> {path}</a></li>\n", operation.id())
    };
    let items: String = operations().iter().map(item).collect();
    let more = "<li><a href=\"#tools\">MCP tools</a></li><li><a href=\"#errors\">Errors</a></li>";
    section(page, "operations", "Operations", &format!("<nav><ul>{items}{more}</ul></nav>"));
}

fn tools(page: &mut String) {
    let rows = mcp::tools().into_iter().map(|tool| {
        let arguments = tool.arguments.join(", ");
        let arguments = if arguments.is_empty() { "none".to_owned() } else { code(&arguments) };
        vec![code(tool.name), code(tool.scope.as_str()), escape(&tool.description), arguments]
    });
    let table = table(&["tool", "scope", "what it answers", "arguments"], rows);
    let client = "{\"mcpServers\": {\"co-dash\": {\"url\": \"$CODASH_URL/mcp\", \"headers\": {\"Authorization\": \
        \"Bearer kv_live_...\"}}}}";
    let words = format!(
        "<p>Point any client of streamable HTTP at <code>POST /mcp</code>, with the same key:</p><pre>{}</pre>\
         <p><code>tools/list</code> shows the tools that the key may call, with the schemas of their arguments and \
         answers. A tool answers with the digits of its REST route in <code>structuredContent</code>; a broken rule is \
         an answer with <code>isError: true</code> and <code>structuredContent.error.code</code>. JSON-RPC errors: \
         -32600 no valid message, -32601 no such method, -32602 no such tool or wrong arguments, -32001 the key lacks \
         the scope.</p>{table}",
        escape(client)
    );
    section(page, "tools", "MCP tools", &words);
}

fn section(page: &mut String, id: &str, title: &str, body: &str) {
    let _ = writeln!(page, "<h2 id=\"{id}\">{}</h2>\n{body}", escape(title));
}

/// Cells are HTML already.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells =
        |tag: &str, cells: &[String]| -> String { cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect() };
    let head: Vec<String> = head.iter().map(|name| escape(name)).collect();
    let rows: String = rows.map(|row| format!("<tr>{}</tr>\n", cells("td", &row))).collect();
    format!("<table><thead><tr>{}</tr></thead><tbody>\n{rows}</tbody></table>", cells("th", &head))
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn anchor(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_operation_code_scope_and_tool_and_loads_nothing() {
        let page = page();
        for operation in operations() {
            assert!(page.contains(&format!("<h3 id=\"{}\">", operation.id())), "{}", operation.id());
        }
        let codes = CATALOGUE.iter().map(|entry| entry.code);
        let names = Scope::ALL.into_iter().map(Scope::as_str).chain(mcp::tools().into_iter().map(|tool| tool.name));
        for word in codes.chain(names) {
            assert!(page.contains(&code(word)), "{word}");
        }
        for outside in ["<script", "<link", "<img", "src=", "style=", "@import", "url(", "onclick"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.len() < 900_000, "{}", page.len());
    }

    #[test]
    fn every_link_in_the_page_has_its_place() {
        for target in page().split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page().contains(&format!("id=\"{target}\"")), "{target}");
        }
    }

    #[test]
    fn the_agents_page_names_every_operation_and_tool_and_stays_one_page() {
        let text = llms_text();
        for operation in operations() {
            assert!(text.contains(&format!("{} {}", operation.method, operation.path)), "{}", operation.path);
        }
        for tool in mcp::tools() {
            assert!(text.contains(tool.name), "{}", tool.name);
        }
        assert!(text.len() < 24_000, "{}", text.len());
    }
}
