//! Facts about the servers that a card names.

use crate::config::testing::{KEY, complaint, minimal, parse};

#[test]
fn one_server_or_several_are_named_and_the_first_is_the_first() {
    let servers = |text: &str, argument: &str| {
        let file = format!("server = {text}\npublic_key = \"{KEY}\"");
        parse(&file, argument).map(|config| {
            let servers = config.servers.iter();
            servers.map(ToString::to_string).collect::<Vec<_>>()
        })
    };
    let (nas, web) = ("nfs://nas/gild", "https://images.example/gild");
    let listed = format!("[\"{web}\", \"{nas}\"]");
    assert_eq!(
        servers(&listed, "").as_deref(),
        Ok(&[web.to_owned(), nas.to_owned()][..])
    );
    let argument = format!("gild.server={nas},{web}");
    assert_eq!(
        servers("\"nfs://a/b\"", &argument),
        Ok(vec![nas.to_owned(), web.to_owned()])
    );
    for (text, part) in [
        ("[]", "one server, or up to 8"),
        (
            &format!("[\"{nas}\", \"{nas}\"]"),
            "names nfs://nas/gild twice",
        ),
        (
            "[\"nfs://[fd00::1]/b\", \"nfs://a/b\"]",
            "an IPv6 address stands beside others",
        ),
        ("[1]", "an address, or a list of addresses"),
        ("1", "an address, or a list of addresses"),
        (&format!("[\"{nas}\", \"x\"]"), "`server` cannot be used: "),
    ] {
        let said = servers(text, "").expect_err(text).to_string();
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn a_header_goes_to_servers_that_prove_who_they_are_and_is_never_shown() {
    let file = |server: &str, header: &str| {
        format!("server = {server}\npublic_key = \"{KEY}\"\n[http]\nheader = \"{header}\"")
    };
    let web = "\"https://images.example/gild\"";
    let config = parse(&file(web, "Authorization: Bearer t0ken"), "").expect("a header");
    let header = config.header.as_ref().expect("a header");
    assert_eq!(
        (&*header.name, &*header.value),
        ("Authorization", "Bearer t0ken")
    );
    assert!(!format!("{config:?}").contains("t0ken"));
    assert!(config.may_use_tls());
    for (server, header, part) in [
        ("\"http://a/b\"", "X: t0ken", "in clear text"),
        (
            "[\"https://a/b\", \"http://a/b\"]",
            "X: t0ken",
            "in clear text",
        ),
        (
            "\"nfs://a/b\"",
            "X: t0ken",
            "no `server` is reached over HTTP",
        ),
        (web, "t0ken", "a line like"),
        (web, ": t0ken", "a line like"),
        (web, "X: ", "a line like"),
        (web, "Range: bytes=0-t0ken", "gild sets itself"),
        (web, "X Y: t0ken", "a line like"),
        (web, "X: t0ken\\nY: z", "a line like"),
    ] {
        let said = complaint(&file(server, header), "");
        assert!(
            said.contains(part) && !said.contains("t0ken"),
            "{header}: {said}"
        );
    }
    let said = complaint(&minimal(), "gild.server=https://a/b?sig=t0ken");
    assert!(
        said.contains("the kernel prints") && !said.contains("t0ken"),
        "{said}"
    );
    let said = complaint(&minimal(), "gild.http.header=X:t0ken");
    assert!(
        said.contains("the kernel prints its arguments") && !said.contains("t0ken"),
        "{said}"
    );
}

#[test]
fn an_authority_is_text_with_a_certificate_in_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let config = parse(&format!("{}ca = \"\"\"\n{pem}\"\"\"", minimal()), "");
    assert_eq!(
        config.expect("a certificate").authorities.as_deref(),
        Some(pem)
    );
    let said = complaint(&format!("{}ca = \"site-ca.pem\"", minimal()), "");
    assert!(said.contains("in PEM form, in triple quotes"), "{said}");
}

#[test]
fn an_address_of_another_kind_is_refused_with_what_to_write() {
    assert!(complaint(&minimal(), "gild.server=ftp://a/b").contains("`server` cannot be used: "));
    let said = complaint(&minimal(), "gild.server=192.168.1.10:/srv/x");
    assert!(
        said.ends_with("; next: write nfs://192.168.1.10/srv/x"),
        "{said}"
    );
}
