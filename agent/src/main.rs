//! PID 1 on the flasher card: the agent that makes a board's NVMe carry its golden image.
//!
//! [`story`] is the whole of it. Each step is a module.

#![forbid(unsafe_code)]

mod board;
mod boot_order;
mod card;
mod clock;
mod consent;
mod console;
mod dhcp;
mod discards;
mod disks;
mod dry_run;
mod failure;
mod flash;
mod floor;
mod gate;
mod hangs;
mod hardware;
mod http;
mod journal;
mod led;
mod look;
mod loop_guard;
mod machine;
mod manifest;
mod matchbox;
mod netlink;
mod network;
mod node;
mod order;
mod patience;
mod progress;
mod reboot;
mod receipt;
mod reporter;
mod resolv_conf;
mod restarts;
mod retry;
mod signed_order;
mod stage;
mod stall;
mod syslog;
mod takeover;
mod target;
mod trial;
mod trouble;
mod unsent;
mod uptime;
mod version;
mod waited;
mod watchdog;

use std::process::ExitCode;
use std::time::Duration;

use gild_boards::Board;
use gild_card_format::{Arguments, BootOrderPolicy, Config, Order, ServerUrl};
use gild_disk::Clock;
use gild_disk::select::{Candidate, System};
use gild_faults::Fault;
use gild_flash::{Options, Terms};
use gild_format::record::Record;
use gild_orders::{carried_out_with, last_signed};
use log::{info, warn};

use crate::boot_order::Standing;
use crate::consent::{Decision, Holds, Proven, Reason, Signed};
use crate::discards::{Discard, Discards};
use crate::failure::{Failure, Remedy};
use crate::flash::Finished;
use crate::led::Pattern;
use crate::look::Seen;
use crate::machine::Machine;
use crate::manifest::{FetchError, Image};
use crate::network::Effort;
use crate::node::Node;
use crate::reporter::Destination;
use crate::retry::Failures;
use crate::signed_order::Chosen;
use crate::stage::Stage;
use crate::stall::Watcher;
use crate::version::VERSION;

/// musl's own allocator takes several times as much processor time when data arrives at the full speed of the network.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the LED shows success, because the kernel turns it off for the reboot.
const SHOWN: Duration = Duration::from_secs(2);

/// How long the LED shows that the boot order could not be changed: three cycles of fault 8, because a person easily miscounts one.
const FAULT_SHOWN: Duration = Duration::from_secs(38);

const HELP: &str = "\
gild-agent: PID 1 on gild's flasher card.

It takes over a whole machine, writes the golden image to its NVMe disk and reboots it. It is started by the kernel,
from the initramfs that `gild initramfs build` makes. To write a disk from a workstation use `gild flash`.

Options: --help, --version";

