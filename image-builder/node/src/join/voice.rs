//! What a node prints while it waits for its cluster, and how often: a console must stay readable for days.

use std::time::{Duration, Instant};

use log::{error, info, warn};

use crate::cluster::Trouble;
use crate::seeding::warn_of_keys;

/// The same trouble is printed again after this time, for anyone who opens the console late.
const AGAIN: Duration = Duration::from_mins(15);

/// What was said last.
pub struct Voice {
    trouble: Option<(String, Instant)>,
    is_silent: bool,
    matchbox: String,
    refused_keys: Vec<String>,
    once: Vec<String>,
}

impl Voice {
    pub fn new() -> Self {
        Self {
            trouble: None,
            is_silent: true,
            matchbox: String::new(),
            refused_keys: Vec::new(),
            once: Vec::new(),
        }
    }

    /// Forgets what was printed, because a new answer is in effect. The refused keys stay, because they belong to that answer.
    pub fn begin_again(&mut self) {
        *self = Self {
            refused_keys: std::mem::take(&mut self.refused_keys),
            ..Self::new()
        };
    }

    pub fn say_of_cluster(&mut self, trouble: Option<Trouble>) {
        let Some(trouble) = trouble else {
            if !self.is_silent {
                info!(
                    "nothing is seen any more that keeps this node out of its cluster: k3s is on its way"
                );
            }
            self.is_silent = true;
            return;
        };
        self.is_silent = false;
        // Digits do not count, because k3s names other ports and times each time.
        let mut key = trouble.to_string();
        key.retain(|c| !c.is_ascii_digit());
        let is_known = self
            .trouble
            .as_ref()
            .is_some_and(|(known, at)| *known == key && at.elapsed() < AGAIN);
        if !is_known {
            error!("this node is not in its cluster yet: {trouble}");
            self.trouble = Some((key, Instant::now()));
        }
    }

    pub fn say_of_matchbox(&mut self, problem: &str) {
        if self.matchbox != problem {
            warn!("{problem}: the node keeps what the metadata server said before, and asks again");
            problem.clone_into(&mut self.matchbox);
        }
    }

    /// What is wrong with Matchbox or with its last answer.
    pub fn of_matchbox(&self) -> Option<&str> {
        (!self.matchbox.is_empty()).then_some(&*self.matchbox)
    }

    pub fn say_of_keys(&mut self, refused: &[String]) {
        if self.refused_keys != refused {
            warn_of_keys(refused);
            refused.clone_into(&mut self.refused_keys);
        }
    }

    /// What is wrong with the keys of the node's group, by the last answer.
    pub fn of_keys(&self) -> &[String] {
        &self.refused_keys
    }

    pub fn matchbox_answers(&mut self) {
        self.matchbox.clear();
    }

    pub fn say_once(&mut self, text: &str) {
        if !self.once.iter().any(|said| said == text) {
            error!("{text}");
            self.once.push(text.to_owned());
        }
    }
}
