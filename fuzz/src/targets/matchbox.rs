//! Matchbox' answer. A valid answer repeats the MAC address of the question, and a name that is taken is a host name.

use gild_boards::mac::Mac;
use gild_matchbox::{Answer, fallback_name, host_name};

const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);

/// Says what holds of this input.
pub fn check_input(input: &str) {
    if let Some(mac) = Mac::parse(input) {
        assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
        let _ = fallback_name(Some(mac));
    }
    let Ok(answer) = Answer::parse(input, MAC) else {
        return;
    };
    let is_dedicated = matches!(answer, Answer::Dedicated(_));
    let (Answer::Dedicated(values) | Answer::Default(values)) = answer;
    let mac = |key| values.get(key).expect("read before").map(Mac::parse);
    assert_eq!(mac("REQUEST_QUERY_MAC"), Some(Some(MAC)));
    assert_eq!(mac("MAC"), is_dedicated.then_some(Some(MAC)));
    let _ = values.below("SSH_");
    if let Ok(name) = host_name(&values) {
        assert!((1..=63).contains(&name.len()));
        assert!(!name.contains(['.', '/', '\n', ' ']));
    }
}
