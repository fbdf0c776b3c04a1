//! `gild key`: the minisign key pair that golden images are signed with.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use crate::input::{must_be_file, text_of};

/// The environment variable that holds the password of an encrypted key.
const PASSWORD: &str = "GILD_KEY_PASSWORD";

/// What an encrypted secret key begins with.
const ENCRYPTED: &str = gild_format::signature::SECRET_KEYS[0];
/// What one without a password begins with.
const PLAIN: &str = gild_format::signature::SECRET_KEYS[1];

/// Make and show the keys that sign golden images
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key pair: NAME.key, which you keep secret and which is not encrypted, and NAME.pub
    New {
        /// Path and name of the two files, without their endings .key and .pub
        #[arg(long, value_name = "NAME")]
        output: PathBuf,
    },
    /// Print the public key, as it goes into gild.toml
    Show {
        /// File of a public key, or of a secret one
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs `gild key`.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::New { output } => new(&output),
        Command::Show { file } => show(&file),
    }
}

fn new(name: &Path) -> Result<()> {
    let public = make(name)?;
    log::info!(
        "{}: the secret key, NOT encrypted: keep it where only you can read it",
        with_suffix(name, "key").display()
    );
    log::info!(
        "{}: the public key; on the card, in gild.toml:",
        with_suffix(name, "pub").display()
    );
    println!("public_key = \"{public}\"");
    Ok(())
}

/// Makes a key pair in two files, and gives the public key as it stands in gild.toml.
pub fn make(name: &Path) -> Result<String> {
    let pair = KeyPair::generate_unencrypted_keypair().context("cannot make a key pair")?;
    let (secret_path, public_path) = (with_suffix(name, "key"), with_suffix(name, "pub"));
    let secret = pair
        .sk
        .to_box(Some("gild secret key, not encrypted"))?
        .into_string();
    let public = pair.pk.to_box()?.into_string();
    create(&secret_path, 0o600, &secret)?;
    if let Err(error) = create(&public_path, 0o644, &public) {
        // A secret key alone would only stand in the way of the next attempt.
        fs::remove_file(&secret_path)
            .with_context(|| format!("cannot remove {}", secret_path.display()))?;
        return Err(error);
    }
    Ok(pair.pk.to_base64())
}

fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

/// 64 hex digits that nobody can guess.
pub fn random() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(hex::encode(bytes))
}

/// Writes a file that was not there, with its permissions from the first moment on.
pub fn create(path: &Path, mode: u32, text: &str) -> Result<()> {
    let context = || format!("cannot create {}", path.display());
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow!("{error}; next: choose another name, because a key is never overwritten")
            }
            io::ErrorKind::NotFound => {
                anyhow!("{error}; next: make the folder, or name another one")
            }
            _ => error.into(),
        })
        .with_context(context)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(())
}

fn show(file: &Path) -> Result<()> {
    must_be_file(
        file,
        "the key",
        "give a .pub or .key file of `gild key new`",
    )?;
    let text = text_of(file, "the key")?;
    let public = if let Ok(key) = gild_format::signature::PublicKey::parse(&text) {
        key.to_string()
    } else {
        PublicKey::from_secret_key(&read_secret(file)?)?.to_base64()
    };
    println!("public_key = \"{public}\"");
    Ok(())
}

/// The number of a public key, as minisign writes it into the comment of its files.
pub fn id(key: &gild_format::signature::PublicKey) -> Result<String> {
    let key = PublicKey::from_base64(&key.to_string())?;
    let digits = key.keynum().iter().rev().map(|byte| format!("{byte:02X}"));
    Ok(digits.collect())
}

/// A secret key that can sign.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

impl Signer {
    /// Reads a minisign secret key; an encrypted one takes its password from the environment.
    pub fn read(path: &Path) -> Result<Self> {
        let secret = read_secret(path)?;
        let public = PublicKey::from_secret_key(&secret)
            .with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Self { secret, public })
    }

    /// The public half.
    pub fn public(&self) -> Result<gild_format::signature::PublicKey> {
        Ok(gild_format::signature::PublicKey::parse(
            &self.public.to_base64(),
        )?)
    }

    /// A `.minisig` file's text over these bytes.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Result<String> {
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            bytes,
            Some(comment),
            Some("gild signature"),
        )
        .context("cannot sign the manifest")?;
        Ok(signature.into_string())
    }
}

fn read_secret(path: &Path) -> Result<SecretKey> {
    let shown = path.display();
    must_be_file(
        path,
        "the secret key",
        "give the .key file of `gild key new`, or make one: gild key new --output site",
    )?;
    let text = text_of(path, "the secret key")?;
    ensure!(
        gild_format::signature::PublicKey::parse(&text).is_err(),
        "{shown} is a public key, and only the secret key can sign; next: give the file that ends in .key"
    );
    let sealed = || SecretKeyBox::from_string(&text);
    // Without a password first: the other way round, the library would ask on the terminal for one nobody needs.
    if let Ok(secret) = sealed().and_then(SecretKeyBox::into_unencrypted_secret_key) {
        return Ok(secret);
    }
    if let Some(secret) = without_checksum(&text) {
        ensure!(
            is_whole(&secret),
            "{shown} is damaged: what it signs does not fit its public key; next: give an undamaged copy of the file"
        );
        return Ok(secret);
    }
    ensure!(
        text.lines().any(|line| line.starts_with(ENCRYPTED)),
        "{shown} is not a minisign secret key; next: give the .key file of `gild key new`"
    );
    let Ok(password) = std::env::var(PASSWORD) else {
        bail!("{shown} is encrypted; next: put its password into {PASSWORD}");
    };
    sealed()?
        .into_secret_key(Some(password))
        .with_context(|| format!("cannot open the key {shown} with the password in {PASSWORD}"))
}

/// The key in a file of `minisign -G -W`, which writes zeros for the checksum.
fn without_checksum(text: &str) -> Option<SecretKey> {
    const CHECKSUM: usize = 32;
    let line = text.lines().find(|line| line.starts_with(PLAIN))?;
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let (_, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
    if *checksum != [0; CHECKSUM] {
        return None;
    }
    SecretKey::from_bytes(&bytes).ok()
}

/// Whether the two halves in a secret key fit each other: without a checksum nothing else shows damage.
fn is_whole(secret: &SecretKey) -> bool {
    let check = || {
        let public = PublicKey::from_secret_key(secret)?;
        let signature = minisign::sign(Some(&public), secret, io::empty(), None, None)?;
        minisign::verify(&public, &signature, io::empty(), true, false, false)
    };
    check().is_ok()
}
