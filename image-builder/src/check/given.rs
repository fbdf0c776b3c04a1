//! What is checked: a `gild.toml`, the one on a card, or what the options say.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use gild_card::config::{self, ConfigError};
use gild_card::inspect::inspect;
use gild_card_format::names::ORDER;
use gild_card_format::{Config, Order, PerBoard};
use gild_format::signature::PublicKey;

use super::configuration;
use super::report::{Check, Finding};
use crate::card;
use crate::input::{must_be_file, text_in};

const NEXT: &str = "correct gild.toml; docs/configuration.md has the keys";
/// No agent reads a longer file, and a card image begins with a sector that is not text.
const LONGEST: u64 = 64 << 10;

/// What a card has beside its configuration, as far as it says it.
#[derive(Default)]
pub struct OnCard {
    /// The least rollback counters.
    pub least_rollback: PerBoard<u64>,
    /// The version of its agent.
    pub agent: Option<String>,
}

/// A configuration as a node would have it.
pub struct Given {
    /// What it is called.
    pub name: String,
    /// None if no node could use it.
    pub config: Option<Config>,
    /// What else the card has.
    pub on_card: OnCard,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl Given {
    /// Reads a `gild.toml`, or the one on a card.
    pub fn read(path: &Path, key: Option<&PublicKey>) -> Result<Self> {
        let name = path.display().to_string();
        must_be_file(
            path,
            "the configuration",
            "give a gild.toml, a card image, or the device of a card",
        )?;
        match text(path)? {
            Some(text) => Ok(Self::of(name, &text, key)),
            None => Self::on_card(name, path, key),
        }
    }

    /// The configuration of a card that has these servers and this key, and nothing else.
    pub fn of_servers(servers: &[String], key: &PublicKey) -> Self {
        // The strings of JSON are strings of TOML.
        let list: Vec<String> = servers
            .iter()
            .map(|server| serde_json::Value::from(server.as_str()).to_string())
            .collect();
        let text = format!("server = [{}]\n", list.join(", "));
        Self::of("--server".to_owned(), &text, Some(key))
    }

    fn on_card(name: String, path: &Path, key: Option<&PublicKey>) -> Result<Self> {
        let (what, next) = card::IMAGE;
        let mut disk = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let card = inspect(&mut disk).map_err(|error| {
            // The error may have a next step, which is for a card. Here the user may not have meant a card.
            let said = error.to_string();
            let why = said.split("; next: ").next().unwrap_or_default();
            anyhow!("{name} is neither a gild.toml nor {what}: {why}; next: {next}")
        })?;
        let mut given = Self::of(name, &card.config, key);
        given.on_card = OnCard {
            least_rollback: card.least_rollback,
            agent: card.agent,
        };
        let problem = |problem: &String| {
            let (problem, next) = problem
                .split_once("; next: ")
                .unwrap_or((problem, "make the card again with `gild card build`"));
            Finding::error(Check::Configuration, &given.name, problem, next)
        };
        let problems: Vec<Finding> = card.problems.iter().map(problem).collect();
        given.findings.extend(problems);
        given.findings.extend(order(&given.name, &card.order));
        Ok(given)
    }

    /// A secret keeps a configuration off a card, but does not prevent the check of the rest.
    fn of(name: String, text: &str, key: Option<&PublicKey>) -> Self {
        let refusal = config::prepare(text, key).err();
        let config = match (&refusal, key) {
            // The key that was given is the one to check with.
            (Some(ConfigError::TwoKeys), _) => None,
            _ => Config::parse_with_key(text, key).ok(),
        };
        let mut findings: Vec<Finding> =
            refusal.iter().map(|error| refused(&name, error)).collect();
        if let Some(config) = &config {
            findings.extend(beside(&name, config));
        }
        Self {
            name,
            config,
            on_card: OnCard::default(),
            findings,
        }
    }
}

/// The order to flash in its own file.
fn order(name: &str, text: &str) -> Option<Finding> {
    let file = format!("{ORDER} on {name}");
    match Order::in_file(text) {
        Ok(order) => Some(configuration::order(&file, &order?)),
        Err(error) => {
            let next = "correct the file, or delete it";
            let message = error.to_string();
            Some(Finding::error(Check::Configuration, file, &message, next))
        }
    }
}

/// What no node or no card takes.
fn refused(name: &str, error: &ConfigError) -> Finding {
    use gild_card_format::ConfigError::Missing;
    let (key, message) = ("public_key", error.to_string());
    match error {
        ConfigError::Agent(Missing { key: lacks, .. }) if *lacks == key => Finding::error(
            Check::Configuration,
            name,
            "no `public_key` is configured",
            "give --public-key, or write the second line of the .pub file into gild.toml",
        ),
        _ => Finding::error(Check::Configuration, name, &message, NEXT),
    }
}

/// What `gild card build` looks at beside what the agent refuses.
fn beside(name: &str, config: &Config) -> Vec<Finding> {
    match card::settings::check(config) {
        Ok(doubts) => doubts
            .iter()
            .map(|doubt| Finding::warning(Check::Configuration, name, doubt, NEXT))
            .collect(),
        Err(error) => {
            let message = gild_faults::message(error.as_ref());
            vec![Finding::error(Check::Configuration, name, &message, NEXT)]
        }
    }
}

/// The content of a short text. A card is neither short nor text.
fn text(path: &Path) -> Result<Option<String>> {
    let context = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(context)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    let is_short = bytes.len() as u64 <= LONGEST && fs::metadata(path)?.is_file();
    let is_noise = bytes.starts_with(&[0, 0]);
    if !is_short || is_noise {
        return Ok(None);
    }
    let text = text_in(bytes, path, "the configuration")?;
    Ok(Some(text).filter(|text| !text.contains('\0')))
}
