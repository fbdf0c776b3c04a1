//! bmap 2.0: the map of the chunks with data, for `bmaptool`.

use std::fmt::Write;

use gild_format::{Manifest, chunk};

/// Chunks are whole numbers of this.
const BLOCK: u64 = 4096;

/// Stands for the file's own digest while that is computed.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The bmap file of a golden image. One range is one chunk, so the digests come from the manifest.
pub fn of(manifest: &Manifest) -> String {
    let mut mapped = 0;
    let mut ranges = String::new();
    for chunk in manifest.chunks.iter().filter(|chunk| !chunk.hole) {
        let blocks = u64::from(chunk.raw_length).div_ceil(BLOCK);
        let first = chunk.raw_offset / BLOCK;
        mapped += blocks;
        let last = first + blocks - 1;
        // Writing into a String cannot fail.
        let _ = writeln!(
            ranges,
            "        <Range chksum=\"{}\"> {first}-{last} </Range>",
            chunk.sha256
        );
    }
    let blocks = manifest.raw_size.div_ceil(BLOCK);
    let text = format!(
        r#"<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {} </ImageSize>
    <BlockSize> {BLOCK} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {NO_DIGEST} </BmapFileChecksum>
    <BlockMap>
{ranges}    </BlockMap>
</bmap>
"#,
        manifest.raw_size
    );
    let digest = chunk::sha256(text.as_bytes()).to_string();
    text.replacen(NO_DIGEST, &digest, 1)
}
