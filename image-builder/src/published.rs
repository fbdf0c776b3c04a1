//! Published files, in a folder or on a server.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_card_format::{Header, ServerUrl};
use gild_faults::{Fault, HasFault};
use gild_golden::authority;
use gild_http::{Access, GIVE_PEM, certificates};
use gild_share::{Share, ShareError};
use gild_source::{Backoff, FileSource, Options, Patience, Reminder, Source, SourceError, Trouble};

use crate::image::{PUBLISH_AGAIN, manifests_in};
use crate::input::{InputError, must_be_file, must_be_regular, text_in};

/// What helps to reach a web server.
#[derive(Debug, clap::Args)]
pub struct AccessArgs {
    /// Believe servers by this certificate of an authority too, in PEM form
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the header in this file, such as `Authorization: Bearer abc`, to the server, over https:// alone
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
}

impl AccessArgs {
    fn access(&self, url: &ServerUrl) -> Result<Access> {
        let (ca, header) = (self.authorities(url.host())?, self.header(url)?);
        Ok(Access::new(ca.as_deref(), header.as_ref())?)
    }

    /// The certificates of `--ca`, which must be an authority's that may have signed this host's.
    pub fn authorities(&self, host: &str) -> Result<Option<String>> {
        let Some(path) = &self.ca else {
            return Ok(None);
        };
        must_be_file(path, "the certificate", "give a file in PEM form")?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        certificates(&bytes).map_err(|error| {
            let path = path.display();
            anyhow!("{path} is not the certificate of an authority: {error}; next: {GIVE_PEM}")
        })?;
        let pem = text_in(bytes, path, "the certificate")?;
        authority::check(pem.as_bytes(), host).map_err(|why| {
            let (path, next) = (path.display(), authority::how_to(host));
            anyhow!("{path} is not the certificate of an authority: {why}; next: {next}")
        })?;
        Ok(Some(pem))
    }

    /// The header of `--header-file`, for this server.
    pub fn header(&self, url: &ServerUrl) -> Result<Option<Header>> {
        let Some(path) = &self.header_file else {
            return Ok(None);
        };
        ensure!(
            url.is_encrypted(),
            "the header would go to {url} in clear text; next: use https://"
        );
        let what = "the header's file";
        must_be_file(path, what, "give a file with `Name: value` in it")?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = text_in(bytes, path, what)?;
        let header = Header::parse(line.trim()).ok_or_else(|| {
            anyhow!(
                "{} does not hold a header; next: write `Name: value` into it",
                path.display()
            )
        })?;
        Ok(Some(header))
    }
}

/// How a server of images is asked.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Give up after this many attempts in a row at a server that does not answer; 8 take half a minute
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
}

/// A folder of published files.
pub enum Place {
    /// On this machine, or mounted.
    Folder(PathBuf),
    /// On a server.
    Server(ServerUrl, Share),
}

/// Waits that say so.
struct Waiting {
    backoff: Backoff,
    reminder: Reminder,
}

impl Patience for Waiting {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        log::info!("waiting: {trouble} (attempt {attempt})");
        self.backoff.wait(attempt, trouble)
    }

    fn got_on(&self) {
        self.reminder.heard();
    }

    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        if self.reminder.is_due(silent) {
            let seconds = silent.as_secs();
            log::info!("waiting: {server} has not answered for {seconds} s");
        }
    }
}

/// Whether the error means that something could not be read: then it says nothing about the content.
pub fn is_unread(error: &anyhow::Error) -> bool {
    let is_away = |fault| fault == Fault::ServerUnreachable;
    error.chain().any(|cause| {
        let of_share = cause.downcast_ref().map(ShareError::fault);
        let of_source = cause.downcast_ref().map(SourceError::fault);
        cause.is::<InputError>()
            || cause.is::<io::Error>()
            || of_share.or(of_source).is_some_and(is_away)
    })
}

/// Whether this names something on a server.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.contains("://")
}

/// An address for a message: its query may hold a secret.
#[must_use]
pub fn without_query(text: &str) -> &str {
    match text.split_once('?') {
        Some((address, _)) if is_address(address) => address,
        _ => text,
    }
}

impl Place {
    /// Takes the path or address of a manifest apart: its folder, and its name there.
    pub fn of_manifest(manifest: &str, asking: &ServerArgs) -> Result<(Self, String)> {
        let no_manifest = |next: &str| {
            anyhow!(
                "{} does not name a manifest; next: {next}",
                without_query(manifest)
            )
        };
        if !is_address(manifest) {
            let path = Path::new(manifest);
            if path.is_dir() {
                let next = manifests_in(path);
                return Err(InputError::folder(path, "the manifest", &next).into());
            }
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| no_manifest("give a golden.json"))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            return Ok((Self::Folder(folder.to_owned()), name.to_owned()));
        }
        let url = ServerUrl::parse(manifest)
            .map_err(|reason| anyhow!("this address cannot be used: {reason}"))?;
        let is_folder = without_query(manifest).ends_with('/');
        // A server's answer does not show whether an address names a folder, but every manifest's name has an ending.
        let names_a_file = |name: &str| !is_folder && Path::new(name).extension().is_some();
        let (url, name) = url
            .split()
            .filter(|(_, name)| names_a_file(name))
            .ok_or_else(|| {
                no_manifest("give the address of one, which ends in <board>/golden.json")
            })?;
        let patience = Arc::new(Waiting {
            backoff: Backoff::attempts(asking.attempts),
            reminder: Reminder::default(),
        });
        let urls = [url.clone()];
        let access = asking.access.access(&url)?;
        let share = Share::new(&urls, &access, Options::default(), patience);
        Ok((Self::Server(url, share), name))
    }

    /// A file's path or address, for people.
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Server(url, _) => url.join(name).to_string(),
        }
    }

    /// A whole file of at most `limit` bytes.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        match self {
            Self::Server(_, share) => Ok(share.read_file(name, limit as u64)?),
            Self::Folder(folder) => {
                let path = folder.join(name);
                must_be_regular(&path, "the file", PUBLISH_AGAIN)?;
                let context = || format!("cannot read {}", path.display());
                let mut bytes = Vec::new();
                File::open(&path)
                    .with_context(context)?
                    .take(limit as u64 + 1)
                    .read_to_end(&mut bytes)
                    .with_context(context)?;
                if bytes.len() > limit {
                    bail!("{} is longer than {limit} bytes", path.display());
                }
                Ok(bytes)
            }
        }
    }

    /// A file of this size, to be read at any place.
    pub fn source(&self, name: &str, size: u64) -> Result<Box<dyn Source>> {
        Ok(match self {
            Self::Server(_, share) => Box::new(share.open(name, size)?),
            Self::Folder(folder) => {
                let path = folder.join(name);
                must_be_regular(&path, "the stored image", PUBLISH_AGAIN)?;
                let source = FileSource::open(&path);
                Box::new(source.with_context(|| format!("cannot read {}", path.display()))?)
            }
        })
    }
}
