//! If the cluster does not let a node in, the node says why. A correction in Matchbox alone is enough: nobody logs in, and the node does
//! not restart. `gild_tests::nspawn` says what is real here and what is not.

use anyhow::{Context, Result};
use gild_report::{Kind, Proof, Report};
use gild_tests::matchbox::Matchbox;
use gild_tests::nspawn::{MAC, Machine, Rack, SERVER, assert_joined, assert_secret, starts};
use serde_json::{Value, json};

const PASSWORD: &str = "s3cret-of-the-cluster";
const OTHER_PASSWORD: &str = "s3cret-of-yesterday";

/// Shortens the wait between two requests, which is a minute. Nothing else of the unit changes.
fn ask_often(machine: &Machine<'_>) -> Result<()> {
    let unit = machine.read("usr/lib/systemd/system/k3s-init.service")?;
    let steps: String = unit
        .lines()
        .filter(|line| line.starts_with("ExecStart="))
        .map(|line| match line.strip_suffix("gild-seed join") {
            Some(start) => format!("{start}gild-seed join --ask-every 2\n"),
            None => format!("{line}\n"),
        })
        .collect();
    machine.write(
        "etc/systemd/system/k3s-init.service.d/often.conf",
        &format!("[Service]\nExecStart=\n{steps}"),
    )
}

fn node(rack: &Rack, server: &str, token: &str, more: &Value) -> Result<()> {
    let mut metadata = json!({"hostname": "node-1", "k3s_url": server, "k3s_token": token});
    for (key, value) in more.as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    rack.group("node-1", &json!({"mac": MAC}), &metadata)
}

/// Waits until the console has these words. Until then no part of the entry may count as done.
fn hears(machine: &mut Machine<'_>, words: &str) -> Result<()> {
    machine.wait_until(&format!("the console says {words:?}"), |machine| {
        Ok(machine.console().contains(words))
    })?;
    assert!(
        !machine.path("var/lib/gild/provisioned").exists(),
        "{words}"
    );
    assert_eq!(
        machine.unit("k3s-init.service", "UnitFileState")?,
        "enabled"
    );
    Ok(())
}

#[test]
fn each_wrong_value_is_named_and_heals_by_a_correction_in_matchbox() -> Result<()> {
    let rack = Rack::new()?;
    let token = rack.cluster.token(PASSWORD);
    rack.cluster.accept(PASSWORD);
    rack.cluster.add_node("node-1", "of-another-node");
    let of_another = token.replace(&token[3..13], "0123456789");
    let none = json!({});
    // Nothing listens at this address.
    node(&rack, "https://10.77.0.1:6444", &token, &none)?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    ask_often(&machine)?;
    machine.start()?;
    hears(&mut machine, "nothing answers at https://10.77.0.1:6444")?;

    node(&rack, &Rack::matchbox_address(), &token, &none)?;
    hears(&mut machine, "is not a server of k3s")?;

    node(&rack, SERVER, &of_another, &none)?;
    hears(&mut machine, "the token is one of another cluster")?;

    // The node cannot tell a wrong token from one that has expired.
    node(&rack, SERVER, &rack.cluster.token(OTHER_PASSWORD), &none)?;
    hears(
        &mut machine,
        "does not take the token: it is wrong, or it has expired",
    )?;

    node(&rack, SERVER, &token, &none)?;
    hears(&mut machine, "the cluster knows another node as node-1")?;

    // If Matchbox is down or has lost the group, the node keeps what it has.
    rack.remove_node("node-1")?;
    hears(
        &mut machine,
        "the node keeps what the metadata server said before",
    )?;

    let right = json!({"k3s_node_password": "of-another-node"});
    node(&rack, SERVER, &token, &right)?;
    machine.wait_until_up()?;
    assert!(machine.path("var/lib/gild/provisioned").exists());
    assert_eq!(
        machine.unit("k3s-init.service", "UnitFileState")?,
        "disabled"
    );
    assert_eq!(rack.cluster.joins(), ["node-1"]);
    // One is the first start, and there is one for each correction.
    assert_eq!(starts(&machine)?.len(), 6);
    assert_secret(&machine, &["s3cret", "of-another-node", &of_another[..30]])?;
    // The node is a member. It asks nobody any more, and a boot keeps the corrections.
    let asked = matchbox.requests().len();
    machine.power_off()?;
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    assert_eq!(matchbox.requests().len(), asked);
    assert_eq!(
        machine.read("etc/rancher/node/password")?,
        "of-another-node\n"
    );
    Ok(())
}

