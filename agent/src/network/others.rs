//! Which interfaces are tried last, because they did not lead to the server.

use gild_identity::Interface;

/// The interfaces to try last: those that failed, or only the latest of them once all have failed. Empty if the board has
/// one interface.
pub fn others_first(failed: &[u32], last: u32, wired: &[Interface]) -> Vec<u32> {
    let with_carrier: Vec<u32> = wired
        .iter()
        .filter(|interface| interface.has_carrier())
        .map(|interface| interface.index)
        .collect();
    let is_left = |failed: &[u32]| with_carrier.iter().any(|index| !failed.contains(index));
    if is_left(failed) {
        return failed.to_vec();
    }
    let only_last: Vec<u32> = failed
        .iter()
        .copied()
        .filter(|index| *index == last)
        .collect();
    if is_left(&only_last) {
        only_last
    } else {
        Vec::new()
    }
}

/// Whether the interface in use has failed, and there is one that may do better.
pub fn may_another_lead(failed: &[u32], present: u32, wired: &[Interface]) -> bool {
    failed.contains(&present)
        && wired
            .iter()
            .any(|interface| interface.has_carrier() && !failed.contains(&interface.index))
}

#[cfg(test)]
mod tests {
    use super::super::testing::interfaces;
    use super::*;

    #[test]
    fn an_interface_that_failed_comes_after_the_others_until_all_have() {
        let root = tempfile::tempdir().expect("a directory");
        let two = interfaces(root.path(), &[(2, true), (3, true)]);
        assert_eq!(others_first(&[], 2, &two), [] as [u32; 0]);
        assert!(!may_another_lead(&[], 2, &two), "it has not failed");
        assert_eq!(others_first(&[2], 2, &two), [2]);
        assert!(may_another_lead(&[2], 2, &two));
        assert_eq!(others_first(&[2, 3], 3, &two), [3], "the first one again");
        assert!(may_another_lead(&[3], 3, &two));

        let root = tempfile::tempdir().expect("a directory");
        let one = interfaces(root.path(), &[(2, true), (3, false)]);
        assert_eq!(others_first(&[2], 2, &one), [] as [u32; 0]);
        assert!(!may_another_lead(&[2], 2, &one), "the other has no cable");
    }
}
