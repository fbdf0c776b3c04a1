//! What DHCP servers answer: frames, and a client's whole talk with a server whose options are the input. For any input,
//! each lease can be used and the client goes on.

use std::net::Ipv4Addr;
use std::time::Duration;

use gild_dhcp::{Action, Client, Event, Lease, payload};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ADDRESS: [u8; 4] = [192, 0, 2, 50];
/// Between the options of one answer and the options of the next.
const NEXT: u8 = 0xfe;
const OPTIONS_AT: usize = 240;

fn check(lease: &Lease) {
    let given = &lease.configuration;
    assert!((1..=32).contains(&given.prefix));
    assert!(given.mtu.is_none_or(|mtu| mtu >= 576));
    assert!(given.routes.iter().all(|route| route.prefix <= 32));
    assert!(given.search.iter().all(|domain| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !domain.is_empty() && domain.bytes().all(is_allowed)
    }));
    if let Some(times) = lease.times {
        assert!(times.renew <= times.rebind && times.rebind <= times.end);
        assert!(!times.end.is_zero());
    }
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let _ = payload(input);
    let mut now = Duration::ZERO;
    let mut client = Client::new([2, 0, 0, 0, 0, 7], 7, now);
    let mut request = Vec::new();
    let mut actions = client.act(now);
    for options in input.split(|byte| *byte == NEXT) {
        for action in actions.drain(..) {
            match action {
                Action::Send(_, bytes) => request = bytes,
                Action::Report(Event::Bound(lease) | Event::Renewed(lease)) => check(&lease),
                Action::Report(Event::Refused(_) | Event::Lost(_)) => (),
            }
        }
        let mut answer = request[..OPTIONS_AT].to_vec();
        answer[0] = 2;
        answer[16..20].copy_from_slice(&ADDRESS);
        answer.extend(options);
        actions = client.receive(now, &answer, SERVER);
        if actions.is_empty() {
            let Some(next) = client.next() else {
                assert!(client.has_lease());
                return;
            };
            assert!(next >= now);
            now = next;
            actions = client.act(now);
            assert!(!actions.is_empty(), "it has said that something is due");
        }
    }
}
