//! Tests of the state machine, with a server that says exactly what a test wants.

use super::*;
use crate::lease::Times;
use crate::message::code;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;
const LEASE: (u8, &[u8]) = (code::LEASE_TIME, &[0, 0, 3, 32]);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An answer to a request, with the server's name among the options unless it is 0.0.0.0.
fn answer(request: &[u8], kind: u8, server: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = request[..240].to_vec();
    bytes[0] = 2;
    if kind != NAK {
        bytes[16..20].copy_from_slice(&ADDRESS.octets());
    }
    let mut option = |code: u8, value: &[u8]| {
        bytes.extend([code, u8::try_from(value.len()).expect("short")]);
        bytes.extend(value);
    };
    option(code::KIND, &[kind]);
    if !server.is_unspecified() {
        option(code::SERVER, &server.octets());
    }
    for (code, value) in options {
        option(*code, value);
    }
    bytes.push(255);
    bytes
}

fn sent(actions: &[Action]) -> (To, Vec<u8>) {
    match actions {
        [Action::Send(to, bytes)] => (*to, bytes.clone()),
        other => panic!("one request is due, not {other:?}"),
    }
}

/// What a request asks: its kind, and the server that it names.
fn asked(request: &[u8]) -> (u8, Option<Ipv4Addr>) {
    let options = crate::options::Options::parse(&request[240..], &[], &[]);
    let server = options.machines(code::SERVER).first().copied();
    (options.byte(code::KIND).expect("a kind"), server)
}

fn client() -> (Client, Vec<u8>) {
    let mut client = Client::new(MAC, 7, Duration::ZERO);
    let (to, discover) = sent(&client.act(Duration::ZERO));
    assert_eq!((to, asked(&discover).0), (To::AllWithoutAddress, 1));
    (client, discover)
}

fn bound(options: &[(u8, &[u8])]) -> (Client, Lease) {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, options);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    let ack = answer(&request, ACK, SERVER, options);
    match &client.receive(seconds(1), &ack, SERVER)[..] {
        [Action::Report(Event::Bound(lease))] => {
            let lease = lease.clone();
            (client, lease)
        }
        other => panic!("a lease, not {other:?}"),
    }
}

#[test]
fn the_first_offer_is_taken_and_acknowledged() {
    let (client, lease) = bound(&[LEASE]);
    assert_eq!(lease.server, SERVER);
    assert_eq!(lease.configuration.address, ADDRESS);
    let times = Times {
        renew: seconds(400),
        rebind: seconds(700),
        end: seconds(800),
    };
    assert_eq!(lease.times, Some(times));
    assert_eq!(client.next(), Some(seconds(401)));
}

#[test]
fn a_server_that_does_not_name_itself_is_the_sender_of_the_packet() {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, Ipv4Addr::UNSPECIFIED, &[]);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    assert_eq!(asked(&request), (3, Some(SERVER)));
}

#[test]
fn answers_to_others_and_to_earlier_requests_are_ignored() {
    let (mut client, discover) = client();
    let good = answer(&discover, OFFER, SERVER, &[]);
    for (at, byte) in [(0, 1), (4, !good[4]), (28, 3), (33, 9), (236, 0), (242, 9)] {
        let mut other = good.clone();
        other[at] = byte;
        assert_eq!(client.receive(seconds(1), &other, SERVER), [], "{at}");
    }
    let mut nobody = good.clone();
    nobody[16..20].fill(0);
    assert_eq!(client.receive(seconds(1), &nobody, SERVER), []);
    let ack = answer(&discover, ACK, SERVER, &[]);
    assert_eq!(
        client.receive(seconds(1), &ack, SERVER),
        [],
        "nothing was taken"
    );
    assert_eq!(
        asked(&sent(&client.receive(seconds(1), &good, SERVER)).1).0,
        3
    );
}

#[test]
fn after_a_nak_another_server_is_preferred_even_if_it_is_slower() {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, &[]);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    // A server that was not asked has no say.
    let stray = answer(&request, NAK, OTHER, &[]);
    assert_eq!(client.receive(seconds(1), &stray, OTHER), []);
    let nak = answer(&request, NAK, SERVER, &[]);
    assert_eq!(
        client.receive(seconds(2), &nak, SERVER),
        [Action::Report(Event::Refused(SERVER))]
    );
    let (_, discover) = sent(&client.act(seconds(2)));
    assert_eq!(asked(&discover).0, 1);
    let fast = answer(&discover, OFFER, SERVER, &[]);
    assert_eq!(client.receive(seconds(2), &fast, SERVER), []);
    let slow = answer(&discover, OFFER, OTHER, &[]);
    let (_, request) = sent(&client.receive(seconds(4), &slow, OTHER));
    assert_eq!(asked(&request), (3, Some(OTHER)));
}

