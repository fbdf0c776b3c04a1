//! The power fails in the middle of a first boot, a step fails, or the helper is broken. The node is never lost, and continues.

use anyhow::{Context, Result};
use gild_tests::matchbox::Behaviour;
use gild_tests::nspawn::{End, FALLBACK_NAME, MAC, Machine, Rack, assert_joined, ssh_answers};

const TOKEN: &str = "s3cret-of-the-cluster";
const INIT_UNIT: &str = "usr/lib/systemd/system/k3s-init.service";
/// A drop-in with the test's change of the unit.
const CHANGE: &str = "etc/systemd/system/k3s-init.service.d/change.conf";

/// Keeps the shipped unit's own steps, but switches the machine off without warning after the first `steps` of them.
fn cut_after(machine: &Machine<'_>, steps: usize) -> Result<()> {
    let unit = machine.read(INIT_UNIT)?;
    let mut lines: Vec<_> = unit
        .lines()
        .filter(|line| line.starts_with("ExecStart="))
        .collect();
    lines.insert(
        steps,
        "ExecStart=/usr/bin/systemctl poweroff --force --force",
    );
    machine.write(
        CHANGE,
        &format!("[Service]\nExecStart=\n{}\n", lines.join("\n")),
    )
}

/// Cuts the power once after each step that `chosen` picks.
fn the_entry_into_the_cluster_goes_on(chosen: impl Fn(&str) -> bool) -> Result<()> {
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    let unit = machine.read(INIT_UNIT)?;
    let steps: Vec<_> = unit
        .lines()
        .filter(|line| line.starts_with("ExecStart="))
        .collect();
    // The first step changes nothing. Once a step has disabled the unit, no boot runs it again.
    let disable = steps
        .iter()
        .position(|step| step.contains("disable"))
        .context("the step that disables the unit")?;
    let steps = steps.iter().enumerate().take(disable + 1).skip(1);
    for (number, step) in steps.filter(|(_, step)| chosen(step)) {
        cut_after(&machine, number + 1)?;
        machine.start()?;
        assert_eq!(machine.wait_for_end()?, End::PowerOff, "cut after {step}");
    }
    std::fs::remove_file(machine.path(CHANGE))?;
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    assert_eq!(matchbox.requests().len(), 1);
    Ok(())
}

/// At that point the node is in its cluster but has not noted that anywhere.
#[test]
fn the_entry_into_the_cluster_goes_on_after_a_power_cut() -> Result<()> {
    the_entry_into_the_cluster_goes_on(|step| step.ends_with("gild-seed join"))
}

/// A disk stores the lengths of files some time after their names. The harness cannot show that, so it empties the files.
#[test]
fn what_was_not_on_the_disk_yet_when_power_failed_is_written_again() -> Result<()> {
    const CONFIG: &str = "etc/rancher/k3s/config.yaml";
    const PASSWORD: &str = "etc/rancher/node/password";
    const HOST_KEY: &str = "etc/ssh/ssh_host_ed25519_key";
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    // At that point cloud-init has finished, but nothing has waited for the disk yet.
    cut_after(&machine, 1)?;
    machine.start()?;
    assert_eq!(machine.wait_for_end()?, End::PowerOff);
    std::fs::remove_file(machine.path(CHANGE))?;
    let (config, password) = (machine.read(CONFIG)?, machine.read(PASSWORD)?);
    for path in [CONFIG, HOST_KEY, "etc/hostname"] {
        machine.write(path, "")?;
    }
    for instance in std::fs::read_dir(machine.path("var/lib/cloud/instances"))? {
        std::fs::write(instance?.path().join("obj.pkl"), "")?;
    }
    // The step for this file was noted but not taken.
    std::fs::remove_file(machine.path(PASSWORD))?;
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    assert_eq!(machine.read(CONFIG)?, config);
    assert_eq!(machine.read(PASSWORD)?, password);
    assert!(ssh_answers(&rack, &machine)?);
    assert_eq!(matchbox.requests().len(), 1);

    // A member's ssh keys are made again too, although its first boot is over.
    machine.cut_power()?;
    machine.write(HOST_KEY, "")?;
    machine.boot()?;
    assert!(ssh_answers(&rack, &machine)?);
    Ok(())
}

