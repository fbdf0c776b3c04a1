//! Sizes of files for people: true for small ones too.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// So many bytes, with one digit behind the point below ten.
pub fn shown(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..KIB => return format!("{bytes} bytes"),
        KIB..MIB => (KIB, "KiB"),
        _ => (MIB, "MiB"),
    };
    let tenths = bytes.saturating_mul(10).saturating_add(unit / 2) / unit;
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (bytes + unit / 2) / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sizes_are_not_rounded_to_big_units() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (40_000, "39 KiB"),
            (MIB, "1.0 MiB"),
            (9 * MIB + MIB / 2, "9.5 MiB"),
            (300 * MIB + 1, "300 MiB"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }
}
