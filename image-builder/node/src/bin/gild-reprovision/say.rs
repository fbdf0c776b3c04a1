//! What this program tells the operator.

use std::io::{self, Write};

/// Prints a line. The connection may be lost by now, and that must not end this program between two steps.
pub fn say(line: &str) {
    say_to(&mut io::stdout(), line);
}

fn say_to(mut reader: impl Write, line: &str) {
    let _ = writeln!(reader, "{line}").and_then(|()| reader.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_when_the_reader_is_gone() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        drop(reader);
        writer.write_all(b"x").expect_err("a reader");
        say_to(&mut writer, "still here");
    }
}
