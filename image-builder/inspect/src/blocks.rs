//! Which blocks of the root file system hold files, which hold its own tables, and which are free.
//!
//! The crate that reads files does not say where they lie, so this reads ext4's tables itself.

use std::io::{self, ErrorKind};

use crate::range::Range;

/// What a block is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    Free,
    /// The content of a regular file.
    File,
    /// Everything else: tables, folders, attributes, the journal.
    Own,
}

/// The blocks of a file system.
pub struct Blocks {
    partition: Range,
    /// Bytes in a block.
    pub size: u64,
    uses: Vec<Use>,
    /// Bytes (start, length in the partition) that belong to a file but lie behind its end.
    slack: Vec<(u64, u64)>,
    /// Blocks of extent trees that have been read.
    nodes: u64,
}

const EXTENTS: u32 = 0x8_0000;
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
/// Deeper trees than ext4 can have are damage.
const MAX_DEPTH: u16 = 5;

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Where a block begins. The largest number that a table can hold leads beyond every disk.
fn place_of(block: u64, size: u64) -> io::Result<u64> {
    let place = block.checked_mul(size);
    place.ok_or_else(|| invalid("a block outside the partition"))
}

/// Little-endian numbers at fixed places.
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&self, at: usize) -> u64 {
        u64::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn u32(&self, at: usize) -> u64 {
        self.u16(at) | self.u16(at + 2) << 16
    }

    fn bit(&self, at: usize) -> bool {
        self.0[at / 8] & 1 << (at % 8) != 0
    }
}

struct Super {
    bytes: Bytes,
    block_size: u64,
    blocks: u64,
    first_block: u64,
    group_blocks: u64,
    group_inodes: u64,
    inode_size: u64,
    descriptor_size: u64,
}

struct Group {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
    flags: u16,
}

impl Super {
    fn read(partition: &Range) -> io::Result<Self> {
        let bytes = Bytes(partition.vec_at(1024, 1024)?);
        if bytes.u16(0x38) != 0xef53 {
            return Err(invalid("no ext4 superblock"));
        }
        let wide = bytes.u32(0x60) & 0x80 != 0;
        if bytes.u32(0x60) & 0x10 != 0 || bytes.u32(0x64) & 0x200 != 0 {
            return Err(invalid("meta_bg and bigalloc are not understood"));
        }
        let found = Self {
            block_size: 1024 << bytes.u32(0x18).min(6),
            blocks: bytes.u32(4) | if wide { bytes.u32(0x150) << 32 } else { 0 },
            first_block: bytes.u32(0x14),
            group_blocks: bytes.u32(0x20),
            group_inodes: bytes.u32(0x28),
            inode_size: bytes.u16(0x58),
            descriptor_size: if wide { bytes.u16(0xfe).max(64) } else { 32 },
            bytes,
        };
        let fits = found
            .blocks
            .checked_mul(found.block_size)
            .is_some_and(|length| length <= partition.len());
        let is_whole = found.first_block <= found.blocks.min(1);
        if !fits || !is_whole || found.group_blocks == 0 || found.inode_size < 128 {
            return Err(invalid("the superblock does not fit the partition"));
        }
        Ok(found)
    }

    fn groups(&self) -> u64 {
        (self.blocks - self.first_block).div_ceil(self.group_blocks)
    }

    fn group_start(&self, group: u64) -> u64 {
        self.first_block + group * self.group_blocks
    }

    /// Does this group begin with a copy of the superblock?
    fn has_super(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        if self.bytes.u32(0x5c) & 0x200 != 0 {
            return group == 0 || [0x24c, 0x250].iter().any(|&at| self.bytes.u32(at) == group);
        }
        self.bytes.u32(0x64) & 1 == 0 || group <= 1 || [3, 5, 7].into_iter().any(power_of)
    }