#[test]
fn a_server_that_refused_is_asked_again_if_there_is_no_other() {
    let (mut client, discover) = client();
    let mut now = seconds(1);
    let offer = answer(&discover, OFFER, SERVER, &[]);
    let (_, mut request) = sent(&client.receive(now, &offer, SERVER));
    for _ in 0..100 {
        let nak = answer(&request, NAK, SERVER, &[]);
        client.receive(now, &nak, SERVER);
        let (_, discover) = sent(&client.act(now));
        let offer = answer(&discover, OFFER, SERVER, &[]);
        assert_eq!(client.receive(now, &offer, SERVER), []);
        let waits = now;
        loop {
            now = client.next().expect("something is due");
            let (_, bytes) = sent(&client.act(now));
            if asked(&bytes).0 == 3 {
                request = bytes;
                break;
            }
        }
        assert_eq!(now, waits + seconds(3), "requests must not come as a storm");
    }
}

#[test]
fn an_offer_that_its_server_does_not_confirm_is_given_up() {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, &[]);
    client.receive(seconds(1), &offer, SERVER);
    for _ in 1..ATTEMPTS {
        let next = client.next().expect("something is due");
        assert_eq!(asked(&sent(&client.act(next)).1), (3, Some(SERVER)));
    }
    let next = client.next().expect("something is due");
    let (_, discover) = sent(&client.act(next));
    assert_eq!(asked(&discover).0, 1);
    let offer = answer(&discover, OFFER, SERVER, &[]);
    assert_eq!(
        client.receive(next, &offer, SERVER),
        [],
        "others come first"
    );
}

#[test]
fn each_second_request_wants_a_broadcast() {
    let (mut client, first) = client();
    let next = client.next().expect("something is due");
    let (_, second) = sent(&client.act(next));
    assert_eq!((first[10], second[10]), (0, 0x80));
    assert_eq!(
        first[4..8],
        second[4..8],
        "a late answer to the first counts"
    );
}

#[test]
fn a_lease_is_renewed_by_its_server_and_then_by_anybody() {
    let (mut client, _) = bound(&[LEASE]);
    assert_eq!(client.act(seconds(400)), []);
    let (to, request) = sent(&client.act(seconds(401)));
    assert_eq!((to, asked(&request)), (To::Server(SERVER), (3, None)));
    assert_eq!(request[12..16], ADDRESS.octets());
    let rebinding = loop {
        let next = client.next().expect("something is due");
        let (to, _) = sent(&client.act(next));
        if to != To::Server(SERVER) {
            break (to, next);
        }
    };
    assert_eq!(rebinding, (To::All, seconds(701)));
    let (_, request) = {
        let next = client.next().expect("something is due");
        assert!(next < seconds(801), "before the end");
        sent(&client.act(next))
    };
    let ack = answer(&request, ACK, OTHER, &[LEASE]);
    let renewed = client.receive(seconds(790), &ack, OTHER);
    let [Action::Report(Event::Renewed(lease))] = &renewed[..] else {
        panic!("a lease, not {renewed:?}");
    };
    assert_eq!(lease.server, OTHER, "the next renewal is asked of it");
    assert!(client.next().is_some_and(|next| next > seconds(801)));
}

#[test]
fn the_renewed_lease_runs_from_its_request() {
    let (mut client, _) = bound(&[LEASE]);
    let (_, request) = sent(&client.act(seconds(401)));
    let ack = answer(&request, ACK, SERVER, &[LEASE]);
    client.receive(seconds(420), &ack, SERVER);
    assert_eq!(client.next(), Some(seconds(801)));
}

#[test]
fn a_lease_that_nobody_extends_is_lost_at_its_end() {
    let (mut client, _) = bound(&[LEASE]);
    let mut requests = 0;
    let lost = loop {
        let next = client.next().expect("something is due");
        let actions = client.act(next);
        if let [Action::Report(event)] = &actions[..] {
            break (next, event.clone());
        }
        requests += 1;
    };
    assert_eq!(lost, (seconds(801), Event::Lost(Loss::Expired)));
    assert!((4..40).contains(&requests), "{requests} requests");
    assert!(!client.has_lease());
    assert_eq!(asked(&sent(&client.act(seconds(801))).1).0, 1);
}

