//! Finds out what is wrong if no interface has an address.

use gild_identity::Interface;

use super::asked::Asked;
use super::error::NetworkError;

/// Why no interface has an address. If there are several interfaces, the reason of the one that got furthest.
pub fn nothing(
    seen: Vec<(Interface, Option<NetworkError>)>,
    asked: Vec<Asked>,
    by_ipv6: bool,
    seconds: u64,
) -> NetworkError {
    if seen.is_empty() {
        return NetworkError::NoInterface(seconds);
    }
    let mut refused_by_kernel = None;
    let mut refused = None;
    let mut silent = Vec::new();
    let mut mute = None;
    for asked in asked {
        let name = asked.interface.name.clone();
        if let Some(error) = asked.is_refused_by_kernel {
            refused_by_kernel.get_or_insert(error);
        } else if let Some(server) = asked.refused_by {
            refused.get_or_insert(NetworkError::Refused {
                interface: name,
                server,
            });
        } else if let Some(error) = asked.is_mute {
            mute.get_or_insert(error);
        } else if asked.interface.has_carrier() {
            silent.push(name);
        }
    }
    let silent = (!silent.is_empty()).then(|| {
        let names = silent.join(", ");
        if by_ipv6 {
            NetworkError::NoIpv6(names, seconds)
        } else {
            NetworkError::NoLease(names, seconds)
        }
    });
    let names: Vec<&str> = seen.iter().map(|(seen, _)| seen.name.as_str()).collect();
    let no_carrier = NetworkError::NoCarrier(names.join(", "), seconds);
    refused_by_kernel
        .or(refused)
        .or(silent)
        .or(mute)
        .or_else(|| seen.into_iter().find_map(|(_, error)| error))
        .unwrap_or(no_carrier)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::error::kernel;
    use super::super::testing::{asked, interfaces};
    use super::*;
    use crate::failure::StepError;

    /// Interfaces that were brought up.
    fn brought_up(interfaces: &[Interface]) -> Vec<(Interface, Option<NetworkError>)> {
        let all = interfaces.iter();
        all.map(|interface| (interface.clone(), None)).collect()
    }

    #[test]
    fn a_refusal_is_another_error_than_silence_and_has_other_advice() {
        let root = tempfile::tempdir().expect("a directory");
        let one = interfaces(root.path(), &[(2, true)]);
        let error = |refused_by: Option<Ipv4Addr>, by_ipv6: bool| {
            let asked = vec![asked(&one[0], refused_by)];
            let error = nothing(brought_up(&one), asked, by_ipv6, 30);
            (error.to_string(), error.next_step())
        };
        let (silence, advice) = error(None, false);
        assert_eq!(silence, "no DHCP answer on eth2 within 30 s");
        let server = Some(Ipv4Addr::new(192, 168, 1, 1));
        let (refusal, other_advice) = error(server, false);
        assert!(refusal.contains("192.168.1.1 refused"), "{refusal}");
        assert_ne!(advice, other_advice);
        assert!(error(None, true).0.contains("IPv6"));
        let no_cable = nothing(brought_up(&one), Vec::new(), false, 30);
        assert_eq!(no_cable.to_string(), "no carrier on eth2 within 30 s");
    }

    #[test]
    fn of_several_interfaces_the_one_that_got_furthest_says_what_is_wrong() {
        let root = tempfile::tempdir().expect("a directory");
        let all = [(2, true), (3, true), (4, false), (5, false)];
        let all = interfaces(root.path(), &all);
        let by_kernel = |action: &str| Some(kernel(action)("error 5"));
        let error = |asked: Vec<Asked>| {
            let mut seen = brought_up(&all);
            seen[3].1 = by_kernel("bringing eth5 up");
            nothing(seen, asked, false, 30).to_string()
        };
        assert_eq!(error(Vec::new()), "bringing eth5 up failed: error 5");
        let without_cable = || asked(&all[2], None);
        assert_eq!(
            error(vec![without_cable()]),
            "bringing eth5 up failed: error 5",
            "the cable was pulled out"
        );
        let mute = || Asked {
            is_mute: by_kernel("asking on eth3"),
            ..asked(&all[1], None)
        };
        assert_eq!(
            error(vec![without_cable(), mute()]),
            "asking on eth3 failed: error 5"
        );
        let silent = || asked(&all[0], None);
        assert_eq!(
            error(vec![mute(), silent(), without_cable()]),
            "no DHCP answer on eth2 within 30 s"
        );
        let refused = || asked(&all[1], Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert!(error(vec![silent(), refused()]).contains("refused on eth3"));
        let given = Asked {
            is_refused_by_kernel: by_kernel("giving eth2 an address"),
            ..asked(&all[0], None)
        };
        assert_eq!(
            error(vec![refused(), given, mute()]),
            "giving eth2 an address failed: error 5"
        );
    }
}
