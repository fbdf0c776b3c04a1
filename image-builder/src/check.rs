//! `gild check`: does at the desk what a node does later, before anybody walks to the rack. It writes nothing.
//!
//! gild reads what a node reads with the node's own readers, and judges it by the node's rules; the rest is to ask the servers,
//! and to report the result.

mod address;
mod clock;
mod cluster;
mod configuration;
mod foresight;
mod given;
mod groups;
mod identity;
mod image;
mod matchbox;
mod names;
mod report;
mod share;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::{Config, ServerUrl};
use gild_http::Access;
use gild_node::k3s_url::K3sUrl;
use reqwest::Url;

use crate::board::Named;
use crate::image::read_key;
use crate::published::AccessArgs;
use given::Given;
use image::Asked;
use matchbox::{Answers, Questions};
use report::{Check, Finding, Level};

/// Exit code of a check that found an error.
pub const FOUND: u8 = 1;

const NO_CONFIGURATION: &str =
    "give a gild.toml or a card, or --server with --public-key and --matchbox";

const AFTER_HELP: &str = "\
Each line says ok, warning, error or `not checked`, what was looked at, and `next:` with what to do (docs/check.md).

Exit codes: 0 when no line says error, 1 when one does, and gild's other codes for a check that could not begin.";

/// Arguments of `gild check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Configuration of the card (gild.toml), a card image, or the device of a card
    #[arg(value_name = "gild.toml|CARD", conflicts_with = "servers")]
    path: Option<PathBuf>,
    /// Check this server of images, without a configuration; repeat it for a list
    #[arg(long = "server", value_name = "URL", requires = "public_key")]
    servers: Vec<String>,
    /// Public key of the golden images, as a file or as its line, if the configuration has none
    #[arg(long, value_name = "PUB")]
    public_key: Option<String>,
    /// Look for the image of this board; repeat it for more [default: all boards that gild knows]
    #[arg(long = "board", value_name = "BOARD", value_parser = Named)]
    boards: Vec<&'static Board>,
    /// Ask this metadata server (a desk or Matchbox), and not the configuration's
    #[arg(long, value_name = "URL")]
    matchbox: Option<String>,
    /// Ask the metadata server about the node with this MAC address; repeat it for more
    #[arg(long = "mac", value_name = "MAC", value_parser = mac)]
    macs: Vec<Mac>,
    /// Ask the metadata server about each node of its group files, which lie in `groups` of this folder
    #[arg(long, value_name = "DIR")]
    groups: Option<PathBuf>,
    /// Address of the cluster that the image was built with, for nodes whose group names none
    #[arg(long, value_name = "URL")]
    k3s_url: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
    /// Print JSON: an array with one object for each line
    #[arg(long)]
    json: bool,
}

/// There are errors, and they have been printed.
#[derive(Debug, thiserror::Error)]
#[error("{0} of {1} lines say error; next: do what these lines say after `next:`")]
pub struct Found(usize, usize);

/// Runs `gild check`.
pub fn run(args: &Args) -> Result<()> {
    let findings = findings(args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            println!("{finding}");
        }
    }
    let errors = report::count(&findings, Level::Error);
    ensure!(errors == 0, Found(errors, findings.len()));
    Ok(())
}

/// The way of a node, in its order. The servers are asked at the same time.
fn findings(args: &Args) -> Result<Vec<Finding>> {
    let addresses = Addresses::of(args)?;
    let (mut findings, config, on_card) = match given(args)? {
        Some(given) => (given.findings, given.config, given.on_card),
        None => Default::default(),
    };
    let groups = args.groups.as_deref().map(groups::read).transpose()?;
    let groups = groups.unwrap_or_default();

    let of_config = || config.as_ref()?.matchbox.clone();
    let matchbox = addresses.matchbox.or_else(of_config);
    let access = match access(args, config.as_ref(), matchbox.as_ref()) {
        Ok(access) => access,
        Err(error) => {
            let message = gild_faults::message(error.as_ref());
            let next = "correct `ca` and `http.header`, or --ca and --header-file";
            findings.push(Finding::error(Check::Configuration, "ca", &message, next));
            return Ok(findings);
        }
    };
    let config = config.map(Arc::new);

    let clocks = clock::begin(config.as_deref(), matchbox.as_ref(), &access);
    let images = config
        .as_ref()
        .map(|config| share::begin(config, &access, &boards(args), &on_card));
    let asking = matchbox.map(|base| {
        let questions = Questions {
            base,
            macs: all_macs(&args.macs, &groups.macs),
            k3s_url: addresses.k3s_url,
            files: groups.answers,
        };
        matchbox::begin(questions, &access)
    });

    findings.extend(config.iter().flat_map(|config| names::judge(config)));
    findings.extend(match images {
        Some(images) => {
            let looks: Vec<_> = images.into_iter().map(share::Asking::look).collect();
            image::judge(&looks, asked(args), clock::now())
        }
        None => vec![no_servers()],
    });
    findings.extend(groups.findings);
    let answers = asking.map_or_else(no_matchbox, matchbox::Asking::answers);
    findings.extend(answers.findings);
    findings.extend(cluster::judge(&answers.nodes));
    findings.extend(clock::judge(clocks));
    Ok(findings)
}

