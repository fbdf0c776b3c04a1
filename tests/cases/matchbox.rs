//! The stand-in for Matchbox answers like the real one. The values here were given by Matchbox' own Go code or are in its source.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result};
use gild_tests::matchbox::{Behaviour, Matchbox};
use gild_tests::workspace;
use serde_json::{Value, json};
use tempfile::TempDir;

const MAC: &str = "d8:3a:dd:01:02:03";

fn groups(groups: &[(&str, Value)]) -> Result<(TempDir, Matchbox)> {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("groups"))?;
    for (name, group) in groups {
        let path = directory.path().join(format!("groups/{name}.json"));
        std::fs::write(path, group.to_string())?;
    }
    let matchbox = Matchbox::start(directory.path())?;
    Ok((directory, matchbox))
}

/// The whole answer to a GET, as it comes over the wire.
fn get(matchbox: &Matchbox, target: &str) -> Result<String> {
    let url = matchbox.url();
    let address = url.strip_prefix("http://").context("an http address")?;
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: matchbox\r\n\r\n")?;
    let mut answer = Vec::new();
    // A stand-in that misbehaves may reset the connection.
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8(answer)?)
}

fn metadata(matchbox: &Matchbox, query: &str) -> Result<String> {
    let answer = get(matchbox, &format!("/metadata?{query}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a header")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    anyhow::ensure!(head.contains("Content-Type: plain/text\r\n"), "{head}");
    Ok(body.to_owned())
}

fn lines(body: &str) -> BTreeSet<&str> {
    body.lines().collect()
}

fn node() -> Value {
    json!({"profile": "rpi5", "selector": {"mac": "D8-3A-DD-01-02-03"}, "metadata": {
        "hostname": "node-1", "k3s_url": "https://10.0.0.1:6443", "k3s": {"node_labels": {"a": "x=y"}},
        "port": 6443, "million": 1_000_000, "odd": 1_234_567, "small": 0.000_01, "half": 0.5, "yes": true,
        "list": ["dropped"], "nothing": null, "empty": {}, "quoted": "a \"b\" #c: 'd' = é",
        "request": "overwritten"
    }})
}

#[test]
fn a_group_s_metadata_comes_as_plain_lines() -> Result<()> {
    let (_directory, matchbox) = groups(&[("node", node())])?;
    let body = metadata(&matchbox, &format!("mac={MAC}"))?;
    let expected = [
        "HALF=0.5",
        "HOSTNAME=node-1",
        "K3S_NODE_LABELS_A=x=y",
        "K3S_URL=https://10.0.0.1:6443",
        "MAC=d8:3a:dd:01:02:03",
        "MILLION=1e+06",
        "ODD=1.234567e+06",
        "PORT=6443",
        "QUOTED=a \"b\" #c: 'd' = é",
        "REQUEST_QUERY_MAC=d8:3a:dd:01:02:03",
        "REQUEST_RAW_QUERY=mac=d8:3a:dd:01:02:03",
        "SMALL=1e-05",
        "YES=true",
    ];
    assert_eq!(lines(&body), BTreeSet::from(expected));
    assert!(!body.contains('\r') && body.ends_with('\n'));
    Ok(())
}

#[test]
fn the_lines_come_in_no_order() -> Result<()> {
    let (_directory, matchbox) = groups(&[("node", node())])?;
    let bodies: BTreeSet<_> = (0..8)
        .map(|_| metadata(&matchbox, &format!("mac={MAC}")))
        .collect::<Result<_>>()?;
    assert!(bodies.len() > 1);
    Ok(())
}

#[test]
fn a_line_break_in_a_value_makes_a_line_of_its_own() -> Result<()> {
    let group = json!({"metadata": {"k3s_token": "a\nHOSTNAME=evil"}});
    let (_directory, matchbox) = groups(&[("node", group)])?;
    let body = metadata(&matchbox, "")?;
    assert!(lines(&body).is_superset(&BTreeSet::from(["K3S_TOKEN=a", "HOSTNAME=evil"])));
    Ok(())
}

#[test]
fn a_mac_address_is_known_in_every_form_that_go_reads() -> Result<()> {
    let (_directory, matchbox) = groups(&[("node", node())])?;
    for mac in [
        MAC,
        "D8-3A-DD-01-02-03",
        "d83a.dd01.0203",
        "d8%3A3a:dd:01:02:03",
    ] {
        let body = metadata(&matchbox, &format!("mac={mac}"))?;
        assert!(lines(&body).contains("HOSTNAME=node-1"), "{mac}: {body}");
    }
    for mac in [
        "d83add010203",
        "d8:3a:dd:1:2:3",
        "d8:3a:dd:01:02:03+",
        "d8:3a:dd:xx:xx:xx",
        "",
    ] {
        let answer = get(&matchbox, &format!("/metadata?mac={mac}"))?;
        assert!(answer.starts_with("HTTP/1.1 404"), "{mac}: {answer}");
    }
    Ok(())
}

#[test]
fn a_malformed_mac_address_gets_the_default_group() -> Result<()> {
    let default = json!({"metadata": {"hostname": "anyone"}});
    let (_directory, matchbox) = groups(&[("default", default), ("node", node())])?;
    let body = metadata(&matchbox, "mac=d83add010203")?;
    assert_eq!(
        lines(&body),
        BTreeSet::from(["HOSTNAME=anyone", "REQUEST_RAW_QUERY=mac=d83add010203"]),
        "neither MAC nor its echo"
    );
    let body = metadata(&matchbox, "mac=d8:3a:dd:ff:ff:ff")?;
    assert!(lines(&body).contains("REQUEST_QUERY_MAC=d8:3a:dd:ff:ff:ff"));
    assert!(!lines(&body).iter().any(|line| line.starts_with("MAC=")));
    Ok(())
}

#[test]
fn most_selectors_win_then_the_last_in_order() -> Result<()> {
    let group =
        |selector: Value, name: &str| json!({"selector": selector, "metadata": {"hostname": name}});
    let (directory, matchbox) = groups(&[
        ("0", group(json!({"mac": MAC}), "one")),
        ("1", group(json!({"region": "b"}), "region")),
        ("2", group(json!({"mac": MAC, "region": "b"}), "two")),
        ("3", group(json!({}), "default")),
    ])?;
    for (query, name) in [
        (format!("mac={MAC}&region=b"), "two"),
        (format!("mac={MAC}"), "one"),
        (format!("mac={MAC}&mac=d8:3a:dd:ff:ff:ff"), "one"),
        ("region=b".into(), "region"),
        ("Region=b".into(), "default"),
        (format!("MAC={MAC}"), "default"),
    ] {
        let body = metadata(&matchbox, &query)?;
        let line = format!("HOSTNAME={name}");
        assert!(lines(&body).contains(line.as_str()), "{query}: {body}");
    }
    // Of two groups with one selector each, the last one in the order of their text wins: `region=` comes after `mac=`.
    std::fs::remove_file(directory.path().join("groups/2.json"))?;
    let body = metadata(&matchbox, &format!("mac={MAC}&region=b"))?;
    assert!(lines(&body).contains("HOSTNAME=region"), "{body}");
    Ok(())
}

#[test]
fn a_group_that_cannot_be_read_is_not_there() -> Result<()> {
    let bad_mac = json!({"selector": {"mac": "d8:3a:dd:xx:xx:xx"}, "metadata": {}});
    let number = json!({"selector": {"rack": 3}});
    let (directory, matchbox) = groups(&[("a", bad_mac), ("b", number)])?;
    std::fs::write(directory.path().join("groups/c.json"), "{")?;
    for target in [
        "/metadata",
        "/metadata?mac=d8:3a:dd:xx:xx:xx",
        "/metadata?rack=3",
    ] {
        let answer = get(&matchbox, target)?;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        assert!(answer.ends_with("404 page not found\n"), "{answer}");
    }
    Ok(())
}

#[test]
fn groups_are_read_anew_for_each_request() -> Result<()> {
    let (directory, matchbox) = groups(&[])?;
    assert!(get(&matchbox, "/metadata")?.starts_with("HTTP/1.1 404"));
    std::fs::write(directory.path().join("groups/new.json"), "{}")?;
    assert!(get(&matchbox, "/metadata")?.starts_with("HTTP/1.1 200"));
    assert_eq!(matchbox.requests(), ["/metadata", "/metadata"]);
    Ok(())
}

#[test]
fn a_long_answer_comes_in_chunks() -> Result<()> {
    let group = json!({"metadata": {"long": "x".repeat(3000)}});
    let (_directory, matchbox) = groups(&[("node", group)])?;
    let answer = get(&matchbox, "/metadata")?;
    assert!(
        answer.contains("Transfer-Encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("Content-Length"), "{answer}");
    Ok(())
}

#[test]
fn it_misbehaves_on_request() -> Result<()> {
    let (_directory, matchbox) = groups(&[("node", node())])?;
    let target = format!("/metadata?mac={MAC}");
    matchbox.behave(Behaviour::Status(500));
    assert!(get(&matchbox, &target)?.starts_with("HTTP/1.1 500"));
    matchbox.behave(Behaviour::Redirect("http://elsewhere/".into()));
    assert!(get(&matchbox, &target)?.contains("Location: http://elsewhere/\r\n"));
    matchbox.behave(Behaviour::WrongEcho("d8:3a:dd:ff:ff:ff".into()));
    let body = metadata(&matchbox, &format!("mac={MAC}"))?;
    assert!(lines(&body).contains("REQUEST_QUERY_MAC=d8:3a:dd:ff:ff:ff"));
    matchbox.behave(Behaviour::Truncated);
    let answer = get(&matchbox, &target)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a header")?;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .context("a length")?
        .parse()?;
    assert!(body.len() < length);
    Ok(())
}

#[test]
fn the_examples_are_groups_that_matchbox_reads() -> Result<()> {
    let examples = workspace::root().join("docs/examples/matchbox");
    let matchbox = Matchbox::start(&examples)?;
    let mut dedicated = 0;
    for entry in std::fs::read_dir(examples.join("groups"))? {
        let path = entry?.path();
        let group: Value = serde_json::from_slice(&std::fs::read(&path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        let profile = group["profile"].as_str().context("a profile")?;
        assert_exists(&examples.join(format!("profiles/{profile}.json")));
        let Some(mac) = group["selector"]["mac"].as_str() else {
            continue;
        };
        let body = metadata(&matchbox, &format!("mac={mac}"))?;
        let hostname = group["metadata"]["hostname"].as_str().context("a name")?;
        let expected = [format!("MAC={mac}"), format!("HOSTNAME={hostname}")];
        for line in &expected {
            assert!(
                lines(&body).contains(line.as_str()),
                "{}: {body}",
                path.display()
            );
        }
        for key in ["K3S_URL=https://", "K3S_TOKEN="] {
            assert!(body.contains(key), "{}: no {key}", path.display());
        }
        dedicated += 1;
    }
    assert!(dedicated >= 2, "an example for each board");
    Ok(())
}

fn assert_exists(path: &Path) {
    assert!(path.exists(), "{} is missing", path.display());
}
