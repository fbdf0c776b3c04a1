//! What an order says: a JSON object, whose bytes are signed.

use std::time::Duration;

use gild_boards::mac::Mac;
use gild_format::ImageId;
use serde::{Deserialize, Serialize};

use crate::choice::{CHANNEL_RULE, Channel, Choice};
use crate::id::OrderId;

/// The version of the form.
pub const FORMAT: u32 = 1;

/// How long after its making an order may count at most. A stolen copy is of no use afterwards.
pub const LONGEST_LIFE: Duration = Duration::from_hours(14 * 24);

/// Most nodes of one order.
const MAX_NODES: usize = 1024;

/// What boards are to do, which, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Names it. A disk is written once for each id.
    pub id: OrderId,
    /// The nodes that are meant, in the order in which a rolling one reaches them. At least one; nobody can order all.
    pub nodes: Vec<Mac>,
    /// From when on it does not count any more, seconds since 1970.
    pub expires: u64,
    /// What they do.
    pub action: Action,
}

/// What boards do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The disk is written again: all data on it is lost.
    Flash(Flash),
    /// The disk is not written as long as the order counts.
    Hold,
    /// The LED shows which board it is as long as the order counts.
    Identify,
}

/// How a disk is written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flash {
    /// With which image.
    pub choice: Choice,
    /// Only the disk with this serial number.
    pub disk: Option<String>,
    /// Everything on the disk is discarded first, also what is right already.
    pub erase: bool,
    /// One node after the other: the next one when the one before has joined its cluster.
    pub rolling: bool,
}

/// A text is not an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is not of this form.
    #[error("it is not an order: {0}")]
    Form(String),
    /// It is of a later form.
    #[error("it is an order of form {0}, and this gild reads form {FORMAT}")]
    Version(u32),
    /// One of its values cannot be used.
    #[error("its `{0}` is {1}")]
    Value(&'static str, String),
}

/// The order as it is written. Nobody acts on a part of an order, so a field that is not known is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    gild_order: u32,
    id: String,
    action: ActionText,
    nodes: Vec<String>,
    expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    erase: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    rolling: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActionText {
    Flash,
    Hold,
    Identify,
}

