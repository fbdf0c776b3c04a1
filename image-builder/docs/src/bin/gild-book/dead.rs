//! Links in rendered pages that lead nowhere.

use std::collections::BTreeMap;

/// What is in the book: paths, with the text of those that are pages.
pub type Pages = BTreeMap<String, String>;

/// Those that lead nowhere, each as `page: target`.
pub fn links(pages: &Pages) -> Vec<String> {
    let mut dead = Vec::new();
    for (page, text) in pages {
        for attribute in ["href", "src"] {
            for target in values(text, attribute) {
                if is_inside(target) && !is_there(pages, page, target) {
                    dead.push(format!("{page}: {target}"));
                }
            }
        }
    }
    dead
}

/// Whether a link stays in the book.
fn is_inside(target: &str) -> bool {
    !target.contains("://") && !target.starts_with("data:") && !target.starts_with("mailto:")
}

fn is_there(pages: &Pages, page: &str, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        page.to_owned()
    } else {
        beside(page, file)
    };
    let Some(text) = pages.get(&path) else {
        return false;
    };
    heading.is_empty() || values(text, "id").any(|id| id == heading)
}

/// What a page calls this file.
fn beside(page: &str, file: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {attribute}=\"");
    let places: Vec<usize> = page
        .match_indices(&start)
        .map(|(at, found)| at + found.len())
        .collect();
    places
        .into_iter()
        .filter_map(|at| Some(page[at..].split_once('"')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_its_page_or_its_heading_is_dead() {
        let page = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let pages = Pages::from([
            page(
                "index.html",
                r#"<a href="docs/a.html#one">, <a href="docs/none.html">"#,
            ),
            page(
                "docs/a.html",
                r##"<h1 id="one">, <a href="#two">, <a href="../index.html">, <img src="b.png">, <a href="https://a.example/x">"##,
            ),
            page("docs/b.png", ""),
        ]);
        assert_eq!(
            links(&pages),
            ["docs/a.html: #two", "index.html: docs/none.html"]
        );
    }
}
