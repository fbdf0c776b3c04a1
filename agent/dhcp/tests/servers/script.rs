//! A scripted server.

mod server;

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use gild_dhcp::{Event, Loss, News, Route};
use server::{Answer, Request, Way, serve};

use crate::lan::{BOARD, Lan, MAC, SERVER};

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// Offer and ACK, with these options in both.
fn usual(request: &Request, options: &[(u8, &[u8])]) -> Answer {
    let kind = if request.kind == DISCOVER { OFFER } else { ACK };
    Answer::new(request, kind, Some(SERVER))
        .giving(ADDRESS)
        .with(options)
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn the_slower_of_two_servers_is_taken_when_the_faster_one_refuses() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        if request.kind == DISCOVER {
            let offer = |server| Answer::new(request, OFFER, Some(server)).giving(ADDRESS);
            let slow = offer(OTHER).after(Duration::from_millis(700));
            return vec![offer(SERVER), slow];
        }
        let server = request.server.expect("the request names a server");
        let answer = if server == OTHER {
            Answer::new(request, ACK, Some(OTHER)).giving(ADDRESS)
        } else {
            Answer::new(request, NAK, Some(SERVER))
        };
        vec![answer]
    });
    let client = lan.client();
    assert_eq!(client.event(), Event::Refused(SERVER));
    match client.event() {
        Event::Bound(lease) => assert_eq!(lease.server, OTHER),
        other => panic!("the other server's lease, not {other:?}"),
    }
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_server_that_always_refuses_is_named_and_asked_again() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| match request.kind {
        DISCOVER => vec![Answer::new(request, OFFER, Some(SERVER)).giving(ADDRESS)],
        _ => vec![Answer::new(request, NAK, Some(SERVER))],
    });
    let client = lan.client();
    for _ in 0..3 {
        assert_eq!(client.event(), Event::Refused(SERVER));
    }
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_refusal_without_a_name_through_a_relay_is_the_server_s_that_was_asked() {
    let lan = Lan::new();
    // All packets come from the address of the relay. The server is somewhere else.
    let _script = serve(&lan, |request| {
        if request.kind == DISCOVER {
            return vec![Answer::new(request, OFFER, Some(OTHER)).giving(ADDRESS)];
        }
        let mut nak = Answer::new(request, NAK, None);
        nak.put(24, &[192, 0, 2, 254]);
        vec![nak]
    });
    assert_eq!(lan.client().event(), Event::Refused(OTHER));
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn an_answer_with_next_to_nothing_in_it_gives_an_address() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        let kind = if request.kind == DISCOVER { OFFER } else { ACK };
        vec![Answer::new(request, kind, None).giving(ADDRESS)]
    });
    let lease = lan.client().lease();
    assert_eq!(lease.server, SERVER, "the sender of the packet");
    assert_eq!(lease.configuration.address, ADDRESS);
    assert_eq!(lease.configuration.prefix, 24, "by the class");
    let times = lease.times.expect("it has an end");
    let seconds = [times.renew, times.rebind, times.end].map(|time| time.as_secs());
    assert_eq!(seconds, [1800, 3150, 3600]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn what_the_ack_lacks_is_taken_from_the_offer() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        vec![if request.kind == DISCOVER {
            usual(request, &[(1, &[255, 255, 252, 0]), (6, &[192, 0, 2, 3])])
        } else {
            Answer::new(request, ACK, Some(SERVER))
        }]
    });
    let given = lan.client().lease().configuration;
    assert_eq!(given.address, ADDRESS, "the ACK has none");
    assert_eq!(given.prefix, 22);
    assert_eq!(given.dns, [Ipv4Addr::new(192, 0, 2, 3)]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn timers_in_the_wrong_order_are_the_standard_s() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        // T1 is later than T2, and T2 later than the end.
        let options: [(u8, &[u8]); 3] = [
            (51, &[0, 0, 0, 80]),
            (58, &[0, 0, 0, 200]),
            (59, &[0, 0, 0, 90]),
        ];
        vec![usual(request, &options)]
    });
    let times = lan.client().lease().times.expect("it has an end");
    let seconds = [times.renew, times.rebind, times.end].map(|time| time.as_secs());
    assert_eq!(seconds, [40, 70, 80]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn options_lie_in_the_fields_of_the_names_and_odd_ones_do_no_harm() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        // A router of three bytes, a relay's option, a vendor's option, an option that is cut off at the end.
        let options: [(u8, &[u8]); 4] = [
            (52, &[3]),
            (3, &[192, 0, 2]),
            (82, &[1, 4, 0, 0, 0, 0]),
            (224, &[1; 50]),
        ];
        let mut answer = usual(request, &options);
        answer.put(108, &[6, 4, 192, 0, 2, 3, 255]);
        answer.put(44, &[15, 3, b'l', b'a', b'n']);
        answer.cut_end();
        vec![answer]
    });
    let given = lan.client().lease().configuration;
    assert_eq!(given.dns, [Ipv4Addr::new(192, 0, 2, 3)]);
    assert_eq!(given.search, ["lan"]);
    assert_eq!(given.routes, [] as [Route; 0]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn answers_to_the_address_that_is_not_there_yet_are_heard() {
    let lan = Lan::new();
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    lan.server.ip(&format!(
        "neighbor add {ADDRESS} lladdr {mac} dev server nud permanent"
    ));
    let _script = serve(&lan, |request| {
        vec![usual(request, &[]).by(Way::To(ADDRESS))]
    });
    assert_eq!(lan.client().lease().configuration.address, ADDRESS);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_server_that_answers_only_who_asks_for_a_broadcast_is_heard() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        if request.kind == DISCOVER && !request.wants_broadcast {
            return Vec::new();
        }
        vec![usual(request, &[])]
    });
    assert_eq!(lan.client().lease().configuration.address, ADDRESS);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_client_without_a_socket_says_so_once_and_asks_when_it_has_one() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| vec![usual(request, &[])]);
    lan.board.ip(&format!("link set {BOARD} down name away"));
    let client = lan.client();
    let News::Mute(error) = client.news() else {
        panic!("it cannot ask");
    };
    assert!(error.to_string().contains("next: "), "{error}");
    // Several requests are due in this time.
    thread::sleep(Duration::from_secs(9));
    lan.board.ip(&format!("link set away name {BOARD} up"));
    assert!(matches!(client.news(), News::Asks), "it was said once");
    assert_eq!(client.lease().configuration.address, ADDRESS);
}

