//! The file that says where containerd gets container images.

use serde_json::Value;

use crate::{Problem, mapping};

/// The file, in the image.
pub const REGISTRIES: &str = "etc/rancher/k3s/registries.yaml";

const MATCHBOX: &str = "let each node's group give registries with a login; an image may have only registries without a login";

/// Keys that containerd treats as a login.
const LOGIN: [&str; 6] = [
    "auth",
    "username",
    "password",
    "identity_token",
    "identitytoken",
    "token",
];

/// Checks the file's text: mirrors and certificates, but no login.
pub fn check(text: &str) -> Result<(), Problem> {
    let whole = Value::Object(mapping(text)?);
    match login(&whole) {
        Some(key) => Err(Problem::Secret {
            key,
            instead: MATCHBOX,
        }),
        None => Ok(()),
    }
}

/// The key that has a login, or whose address has one.
fn login(value: &Value) -> Option<String> {
    match value {
        Value::Object(mapping) => mapping.iter().find_map(|(key, value)| {
            let is_login = LOGIN.contains(&key.as_str()) && !value.is_null();
            if is_login || value.as_str().is_some_and(has_password) {
                return Some(key.clone());
            }
            // Entries of a list have no key of their own, so the list's key names them.
            login(value).map(|inner| if inner.is_empty() { key.clone() } else { inner })
        }),
        Value::Array(list) => list.iter().find_map(|value| match value {
            Value::String(text) => has_password(text).then(String::new),
            value => login(value),
        }),
        _ => None,
    }
}

fn has_password(address: &str) -> bool {
    let rest = address.split_once("://").map(|(_, rest)| rest);
    let host = rest.and_then(|rest| rest.split('/').next());
    host.is_some_and(|host| host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_certificates_are_taken() {
        let text = "mirrors:\n  docker.io:\n    endpoint: [\"https://registry.example/v2/@x\"]\n\
                    configs:\n  registry.example:\n    tls: {ca_file: /etc/ssl/certs/site.pem}\n    auth:\n";
        assert_eq!(check(text), Ok(()));
        assert_eq!(check(""), Ok(()));
    }

    #[test]
    fn logins_are_refused_with_the_way_and_never_quoted() {
        for (text, key) in [
            (
                "configs:\n  r.example:\n    auth: {username: me, password: s3cret}\n",
                "auth",
            ),
            ("configs: {r.example: {auth: {auth: czNjcmV0}}}\n", "auth"),
            (
                "configs: {r.example: {identity_token: s3cret}}\n",
                "identity_token",
            ),
            (
                "mirrors: {r.example: {endpoint: [\"https://me:s3cret@r.example\"]}}\n",
                "endpoint",
            ),
        ] {
            let error = check(text).expect_err(text);
            let said = error.to_string();
            assert!(said.contains(&format!("`{key}` is a secret")), "{said}");
            assert!(
                said.contains("each node's group") && !said.contains("s3cret"),
                "{said}"
            );
        }
        assert_eq!(check("[]"), Err(Problem::Form));
        assert_eq!(check("configs: [s3cret"), Err(Problem::Syntax));
    }
}
