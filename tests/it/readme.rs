//! The README's and the contract's own requests, as a newcomer types them.

use std::process::Command;

use serde_json::{Value, json};

use crate::agent::World;

/// The `curl` commands of the README, each on one line.
fn curls() -> Vec<String> {
    let text = include_str!("../../README.md").replace("\\\n", " ");
    text.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

/// Runs a line in a shell, against this world.
async fn shell(world: &World, line: &str) -> Value {
    let line = line.replace("http://127.0.0.1:8080", &format!("http://{}", world.address));
    let key = world.agent().key;
    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh").arg("-c").arg(line).env("CODASH_KEY", key).env("no_proxy", "*").output().unwrap()
    })
    .await
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn every_curl_line_of_the_readme_works_as_printed() {
    let world = World::new().await;
    let lines = curls();
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        let reply = shell(&world, &line).await;
        if line.contains("\"...\"") || line.contains("0x...") {
            // A placeholder of the README: the answer says what is wrong with it.
            assert_eq!(reply["success"], json!(false), "{line}");
            assert!(reply["error"].as_str().unwrap().len() > 10 && reply["code"].is_string(), "{line}: {reply}");
        } else {
            let worked = reply["success"] == json!(true)
                || reply["result"]["isError"] == json!(false)
                || reply["accounts"].is_array();
            assert!(worked, "{line}: {reply}");
        }
    }
}

#[tokio::test]
async fn the_quickstart_of_the_contract_works_step_by_step() {
    let world = World::new().await;
    let base = format!("http://{}", world.address);
    let registered = shell(
        &world,
        &format!(
            r#"curl -sS {base}/api/agents/register -H "content-type: application/json" -d '{{
    "name": "research-agent",
    "keyName": "research-agent-prod"
  }}'"#
        ),
    )
    .await;
    let key = registered["data"]["apiKey"].as_str().unwrap().to_owned();
    let post = |path: &str, body: &str| {
        format!(
            r#"curl -sS {base}{path} -H "authorization: Bearer {key}" -H "content-type: application/json" -d '{body}'"#
        )
    };
    let ai_key =
        shell(&world, &post("/api/settings/ai-keys", r#"{ "provider": "anthropic", "key": "$ANTHROPIC_API_KEY" }"#))
            .await;
    assert_eq!(ai_key["success"], json!(true), "{ai_key}");
    // The contract's example has no `capabilities` member.
    let initialize = r#"{
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
      "protocolVersion": "2025-11-25",
      "clientInfo": { "name": "my-agent", "version": "1.0.0" }
    }
  }"#;
    let hello = shell(&world, &post("/mcp", initialize)).await;
    assert_eq!((&hello["id"], &hello["result"]["protocolVersion"]), (&json!(1), &json!("2025-11-25")));
    let listed = shell(&world, &post("/mcp", r#"{ "jsonrpc": "2.0", "id": "tools", "method": "tools/list" }"#)).await;
    assert_eq!((&listed["id"], listed["result"]["tools"].as_array().unwrap().len()), (&json!("tools"), 7));
    let call = r#"{
    "jsonrpc": "2.0",
    "id": "pnl-7d",
    "method": "tools/call",
    "params": {
      "name": "get_pnl_by_symbol",
      "arguments": { "days": 7, "limit": 25 }
    }
  }"#;
    let pnl = shell(&world, &post("/mcp", call)).await;
    assert_eq!((&pnl["id"], &pnl["result"]["structuredContent"]["window"]["days"]), (&json!("pnl-7d"), &json!(7)));
}
