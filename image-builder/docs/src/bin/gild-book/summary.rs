//! The list of pages as mdBook wants it, made of the one in docs/README.md.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The page with the list.
pub const LIST: &str = "docs/README.md";
/// It comes first.
const FRONT: &str = "README.md";

/// What a page calls itself: its first heading.
pub fn title(page: &str) -> &str {
    page.lines()
        .find_map(|line| line.strip_prefix("# "))
        .unwrap_or("?")
}

/// The list of these pages, each a path with its title: in the order of docs/README.md, under its headings. At the end stands
/// what that does not list.
pub fn summary(list: &str, pages: &[(String, String)]) -> String {
    let mut summary = String::from("# Summary\n\n");
    let mut left: BTreeSet<&str> = pages.iter().map(|(path, _)| path.as_str()).collect();
    let mut add = |path: &str, text: Option<&str>, summary: &mut String| {
        let page = pages.iter().find(|(known, _)| known == path);
        let Some((path, title)) = page.filter(|_| left.remove(path)) else {
            return;
        };
        let _ = writeln!(summary, "- [{}]({path})", text.unwrap_or(title));
    };
    add(FRONT, None, &mut summary);
    add(LIST, None, &mut summary);
    for line in list.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(summary, "\n# {heading}\n");
        }
        for (text, target) in links(line) {
            let path = match target.strip_prefix("../") {
                Some(above) => above.to_owned(),
                None => format!("docs/{target}"),
            };
            // The name of a file is not a title.
            let text = Some(text).filter(|text| !text.contains(".md"));
            add(&path, text, &mut summary);
        }
    }
    let _ = writeln!(summary, "\n# More\n");
    for (path, _) in pages {
        add(path, None, &mut summary);
    }
    summary
}

/// The links of a line: text and target.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("](").filter_map(|(middle, _)| {
        let (_, text) = line[..middle].rsplit_once('[')?;
        let (target, _) = line[middle + 2..].split_once(')')?;
        Some((text, target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_stands_once_in_the_order_of_the_list() {
        let list = "# The pages\n## Run a rack\n1. [Getting started](a.md): b\n| x | [b.md](b.md), [c](../C.md) |\n- [again](a.md)\n";
        let pages = [
            "README.md",
            "C.md",
            "D.md",
            "docs/README.md",
            "docs/a.md",
            "docs/b.md",
        ];
        let pages = pages.map(|path| (path.to_owned(), format!("title of {path}")));
        assert_eq!(
            summary(list, &pages),
            "# Summary\n\n- [title of README.md](README.md)\n- [title of docs/README.md](docs/README.md)\n\n\
             # Run a rack\n\n- [Getting started](docs/a.md)\n- [title of docs/b.md](docs/b.md)\n- [c](C.md)\n\n\
             # More\n\n- [title of D.md](D.md)\n"
        );
    }

    #[test]
    fn a_page_is_called_by_its_first_heading() {
        assert_eq!(title("text\n# The desk\n## More\n"), "The desk");
    }
}