/// The configuration that is checked, and what it says that is wrong or probably a mistake.
fn given(args: &Args) -> Result<Option<Given>> {
    let key = args.public_key.as_deref().map(read_key).transpose()?;
    let given = match (&args.path, &key) {
        (Some(path), key) => Given::read(path, key.as_ref())?,
        (None, Some(key)) if !args.servers.is_empty() => Given::of_servers(&args.servers, key),
        _ => {
            ensure!(
                args.matchbox.is_some(),
                "there is nothing to check; next: {NO_CONFIGURATION}"
            );
            return Ok(None);
        }
    };
    let of_config = given
        .config
        .as_ref()
        .map(|config| configuration::judge(&given.name, config));
    let findings = of_config.into_iter().flatten().chain(given.findings);
    Ok(Some(Given {
        findings: findings.collect(),
        ..given
    }))
}

/// The certificate authorities and the header: from the options, otherwise from the configuration.
fn access(args: &Args, config: Option<&Config>, matchbox: Option<&Url>) -> Result<Access> {
    let servers = config.map_or(&[][..], |config| &config.servers);
    let web = || {
        servers
            .iter()
            .filter(|server| matches!(server, ServerUrl::Http(_)))
    };
    let host = web().next().map(ServerUrl::host);
    let host = host.or(matchbox.map(address::host));
    let authorities = args.access.authorities(host.unwrap_or_default())?;
    let mut header = None;
    for server in web() {
        header = args.access.header(server)?;
    }
    let of_config = config.and_then(|config| config.authorities.clone());
    let header = header.or(config.and_then(|config| config.header.clone()));
    let authorities = authorities.or(of_config);
    Ok(Access::new(authorities.as_deref(), header.as_ref())?)
}

fn boards(args: &Args) -> Vec<&'static Board> {
    if args.boards.is_empty() {
        return gild_boards::all().iter().collect();
    }
    args.boards.clone()
}

fn asked(args: &Args) -> Asked {
    if args.boards.is_empty() {
        Asked::WithAll
    } else {
        Asked::ByName
    }
}

fn all_macs(given: &[Mac], of_groups: &[Mac]) -> Vec<Mac> {
    let mut macs: Vec<Mac> = Vec::new();
    for mac in given.iter().chain(of_groups) {
        if !macs.contains(mac) {
            macs.push(*mac);
        }
    }
    macs
}

fn no_servers() -> Finding {
    Finding::not_checked(
        Check::Server,
        "the servers of images",
        "no configuration says which there are",
        NO_CONFIGURATION,
    )
}

fn no_matchbox() -> Answers {
    Answers {
        findings: vec![Finding::not_checked(
            Check::Matchbox,
            "the metadata server (a desk or Matchbox)",
            "the configuration does not name it; nodes ask the one that the image names",
            "give --matchbox with the address that the image was built with",
        )],
        nodes: Vec::new(),
    }
}

fn mac(text: &str) -> Result<Mac> {
    Mac::of_person(text)
        .ok_or_else(|| anyhow!("it is not a MAC address; next: write it like 2c:cf:67:00:00:01"))
}

/// The addresses of the options. Not read by clap, which repeats a wrong value: it may hold a password.
struct Addresses {
    matchbox: Option<Url>,
    k3s_url: Option<K3sUrl>,
}

impl Addresses {
    fn of(args: &Args) -> Result<Self> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let matchbox = args.matchbox.as_deref().map(|text| {
            Url::parse(text).ok().filter(is_web).ok_or_else(|| {
                anyhow!(
                    "--matchbox cannot be asked; next: give an address like http://192.168.1.10:8080"
                )
            })
        });
        let k3s_url = args.k3s_url.as_deref().map(|text| {
            K3sUrl::parse(text).map_err(|problem| {
                anyhow!("--k3s-url {problem}; next: give the address that the image was built with")
            })
        });
        Ok(Self {
            matchbox: matchbox.transpose()?,
            k3s_url: k3s_url.transpose()?,
        })
    }
}