#[test]
fn a_nak_of_the_lease_s_server_takes_the_address_away() {
    let (mut client, _) = bound(&[LEASE]);
    let (_, request) = sent(&client.act(seconds(401)));
    let stray = answer(&request, NAK, OTHER, &[]);
    assert_eq!(client.receive(seconds(402), &stray, OTHER), []);
    let nak = answer(&request, NAK, SERVER, &[]);
    assert_eq!(
        client.receive(seconds(402), &nak, SERVER),
        [Action::Report(Event::Lost(Loss::Refused(SERVER)))]
    );
}

#[test]
fn a_nak_without_its_server_s_name_is_the_server_s_that_was_asked() {
    let unnamed = |request: &[u8]| {
        let mut nak = answer(request, NAK, Ipv4Addr::UNSPECIFIED, &[]);
        // Through this relay.
        nak[24..28].copy_from_slice(&OTHER.octets());
        nak
    };
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, &[]);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    assert_eq!(
        client.receive(seconds(2), &unnamed(&request), OTHER),
        [Action::Report(Event::Refused(SERVER))]
    );

    // At 401 its server is asked, and at 701 all are.
    for requested in [401, 701] {
        let (mut client, _) = bound(&[LEASE]);
        let mut request = Vec::new();
        while client.next().is_some_and(|next| next <= seconds(requested)) {
            let next = client.next().expect("something is due");
            request = sent(&client.act(next)).1;
        }
        assert_eq!(
            client.receive(seconds(requested), &unnamed(&request), OTHER),
            [Action::Report(Event::Lost(Loss::Refused(SERVER)))]
        );
    }
}

#[test]
fn a_nak_of_another_server_counts_only_where_all_were_asked() {
    // A server that names itself, and a server that its packet's address reveals.
    for (name, source) in [(OTHER, SERVER), (Ipv4Addr::UNSPECIFIED, OTHER)] {
        let (mut client, discover) = client();
        let offer = answer(&discover, OFFER, SERVER, &[]);
        let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
        let nak = answer(&request, NAK, name, &[]);
        assert_eq!(client.receive(seconds(2), &nak, source), []);

        let (mut client, _) = bound(&[LEASE]);
        let mut heard = Vec::new();
        while heard.is_empty() {
            let next = client.next().expect("something is due");
            let (to, request) = sent(&client.act(next));
            let nak = answer(&request, NAK, name, &[]);
            heard = client.receive(next, &nak, source);
            assert_eq!(heard.is_empty(), to == To::Server(SERVER), "{next:?}");
        }
        assert!(
            matches!(heard[..], [Action::Report(Event::Lost(Loss::Refused(_)))]),
            "{heard:?}"
        );
    }
}

#[test]
fn another_address_in_place_of_the_own_one_is_a_loss() {
    let (mut client, _) = bound(&[LEASE]);
    let (_, request) = sent(&client.act(seconds(401)));
    let mut ack = answer(&request, ACK, SERVER, &[LEASE]);
    ack[19] = 99;
    assert_eq!(
        client.receive(seconds(402), &ack, SERVER),
        [Action::Report(Event::Lost(Loss::Moved(SERVER)))]
    );
}

#[test]
fn an_ack_without_an_address_extends_the_one_in_use() {
    let (mut client, lease) = bound(&[LEASE]);
    let (_, request) = sent(&client.act(seconds(401)));
    let mut ack = answer(&request, ACK, SERVER, &[LEASE]);
    ack[16..20].fill(0);
    assert_eq!(
        client.receive(seconds(402), &ack, SERVER),
        [Action::Report(Event::Renewed(lease))]
    );
}

/// What a lease has except its times, in a message that has all of it.
const ALL: [(u8, &[u8]); 4] = [
    LEASE,
    (code::MASK, &[255, 255, 252, 0]),
    (code::DNS, &[192, 0, 2, 3]),
    (code::ROUTER, &[192, 0, 2, 9]),
];

#[test]
fn an_ack_without_its_server_s_name_is_the_server_s_that_was_asked() {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, &ALL);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    // It comes through a relay.
    let ack = answer(&request, ACK, Ipv4Addr::UNSPECIFIED, &[]);
    let (_, lease) = bound(&ALL);
    assert_eq!(
        client.receive(seconds(1), &ack, OTHER),
        [Action::Report(Event::Bound(lease))]
    );
}

