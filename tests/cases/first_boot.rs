//! A node that boots the golden image for the first time takes its identity from Matchbox and starts k3s. Nobody touches it.
//! `gild_tests::nspawn` says what is real here and what is not.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result};
use gild_tests::nspawn::{
    Cable, MAC, Machine, Rack, SERVER, assert_joined, assert_secret, ssh_answers,
};
use serde_json::{Value, json};

/// Without quotes, every part of this means something else in YAML, in a shell or in a template.
const TOKEN: &str = "s3cret: {\"a\": 'b'} #c = %s $HOME \\n `d` é&*!|>-";

/// What must differ between machines.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    machine_id: String,
    ssh_key: String,
    initiator: String,
}

impl Identity {
    fn of(machine: &Machine<'_>) -> Result<Self> {
        // Only the first step of iscsid's unit. The unit would then ask for a driver that the host's kernel may not have.
        machine.output("/usr/lib/open-iscsi/startup-checks.sh", &[])?;
        Ok(Self {
            machine_id: machine.read("etc/machine-id")?,
            ssh_key: machine.read("etc/ssh/ssh_host_ed25519_key.pub")?,
            initiator: machine.read("etc/iscsi/initiatorname.iscsi")?,
        })
    }
}

fn config(machine: &Machine<'_>) -> Result<Value> {
    // This uses cloud-init's YAML reader. k3s has its own.
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let path = "/etc/rancher/k3s/config.yaml";
    let text = machine.output("python3", &["-c", script, path])?;
    serde_json::from_str(&text).context("reading the configuration of k3s")
}

fn image_id(machine: &Machine<'_>) -> Result<String> {
    let release = machine.read("usr/lib/gild/image-release")?;
    let id = release
        .lines()
        .find_map(|line| line.strip_prefix("GILD_IMAGE_ID="));
    Ok(id.context("an image without an id")?.to_owned())
}

fn assert_private(machine: &Machine<'_>, path: &str) -> Result<()> {
    let metadata = machine
        .path(path)
        .metadata()
        .with_context(|| path.to_owned())?;
    let (mode, owner) = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()));
    assert_eq!((mode, owner), (0o600, (0, 0)), "{path}");
    Ok(())
}

/// What was made together with the image is not made again, and the network does not wait until Python has loaded cloud-init.
fn assert_no_needless_wait(machine: &Machine<'_>) -> Result<()> {
    for unit in [
        "ldconfig.service",
        "systemd-journal-catalog-update.service",
        "systemd-sysusers.service",
        "systemd-update-done.service",
    ] {
        assert_eq!(machine.unit(unit, "ConditionResult")?, "no", "{unit}");
    }
    let start = |unit: &str| -> Result<u64> {
        Ok(machine
            .unit(unit, "ActiveEnterTimestampMonotonic")?
            .parse()?)
    };
    let (network, cloud_init) = (
        start("systemd-networkd.service")?,
        start("cloud-init-local.service")?,
    );
    assert!(
        network < cloud_init,
        "networkd at {network}, cloud-init at {cloud_init}"
    );
    Ok(())
}

