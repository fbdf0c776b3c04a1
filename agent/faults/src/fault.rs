//! What can go wrong, as the operator sees it.

/// What went wrong, in as few kinds as a blinking LED can distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// This board is not supported.
    UnsupportedBoard = 1,
    /// No network: no carrier, or no address from DHCP.
    NoNetwork = 2,
    /// The image server is unreachable, or the file is not there.
    ServerUnreachable = 3,
    /// The manifest was refused.
    ManifestRefused = 4,
    /// No usable target.
    NoTarget = 5,
    /// The image data does not match its manifest.
    ImageCorrupt = 6,
    /// The target failed to write or to read back.
    TargetFailed = 7,
    /// The disk is good, the boot order could not be changed.
    BootOrder = 8,
    /// A defect of gild itself.
    Internal = 9,
}

/// What a node does after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Try again forever, with back-off and jitter: the cause lies outside the node and goes away.
    RetryForever,
    /// Try again a few times, then hold: repeating wears the disk or hides a defect.
    Bounded,
    /// Hold and look again once a minute: only the operator can fix it.
    Hold,
}

impl Fault {
    /// All faults, in order of their number.
    pub const ALL: [Self; 9] = [
        Self::UnsupportedBoard,
        Self::NoNetwork,
        Self::ServerUnreachable,
        Self::ManifestRefused,
        Self::NoTarget,
        Self::ImageCorrupt,
        Self::TargetFailed,
        Self::BootOrder,
        Self::Internal,
    ];

    /// The number: how often the LED blinks, and the exit code of `gild`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What the number means, in one line.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().0
    }

    /// What the operator does about it, in one line.
    #[must_use]
    pub const fn next_step(self) -> &'static str {
        self.row().1
    }

    /// What the node does about it.
    #[must_use]
    pub const fn policy(self) -> Policy {
        self.row().2
    }

    const fn row(self) -> (&'static str, &'static str, Policy) {
        match self {
            Self::UnsupportedBoard => (
                "this board is not supported",
                "use a supported board, or a newer card",
                Policy::Hold,
            ),
            Self::NoNetwork => (
                "no network: no carrier, or no address from DHCP",
                "check the cable, the switch and the DHCP server",
                Policy::RetryForever,
            ),
            Self::ServerUnreachable => (
                "image server unreachable, or the file is not there",
                "start the server, check its address on the card and that the image is published",
                Policy::RetryForever,
            ),
            Self::ManifestRefused => (
                "manifest refused: signature, board, version, rollback, malformed",
                "publish an image for this board signed with the key on the card",
                Policy::Hold,
            ),
            Self::NoTarget => (
                "no usable target: none, several, too small, wrong sector size, or the boot medium",
                "fit one NVMe disk that is large enough, or name its serial on the card",
                Policy::Hold,
            ),
            Self::ImageCorrupt => (
                "image data does not match its manifest",
                "check the published image with `gild image verify` and publish it again",
                Policy::Bounded,
            ),
            Self::TargetFailed => (
                "the target failed to write or to read back",
                "check the disk's seat and power; if it fails again, replace the disk",
                Policy::Bounded,
            ),
            Self::BootOrder => (
                "the disk is good, the boot order could not be changed",
                "set the boot order by hand, or repair the firmware files on the card",
                Policy::Bounded,
            ),
            Self::Internal => (
                "internal error",
                "report the text of the console as a defect of gild",
                Policy::Bounded,
            ),
        }
    }
}

/// An error that stands for a fault.
pub trait HasFault: std::error::Error {
    /// The fault number.
    fn fault(&self) -> Fault;
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "fault {}: {}", self.number(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn numbers_run_from_one_to_nine_in_order() {
        let numbers: Vec<u8> = Fault::ALL.iter().map(|fault| fault.number()).collect();
        assert_eq!(numbers, (1..=9).collect::<Vec<u8>>());
    }
}
