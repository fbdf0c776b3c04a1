//! A dry run takes all steps except those that write, and then says what it would have done.

use gild_boards::Board;
use gild_card_format::{Arguments, BootOrderPolicy, Config};
use log::info;

use crate::boot_order::{self, BootOrder, Kind, Standing};
use crate::card::folder::Folder;
use crate::consent::Decision;
use crate::look::Seen;
use crate::machine::Machine;
use crate::manifest::Image;
use crate::node::Node;
use crate::receipt;

/// The state of a dry run.
#[derive(Clone, Debug, Default)]
pub struct DryRun {
    /// What would be written.
    pub would_write: Option<String>,
    /// What was said last, so that it is not repeated.
    said: Option<String>,
}

/// The ending of the card's mark that a Rock 5B's flash is half written.
const HALF_WRITTEN: &str = ".writing";

/// Whether this is a dry run. The kernel argument counts even if the card's configuration cannot be used.
pub fn is_on(arguments: &Arguments, config: Option<&Config>) -> bool {
    let by_argument = matches!(arguments.get("dry_run"), Some("1" | "true"));
    config.map_or(by_argument, |config| config.dry_run)
}

/// Describes the write that is left out.
pub fn writing(image: &Image, seen: &Seen) -> String {
    let manifest = &image.manifest;
    let why = match &seen.decision {
        Decision::Write(reason) => reason.to_string(),
        Decision::Replace(record) if record.image_id == manifest.image_id => {
            "its image has had its starts, and its pause is over some time".to_owned()
        }
        _ => "its image has had its starts".to_owned(),
    };
    format!(
        "write image {} ({} MB to fetch) to {}, because {why}",
        manifest.image_id,
        manifest.data_stored_bytes() / 1_000_000,
        seen.target
    )
}

/// Says what would be done, on the console, in the receipt and in the reports. It says the same thing only once.
pub fn say(
    machine: &Machine,
    board: &Board,
    node: &mut Node,
    seen: &Seen,
    policy: Option<BootOrderPolicy>,
) {
    let mut before = node.dry_run.take().unwrap_or_default();
    let what = match before.would_write.take() {
        Some(writing) => writing,
        None => format!(
            "start {} as it is, with image {}",
            seen.target,
            seen.image_id().as_deref().unwrap_or("unknown")
        ),
    };
    let words = format!(
        "dry run: this node would {what}. Boot order: {}. Nothing was written",
        of_boot_order(machine, board, node, policy)
    );
    let is_news = before.said.as_ref() != Some(&words);
    before.said = Some(words.clone());
    node.dry_run = Some(before);
    node.held = Some(words.clone());
    if is_news {
        info!("{words}");
        machine.reporter.held(&words);
        machine.knows(node);
        receipt::tell(machine, node, None, true);
    }
}

fn of_boot_order(
    machine: &Machine,
    board: &Board,
    node: &Node,
    policy: Option<BootOrderPolicy>,
) -> String {
    // Only asking would already complete a half-written flash, so the agent looks for the mark instead.
    let names = node.card.as_ref().map(Folder::names);
    let names = names.and_then(Result::ok).unwrap_or_default();
    if names.iter().any(|name| name.ends_with(HALF_WRITTEN)) {
        return "a boot flash that is half written would be completed".to_owned();
    }
    let (outcome, _) = boot_order::set(machine, board, policy, node, Standing::Planned);
    in_words(&outcome)
}

fn in_words(outcome: &BootOrder) -> String {
    match outcome {
        BootOrder::AlreadyRight => "it is right already".to_owned(),
        BootOrder::Left(left) if left.kind == Kind::Waits => {
            "it would be changed to the NVMe disk first, once the image is proven".to_owned()
        }
        BootOrder::Left(left) => format!("it would stay as it is ({left})"),
        BootOrder::Staged | BootOrder::Written => "it would be changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::BootOrderError;

    #[test]
    fn a_kernel_argument_or_the_card_has_it_be_a_dry_run() {
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let file = format!("server = \"nfs://a/b\"\npublic_key = \"{KEY}\"\n");
        for (line, argument, expected) in [
            ("", "", false),
            ("dry_run = true", "", true),
            ("", "gild.dry_run=1", true),
            ("", "gild.dry_run=true", true),
            ("dry_run = true", "gild.dry_run=0", false),
        ] {
            let arguments = Arguments::parse(argument);
            let config = Config::parse(Some(&format!("{file}{line}")), &arguments);
            let config = config.expect("a configuration");
            assert_eq!(
                is_on(&arguments, Some(&config)),
                expected,
                "{line} {argument}"
            );
        }
        assert!(is_on(&Arguments::parse("gild.dry_run=1"), None));
        assert!(!is_on(&Arguments::parse(""), None));
    }

    #[test]
    fn each_outcome_of_the_boot_order_has_its_words() {
        let left = |kind| {
            BootOrder::Left(BootOrderError {
                kind,
                reason: "no files".to_owned(),
                next_step: "",
            })
        };
        for (outcome, part) in [
            (BootOrder::AlreadyRight, "right already"),
            (left(Kind::Waits), "would be changed"),
            (left(Kind::Known), "would stay as it is (no files)"),
        ] {
            let words = in_words(&outcome);
            assert!(words.contains(part), "{words}");
        }
    }
}
