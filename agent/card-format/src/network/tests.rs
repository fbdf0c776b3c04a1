//! Facts about the networks that a card names.

use gild_boards::mac::Mac;

use crate::config::testing::{complaint, minimal, of, parse};

const TWO_BOARDS: &str = r#"
    [network]
    address = "10.0.0.9/8"
    ntp = ["10.0.0.1"]
    [network."2c:cf:67:00:00:01"]
    address = "10.0.0.2/16"
    [network.2C-CF-67-00-00-02]
    vlan = 7
"#;

#[test]
fn a_board_s_section_replaces_the_general_one_as_a_whole() {
    let config = parse(&(minimal() + TWO_BOARDS), "").expect("sections of two boards");
    let others = of(&config, &["02:00:00:00:00:01"]);
    assert_eq!(
        (others.address.map(|it| it.prefix), others.ntp.len()),
        (Some(8), 1)
    );
    let first = of(&config, &["02:00:00:00:00:01", "2c:cf:67:00:00:01"]);
    assert_eq!(
        (first.address.map(|it| it.prefix), first.ntp.len()),
        (Some(16), 0)
    );
    let second = of(&config, &["2c:cf:67:00:00:02"]);
    assert_eq!((second.address, second.vlan), (None, Some(7)));
}

#[test]
fn a_board_with_two_sections_that_differ_has_none() {
    let config = parse(&(minimal() + TWO_BOARDS), "").expect("sections of two boards");
    let macs = ["2c:cf:67:00:00:01", "2c:cf:67:00:00:02"].map(|mac| Mac::parse(mac).expect("one"));
    let error = config.networks.of_board(&macs).expect_err("two");
    let said = error.to_string();
    for mac in macs {
        assert!(said.contains(&format!("[network.\"{mac}\"]")), "{said}");
    }
    let same = TWO_BOARDS.replace("vlan = 7", "address = \"10.0.0.2/16\"");
    let config = parse(&(minimal() + &same), "").expect("the same for both");
    assert!(config.networks.of_board(&macs).is_ok());
}

#[test]
fn a_kernel_argument_overrides_a_board_s_section_too() {
    let config = parse(
        &(minimal() + TWO_BOARDS),
        "gild.network.address=10.9.9.9/30 gild.network.vlan=5",
    )
    .expect("both");
    for macs in [&[][..], &["2c:cf:67:00:00:01"]] {
        let settings = of(&config, macs);
        assert_eq!(
            (settings.address.map(|it| it.prefix), settings.vlan),
            (Some(30), Some(5))
        );
    }
}

#[test]
fn a_section_of_a_board_is_checked_like_the_general_one() {
    for (section, part) in [
        (
            "[network.eth0]\nvlan = 1",
            "`eth0` is not a MAC address; next: ",
        ),
        ("[network.dns]", "`dns` is not a MAC address"),
        ("[network.\"2c:cf:67:00:00\"]", "is not a MAC address"),
        (
            "[network.\"2c:cf:67:00:00:01\"]\nadress = \"10.0.0.2/8\"",
            "unknown key `network.\"2c:cf:67:00:00:01\".adress`: did you mean `network.address`?",
        ),
        ("[network.\"2c:cf:67:00:00:01\".more]\nx = 1", "unknown key"),
        (
            "[network.\"2c:cf:67:00:00:01\"]\nvlan = 4095",
            "[network.\"2c:cf:67:00:00:01\"]: `network.vlan` is `4095`: it should be a number from 1 to 4094",
        ),
        (
            "[network.\"2c:cf:67:00:00:01\"]\nvlan = \"x\"",
            "[network.\"2c:cf:67:00:00:01\"]: ",
        ),
        (
            "[network.\"2c:cf:67:00:00:01\"]\nvlan = 1\n[network.2CCF67000001]\nvlan = 2",
            "[network.\"2c:cf:67:00:00:01\"] is there twice",
        ),
    ] {
        let said = complaint(&(minimal() + section), "");
        assert!(said.contains(part), "{section}: {said}");
    }
}

#[test]
fn a_wrong_value_is_named_with_what_it_should_be() {
    for (line, part) in [
        ("[network]\naddress = \"10.0.0.1\"", "and a prefix"),
        ("[network]\naddress = \"10.0.0.1/33\"", "1 to 32"),
        ("[network]\naddress = \"10.0.0/8\"", "not an IPv4 address"),
        ("[network]\ngateway = \"10.0.0.1\"", "has no `address`"),
        ("[network]\naddress = \"0.0.0.0/8\"", "no machine"),
        (
            "[network]\naddress = \"fd00::2/64\"",
            "`network.address` is `fd00::2`: this is an IPv6 address",
        ),
        (
            "[network]\nntp = [\"0.0.0.0\"]",
            "`network.ntp` is `0.0.0.0`",
        ),
        (
            "[network]\nntp = [\"pool.example\"]",
            "`network.ntp` is `pool.example`",
        ),
        (
            "[network]\nntp = [\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"]",
            "at most 8 servers",
        ),
        (
            "[network]\nvlan = 0",
            "`network.vlan` is `0`: it should be a number from 1 to 4094",
        ),
        ("[network]\nvlan = 4095", "from 1 to 4094"),
        ("[network]\nvlan = -1", "from 1 to 4094"),
        ("[network]\nvlan = \"7\"", "gild.toml on the card"),
        (
            "[network]\naddress = \"10.0.0.2/8\"\ndns = [\"a\"]",
            "`network.dns` is `a`",
        ),
    ] {
        let said = complaint(&(minimal() + line), "");
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn what_no_machine_can_have_is_refused() {
    for (address, gateway, part) in [
        ("127.0.0.5/8", None, "to itself"),
        ("224.0.0.5/24", None, "stands for many"),
        ("255.255.255.255/32", None, "stands for many"),
        ("192.168.1.0/24", None, "the network itself"),
        ("192.168.1.255/24", None, "the broadcast address"),
        ("10.0.0.3/30", None, "the broadcast address"),
        ("192.168.1.5/24", Some("192.168.1.5"), "the node's own"),
        (
            "192.168.1.5/24",
            Some("192.168.1.255"),
            "the broadcast address",
        ),
        ("192.168.1.5/24", Some("192.168.1.0"), "the network itself"),
        ("192.168.1.5/24", Some("127.0.0.1"), "to itself"),
        ("192.168.1.5/24", Some("224.0.0.1"), "stands for many"),
        ("192.168.1.5/24", Some("fe80::1"), "an IPv6 address"),
    ] {
        let gateway = gateway.map(|gateway| format!("gateway = \"{gateway}\"\n"));
        let section = format!(
            "[network]\naddress = \"{address}\"\n{}",
            gateway.unwrap_or_default()
        );
        let said = complaint(&(minimal() + &section), "");
        assert!(said.contains(part), "{section}: {said}");
    }
}

#[test]
fn what_works_at_some_site_is_taken() {
    for (address, gateway) in [
        ("192.168.1.0/23", "192.168.0.255"),
        ("192.168.1.5/16", "192.168.1.255"),
        ("10.0.0.0/31", "10.0.0.1"),
        ("10.0.0.3/31", "10.0.0.2"),
        ("10.0.0.4/32", "10.9.9.9"),
        ("192.168.1.5/24", "192.168.2.1"),
        ("169.254.3.4/16", "169.254.0.1"),
    ] {
        let section = format!("[network]\naddress = \"{address}\"\ngateway = \"{gateway}\"");
        if let Err(error) = parse(&(minimal() + &section), "") {
            panic!("{section}: {error}");
        }
    }
}