/// Soon renewed, soon asked of all, and over long after that, so that a slow machine keeps it.
const SHORT: [(u8, &[u8]); 4] = [
    (51, &[0, 0, 0, 90]),
    (58, &[0, 0, 0, 2]),
    (59, &[0, 0, 0, 4]),
    (1, &[255, 255, 255, 0]),
];

#[test]
#[ignore = "needs root; `make test` runs it"]
fn when_its_server_is_silent_another_one_extends_the_lease() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        if request.extends.is_none() {
            return vec![usual(request, &SHORT)];
        }
        // A renewal goes to the server's own address.
        if request.was_for_all {
            let ack = Answer::new(request, ACK, Some(OTHER)).giving(ADDRESS);
            vec![ack.with(&SHORT)]
        } else {
            Vec::new()
        }
    });
    let client = lan.client();
    assert_eq!(client.lease().server, SERVER);
    assert_eq!(client.renewal().server, OTHER);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn another_address_in_a_renewal_is_a_loss() {
    let lan = Lan::new();
    let _script = serve(&lan, |request| {
        let address = match request.extends {
            Some(_) => Ipv4Addr::new(192, 0, 2, 99),
            None => ADDRESS,
        };
        vec![usual(request, &SHORT).giving(address)]
    });
    let client = lan.client();
    client.lease();
    assert_eq!(client.event(), Event::Lost(Loss::Moved(SERVER)));
}
