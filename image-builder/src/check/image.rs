//! Judges the images that the servers have. No I/O.

use std::time::Duration;

use gild_format::{Manifest, Sha256Hex};
use gild_golden::age;

use super::report::{Check, Finding, NEXT};

/// What one server has for one board.
#[derive(Clone, Debug)]
pub struct Look {
    /// The server's directory, for people.
    pub server: String,
    /// The board's name.
    pub board: &'static str,
    /// What is there.
    pub outcome: Result<Image, Trouble>,
}

/// An image that a node would take.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its signed statement.
    pub manifest: Box<Manifest>,
    /// Distinguishes one signing of an image from another.
    pub digest: Sha256Hex,
    /// What `gild.toml` calls the key that signed it.
    pub key: &'static str,
    /// What is wrong with the file of its chunks.
    pub flaw: Option<String>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server cannot be read from.
    Away(String),
    /// It has no image for this board.
    Missing(String),
    /// It has an image that a node refuses.
    Refused(String),
}

/// Whether the user asked for this board, or gild looks at it because it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By its name.
    ByName,
    /// With all others.
    WithAll,
}

const PUBLISH: &str = "publish the image there with `gild image publish`";
const BUILD: &str = "build one with `gild image build`, for a desk with --desk, or publish one there with `gild image publish`";

/// Judges what all servers have for all boards, at this time since 1970.
pub fn judge(looks: &[Look], asked: Asked, now: Duration) -> Vec<Finding> {
    let lacking = lacking(looks);
    let mut findings = Vec::new();
    for server in each(looks, |look| &look.server) {
        let of_server: Vec<&Look> = looks.iter().filter(|look| look.server == *server).collect();
        if let Some(away) = away(&of_server) {
            findings.push(away);
            continue;
        }
        findings.push(Finding::ok(Check::Server, server, "it can be read from"));
        let of_boards = of_server
            .iter()
            .filter(|look| !lacking.contains(&look.board));
        findings.extend(of_boards.flat_map(|look| of_look(look, now)));
    }
    findings.extend(nowhere(&lacking, looks, asked));
    for board in each(looks, |look| &look.board) {
        findings.extend(replicas(board, looks));
    }
    findings
}

/// Each value once, in order.
fn each<'a, T: PartialEq>(looks: &'a [Look], of: impl Fn(&'a Look) -> &'a T) -> Vec<&'a T> {
    let mut values = Vec::new();
    for look in looks {
        if !values.contains(&of(look)) {
            values.push(of(look));
        }
    }
    values
}

/// A server that gives nothing for any board is said once.
fn away(looks: &[&Look]) -> Option<Finding> {
    let mut reasons = looks.iter().map(|look| match &look.outcome {
        Err(Trouble::Away(reason)) => Some(reason),
        _ => None,
    });
    let first = reasons.next()??;
    let next =
        "start the server (a desk: gild serve DIR), let this machine reach it, or correct `server`";
    reasons
        .all(|reason| reason.is_some())
        .then(|| Finding::error(Check::Server, &looks[0].server, first, next))
}

/// The boards for which no server has an image. What a server has that cannot be read from, nobody knows.
fn lacking(looks: &[Look]) -> Vec<&'static str> {
    let is_lacking = |board: &str| {
        let mut of_board = looks.iter().filter(|look| look.board == board);
        of_board.all(|look| missing(look).is_some())
    };
    let boards = each(looks, |look| &look.board).into_iter().copied();
    boards.filter(|board| is_lacking(board)).collect()
}

/// What a server that has no image for a board says.
fn missing(look: &Look) -> Option<&str> {
    match &look.outcome {
        Err(Trouble::Missing(reason)) => Some(reason),
        _ => None,
    }
}

/// Nobody has to have all boards, but a share without any image is none. It is said once, because one image is built first.
fn nowhere(lacking: &[&str], looks: &[Look], asked: Asked) -> Vec<Finding> {
    let is_lacking = |look: &&Look| lacking.contains(&look.board);
    let Some(reason) = looks.iter().filter(is_lacking).find_map(missing) else {
        return Vec::new();
    };
    if lacking.len() == each(looks, |look| &look.board).len() {
        // What a reader of one server advises does not fit all of them.
        let reason = reason.split(NEXT).next().unwrap_or_default();
        let text = format!("no server has an image yet: {reason}");
        let boards = lacking.join(", ");
        return vec![Finding::error(Check::Image, boards, &text, BUILD)];
    }
    let text = "there is no image for this board on any server";
    let of_board = |board| match asked {
        Asked::ByName => Finding::error(Check::Image, board, text, BUILD),
        Asked::WithAll => Finding::warning(
            Check::Image,
            board,
            text,
            "give --board for each board that you have, or publish an image for this one",
        ),
    };
    lacking.iter().map(of_board).collect()
}

