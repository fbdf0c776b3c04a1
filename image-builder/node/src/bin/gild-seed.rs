//! Gives a node of the golden image its identity. The image's units run it; docs/first-boot.md describes it.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use gild_node::document::Seed;
use gild_node::join::{self, Entry};
use gild_node::orders::{self, Outcome};
use gild_node::report::{self, PAUSES};
use gild_node::seed::Place;
use gild_node::{
    card_network, flasher, interface, k3s_config, led, online, refresh, seeding, stable_mac,
};
use gild_orders::OrderId;
use gild_proof::Standing;
use log::{Level, LevelFilter, error, info, warn};

const ROOT: &str = "/";
const REPROVISION: &str = "/usr/sbin/gild-reprovision";

/// The node's identity from the metadata server (a desk or Matchbox), by MAC address, as a seed for cloud-init.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Write the seed (the default): the node's identity, or a fallback name. Always succeeds.
    Run,
    /// Try again; on success write the seed and reboot.
    Retry,
    /// Give interfaces whose chip has no MAC address one that lasts.
    Mac,
    /// Have networkd use what the flasher card says about the network.
    Network {
        /// Read the block on this disk and not on that of the root file system.
        #[arg(long, value_name = "DISK")]
        disk: Option<PathBuf>,
    },
    /// Wait at most a minute until this node has an address.
    Online,
    /// Say in the record on the disk that this image starts.
    Prove,
    /// Note in /run that the image is on trial.
    NoteTrial,
    /// Restart once if the flasher card is still to change the boot order.
    VisitCard,
    /// Wait until the cluster has let this node in. Say what hinders it, and take on what changes in its group.
    Join {
        /// Ask the metadata server again every so many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
        ask_every: u64,
    },
    /// Take on a changed token, address, label or ssh key from its group on a node that is in its cluster.
    Refresh,
    /// Report on the desk that this node is in its cluster, in about a minute at most.
    Report,
    /// Ask for a signed order, and carry it out.
    Orders,
    /// Look whether the flasher could write this node again: `gild-reprovision` asks this before it changes anything.
    FindImage,
    /// Check a configuration of k3s.
    Check {
        /// Its path.
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    log_to_the_journal();
    let result = match Arguments::parse().action.unwrap_or(Action::Run) {
        Action::Run => {
            run();
            Ok(())
        }
        Action::Retry => retry(),
        Action::Mac => stable_mac::apply(Path::new(ROOT)),
        Action::Network { disk } => card_network::apply(Path::new(ROOT), disk.as_deref()),
        Action::Online => online::wait(Path::new(ROOT)),
        Action::Prove => prove(),
        Action::NoteTrial => gild_proof::note_trial(Path::new(ROOT)),
        Action::VisitCard => visit_card(),
        Action::Join { ask_every } => join(Duration::from_secs(ask_every)),
        Action::Refresh => refresh::refresh(Path::new(ROOT)),
        Action::Report => report(),
        Action::Orders => orders(),
        Action::FindImage => flasher::look_for_image(Path::new(ROOT)),
        Action::Check { config } => k3s_config::check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever happens here, the boot goes on. The seed is on the disk before the node asks anybody.
fn run() {
    let root = Path::new(ROOT);
    match catch_unwind(AssertUnwindSafe(|| seeding::run(root))) {
        Ok(Ok(())) => (),
        Ok(Err(error)) => {
            error!("{error:#}");
            error!(
                "this node has a fallback name and joins no cluster yet; gild-seed-retry.timer asks again"
            );
        }
        Err(_) => {
            error!("gild-seed has a bug: please report the lines above");
            let place = Place::below(root);
            if !place.exists()
                && let Err(error) =
                    place.write(&Seed::fallback(interface::macs(root).first().copied()))
            {
                error!("{error}");
            }
        }
    }
}

fn retry() -> Result<()> {
    if !seeding::retry(Path::new(ROOT))? {
        return Ok(());
    }
    reboot().context("next: reboot this node, so that it takes its identity on")
}

fn prove() -> Result<()> {
    let standing = gild_proof::prove(Path::new(ROOT));
    if let Ok(Standing::Proven(_)) = &standing
        && let Err(error) = gild_proof::end_trial(Path::new(ROOT))
    {
        error!(
            "the boot partition cannot be written ({error}): a restart of this node looks at the flasher card first"
        );
    }
    // Somebody may pull the plug when the LED shows that all is done.
    if let Err(error) = led::show(Path::new(ROOT), standing.as_ref().ok()) {
        warn!("the status LED does not show whether the flasher card is still needed: {error}");
    }
    if let Standing::NoRecord(reason) = standing? {
        info!("there is nothing to prove: {reason}");
    }
    Ok(())
}

/// k3s comes after this, so it returns only if there is nothing to do. Otherwise it waits until the restart ends it.
fn visit_card() -> Result<()> {
    if !gild_proof::should_visit_card(Path::new(ROOT))? {
        return Ok(());
    }
    info!("restarting once, so that the flasher card changes the boot order");
    reboot()?;
    loop {
        thread::park();
    }
}

/// The end of the first boot comes after this, so it returns only if this node is a member. Otherwise it waits until the restart ends it.
fn join(pause: Duration) -> Result<()> {
    match join::wait_until_member(Path::new(ROOT), pause)? {
        Entry::Member => return Ok(()),
        Entry::OtherName => info!("restarting, so that this node takes its other name on"),
    }
    reboot()?;
    loop {
        thread::park();
    }
}

/// If the desk is away for longer than this waits, the next start reports it.
fn report() -> Result<()> {
    let root = Path::new(ROOT);
    if !root.join(seeding::PROVISIONED).exists() {
        bail!("this node is not in its cluster yet; next: look at `journalctl -u k3s-init`");
    }
    report::report_member(root, &PAUSES).log();
    Ok(())
}

/// If the image does not say whom to ask, the timer is not needed.
fn orders() -> Result<()> {
    match orders::look(Path::new(ROOT), flash_for)? {
        Outcome::Looked => Ok(()),
        Outcome::Nobody => systemctl(&["stop", "--no-block", "gild-order.timer"]),
    }
}

/// The last lines of the program's output go into the report.
fn flash_for(id: &OrderId) -> Result<()> {
    let output = Command::new(REPROVISION)
        .args(["--yes", "--drain", "--order", id.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .output()
        .with_context(|| format!("running {REPROVISION}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}", words.trim());
    }
    Ok(())
}

fn reboot() -> Result<()> {
    systemctl(&["reboot"])
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(arguments)
        .status()
        .context("running systemctl")?;
    if !status.success() {
        bail!("systemctl {} failed with {status}", arguments.join(" "));
    }
    Ok(())
}

/// Logs with the priority marks that the journal reads at the start of a line.
fn log_to_the_journal() {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("gild_node", LevelFilter::Info)
        .filter_module("gild_seed", LevelFilter::Info)
        .filter_module("gild_proof", LevelFilter::Info)
        .format(|line, record| {
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            let text = printable(&record.args().to_string());
            // systemd sets this where the journal reads the lines.
            if env::var_os("JOURNAL_STREAM").is_none() || io::stderr().is_terminal() {
                return writeln!(line, "{text}");
            }
            writeln!(line, "<{priority}>{text}")
        })
        .init();
}

/// Some of the text comes from the network, and a serial console obeys control characters.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}
