//! The text of a report: that of the console in two parts, limited and without secrets.

/// Longest message and longest advice, characters.
const LONGEST: usize = 1000;
/// Separates the advice from the rest in gild's messages.
const NEXT: &str = "; next: ";
/// Replaces a secret.
const SECRET: &str = "[secret]";

/// What is wrong, and what to do about it.
pub fn of(texts: &[String], secrets: &[String]) -> (Option<String>, Option<String>) {
    let (mut messages, mut advice) = (Vec::new(), Vec::new());
    for text in texts {
        match text.split_once(NEXT) {
            Some((message, next)) => {
                messages.push(message);
                advice.push(next);
            }
            None => messages.push(text),
        }
    }
    let whole =
        |parts: Vec<&str>| (!parts.is_empty()).then(|| fit(&without(&parts.join("; "), secrets)));
    (whole(messages), whole(advice))
}

/// gild's own messages have no secrets, but k3s' log or a server's answer may have some.
fn without(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), SECRET);
    }
    text
}

fn fit(text: &str) -> String {
    let seen = text.chars().filter(|c| !c.is_control());
    seen.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_and_its_advice_are_two_things() {
        let texts = ["a: b; next: do c", "d"].map(str::to_owned);
        let (message, next) = of(&texts, &[]);
        assert_eq!(message.as_deref(), Some("a: b; d"));
        assert_eq!(next.as_deref(), Some("do c"));
        assert_eq!(of(&[], &[]), (None, None));
    }

    #[test]
    fn what_others_wrote_is_bounded_and_steers_nothing_and_shows_no_secret() {
        let text = format!("k3s says: \u{1b}[2Js3cret {}", "x".repeat(2000));
        let (message, _) = of(&[text], &["s3cret".to_owned()]);
        let message = message.expect("a message");
        assert!(message.starts_with("k3s says: [2J[secret] xx"), "{message}");
        assert_eq!(message.chars().count(), LONGEST);
    }
}
