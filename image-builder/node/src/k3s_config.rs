//! The last check of k3s' configuration before the node joins the cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::k3s_url::K3sUrl;
use crate::token::Token;

/// Refuses a configuration with which k3s would fail forever or reveal the token. An operator may have written it.
pub fn check(path: &Path) -> Result<()> {
    let shown = path.display();
    let mode = fs::metadata(path)
        .with_context(|| format!("reading {shown}"))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!("{shown} holds the token, and others than root may read it; next: chmod 600 {shown}");
    }
    let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    // The parser's message would quote the line, and the token may be in it.
    let Ok(config) = serde_saphyr::from_str::<Value>(&text) else {
        bail!("{shown} is not YAML; next: correct it");
    };
    if let Some(problem) = problem(&config) {
        bail!("{shown}: {problem}");
    }
    Ok(())
}

fn problem(config: &Value) -> Option<String> {
    let Some(address) = config["server"].as_str() else {
        return Some("`server` is missing, or no string".to_owned());
    };
    if let Err(problem) = K3sUrl::parse(address) {
        return Some(format!("`server` {problem}"));
    }
    // If both are set, k3s takes the file.
    match (&config["token"], &config["token-file"]) {
        (_, Value::String(_)) => None,
        (Value::String(token), _) => Token::parse(token)
            .err()
            .map(|error| format!("`token` {error}")),
        _ => Some("`token` is missing, or no string: put it in quotes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().expect("a private file");
        fs::write(file.path(), text).expect("a configuration");
        match check(file.path()) {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn json_and_yaml_are_taken() {
        for text in [
            "{\"server\": \"https://a:6443\", \"token\": \"s3cret\"}\n",
            "server: https://a:6443\ntoken: \"s3cret\"\nnode-label:\n  - a=b\n",
            "server: https://a:6443\ntoken-file: /etc/rancher/k3s/token\n",
        ] {
            assert_eq!(verdict(text), "", "{text}");
        }
    }

    #[test]
    fn what_k3s_would_fail_with_is_named_without_the_token() {
        for (text, complaint) in [
            ("", "`server` is missing"),
            ("server: [s3cret", "not YAML"),
            ("token: s3cret", "`server` is missing"),
            ("server: https://a:6443\n", "`token` is missing"),
            ("server: https://a:6443\ntoken: 123\n", "put it in quotes"),
            (
                "server: http://a:6443\ntoken: s3cret\n",
                "`server` must begin with https://",
            ),
            (
                "server: https://a:6443\ntoken: K10s3cret\n",
                "copy the whole token",
            ),
        ] {
            let verdict = verdict(text);
            assert!(verdict.contains(complaint), "{text}: {verdict}");
            assert!(!verdict.contains("s3cret"), "{verdict}");
        }
    }

    #[test]
    fn a_configuration_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "server: https://a:6443\ntoken: x\n").expect("a configuration");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).expect("its mode");
        let error = check(file.path()).expect_err("readable").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
