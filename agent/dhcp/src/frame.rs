//! Ethernet frames with a UDP packet between a DHCP client and a server.

use std::net::Ipv4Addr;

use crate::message::Mac;

/// The port on which a client is answered.
pub const CLIENT: u16 = 68;
/// The port of a server.
pub const SERVER: u16 = 67;

const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;
const IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;
/// More fragments follow, or the offset of a fragment.
const IS_FRAGMENT: u16 = 0x3fff;

/// A request from a client without an address to all servers.
pub fn to_all(from: Mac, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(UDP + payload.len()).ok()?;
    let length = udp_length.checked_add(u16::try_from(IP).ok()?)?;

    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([0, 0, 0, 0, TIME_TO_LIVE, PROTOCOL_UDP, 0, 0]);
    ip.extend(Ipv4Addr::UNSPECIFIED.octets());
    ip.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut udp = Vec::new();
    udp.extend(CLIENT.to_be_bytes());
    udp.extend(SERVER.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let pseudo_header = [
        &ip[12..20],
        &[0, PROTOCOL_UDP][..],
        &udp_length.to_be_bytes(),
    ];
    let sum = match checksum(&[&pseudo_header.concat(), &udp[..]].concat()) {
        // Zero says that there is none.
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    Some([&[0xff; 6][..], &from, &IPV4, &ip, &udp].concat())
}

/// The payload of a frame with a packet for a client, and who sent it.
///
/// UDP's checksum is not looked at: a packet that never was on a wire, as on a virtual network, comes without one or with
/// half a checksum, and the chip has checked a frame from a wire.
#[must_use]
pub fn payload(frame: &[u8]) -> Option<(&[u8], Ipv4Addr)> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    if !ethernet.ends_with(&IPV4) {
        return None;
    }
    let version_and_words = *packet.first()?;
    let header = usize::from(version_and_words & 0xf) * 4;
    if version_and_words >> 4 != 4 || header < IP {
        return None;
    }
    // Short frames are padded.
    let packet = packet.get(..usize::from(short(packet, 2)?))?;
    let is_udp = *packet.get(9)? == PROTOCOL_UDP && short(packet, 6)? & IS_FRAGMENT == 0;
    let source = Ipv4Addr::from(*packet.get(12..16)?.first_chunk::<4>()?);
    let udp = packet.get(header..)?;
    let length = usize::from(short(udp, 4)?);
    let is_for_client = short(udp, 2)? == CLIENT;
    (is_udp && is_for_client).then_some((udp.get(UDP..length)?, source))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest
        .first()
        .map(|byte| u32::from(u16::from_be_bytes([*byte, 0])));
    let mut sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .chain(last)
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    /// A frame to a client, made of one to a server.
    fn answer(payload: &[u8]) -> Vec<u8> {
        let mut frame = to_all(MAC, payload).expect("it is short");
        frame[26..30].copy_from_slice(&[192, 0, 2, 1]);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn the_checksums_are_right() {
        for text in [&b"even"[..], b"odd"] {
            let frame = to_all(MAC, text).expect("it is short");
            assert_eq!(checksum(&frame[14..34]), 0);
            let length = u16::try_from(8 + text.len()).expect("short").to_be_bytes();
            let whole = [&frame[26..34], &[0, 17], &length, &frame[34..]].concat();
            assert_eq!(checksum(&whole), 0);
            assert_eq!(payload(&frame), None, "it is for a server");
        }
    }

    #[test]
    fn an_answer_counts_whatever_its_checksum_and_its_padding() {
        let mut frame = answer(b"hello");
        frame[40..42].copy_from_slice(&[0xde, 0xad]);
        frame.extend([0; 13]);
        let server = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(payload(&frame), Some((&b"hello"[..], server)));
    }

    #[test]
    fn what_is_cut_off_or_is_something_else_is_no_answer() {
        let frame = answer(b"hello");
        for length in 0..frame.len() {
            assert_eq!(payload(&frame[..length]), None, "{length}");
        }
        // Another protocol, a fragment, IPv6, a header of nothing, another port, lengths that are too great or too small.
        for (at, byte) in [
            (23, 6),
            (21, 1),
            (14, 0x65),
            (14, 0x44),
            (37, 69),
            (38, 1),
            (39, 7),
            (16, 9),
        ] {
            let mut other = frame.clone();
            other[at] = byte;
            assert_eq!(payload(&other), None, "{at}");
        }
    }
}
