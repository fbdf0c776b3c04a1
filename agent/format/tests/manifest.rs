//! A manifest is accepted only if all its numbers agree with each other.

mod common;

use common::{Random, sample};
use gild_format::manifest::{MAX_CHUNKS, MAX_MANIFEST_BYTES, MAX_PARTITIONS, MAX_TOOLS};
use gild_format::{Manifest, ManifestError, Partition, Sha256Hex};

#[test]
fn a_manifest_survives_its_own_json() {
    let manifest = sample();
    assert_eq!(Manifest::parse(&manifest.to_json()), Ok(manifest));
}

#[test]
fn unknown_fields_are_ignored() {
    let json = String::from_utf8(sample().to_json()).expect("JSON is text");
    let json = json.replacen('{', "{\"colour\":{\"of\":[\"the\",\"future\"]},", 1);
    assert_eq!(Manifest::parse(json.as_bytes()), Ok(sample()));
}

#[test]
fn an_image_proves_itself_only_if_its_manifest_says_so() {
    let mut manifest = sample();
    let json = String::from_utf8(manifest.to_json()).expect("JSON is text");
    assert!(!json.contains("proves_itself"), "{json}");
    manifest.proves_itself = true;
    let json = manifest.to_json();
    assert_eq!(Manifest::parse(&json).as_ref(), Ok(&manifest));
    let text = String::from_utf8(json).expect("JSON is text");
    assert!(text.contains("\"proves_itself\":true"), "{text}");
}

#[test]
fn an_unknown_version_is_refused_before_anything_else_is_read() {
    let json = br#"{"format_version":2,"chunks":"no longer a list"}"#;
    assert_eq!(Manifest::parse(json), Err(ManifestError::UnknownVersion(2)));
}

#[test]
fn a_manifest_over_the_size_limit_is_not_even_parsed() {
    let blanks = vec![b' '; MAX_MANIFEST_BYTES + 1];
    assert_eq!(
        Manifest::parse(&blanks),
        Err(ManifestError::TooLarge(MAX_MANIFEST_BYTES + 1))
    );
}

#[test]
fn the_largest_manifest_fits_the_size_limit() {
    let mut manifest = sample();
    let mut chunk = manifest.chunks[0].clone();
    chunk.raw_offset = 4 << 40;
    chunk.raw_length = 16 << 20;
    chunk.stored_offset = 4 << 40;
    chunk.stored_length = 16 << 20;
    chunk.hole = true;
    manifest.chunks = vec![chunk; MAX_CHUNKS];
    assert!(manifest.to_json().len() <= MAX_MANIFEST_BYTES);
}

