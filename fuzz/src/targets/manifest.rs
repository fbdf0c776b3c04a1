//! The manifest. An accepted manifest is the same after it is written and read again, and its sums fit into their numbers.

use gild_format::Manifest;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let Ok(manifest) = Manifest::parse(input) else {
        return;
    };
    assert_eq!(Manifest::parse(&manifest.to_json()).as_ref(), Ok(&manifest));
    assert!(manifest.data_stored_bytes() <= manifest.stored_size);
    assert!(manifest.data_raw_bytes() <= manifest.raw_size);
    let mut end = 0;
    for chunk in &manifest.chunks {
        assert_eq!(chunk.raw_offset, end);
        end += u64::from(chunk.raw_length);
    }
    assert_eq!(end, manifest.raw_size);
    assert!(manifest.accepts_agent(&manifest.min_agent_version));
}
