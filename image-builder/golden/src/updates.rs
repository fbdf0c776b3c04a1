//! Whether a node installs security updates by itself. The rules for what it may install are in `image-builder/node/rootfs`.

use crate::tree::{Tree, TreeError};

/// The program that installs them.
const PROGRAM: &str = "usr/bin/unattended-upgrade";
/// The apt configuration that makes apt's timers start it. It comes after the package's own file and gild's.
const PERIODIC: &str = "etc/apt/apt.conf.d/90gild-periodic";
/// Says that it is left out on purpose.
const MARK: &str = "usr/lib/gild/without-unattended-upgrades";

/// Why a node could not install them.
#[derive(Debug, thiserror::Error)]
pub enum UpdatesError {
    /// No package brought it.
    #[error(
        "the recipe's `updates.security` has nodes install security updates by themselves, and no package brought /{PROGRAM}; \
         next: add the package unattended-upgrades to the recipe's `packages`, or say `security = false` in its `[updates]`"
    )]
    NoProgram,
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Has apt's timers install security updates, or not.
pub fn install(tree: &mut Tree, by_itself: bool) -> Result<(), UpdatesError> {
    if by_itself && tree.open(PROGRAM).is_err() {
        return Err(UpdatesError::NoProgram);
    }
    if !by_itself {
        tree.insert_file(MARK, 0o644, Vec::new())?;
    }
    let switch = u8::from(by_itself);
    let text = format!(
        "APT::Periodic::Enable \"1\";\nAPT::Periodic::Update-Package-Lists \"{switch}\";\n\
         APT::Periodic::Unattended-Upgrade \"{switch}\";\nAPT::Periodic::AutocleanInterval \"7\";\n"
    );
    tree.insert_file(PERIODIC, 0o644, text.into_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switched(by_itself: bool, program: bool) -> Result<(String, bool), UpdatesError> {
        let mut tree = Tree::default();
        if program {
            tree.insert_file(PROGRAM, 0o755, "#!/usr/bin/python3\n")?;
        }
        install(&mut tree, by_itself)?;
        Ok((tree.read_text(PERIODIC)?, tree.contains(MARK)))
    }

    #[test]
    fn a_node_installs_them_unless_the_recipe_says_not() {
        let (text, is_marked) = switched(true, true).expect("the program");
        assert!(text.contains("Unattended-Upgrade \"1\"") && text.contains("Lists \"1\""));
        assert!(!is_marked);
        let (text, is_marked) = switched(false, false).expect("no program is needed");
        assert!(text.contains("Unattended-Upgrade \"0\"") && text.contains("Lists \"0\""));
        assert!(is_marked);
    }

    #[test]
    fn the_error_for_a_recipe_without_the_program_says_what_to_add() {
        let error = switched(true, false).expect_err("no program").to_string();
        assert!(error.contains("package unattended-upgrades"), "{error}");
    }
}
