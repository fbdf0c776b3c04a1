//! `gild init`: makes the folder of a desk.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::RangedI64ValueParser;
use clap::value_parser;
use gild_card_format::check_host;
use gild_desk::folder::Folder;
use gild_desk::settings::Settings;
use gild_desk::tls;
use gild_golden::base::check_emulation;
use gild_golden::site::public_keys;
use gild_node::cluster::{self, Trouble};
use gild_node::k3s_url::K3sUrl;
use gild_node::reach::Reach;
use gild_node::token::{Kind, Token};
use serde_json::{Map, json};

use super::question::{file, file_given_or_asked, given_or_asked};
use crate::input::{must_be_regular, text_of};
use crate::key::{self, create};
use crate::own_files;

/// Only the owner reads what lies there: the token is in it.
const PRIVATE: u32 = 0o700;
const SECRET: u32 = 0o600;
const OPEN: u32 = 0o644;

/// Arguments of `gild init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to make
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Name or address by which boards reach this machine; several times for further ones, the first is what cards and images get
    #[arg(long, value_name = "HOST")]
    address: Vec<String>,
    /// Address of the cluster: <https://host:6443>
    #[arg(long, value_name = "URL")]
    k3s_url: Option<String>,
    /// File with the token that lets nodes in: /var/lib/rancher/k3s/server/agent-token of a k3s server that was started with --agent-token
    #[arg(long, value_name = "FILE")]
    k3s_token_file: Option<PathBuf>,
    /// File with the ssh public keys of who may log in to the nodes, one on a line
    #[arg(long, value_name = "FILE")]
    ssh_keys: Option<PathBuf>,
    /// Let nobody log in to the nodes, and do not ask for ssh keys
    #[arg(long, conflicts_with = "ssh_keys")]
    no_ssh_keys: bool,
    /// Port for identities, reports and the page, with TLS
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = port())]
    https_port: u16,
    /// Port for images over HTTP
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = port())]
    http_port: u16,
    /// Port for images over NFS
    #[arg(long, value_name = "PORT", default_value_t = 2049, value_parser = port())]
    nfs_port: u16,
}

/// Cards and images have it in their addresses, so that it is never one that the system chooses.
fn port() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..)
}

/// Runs `gild init`.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        !args.folder.exists(),
        "{} is there already, and a desk is never overwritten; next: name another folder",
        args.folder.display()
    );
    let settings = settings(args)?;
    let cluster = Cluster::read(args)?;
    cluster.look(&Folder::new(&args.folder).cluster());
    private_folder(&args.folder)?;
    // It is ours from here on, and half made it would only stand in the way of the next attempt.
    if let Err(error) = fill(&args.folder, &settings, &cluster) {
        fs::remove_dir_all(&args.folder)
            .with_context(|| format!("cannot remove {}", args.folder.display()))?;
        return Err(error);
    }
    next_steps(&args.folder, &settings);
    Ok(())
}

fn settings(args: &Args) -> Result<Settings> {
    let mut names = args.address.clone();
    if names.is_empty() {
        let question = "Name or address by which boards reach this machine";
        names.push(given_or_asked(None, "--address", question)?);
    }
    for name in &names {
        tls::check_name(name)?;
        check_host(name).map_err(|problem| anyhow::anyhow!("--address: {problem}"))?;
    }
    for name in &names {
        warn_of(name);
    }
    let settings = Settings {
        names,
        https_port: args.https_port,
        http_port: args.http_port,
        nfs_port: args.nfs_port,
    };
    ensure!(
        !settings.has_one_port_twice(),
        "two of the ports are the same; next: give three different ones"
    );
    Ok(settings)
}

/// Warns of a name by which boards will hardly reach this machine.
fn warn_of(name: &str) {
    let why = match Reach::of_host(name) {
        Reach::Itself => "leads each board to itself",
        Reach::OneLabel => {
            "is a name without a domain: boards find it only if their DHCP server gives the domain"
        }
        Reach::Elsewhere
            if name
                .to_ascii_lowercase()
                .trim_end_matches('.')
                .rsplit('.')
                .next()
                == Some("local") =>
        {
            "is a name of multicast DNS, which boards do not ask"
        }
        Reach::Elsewhere => return,
    };
    log::warn!(
        "--address {name} {why}; next: give an address of this machine in the boards' network, if that is not meant"
    );
}

/// The cluster that nodes join.
struct Cluster {
    url: K3sUrl,
    token: Token,
    ssh_keys: Vec<String>,
}

