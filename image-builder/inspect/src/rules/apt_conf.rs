//! What apt's configuration says once all its files are read.

use std::collections::BTreeMap;

use crate::image::Image;

pub const FOLDER: &str = "etc/apt/apt.conf.d";
const FILE: &str = "etc/apt/apt.conf";

/// Its values by their names in lower case, with `::` between the parts, and its lists.
#[derive(Debug, Default)]
pub struct AptConf {
    values: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
    includes_others: bool,
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

impl AptConf {
    /// As apt reads an image's: the files of the folder by name, then the one file.
    pub fn of(image: &Image) -> Self {
        let mut conf = Self::default();
        let names = image.root.in_folder(FOLDER).map(|(path, _)| path);
        for path in names.filter(|path| is_read(path)).chain([FILE]) {
            conf.read(&image.root_text(path).unwrap_or_default());
        }
        conf
    }

    /// Does a file name others that apt reads too? Those are not read here.
    pub fn includes_others(&self) -> bool {
        self.includes_others
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values
            .get(&name.to_ascii_lowercase())
            .map(String::as_str)
    }

    /// All that is listed under a name.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let name = name.to_ascii_lowercase();
        let below = format!("{name}::");
        let named = self
            .values
            .iter()
            .filter(|(key, _)| key.starts_with(&below));
        let listed = self.lists.get(&name).into_iter().flatten();
        listed
            .chain(named.map(|(_, value)| value))
            .map(String::as_str)
            .collect()
    }

    fn read(&mut self, text: &str) {
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for token in tokens(text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => scopes.push(words.drain(..).next().unwrap_or_default()),
                Token::End => self.statement(&scopes, &std::mem::take(&mut words)),
                Token::Close => {
                    self.statement(&scopes, &std::mem::take(&mut words));
                    scopes.pop();
                }
            }
        }
    }

    fn statement(&mut self, scopes: &[String], words: &[String]) {
        let within = |name: &str| {
            let parts = scopes.iter().map(String::as_str).chain([name]);
            let name = parts.collect::<Vec<_>>().join("::");
            name.to_ascii_lowercase()
        };
        match words {
            [directive, ..] if directive.eq_ignore_ascii_case("#include") => {
                self.includes_others = true;
            }
            [directive, name] if directive == "#clear" => {
                let (name, below) = (within(name), within(name) + "::");
                let stays = |key: &String| *key != name && !key.starts_with(&below);
                self.values.retain(|key, _| stays(key));
                self.lists.retain(|key, _| stays(key));
            }
            [name, value] => match within(name).strip_suffix("::") {
                Some(list) => self.append(list, value),
                None => {
                    self.values.insert(within(name), value.clone());
                }
            },
            [value] => self.append(within("").trim_end_matches(':'), value),
            _ => {}
        }
    }

    fn append(&mut self, list: &str, value: &str) {
        let list = self.lists.entry(list.to_owned()).or_default();
        list.push(value.to_owned());
    }
}

/// Does apt read a file of this name?
fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !name.starts_with('.') && name.rsplit_once('.').is_none_or(|(_, end)| end == "conf")
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_comment = rest.starts_with("//")
            || (first == '#'
                && !["#clear", "#include"]
                    .iter()
                    .any(|word| rest.starts_with(word)));
        let length = if is_comment {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            tokens.push(Token::Word(quoted[..end].to_owned()));
            (end + 2).min(rest.len())
        } else if let Some(mark) = mark(first) {
            tokens.push(mark);
            1
        } else {
            let is_end = |c: char| c.is_whitespace() || c == '"' || mark(c).is_some();
            let end = rest.find(is_end).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

fn mark(c: char) -> Option<Token> {
    match c {
        '{' => Some(Token::Open),
        '}' => Some(Token::Close),
        ';' => Some(Token::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AptConf {
        let mut conf = AptConf::default();
        conf.read(text);
        conf
    }

    #[test]
    fn files_are_read_as_apt_reads_them() {
        let conf = read(
            "// APT::Periodic::Enable \"0\";\n/* all; \"of\" it */ # too\nAPT::Periodic::Enable \"1\"; apt { periodic { x 5; y \"a;b\" }; };\n\
             U::Origins { \"one\"; \"two//\"; };\nU::Origins:: \"three\"; U::Origins::named \"four\";\n",
        );
        for (name, value) in [
            ("APT::Periodic::Enable", "1"),
            ("APT::Periodic::X", "5"),
            ("APT::Periodic::Y", "a;b"),
        ] {
            assert_eq!(conf.value(name), Some(value), "{name}");
        }
        assert_eq!(conf.list("U::Origins"), ["one", "two//", "three", "four"]);
    }

    #[test]
    fn the_last_word_counts_and_a_list_can_be_cleared() {
        let conf = read("A::B \"1\"; A::B \"2\"; L { \"x\"; }; #clear L;\nL { \"y\"; };");
        assert_eq!(conf.value("a::b"), Some("2"));
        assert_eq!(conf.list("L"), ["y"]);
    }

    #[test]
    fn files_that_others_name_are_noticed() {
        for text in [
            "#include \"/etc/x\";",
            "A { #include /etc/x/; };",
            "#include;",
        ] {
            assert!(read(text).includes_others(), "{text}");
        }
        assert!(!read("# include \"/etc/x\";\n// #include /etc/x;\n").includes_others());
    }

    #[test]
    fn only_some_names_are_read() {
        let read = ["20auto-upgrades", "a/99own.conf"].map(is_read);
        let passed_over = ["50x.ucf-dist", ".hidden", "20auto.dpkg-old"].map(is_read);
        assert_eq!((read, passed_over), ([true; 2], [false; 3]));
    }
}
