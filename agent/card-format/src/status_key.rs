//! What `gild.toml` says of the key that reports are signed with.

use gild_report::ReportKey;
use toml::Value;

use crate::config::ConfigError;

/// Reads it. A value of another type is not repeated either: it may be the key without its quotes.
pub fn read(value: Option<Value>) -> Result<Option<ReportKey>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let hidden = |problem: String| ConfigError::Hidden {
        key: "status_key",
        problem,
    };
    let Value::String(text) = value else {
        return Err(hidden("it should be 64 hex digits in quotes".to_owned()));
    };
    let key = ReportKey::parse(&text).map_err(|error| hidden(error.to_string()))?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arguments, Config};

    const MINIMAL: &str = "server = \"nfs://10.0.2.2/gild\"\npublic_key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n";

    #[test]
    fn the_key_comes_from_the_card_alone_and_is_never_shown() {
        let digits = "c0ffee00".repeat(8);
        let file = format!("{MINIMAL}status_key = \"{digits}\"\n");
        let config = Config::parse(Some(&file), &Arguments::default()).expect("a key");
        assert_eq!(config.status_key, ReportKey::parse(&digits).ok());
        assert!(!format!("{config:?}").contains("c0ffee"), "{config:?}");

        let argument = Arguments::parse(&format!("gild.status_key={digits}"));
        let said = Config::parse(Some(MINIMAL), &argument).expect_err("an argument");
        let said = said.to_string();
        assert!(
            said.contains("the kernel prints its arguments") && !said.contains("c0ffee"),
            "{said}"
        );
    }

    #[test]
    fn a_wrong_key_is_in_no_message() {
        for value in [
            "\"c0ffee\"",
            "\"c0ffee00\\nc0ffee00\"",
            "[\"c0ffee\"]",
            "0xc0ffee",
            "12648430",
            "1.2648430e7",
            "c0ffee",
            "\"c0ffee",
        ] {
            let file = format!("{MINIMAL}status_key = {value}\n");
            let said = Config::parse(Some(&file), &Arguments::default()).expect_err(value);
            let said = said.to_string();
            let shown = ["12648430", "c0ffee"]
                .iter()
                .any(|part| said.contains(part));
            assert!(!shown, "{value}: {said}");
        }
    }
}