impl Cluster {
    fn read(args: &Args) -> Result<Self> {
        let url = given_or_asked(
            args.k3s_url.as_ref(),
            "--k3s-url",
            "Address of the cluster (https://host:6443)",
        )?;
        let url = K3sUrl::parse(&url).map_err(|problem| {
            anyhow::anyhow!(
                "--k3s-url {problem}; next: give the address of the cluster: https://host:6443"
            )
        })?;
        let token_file = match &args.k3s_token_file {
            Some(file) => file.clone(),
            None => file(&given_or_asked(
                None,
                "--k3s-token-file",
                "File with the cluster's token (agent-token of a k3s server)",
            )?),
        };
        let token = given(&token_file, "the file of the token")?;
        let token = Token::parse(token.trim()).map_err(|problem| {
            anyhow::anyhow!(
                "the token in {} cannot be used: it {problem}",
                token_file.display()
            )
        })?;
        let ssh_keys = if args.no_ssh_keys {
            None
        } else {
            file_given_or_asked(
                args.ssh_keys.as_ref(),
                "File with the ssh public keys of who may log in to the nodes (Enter for none: then nobody can log in)",
            )?
        };
        let ssh_keys = match ssh_keys {
            Some(file) => {
                must_be_regular(
                    &file,
                    "the file of ssh keys",
                    "give the file that has them, such as ~/.ssh/id_ed25519.pub",
                )?;
                public_keys(&file)?
            }
            None => Vec::new(),
        };
        if ssh_keys.is_empty() && !args.no_ssh_keys {
            log::warn!(
                "nobody will be able to log in to the nodes, because there is no --ssh-keys; next: if that is not meant, remove the folder and run \
                 this again with --ssh-keys FILE"
            );
        }
        Ok(Self {
            url,
            token,
            ssh_keys,
        })
    }

    /// Asks the cluster whether it would take the token. It may be down today, so that this stops nothing. Where it is something else, the
    /// file that is going to have the cluster is to be corrected: there are no groups yet.
    fn look(&self, file: &Path) {
        match self.token.kind() {
            Kind::SecureServer => log::warn!(
                "the token is one of servers: anyone who has it is the cluster's administrator; next: start the servers with \
                 --agent-token, and give the token in /var/lib/rancher/k3s/server/agent-token"
            ),
            Kind::Password => log::warn!(
                "the token does not name its cluster, so that nodes send it to whatever answers at {}; next: give the whole one, \
                 which begins with K10",
                self.url
            ),
            Kind::Secure | Kind::Bootstrap => (),
        }
        match cluster::look(&self.url, &self.token) {
            Ok(_) => log::info!("the cluster at {} takes the token", self.url),
            Err(trouble) => log::warn!("{}", warning(&trouble, file)),
        }
    }

    /// What each group of Matchbox's gets.
    fn metadata(&self) -> serde_json::Value {
        let keys: Map<_, _> = self
            .ssh_keys
            .iter()
            .enumerate()
            .map(|(number, key)| (format!("key{}", number + 1), json!(key)))
            .collect();
        let mut metadata = json!({"k3s_url": self.url.as_str(), "k3s_token": self.token.reveal()});
        if !keys.is_empty() {
            metadata["ssh_keys"] = keys.into();
        }
        metadata
    }
}

/// The words on a cluster that would not take nodes, or cannot be asked.
fn warning(trouble: &Trouble, file: &Path) -> String {
    let file = file.display();
    let next = match trouble {
        Trouble::Silent(..) => format!(
            "start the cluster's servers, let this machine reach that port, or correct `k3s_url` in {file} before you add nodes"
        ),
        Trouble::NotK3s(..) => format!("correct `k3s_url` in {file} before you add nodes"),
        Trouble::OtherCluster(..) => format!(
            "put the token of this cluster into {file} as `k3s_token`, or correct `k3s_url` there, before you add nodes"
        ),
        Trouble::Token(_) => {
            format!("put a valid one into {file} as `k3s_token` before you add nodes")
        }
        Trouble::Certificate(..) => format!(
            "look whether `k3s_url` in {file} leads to the cluster's servers, and whether this machine's clock is right (`date`)"
        ),
        Trouble::Clock(_) => {
            "correct the clock of this machine, or that of the cluster's servers".to_owned()
        }
        Trouble::Status(..) | Trouble::Name(_) | Trouble::K3s(_) => {
            "look at the log of the cluster's server".to_owned()
        }
    };
    let was_checked = matches!(trouble, Trouble::OtherCluster(..) | Trouble::Token(_));
    let head = if was_checked {
        ""
    } else {
        "the token was not checked: "
    };
    format!("{head}{}; next: {next}", trouble.what())
}

