//! A JSON value as block YAML, for people to read.

use std::fmt::Write as _;

use serde_json::Value;

/// A JSON value as block YAML. Strings that YAML could read as anything else are quoted.
pub fn print(value: &Value) -> String {
    let mut text = String::from("# Printed by `codash openapi`. Do not edit.\n");
    print_block(value, 0, &mut text);
    text
}

fn print_block(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                indent(depth, text);
                text.push_str(&scalar(name));
                text.push(':');
                print_after(member, depth + 1, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                // Two spaces of the item's first line make room for the dash.
                let mut below = String::from("\n");
                print_after(item, depth + 1, &mut below);
                indent(depth, text);
                text.push_str("- ");
                text.push_str(below.trim_start());
            }
        }
        _ => {}
    }
}

/// What follows a colon or a dash: on the same line when it is short by nature, else below.
fn print_after(value: &Value, depth: usize, text: &mut String) {
    let is_nested = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    if is_nested {
        text.push('\n');
        return print_block(value, depth, text);
    }
    let inline = match value {
        Value::String(string) => scalar(string),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), scalar)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    };
    let _ = writeln!(text, " {inline}");
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| is_word(c) || c == ' ')
        && !text.ends_with(' ')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_keeps_every_value_apart() {
        let value =
            json!({ "a": { "b": [1, "x", "no", "a: b"] }, "200": [{ "c": null, "d": {} }], "e": "1", "f": true });
        let lines: Vec<String> = print(&value).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(
            lines,
            ["a:", "  b: [1, x, \"no\", \"a: b\"]", "\"200\":", "  - c: null", "    d: {}", "e: \"1\"", "f: true"]
        );
    }
}
