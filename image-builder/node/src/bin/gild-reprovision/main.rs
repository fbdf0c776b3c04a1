//! Has this node flashed again: makes its disk unbootable and reboots into the flasher card.

mod bounded;
mod flush;
mod pods;
mod say;
mod systemd;
mod volumes;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Parser;
use gild_node::settings::Image;
use gild_node::turn::Turn;
use gild_orders::OrderId;
use gild_proof::card::FlasherCard;
use gild_proof::disk::Disk;
use nix::sys::signal::{SigSet, Signal};

use pods::Pods;
use say::say;
use systemd::{Stopped, systemctl};

const ROOT: &str = "/";
const NOT_CHANGED: &str = "nothing was changed";
const SEED: &str = "/usr/lib/gild/gild-seed";

/// Have this node flashed again: all data on its NVMe disk will be lost.
///
/// The first sector of the disk that the root file system lies on becomes zero, so that the board starts from the
/// flasher card, which must be in its slot; then the node reboots.
///
/// Move the pods to other nodes first: `kubectl drain NODE --ignore-daemonsets --delete-emptydir-data`, where you are the cluster's
/// administrator. This program cannot do it, because a node's own rights do not let it look at what its pods belong to.
#[derive(Parser)]
#[command(version)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
struct Arguments {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Stop k3s first, end the pods that are still there, and unmount their volumes. This moves no pod to another node.
    #[arg(long)]
    drain: bool,
    /// Note on the disk that this order is carried out.
    #[arg(long, value_name = "ID", hide = true, value_parser = order_id, requires_all = ["yes", "drain"], conflicts_with = "without_card")]
    order: Option<OrderId>,
    /// Start again what was stopped for an order, if the disk was not made blank.
    #[arg(long, hide = true, exclusive = true)]
    start_again: bool,
    /// Unmount this volume, in a process of its own.
    #[arg(long, value_name = "PATH", hide = true, exclusive = true)]
    unmount: Option<PathBuf>,
    /// Go on although no flasher card is in: the node stays down until somebody puts one in and starts it.
    #[arg(long)]
    without_card: bool,
    /// Do not look whether a server has an image for the flasher card. If there is none, the node stays down until you publish one.
    #[arg(long)]
    without_image: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = Path::new(ROOT);
    if let Some(volume) = &arguments.unmount {
        return Ok(volumes::unmount_one(volume));
    }
    if arguments.start_again {
        Stopped::by_note(root)?.start_again(say)?;
    } else {
        reprovision(&arguments, root)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reprovision(arguments: &Arguments, root: &Path) -> Result<()> {
    let disk = Disk::of_root(root)?;
    let card = FlasherCard::find(root);
    let card = card.and_then(|card| card.check_disk(root, &disk).map(|()| card));
    match card {
        Ok(card) => {
            say(&format!(
                "The flasher card {} takes the image from {}.",
                card.device.display(),
                card.places_of(&manifest(root))
            ));
            // For an order it was looked for already, and may be another one than the current.
            if arguments.order.is_none() {
                if card.config.order_url.is_some() {
                    say(
                        "It asks for a signed order too. If there is one for this node, the flasher follows it.",
                    );
                }
                if !arguments.without_image {
                    find_image(Command::new(SEED))?;
                }
            }
        }
        Err(error) if arguments.without_card => {
            say(&format!("Nothing flashes this node now: {error}."));
        }
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!(
                "nothing would flash this node, and {NOT_CHANGED} (--without-card goes on all the same)"
            )));
        }
    }
    let hostname =
        fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host name")?;
    let hostname = hostname.trim();
    let pods = Pods::of(root);
    let running = pods.count().context("reading which pods run here")?;
    if running > 0 {
        say(&of_pods(running, hostname, arguments.drain));
    }
    if !arguments.yes {
        confirm(&disk, hostname)?;
    }
    stay_when_the_terminal_goes()?;
    let mut stopped = match &arguments.order {
        Some(_) => Stopped::noted(root),
        None => Stopped::default(),
    };
    let _turn = if arguments.drain {
        let drained = drain(&pods, root, &mut stopped);
        Some(match drained {
            Ok(turn) => turn,
            Err(error) => return Err(undrained(error, &stopped, arguments.order.as_ref())),
        })
    } else {
        None
    };
    flush::all(root).map_err(|error| undrained(error, &stopped, arguments.order.as_ref()))?;
    if let Some(order) = &arguments.order {
        // Noted before the wipe: a power cut after the wipe must not lead to a second flash for the same order.
        gild_proof::note_order(&disk, order.as_str())
            .and_then(|()| stopped.forget())
            .map_err(|error| undrained(error, &stopped, Some(order)))?;
    }
    if let Err(error) = disk.make_unbootable() {
        // For an order nobody is there to start the units by hand, and the order is used up.
        if arguments.order.is_some() {
            stopped.start_again(say)?;
        }
        return Err(error);
    }
    say(&format!(
        "{} does not boot any more. The node reboots into the flasher card, which writes the golden image again.",
        disk.device.display()
    ));
    systemctl(&["reboot"])
        .context("the disk does not boot any more, but systemctl reboot failed; next: reboot this node by hand")
}

