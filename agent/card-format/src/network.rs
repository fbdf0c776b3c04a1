//! The sections `[network]` and `[network."<mac>"]`: one card serves many boards, and each may have its own address.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use gild_boards::mac::Mac;
use gild_format::network::{MAX_PREFIX, MAX_SERVERS, MAX_VLAN, Settings, Static};
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::ConfigError;

mod place;

/// What the card says about networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    general: Settings,
    boards: Vec<(Mac, Settings)>,
}

/// Two sections are for the same board, and differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "gild.toml on the card has [network.\"{0}\"] and [network.\"{1}\"], and both are this board's addresses; next: delete one"
)]
pub struct TwoSections(pub Mac, pub Mac);

impl Networks {
    /// What counts for the board with these wired interfaces: the section of one of its addresses as a whole, else
    /// `[network]`.
    pub fn of_board(&self, macs: &[Mac]) -> Result<&Settings, TwoSections> {
        let mut own = self.boards.iter().filter(|(mac, _)| macs.contains(mac));
        let Some((first, settings)) = own.next() else {
            return Ok(&self.general);
        };
        match own.find(|(_, other)| other != settings) {
            Some((second, _)) => Err(TwoSections(*first, *second)),
            None => Ok(settings),
        }
    }

    /// The sections of single boards.
    #[must_use]
    pub fn boards(&self) -> &[(Mac, Settings)] {
        &self.boards
    }

    /// Every section there is.
    pub fn all(&self) -> impl Iterator<Item = &Settings> {
        let boards = self.boards.iter().map(|(_, settings)| settings);
        std::iter::once(&self.general).chain(boards)
    }
}

/// The sections of single boards, each by its address.
pub type Sections = Vec<(Mac, Table)>;

/// Takes the sections of single boards out of the table of the file.
pub fn take_sections(file: &mut Table) -> Result<Sections, ConfigError> {
    let Some(Value::Table(network)) = file.get_mut("network") else {
        return Ok(Vec::new());
    };
    let (boards, general): (Table, Table) = std::mem::take(network)
        .into_iter()
        .partition(|(_, value)| value.is_table());
    *network = general;
    let mut sections = Sections::new();
    for (name, section) in boards {
        let mac = Mac::parse(&name.replace('-', ":")).ok_or_else(|| {
            ConfigError::Type(format!(
                "[network.\"{name}\"]: `{name}` is not a MAC address; next: write it like \"2c:cf:67:00:00:01\""
            ))
        })?;
        if sections.iter().any(|(other, _)| *other == mac) {
            return Err(ConfigError::Type(format!(
                "[network.\"{mac}\"] is there twice; next: delete one"
            )));
        }
        if let Value::Table(section) = section {
            sections.push((mac, section));
        }
    }
    Ok(sections)
}

/// Makes the settings of all sections.
pub fn check(general: Section, boards: Sections) -> Result<Networks, ConfigError> {
    let of_board = |(mac, section): (Mac, Table)| {
        let section: Section = section
            .try_into()
            .map_err(|error: toml::de::Error| in_section(mac, error.message()))?;
        let settings = section.check().map_err(|error| in_section(mac, error))?;
        Ok((mac, settings))
    };
    Ok(Networks {
        general: general.check()?,
        boards: boards
            .into_iter()
            .map(of_board)
            .collect::<Result<_, ConfigError>>()?,
    })
}

fn in_section(mac: Mac, problem: impl Display) -> ConfigError {
    ConfigError::Type(format!("[network.\"{mac}\"]: {problem}"))
}

/// One section, as it is written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Section {
    address: Option<String>,
    gateway: Option<String>,
    dns: Vec<String>,
    vlan: Option<i64>,
    ntp: Vec<String>,
}

impl Section {
    fn check(self) -> Result<Settings, ConfigError> {
        let vlan = self.vlan.map(|vlan| {
            let number = u16::try_from(vlan).ok();
            number
                .filter(|vlan| (1..=MAX_VLAN).contains(vlan))
                .ok_or_else(|| {
                    wrong_of(
                        "network.vlan",
                        &vlan.to_string(),
                        &format!("it should be a number from 1 to {MAX_VLAN}"),
                    )
                })
        });
        Ok(Settings {
            vlan: vlan.transpose()?,
            ntp: servers("network.ntp", &self.ntp)?,
            address: self.fixed()?,
        })
    }

    fn fixed(&self) -> Result<Option<Static>, ConfigError> {
        let Some(address) = &self.address else {
            return match (&self.gateway, self.dns.first()) {
                (None, None) => Ok(None),
                _ => Err(ConfigError::Type(
                    "[network] has no `address`: write one, like \"192.168.1.50/24\", or leave `gateway` and `dns` out for DHCP"
                        .to_owned(),
                )),
            };
        };
        let wrong = |problem: &str| wrong_of("network.address", address, problem);
        let (ip, prefix) = address
            .split_once('/')
            .ok_or_else(|| wrong("it should be an address and a prefix, like 192.168.1.50/24"))?;
        let ip = ipv4("network.address", ip)?;
        let prefix = prefix
            .parse()
            .ok()
            .filter(|prefix| (1..=MAX_PREFIX).contains(prefix))
            .ok_or_else(|| wrong("the prefix after the slash should be 1 to 32"))?;
        let fixed = Static {
            address: ip,
            prefix,
            gateway: (self.gateway.as_ref())
                .map(|gateway| ipv4("network.gateway", gateway))
                .transpose()?,
            dns: servers("network.dns", &self.dns)?,
        };
        if let Some(problem) = place::problem(&fixed, ip) {
            return Err(wrong(problem));
        }
        if let Some(gateway) = fixed.gateway {
            let wrong = |problem: &str| wrong_of("network.gateway", &gateway.to_string(), problem);
            if gateway == ip {
                return Err(wrong("it is the node's own `network.address`"));
            }
            if let Some(problem) = place::problem(&fixed, gateway) {
                return Err(wrong(problem));
            }
        }
        Ok(Some(fixed))
    }
}

fn servers(key: &'static str, list: &[String]) -> Result<Vec<Ipv4Addr>, ConfigError> {
    if list.len() > MAX_SERVERS {
        return Err(wrong_of(
            key,
            &list.join(","),
            &format!("there are at most {MAX_SERVERS} servers"),
        ));
    }
    list.iter().map(|server| ipv4(key, server)).collect()
}

fn ipv4(key: &'static str, text: &str) -> Result<Ipv4Addr, ConfigError> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => {
            Err(wrong_of(key, text, "it stands for no machine"))
        }
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err(wrong_of(
            key,
            text,
            "this is an IPv6 address, and [network] takes IPv4 addresses alone",
        )),
        Err(_) => Err(wrong_of(key, text, "this is not an IPv4 address")),
    }
}

fn wrong_of(key: &'static str, value: &str, problem: &str) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests;
