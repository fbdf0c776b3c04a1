//! What a node says of itself on the desk: that it has its name, what keeps it from its cluster, that it is a member. It is to be
//! looked at, and nothing depends on it, so nothing waits long for it and nothing fails by it.

mod text;

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use gild_boards::mac::Mac;
use gild_matchbox::fallback_name;
use gild_orders::last_signed;
use gild_proof::disk::Disk;
use gild_report::{Kind, Report};
use log::{info, warn};
use nix::time::{ClockId, clock_gettime};
use reqwest::Url;

use crate::desk::{self, DeskError};
use crate::document::Said;
use crate::interface;
use crate::secret;
use crate::seed::{Place, Present};
use crate::settings::{Image, Settings};

const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
/// Digits of it in a report.
const BOOT_DIGITS: usize = 16;
/// Between the attempts to say that this node is a member. What comes to nothing is left to the next start.
pub const PAUSES: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(40),
];
/// For documentation (RFC 5737): it leads out by the default route, and nothing is sent there.
const OUTSIDE: &str = "192.0.2.1";

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has its name, or one that is made from its address.
    Named,
    /// It is on its way into its cluster.
    Joining,
    /// It is a member.
    Joined,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Joining => "joining",
            Self::Joined => "joined",
        }
    }
}

/// What came of a report.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The desk has it.
    Taken,
    /// There is nobody who takes reports, or nothing to say.
    Nobody,
    /// It did not get there, in words.
    Failed(String),
}

impl Outcome {
    /// Says so where it did not get there.
    pub fn log(self) {
        if let Self::Failed(why) = self {
            info!("{why}");
        }
    }
}

/// Reports how far this node is, and these texts, as the console has them. It is tried once. A node that has no secret says so too: the
/// desk shows it, and takes it for anybody's word.
#[must_use]
pub fn report(root: &Path, stage: Stage, texts: &[String]) -> Outcome {
    let Ok(settings) = Settings::read(root) else {
        return Outcome::Nobody;
    };
    let image = Image::read(root).unwrap_or_else(|_| Image::unknown());
    let place = Place::below(root);
    let present = place.present(&interface::macs(root), &image);
    // Any other seed is not this node's.
    let is_own = matches!(present, Present::Identity | Present::Fallback);
    let (Some(mac), true) = (place.mac(), is_own && settings.matchbox.is_some()) else {
        return Outcome::Nobody;
    };
    let said = place.said();
    let mut texts = texts.to_vec();
    let proof = secret::proof(root).inspect_err(|error| {
        let error = error.to_string();
        warn!("{error}");
        texts.push(error);
    });
    let report = match about(root, &settings, image, mac, said.as_ref(), stage, &texts) {
        Ok(report) => report,
        Err(why) => return Outcome::Failed(not_taken(stage, &why)),
    };
    match desk::post(root, &settings, proof.as_ref().ok(), report) {
        Ok(()) => Outcome::Taken,
        Err(DeskError::Nobody) => Outcome::Nobody,
        Err(error) => Outcome::Failed(not_taken(stage, &error.to_string())),
    }
}

/// Reports that this node is a member until somebody has taken it, with these pauses between the attempts. The desk closes its door by
/// it, so a node that does not get it across says it again at its next start.
#[must_use]
pub fn report_member(root: &Path, pauses: &[Duration]) -> Outcome {
    let mut outcome = report(root, Stage::Joined, &[]);
    for pause in pauses {
        if !matches!(outcome, Outcome::Failed(_)) {
            break;
        }
        // A rack whose nodes start together reports spread out.
        thread::sleep(pause.mul_f64(1.0 - fastrand::f64() / 4.0));
        outcome = report(root, Stage::Joined, &[]);
    }
    outcome
}

fn not_taken(stage: Stage, why: &str) -> String {
    let stage = stage.name();
    format!("the desk has not taken the report that this node is {stage}: {why}")
}

/// The report as JSON. Its fields are those that somebody who looks at a rack needs, and never a value of the seed that lets
/// anybody in; the board's number is not among them, because the node's password is made from it.
fn about(
    root: &Path,
    settings: &Settings,
    image: Image,
    mac: Mac,
    said: Option<&Said>,
    stage: Stage,
    texts: &[String],
) -> Result<String, String> {
    let uptime = uptime()?;
    let (message, next_step) = text::of(texts, &said.map(Said::secrets).unwrap_or_default());
    let others = interface::macs(root).into_iter();
    let others = others.filter(|other| *other != mac);
    let report = Report {
        kind: Kind::Node,
        mac: Some(mac.to_string()),
        other_macs: others.map(|mac| mac.to_string()).collect(),
        boot: boot(root)?,
        // It grows over all processes of one start.
        sequence: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        uptime_seconds: Some(uptime.as_secs()),
        board: Some(image.board),
        hostname: Some(said.map_or_else(|| fallback_name(Some(mac)), |said| said.hostname.clone())),
        address: settings.matchbox.as_ref().and_then(address),
        image_id: Some(image.id),
        order: last_order(root),
        on_trial: gild_proof::is_on_trial(root),
        stage: Some(stage.name().to_owned()),
        message,
        next_step,
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..Report::default()
    };
    serde_json::to_string(&report).map_err(|error| error.to_string())
}

/// The last signed order that the disk has carried out.
fn last_order(root: &Path) -> Option<String> {
    let disk = Disk::of_root(root).ok()?;
    let carried_out = gild_proof::proven_record(&disk).ok()?.orders;
    last_signed(&carried_out).map(|id| id.to_string())
}

/// Which start of the board this is.
fn boot(root: &Path) -> Result<String, String> {
    let text = fs::read_to_string(root.join(BOOT_ID))
        .map_err(|error| format!("reading /{BOOT_ID}: {error}"))?;
    let digits = text.chars().filter(char::is_ascii_hexdigit);
    Ok(digits.take(BOOT_DIGITS).collect())
}

/// The time since the board started. It goes on in sleep, and nobody sets it.
fn uptime() -> Result<Duration, String> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .map_err(|error| format!("reading the clock: {error}"))
}

/// The address by which this node reaches the server, or anything outside if the server has a name: no name is looked up for it, and
/// nothing is sent.
fn address(matchbox: &Url) -> Option<String> {
    let host = matchbox.host_str()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let to: IpAddr = host.parse().or_else(|_| OUTSIDE.parse()).ok()?;
    let from: SocketAddr = match to {
        IpAddr::V4(_) => "0.0.0.0:0",
        IpAddr::V6(_) => "[::]:0",
    }
    .parse()
    .ok()?;
    let socket = UdpSocket::bind(from).ok()?;
    // Any port: the kernel looks for a route, and that is all.
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[cfg(test)]
pub(crate) mod tests;