#[test]
fn lists_stop_at_their_limits() {
    let json = String::from_utf8(sample().to_json()).expect("JSON is text");
    let partition = r#"{"number":1,"start":0,"length":0,"kind":""}"#;
    let tools: Vec<String> = (0..=MAX_TOOLS).map(|n| format!(r#""{n}":"1""#)).collect();
    for (field, value) in [
        (
            "partitions",
            format!("[{}]", vec![partition; MAX_PARTITIONS + 1].join(",")),
        ),
        ("tools", format!("{{{}}}", tools.join(","))),
    ] {
        let start = json
            .find(&format!("\"{field}\":"))
            .expect("the field is there")
            + field.len()
            + 3;
        let closing = if field == "partitions" { ']' } else { '}' };
        let end = start + json[start..].find(closing).expect("it ends");
        let hostile = format!("{}{value}{}", &json[..start], &json[end + 1..]);
        let Err(ManifestError::Syntax(reason)) = Manifest::parse(hostile.as_bytes()) else {
            panic!("{field}: a list over its limit was read");
        };
        assert!(reason.contains("at most"), "{field}: {reason}");
    }
}

#[test]
fn agents_compare_by_number_not_by_text() {
    let mut manifest = sample();
    manifest.min_agent_version = "0.9.12".to_owned();
    for (agent, accepted) in [
        ("0.9.12", true),
        ("0.10.0", true),
        ("1.0.0", true),
        ("0.9.2", false),
        ("0.8.99", false),
        ("", false),
        ("1.0", false),
        ("1.0.0.0", false),
        ("+1.0.0", false),
    ] {
        assert_eq!(manifest.accepts_agent(agent), accepted, "{agent:?}");
    }
}

#[test]
fn an_extended_partition_may_hold_logical_ones() {
    let mut manifest = sample();
    let whole = Partition {
        number: 2,
        start: 4 << 20,
        length: 5 << 20,
        ..manifest.partitions[0].clone()
    };
    manifest.partitions[0].length = 3 << 20;
    manifest.partitions.truncate(1);
    manifest.partitions.push(Partition {
        kind: "0x5".to_owned(),
        ..whole.clone()
    });
    manifest.partitions.push(Partition {
        number: 5,
        start: 5 << 20,
        length: 1 << 20,
        ..whole
    });
    assert_eq!(manifest.validate(), Ok(()));
}

/// One lie in an otherwise sound manifest, and the field that must be named.
type Lie = (&'static str, fn(&mut Manifest), &'static str);

const LIES: &[Lie] = &[
    ("no board", |m| m.board = String::new(), "board"),
    ("board climbs out", |m| m.board = "../etc".into(), "board"),
    ("board is hidden", |m| m.board = ".rpi5".into(), "board"),
    ("image id with a slash", |m| rename(m, "a/b"), "image_id"),
    ("image id with NUL", |m| rename(m, "a\0b"), "image_id"),
    ("image id with an umlaut", |m| rename(m, "ä"), "image_id"),
    (
        "image id too long",
        |m| rename(m, &"x".repeat(129)),
        "image_id",
    ),
    (
        "stored file elsewhere",
        |m| m.stored_file = "/etc/passwd".into(),
        "stored_file",
    ),
    (
        "stored file of another image",
        |m| m.stored_file = "other.img.zst".into(),
        "stored_file",
    ),
    (
        "agent version not a version",
        |m| m.min_agent_version = "1.x.0".into(),
        "min_agent_version",
    ),
    (
        "tool with an escape sequence",
        |m| drop(m.tools.insert("a".into(), "\u{1b}[2J".into())),
        "tools",
    ),
    ("sector size", |m| m.sector_size = 520, "sector_size"),
    ("sector size zero", |m| m.sector_size = 0, "sector_size"),
    ("chunk size zero", |m| m.chunk_size = 0, "chunk_size"),
    (
        "chunk size no power of two",
        |m| m.chunk_size = 3 << 20,
        "chunk_size",
    ),
    (
        "chunk size too small",
        |m| m.chunk_size = 2048,
        "chunk_size",
    ),
    (
        "chunk size too large",
        |m| m.chunk_size = 32 << 20,
        "chunk_size",
    ),
    ("raw size zero", |m| m.raw_size = 0, "raw_size"),
    (
        "raw size not whole sectors",
        |m| m.raw_size += 1,
        "raw_size",
    ),
    (
        "raw size needs too many chunks",
        |m| m.raw_size = 1 << 62,
        "raw_size",
    ),
    (
        "raw size larger than its chunks",
        |m| m.raw_size += 4 << 20,
        "chunks",
    ),
    (
        "raw size smaller than its chunks",
        |m| {
            m.partitions.truncate(1);
            m.raw_size -= 4 << 20;
        },
        "chunks",
    ),
    ("a chunk missing", |m| m.chunks.truncate(2), "chunks"),
    (
        "chunks swapped",
        |m| m.chunks.swap(0, 1),
        "chunks[0].raw_offset",
    ),
    (
        "raw gap",
        |m| m.chunks[1].raw_offset += 4096,
        "chunks[1].raw_offset",
    ),
    (
        "raw overlap",
        |m| m.chunks[1].raw_offset -= 4096,
        "chunks[1].raw_offset",
    ),
    (
        "short chunk in the middle",
        |m| m.chunks[1].raw_length -= 512,
        "chunks[1].raw_length",
    ),
    (
        "last chunk too long",
        |m| m.chunks[2].raw_length = 4 << 20,
        "chunks[2].raw_length",
    ),
    (
        "frame of no bytes",
        |m| m.chunks[0].stored_length = 0,
        "chunks[0].stored_length",
    ),
    (
        "frame larger than zstd makes",
        |m| m.chunks[0].stored_length = 8 << 20,
        "chunks[0].stored_length",
    ),
    (
        "frames overlap",
        |m| m.chunks[1].stored_offset -= 1,
        "chunks[1].stored_offset",
    ),
    (
        "frames swapped",
        |m| m.chunks[0].stored_offset = 2000,
        "chunks[1].stored_offset",
    ),
    (
        "frame ends behind the file",
        |m| m.chunks[2].stored_offset = 9_900,
        "chunks[2].stored_offset",
    ),
    (
        "frame end overflows",
        |m| m.chunks[2].stored_offset = u64::MAX,
        "chunks[2].stored_offset",
    ),
    (
        "hole with data",
        |m| m.chunks[1].sha256 = Sha256Hex([7; 32]),
        "chunks[1].sha256",
    ),
    ("no partition", |m| m.partitions.clear(), "partitions"),
    (
        "partition number zero",
        |m| m.partitions[0].number = 0,
        "partitions[0]",
    ),
    (
        "partition number twice",
        |m| m.partitions[1].number = 1,
        "partitions[1]",
    ),
    (
        "partition in the first MiB",
        |m| m.partitions[0].start = (1 << 20) - 512,
        "partitions[0]",
    ),
    (
        "partition off its sector",
        |m| m.partitions[0].start += 1,
        "partitions[0]",
    ),
    (
        "partition of no length",
        |m| m.partitions[0].length = 0,
        "partitions[0]",
    ),
    (
        "partition behind the image",
        |m| m.partitions[1].length = 1 << 30,
        "partitions[1]",
    ),
    (
        "partition end overflows",
        |m| m.partitions[1].length = u64::MAX - 511,
        "partitions[1]",
    ),
    (
        "partitions overlap",
        |m| m.partitions[1].start -= 512,
        "partitions",
    ),
    (
        "partition name with a line end",
        |m| m.partitions[0].name = "a\nb".into(),
        "partitions[0]",
    ),
    (
        "partition name too long",
        |m| m.partitions[0].name = "x".repeat(129),
        "partitions[0]",
    ),
];

fn rename(manifest: &mut Manifest, id: &str) {
    manifest.image_id = id.into();
    manifest.stored_file = format!("{id}.img.zst");
}

#[test]
fn each_lie_is_refused_and_named() {
    for (name, lie, expected) in LIES {
        let mut manifest = sample();
        lie(&mut manifest);
        match Manifest::parse(&manifest.to_json()) {
            Err(ManifestError::Invalid { field, .. }) => assert_eq!(field, *expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Bytes replaced, cut, doubled and numbers blown up, from one fixed seed: parsing must end in an answer.
#[test]
fn damaged_manifests_never_panic_and_never_contradict_themselves() {
    let sound = sample().to_json();
    let mut random = Random(0x6769_6c64);
    for _ in 0..5_000 {
        let mut json = sound.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(json.len());
            match random.below(5) {
                0 => json[at] = random.byte(),
                1 => json[at] = b"0123456789-\",:{}[]."[random.below(19)],
                2 => json.truncate(at.max(1)),
                3 => drop(json.splice(at..at, *b"99999999999")),
                _ => json.extend_from_within(at..),
            }
        }
        if let Ok(manifest) = Manifest::parse(&json) {
            // An accepted manifest is sound: it covers the image without a gap and stays inside the file.
            let covered: u64 = manifest
                .chunks
                .iter()
                .map(|chunk| u64::from(chunk.raw_length))
                .sum();
            assert_eq!(covered, manifest.raw_size);
            assert!(
                manifest
                    .chunks
                    .iter()
                    .all(|c| c.stored_offset + u64::from(c.stored_length) <= manifest.stored_size)
            );
            assert_eq!(Manifest::parse(&manifest.to_json()), Ok(manifest));
        }
    }
}
