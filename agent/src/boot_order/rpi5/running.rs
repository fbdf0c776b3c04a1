//! What the running firmware reports of itself in the device tree.

use std::fs;
use std::path::Path;

use crate::boot_order::nor::compatible;

/// The node of the device tree behind which the firmware shows its configuration.
const CONFIG_NODE: &str = "raspberrypi,bootloader-config";

/// What the running firmware says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// When it was built: its version.
    pub build: Option<u32>,
    /// The time in the `.sig` of the last update.
    pub update: Option<u32>,
    /// Whether secure boot is on.
    pub is_signed: bool,
    /// The oldest version that works with the board's parts.
    pub least_version: u32,
    /// Its configuration, if the firmware shows one.
    pub config: Option<Vec<u8>>,
    /// The name of this start of the kernel: no two starts have the same.
    pub start: Option<String>,
}

impl Running {
    /// What the firmware of the board says that the agent runs on.
    pub fn of_this_board() -> Self {
        Self::read(Path::new("/proc"), Path::new("/sys"))
    }

    /// Reads the device tree, and the configuration from the memory where the firmware left it.
    pub fn read(proc: &Path, sys: &Path) -> Self {
        let chosen = proc.join("device-tree/chosen");
        let number = |name: &str| {
            let bytes = fs::read(chosen.join(name)).ok()?;
            Some(u32::from_be_bytes(*bytes.first_chunk()?))
        };
        let config = fs::read_dir(sys.join("bus/nvmem/devices"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|device| compatible(device).iter().any(|entry| entry == CONFIG_NODE))
            .and_then(|device| fs::read(device.join("nvmem")).ok())
            .and_then(|memory| text_in(&memory));
        Self {
            build: number("bootloader/build-timestamp"),
            update: number("bootloader/update-timestamp"),
            is_signed: number("bootloader/signed").is_some_and(|signed| signed != 0),
            least_version: number("rpi-min-boot-ver").unwrap_or(0),
            config,
            start: fs::read_to_string(proc.join("sys/kernel/random/boot_id"))
                .map(|text| text.trim().to_owned())
                .ok()
                .filter(|name| !name.is_empty()),
        }
    }
}

/// The text in this memory, without the filling. Any byte except zero may belong to the text.
fn text_in(memory: &[u8]) -> Option<Vec<u8>> {
    let text = memory.split(|byte| *byte == 0).next()?;
    let last = text.iter().rposition(|byte| *byte != 0xff)?;
    let text = &text[..=last];
    (!text.trim_ascii().is_empty()).then(|| text.to_vec())
}

/// Whether firmware of this build time takes the order for one restart from the system that it started. The Raspberry Pi 5's does since
/// January 2025.
pub fn knows_reboot_order(build: Option<u32>) -> bool {
    const SINCE: u32 = 1_736_812_800;
    build.is_some_and(|build| build >= SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: u32 = 1_700_000_000;
    const UPDATE: u32 = 1_779_807_685;
    const CONFIG: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf461\n";

    #[test]
    fn the_firmware_s_own_words_are_read_where_linux_has_them() {
        let root = tempfile::tempdir().expect("a directory");
        let put = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        };
        let read = || Running::read(&root.path().join("proc"), &root.path().join("sys"));
        assert_eq!(read(), Running::default());
        let chosen = "proc/device-tree/chosen";
        put(
            &format!("{chosen}/bootloader/build-timestamp"),
            &BUILD.to_be_bytes(),
        );
        put(
            &format!("{chosen}/bootloader/update-timestamp"),
            &UPDATE.to_be_bytes(),
        );
        put("proc/sys/kernel/random/boot_id", b"6ee9\n");
        put(&format!("{chosen}/bootloader/signed"), &1_u32.to_be_bytes());
        put(&format!("{chosen}/rpi-min-boot-ver"), &5_u32.to_be_bytes());
        let devices = "sys/bus/nvmem/devices";
        put(
            &format!("{devices}/rmem0/of_node/compatible"),
            b"raspberrypi,bootloader-public-key\0nvmem-rmem\0",
        );
        put(&format!("{devices}/rmem0/nvmem"), b"another one's");
        assert_eq!(read().config, None);
        put(
            &format!("{devices}/rmem1/of_node/compatible"),
            b"raspberrypi,bootloader-config\0nvmem-rmem\0",
        );
        put(
            &format!("{devices}/rmem1/nvmem"),
            &[CONFIG.as_bytes(), &[0; 100]].concat(),
        );
        assert_eq!(
            read(),
            Running {
                build: Some(BUILD),
                update: Some(UPDATE),
                is_signed: true,
                least_version: 5,
                config: Some(CONFIG.into()),
                start: Some("6ee9".to_owned()),
            }
        );
        // Bytes that are not text also belong to the board's settings. Only the filling of the memory does not.
        let umlaut = b"# \xff K\xfcche\nBOOT_ORDER=0xf41\n";
        for fill in [0, 0xff] {
            let memory = [&umlaut[..], &[fill; 50]].concat();
            put(&format!("{devices}/rmem1/nvmem"), &memory);
            assert_eq!(read().config.as_deref(), Some(&umlaut[..]), "{fill:#x}");
        }
        // Memory that the firmware has not filled.
        for nothing in [&[0; 4096], &[0xff; 4096], &[b' '; 4096]] {
            put(&format!("{devices}/rmem1/nvmem"), nothing);
            assert_eq!(read().config, None);
        }
    }
}
