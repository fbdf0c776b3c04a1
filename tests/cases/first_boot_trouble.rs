//! A node whose Matchbox is down, wrong or hostile has a name and ssh. It joins no cluster, and recovers by itself.

use anyhow::Result;
use gild_tests::matchbox::tls::{Authority, Validity};
use gild_tests::matchbox::{Behaviour, Matchbox};
use gild_tests::nspawn::{
    End, FALLBACK_NAME, GATEWAY, MAC, Machine, Rack, SERVER, assert_joined, assert_secret,
    ssh_answers,
};
use serde_json::json;

const TOKEN: &str = "s3cret-of-the-cluster";

/// Shortens the waits of the retry timer, which are minutes. Nothing else of it changes.
const SHORT_TIMER: &str =
    "[Timer]\nOnActiveSec=\nOnActiveSec=3s\nOnUnitInactiveSec=3s\nRandomizedDelaySec=0\n";

fn assert_fallback(rack: &Rack, machine: &Machine<'_>) -> Result<()> {
    assert_eq!(machine.output("hostname", &[])?, FALLBACK_NAME);
    assert!(!machine.path("etc/rancher/k3s/config.yaml").exists());
    assert_eq!(
        machine.unit("k3s-agent.service", "ActiveState")?,
        "inactive"
    );
    assert_eq!(
        machine.unit("k3s-agent.service", "UnitFileState")?,
        "disabled"
    );
    assert_eq!(
        machine.unit("k3s-init.service", "UnitFileState")?,
        "enabled",
        "for the next boot"
    );
    assert_eq!(
        machine.unit("gild-seed-retry.timer", "ActiveState")?,
        "active"
    );
    assert_eq!(machine.output("cloud-init", &["status"])?, "status: done");
    assert!(ssh_answers(rack, machine)?);
    Ok(())
}

#[test]
fn a_node_heals_when_matchbox_comes_up_after_it() -> Result<()> {
    let rack = Rack::new()?;
    rack.add_node(MAC, "node-1", TOKEN)?;
    let mut machine = rack.machine(MAC)?;
    machine.write(
        "etc/systemd/system/gild-seed-retry.timer.d/short.conf",
        SHORT_TIMER,
    )?;
    machine.boot()?;
    assert_fallback(&rack, &machine)?;
    let before = machine.read("etc/machine-id")?;

    let matchbox = rack.matchbox()?;
    assert_eq!(machine.wait_for_end()?, End::Reboot);
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    let config = machine.read("etc/rancher/k3s/config.yaml")?;
    assert!(config.contains(TOKEN));
    assert_eq!(machine.read("etc/machine-id")?, before);
    assert_secret(&machine, &[TOKEN])?;
    // The node has its identity, so nothing asks or reboots any more.
    assert_eq!(
        machine.unit("gild-seed-retry.timer", "ActiveState")?,
        "inactive"
    );
    let asked = matchbox.requests().len();
    machine.power_off()?;
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    assert_eq!(matchbox.requests().len(), asked);
    Ok(())
}

/// Asks again on a running machine, as its next boot would. Returns what the helper said.
fn ask_again(machine: &Machine<'_>) -> Result<String> {
    let cursor = machine.output("journalctl", &["--lines=0", "--show-cursor", "--quiet"])?;
    let cursor = cursor.trim_start_matches("-- cursor: ").to_owned();
    // systemd treats many starts in a row as a fault.
    machine.output("systemctl", &["reset-failed", "gild-seed.service"])?;
    machine.output("systemctl", &["restart", "gild-seed.service"])?;
    machine.output("journalctl", &["--sync"])?;
    let cursor = format!("--after-cursor={cursor}");
    machine.output(
        "journalctl",
        &[
            "--quiet",
            "--unit=gild-seed.service",
            "--output=cat",
            &cursor,
        ],
    )
}

#[test]
fn no_answer_but_a_good_one_makes_a_node_of_it() -> Result<()> {
    let rack = Rack::new()?;
    rack.add_node("2c:cf:67:ff:ff:ff", "another", TOKEN)?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    machine.boot()?;
    assert_fallback(&rack, &machine)?;
    let log = machine.output("journalctl", &["--quiet", "--unit=gild-seed.service"])?;
    assert!(log.contains("does not know"), "{log}");

    let check = |name: &str, said: &str| -> Result<()> {
        let log = ask_again(&machine)?;
        let seed = machine.read("var/lib/cloud/seed/nocloud/meta-data")?;
        assert!(seed.contains(FALLBACK_NAME), "{name}: {log}");
        assert!(log.contains(said), "{name}: {log}");
        assert!(!log.contains("s3cret"), "{name}: {log}");
        Ok(())
    };
    let node = |hostname: &str, token: &str| rack.add_node(MAC, hostname, token);

    rack.group(
        "default",
        &json!({}),
        &json!({"hostname": "anyone", "k3s_url": SERVER, "k3s_token": TOKEN}),
    )?;
    check("the default group", "only one for every node")?;
    rack.remove_node("default")?;

    node("n", TOKEN)?;
    for (behaviour, said) in [
        (
            Behaviour::WrongEcho("2c:cf:67:ff:ff:ff".into()),
            "another node",
        ),
        (Behaviour::Status(500), "answers 500"),
        (
            Behaviour::Redirect("https://10.77.0.9/metadata".into()),
            "another server",
        ),
        (Behaviour::Truncated, "error reading a body"),
        (Behaviour::Endless, "longer than"),
        (Behaviour::Hanging, "timed out"),
        (
            Behaviour::Body("<html>captive portal</html>".into()),
            "has no `=`",
        ),
    ] {
        let name = format!("{behaviour:?}");
        matchbox.behave(behaviour);
        check(&name, said)?;
    }
    matchbox.behave(Behaviour::Faithful);

    rack.remove_node("n")?;
    for (hostname, token, said) in [
        ("Node_1", TOKEN, "hostname"),
        ("n", "s3cret\nHOSTNAME=evil", "HOSTNAME"),
        ("n", "s3cret\u{7}", "k3s_token"),
        ("n", "K10s3cret::node:x", "k3s_token"),
        ("n", "", "k3s_token"),
    ] {
        node(hostname, token)?;
        check(&format!("{hostname} {token:?}"), said)?;
        rack.remove_node(hostname)?;
    }
    // Two bad certificates: one of another authority, and one that is not valid yet by the node's clock.
    drop(matchbox);
    node("n", TOKEN)?;
    let other = Authority::new()?.server(GATEWAY.into(), Validity::Now)?;
    let matchbox: Matchbox = rack.matchbox_with(other)?;
    check("another authority", "certificate")?;
    drop(matchbox);
    let early = rack.authority.server(GATEWAY.into(), Validity::NotYet)?;
    let matchbox = rack.matchbox_with(early)?;
    check("a certificate from the future", "not valid yet")?;
    drop(matchbox);

    // A key that cannot be used does not stop the node, and the key's name must not clear the screen.
    let _matchbox = rack.matchbox()?;
    rack.remove_node("n")?;
    let escape = json!({"\u{1b}[2J": "x"});
    rack.group(
        "n",
        &json!({"mac": MAC}),
        &json!({"hostname": "n", "k3s_url": SERVER, "k3s_token": TOKEN, "ssh_keys": escape}),
    )?;
    let log = ask_again(&machine)?;
    assert!(log.contains("this node is n "), "{log}");
    assert!(log.contains(r"`ssh_keys_\u{1b}[2j`"), "{log}");
    machine.power_off()?;
    machine.boot()?;
    assert_joined(&machine, "n")
}