fn given(file: &Path, what: &str) -> Result<String> {
    must_be_regular(file, what, "give the file that has it")?;
    text_of(file, what)
}

/// Makes a folder that was not there.
fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(PRIVATE)
        .create(path)
        .map_err(|error| {
            let next = match error.kind() {
                ErrorKind::NotFound => {
                    "; next: make the folder in which it is to be, or give another place"
                }
                _ => "",
            };
            let said = format!("cannot make {}: {error}{next}", path.display());
            anyhow::Error::new(error).context(said)
        })
}

fn fill(path: &Path, settings: &Settings, cluster: &Cluster) -> Result<()> {
    let folder = Folder::new(path);
    private_folder(&folder.groups())?;
    private_folder(&folder.images())?;
    private_folder(&folder.orders())?;
    if let Some(journal) = folder.journal().parent() {
        private_folder(journal)?;
    }
    let public_key = key::make(&folder.site_key())?;
    tls::make(&folder.tls(), &settings.names)?;
    let report_key = key::random()?;
    create(&folder.report_key(), SECRET, &format!("{report_key}\n"))?;
    create(&folder.login(), SECRET, &format!("{}\n", key::random()?))?;
    create(&folder.settings(), OPEN, &settings.text())?;
    let ssh_keys = &cluster.ssh_keys;
    let cluster = serde_json::to_string_pretty(&cluster.metadata())?;
    create(&folder.cluster(), SECRET, &format!("{cluster}\n"))?;
    if !ssh_keys.is_empty() {
        create(
            &folder.authorized_keys(),
            OPEN,
            &format!("{}\n", ssh_keys.join("\n")),
        )?;
    }
    let authority = tls::authority(&folder.tls());
    let authority = fs::read_to_string(&authority)
        .with_context(|| format!("cannot read {}", authority.display()))?;
    let card = card(settings, &public_key, &report_key, &authority);
    create(&folder.card_configuration(), SECRET, &card)?;
    Ok(())
}

/// The configuration of the cards.
fn card(settings: &Settings, public_key: &str, report_key: &str, authority: &str) -> String {
    let [nfs, http] = settings.servers();
    format!(
        "# The flasher card of this desk. Every key: docs/configuration.md\n\
         server = [\"{nfs}\", \"{http}\"]\n\
         public_key = \"{public_key}\"\n\
         matchbox = \"{}\"\n\
         status_url = \"{}\"\n\
         # Anyone who has the card can report in the name of each board, and a report opens the door to its token: keep cards like keys.\n\
         status_key = \"{report_key}\"\n\
         # Where boards ask for signed orders: docs/orders.md\n\
         order_url = \"{}\"\n\
         ca = \"\"\"\n{authority}\"\"\"\n",
        settings.matchbox(),
        settings.status_url(),
        settings.order_url(),
    )
}

fn next_steps(path: &Path, settings: &Settings) {
    let shown = path.display();
    log::info!(
        "{shown} is made. It holds secrets: the key that signs images, the cluster's token, the login of the page"
    );
    if check_emulation().is_err()
        && let Some(program) = own_files::arm64_programs()
    {
        let program = program.display().to_string();
        println!("{program:<86} # after each start of this machine: images need it");
    }
    println!(
        "gild node add {shown} --mac d8:3a:dd:01:02:03 --name node-1                            # for each board\n\
         gild image build --desk {shown} --board rpi5 --k3s k3s-arm64 --k3s-sha256 ...          # for each kind of board\n\
         gild card build --config {shown}/gild.toml --out card.img                              # and write it to a card\n\
         gild serve {shown}                                                                     # then open {}",
        settings.matchbox()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_there_are_groups_the_cluster_is_corrected_in_the_folder() {
        let (at, file) = (
            "https://k3s:6443".to_owned(),
            Path::new("desk/cluster.json"),
        );
        let why = "it has no such page".to_owned();
        assert_eq!(
            warning(&Trouble::NotK3s(at.clone(), why.clone()), file),
            "the token was not checked: what answers at https://k3s:6443 is not a server of k3s: it has no such page; next: correct \
             `k3s_url` in desk/cluster.json before you add nodes"
        );
        for trouble in [
            Trouble::Silent(at.clone(), why.clone()),
            Trouble::OtherCluster(at.clone(), why.clone(), why.clone()),
            Trouble::Certificate(at.clone(), why),
            Trouble::Token(at),
        ] {
            let said = warning(&trouble, file);
            assert!(said.contains("desk/cluster.json"), "{said}");
            assert!(!said.contains("node's group"), "{said}");
            assert_eq!(said.matches("; next: ").count(), 1, "{said}");
        }
    }
}
