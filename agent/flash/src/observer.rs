//! What the engine reports while it works. The agent feeds watchdog, LED and console from it, `gild flash` a progress bar.

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The old partition table is cleared and the record says which image is being written.
    Prepare,
    /// After an interruption: what is already on the target is hashed.
    Scan,
    /// Chunks are fetched, decoded, verified and written, holes are made zero; what a flush has put on the medium is read back
    /// meanwhile.
    Write,
    /// What is left is read back from the medium.
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

/// Something happened. Each event is a sign of life: none comes later than the disk needs for a few MiB, except that
/// a source that waits for its server says so by its own means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stage begins.
    Stage(Stage),
    /// Bytes of the image dealt with in this stage, of all that the stage has to do.
    Progress {
        /// The stage.
        stage: Stage,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An interrupted flash goes on.
    Resumed {
        /// Data chunks that are already right.
        kept: usize,
        /// Data chunks of the image.
        total: usize,
    },
    /// A chunk came damaged from the source, or damaged back from the target, and is fetched once more.
    Retry {
        /// Index of the chunk in the manifest.
        chunk: usize,
        /// How often it was tried so far.
        attempt: u32,
        /// What was wrong.
        reason: &'a str,
    },
    /// A hole could not be read back: it is made zero once more.
    HoleUnreadable {
        /// How often it was tried so far.
        attempt: u32,
        /// What was read, and what the kernel said.
        reason: &'a str,
    },
    /// The target said it had made a range zero, and it reads otherwise: all holes are now written out.
    ZeroingFailed {
        /// Where a byte other than zero was found.
        offset: u64,
    },
}

/// Takes the events; called from several threads.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);

    /// Whether the target may be made to forget what it holds; asked right before that. Some disks hang in it. It has ended once
    /// the stage after [`Stage::Prepare`] begins.
    fn may_discard(&self) -> bool {
        true
    }
}

/// Nobody watches.
impl Observer for () {
    fn event(&self, _event: Event<'_>) {}
}