fn main() -> ExitCode {
    // This comes before the arguments are read, because the kernel passes unknown words of its command line to PID 1.
    if std::process::id() == 1 {
        run();
    }
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => println!("{HELP}"),
        Some("--version" | "-V") => println!("gild-agent {VERSION}"),
        _ => {
            eprintln!(
                "gild-agent: this is process {}, not 1: the agent takes over the machine it runs on and reboots it, so \
                 it starts only as PID 1 of a flasher card; to write a disk from a workstation use `gild flash`",
                std::process::id()
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs the story again and again until it ends well.
fn run() -> ! {
    let (machine, arguments) = takeover::take_over();
    let mut node = Node::default();
    let mut failures = Failures::default();
    let watcher = Watcher::start(machine);
    loop {
        let mut failure = match story(machine, &arguments, &mut node, &watcher) {
            Ok(()) if node.dry_run.is_some() => {
                machine.wait(machine.hold);
                continue;
            }
            Ok(()) => break,
            Err(failure) => failure,
        };
        if node.dry_run.is_some() {
            // The restarts of a dry run are not counted, so it must not restart.
            failure.remedy = Remedy::LookAgain;
        }
        if failure.fault == Fault::ServerUnreachable
            && let Some(network) = &mut node.network
        {
            network.did_not_lead_to_server();
        }
        let noted = failures.note(machine, &failure);
        machine.knows(&node);
        if noted.is_news {
            receipt::tell(machine, &node, Some(&failure), noted.is_held);
        }
        failures.wait(machine, &mut node, failure, noted);
    }
    restarts::forget(&node);
    machine.enter(Stage::Receipt);
    let good = if node.needs_card() {
        Pattern::Trying
    } else {
        Pattern::Done
    };
    machine.led.show(good);
    machine.knows(&node);
    receipt::tell(machine, &node, None, false);
    let trouble = node
        .boot_order
        .as_ref()
        .and_then(boot_order::BootOrder::trouble);
    if trouble.is_some_and(|trouble| !trouble.is_expected()) {
        machine.led.show(Pattern::Fault(Fault::BootOrder));
        machine.wait(FAULT_SHOWN);
        machine.led.show(good);
    }
    machine.reporter.part(machine);
    unsent::keep(machine, &node);
    if node.is_on_trial {
        info!("rebooting to start the disk");
    } else {
        info!("done, rebooting");
    }
    machine.wait(SHOWN);
    reboot::reboot()
}

/// The story. After a failure it starts from the beginning, and finds that finished steps are already done.
fn story(
    machine: &'static Machine,
    arguments: &Arguments,
    node: &mut Node,
    watcher: &Watcher,
) -> Result<(), Failure> {
    node.start_over();

    machine.enter(Stage::Board);
    let board = board::identify(machine)?;
    node.board = Some(board);

    machine.enter(Stage::Card);
    let (card, config) = card::read(machine, board, arguments);
    node.card = card;
    let known = config.as_ref().ok();
    let policy = known.map(|config| config.boot_order);
    let is_dry = dry_run::is_on(arguments, known);
    if let Some(card) = &mut node.card {
        card.is_dry = is_dry;
    }
    node.dry_run = is_dry.then(|| node.dry_run.take().unwrap_or_default());
    node.status = known.and_then(destination);
    node.log_server = known.and_then(|config| config.log_server.clone());
    machine.knows(node);
    watcher.knows(node);
    let order = order::of(node, known, arguments);
    let known_order = order.as_ref().ok().and_then(Option::as_ref);

    machine.enter(Stage::Disk);
    let serial = known.and_then(|config| config.target_serial.as_deref());
    let seen = look::at_disk(
        machine,
        &System::default(),
        node,
        serial,
        known_order,
        watcher,
    )?;
    let seen = match seen {
        // The share is not needed: a proven node starts without it, and so may a node on trial. But a proven node asks for a short time
        // whether a signed order wants its disk written.
        Some(seen)
            if seen.decision.is_start()
                && !known.is_some_and(|config| {
                    order.is_ok()
                        && signed_order::has_it_written(machine, board, config, node, &seen)
                }) =>
        {
            seen
        }
        seen => {
            let config = config?;
            install(
                machine,
                board,
                &config,
                node,
                order?.as_ref(),
                seen.as_ref(),
                watcher,
            )
            .or_else(|failure| look::without_share(machine, node, seen, failure))?
        }
    };
    node.target = Some(seen.target.clone());
    node.image_id = seen.image_id();
    machine.knows(node);
    hardware::look_at_disk(machine, &seen.target);

    if is_dry {
        dry_run::say(machine, board, node, &seen, policy);
        return Ok(());
    }

    machine.enter(Stage::BootOrder);
    match seen.decision {
        Decision::Try(record) => begin_trial(machine, board, node, &seen.target, record, policy),
        _ => finish(machine, board, node, seen, policy),
    }
}

/// Where reports go, if the card names a status URL.
fn destination(config: &Config) -> Option<Destination> {
    Some(Destination {
        url: config.status_url.clone()?,
        authorities: config.authorities.clone(),
        key: config.status_key.clone(),
    })
}

/// Makes the disk carry the image that the share has for this board, or finds that the disk may not be written. `before` is what the agent
/// saw on the disk before it asked any server.
fn install(
    machine: &'static Machine,
    board: &'static Board,
    config: &Config,
    node: &mut Node,
    order: Option<&Order>,
    before: Option<&Seen>,
    watcher: &Watcher,
) -> Result<Seen, Failure> {
    machine.enter(Stage::Network);
    // The other servers are asked only if this one fails.
    let server = config.servers.first().map_or("", ServerUrl::host);
    // A disk that can be started waits only for a short time, even if an order would have it written.
    let can_start = before.is_some_and(|seen| seen.decision.is_start());
    let effort = if can_start {
        Effort::Brief(signed_order::FOR_NETWORK)
    } else {
        Effort::Full
    };
    let network = &mut node.network;
    let network = network::up(machine, board, &config.networks, server, network, effort)?;
    let mac = network.mac;
    hardware::look_at_link(machine, &network.interface.name);
    // The clock also decides when an order expires.
    if !can_start && (config.may_use_tls() || config.order_url.is_some()) {
        signed_order::set_clock(machine, node);
    }
    // Older receipts must be sent first.
    unsent::take_up(machine, node);
    machine.knows(node);
    let holds = before.map(|seen| &seen.holds);
    signed_order::hear(machine, board, config, node, holds)?;
    let serial = config
        .target_serial
        .clone()
        .or_else(|| node.heard.disk(&disks::present()));
    let serial = serial.as_deref();
    let chosen = match before {
        Some(seen) => node.heard.chosen(&seen.holds, &seen.target.serial),
        None => node.heard.any(serial),
    }
    .cloned();
    if let Some(chosen) = &chosen {
        info!("signed order {} chooses {}", chosen.id, chosen.flash.choice);
    }

    machine.enter(Stage::Manifest);
    let access = manifest::access(config)?;
    let on_card = floor::on_card(node.card.as_ref().map(|card| card as _), board)
        .map_err(FetchError::Floor)?;
    let on_disk = before.and_then(|seen| seen.holds.record());
    let least = on_card.max(on_disk.map_or(0, Record::next_floor));
    let request = manifest::Request {
        config,
        access: &access,
        chosen: chosen.as_ref(),
        least,
    };
    let limit = can_start.then_some(signed_order::FOR_IMAGE);
    let image = manifest::fetch(machine, board, &request, limit)?;
    node.image_id = Some(image.manifest.image_id.clone());
    if let Some(card) = &node.card {
        floor::keep_signed(card, board, image.manifest.rollback_counter);
    }
    if config.may_use_tls() {
        clock::not_before(Duration::from_secs(image.manifest.build_time));
    }
    if let Some(matchbox) = &config.matchbox {
        node.hostname = matchbox::announce(&access, matchbox, mac);
    }
    machine.knows(node);

    machine.enter(Stage::Target);
    hangs::show_last(node, None)?;
    let target = target::choose(machine, serial, &image, node.card.as_ref())?;
    let signed = node
        .heard
        .order_by(chosen.as_ref(), &target.serial, clock::seconds());
    let seen = look::seen(node, target, serial, order, signed.as_ref(), watcher)?;
    if seen.decision.is_start() {
        let is_open = |signed: &&Signed| !signed.id.is_spent_by(seen.holds.carried_out());
        if let Decision::Start(_) = &seen.decision
            && let Some(signed) = signed.as_ref().filter(is_open)
        {
            node.heard.doubts(&signed.id, clock::seconds());
        }
        node.offered = Some(image.manifest.image_id);
        return Ok(seen);
    }
    image.check_floor(&seen.holds)?;
    hardware::look_at_disk(machine, &seen.target);

    if let Some(dry_run) = &mut node.dry_run {
        dry_run.would_write = Some(dry_run::writing(&image, &seen));
        return Ok(seen);
    }

    let orders = Orders {
        by_card: order.filter(|order| node.is_meant_by(order)),
        signed: chosen.as_ref(),
    };
    node.order = match &config.order_url {
        // A disk that was made blank for an order, and gets another image, is never reported as written by it.
        Some(_) => chosen.as_ref().map(|chosen| chosen.id.to_string()),
        // With such a card a node carries out no order but one for the current image.
        None => last_signed(seen.holds.carried_out()).map(|id| id.to_string()),
    };
    machine.knows(node);
    machine.enter(Stage::Flash);
    write(machine, board, config, node, &image, orders, seen)
}

/// The orders for this node that the write of its disk carries out.
#[derive(Clone, Copy)]
struct Orders<'a> {
    by_card: Option<&'a Order>,
    signed: Option<&'a Chosen>,
}

impl Orders<'_> {
    /// The list of orders for the record: the earlier ones and these.
    fn after(self, before: &[String]) -> Vec<String> {
        let by_card = self.by_card.map(|order| order.id.as_str());
        let signed = self.signed.map(|chosen| chosen.id.as_str());
        let mut orders = before.to_vec();
        for id in by_card.into_iter().chain(signed) {
            orders = carried_out_with(&orders, id);
        }
        orders
    }
}

/// Writes the disk. Afterwards its image is on trial, or proven if it is an image that does not prove itself.
fn write(
    machine: &'static Machine,
    board: &'static Board,
    config: &Config,
    node: &mut Node,
    image: &Image,
    orders: Orders<'_>,
    seen: Seen,
) -> Result<Seen, Failure> {
    let disk = flash::open(&seen.target)?;
    let is_same = |record: &Record| record.image_id == image.manifest.image_id;
    let before = seen.holds.record();
    let trial_starts = match &seen.decision {
        Decision::Replace(record) if is_same(record) => {
            let waited = waited::before(node, &seen.target.serial, record);
            trial::may_try_again(record, waited, machine.now(), machine.hold)?;
            if let Some(card) = &node.card {
                loop_guard::forget(card, &node.id());
            }
            record.trial_starts
        }
        decision => {
            if let Some(card) = &node.card {
                let partitions = &image.manifest.partitions;
                loop_guard::forget_if_started(card, &node.id(), &disk, partitions);
            }
            match decision {
                Decision::Write(Reason::Order(_)) => 0,
                _ => trial::starts_before_a_cut(before, &image.manifest.image_id),
            }
        }
    };
    let terms = Terms {
        orders: orders.after(seen.holds.carried_out()),
        rollback_floor: before.map_or(0, Record::next_floor),
        trial_starts,
        is_boot_order_pending: image.manifest.proves_itself
            && boot_order::is_pending(machine, board, config.boot_order, node),
    };
    // With an open gate U-Boot would start the new image like a proven one, and after a power cut its starts would not be counted.
    if let Some(card) = &node.card
        && let Err(error) = gate::close(card, board)
    {
        warn!("the gate cannot be closed: {error}");
    }
    let network = node.network.as_ref();
    let settings = network.map(|network| network.settings.clone());
    let options = Options {
        again: true,
        erase: orders.signed.is_some_and(|chosen| chosen.flash.erase),
        read_holes: config.read_holes,
        terms,
        network: settings.unwrap_or_default(),
        ..Options::default()
    };
    let discards = Discards::of(node, &seen.target.serial);
    let report = flash::flash(machine, image, &disk, &options, &discards)?;
    if report.bytes_discarded == 0 && discards.are_left_out() {
        node.discard = Discard::LeftOut;
    }
    node.report = Some(report);
    node.writes += 1;
    Ok(look::again(&disk, seen)?)
}

/// Makes the board start a disk on trial, in a way that works only once.
fn begin_trial(
    machine: &Machine,
    board: &Board,
    node: &mut Node,
    target: &Candidate,
    record: Record,
    policy: Option<BootOrderPolicy>,
) -> Result<(), Failure> {
    let standing = if record.trial_starts > 1 && node.writes == 0 {
        Standing::TrialCameBack
    } else {
        Standing::OnTrial
    };
    let (boot_order, changes) = boot_order::set(machine, board, policy, node, standing);
    node.boot_order_changes = changes;
    node.boot_order = Some(boot_order.clone());
    // After a failure the story begins again, and finds the disk on trial: a write in an earlier attempt counts, too.
    if node.writes > 0 {
        // A disk that loses its data must not be written again forever without a pause.
        let finished = Finished {
            target: target.clone(),
            image_id: Some(record.image_id.clone()),
        };
        loop_guard::count(machine, board, node, &finished, &boot_order, false)?;
    }
    let record = Record {
        // If the EEPROM had to be updated before the proof and that succeeded, the boot order needs no further change.
        is_boot_order_pending: record.is_boot_order_pending && boot_order.trouble().is_some(),
        ..record
    };
    let card = node.card.as_ref().map(|card| card as _);
    trial::begin(board, card, &flash::open(target)?, record)?;
    node.is_on_trial = true;
    Ok(())
}

/// Does what only a proven disk allows to make permanent: boot order, gate, rollback counter.
fn finish(
    machine: &Machine,
    board: &Board,
    node: &mut Node,
    seen: Seen,
    policy: Option<BootOrderPolicy>,
) -> Result<(), Failure> {
    let finished = Finished {
        image_id: seen.image_id(),
        target: seen.target,
    };
    let record = seen.holds.record().cloned();
    let came_back = node.card.as_ref().is_some_and(|card| {
        loop_guard::has_come_back(card, &node.id(), || loop_guard::restart_of(&finished))
    });
    let standing = match seen.holds {
        // It may be on trial. Nothing permanent may depend on a record that cannot be read.
        Holds::Proven(Proven::Unreadable) => Standing::OnTrial,
        _ if came_back => Standing::CameBack,
        _ => Standing::Proven,
    };
    let (boot_order, changes) = boot_order::set(machine, board, policy, node, standing);
    node.boot_order = Some(boot_order.clone());
    node.boot_order_changes = changes;
    if let Some(record) = record {
        if let Some(card) = &node.card {
            floor::raise(card, board, record.next_floor());
        }
        if record.is_boot_order_pending && boot_order.is_settled() {
            let settled = flash::open(&finished.target)
                .map_err(Failure::from)
                .and_then(|disk| Ok(trial::settle(&disk, record)?));
            if let Err(failure) = settled {
                warn!(
                    "the node may restart to its card once more: {}",
                    failure.message
                );
            }
        }
    }
    let counted = loop_guard::count(machine, board, node, &finished, &boot_order, came_back);
    if let Some(card) = &node.card {
        let first_partition = loop_guard::first_partition(&finished);
        let verdict = loop_guard::Verdict {
            image_id: finished.image_id.as_deref(),
            first_partition: first_partition.as_deref(),
            boot_order: &boot_order,
            counted: &counted,
        };
        loop_guard::open_gate(card, board, &verdict);
        loop_guard::allow_one_start(card, board, &verdict);
    }
    counted?;
    Ok(())
}