fn of_look(look: &Look, now: Duration) -> Vec<Finding> {
    let subject = format!("{} {}", look.server, look.board);
    let error = |text: &str, next| vec![Finding::error(Check::Image, &subject, text, next)];
    match &look.outcome {
        Ok(image) => of_image(&subject, image, now),
        Err(Trouble::Away(reason)) => error(reason, "look at the server's log"),
        Err(Trouble::Refused(reason)) => error(reason, "build and publish an image that fits"),
        Err(Trouble::Missing(reason)) => error(reason, PUBLISH),
    }
}

fn of_image(subject: &str, image: &Image, now: Duration) -> Vec<Finding> {
    let Image { manifest, key, .. } = image;
    if let Some(flaw) = &image.flaw {
        return vec![Finding::error(
            Check::Image,
            subject,
            flaw,
            "publish the image again",
        )];
    }
    let (made, now) = (manifest.build_time, now.as_secs());
    let days = age::days(made, now);
    let text = format!(
        "image {} of {}, {}; rollback counter {}, {} MB with sectors of {} bytes, signed with `{key}`; its first chunk is good",
        manifest.image_id,
        age::shown(made),
        if made > now {
            "in the future".to_owned()
        } else {
            age::ago(days)
        },
        manifest.rollback_counter,
        manifest.raw_size / 1_000_000,
        manifest.sector_size,
    );
    let warning = |text: &str, next| Finding::warning(Check::Image, subject, text, next);
    let age = if made > now {
        Some(warning(
            "by this machine's clock the image was made in the future",
            "check the clock of this machine, and the clock of the machine that built the image",
        ))
    } else {
        (days > age::OLD).then(|| {
            let text = format!(
                "the image was made {}: fixes since then are not in it",
                age::ago(days)
            );
            warning(&text, "build and publish a new one")
        })
    };
    let unproven = (!manifest.proves_itself).then(|| {
        warning(
            "the image does not prove itself: it counts as proven once it is written, and stays on the disk even if it does not start",
            "build it with `gild image build`, or pack it with --proves-itself if its start writes the proof",
        )
    });
    [Finding::ok(Check::Image, subject, text)]
        .into_iter()
        .chain(age)
        .chain(unproven)
        .collect()
}

/// A node takes the image of the server that it reads from, so all servers must have the same image.
fn replicas(board: &str, looks: &[Look]) -> Vec<Finding> {
    let mut found: Vec<(&str, &Image)> = looks
        .iter()
        .filter(|look| look.board == board)
        .filter_map(|look| Some((&*look.server, look.outcome.as_ref().ok()?)))
        .collect();
    // The newest first; a server that is named first wins among equals.
    let newness = |image: &Image| (image.manifest.rollback_counter, image.manifest.build_time);
    found.sort_by_key(|(_, image)| std::cmp::Reverse(newness(image)));
    let [(best, newest), others @ ..] = &found[..] else {
        return Vec::new();
    };
    if others.is_empty() {
        return Vec::new();
    }
    let stale = |(server, image): &(&str, &Image)| {
        let (id, other) = (&newest.manifest.image_id, &image.manifest.image_id);
        let text = if id == other {
            format!("{server} has image {id} with another manifest than {best}")
        } else {
            format!("{server} has image {other}, and {best} has image {id}")
        };
        Finding::warning(
            Check::Replicas,
            board,
            &text,
            "publish the same image on every server of the list: a node takes the image of the server that it reads from",
        )
    };
    let differ: Vec<Finding> = others
        .iter()
        .filter(|(_, image)| image.digest != newest.digest)
        .map(stale)
        .collect();
    if differ.is_empty() {
        let text = format!(
            "{} servers have image {}",
            found.len(),
            newest.manifest.image_id
        );
        return vec![Finding::ok(Check::Replicas, board, text)];
    }
    differ
}

#[cfg(test)]
mod tests;
