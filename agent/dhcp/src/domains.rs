//! The domains in which short names are looked for: options 15 and 119. They go into a text file, so only what can be
//! a domain counts.

/// Longest domain, as text.
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;
/// The two upper bits of a pointer to an earlier name (RFC 1035).
const POINTER: u8 = 0xc0;

/// The domains of option 119, the list with compression (RFC 3397). A name that cannot be a domain is left out; a name that
/// has no end ends the list.
pub fn search_list(list: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut at = 0;
    while at < list.len() {
        let Some((name, next)) = name_at(list, at) else {
            break;
        };
        domains.extend(domain(&name));
        at = next;
    }
    domains
}

/// The domains of option 15. It is one name; some servers put several there.
pub fn words(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.split(|mark: char| mark.is_whitespace() || mark == '\0')
        .filter_map(domain)
        .collect()
}

/// The name that begins there, and where the next one begins. A pointer may only go back, so that each name has an end.
fn name_at(list: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let (mut at, mut earliest, mut next) = (start, start, None);
    loop {
        let length = *list.get(at)?;
        if length & POINTER == POINTER {
            let low = *list.get(at + 1)?;
            next.get_or_insert(at + 2);
            at = usize::from(u16::from_be_bytes([length & !POINTER, low]));
            if at >= earliest {
                return None;
            }
            earliest = at;
            continue;
        }
        if length & POINTER != 0 {
            return None;
        }
        at += 1;
        if length == 0 {
            return Some((name, next.unwrap_or(at)));
        }
        let label = list.get(at..at + usize::from(length))?;
        at += label.len();
        name.push_str(&String::from_utf8_lossy(label));
        name.push('.');
    }
}

fn domain(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.');
    let is_label = |label: &str| {
        let has_only_marks = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        !label.is_empty() && label.len() <= MAX_LABEL && has_only_marks
    };
    let is_domain = text.len() <= MAX_DOMAIN && text.split('.').all(is_label);
    is_domain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_earlier_names() {
        let list = b"\x03eng\x07example\x03com\x00\x05sales\xc0\x04\x03lan\x00";
        assert_eq!(
            search_list(list),
            ["eng.example.com", "sales.example.com", "lan"]
        );
    }

    #[test]
    fn a_name_that_is_no_domain_is_left_out() {
        let long = [&[63; 1][..], &[b'a'; 63]].concat().repeat(5);
        let list = [&b"\x03a b\x00"[..], &long, b"\x00\x03lan\x00"].concat();
        assert_eq!(search_list(&list), ["lan"]);
        assert_eq!(words(b"lan\0"), ["lan"]);
        assert_eq!(
            words(b"example.com. lab.example.com"),
            ["example.com", "lab.example.com"]
        );
        assert_eq!(
            words(b"lan\nnameserver 192.0.2.1"),
            ["lan", "nameserver", "192.0.2.1"],
            "a separate line in the file would be more than a domain"
        );
        assert_eq!(words(b"\xff\xfe ..  "), [] as [String; 0]);
    }

    #[test]
    fn no_pointer_leads_to_a_name_without_an_end() {
        for list in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\x01a\xc0\x02",
            b"\x01a\xc0",
            b"\x01a",
            b"\x40a",
            b"\x01a\xff\xff",
        ] {
            assert_eq!(search_list(list), [] as [String; 0], "{list:?}");
        }
        let after = b"\x03lan\x00\x01a\xc0\x07";
        assert_eq!(search_list(after), ["lan"]);
    }
}
