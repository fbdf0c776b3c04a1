//! What the engine reports while it works. The agent feeds watchdog, LED and console from it, `gild flash` a progress bar.

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The old partition table is cleared and the record says which image is being written.
    Prepare,
    /// After an interruption: what is already on the target is hashed.
    Scan,
    /// Chunks are fetched, decoded, checked and written, and holes are zeroed. In the same stage, data that a flush has put on the medium
    /// is read back.
    Write,
    /// The rest is read back from the medium.
    Verify,
    /// The first MiB is written, the partition table checked.
    Commit,
}

impl Stage {
    /// One word for console and receipt.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Scan => "scan",
            Self::Write => "write",
            Self::Verify => "verify",
            Self::Commit => "commit",
        }
    }
}

/// Something happened. Each event is a sign of life: the next one comes at the latest after the time that the disk needs for a few MiB.
/// The exception is a source that waits for its server. It reports that in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stage begins.
    Stage(Stage),
    /// How much of a stage is done, in bytes of the image.
    Progress {
        /// The stage.
        stage: Stage,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An interrupted flash continues.
    Resumed {
        /// Data chunks that are already right.
        kept: usize,
        /// Data chunks of the image.
        total: usize,
    },
    /// A chunk was damaged when it came from the source or was read back from the target. It is fetched once more.
    Retry {
        /// Index of the chunk in the manifest.
        chunk: usize,
        /// How often it was tried so far.
        attempt: u32,
        /// What was wrong.
        reason: &'a str,
    },
    /// A hole could not be read back. It is zeroed once more.
    HoleUnreadable {
        /// How often it was tried so far.
        attempt: u32,
        /// What was read, and what the kernel said.
        reason: &'a str,
    },
    /// The target reported a range as zeroed, but it is not zero. From now on all holes are written with zeros.
    ZeroingFailed {
        /// Where a byte other than zero was found.
        offset: u64,
    },
}

/// Takes the events; called from several threads.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);

    /// Whether the target may be discarded; asked right before a discard, because some disks hang in it. The discard has ended when the
    /// stage after [`Stage::Prepare`] begins.
    fn may_discard(&self) -> bool {
        true
    }
}

/// Nobody watches.
impl Observer for () {
    fn event(&self, _event: Event<'_>) {}
}
