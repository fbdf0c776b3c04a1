//! The order of changes to NOR flash, so that a power cut at any moment leaves a board that still starts.
//!
//! A boot medium is valid by its first page alone: the ID block's header, or the checksum of an environment. That page
//! goes first and comes back last, after everything that it leads to has been read back. In between the firmware finds
//! nothing there and goes on to the next medium: an eMMC that starts something, otherwise the card with the flasher.

use std::ops::Range;

use thiserror::Error;

/// What flash programs at once. A page cut short holds nonsense, and so does a block whose erase is cut short.
pub const PAGE: usize = 256;

/// Why there is no such order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The two contents have different sizes.
    #[error("{wanted} bytes are wanted in a flash of {current}")]
    Size {
        /// Bytes of the flash.
        current: usize,
        /// Bytes that are wanted in it.
        wanted: usize,
    },
    /// The flash is not made of whole blocks and pages.
    #[error("a flash of {size} bytes cannot have erase blocks of {block}")]
    Block {
        /// Bytes of the flash.
        size: usize,
        /// Bytes of an erase block.
        block: usize,
    },
    /// The page that is to be written last is not in the flash.
    #[error("no page of the flash begins at {0:#x}")]
    Commit(usize),
}

/// One thing to do to the flash. The one who does it stops at the first failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Erase this block.
    Erase(Range<usize>),
    /// Read these bytes back from the flash: all must be 0xff. Locked flash can ignore an erase without an error.
    CheckErased(Range<usize>),
    /// Program these bytes of the wanted content.
    Write(Range<usize>),
    /// Read these bytes back from the flash: they must be as in the wanted content.
    Check(Range<usize>),
}

/// The steps from what the flash holds to what it should hold; none if that is the same. Only blocks that differ are
/// touched, and the block of the page at `commit`.
///
/// After an interruption the steps are planned again from what the flash then holds.
pub fn plan(
    current: &[u8],
    wanted: &[u8],
    block: usize,
    commit: usize,
) -> Result<Vec<Step>, PlanError> {
    let size = current.len();
    if wanted.len() != size {
        return Err(PlanError::Size {
            current: size,
            wanted: wanted.len(),
        });
    }
    if !block.is_multiple_of(PAGE) || !size.is_multiple_of(block) {
        return Err(PlanError::Block { size, block });
    }
    if commit >= size || !commit.is_multiple_of(PAGE) {
        return Err(PlanError::Commit(commit));
    }
    if current == wanted {
        return Ok(Vec::new());
    }
    let blocks = (0..size).step_by(block).map(|start| start..start + block);
    let page = commit..commit + PAGE;
    let write = |bytes: Range<usize>| {
        let is_needed = wanted[bytes.clone()].iter().any(|byte| *byte != 0xff);
        is_needed.then_some(Step::Write(bytes))
    };
    let start = commit - commit % block;
    let last = start..start + block;
    let mut steps = vec![Step::Erase(last.clone()), Step::CheckErased(last.clone())];
    for place in blocks.filter(|place| *place != last) {
        if current[place.clone()] != wanted[place.clone()] {
            // Also where it reads as erased: an erase that was interrupted can leave bits that do not stay.
            steps.push(Step::Erase(place.clone()));
            steps.extend(write(place));
        }
    }
    steps.extend(write(last.start..page.start));
    steps.extend(write(page.end..last.end));
    steps.push(Step::Check(0..page.start));
    steps.push(Step::Check(page.end..size));
    steps.extend(write(page.clone()));
    steps.push(Step::Check(page));
    Ok(steps)
}

/// Whether an interruption of the steps from `old` to `wanted` can have left `found`: bytes that the steps do not touch are as
/// before. Bytes that they touch can hold anything.
#[must_use]
pub fn is_interrupted(
    found: &[u8],
    old: &[u8],
    wanted: &[u8],
    block: usize,
    commit: usize,
) -> bool {
    let Ok(steps) = plan(old, wanted, block, commit) else {
        return false;
    };
    let mut left_alone = vec![true; old.len() / block];
    for step in &steps {
        if let Step::Erase(place) = step {
            left_alone[place.start / block] = false;
        }
    }
    let mut starts = (0..old.len()).step_by(block).zip(left_alone);
    found.len() == old.len()
        && found != old
        && starts.all(|(start, is_left)| {
            let place = start..start + block;
            !is_left || found[place.clone()] == old[place]
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_leaves_anything_in_what_is_touched_and_nothing_else() {
        let old = vec![7; 4 * 4096];
        let mut wanted = old.clone();
        wanted[4096] = 1;
        let is_it = |at: Option<usize>| {
            let mut found = old.clone();
            if let Some(at) = at {
                found[at] = 3;
            }
            is_interrupted(&found, &old, &wanted, 4096, 0x2100)
        };
        for touched in [0x1000, 0x1fff, 0x2000, 0x2100, 0x2fff] {
            assert!(is_it(Some(touched)), "{touched:#x}");
        }
        for other in [0, 0xfff, 0x3000, 0x3fff] {
            assert!(!is_it(Some(other)), "{other:#x}");
        }
        assert!(!is_it(None), "nothing has begun");
        assert!(!is_interrupted(&old[1..], &old, &wanted, 4096, 0));
        assert!(!is_interrupted(&wanted, &old, &old, 4096, 0));
        assert!(!is_interrupted(&wanted, &old, &wanted, 1, 0));
    }

    #[test]
    fn equal_content_needs_no_step() {
        assert_eq!(plan(&[7; 8192], &[7; 8192], 4096, 4096), Ok(Vec::new()));
    }

    #[test]
    fn only_what_differs_is_touched_and_the_commit_block() {
        let current = vec![7; 5 * 4096];
        let mut wanted = current.clone();
        wanted[4 * 4096] = 1;
        wanted[4096..8192].fill(0xff);
        assert_eq!(
            plan(&current, &wanted, 4096, 0x2100),
            Ok(vec![
                Step::Erase(0x2000..0x3000),
                Step::CheckErased(0x2000..0x3000),
                Step::Erase(0x1000..0x2000),
                Step::Erase(0x4000..0x5000),
                Step::Write(0x4000..0x5000),
                Step::Write(0x2000..0x2100),
                Step::Write(0x2200..0x3000),
                Step::Check(0..0x2100),
                Step::Check(0x2200..0x5000),
                Step::Write(0x2100..0x2200),
                Step::Check(0x2100..0x2200),
            ])
        );
    }

    #[test]
    fn what_reads_as_erased_is_erased_before_it_is_written() {
        let steps = plan(&[0xff; 8192], &[0; 8192], 4096, 0).expect("a plan");
        let block = 4096..8192;
        let erase = steps
            .iter()
            .position(|step| *step == Step::Erase(block.clone()));
        let write = steps
            .iter()
            .position(|step| *step == Step::Write(block.clone()));
        assert!(erase.is_some() && erase < write, "{steps:?}");
    }

    #[test]
    fn what_is_no_flash_is_refused() {
        let flash = [0; 8192];
        let wanted = [1; 8192];
        assert!(matches!(
            plan(&flash, &wanted[1..], 4096, 0),
            Err(PlanError::Size { .. })
        ));
        for block in [0, 1, 255, 3000, 8192 * 2] {
            assert!(
                matches!(
                    plan(&flash, &wanted, block, 0),
                    Err(PlanError::Block { .. })
                ),
                "{block}"
            );
        }
        for commit in [1, 8192, usize::MAX] {
            assert_eq!(
                plan(&flash, &wanted, 4096, commit),
                Err(PlanError::Commit(commit))
            );
        }
    }
}
