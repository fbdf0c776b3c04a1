//! The options of an answer, as bytes. An unreadable option ends the list, and the options before it count.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const PAD: u8 = 0;
const END: u8 = 255;
/// RFC 2132: the fields for names hold options too.
const OVERLOAD: u8 = 52;
const IN_FILE: u8 = 1;
const IN_SERVER_NAME: u8 = 2;

/// The options by their codes. The parts of an option that is there several times are joined (RFC 3396).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// The options of a message: its own field, and the fields of the names if it says that they hold options.
    pub fn parse(options: &[u8], file: &[u8], server_name: &[u8]) -> Self {
        let mut all = Self::default();
        all.read(options);
        let overload = all.byte(OVERLOAD).unwrap_or(0);
        if overload & IN_FILE != 0 {
            all.read(file);
        }
        if overload & IN_SERVER_NAME != 0 {
            all.read(server_name);
        }
        all
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&code, rest)) = bytes.split_first() {
            bytes = rest;
            match code {
                PAD => (),
                END => return,
                _ => {
                    let Some((&length, rest)) = bytes.split_first() else {
                        return;
                    };
                    let Some((value, rest)) = rest.split_at_checked(length.into()) else {
                        return;
                    };
                    self.0.entry(code).or_default().extend_from_slice(value);
                    bytes = rest;
                }
            }
        }
    }

    /// Takes what these lack from others. Of the options of a group one is enough: none of that group is lacking then.
    pub fn fill_from(&mut self, others: &Self, group: &[u8]) {
        let has_group = group.iter().any(|code| self.0.contains_key(code));
        for (code, value) in &others.0 {
            if !(has_group && group.contains(code)) {
                self.0.entry(*code).or_insert_with(|| value.clone());
            }
        }
    }

    /// The bytes of an option.
    pub fn bytes(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// An option that is a byte.
    pub fn byte(&self, code: u8) -> Option<u8> {
        self.bytes(code)?.first().copied()
    }

    /// An option that is a number of 16 bits.
    pub fn short(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(*self.bytes(code)?.first_chunk()?))
    }

    /// An option that is a number of 32 bits.
    pub fn long(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(*self.bytes(code)?.first_chunk()?))
    }

    /// The machines that an option lists. Addresses that no machine can have are left out, and so is an odd rest.
    pub fn machines(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, _) = self.bytes(code).unwrap_or_default().as_chunks::<4>();
        let addresses = addresses.iter().map(|octets| Ipv4Addr::from(*octets));
        addresses.filter(|address| is_machine(*address)).collect()
    }
}

/// Whether a machine can have this address.
pub fn is_machine(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_lie_in_three_fields_and_in_several_parts() {
        let options = [
            OVERLOAD,
            1,
            IN_FILE | IN_SERVER_NAME,
            15,
            2,
            b'l',
            b'a',
            PAD,
            END,
            9,
        ];
        let file = [PAD, 15, 1, b'n', END, 1, 1, 1];
        let name = [3, 4, 10, 0, 0, 1];
        let all = Options::parse(&options, &file, &name);
        assert_eq!(all.bytes(15), Some(&b"lan"[..]));
        assert_eq!(all.machines(3), [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(all.bytes(9), None, "it comes after the end");
        let plain = Options::parse(&[15, 1, b'x'], &file, &name);
        assert_eq!(
            plain.bytes(15),
            Some(&b"x"[..]),
            "the other fields hold names"
        );
    }

    #[test]
    fn what_comes_before_a_part_that_is_cut_off_counts() {
        let all = Options::parse(&[26, 2, 5, 220, 6, 200, 1], &[], &[]);
        assert_eq!(all.short(26), Some(1500));
        assert_eq!(all.bytes(6), None);
    }

    #[test]
    fn addresses_that_no_machine_has_and_an_odd_rest_are_left_out() {
        let list = [
            0, 0, 0, 0, 192, 0, 2, 1, 255, 255, 255, 255, 224, 0, 0, 1, 192, 0,
        ];
        let length = u8::try_from(list.len()).expect("short");
        let all = Options::parse(&[&[6, length][..], &list].concat(), &[], &[]);
        assert_eq!(all.machines(6), [Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(all.machines(42), [] as [Ipv4Addr; 0]);
    }
}
