//! What a node reports while it waits for its cluster: each change of what hinders it, and now and then that it is still there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::info;

use crate::report::{Outcome, Stage, report};

/// The same report is sent again after this time. The desk treats a joining node as hanging if it is silent for twice as long.
const AGAIN: Duration = Duration::from_mins(5);

/// What was reported last.
pub struct News {
    root: PathBuf,
    known: Option<(String, Instant)>,
    again: Duration,
    failure: String,
}

impl News {
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: None,
            again: AGAIN,
            failure: String::new(),
        }
    }

    /// Reports what hinders the node, if that has changed. If nobody takes the report, the next call sends it again.
    pub fn report(&mut self, hindrances: &[String]) {
        // Digits do not count, because k3s names other ports and times each time.
        let mut key = hindrances.join("\n");
        key.retain(|c| !c.is_ascii_digit());
        let is_known = self
            .known
            .as_ref()
            .is_some_and(|(known, at)| *known == key && at.elapsed() < self.again);
        if is_known {
            return;
        }
        match report(&self.root, Stage::Joining, hindrances) {
            Outcome::Taken | Outcome::Nobody => {
                self.known = Some((key, Instant::now()));
                self.failure.clear();
            }
            Outcome::Failed(why) if why != self.failure => {
                info!("{why}");
                self.failure = why;
            }
            Outcome::Failed(_) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use gild_http_testkit::{Reply, Server};

    use super::*;
    use crate::report::tests::{message, name, node};

    #[test]
    fn each_change_is_reported_once_and_what_nobody_took_again() {
        static IS_UP: AtomicBool = AtomicBool::new(true);
        let desk = Server::start(|_| {
            let is_up = IS_UP.load(Ordering::SeqCst);
            Reply::new(if is_up { 204 } else { 503 }, "")
        });
        let root = node(&desk.url());
        name(&root);
        let mut news = News::of(root.path());
        // The reports that arrive for these hindrances.
        let mut report = |text: &str| -> Vec<Option<String>> {
            let before = desk.requests().len();
            let hindrances: Vec<String> = text.lines().map(str::to_owned).collect();
            news.report(&hindrances);
            desk.requests()[before..].iter().map(message).collect()
        };
        assert_eq!(report(""), [None]);
        assert!(report("").is_empty());
        assert_eq!(report("port 123"), [Some("port 123".to_owned())]);
        assert!(report("port 456").is_empty(), "k3s counts");
        let both = "port 123\nMatchbox is down";
        assert_eq!(
            report(both),
            [Some("port 123; Matchbox is down".to_owned())]
        );
        IS_UP.store(false, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(report("other"), [Some("other".to_owned())]);
        }
        IS_UP.store(true, Ordering::SeqCst);
        assert_eq!(report("other"), [Some("other".to_owned())]);
        assert!(report("other").is_empty());
        assert_eq!(report(""), [None], "nothing is seen any more");
        let before = desk.requests().len();
        news.again = Duration::ZERO;
        news.report(&[]);
        assert_eq!(desk.requests().len(), before + 1, "it is still there");
    }
}
