use std::sync::{Arc, Mutex};

use rcgen::{CertifiedIssuer, KeyPair};

use super::*;
use crate::test_server::{authority, authority_by, serve};

const PASSWORD: &str = "s3cret";
/// Of `node:s3cret`, by `base64`.
const BASIC: &str = "Basic bm9kZTpzM2NyZXQ=";
const BOOTSTRAP: &str = "abcdef.0123456789abcdef";

/// A stand-in for a server of k3s: it has the two pages, and lets in who shows the password or the bootstrap token.
struct Server {
    url: String,
    bundle: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(authority: &CertifiedIssuer<'static, KeyPair>, bundle: String) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, list) = (Arc::clone(&requests), bundle.clone());
        let url = serve(authority, 2020, move |request| {
            seen.lock().expect("the requests").push(request.to_owned());
            let shows = |value: &str| {
                let line = format!("authorization: {value}\r\n");
                request
                    .to_ascii_lowercase()
                    .contains(&line.to_ascii_lowercase())
            };
            let answer = |status: &str, body: &str| {
                format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            if request.starts_with("GET /cacerts ") {
                answer("200 OK", &list)
            } else if !request.starts_with("GET /v1-k3s/config ") {
                answer("404 Not Found", "")
            } else if shows(BASIC) || shows(&format!("Bearer {BOOTSTRAP}")) {
                answer("200 OK", "{}")
            } else {
                answer("401 Unauthorized", "")
            }
        });
        let url = url.as_str().trim_end_matches('/').to_owned();
        Self {
            url,
            bundle,
            requests,
        }
    }

    fn look(&self, token: &str) -> Result<(), Trouble> {
        look(&self.url, &Token::parse(token).expect("a token")).map(drop)
    }

    /// Whether anyone has shown it something.
    fn was_shown_a_token(&self) -> bool {
        let requests = self.requests.lock().expect("the requests");
        requests
            .iter()
            .any(|request| request.to_ascii_lowercase().contains("authorization"))
    }
}

#[test]
fn each_kind_of_token_opens_its_own_cluster() {
    let authority = authority();
    let server = Server::start(&authority, authority.pem());
    let hash = digest(server.bundle.as_bytes());
    for token in [
        PASSWORD.to_owned(),
        BOOTSTRAP.to_owned(),
        format!("K10{hash}::node:{PASSWORD}"),
        format!("K10{hash}::server:{PASSWORD}"),
        format!("K10{hash}::{BOOTSTRAP}"),
    ] {
        assert_eq!(server.look(&token), Ok(()), "{token}");
    }
    let refused = Trouble::Token(server.url.clone());
    assert_eq!(server.look("wrong"), Err(refused.clone()));
    assert_eq!(server.look(&format!("K10{hash}::node:wrong")), Err(refused));
}

#[test]
fn a_server_of_another_cluster_never_sees_the_token() {
    let authority = authority();
    let server = Server::start(&authority, authority.pem());
    let hash = "0f".repeat(32);
    let found = server.look(&format!("K10{hash}::node:{PASSWORD}"));
    let server_hash = digest(server.bundle.as_bytes());
    assert_eq!(
        found,
        Err(Trouble::OtherCluster(server.url.clone(), hash, server_hash))
    );
    assert!(!server.was_shown_a_token());
}

/// k3s with certificates of one's own: the hash is that of the root, which alone is believed.
#[test]
fn of_several_authorities_the_one_with_the_hash_is_believed() {
    let root = authority();
    let other = authority_by(&root);
    let bundle = format!("{}{}", other.pem(), root.pem());
    let token = format!("K10{}::node:{PASSWORD}", digest(root.der()));
    let server = Server::start(&root, bundle.clone());
    assert_eq!(server.look(&token), Ok(()));
    // By an authority between the root and the server, which shows its own certificate alone.
    let server = Server::start(&other, bundle);
    assert_eq!(server.look(&token), Ok(()));
    // A false server, which has the true root in its bundle and a certificate by its own.
    let false_authority = authority();
    let bundle = format!("{}{}", false_authority.pem(), root.pem());
    let false_server = Server::start(&false_authority, bundle);
    assert!(matches!(
        false_server.look(&token),
        Err(Trouble::Certificate(..))
    ));
    assert!(!false_server.was_shown_a_token());
}

#[test]
fn silence_and_other_servers_are_told_apart() {
    let authority = authority();
    let other = serve(&authority, 2020, |_| {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()
    });
    let token = Token::parse(PASSWORD).expect("a token");
    let at = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    assert!(matches!(
        look(&at(&other), &token),
        Err(Trouble::NotK3s(..))
    ));
    let page = serve(&authority, 2020, |_| {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned()
    });
    assert!(matches!(look(&at(&page), &token), Err(Trouble::NotK3s(..))));
    let early = serve(&authority, 2090, |_| String::new());
    assert!(matches!(
        look(&at(&early), &token),
        Err(Trouble::Silent(..))
    ));
    assert!(matches!(
        look("https://127.0.0.1:1", &token),
        Err(Trouble::Silent(..))
    ));
}
