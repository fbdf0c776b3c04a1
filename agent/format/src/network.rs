//! The network block: 4 KiB just before the commit record, by which the flasher card gives a node its place in the network.
//!
//! A node that finds no block, or does not understand it, uses DHCP. `gild image pack` refuses an image that has any
//! data in this place.

use std::net::Ipv4Addr;

use crate::chunk;
use crate::record::RECORD_OFFSET;

/// Offset of the block on the target, bytes.
pub const NETWORK_OFFSET: u64 = RECORD_OFFSET - NETWORK_LENGTH as u64;
/// Length of the block, bytes.
pub const NETWORK_LENGTH: usize = 4096;
/// Most servers of one kind.
pub const MAX_SERVERS: usize = 8;
/// The highest VLAN id that a network may have.
pub const MAX_VLAN: u16 = 4094;
/// The longest prefix of a network.
pub const MAX_PREFIX: u8 = 32;

const MAGIC: &[u8; 16] = b"gild network\0\0\0\0";
const VERSION: u32 = 1;
const VERSION_AT: usize = 16;
/// Zero for none.
const VLAN_AT: usize = 20;
/// Zero where the address comes from DHCP.
const PREFIX_AT: usize = 22;
const ADDRESS_AT: usize = 24;
const GATEWAY_AT: usize = 28;
/// [`MAX_SERVERS`] places of four bytes; zero means no server. The next ones have the same form.
const DNS_AT: usize = 32;
const NTP_AT: usize = DNS_AT + 4 * MAX_SERVERS;
/// The SHA-256 of everything before it. All that is not zero lies in the first 512 bytes, as with the commit record.
const DIGEST_AT: usize = SECTOR - 32;
const SECTOR: usize = 512;

type Block = [u8; NETWORK_LENGTH];

/// A node's place in the network, as far as the operator has set it. By default nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A static address instead of DHCP.
    pub address: Option<Static>,
    /// The VLAN in which the node lives.
    pub vlan: Option<u16>,
    /// Time servers. At most [`MAX_SERVERS`].
    pub ntp: Vec<Ipv4Addr>,
}

/// A static address. None of its addresses is 0.0.0.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 1 to [`MAX_PREFIX`].
    pub prefix: u8,
    /// The router to other networks.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers. At most [`MAX_SERVERS`] are kept in a block.
    pub dns: Vec<Ipv4Addr>,
}

impl Static {
    /// Whether this address is in the network too.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr) -> bool {
        (u32::from(address) ^ u32::from(self.address)) & self.mask() == 0
    }

    /// The bits of an address that are the network's.
    #[must_use]
    pub fn mask(&self) -> u32 {
        u32::MAX
            .checked_shl(u32::from(MAX_PREFIX.saturating_sub(self.prefix)))
            .unwrap_or(0)
    }
}

/// What lies where the block belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A block.
    Settings(Settings),
    /// Something else: a damaged block, or one of a later gild.
    Damaged,
    /// Zeros: nothing was set.
    Nothing,
}

impl Settings {
    /// The block as it lies on the disk: all zero if nothing is set. More servers than it has places for are left out.
    #[must_use]
    pub fn to_bytes(&self) -> Block {
        let mut bytes = [0; NETWORK_LENGTH];
        if *self == Self::default() {
            return bytes;
        }
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, MAGIC);
        put(VERSION_AT, &VERSION.to_le_bytes());
        put(VLAN_AT, &self.vlan.unwrap_or(0).to_le_bytes());
        if let Some(fixed) = &self.address {
            put(PREFIX_AT, &[fixed.prefix]);
            put(ADDRESS_AT, &fixed.address.octets());
            let gateway = fixed.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED);
            put(GATEWAY_AT, &gateway.octets());
            put(DNS_AT, &places(&fixed.dns));
        }
        put(NTP_AT, &places(&self.ntp));
        let digest = chunk::sha256(&bytes[..DIGEST_AT]);
        bytes[DIGEST_AT..SECTOR].copy_from_slice(&digest.0);
        bytes
    }

    /// Reads a block; bytes that are not exactly what [`Settings::to_bytes`] writes are none.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &Block = bytes.try_into().ok()?;
        let vlan = u16::from_le_bytes(*bytes[VLAN_AT..].first_chunk()?);
        let prefix = bytes[PREFIX_AT];
        if vlan > MAX_VLAN || prefix > MAX_PREFIX {
            return None;
        }
        let address = address_at(bytes, ADDRESS_AT);
        let settings = Self {
            address: address.map(|address| Static {
                address,
                prefix,
                gateway: address_at(bytes, GATEWAY_AT),
                dns: servers_at(bytes, DNS_AT),
            }),
            vlan: (vlan > 0).then_some(vlan),
            ntp: servers_at(bytes, NTP_AT),
        };
        // Magic, version, padding and digest in one comparison.
        let is_whole = settings.to_bytes() == *bytes && address.is_some() == (prefix > 0);
        is_whole.then_some(settings)
    }
}

impl Found {
    /// What the bytes are that lie where the block belongs.
    #[must_use]
    pub fn in_bytes(bytes: &[u8]) -> Self {
        if bytes.len() == NETWORK_LENGTH && chunk::is_zero(bytes) {
            return Self::Nothing;
        }
        Settings::parse(bytes).map_or(Self::Damaged, Self::Settings)
    }
}

fn places(servers: &[Ipv4Addr]) -> Vec<u8> {
    let kept = servers.iter().take(MAX_SERVERS);
    kept.flat_map(Ipv4Addr::octets).collect()
}

fn servers_at(bytes: &Block, at: usize) -> Vec<Ipv4Addr> {
    let places = (0..MAX_SERVERS).map(|place| at + 4 * place);
    places.filter_map(|at| address_at(bytes, at)).collect()
}

fn address_at(bytes: &Block, at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = *bytes[at..].first_chunk()?;
    let address = Ipv4Addr::from(octets);
    (!address.is_unspecified()).then_some(address)
}
