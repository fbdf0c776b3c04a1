//! How a server is read, and the result.

use std::time::Duration;

use gild_card_format::SERVER_ANSWER;

/// How a share is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many reads may be in flight: one on each connection.
    pub connections: usize,
    /// How long to wait for a connection to one address of the server.
    pub connect: Duration,
    /// How long to wait for an answer, as long as TCP says that the server is there.
    pub answer: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 4,
            connect: Duration::from_secs(5),
            answer: SERVER_ANSWER,
        }
    }
}

/// What has been done on a share since it was connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of file data received.
    pub bytes_read: u64,
    /// Calls that brought data.
    pub read_calls: u64,
    /// Connections that were lost or given up, and had to be made again.
    pub reconnects: u64,
}

/// Whether this is a path inside a share. Names come from manifests: they must not lead out of it.
#[must_use]
pub fn check_name(name: &str) -> bool {
    name.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn a_name_stays_inside_the_share() {
        for name in ["golden.json", "rpi5/golden.json", "..."] {
            assert!(check_name(name), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "..",
            "a/../../b",
            "a//b",
            "a/",
            ".",
            "a\0b",
        ] {
            assert!(!check_name(name), "{name}");
        }
    }
}