#[test]
fn an_ack_of_a_server_that_was_not_asked_counts_as_it_is() {
    let (mut client, discover) = client();
    let offer = answer(&discover, OFFER, SERVER, &ALL);
    let (_, request) = sent(&client.receive(seconds(1), &offer, SERVER));
    let ack = answer(&request, ACK, OTHER, &[]);
    let bound = client.receive(seconds(1), &ack, OTHER);
    let [Action::Report(Event::Bound(lease))] = &bound[..] else {
        panic!("a lease, not {bound:?}");
    };
    assert_eq!(lease.server, OTHER);
    assert_eq!(lease.configuration.dns, [] as [Ipv4Addr; 0]);
}

#[test]
fn what_an_extension_leaves_out_stays_as_it_is_again_and_again() {
    let (mut client, mut lease) = bound(&ALL);
    // The first one is asked of its server, the second one of all.
    for (at, server) in [(401, SERVER), (801 + 350, OTHER)] {
        let now = seconds(at);
        let (_, request) = sent(&client.act(now));
        let ack = answer(&request, ACK, server, &[]);
        lease.server = server;
        assert_eq!(
            client.receive(now, &ack, server),
            [Action::Report(Event::Renewed(lease.clone()))]
        );
    }
}

#[test]
fn an_extension_without_its_server_s_name_is_the_server_s_that_was_asked() {
    let (mut client, lease) = bound(&ALL);
    let now = seconds(401);
    let (_, request) = sent(&client.act(now));
    let ack = answer(&request, ACK, Ipv4Addr::UNSPECIFIED, &[]);
    assert_eq!(
        client.receive(now, &ack, OTHER),
        [Action::Report(Event::Renewed(lease))]
    );
}

#[test]
fn a_lease_without_an_end_is_never_asked_for_again() {
    let (client, lease) = bound(&[(code::LEASE_TIME, &[255; 4])]);
    assert_eq!(lease.times, None);
    assert_eq!(client.next(), None);
}

#[test]
fn no_bytes_make_it_panic_or_stop() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..3000 {
        let (mut client, mut request) = client();
        let mut now = seconds(1);
        for _ in 0..30 {
            let kind = random.choice([OFFER, ACK, NAK, 1]).expect("one of them");
            let mut value = vec![0; random.usize(0..40)];
            random.fill(&mut value);
            let codes = [1, 3, 6, 15, 26, 51, 52, 54, 58, 59, 119, 121, 249];
            let code = *random.choice(&codes).expect("one of them");
            let mut bytes = answer(&request, kind, SERVER, &[(code, &value)]);
            if random.bool() {
                bytes.truncate(random.usize(0..=bytes.len()));
            }
            for _ in 0..random.usize(0..3) {
                if let Some(byte) = random.choice(&mut bytes) {
                    *byte = 0xff;
                }
            }
            let mut actions = client.receive(now, &bytes, OTHER);
            if random.bool()
                && let Some(next) = client.next()
            {
                now = now.max(next);
                actions.extend(client.act(now));
            }
            for action in actions {
                if let Action::Send(_, bytes) = action {
                    request = bytes;
                }
            }
        }
        serve_well(client);
    }
}

/// Whatever was said before: from a server that answers as it should a client has a lease soon, and each time again.
fn serve_well(mut client: Client) {
    let mut leases = 0;
    // Pauses are doubled or halved, so that few steps reach far.
    for _ in 0..400 {
        let Some(now) = client.next() else {
            assert!(client.has_lease(), "it neither asks nor has a lease");
            return;
        };
        let actions = client.act(now);
        // Nobody extends a lease.
        let [Action::Send(To::AllWithoutAddress, request)] = &actions[..] else {
            continue;
        };
        let kind = if asked(request).0 == 1 { OFFER } else { ACK };
        let good = answer(request, kind, SERVER, &[LEASE]);
        let mut said = client.receive(now, &good, SERVER);
        if let [Action::Send(_, request)] = &said[..] {
            said = client.receive(now, &answer(request, ACK, SERVER, &[LEASE]), SERVER);
        }
        if let [Action::Report(Event::Bound(_))] = said[..] {
            leases += 1;
        }
        if leases == 2 {
            return;
        }
    }
    panic!("{leases} leases");
}
