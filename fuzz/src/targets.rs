//! What each target does with an input: it reads the bytes, and checks what must be true of accepted input.

pub mod card;
pub mod chunk;
pub mod config;
pub mod device_tree;
pub mod dhcp;
pub mod dtbo;
pub mod eeprom;
pub mod eeprom_config;
pub mod eeprom_signature;
pub mod ext4;
pub mod fat;
pub mod fit;
pub mod gate;
pub mod gpt;
pub mod http_answer;
pub mod id_block;
pub mod initramfs;
pub mod leds;
pub mod loader;
pub mod manifest;
pub mod matchbox;
pub mod network;
pub mod nfs_reply;
pub mod order;
pub mod packed;
pub mod record;
pub mod recovery;
pub mod signature;
pub mod signed_order;
pub mod sums;
pub mod uboot_env;
pub mod uboot_script;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 32] = [
    ("card", card::check_input),
    ("chunk", chunk::check_input),
    ("config", config::check_input),
    ("device_tree", device_tree::check_input),
    ("dhcp", dhcp::check_input),
    ("dtbo", dtbo::check_input),
    ("eeprom", eeprom::check_input),
    ("eeprom_config", eeprom_config::check_input),
    ("eeprom_signature", |input| {
        text(input, eeprom_signature::check_input)
    }),
    ("ext4", ext4::check_input),
    ("fat", fat::check_input),
    ("fit", fit::check_input),
    ("gate", |input| text(input, gate::check_input)),
    ("gpt", gpt::check_input),
    ("http_answer", http_answer::check_input),
    ("id_block", id_block::check_input),
    ("initramfs", initramfs::check_input),
    ("leds", leds::check_input),
    ("loader", loader::check_input),
    ("manifest", manifest::check_input),
    ("matchbox", |input| text(input, matchbox::check_input)),
    ("network", network::check_input),
    ("nfs_reply", nfs_reply::check_input),
    ("order", |input| text(input, order::check_input)),
    ("packed", packed::check_input),
    ("record", record::check_input),
    ("recovery", recovery::check_input),
    ("signature", signature::check_input),
    ("signed_order", |input| {
        text(input, signed_order::check_input)
    }),
    ("sums", |input| text(input, sums::check_input)),
    ("uboot_env", uboot_env::check_input),
    ("uboot_script", uboot_script::check_input),
];

/// As cargo-fuzz does it for a target that reads text: up to the first byte that is none.
fn text(input: &[u8], check: fn(&str)) {
    if let Some(chunk) = input.utf8_chunks().next() {
        check(chunk.valid());
    }
}
