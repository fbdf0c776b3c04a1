//! If units have an ordering cycle, systemd leaves one of them out, not always the same one, and reports that only in a log that nobody
//! reads. So a boot that went well proves nothing. This test lets systemd check the order itself.

use anyhow::{Context, Result};
use gild_tests::nspawn::{End, Image, Machine, Site};

const SEED: &str = "usr/lib/systemd/system/gild-seed.service";
const INIT: &str = "usr/lib/systemd/system/k3s-init.service";

/// What systemd reports about the units that a boot starts.
fn complaints(change: impl FnOnce(&Machine<'_>) -> Result<()>) -> Result<String> {
    let site = Site::new()?;
    let machine = Machine::new(&site, &Image::golden()?, &[])?;
    // cloud-init's generator makes this link when it finds that there is a data source.
    link(&machine, "multi-user.target", "cloud-init.target")?;
    change(&machine)?;
    let output = machine
        .in_its_root("systemd-analyze")
        .args(["verify", "--man=no", "default.target"])
        .output()
        .context("running systemd-analyze in the image")?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn link(machine: &Machine<'_>, wanting: &str, unit: &str) -> Result<()> {
    let directory = machine.path(&format!("etc/systemd/system/{wanting}.wants"));
    std::fs::create_dir_all(&directory)?;
    let target = format!("/usr/lib/systemd/system/{unit}");
    std::os::unix::fs::symlink(target, directory.join(unit))?;
    Ok(())
}

fn edit(machine: &Machine<'_>, unit: &str, from: &str, to: &str) -> Result<()> {
    let text = machine.read(unit)?;
    assert!(text.contains(from), "{unit} has no {from:?}");
    machine.write(unit, &text.replace(from, to))
}

#[test]
fn the_image_s_units_can_be_put_in_order() -> Result<()> {
    assert_eq!(complaints(|_| Ok(()))?, "");
    Ok(())
}

#[test]
fn each_of_the_three_tempting_orders_is_a_cycle() -> Result<()> {
    type Change = fn(&Machine<'_>) -> Result<()>;
    let orders: [(&str, Change); 3] = [
        ("k3s-init wanted by multi-user.target", |machine| {
            link(machine, "multi-user.target", "k3s-init.service")?;
            edit(
                machine,
                INIT,
                "WantedBy=cloud-init.target",
                "WantedBy=multi-user.target",
            )
        }),
        ("the seed with default dependencies", |machine| {
            edit(machine, SEED, "DefaultDependencies=no\n", "")
        }),
        ("the seed after network-online.target", |machine| {
            edit(machine, SEED, "\nAfter=", "\nAfter=network-online.target ")
        }),
    ];
    for (order, change) in orders {
        let found = complaints(change)?;
        assert!(found.contains("ordering cycle"), "{order}: {found:?}");
    }
    Ok(())
}

/// A failing unit may be one that the proof needs. So no failure may stop the deadline's clock.
#[test]
fn the_deadline_of_a_trial_counts_in_emergency_mode_too() -> Result<()> {
    let site = Site::new()?;
    let mut machine = Machine::new(&site, &Image::golden()?, &[])?;
    machine.write(
        "etc/systemd/system/srv.mount",
        "[Unit]\nBefore=local-fs.target\n[Mount]\nWhat=none\nWhere=/srv\nType=tmpfs\nOptions=no-such-option=1\n",
    )?;
    let wanted = machine.path("etc/systemd/system/local-fs.target.requires");
    std::fs::create_dir_all(&wanted)?;
    std::os::unix::fs::symlink("/etc/systemd/system/srv.mount", wanted.join("srv.mount"))?;
    let emergency = |machine: &Machine<'_>| {
        let state = machine.run("systemctl", &["is-system-running"])?;
        Ok(state.stdout.starts_with(b"maintenance"))
    };
    let timer = "gild-trial-deadline.timer";

    // In this test the root is not on an NVMe disk. So the image is not on trial, and nothing restarts the machine.
    machine.start()?;
    machine.wait_until("it is in emergency mode", emergency)?;
    assert_eq!(machine.unit(timer, "ActiveState")?, "inactive");
    machine.output("systemctl", &["start", "gild-trial-deadline.service"])?;
    machine.cut_power()?;

    // The test sets what the record would say, and shortens the time.
    machine.write(
        "etc/systemd/system/gild-on-trial.service.d/test.conf",
        "[Service]\nExecStart=/usr/bin/mkdir -p /run/gild\nExecStart=/usr/bin/touch /run/gild/on-trial\n",
    )?;
    machine.write(
        "etc/systemd/system/gild-trial-deadline.timer.d/test.conf",
        "[Timer]\nOnBootSec=\nOnBootSec=20s\n",
    )?;
    machine.start()?;
    machine.wait_until("it is in emergency mode", emergency)?;
    assert_eq!(
        machine.unit("gild-prove.service", "ActiveState")?,
        "inactive"
    );
    assert_eq!(machine.unit(timer, "SubState")?, "waiting");
    assert_eq!(machine.wait_for_end()?, End::Reboot);
    Ok(())
}
