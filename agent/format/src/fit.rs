//! A good signature does not say whether an image is for this node, now. The agent refuses images by these rules.
//! `gild check` does so before anybody walks to the rack.

use crate::Manifest;

/// Refuses an image for another board, for a newer agent, or below the least rollback counter that the card asks for.
pub fn check(
    manifest: &Manifest,
    board: &str,
    agent_version: &str,
    least_rollback: u64,
) -> Result<(), String> {
    check_board(manifest, board)?;
    check_agent(manifest, agent_version, "this is")?;
    check_rollback(manifest, least_rollback, "the card asks for at least")
}

/// Refuses an image for another board.
pub fn check_board(manifest: &Manifest, board: &str) -> Result<(), String> {
    if manifest.board == board {
        return Ok(());
    }
    Err(format!(
        "the image is for the board {}, and this is a {board}",
        manifest.board
    ))
}

/// Refuses an image for a newer agent. `who` has an agent of this version.
pub fn check_agent(manifest: &Manifest, agent_version: &str, who: &str) -> Result<(), String> {
    if manifest.accepts_agent(agent_version) {
        return Ok(());
    }
    Err(format!(
        "image {} needs agent {}, and {who} {agent_version}: make a new card",
        manifest.image_id, manifest.min_agent_version,
    ))
}

/// Refuses an image with a rollback counter below `least`. `who` has that counter, or asks for it.
pub fn check_rollback(manifest: &Manifest, least: u64, who: &str) -> Result<(), String> {
    if manifest.rollback_counter >= least {
        return Ok(());
    }
    Err(format!(
        "image {} has rollback counter {}, and {who} {least}; to go back on purpose, pack and sign the older image again \
         with a higher --rollback-counter",
        manifest.image_id, manifest.rollback_counter
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Sha256Hex;

    const AGENT: &str = "1.2.3";

    fn manifest() -> Manifest {
        Manifest {
            format_version: 1,
            board: "rpi5".to_owned(),
            image_id: "image-1".to_owned(),
            build_time: 0,
            rollback_counter: 3,
            proves_itself: false,
            min_agent_version: AGENT.to_owned(),
            raw_size: 0,
            sector_size: 512,
            chunk_size: 0,
            stored_file: String::new(),
            stored_size: 0,
            stored_sha256: Sha256Hex([0; 32]),
            partitions: Vec::new(),
            tools: BTreeMap::new(),
            chunks: Vec::new(),
        }
    }

    #[test]
    fn an_image_for_this_board_agent_and_time_is_taken() {
        assert_eq!(check(&manifest(), "rpi5", AGENT, 3), Ok(()));
    }

    #[test]
    fn an_image_for_another_board_agent_or_time_is_refused() {
        let said = check(&manifest(), "rock5b", AGENT, 0).expect_err("another board");
        assert_eq!(
            said,
            "the image is for the board rpi5, and this is a rock5b"
        );
        let said = check(&manifest(), "rpi5", AGENT, 4).expect_err("an older image");
        assert!(said.contains("rollback counter 3"), "{said}");
        let newer = Manifest {
            min_agent_version: "999.0.0".to_owned(),
            ..manifest()
        };
        let said = check(&newer, "rpi5", AGENT, 0).expect_err("an image for a newer agent");
        assert!(said.contains("needs agent 999.0.0"), "{said}");
    }
}
