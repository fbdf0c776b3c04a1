//! The words of pages and sources: of a page all but its code, of a Rust source its comments and string literals.

/// A word in lower case, or a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// The line that it stands on.
    pub line: usize,
}

/// Words that follow each other.
pub type Passage = Vec<Token>;

/// What a piece of a Rust source is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Comment,
    Literal,
    Blank,
    Code,
}

/// A page without its blocks of code.
pub fn of_markdown(page: &str) -> Vec<Passage> {
    let mut is_code = false;
    let lines = page.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence { "" } else { line }
    });
    vec![tokens(&lines.collect::<Vec<_>>().join("\n"), 1)]
}

/// The comments and the string literals. Comments in lines that follow each other are one passage.
pub fn of_rust(source: &str) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    let (mut rest, mut line, mut is_continued) = (source, 1, false);
    while !rest.is_empty() {
        let (kind, length) = first(rest);
        let (piece, after) = rest.split_at(length);
        match kind {
            Piece::Comment => {
                let text = piece.trim_start_matches(['/', '!', '*']);
                match passages.last_mut() {
                    Some(passage) if is_continued => passage.extend(tokens(text, line)),
                    _ => passages.push(tokens(text, line)),
                }
                is_continued = true;
            }
            Piece::Literal => passages.push(tokens(piece, line)),
            Piece::Blank | Piece::Code => {}
        }
        if kind != Piece::Comment && kind != Piece::Blank {
            is_continued = false;
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    passages
}

/// What a source begins with, and how long that is.
fn first(source: &str) -> (Piece, usize) {
    let until = |end: &str, from: usize| {
        let found = source[from..].find(end);
        found.map_or(source.len(), |at| from + at + end.len())
    };
    let while_it = |is: fn(char) -> bool| source.find(|c| !is(c)).unwrap_or(source.len());
    let first = source.chars().next().unwrap_or_default();
    if source.starts_with("//") {
        (Piece::Comment, source.find('\n').unwrap_or(source.len()))
    } else if source.starts_with("/*") {
        (Piece::Comment, until("*/", 2))
    } else if let Some(quote) = raw_quote(source) {
        let end = format!("\"{}", "#".repeat(source[..quote].matches('#').count()));
        (Piece::Literal, until(&end, quote + 1))
    } else if first == '"' {
        (Piece::Literal, quoted(source))
    } else if first == '\'' {
        (Piece::Code, character(source))
    } else if first.is_whitespace() {
        (Piece::Blank, while_it(char::is_whitespace))
    } else if is_of_word(first) {
        (Piece::Code, while_it(is_of_word))
    } else {
        (Piece::Code, first.len_utf8())
    }
}

/// Where the quotation mark of a raw string stands that the source begins with.
fn raw_quote(source: &str) -> Option<usize> {
    let marks = ["r", "br", "cr"];
    let rest = marks.iter().find_map(|mark| source.strip_prefix(mark))?;
    let rest = rest.trim_start_matches('#');
    rest.starts_with('"').then_some(source.len() - rest.len())
}

/// The length of a string literal.
fn quoted(source: &str) -> usize {
    let mut is_escaped = false;
    let end = source.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(source.len(), |(at, _)| at + 1)
}

/// The length of a character, or of the mark of a lifetime.
fn character(source: &str) -> usize {
    let mut chars = source.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), Some(_)) => source[3..].find('\'').map_or(source.len(), |at| at + 4),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 1,
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words and marks. Code between backticks, what a format puts in, escapes and the targets of links are left out.
pub fn tokens(text: &str, mut line: usize) -> Passage {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '`' => rest[1..].find('`').map_or(1, |at| at + 2),
            '{' => placeholder(rest),
            ']' if rest.starts_with("](") => rest.find(')').map_or(1, |at| at + 1),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ if is_of_word(first) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let text = if is_of_word(first) {
            token.to_lowercase()
        } else {
            first.to_string()
        };
        // Emphasis and quotation marks part no words.
        if !first.is_whitespace() && !['*', '"', '\\'].contains(&first) {
            tokens.push(Token { text, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of `{name}` or `{name:?}`; of any other brace, one.
fn placeholder(text: &str) -> usize {
    let end = text.find(|c: char| c == '}' || c.is_whitespace());
    match end {
        Some(end) if text[end..].starts_with('}') => end + 1,
        _ => 1,
    }
}