    fn descriptors(&self, partition: &Range) -> io::Result<Vec<Group>> {
        let start = (self.first_block + 1) * self.block_size;
        let read = |group: u64| {
            let length = self.descriptor_size;
            let bytes = Bytes(partition.vec_at(
                start + group * length,
                usize::try_from(length).unwrap_or(64),
            )?);
            let wide = |low: usize, high: usize| {
                bytes.u32(low)
                    | if length >= 64 {
                        bytes.u32(high) << 32
                    } else {
                        0
                    }
            };
            Ok(Group {
                block_bitmap: wide(0, 0x20),
                inode_bitmap: wide(4, 0x24),
                inode_table: wide(8, 0x28),
                flags: u16::try_from(bytes.u16(0x12)).unwrap_or(0),
            })
        };
        (0..self.groups()).map(read).collect()
    }
}

impl Blocks {
    /// Reads the tables of the file system in this partition.
    pub fn read(partition: &Range) -> io::Result<Self> {
        let sb = Super::read(partition)?;
        let groups = sb.descriptors(partition)?;
        let count = usize::try_from(sb.blocks).map_err(|_| invalid("too many blocks"))?;
        let mut blocks = Self {
            partition: partition.clone(),
            size: sb.block_size,
            uses: vec![Use::Free; count],
            slack: Vec::new(),
            nodes: 0,
        };
        blocks.mark(0, sb.first_block, Use::Own);
        blocks.mark_tables(&sb, &groups);
        blocks.mark_bitmaps(&sb, &groups)?;
        blocks.mark_files(&sb, &groups)?;
        Ok(blocks)
    }

    fn mark(&mut self, start: u64, length: u64, new: Use) {
        let at =
            |block: u64| usize::try_from(block).map_or(self.uses.len(), |b| b.min(self.uses.len()));
        let range = at(start)..at(start.saturating_add(length));
        self.uses[range].fill(new);
    }

    /// A group whose bitmap was never written uses only what the file system's own tables take of it.
    fn mark_tables(&mut self, sb: &Super, groups: &[Group]) {
        let tables = (sb.groups() * sb.descriptor_size).div_ceil(sb.block_size);
        let reserved = sb.bytes.u16(0xce);
        let inode_table = (sb.group_inodes * sb.inode_size).div_ceil(sb.block_size);
        for (index, group) in (0..).zip(groups) {
            if sb.has_super(index) {
                self.mark(sb.group_start(index), 1 + tables + reserved, Use::Own);
            }
            self.mark(group.block_bitmap, 1, Use::Own);
            self.mark(group.inode_bitmap, 1, Use::Own);
            self.mark(group.inode_table, inode_table, Use::Own);
        }
    }

    fn mark_bitmaps(&mut self, sb: &Super, groups: &[Group]) -> io::Result<()> {
        let length = usize::try_from(sb.group_blocks / 8).unwrap_or(0);
        for (index, group) in (0..).zip(groups) {
            if group.flags & BLOCK_UNINIT != 0 {
                continue;
            }
            let place = place_of(group.block_bitmap, sb.block_size)?;
            let bitmap = Bytes(self.partition.vec_at(place, length)?);
            let start = sb.group_start(index);
            for bit in (0..length * 8).filter(|&bit| bitmap.bit(bit)) {
                self.mark(start + bit as u64, 1, Use::Own);
            }
        }
        Ok(())
    }

    fn mark_files(&mut self, sb: &Super, groups: &[Group]) -> io::Result<()> {
        let first_inode = sb.bytes.u32(0x54).max(11);
        let bitmap_length = usize::try_from(sb.group_inodes.div_ceil(8)).unwrap_or(0);
        let table_length = usize::try_from(sb.group_inodes * sb.inode_size).unwrap_or(0);
        for (index, group) in (0..).zip(groups) {
            if group.flags & INODE_UNINIT != 0 {
                continue;
            }
            let place = place_of(group.inode_bitmap, sb.block_size)?;
            let bitmap = Bytes(self.partition.vec_at(place, bitmap_length)?);
            let place = place_of(group.inode_table, sb.block_size)?;
            let table = self.partition.vec_at(place, table_length)?;
            let inodes = table.chunks_exact(usize::try_from(sb.inode_size).unwrap_or(256));
            for (position, inode) in inodes.enumerate() {
                let number = index * sb.group_inodes + position as u64 + 1;
                if number >= first_inode && bitmap.bit(position) {
                    self.mark_file(&Bytes(inode.to_vec()))?;
                }
            }
        }
        Ok(())
    }

