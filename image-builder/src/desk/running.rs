//! The desk that runs on this folder, as its operator reaches it: over TLS, with the folder's own authority and login.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use gild_desk::folder::{Folder, FolderError};
use gild_desk::settings::Settings;
use gild_desk::tls;
use gild_http::RefusedCertificate;
use gild_node::client::authorities;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

const CONNECT: Duration = Duration::from_secs(5);
/// For a whole answer: that of a rack of hundreds of boards too.
const WHOLE: Duration = Duration::from_secs(30);

/// The desk of a folder.
pub struct Desk {
    folder: PathBuf,
    address: String,
    client: Client,
    runtime: Runtime,
}

impl Desk {
    /// That of this folder. Nothing is sent yet.
    pub fn of(folder: &Folder) -> Result<Self> {
        let settings = Settings::read(&folder.settings())?;
        let authority = tls::authority(&folder.tls());
        // Of all that answers at its address, only the desk that has the folder's key may see the login.
        let roots = authorities(&read(&authority)?)
            .with_context(|| format!("cannot use {}", authority.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .build()?;
        Ok(Self {
            folder: folder.path().to_owned(),
            address: settings.matchbox(),
            client,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// What it shows at this path.
    pub fn get(&self, path: &str) -> Result<Value> {
        let request = self.client.get(format!("{}{path}", self.address));
        let text = self.send(request)?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} answers something else than a desk; next: look what runs there",
                self.address
            )
        })
    }

    /// Has it do something that only the operator may ask for.
    pub fn post(&self, path: &str, body: &Value) -> Result<()> {
        let path_of_login = Folder::new(&self.folder).login();
        let login = String::from_utf8_lossy(&read(&path_of_login)?).into_owned();
        let mut login =
            HeaderValue::from_str(&format!("Bearer {}", login.trim())).map_err(|_| {
                anyhow!(
                    "{} is not a login; next: take the file that `gild init` made",
                    path_of_login.display()
                )
            })?;
        login.set_sensitive(true);
        let request = self
            .client
            .post(format!("{}{path}", self.address))
            .header(AUTHORIZATION, login)
            .header(CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string())).map(drop)
    }

    fn send(&self, request: RequestBuilder) -> Result<String> {
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| self.silent(error))?;
            let status = answer.status();
            let text = answer.text().await.map_err(|error| self.silent(error))?;
            if status.is_success() {
                return Ok(text);
            }
            if status == StatusCode::UNAUTHORIZED {
                bail!(
                    "the desk at {} does not take the login in {}; next: give the folder that it runs on, and start it again if the \
                     login was changed",
                    self.address,
                    self.folder.display()
                );
            }
            // The desk says itself what to do, where it can.
            let text = text.trim();
            if text.contains("; next: ") {
                bail!("{text}");
            }
            bail!(
                "the desk at {} answers {status}: {text}; next: look at what `gild serve` says",
                self.address
            );
        })
    }

    fn silent(&self, error: reqwest::Error) -> anyhow::Error {
        let (address, folder) = (&self.address, self.folder.display());
        if let Some(refused) = RefusedCertificate::behind(&error) {
            return anyhow!(
                "what answers at {address} is not the desk of {folder}: its certificate is refused: {refused}; next: give the folder of the \
                 desk that runs there"
            );
        }
        let why = gild_faults::message(&error.without_url());
        anyhow!("the desk does not answer at {address}: {why}; next: start it: gild serve {folder}")
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let read = fs::read(path).map_err(|error| FolderError::Read {
        path: path.to_owned(),
        error,
    });
    Ok(read?)
}
