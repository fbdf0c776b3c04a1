//! The image's units do what the programs rely on.

use std::path::Path;
use std::time::Duration;

use gild_node::settings::LONGEST_DEADLINE;

fn unit(name: &str) -> String {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs/usr/lib/systemd/system");
    std::fs::read_to_string(units.join(name)).expect("a unit")
}

/// The flasher may write an image again until the proof. So nothing that a node could lose may come before the proof.
#[test]
fn k3s_waits_for_the_proof() {
    let unit = unit("k3s-init.service");
    let first = unit.lines().find(|line| line.starts_with("ExecStart"));
    assert!(first.is_some_and(|step| step.ends_with("/gild-seed prove")));
}

#[test]
fn a_node_that_has_joined_is_not_restarted_for_its_card() {
    let unit = unit("gild-visit-card.service");
    let condition = "ConditionPathExists=!/var/lib/gild/provisioned";
    assert!(unit.lines().any(|line| line == condition));
}

/// The proof comes after cloud-init's network stage, and that waits for an address and for Matchbox.
#[test]
fn a_trial_has_more_time_than_the_network_and_matchbox_may_take() {
    let timer = unit("gild-trial-deadline.timer");
    let minutes = timer
        .lines()
        .find_map(|line| line.strip_prefix("OnBootSec=")?.strip_suffix("min"));
    let deadline =
        Duration::from_mins(minutes.and_then(|text| text.parse().ok()).expect("minutes"));
    let (network, everything_else) = (Duration::from_mins(1), Duration::from_mins(5));
    assert!(deadline >= network + LONGEST_DEADLINE + everything_else);
}

#[test]
fn all_is_on_the_disk_before_anything_lasts_that_ends_the_first_boot() {
    let unit = unit("k3s-init.service");
    let step = |text: &str| {
        unit.lines()
            .position(|line| line.starts_with("ExecStart=") && line.contains(text))
            .unwrap_or_else(|| panic!("no step `{text}`"))
    };
    let sync = step("/sync");
    assert!(step("gild-seed check") < step("start --no-block k3s-agent"));
    // The timer's attempt would make cloud-init write again the files that the join corrects.
    assert!(step("stop --no-block gild-seed-retry.timer") < step("gild-seed join"));
    // An enabled agent would delay every boot until the cluster lets the node in.
    assert!(step("gild-seed join") < sync);
    for lasts in [
        "enable --no-reload k3s-agent",
        "provisioned",
        "disable k3s-init",
    ] {
        assert!(sync < step(lasts), "{lasts}");
    }
}

/// With the site's domain, `matchbox` is the same machine on the node as on the computer where the image was set up.
#[test]
fn names_without_a_domain_are_looked_for_in_the_site_s() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rootfs/usr/lib/systemd/network/20-gild-wired.network");
    let file = std::fs::read_to_string(file).expect("the network's file");
    for source in ["DHCPv4", "DHCPv6", "IPv6AcceptRA"] {
        let section = file.split(&format!("\n[{source}]\n")).nth(1);
        let section = section.and_then(|rest| rest.split("\n[").next());
        let mut lines = section.expect("the section").lines();
        assert!(lines.any(|line| line == "UseDomains=yes"), "{source}");
    }
}

/// A restart by the node itself must come before anything that a restart must not interrupt.
#[test]
fn apt_waits_for_first_boot_and_for_the_proof() {
    for service in ["apt-daily.service", "apt-daily-upgrade.service"] {
        let unit = unit(&format!("{service}.d/10-gild.conf"));
        let line = |text: &str| unit.lines().any(|line| line == text);
        assert!(line("ConditionPathExists=!/run/gild/on-trial"), "{service}");
        let after = unit.lines().find_map(|line| line.strip_prefix("After="));
        let after: Vec<&str> = after.unwrap_or_default().split(' ').collect();
        for first in ["cloud-init.target", "gild-visit-card.service"] {
            assert!(after.contains(&first), "{service}: {first}");
        }
    }
}

#[test]
fn orders_come_after_first_boot_and_the_proof() {
    let unit = unit("gild-order.service");
    let line = |text: &str| unit.lines().any(|line| line == text);
    assert!(line("ConditionPathExists=!/run/gild/on-trial"));
    let after = unit.lines().find_map(|line| line.strip_prefix("After="));
    let after: Vec<&str> = after.unwrap_or_default().split(' ').collect();
    for first in [
        "cloud-init.target",
        "gild-visit-card.service",
        "gild-prove.service",
    ] {
        assert!(after.contains(&first), "{first}");
    }
}

/// k3s renews its certificates in their last 90 days, and only when it starts (docs.k3s.io, `k3s certificate`).
#[test]
fn k3s_starts_again_in_the_last_ninety_days_of_its_certificates() {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/src/k3s/k3s-agent.service");
    let agent = std::fs::read_to_string(agent).expect("the agent's unit");
    for line in ["Restart=always", "KillMode=process"] {
        assert!(agent.lines().any(|found| found == line), "{line}");
    }
    let unit = unit("k3s-agent.service.d/10-gild.conf");
    let days = |name: &str| -> u32 {
        let text = unit.lines().find_map(|line| line.strip_prefix(name));
        let text = text.and_then(|text| text.strip_suffix('d'));
        text.expect("days").parse().expect("a number")
    };
    assert!(days("RuntimeMaxSec=") + days("RuntimeRandomizedExtraSec=") < 90);
}
