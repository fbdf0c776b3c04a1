//! The cluster's server, as k3s' agent asks it.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A refusal in k3s' words.
pub struct Refusal {
    /// Its level in the log.
    pub level: &'static str,
    /// Its text.
    pub message: String,
}

fn error(message: &str) -> Refusal {
    Refusal {
        level: "error",
        message: message.to_owned(),
    }
}

/// The server, and what the token says about it.
pub struct Server {
    url: String,
    authority: Option<String>,
    password: String,
    runtime: Runtime,
}

impl Server {
    /// The server in the configuration. The token is `K10<hash>::<user>:<password>` or a bare password; the user does not matter.
    pub fn new(url: &str, token: &str) -> Result<Self> {
        let secure = token.strip_prefix("K10");
        let secure = secure.and_then(|rest| rest.split_once("::"));
        let password = secure.map_or(token, |(_, credentials)| {
            credentials
                .split_once(':')
                .map_or("", |(_, password)| password)
        });
        // reqwest uses the TLS provider of the process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            url: url.to_owned(),
            authority: secure.map(|(hash, _)| hash.to_owned()),
            password: password.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("making a runtime")?,
        })
    }

    /// Asks to be let in. Returns the certificates of the cluster's authority, or the refusal in k3s' words.
    pub fn enter(&self, node: &str, password: &str) -> Result<Vec<u8>, Refusal> {
        let anybody = Client::builder().tls_danger_accept_invalid_certs(true);
        let bundle = self
            .get(anybody.build(), "/cacerts", |request| request)
            .map_err(|_| {
                error("failed to get CA certs: Get \"https://127.0.0.1:6444/cacerts\": EOF")
            })?
            .1;
        let found = hex::encode(Sha256::digest(&bundle));
        if let Some(wanted) = self.authority.as_ref().filter(|wanted| **wanted != found) {
            return Err(error(&format!(
                "token CA hash does not match the Cluster CA certificate hash: {wanted} != {found}"
            )));
        }
        let roots =
            Certificate::from_pem(&bundle).map_err(|problem| error(&problem.to_string()))?;
        // k3s asks through a proxy at 127.0.0.1, so it does not check the server's own name.
        let client = || {
            let client = Client::builder().tls_certs_only([roots.clone()]);
            client.tls_danger_accept_invalid_hostnames(true).build()
        };
        let (status, _) = self.get(client(), "/v1-k3s/config", |request| request)?;
        if status != StatusCode::OK {
            return Err(error(&format!(
                "Failed to configure agent: failed to retrieve configuration from server: \
                 https://127.0.0.1:6444/v1-k3s/config: {status}"
            )));
        }
        let (status, _) = self.get(client(), "/v1-k3s/serving-kubelet.crt", |request| {
            request
                .header("k3s-Node-Name", node)
                .header("k3s-Node-Password", password)
        })?;
        if status != StatusCode::OK {
            // Older releases log it as an error.
            return Err(Refusal {
                level: "info",
                message: "Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname \
                          or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a \
                          unique node name with the --with-node-id flag"
                    .to_owned(),
            });
        }
        Ok(bundle)
    }

    fn get(
        &self,
        client: reqwest::Result<Client>,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), Refusal> {
        let request = async {
            let request = client?.get(format!("{}{path}", self.url));
            let request = request.basic_auth("node", Some(&self.password));
            let answer = with(request).timeout(TIMEOUT).send().await?;
            let status = answer.status();
            Ok((status, answer.bytes().await?.to_vec()))
        };
        let answer: reqwest::Result<_> = self.runtime.block_on(request);
        answer.map_err(|problem| error(&format!("{problem:?}")))
    }
}