/// Has `gild-seed` look for it, which has the flasher's code for that.
fn find_image(mut seed: Command) -> Result<()> {
    say("Looking whether the flasher will find its image (a minute at most).");
    let output = seed
        .arg("find-image")
        // What it says is for this program, and needs none of the journal's priorities.
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .output()
        .with_context(|| format!("{NOT_CHANGED}: {SEED} cannot be started"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    if words.is_empty() {
        bail!(
            "{NOT_CHANGED}: looking for the image ended with {}; next: run it again; --without-image does not look",
            output.status
        );
    }
    bail!("{NOT_CHANGED} (--without-image does not look for an image): {words}");
}

/// For an order nobody is there to start what was stopped, so this starts it.
fn undrained(error: anyhow::Error, stopped: &Stopped, order: Option<&OrderId>) -> anyhow::Error {
    if order.is_some() && stopped.start_again(say).is_ok() {
        return error.context("the disk was not changed, and what was stopped runs again");
    }
    error.context(format!(
        "the disk was not changed, and k3s may be stopped; {}",
        stopped.next_step()
    ))
}

fn order_id(text: &str) -> Result<OrderId> {
    OrderId::parse(text).context("it is not the id of a signed order")
}

/// If a lost connection ended this program from here on, k3s would stay stopped, or the node would run on without its first sector.
fn stay_when_the_terminal_goes() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals
        .thread_block()
        .context("putting off the signal of a lost terminal")
}

/// The file on the share that names the current image of this board.
fn manifest(root: &Path) -> String {
    let image = Image::read(root).ok();
    let board = image.map_or_else(|| "<board>".to_owned(), |image| image.board);
    format!("{board}/golden.json")
}

fn of_pods(pods: usize, hostname: &str, drain: bool) -> String {
    let subject = if pods == 1 { "A pod runs" } else { "Pods run" };
    let fate = if drain {
        "ended here, and come up elsewhere only when the cluster has missed this node for minutes"
    } else {
        "cut off in the middle of their work, and so are their volumes: --drain ends them first"
    };
    format!(
        "{subject} on this node ({pods}). Without a drain they are {fate}. Before that, with the cluster's kubeconfig:\n  \
         kubectl drain {hostname} --ignore-daemonsets --delete-emptydir-data\n\
         and when the node is back: kubectl uncordon {hostname}"
    )
}

/// Afterwards nothing of k3s runs or has a volume, and no gild-seed can start k3s while the turn is held.
fn drain(pods: &Pods<'_>, root: &Path, stopped: &mut Stopped) -> Result<Turn> {
    stopped.stop(say)?;
    let turn = take_turn(root)?;
    say("writing out what is in memory");
    flush::all(root)?;
    say("ending the pods");
    pods.end()?;
    volumes::unmount(root)?;
    Ok(turn)
}

fn take_turn(root: &Path) -> Result<Turn> {
    let turn = Turn::take(root)?;
    turn.context("another gild-seed is at work, which may start k3s or restart this node; next: wait until it is done")
}

fn confirm(disk: &Disk, hostname: &str) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on, and {NOT_CHANGED}; next: give --yes");
    }
    print!(
        "All data on {} will be lost, and the flasher card writes the golden image again.\n\
         Type this node's name, {hostname}, to go on: ",
        disk.device.display()
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() != hostname {
        bail!(
            "that is not this node's name, and {NOT_CHANGED}; next: run it again, and type {hostname}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_flashes_a_node_with_pods_learns_how_to_move_them() {
        for drain in [true, false] {
            let text = of_pods(3, "node-1", drain);
            assert!(
                text.contains("kubectl drain node-1 --ignore-daemonsets"),
                "{text}"
            );
            assert_eq!(text.contains("cut off"), !drain, "{text}");
        }
    }

    #[test]
    fn no_pod_is_ended_while_a_gild_seed_is_at_work() {
        let root = tempfile::tempdir().expect("a folder");
        let other = Turn::wait(root.path()).expect("a turn");
        let error = take_turn(root.path()).map(drop).expect_err("a turn");
        assert!(error.to_string().contains("at work"), "{error}");
        drop(other);
        take_turn(root.path()).expect("a turn");
    }

    #[test]
    fn a_node_whose_image_is_not_found_is_left_alone_with_the_reason() {
        let error = find_image(Command::new("/nowhere/gild-seed")).expect_err("no program");
        assert!(format!("{error:#}").contains(NOT_CHANGED), "{error:#}");
        for (script, says) in [
            ("exit 0", None),
            ("echo no server >&2; exit 1", Some(": no server")),
            (
                "kill -9 $$",
                Some("signal: 9 (SIGKILL); next: run it again"),
            ),
        ] {
            let mut seed = Command::new("sh");
            seed.args([
                "-c",
                &format!("[ \"$0\" = find-image ] || exit 0; {script}"),
            ]);
            let error = find_image(seed).err().map(|error| error.to_string());
            let is_said = match (&error, says) {
                (Some(error), Some(says)) => error.starts_with(NOT_CHANGED) && error.contains(says),
                (error, says) => error.is_none() && says.is_none(),
            };
            assert!(is_said, "{script}: {error:?}");
        }
    }

    #[test]
    fn a_lost_terminal_does_not_end_this_program() {
        stay_when_the_terminal_goes().expect("a signal mask");
        let blocked = SigSet::thread_get_mask().expect("a signal mask");
        assert!(blocked.contains(Signal::SIGHUP));
    }

    #[test]
    fn the_image_that_the_card_would_take_is_that_of_the_board() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(manifest(root.path()), "<board>/golden.json");
        let release = root.path().join("usr/lib/gild/image-release");
        fs::create_dir_all(release.parent().expect("a folder")).expect("a folder");
        fs::write(release, "GILD_IMAGE_ID=rpi5-1\nGILD_BOARD=rpi5\n").expect("a file");
        assert_eq!(manifest(root.path()), "rpi5/golden.json");
    }
}