    /// Files without extents stay `Own`, so that their blocks are still searched.
    fn mark_file(&mut self, inode: &Bytes) -> io::Result<()> {
        let is_file = inode.u16(0) & 0xf000 == 0x8000;
        if !is_file || inode.u32(0x20) & u64::from(EXTENTS) == 0 {
            return Ok(());
        }
        let length = inode.u32(4) | inode.u32(0x6c) << 32;
        self.mark_extents(&Bytes(inode.0[0x28..0x64].to_vec()), length, MAX_DEPTH)
    }

    fn mark_extents(&mut self, node: &Bytes, length: u64, deeper: u16) -> io::Result<()> {
        let (entries, depth) = (node.u16(2), node.u16(6));
        let most = (node.0.len() - 12) / 12;
        if node.u16(0) != 0xf30a || depth > u64::from(deeper) || entries > most as u64 {
            return Err(invalid("a damaged extent tree"));
        }
        for entry in 0..usize::try_from(entries).unwrap_or(0) {
            let at = 12 + entry * 12;
            if depth > 0 {
                let child = node.u32(at + 4) | node.u16(at + 8) << 32;
                let size = usize::try_from(self.size).unwrap_or(4096);
                // Trees that share their blocks would take forever.
                self.nodes += 1;
                if self.nodes > self.uses.len() as u64 {
                    return Err(invalid("more extent trees than blocks"));
                }
                let place = place_of(child, self.size)?;
                let bytes = Bytes(self.partition.vec_at(place, size)?);
                let deeper = deeper.checked_sub(1).ok_or(invalid("a deep extent tree"))?;
                self.mark_extents(&bytes, length, deeper)?;
                continue;
            }
            let logical = node.u32(at) * self.size;
            let written = node.u16(at + 4) <= 0x8000;
            let blocks = node.u16(at + 4) - if written { 0 } else { 0x8000 };
            let start = node.u32(at + 8) | node.u16(at + 6) << 32;
            self.mark(start, blocks, Use::File);
            // What was only reserved for a file reads as zeros, whatever lies on the disk.
            let data = if written {
                length.saturating_sub(logical).min(blocks * self.size)
            } else {
                0
            };
            if data < blocks * self.size {
                let rest = blocks * self.size - data;
                let place = place_of(start, self.size)?.saturating_add(data);
                self.slack.push((place, rest));
            }
        }
        Ok(())
    }

    /// Runs of blocks of this use, as (start, length) in bytes of the partition.
    pub fn runs(&self, wanted: Use) -> Vec<(u64, u64)> {
        let mut start = 0;
        let mut runs = Vec::new();
        for run in self.uses.chunk_by(|one, next| one == next) {
            let length = run.len() as u64;
            if run[0] == wanted {
                runs.push((start * self.size, length * self.size));
            }
            start += length;
        }
        runs
    }