#[test]
fn another_name_in_matchbox_is_taken_on_by_one_restart() -> Result<()> {
    let rack = Rack::new()?;
    rack.cluster.add_node("node-1", "of-another-node");
    rack.add_node(MAC, "node-1", &rack.cluster.token(PASSWORD))?;
    let _matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    ask_often(&machine)?;
    machine.start()?;
    hears(&mut machine, "the cluster knows another node as node-1")?;
    let before = machine.read("etc/ssh/ssh_host_ed25519_key.pub")?;
    rack.remove_node("node-1")?;
    rack.add_node(MAC, "node-2", &rack.cluster.token(PASSWORD))?;
    machine.wait_for_end()?;
    machine.boot()?;
    assert_joined(&machine, "node-2")?;
    assert_eq!(machine.read("etc/ssh/ssh_host_ed25519_key.pub")?, before);
    Ok(())
}

#[test]
fn a_member_takes_on_what_changed_in_matchbox_when_it_is_asked_to() -> Result<()> {
    const REFRESH: &str = "/usr/sbin/gild-seed";
    let rack = Rack::new()?;
    let key = |name: &str| {
        let body = name[..1].repeat(42);
        format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA{body} {name}")
    };
    let with = |rack: &Rack, name: &str, password: &str, label: &str, key: &str| {
        let metadata = json!({
            "hostname": name, "k3s_url": SERVER, "k3s_token": rack.cluster.token(password),
            "k3s_node_labels": {"rack": format!("example.com/rack={label}")}, "ssh_keys": {"op": key},
        });
        rack.group("node-1", &json!({"mac": MAC}), &metadata)
    };
    rack.cluster.accept(OTHER_PASSWORD);
    with(&rack, "node-1", OTHER_PASSWORD, "a1", &key("gone"))?;
    let matchbox = rack.matchbox()?;
    let mut machine = rack.machine(MAC)?;
    machine.boot()?;
    assert_joined(&machine, "node-1")?;
    let password = machine.read("etc/rancher/node/password")?;
    let refused = |machine: &Machine<'_>, why: &str| -> Result<()> {
        let config = machine.read("etc/rancher/k3s/config.yaml")?;
        let output = machine.run(REFRESH, &["refresh"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(machine.read("etc/rancher/k3s/config.yaml")?, config);
        Ok(())
    };

    // The operator has changed Matchbox before the servers, so the cluster does not accept the new token yet.
    with(&rack, "node-1", PASSWORD, "b2", &key("new"))?;
    refused(&machine, "does not take the token")?;
    with(&rack, "node-2", OTHER_PASSWORD, "a1", &key("gone"))?;
    refused(&machine, "a member keeps its name")?;
    // If the node followed this group, it would end the pods of its present cluster.
    let other = rack.site.cluster(7443)?;
    node(
        &rack,
        "https://10.77.0.1:7443",
        &other.token(PASSWORD),
        &json!({}),
    )?;
    refused(&machine, "is a server of another cluster")?;
    assert!(other.joins().is_empty());
    with(&rack, "node-1", PASSWORD, "b2", &key("new"))?;
    rack.cluster.accept(PASSWORD);
    let said = machine.run(REFRESH, &["refresh"])?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("k3s_token, k3s_node_labels, ssh_keys"),
        "{said}"
    );
    assert_eq!(machine.unit("k3s-agent.service", "ActiveState")?, "active");
    let last = starts(&machine)?.pop().unwrap_or_default();
    assert_eq!(last["config"]["token"], json!(rack.cluster.token(PASSWORD)));
    assert_eq!(last["config"]["node-label"][2], "example.com/rack=b2");
    let keys = machine.read("home/debian/.ssh/authorized_keys")?;
    assert!(
        keys.contains(&key("new")) && !keys.contains(&key("gone")),
        "{keys}"
    );
    // Matchbox gives no password, so it was made from the first token. The cluster knows the node by it, so it stays.
    assert_eq!(machine.read("etc/rancher/node/password")?, password);
    assert_eq!(starts(&machine)?.len(), 2);

    // k3s fails because of an unknown option, so it gets its old configuration back.
    let metadata = json!({
        "hostname": "node-1", "k3s_url": SERVER, "k3s_token": rack.cluster.token(PASSWORD),
        "k3s_config": {"no-such-option": "1"}, "ssh_keys": {"op": key("new")},
    });
    rack.group("node-1", &json!({"mac": MAC}), &metadata)?;
    refused(&machine, "it runs with what it said before")?;
    machine.wait_until("k3s runs again", |machine| {
        Ok(machine.unit("k3s-agent.service", "ActiveState")? == "active")
    })?;
    with(&rack, "node-1", PASSWORD, "b2", &key("new"))?;

    // Nothing has changed since, so k3s must not restart.
    let before = starts(&machine)?.len();
    machine.output(REFRESH, &["refresh"])?;
    assert_eq!(starts(&machine)?.len(), before);
    drop(matchbox);
    refused(&machine, "asking the metadata server")?;
    machine.power_off()?;
    machine.boot()?;
    assert_joined(&machine, "node-1")
}