#[test]
fn a_node_takes_its_identity_keeps_it_and_gets_the_same_place_after_a_flash() -> Result<()> {
    let rack = Rack::new()?;
    let ssh_key = format!(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{} op@site",
        "I".repeat(44)
    );
    let metadata = json!({
        "hostname": "node-1", "k3s_url": SERVER, "k3s_token": TOKEN,
        "k3s_node_labels": {"rack": "example.com/rack=a-1"}, "ssh_keys": {"op": ssh_key},
        "k3s_config": {"node-ip": "10.77.0.9", "node-taint": {"slow": "example.com/disk=slow:NoSchedule"}},
        "k3s_registries": {"own": {"host": "r.example", "username": "node", "password": "s3cret-of-the-registry"}},
    });
    rack.group("node-1", &json!({"mac": MAC}), &metadata)?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;

    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    let expected = json!({
        "server": SERVER, "token": TOKEN,
        "node-label": ["gild/board=rpi5", format!("gild/image={}", image_id(&machine)?), "example.com/rack=a-1"],
        "node-ip": "10.77.0.9", "node-taint": ["example.com/disk=slow:NoSchedule"],
    });
    assert_eq!(config(&machine)?, expected);
    assert_private(&machine, "etc/rancher/k3s/config.yaml")?;
    assert_private(&machine, "etc/rancher/node/password")?;
    assert_private(&machine, "etc/rancher/k3s/registries.yaml")?;
    let registries = machine.read("etc/rancher/k3s/registries.yaml")?;
    let auth = json!({"username": "node", "password": "s3cret-of-the-registry"});
    let wanted = json!({"mirrors": {}, "configs": {"r.example": {"auth": auth}}});
    assert_eq!(serde_json::from_str::<Value>(&registries)?, wanted);
    let password = machine.read("etc/rancher/node/password")?;
    assert!(
        password.trim().len() >= 32,
        "a password of {} bytes",
        password.len()
    );
    assert_secret(&machine, &["s3cret", password.trim()])?;
    assert!(ssh_answers(&rack, &machine)?);
    let keys = machine.read("home/debian/.ssh/authorized_keys")?;
    assert!(keys.contains(&ssh_key), "{keys}");
    assert_eq!(machine.output("cloud-init", &["status"])?, "status: done");
    // If there is no machine id yet, systemd must not treat this as its own kind of first boot. Then it would enable every unit by its
    // preset.
    assert_eq!(
        machine.unit("systemd-firstboot.service", "ConditionResult")?,
        "no"
    );
    assert_eq!(
        machine.unit("first-boot-complete.target", "ActiveState")?,
        "inactive"
    );
    assert_no_needless_wait(&machine)?;
    let first = Identity::of(&machine)?;
    assert_eq!(matchbox.requests(), [format!("/metadata?mac={MAC}")]);
    machine.power_off()?;

    // A second boot does not need Matchbox, and does not ask it.
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    assert_eq!(Identity::of(&machine)?, first);
    assert_eq!(matchbox.requests().len(), 1);
    assert_eq!(machine.unit("gild-seed.service", "ConditionResult")?, "no");
    machine.power_off()?;

    // The same board is flashed again with the same image. As a machine it is new. To the cluster it is the same node.
    let mut flashed = rack.machine(MAC)?;
    flashed.boot()?;
    assert_joined(&flashed, "node-1")?;
    assert_eq!(flashed.read("etc/rancher/node/password")?, password);
    let second = Identity::of(&flashed)?;
    assert_ne!(first.machine_id, second.machine_id);
    assert_ne!(first.ssh_key, second.ssh_key);
    assert_ne!(first.initiator, second.initiator);
    assert!(
        second.initiator.contains("InitiatorName=iqn."),
        "{second:?}"
    );
    Ok(())
}

#[test]
fn dhcp_may_come_late_and_the_cable_may_be_in_the_second_socket() -> Result<()> {
    let rack = Rack::without_dhcp()?;
    rack.add_node(MAC, "node-2", TOKEN)?;
    let _matchbox = rack.matchbox()?;
    let socket = |name, mac, plugged| Cable { name, mac, plugged };
    let mut machine = rack.machine_with(&[
        socket("end0", "2c:cf:67:00:00:01", false),
        socket("end1", MAC, true),
    ])?;
    machine.start()?;
    machine.wait_until("it asks for an address", |machine| {
        Ok(machine.unit("systemd-networkd-wait-online.service", "ActiveState")? == "activating")
    })?;
    // This is long enough for the first requests to be lost.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(
        machine.unit("gild-seed.service", "ActiveState")?,
        "inactive"
    );
    rack.site.start_dhcp()?;
    machine.wait_until_up()?;
    // One cable is enough. Nothing has waited for the other one.
    assert_eq!(
        machine.unit("systemd-networkd-wait-online.service", "Result")?,
        "success"
    );
    assert_joined(&machine, "node-2")
}
