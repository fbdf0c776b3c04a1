//! How old the packages of a kept root file system are, and the images that were made of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::base::SOURCE_DATE;
use crate::cache::About;
use crate::progress::Progress;

const DAY: u64 = 24 * 60 * 60;
/// Debian's security archive has had something for every node by then.
pub const OLD: u64 = 30;

/// Says how old the packages are, and warns when they are old.
pub fn say(what: &str, tar: &Path, about: &About, refreshed: bool, progress: &dyn Progress) {
    let date = date_of(tar, about);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = days(date, now.map_or(0, |now| now.as_secs()));
    let text = format!("{what} of {}, {}", shown(date), ago(days));
    if days <= OLD {
        progress.note(&text);
    } else if refreshed {
        progress.warn(&format!(
            "{text}, and the mirror has no newer ones; next: take another mirror, with --mirror and --security-mirror"
        ));
    } else {
        progress.warn(&format!(
            "{text}: fixes since then are not in the image; next: build with --refresh, which takes today's packages"
        ));
    }
}

/// The age's start, in seconds since 1970. A date that the user gave is the image's and says nothing about the packages: then the
/// day on which they were fetched counts.
fn date_of(tar: &Path, about: &About) -> u64 {
    if !about.inputs.contains_key(SOURCE_DATE) {
        return about.source_date;
    }
    let made = fs::metadata(tar).and_then(|file| file.modified());
    let since = made
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.as_ref().map_or(0, Duration::as_secs)
}

/// The whole days between two times, in seconds since 1970.
#[must_use]
pub fn days(date: u64, now: u64) -> u64 {
    now.saturating_sub(date) / DAY
}

/// The day of a time, in seconds since 1970.
#[must_use]
pub fn shown(date: u64) -> String {
    let date = i64::try_from(date).ok();
    let date = date.and_then(|date| Timestamp::from_second(date).ok());
    date.map_or("an unknown day".to_owned(), |date| {
        date.strftime("%F").to_string()
    })
}

/// So many days, in words.
#[must_use]
pub fn ago(days: u64) -> String {
    match days {
        0 => "today".to_owned(),
        1 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs::File;

    use super::*;

    #[derive(Default)]
    struct Said {
        notes: RefCell<String>,
        warnings: RefCell<String>,
    }

    impl Progress for Said {
        fn stage(&self, _: &str) {}
        fn note(&self, text: &str) {
            self.notes.borrow_mut().push_str(text);
        }
        fn warn(&self, text: &str) {
            self.warnings.borrow_mut().push_str(text);
        }
    }

    /// The note and the warning about a base whose lists are `lists` days old and which was made `made` days ago. `given`: the
    /// user gave a date.
    fn said(lists: u64, made: u64, given: bool, refreshed: bool) -> (String, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let tar = folder.path().join("base.tar");
        let now = SystemTime::now();
        let made = now - Duration::from_secs(made * DAY + 60);
        File::create(&tar)
            .and_then(|file| file.set_modified(made))
            .expect("a file");
        let now = now
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let inputs = given.then(|| (SOURCE_DATE.to_owned(), "1".to_owned()));
        let about = About {
            inputs: inputs.into_iter().collect::<BTreeMap<_, _>>(),
            source_date: now - lists * DAY - 60,
            sha256: String::new(),
        };
        let said = Said::default();
        say("packages", &tar, &about, refreshed, &said);
        (said.notes.into_inner(), said.warnings.into_inner())
    }

    #[test]
    fn an_old_base_is_warned_of_with_the_way_to_a_new_one() {
        let (note, warning) = said(30, 0, false, false);
        assert!(note.ends_with(", 30 days ago"), "{note}");
        assert_eq!(warning, "");
        let (note, warning) = said(31, 0, false, false);
        assert_eq!(note, "");
        assert!(warning.contains("31 days ago") && warning.contains("--refresh"));
        let (_, warning) = said(31, 0, false, true);
        assert!(warning.contains("--mirror") && !warning.contains("--refresh"));
    }

    #[test]
    fn a_date_that_was_given_makes_no_base_old_or_new() {
        assert_eq!(said(9999, 0, true, false).1, "");
        assert!(said(0, 40, true, false).1.contains("40 days ago"));
    }

    #[test]
    fn days_are_said_in_words() {
        assert_eq!(shown(0), "1970-01-01");
        assert_eq!([0, 1, 2].map(ago), ["today", "a day ago", "2 days ago"]);
    }
}