/// The reports that arrived. Each has the same secret of the node, and it is this one.
fn reports(matchbox: &Matchbox, token: &str, secret: &str) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for request in matchbox.posted() {
        assert_eq!(request.target, "/report");
        assert_eq!(request.proof.as_deref(), Some(secret));
        let text = request.posted.unwrap_or_default();
        assert!(!text.contains("s3cret") && !text.contains(token), "{text}");
        assert!(!text.contains(secret), "{text}");
        reports.push(serde_json::from_str(&text)?);
    }
    Ok(reports)
}

fn stage(report: &Report) -> &str {
    report.stage.as_deref().unwrap_or_default()
}

/// Checks what a node reported on its way into the cluster. At first nothing answered.
fn assert_way(first: &[Report]) -> Result<()> {
    let mut stages: Vec<&str> = first.iter().map(stage).collect();
    stages.dedup();
    assert_eq!(stages, ["named", "joining", "joined"]);
    let hindered = first.iter().find(|it| it.message.is_some());
    let hindered = hindered.context("what hindered it was not reported")?;
    assert_eq!(stage(hindered), "joining");
    let message = hindered.message.as_deref().unwrap_or_default();
    assert!(
        message.contains("nothing answers at https://10.77.0.1:6444"),
        "{message}"
    );
    assert!(
        hindered
            .next_step
            .as_deref()
            .is_some_and(|it| it.contains("`k3s_url`"))
    );
    for pair in first.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence && pair[0].boot == pair[1].boot);
    }
    for report in first {
        assert_eq!(
            (report.kind, report.mac.as_deref()),
            (Kind::Node, Some(MAC))
        );
        assert_eq!(report.hostname.as_deref(), Some("node-1"));
        assert!(
            report
                .address
                .as_deref()
                .is_some_and(|it| it.starts_with("10.77."))
        );
    }
    Ok(())
}

