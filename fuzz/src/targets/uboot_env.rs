//! U-Boot's environment: a block, as it is and with a right checksum, a text, and a program with an environment in it. Accepted
//! input is the same after it is written and read again.

use gild_boards::uboot_env::{Block, Environment};

fn check(block: &Block, room: usize) {
    for fill in [0, 0xff] {
        let Ok(bytes) = block.to_bytes(room, fill) else {
            continue;
        };
        assert_eq!(Block::parse(&bytes).as_ref(), Ok(block));
    }
    let variables = &block.environment;
    for (name, value) in variables.iter() {
        assert_eq!(variables.get(name), Some(value));
    }
    let mut changed = variables.clone();
    changed.set("bootcmd", "run a").expect("a plain name");
    assert_eq!(changed.get("bootcmd"), Some(&b"run a"[..]));
    for (name, value) in variables.iter().filter(|(name, _)| *name != b"bootcmd") {
        assert_eq!(changed.get(name), Some(value));
    }
    changed.remove("bootcmd");
    assert_eq!(changed.get("bootcmd"), None);
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let of = |environment| Block {
        environment,
        flag: None,
    };
    let _ = Block::parse(input);
    for header in [4, 5] {
        let mut bytes = input.to_vec();
        if bytes.len() <= header {
            continue;
        }
        let crc = crc32fast::hash(&bytes[header..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        check(
            &Block::parse(&bytes).expect("a right checksum"),
            bytes.len() + 64,
        );
    }
    if let Some(environment) = Environment::built_into(input) {
        check(&of(environment), input.len() + 64);
    }
    if let Ok(environment) = Environment::from_text(&String::from_utf8_lossy(input)) {
        check(&of(environment), 4 * input.len() + 64);
    }
}
