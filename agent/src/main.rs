//! PID 1 on the flasher card: the agent that makes a board's NVMe carry its golden image.
//!
//! [`story`] is the whole of it. Each step is a module.

#![forbid(unsafe_code)]

mod backoff;
mod board;
mod boot_order;
mod card;
mod clock;
mod console;
mod dhcp;
mod failure;
mod flash;
mod gate;
mod hangs;
mod http;
mod led;
mod loop_guard;
mod machine;
mod manifest;
mod matchbox;
mod netlink;
mod network;
mod node;
mod patience;
mod progress;
mod reboot;
mod receipt;
mod resolv_conf;
mod restarts;
mod retry;
mod stage;
mod stall;
mod takeover;
mod target;
mod trouble;
mod watchdog;

use std::process::ExitCode;
use std::time::Duration;

use gild_boards::Board;
use gild_card_format::{Arguments, Config};
use gild_faults::Fault;
use log::info;

use crate::boot_order::Kind;
use crate::failure::Failure;
use crate::flash::Finished;
use crate::gate::Verdict;
use crate::led::Pattern;
use crate::machine::Machine;
use crate::node::Node;
use crate::retry::Failures;
use crate::stage::Stage;
use crate::stall::Watcher;

/// musl's own allocator costs several times the processor time when data comes in at the speed of the network.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the LED says that all is well: the kernel turns it off for the reboot.
const SHOWN: Duration = Duration::from_secs(2);

/// How long a boot order that could not be changed is shown: three cycles of fault 8, for one is easily miscounted.
const FAULT_SHOWN: Duration = Duration::from_secs(38);

const HELP: &str = "\
gild-agent: PID 1 on gild's flasher card.

It takes over a whole machine, writes the golden image to its NVMe disk and reboots it. It is started by the kernel,
from the initramfs that `gild initramfs build` makes. To write a disk from a workstation use `gild flash`.

Options: --help, --version";

fn main() -> ExitCode {
    // Before any argument is looked at: the kernel hands PID 1 the words of its command line that it does not know.
    if std::process::id() == 1 {
        run();
    }
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => println!("{HELP}"),
        Some("--version" | "-V") => println!("gild-agent {}", env!("CARGO_PKG_VERSION")),
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

/// Tells the story until it has a good end.
fn run() -> ! {
    let (machine, arguments) = takeover::take_over();
    let mut node = Node::default();
    let mut failures = Failures::default();
    let watcher = Watcher::start(machine);
    while let Err(failure) = story(machine, &arguments, &mut node, &watcher) {
        if failures.note(machine, &failure) {
            receipt::tell(machine, &node, Some(&failure));
        }
        failures.wait(machine, &node, failure);
    }
    restarts::forget(&node);
    machine.enter(Stage::Receipt);
    machine.led.show(Pattern::Done);
    receipt::tell(machine, &node, None);
    let trouble = node
        .boot_order
        .as_ref()
        .and_then(boot_order::BootOrder::trouble);
    if trouble.is_some_and(|trouble| trouble.kind != Kind::Known) {
        machine.led.show(Pattern::Fault(Fault::BootOrder));
        machine.wait(FAULT_SHOWN);
        machine.led.show(Pattern::Done);
    }
    info!("done, rebooting");
    machine.wait(SHOWN);
    reboot::reboot()
}

/// The story. After a failure it is told again from the start: what has been done already is found done.
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
    let config = config?;
    node.status_url.clone_from(&config.status_url);
    watcher.knows(node);

    machine.enter(Stage::Gate);
    let finished = match gate::open(machine, board, &config, node, watcher)? {
        Verdict::Open(finished) => finished,
        Verdict::Closed => install(machine, board, &config, node, watcher)?,
        Verdict::Lost(lost) => install(machine, board, &config, node, watcher)
            .map_err(|failure| gate::blame(&lost, failure, machine.stage()))?,
    };
    node.target = Some(finished.target.clone());
    node.image_id = Some(finished.image_id.clone());

    machine.enter(Stage::BootOrder);
    let came_back = loop_guard::has_come_back(node, &finished);
    let (card, id) = (node.card.as_ref(), node.id());
    let (boot_order, changes) =
        boot_order::set(machine, board, config.boot_order, card, id, came_back);
    node.boot_order = Some(boot_order.clone());
    node.boot_order_changes = changes;
    let counted = loop_guard::count(machine, board, node, &finished, &boot_order, came_back);
    if let Some(card) = &node.card {
        loop_guard::open_gate(card, board, &finished.image_id, &boot_order, &counted);
    }
    counted?;
    Ok(())
}

/// Makes the disk carry the image that the share has for this board, or finds that it does.
fn install(
    machine: &'static Machine,
    board: &'static Board,
    config: &Config,
    node: &mut Node,
    watcher: &Watcher,
) -> Result<Finished, Failure> {
    machine.enter(Stage::Network);
    let present = node.network.take();
    let network = network::up(machine, board, config.network.as_ref(), present)?;
    let network = node.network.insert(network);
    if config.uses_tls() {
        // Now, for the receipt of a fault in the next step; once the image's build time is known, again.
        clock::set(clock::FLOOR, network.time_servers());
    }

    machine.enter(Stage::Manifest);
    let image = manifest::fetch(machine, board, config)?;
    node.image_id = Some(image.manifest.image_id.clone());
    if config.uses_tls() {
        let built = Duration::from_secs(image.manifest.build_time);
        clock::set(built, network.time_servers());
    }
    if let Some(matchbox) = &config.matchbox {
        matchbox::announce(matchbox, network.mac);
    }

    machine.enter(Stage::Target);
    hangs::show_last(node, None)?;
    let target = target::choose(machine, config, &image, node.card.as_ref())?;
    node.target = Some(target.clone());
    watcher.knows(node);
    hangs::show_last(node, Some(&target))?;

    machine.enter(Stage::Flash);
    let disk = flash::open(&target)?;
    if !flash::is_done(&image, &disk)? {
        loop_guard::forget_if_started(node, &disk, &image.manifest.partitions);
        node.report = Some(flash::flash(machine, &image, &disk)?);
    }
    Ok(Finished {
        target,
        image_id: image.manifest.image_id,
    })
}