    /// Offsets in the partition where a free block, or the rest of a file's last one, is not zero.
    pub fn data_in_free(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        let end = self.uses.len() as u64 * self.size;
        let tail = (end, self.partition.len() - end);
        let places = self.runs(Use::Free).into_iter().chain([tail]);
        for (start, length) in places.chain(self.slack.iter().copied()) {
            let part = self.partition.part(start, length);
            found.extend(part.first_data()?.map(|at| start + at));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::*;

    const SUPERBLOCK: u64 = 1024;
    const SIZE: u64 = 256 << 10;

    /// A partition with these numbers in it: place, bytes, value.
    fn read(numbers: &[(u64, usize, u64)]) -> io::Result<Blocks> {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(SIZE).expect("room");
        let sound = [
            (SUPERBLOCK + 4, 4, 64),
            (SUPERBLOCK + 0x14, 4, 1),
            (SUPERBLOCK + 0x20, 4, 64),
            (SUPERBLOCK + 0x28, 4, 16),
            (SUPERBLOCK + 0x38, 2, 0xef53),
            (SUPERBLOCK + 0x58, 2, 128),
            (SUPERBLOCK + 0x60, 4, 0x80),
            (SUPERBLOCK + 0xfe, 2, 64),
            (DESCRIPTOR, 4, 3),
            (DESCRIPTOR + 4, 4, 4),
            (DESCRIPTOR + 8, 4, 5),
        ];
        for (place, length, value) in sound.iter().chain(numbers) {
            let bytes = &value.to_le_bytes()[..*length];
            file.write_all_at(bytes, *place).expect("room");
        }
        Blocks::read(&Range::new(Arc::new(file), 0, SIZE))
    }

    const DESCRIPTOR: u64 = 2048;
    /// The 12th inode, the first that is a user's: a file, by extents.
    const INODE: u64 = 5 * 1024 + 11 * 128;
    const FILE: [(u64, usize, u64); 3] = [
        (4 * 1024 + 1, 1, 0b1000),
        (INODE, 2, 0x8000),
        (INODE + 0x20, 4, 0x8_0000),
    ];

    fn extents(node: u64, depth: u64, entries: u64) -> [(u64, usize, u64); 3] {
        [
            (node, 2, 0xf30a),
            (node + 2, 2, entries),
            (node + 6, 2, depth),
        ]
    }

    fn refusal(numbers: &[(u64, usize, u64)]) -> String {
        match read(numbers) {
            Ok(_) => panic!("a damaged file system was read"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_s_blocks_are_found() {
        let leaf = (INODE + 0x28 + 12 + 4, 8, 2 | 40 << 32);
        let numbers = [&FILE[..], &extents(INODE + 0x28, 0, 1), &[leaf]].concat();
        let blocks = read(&numbers).expect("sound");
        assert_eq!(blocks.runs(Use::File), [(40 * 1024, 2 * 1024)]);
    }

    #[test]
    fn a_file_system_of_no_blocks_is_refused() {
        let why = refusal(&[(SUPERBLOCK + 4, 4, 0)]);
        assert!(why.contains("superblock"), "{why}");
    }

    #[test]
    fn tables_beyond_every_disk_are_refused() {
        // The high halves of the places of both bitmaps and of the inodes.
        for at in [0x20, 0x24, 0x28] {
            let why = refusal(&[(DESCRIPTOR + at, 4, u32::MAX.into())]);
            assert!(why.contains("outside"), "{at:#x}: {why}");
        }
    }

    #[test]
    fn the_rest_of_a_file_beyond_every_disk_is_nothing() {
        // In the last block that a number of 64 bits reaches: blocks have 64 KiB here.
        let block = 64 << 10;
        let inode = 3 * block + 11 * 128;
        let layout = [
            (SUPERBLOCK + 4, 4, 4),
            (SUPERBLOCK + 0x14, 4, 0),
            (SUPERBLOCK + 0x18, 4, 6),
            (block, 4, 2),
            (block + 4, 4, 2),
            (block + 8, 4, 3),
            (2 * block + 1, 1, 0b1000),
            (inode, 2, 0x8000),
            (inode + 4, 4, 1 << 20),
            (inode + 0x20, 4, EXTENTS.into()),
            (inode + 0x28 + 12 + 4, 8, u64::MAX << 16 | 0x8000),
        ];
        let numbers = [&layout[..], &extents(inode + 0x28, 0, 1)].concat();
        let blocks = read(&numbers).expect("sound apart from the file");
        assert!(blocks.data_in_free().expect("zeros").is_empty());
    }

    #[test]
    fn extent_trees_that_share_their_blocks_are_refused() {
        let mut numbers = FILE.to_vec();
        let mut node = |at: u64, depth: u64, entries: u64, child: u64| {
            numbers.extend(extents(at, depth, entries));
            numbers.extend((0..entries).map(|entry| (at + 12 + entry * 12 + 4, 4, child)));
        };
        node(INODE + 0x28, 5, 4, 20);
        for depth in 0..5 {
            let block = 24 - depth;
            node(
                block * 1024,
                depth,
                if depth == 0 { 0 } else { 84 },
                block + 1,
            );
        }
        let why = refusal(&numbers);
        assert!(why.contains("more extent trees than blocks"), "{why}");
    }
}
