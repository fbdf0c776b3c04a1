//! The pages as a book. `gild-book lay-out CHECKOUT FOLDER` copies them, and lists them as mdBook wants it; mdBook then renders them;
//! `gild-book check BOOK` looks for dead links in what it has made.

mod dead;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["lay-out", checkout, folder] => lay_out(Path::new(checkout), Path::new(folder)),
        ["check", book] => check(Path::new(book)),
        _ => bail!(
            "this is not a task; next: gild-book lay-out CHECKOUT FOLDER, or gild-book check BOOK"
        ),
    }
}

/// Fills a folder with the pages at the same places as in the checkout, so that their links hold, and with the list of them.
fn lay_out(checkout: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    copy(&checkout.join("docs"), &folder.join("docs"))?;
    // A page links to it.
    copy(&checkout.join("NOTICE"), &folder.join("NOTICE"))?;
    for page in pages_in(checkout)? {
        copy(&checkout.join(&page), &folder.join(&page))?;
    }
    let mut pages = pages_in(folder)?;
    let docs = pages_in(&folder.join("docs"))?;
    pages.extend(docs.iter().map(|name| format!("docs/{name}")));
    let titled = pages.into_iter().map(|path| {
        let text = read(&folder.join(&path))?;
        Ok((path, summary::title(&text).to_owned()))
    });
    let titled = titled.collect::<Result<Vec<_>>>()?;
    let list = read(&folder.join(summary::LIST))?;
    let file = folder.join("SUMMARY.md");
    fs::write(&file, summary::summary(&list, &titled))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Says which links of a rendered book lead nowhere.
fn check(book: &Path) -> Result<()> {
    let mut files = Vec::new();
    files_below(book, &mut files)?;
    files.sort();
    let mut pages = dead::Pages::new();
    for file in &files {
        let name = file.strip_prefix(book)?.to_string_lossy().into_owned();
        let is_page = file
            .extension()
            .is_some_and(|extension| extension == "html");
        let text = if is_page { read(file)? } else { String::new() };
        pages.insert(name, text);
    }
    let dead = dead::links(&pages);
    if !dead.is_empty() {
        bail!(
            "the book has dead links; next: correct these in their pages:\n{}",
            dead.join("\n")
        );
    }
    Ok(())
}

/// The names of the pages in a folder, sorted.
fn pages_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Copies a file, or a folder with all below it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    if from.is_dir() {
        files_below(from, &mut files)?;
    } else {
        files.push(from.to_owned());
    }
    for file in files {
        let rest = file.strip_prefix(from)?;
        // Joining nothing would add a slash.
        let to = if rest.as_os_str().is_empty() {
            to.to_owned()
        } else {
            to.join(rest)
        };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::copy(&file, &to)
            .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
