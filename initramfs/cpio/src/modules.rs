//! Which modules must be loaded, and in which order. Pure: reads the text that `depmod` writes.

use std::collections::{HashMap, HashSet};

/// What a kernel says about its modules.
#[derive(Debug)]
pub struct ModuleIndex {
    loadable: HashMap<String, Loadable>,
    built_in: HashSet<String>,
    soft: HashMap<String, Vec<String>>,
}

#[derive(Debug)]
struct Loadable {
    path: String,
    needs: Vec<String>,
}

/// `depmod`'s tables contradict themselves.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// A line has no colon.
    #[error("modules.dep, line {line}: expected `MODULE: NEEDS...`, found `{text}`")]
    Malformed {
        /// Counted from one.
        line: usize,
        /// The line.
        text: String,
    },
    /// A module needs another module that has no line.
    #[error("modules.dep: {path} needs `{missing}`, which is not listed: run depmod again")]
    Dangling {
        /// The module's file.
        path: String,
        /// The name that it needs.
        missing: String,
    },
}

/// The kernel has no module of this name, neither loadable nor built in.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownModule(pub String);

impl ModuleIndex {
    /// Reads the contents of `modules.dep`, `modules.builtin` and `modules.softdep`.
    pub fn parse(dep: &str, builtin: &str, softdep: &str) -> Result<Self, IndexError> {
        let mut loadable = HashMap::new();
        for (number, line) in dep
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let (path, needs) = line.split_once(':').ok_or_else(|| IndexError::Malformed {
                line: number + 1,
                text: line.to_owned(),
            })?;
            let needs = needs.split_whitespace().map(name_of).collect();
            loadable.insert(
                name_of(path),
                Loadable {
                    path: path.trim().to_owned(),
                    needs,
                },
            );
        }
        for module in loadable.values() {
            if let Some(missing) = module
                .needs
                .iter()
                .find(|name| !loadable.contains_key(*name))
            {
                return Err(IndexError::Dangling {
                    path: module.path.clone(),
                    missing: missing.clone(),
                });
            }
        }
        Ok(Self {
            loadable,
            built_in: builtin.split_whitespace().map(name_of).collect(),
            soft: soft_dependencies(softdep),
        })
    }

    /// The files of `roots` and of all that they need, each once, and each after the modules that it needs.
    /// A built-in module needs no file.
    pub fn load_order<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<&str>, UnknownModule> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for root in roots {
            let name = canonical(root);
            if !self.loadable.contains_key(&name) && !self.built_in.contains(&name) {
                return Err(UnknownModule(root.to_owned()));
            }
            self.visit(&name, &mut seen, &mut order);
        }
        Ok(order)
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut HashSet<&'a str>, order: &mut Vec<&'a str>) {
        let Some((name, module)) = self.loadable.get_key_value(name) else {
            // Built in, or a soft dependency that this kernel does not have: soft means it may be absent.
            return;
        };
        if !seen.insert(name) {
            return;
        }
        for before in self.soft.get(name).into_iter().flatten() {
            self.visit(before, seen, order);
        }
        // depmod writes the deepest dependency last.
        for need in module.needs.iter().rev() {
            self.visit(need, seen, order);
        }
        order.push(&module.path);
    }
}

/// The names after `pre:` in lines like `softdep r8169 pre: realtek post: other`.
fn soft_dependencies(text: &str) -> HashMap<String, Vec<String>> {
    let mut soft: HashMap<String, Vec<String>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some("softdep"), Some(module)) = (words.next(), words.next()) {
            let before = words
                .skip_while(|word| *word != "pre:")
                .skip(1)
                .take_while(|word| *word != "post:");
            soft.entry(canonical(module))
                .or_default()
                .extend(before.map(canonical));
        }
    }
    soft
}

/// The module's name, from the path of its file.
fn name_of(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    canonical(file.split_once(".ko").map_or(file, |(stem, _)| stem))
}