#[test]
fn a_node_reports_its_way_into_the_cluster_and_shows_the_same_secret_whatever_its_token()
-> Result<()> {
    let rack = Rack::new()?;
    let token = rack.cluster.token(PASSWORD);
    rack.cluster.accept(PASSWORD);
    // Nothing listens at this address.
    node(&rack, "https://10.77.0.1:6444", &token, &json!({}))?;
    let matchbox = rack.matchbox()?;
    matchbox.take_reports();
    let mut machine = rack.machine(MAC)?;
    ask_often(&machine)?;
    machine.start()?;
    hears(&mut machine, "nothing answers at https://10.77.0.1:6444")?;
    node(&rack, SERVER, &token, &json!({}))?;
    machine.wait_until_up()?;
    assert!(machine.path("var/lib/gild/provisioned").exists());
    let secret = machine.read("var/lib/gild/desk-secret")?;
    let secret = secret.trim();
    assert!(Proof::parse(secret).is_some());
    let has_joined = |matchbox: &Matchbox, boots: usize| -> Result<bool> {
        let reports = reports(matchbox, &token, secret)?;
        Ok(reports.iter().filter(|it| stage(it) == "joined").count() == boots)
    };
    machine.wait_until("it reports that it has joined", |_| {
        has_joined(&matchbox, 1)
    })?;
    let first = reports(&matchbox, &token, secret)?;
    assert_way(&first)?;
    let asked = matchbox.asked();
    let shown: Vec<_> = asked.iter().map(|it| it.proof.as_deref()).collect();
    assert!(shown.len() > 1 && shown.iter().all(|it| *it == Some(secret)));

    // A refresh shows the same secret, and reports its result.
    let label = json!({"k3s_node_labels": {"rack": "example.com/rack=b2"}});
    node(&rack, SERVER, &token, &label)?;
    machine.output("/usr/sbin/gild-seed", &["refresh"])?;
    let asked = matchbox.asked();
    assert_eq!(
        asked.last().and_then(|it| it.proof.as_deref()),
        Some(secret)
    );
    let last = reports(&matchbox, &token, secret)?
        .pop()
        .context("a report")?;
    assert_eq!(
        last.message.as_deref(),
        Some("taken on from the metadata server: k3s_node_labels")
    );

    // The token changes twice.
    for password in [OTHER_PASSWORD, "s3cret-of-tomorrow"] {
        let next = rack.cluster.token(password);
        rack.cluster.accept(password);
        node(&rack, SERVER, &next, &label)?;
        machine.output("/usr/sbin/gild-seed", &["refresh"])?;
        // On a busy machine k3s may write that it has started after the refresh has already ended.
        machine.wait_until("k3s starts with the next token", |machine| {
            let config = starts(machine)?.pop().unwrap_or_default();
            Ok(config["config"]["token"] == json!(next))
        })?;
        let asked = matchbox.asked();
        let shown = asked.last().and_then(|it| it.proof.as_deref());
        assert_eq!(shown, Some(secret), "{password}");
        let last = reports(&matchbox, &next, secret)?.pop();
        assert_eq!(
            last.context("a report")?.message.as_deref(),
            Some("taken on from the metadata server: k3s_token")
        );
    }
    let asked = matchbox.asked();

    // A member reports once in each start that it is there, and asks nothing.
    machine.power_off()?;
    machine.boot()?;
    machine.wait_until("it reports in its next start", |_| has_joined(&matchbox, 5))?;
    let last = reports(&matchbox, &token, secret)?
        .pop()
        .context("a report")?;
    assert_ne!(last.boot, first[0].boot);
    assert_eq!(matchbox.asked().len(), asked.len());
    let begun = |machine: &Machine<'_>| {
        let property = "ExecMainStartTimestampMonotonic";
        machine.unit("gild-report.service", property)
    };
    let before = begun(&machine)?;
    machine.output("systemctl", &["restart", "k3s-agent.service"])?;
    machine.wait_until("k3s was started again", |machine| {
        Ok(machine
            .output("systemctl", &["list-jobs", "--no-legend"])?
            .is_empty())
    })?;
    assert_eq!(begun(&machine)?, before, "the node was not started again");

    // A real Matchbox takes no reports, so it is asked only once.
    machine.power_off()?;
    drop(matchbox);
    let matchbox = rack.matchbox()?;
    machine.boot()?;
    machine.wait_until("it has noted that nobody takes reports", |machine| {
        Ok(machine.path("run/gild/no-desk").exists())
    })?;
    machine.output("/usr/sbin/gild-seed", &["report"])?;
    assert_eq!(matchbox.posted().len(), 1);
    machine.power_off()
}
