//! What a node reports to the desk: that it has its name, what keeps it from its cluster, that it is a member. The reports are only for
//! people, so nothing waits long for them and nothing fails because of them.

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
/// How many digits of the boot id a report has.
const BOOT_DIGITS: usize = 16;
/// The pauses between attempts to report that this node is a member. If all fail, the next start tries again.
pub const PAUSES: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(40),
];
/// An address for documentation (RFC 5737). The default route leads there, and nothing is sent.
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

/// The result of a report.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The desk has it.
    Taken,
    /// Nobody takes reports, or there is nothing to say.
    Nobody,
    /// The report did not arrive; the text says why.
    Failed(String),
}

impl Outcome {
    /// Logs a report that did not arrive.
    pub fn log(self) {
        if let Self::Failed(why) = self {
            info!("{why}");
        }
    }
}

/// Reports how far this node is, with these texts from the console. Tries once. A node without a secret reports too: the desk shows the
/// report, but treats it as a stranger's.
#[must_use]
pub fn report(root: &Path, stage: Stage, texts: &[String]) -> Outcome {
    let Ok(settings) = Settings::read(root) else {
        return Outcome::Nobody;
    };
    let image = Image::read(root).unwrap_or_else(|_| Image::unknown());
    let place = Place::below(root);
    let macs = interface::macs(root);
    if let Err(error) = place.must_be_of(&macs) {
        warn!("nothing is reported: {error}");
        return Outcome::Nobody;
    }
    let present = place.present(&macs, &image);
    // Any other seed is not for this node.
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

/// Reports that this node is a member, until somebody takes the report, with these pauses between the attempts. The desk closes its door
/// because of it, so a node that fails here reports again at its next start.
#[must_use]
pub fn report_member(root: &Path, pauses: &[Duration]) -> Outcome {
    let mut outcome = report(root, Stage::Joined, &[]);
    for pause in pauses {
        if !matches!(outcome, Outcome::Failed(_)) {
            break;
        }
        // Spread out, because the nodes of a rack may start together.
        thread::sleep(pause.mul_f64(1.0 - fastrand::f64() / 4.0));
        outcome = report(root, Stage::Joined, &[]);
    }
    outcome
}

fn not_taken(stage: Stage, why: &str) -> String {
    let stage = stage.name();
    format!("the desk has not taken the report that this node is {stage}: {why}")
}

/// The report as JSON. It has what somebody who looks at a rack needs, but no value of the seed that would let anybody in. The board's
/// number is left out too, because the node's password is made from it.
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
        // The time grows across all processes of one start.
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

/// The time since the board started. It includes sleep, and nobody can set it.
fn uptime() -> Result<Duration, String> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .map_err(|error| format!("reading the clock: {error}"))
}

/// The address by which this node reaches the server. If the server has a name, an outside address stands in for it, because looking up a
/// name may take long. Nothing is sent.
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
    // Any port will do: the kernel only looks for a route.
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[cfg(test)]
pub(crate) mod tests;