#[test]
fn an_entry_that_failed_for_a_while_is_made_without_a_reboot() -> Result<()> {
    // Only this differs from the shipped unit: a shorter wait (it is a minute) and an obstacle.
    const HINDRANCE: &str =
        "[Service]\nRestartSec=3s\nExecStartPre=/usr/bin/test -e /run/it-has-passed\n";
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let _matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    machine.write(CHANGE, HINDRANCE)?;
    machine.boot()?;
    let tries = |machine: &Machine<'_>| -> Result<u32> {
        Ok(machine.unit("k3s-init.service", "NRestarts")?.parse()?)
    };
    machine.wait_until("the entry was tried more often than once", |machine| {
        Ok(tries(machine)? > 1)
    })?;
    assert_eq!(
        machine.unit("k3s-agent.service", "ActiveState")?,
        "inactive"
    );
    machine.write("run/it-has-passed", "")?;
    machine.wait_until("the entry is made", |machine| {
        Ok(machine.unit("k3s-init.service", "ActiveState")? == "active")
    })?;
    machine.wait_until("k3s runs", |machine| {
        Ok(machine.unit("k3s-agent.service", "ActiveState")? == "active")
    })?;
    assert_joined(&machine, "node-1")
}

#[test]
fn power_fails_while_matchbox_is_asked() -> Result<()> {
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let matchbox = rack.matchbox()?;
    matchbox.behave(Behaviour::Hanging);
    let mut machine = rack.machine(MAC)?;
    machine.start()?;
    machine.wait_until("it asks", |_| Ok(!matchbox.requests().is_empty()))?;
    machine.cut_power()?;
    matchbox.behave(Behaviour::Faithful);
    machine.boot()?;
    assert_joined(&machine, "node-1")
}

#[test]
fn power_fails_while_the_seed_is_replaced() -> Result<()> {
    const META_DATA: &str = "var/lib/cloud/seed/nocloud/meta-data";
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let mut machine = rack.machine(MAC)?;
    machine.boot()?;
    assert!(machine.read(META_DATA)?.contains(FALLBACK_NAME));
    for rename in [1, 2] {
        let matchbox = rack.matchbox()?;
        machine.killed_at(
            "rename,renameat,renameat2",
            rename,
            "/usr/lib/gild/gild-seed",
            &["run"],
        )?;
        assert_eq!(matchbox.requests().len(), 1);
        assert!(!machine.path(META_DATA).exists(), "half a seed is none");
        drop(matchbox);
        if rename == 1 {
            machine.output("/usr/lib/gild/gild-seed", &["run"])?;
            assert!(
                machine.read(META_DATA)?.contains(FALLBACK_NAME),
                "nobody answered"
            );
        }
    }
    machine.cut_power()?;
    let _matchbox = rack.matchbox()?;
    machine.boot()?;
    assert_joined(&machine, "node-1")
}

#[test]
fn a_node_whose_helper_is_broken_can_be_reached() -> Result<()> {
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let _matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    let helper = machine.path("usr/lib/gild/gild-seed");
    std::fs::remove_file(&helper)?;
    machine.write("usr/lib/gild/gild-seed", "no program")?;
    machine.boot()?;
    assert_eq!(machine.unit("gild-seed.service", "Result")?, "exit-code");
    assert!(ssh_answers(&rack, &machine)?);
    assert_eq!(
        machine.unit("k3s-agent.service", "ActiveState")?,
        "inactive"
    );
    Ok(())
}

mod campaign {
    use super::*;

    #[test]
    fn the_entry_into_the_cluster_goes_on_after_a_power_cut_at_each_step() -> Result<()> {
        the_entry_into_the_cluster_goes_on(|_| true)
    }
}
