//! The report about a file, for people or as JSON.

use serde_json::{Map, Value};

/// Facts in their order.
#[derive(Default)]
pub struct Facts(Vec<(&'static str, Value)>);

impl Facts {
    /// Adds a fact.
    pub fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }

    /// Adds a fact that not every file has.
    pub fn add_if(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Prints them: one JSON object, or a line for each.
    pub fn print(self, json: bool) {
        if json {
            let object: Map<String, Value> = self
                .0
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            println!("{:#}", Value::Object(object));
            return;
        }
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in self.0 {
            println!("{:width$}  {}", name.replace('_', " "), plain(&value));
        }
    }
}

/// Bytes of a firmware file as people and JSON can have them: what is not UTF-8 is shown as `\xfc`.
pub fn shown(bytes: &[u8]) -> String {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let invalid = chunk.invalid().escape_ascii().map(char::from);
            chunk.valid().chars().chain(invalid)
        })
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.trim_end().replace('\n', " | "),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Number(number) => number.to_string(),
    }
}