/// What is read first, because a later form may have other fields.
#[derive(Deserialize)]
struct Version {
    gild_order: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Order {
    /// Reads an order. Whether it still counts is another question: [`Order::counts_at`].
    pub fn parse(text: &str) -> Result<Self, OrderError> {
        let form = |error: serde_json::Error| OrderError::Form(error.to_string());
        let version: Version = serde_json::from_str(text).map_err(form)?;
        if version.gild_order != FORMAT {
            return Err(OrderError::Version(version.gild_order));
        }
        let text: Text = serde_json::from_str(text).map_err(form)?;
        let id = OrderId::parse(&text.id).ok_or_else(|| {
            let form = "20261228T101500Z-1a2b3c";
            OrderError::Value("id", format!("{:?}; it should be like {form}", text.id))
        })?;
        let life = text.expires.saturating_sub(id.made_at());
        if life > LONGEST_LIFE.as_secs() {
            let hours = LONGEST_LIFE.as_secs() / 3600;
            return Err(OrderError::Value(
                "expires",
                format!("more than {hours} hours after the time in its id"),
            ));
        }
        Ok(Self {
            id,
            nodes: nodes(&text.nodes)?,
            expires: text.expires,
            action: action(&text)?,
        })
    }

    /// The text that is signed: JSON on one line.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it has only texts and numbers")]
    pub fn to_text(&self) -> String {
        let flash = match &self.action {
            Action::Flash(flash) => Some(flash),
            Action::Hold | Action::Identify => None,
        };
        let (image, channel) = match flash.map(|flash| &flash.choice) {
            Some(Choice::Image(image)) => (Some(image.to_string()), None),
            Some(Choice::Channel(channel)) => (None, Some(channel.as_str().to_owned())),
            Some(Choice::Current) | None => (None, None),
        };
        let text = Text {
            gild_order: FORMAT,
            id: self.id.to_string(),
            action: match self.action {
                Action::Flash(_) => ActionText::Flash,
                Action::Hold => ActionText::Hold,
                Action::Identify => ActionText::Identify,
            },
            nodes: self.nodes.iter().map(Mac::to_string).collect(),
            expires: self.expires,
            image,
            channel,
            disk: flash.and_then(|flash| flash.disk.clone()),
            erase: flash.is_some_and(|flash| flash.erase),
            rolling: flash.is_some_and(|flash| flash.rolling),
        };
        serde_json::to_string(&text).expect("it has only texts and numbers")
    }

    /// Whether a node with these addresses is meant.
    #[must_use]
    pub fn is_for(&self, macs: &[Mac]) -> bool {
        macs.iter().any(|mac| self.nodes.contains(mac))
    }

    /// Whether it counts at this time, seconds since 1970.
    #[must_use]
    pub fn counts_at(&self, now: u64) -> bool {
        now < self.expires
    }
}

fn nodes(texts: &[String]) -> Result<Vec<Mac>, OrderError> {
    let wrong = |what: String| OrderError::Value("nodes", what);
    if texts.is_empty() || texts.len() > MAX_NODES {
        return Err(wrong(format!(
            "a list of {}; it should name 1 to {MAX_NODES} nodes",
            texts.len()
        )));
    }
    let mut nodes = Vec::with_capacity(texts.len());
    for text in texts {
        let mac =
            Mac::parse(text).ok_or_else(|| wrong(format!("not all MAC addresses: {text:?}")))?;
        if nodes.contains(&mac) {
            return Err(wrong(format!("a list that has {mac} twice")));
        }
        nodes.push(mac);
    }
    Ok(nodes)
}

fn action(text: &Text) -> Result<Action, OrderError> {
    let is_bare = text.image.is_none()
        && text.channel.is_none()
        && text.disk.is_none()
        && !text.erase
        && !text.rolling;
    match text.action {
        ActionText::Flash => flash(text).map(Action::Flash),
        ActionText::Hold if is_bare => Ok(Action::Hold),
        ActionText::Identify if is_bare => Ok(Action::Identify),
        ActionText::Hold | ActionText::Identify => Err(OrderError::Value(
            "action",
            "one that writes no disk, beside fields of one that does".to_owned(),
        )),
    }
}

fn flash(text: &Text) -> Result<Flash, OrderError> {
    let choice = match (&text.image, &text.channel) {
        (None, None) => Choice::Current,
        (Some(image), None) => Choice::Image(
            ImageId::parse(image)
                .map_err(|error| OrderError::Value("image", format!("not an image id: {error}")))?,
        ),
        (None, Some(channel)) => Choice::Channel(Channel::parse(channel).ok_or_else(|| {
            OrderError::Value(
                "channel",
                format!("{channel:?}; it should be {CHANNEL_RULE}"),
            )
        })?),
        (Some(_), Some(_)) => {
            return Err(OrderError::Value(
                "channel",
                "there beside `image`; it should be one of them".to_owned(),
            ));
        }
    };
    if text
        .disk
        .as_deref()
        .is_some_and(|disk| disk.trim().is_empty())
    {
        return Err(OrderError::Value(
            "disk",
            "an empty serial number".to_owned(),
        ));
    }
    Ok(Flash {
        choice,
        disk: text.disk.clone(),
        erase: text.erase,
        rolling: text.rolling,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);

    fn order(action: Action) -> Order {
        Order {
            id: OrderId::parse("20261228T101500Z-1a2b3c").expect("an id"),
            nodes: vec![MAC, Mac([2, 0, 0, 0, 0, 1])],
            expires: 1_798_452_900,
            action,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let image = ImageId::parse("rpi5-0123456789ab").expect("an id");
        let channel = Channel::parse("canary").expect("a channel");
        for action in [
            Action::Hold,
            Action::Identify,
            Action::Flash(Flash::default()),
            Action::Flash(Flash {
                choice: Choice::Image(image),
                disk: Some("S4EVNX0".to_owned()),
                erase: true,
                rolling: true,
            }),
            Action::Flash(Flash {
                choice: Choice::Channel(channel),
                ..Flash::default()
            }),
        ] {
            let order = order(action);
            assert_eq!(Order::parse(&order.to_text()), Ok(order));
        }
    }

    #[test]
    fn the_form_stays_as_it_is() {
        assert_eq!(
            order(Action::Flash(Flash::default())).to_text(),
            r#"{"gild_order":1,"id":"20261228T101500Z-1a2b3c","action":"flash","nodes":["d8:3a:dd:01:02:03","02:00:00:00:00:01"],"expires":1798452900}"#
        );
    }

    #[test]
    fn it_is_for_the_nodes_that_it_names_until_it_ends() {
        let order = order(Action::Hold);
        assert!(order.is_for(&[Mac([9; 6]), MAC]));
        assert!(!order.is_for(&[Mac([9; 6])]));
        assert!(!order.is_for(&[]));
        assert!(order.counts_at(1_798_452_899));
        assert!(!order.counts_at(1_798_452_900));
    }

    #[test]
    fn it_counts_two_weeks_from_the_time_in_its_id_at_most() {
        let mut order = order(Action::Hold);
        order.expires = order.id.made_at() + LONGEST_LIFE.as_secs();
        assert!(Order::parse(&order.to_text()).is_ok());
        order.expires += 1;
        assert!(Order::parse(&order.to_text()).is_err());
    }

    #[test]
    fn what_is_not_wholly_understood_is_not_an_order() {
        let good = order(Action::Flash(Flash::default())).to_text();
        for (from, to, reason) in [
            ("\"expires\"", "\"ends\":1,\"expires\"", "unknown field"),
            ("\"expires\":1798452900", "\"erase\":true", "missing field"),
            ("order\":1", "order\":2", "form 2"),
            ("\"flash\"", "\"wipe\"", "unknown variant"),
            ("\"flash\"", "\"hold\",\"erase\":true", "`action`"),
            ("20261228T101500Z-1a2b3c", "2026-12", "`id`"),
            ("d8:3a:dd:01:02:03", "all", "not all MAC"),
            ("d8:3a:dd:01:02:03", "02:00:00:00:00:01", "twice"),
            (
                "\"d8:3a:dd:01:02:03\",\"02:00:00:00:00:01\"",
                "",
                "list of 0",
            ),
            ("\"expires\"", "\"image\":\"../x\",\"expires\"", "`image`"),
            ("\"expires\"", "\"channel\":\"A\",\"expires\"", "`channel`"),
            (
                "\"expires\"",
                "\"channel\":\"a\",\"image\":\"b\",\"expires\"",
                "one of them",
            ),
            ("\"expires\"", "\"disk\":\" \",\"expires\"", "`disk`"),
            ("1798452900", "1799662501", "`expires`"),
            ("1798452900", "18446744073709551615", "`expires`"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{from}");
            let error = Order::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
