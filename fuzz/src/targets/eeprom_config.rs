//! The configuration in an EEPROM image. After the edit the NVMe disk is first and the card comes after it, every other line
//! is still there, and a second edit changes nothing.

use gild_boards::rpi_eeprom::{
    BootOrder, CONFIG_MAX, PCIE_PROBE, changes, get_key, with_nvme_first,
};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Some(order) = BootOrder::of(input) {
        let _ = (order.is_nvme_first(), order.to_string());
    }
    let Ok(once) = with_nvme_first(input) else {
        return;
    };
    assert!(once.len() <= CONFIG_MAX);
    assert!(BootOrder::of(&once).is_some_and(BootOrder::is_nvme_then_card));
    assert_eq!(get_key(&once, PCIE_PROBE.0), Some(PCIE_PROBE.1.as_bytes()));
    assert!(changes(&once, &once).is_empty());
    let is_other = |line: &&[u8]| {
        let is_ours = |key: &&str| line.windows(key.len()).any(|word| word == key.as_bytes());
        !line.is_empty() && !["BOOT_ORDER", PCIE_PROBE.0].iter().any(|key| is_ours(&key))
    };
    let lines = |text: &'_ [u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n').filter(is_other);
        lines.map(<[u8]>::to_vec).collect()
    };
    let kept = lines(&once);
    assert!(lines(input).iter().all(|line| kept.contains(line)));
    assert_eq!(with_nvme_first(&once), Ok(once));
}