/// The kernel holds `-` and `_` for the same letter in module names.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/host/nvme.ko.xz: kernel/host/nvme-core.ko.xz kernel/common/nvme-auth.ko.xz kernel/common/nvme-keyring.ko.xz
kernel/host/nvme-core.ko.xz: kernel/common/nvme-auth.ko.xz kernel/common/nvme-keyring.ko.xz
kernel/common/nvme-auth.ko.xz: kernel/common/nvme-keyring.ko.xz
kernel/common/nvme-keyring.ko.xz:

kernel/net/r8169.ko.zst: kernel/phy/libphy.ko
kernel/phy/realtek.ko: kernel/phy/libphy.ko
kernel/phy/libphy.ko:
kernel/fs/vfat.ko: kernel/fs/fat.ko
kernel/fs/fat.ko:
";
    const BUILTIN: &str = "kernel/drivers/mmc/core/mmc_core.ko\nkernel/lib/crc32c-cryptoapi.ko\n";
    const SOFTDEP: &str = "\
# Soft dependencies extracted from modules themselves.
softdep r8169 pre: realtek absent-module crc32c_cryptoapi post: vfat
softdep nvme-core post: r8169
";

    fn index() -> ModuleIndex {
        ModuleIndex::parse(DEP, BUILTIN, SOFTDEP).expect("the tables are whole")
    }

    fn order(roots: &[&str]) -> Vec<String> {
        index()
            .load_order(roots.iter().copied())
            .expect("all are known")
            .into_iter()
            .map(name_of)
            .collect()
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        assert_eq!(
            order(&["nvme"]),
            ["nvme_keyring", "nvme_auth", "nvme_core", "nvme"]
        );
    }

    #[test]
    fn what_two_modules_need_comes_once() {
        assert_eq!(
            order(&["nvme-core", "nvme", "nvme"]),
            ["nvme_keyring", "nvme_auth", "nvme_core", "nvme"]
        );
    }

    #[test]
    fn dash_and_underscore_are_one_letter() {
        assert_eq!(order(&["nvme-core"]), order(&["nvme_core"]));
    }

    #[test]
    fn a_soft_dependency_comes_before_and_may_be_absent() {
        assert_eq!(order(&["r8169"]), ["libphy", "realtek", "r8169"]);
    }

    #[test]
    fn the_order_of_the_roots_is_kept() {
        assert_eq!(order(&["vfat", "libphy"]), ["fat", "vfat", "libphy"]);
        assert_eq!(order(&["libphy", "vfat"]), ["libphy", "fat", "vfat"]);
    }

    #[test]
    fn a_built_in_module_needs_no_file() {
        assert_eq!(order(&["mmc_core", "crc32c-cryptoapi"]), [""; 0]);
    }

    #[test]
    fn the_paths_are_the_kernel_s_files() {
        let index = index();
        assert_eq!(
            index.load_order(["realtek"]),
            Ok(vec!["kernel/phy/libphy.ko", "kernel/phy/realtek.ko"])
        );
    }

    #[test]
    fn an_unknown_module_is_named_as_it_was_asked_for() {
        assert_eq!(
            index().load_order(["vfat", "no-such"]),
            Err(UnknownModule("no-such".to_owned()))
        );
    }

    #[test]
    fn a_circle_ends() {
        let dep = "a.ko: b.ko\nb.ko: a.ko\n";
        let index = ModuleIndex::parse(dep, "", "softdep a pre: b\n").expect("nothing is missing");
        assert_eq!(index.load_order(["a"]).map(|order| order.len()), Ok(2));
    }

    #[test]
    fn broken_tables_are_refused() {
        let malformed = ModuleIndex::parse("a.ko:\nnonsense\n", "", "").expect_err("no colon");
        assert_eq!(
            malformed,
            IndexError::Malformed {
                line: 2,
                text: "nonsense".to_owned()
            }
        );
        let dangling =
            ModuleIndex::parse("a.ko: gone.ko\n", "", "").expect_err("gone is not listed");
        assert_eq!(
            dangling,
            IndexError::Dangling {
                path: "a.ko".to_owned(),
                missing: "gone".to_owned()
            }
        );
    }
}
