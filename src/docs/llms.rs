//! `/llms.txt`: one page that teaches an agent the API.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::{limits, operations};
use crate::catalogue::CATALOGUE;
use crate::{mcp, openapi};

/// The text, made once.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(write);
    &TEXT
}

const GUIDE: &str = include_str!("llms.md");

fn write() -> String {
    let mut text = GUIDE.to_owned();
    text.push_str("\n## MCP tools (POST /mcp)\n\n");
    for tool in mcp::tools() {
        let first = tool.description.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let arguments = if tool.arguments.is_empty() { "none".to_owned() } else { tool.arguments.join(", ") };
        let _ = writeln!(text, "- {} ({}): {first}. Arguments: {arguments}.", tool.name, tool.scope);
    }
    text.push_str("\n## REST\n\n");
    for operation in operations() {
        // For dashboards: an agent has better questions.
        if operation.path.starts_with("/api/grafana/") {
            let _ = writeln!(text, "- {} {}: {}.", operation.method, operation.path, operation.text("summary"));
            continue;
        }
        let access = match (operation.value.get("x-required-scope"), operation.value.get("security")) {
            (Some(_), _) => operation.text("x-required-scope"),
            (None, Some(_)) => "public",
            (None, None) => "any key",
        };
        let parameters = operation.value["parameters"].as_array().into_iter().flatten();
        let body = &operation.value["requestBody"]["content"]["application/json"]["schema"]["properties"];
        let fields = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let names: Vec<&str> = parameters.filter_map(|parameter| parameter["name"].as_str()).chain(fields).collect();
        let _ = write!(text, "- {} {} ({access}): {}", operation.method, operation.path, operation.text("summary"));
        let _ =
            writeln!(text, "{}", if names.is_empty() { ".".into() } else { format!(". Takes {}.", names.join(", ")) });
    }
    text.push_str("\n## Limits\n\n");
    for (what, limit) in limits() {
        let _ = writeln!(text, "- {what}: {limit}");
    }
    text.push_str("\n## Error codes (status: what to do)\n\n");
    for entry in CATALOGUE {
        let _ =
            writeln!(text, "- {} ({}): {} Retry: {}.", entry.code, entry.status, entry.remedy, entry.retry.as_str());
    }
    let _ = writeln!(
        text,
        "\nVersion {}. Schemas: /openapi.json. Examples: /docs.",
        openapi::document()["info"]["version"]
    );
    text
}
