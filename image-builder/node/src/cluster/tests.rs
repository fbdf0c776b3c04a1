use gild_http_testkit::{Reply, Server};
use rcgen::{CertifiedIssuer, KeyPair};

use super::*;
use crate::test_server::{authority, authority_by, serve};

const PASSWORD: &str = "s3cret";
/// `node:s3cret` in Base64.
const BASIC: &str = "Basic bm9kZTpzM2NyZXQ=";
const BOOTSTRAP: &str = "abcdef.0123456789abcdef";

/// A stand-in for a server of k3s: it has the two pages, and accepts the password or the bootstrap token.
struct Stub {
    server: Server,
    bundle: String,
}

impl Stub {
    fn start(authority: &CertifiedIssuer<'static, KeyPair>, bundle: String) -> Self {
        let list = bundle.clone();
        let server = serve(authority, 2020, move |request| {
            let shown = request.header("authorization").unwrap_or_default();
            match request.target.as_str() {
                "/cacerts" => Reply::new(200, list.as_str()),
                "/v1-k3s/config" if shown == BASIC || shown == format!("Bearer {BOOTSTRAP}") => {
                    Reply::new(200, "{}")
                }
                "/v1-k3s/config" => Reply::new(401, ""),
                _ => Reply::new(404, ""),
            }
        });
        Self { server, bundle }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    fn look(&self, token: &str) -> Result<(), Trouble> {
        look(
            &K3sUrl::of_stand_in(&self.url()),
            &Token::parse(token).expect("a token"),
        )
        .map(drop)
    }

    /// Whether a client has shown it a token.
    fn was_shown_a_token(&self) -> bool {
        let requests = self.server.requests();
        requests
            .iter()
            .any(|request| request.header("authorization").is_some())
    }
}

#[test]
fn each_kind_of_token_opens_its_own_cluster() {
    let authority = authority();
    let server = Stub::start(&authority, authority.pem());
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
    let refused = Trouble::Token(server.url());
    assert_eq!(server.look("wrong"), Err(refused.clone()));
    assert_eq!(server.look(&format!("K10{hash}::node:wrong")), Err(refused));
}

#[test]
fn a_server_of_another_cluster_never_sees_the_token() {
    let authority = authority();
    let server = Stub::start(&authority, authority.pem());
    let hash = "0f".repeat(32);
    let found = server.look(&format!("K10{hash}::node:{PASSWORD}"));
    let server_hash = digest(server.bundle.as_bytes());
    assert_eq!(
        found,
        Err(Trouble::OtherCluster(server.url(), hash, server_hash))
    );
    assert!(!server.was_shown_a_token());
}

/// k3s with the site's own certificates: the hash is that of the root, and only the root is trusted.
#[test]
fn of_several_authorities_the_one_with_the_hash_is_believed() {
    let root = authority();
    let other = authority_by(&root);
    let bundle = format!("{}{}", other.pem(), root.pem());
    let token = format!("K10{}::node:{PASSWORD}", digest(root.der()));
    let server = Stub::start(&root, bundle.clone());
    assert_eq!(server.look(&token), Ok(()));
    // An authority between the root and the server has signed. The server shows only its own certificate.
    let server = Stub::start(&other, bundle);
    assert_eq!(server.look(&token), Ok(()));
    // A false server: the true root is in its bundle, but its own authority signed its certificate.
    let false_authority = authority();
    let bundle = format!("{}{}", false_authority.pem(), root.pem());
    let false_server = Stub::start(&false_authority, bundle);
    assert!(matches!(
        false_server.look(&token),
        Err(Trouble::Certificate(..))
    ));
    assert!(!false_server.was_shown_a_token());
}

#[test]
fn silence_and_other_servers_are_told_apart() {
    let authority = authority();
    let token = Token::parse(PASSWORD).expect("a token");
    for (status, body) in [(404, ""), (200, "hello")] {
        let other = serve(&authority, 2020, move |_| Reply::new(status, body));
        assert!(matches!(
            look(&K3sUrl::of_stand_in(&other.url()), &token),
            Err(Trouble::NotK3s(..))
        ));
    }
    let mute = serve(&authority, 2090, |_| Reply::new(200, ""));
    mute.set_down(true);
    assert!(matches!(
        look(&K3sUrl::of_stand_in(&mute.url()), &token),
        Err(Trouble::Silent(..))
    ));
    assert!(matches!(
        look(&K3sUrl::of_stand_in("https://127.0.0.1:1"), &token),
        Err(Trouble::Silent(..))
    ));
}
