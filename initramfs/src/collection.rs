//! The files of a card while they come together. All boards share the card, so a name on it can have one content only.

use std::collections::BTreeMap;

use crate::fat::Files;

/// Two different files would have one name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} on the card would be two different files, one for {first} and one for {second}, so no card can start both; next: \
     read \"What a kind of firmware needs\" in docs/add-a-board.md"
)]
pub struct TwoContents {
    /// The name that they share.
    pub path: String,
    /// Whom the first one is for.
    pub first: String,
    /// Whom the other one is for.
    pub second: String,
}

/// Files, and whom each is for.
#[derive(Debug, Default)]
pub struct Collection {
    /// By the name in lower case, because a FAT takes two that differ in case only as one.
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
struct File {
    path: String,
    content: Vec<u8>,
    of: String,
}

impl Collection {
    /// Adds a file for `of`: a board, or all of them. Boards may share one with the same content.
    pub fn put(&mut self, of: &str, path: &str, content: Vec<u8>) -> Result<(), TwoContents> {
        let name = path.to_ascii_lowercase();
        match self.files.get(&name) {
            Some(file) if file.content == content => Ok(()),
            Some(file) => Err(TwoContents {
                path: path.to_owned(),
                first: file.of.clone(),
                second: of.to_owned(),
            }),
            None => {
                let file = File {
                    path: path.to_owned(),
                    content,
                    of: of.to_owned(),
                };
                self.files.insert(name, file);
                Ok(())
            }
        }
    }

    /// All of them, by their names.
    pub fn into_files(self) -> Files {
        let files = self.files.into_values();
        files.map(|file| (file.path, file.content)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_share_a_file_only_with_one_content() {
        let mut collection = Collection::default();
        let mut put = |of: &str, path: &str, content: &str| {
            collection.put(of, path, content.as_bytes().to_vec())
        };
        put("one", "a/B.dtbo", "x").expect("a file");
        put("two", "a/B.dtbo", "x").expect("the same file");
        put("two", "a/b.dtb", "y").expect("another file");
        for path in ["a/B.dtbo", "A/b.dtbo"] {
            let said = put("two", path, "y").expect_err(path).to_string();
            let expected = format!(
                "{path} on the card would be two different files, one for one and one for two"
            );
            assert!(said.starts_with(&expected), "{said}");
        }
        let files = collection.into_files();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a/B.dtbo", "a/b.dtb"]);
        assert_eq!(files["a/B.dtbo"], b"x");
    }
}
