//! A good signature does not say whether an image is for this node, now. The agent refuses images by these rules.
//! `gild check` does so before anybody walks to the rack.

use crate::Manifest;

/// What a flasher goes by when it judges an image.
#[derive(Clone, Copy, Debug)]
pub struct Flasher<'a> {
    /// The board that it runs on.
    pub board: &'a str,
    /// The version of its agent, if it is known.
    pub agent: Option<&'a str>,
    /// Who has this agent: `this is`, for example.
    pub whose_agent: &'a str,
    /// The least rollback counter.
    pub least_rollback: u64,
    /// Who asks for it.
    pub who_asks: &'a str,
}

impl Flasher<'_> {
    /// Refuses an image of another board, one that needs a newer agent, and one below the least rollback counter.
    pub fn takes(&self, manifest: &Manifest) -> Result<(), String> {
        if manifest.board != self.board {
            return Err(format!(
                "the image is for the board {}, and this is a {}",
                manifest.board, self.board
            ));
        }
        if let Some(agent) = self.agent
            && !manifest.accepts_agent(agent)
        {
            return Err(format!(
                "image {} needs agent {}, and {} {agent}; next: make a new card",
                manifest.image_id, manifest.min_agent_version, self.whose_agent
            ));
        }
        check_rollback(manifest, self.least_rollback, self.who_asks)
    }
}

/// Refuses an image with a rollback counter below `least`. `who` has that counter, or asks for it.
pub fn check_rollback(manifest: &Manifest, least: u64, who: &str) -> Result<(), String> {
    if manifest.rollback_counter >= least {
        return Ok(());
    }
    Err(format!(
        "image {} has rollback counter {}, and {who} {least}; next: to go back on purpose, pack and sign the older image again \
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

    fn check(
        manifest: &Manifest,
        board: &str,
        agent: Option<&str>,
        least: u64,
    ) -> Result<(), String> {
        let flasher = Flasher {
            board,
            agent,
            whose_agent: "this is",
            least_rollback: least,
            who_asks: "the card asks for at least",
        };
        flasher.takes(manifest)
    }

    #[test]
    fn an_image_for_this_board_agent_and_time_is_taken() {
        assert_eq!(check(&manifest(), "rpi5", Some(AGENT), 3), Ok(()));
    }

    #[test]
    fn an_image_for_another_board_agent_or_time_is_refused() {
        let said = check(&manifest(), "rock5b", Some(AGENT), 0).expect_err("another board");
        assert_eq!(
            said,
            "the image is for the board rpi5, and this is a rock5b"
        );
        let said = check(&manifest(), "rpi5", Some(AGENT), 4).expect_err("an older image");
        assert!(said.contains("rollback counter 3"), "{said}");
        let newer = Manifest {
            min_agent_version: "999.0.0".to_owned(),
            ..manifest()
        };
        let said = check(&newer, "rpi5", Some(AGENT), 0).expect_err("an image for a newer agent");
        assert!(said.contains("needs agent 999.0.0"), "{said}");
        assert_eq!(
            check(&newer, "rpi5", None, 0),
            Ok(()),
            "nobody knows the agent"
        );
    }
}
