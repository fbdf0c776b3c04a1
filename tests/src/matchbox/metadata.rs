//! The `KEY=value` lines of Matchbox' `/metadata`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::group::Group;

/// The body for a request that this group was selected for.
#[must_use]
pub fn render(group: &Group, labels: &BTreeMap<String, String>, query: &str) -> String {
    let mut data = group.metadata.clone();
    for (key, value) in &group.selector {
        data.insert(key.to_lowercase(), value.as_str().into());
    }
    data.insert(
        "request".into(),
        serde_json::json!({"query": labels, "raw_query": query}),
    );
    let mut body = String::new();
    write_lines(&mut body, "", &data);
    body
}

/// Go walks its maps in random order, and writes strings as they are: a line break in one makes further lines.
/// Lists and nulls are left out.
fn write_lines(body: &mut String, prefix: &str, data: &Map<String, Value>) {
    let mut entries: Vec<_> = data.iter().collect();
    fastrand::shuffle(&mut entries);
    for (key, value) in entries {
        let name = format!("{prefix}{key}");
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => go_float(number.as_f64().unwrap_or(f64::INFINITY)),
            Value::Object(nested) => {
                write_lines(body, &format!("{name}_"), nested);
                continue;
            }
            Value::Array(_) | Value::Null => continue,
        };
        *body += &(name.to_uppercase() + "=" + &value + "\n");
    }
}

/// Every number is a `float64`, written as Go's `%v` does: with an exponent below 1e-4 and from 1e+06 on.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
