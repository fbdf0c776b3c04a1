//! What the operator wishes, from the page or the command line, before it is an order with an id.

use gild_boards::mac::Mac;
use gild_format::ImageId;
use gild_orders::{
    Action, CHANNEL_RULE, Channel, Choice, Flash, LONGEST_LIFE, Order, OrderError, OrderId,
};
use serde::Deserialize;

/// How many hours an order counts if the operator gives no time.
const USUAL_HOURS: u64 = 24;
/// A light that blinks for a whole day helps nobody, so an identify counts for less time.
const USUAL_HOURS_OF_LIGHT: u64 = 1;
const HOUR: u64 = 60 * 60;

/// What boards are to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// `flash`, `hold` or `identify`.
    pub action: String,
    /// The nodes by their MAC addresses, a canary first.
    pub nodes: Vec<String>,
    /// The id of an image.
    #[serde(default)]
    pub image: Option<String>,
    /// The name of a channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// The serial number of the disk.
    #[serde(default)]
    pub disk: Option<String>,
    /// Whether everything is discarded first.
    #[serde(default)]
    pub erase: bool,
    /// One node after the other.
    #[serde(default)]
    pub rolling: bool,
    /// How long it counts.
    #[serde(default)]
    pub hours: Option<u64>,
}

/// A wish cannot become an order.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// Nothing that a board can do.
    #[error("`{0}` is not an action; next: say flash, hold or identify")]
    Action(String),
    /// A value is wrong.
    #[error("the {0} `{1}` cannot be used: {2}")]
    Value(&'static str, String, String),
    /// It wishes two images.
    #[error("an image and a channel are wished; next: say one of them")]
    TwoImages,
    /// It asks for something that writes no disk, and says how.
    #[error(
        "image, channel, disk, erase and rolling are of an order to flash; next: leave them out"
    )]
    NotAFlash,
    /// The time is zero or too long.
    #[error("an order counts 1 to {most} hours, and not {0}; next: give a number of hours between them", most = LONGEST_LIFE.as_secs() / HOUR)]
    Hours(u64),
    /// The whole cannot be an order.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The clock is not one of our days.
    #[error("this machine's clock is wrong: {0} seconds since 1970")]
    Clock(u64),
}

impl Wish {
    /// The order that this wish becomes now. `at` is the time in its id. Both times are seconds since 1970.
    pub fn order(&self, now: u64, at: u64, chance: [u8; 3]) -> Result<Order, WishError> {
        let action = self.action()?;
        let usual = match action {
            Action::Identify => USUAL_HOURS_OF_LIGHT,
            Action::Flash(_) | Action::Hold => USUAL_HOURS,
        };
        let hours = self.hours.unwrap_or(usual);
        let life = hours.checked_mul(HOUR);
        let life = life.filter(|life| (1..=LONGEST_LIFE.as_secs()).contains(life));
        let life = life.ok_or(WishError::Hours(hours))?;
        let nodes = self.nodes.iter().map(|node| {
            Mac::parse(node).ok_or_else(|| {
                let form = "it should be like d8:3a:dd:01:02:03".to_owned();
                WishError::Value("MAC address", node.clone(), form)
            })
        });
        let order = Order {
            id: OrderId::made(at, chance).ok_or(WishError::Clock(at))?,
            nodes: nodes.collect::<Result<_, _>>()?,
            expires: now.saturating_add(life),
            action,
        };
        // The order's format has further rules, which its parser checks.
        Ok(Order::parse(&order.to_text())?)
    }

    fn action(&self) -> Result<Action, WishError> {
        let is_bare = self.image.is_none()
            && self.channel.is_none()
            && self.disk.is_none()
            && !self.erase
            && !self.rolling;
        match &*self.action {
            "flash" => Ok(Action::Flash(Flash {
                choice: self.choice()?,
                disk: self.disk.clone(),
                erase: self.erase,
                rolling: self.rolling,
            })),
            "hold" | "identify" if !is_bare => Err(WishError::NotAFlash),
            "hold" => Ok(Action::Hold),
            "identify" => Ok(Action::Identify),
            other => Err(WishError::Action(other.to_owned())),
        }
    }

    fn choice(&self) -> Result<Choice, WishError> {
        match (&self.image, &self.channel) {
            (None, None) => Ok(Choice::Current),
            (Some(_), Some(_)) => Err(WishError::TwoImages),
            (Some(image), None) => ImageId::parse(image)
                .map(Choice::Image)
                .map_err(|error| WishError::Value("image", image.clone(), error.to_string())),
            (None, Some(channel)) => {
                Channel::parse(channel).map(Choice::Channel).ok_or_else(|| {
                    let rule = format!("it should be {CHANNEL_RULE}");
                    WishError::Value("channel", channel.clone(), rule)
                })
            }
        }
    }
}

/// The latest order id that can be made at this time, if clocks differ by at most an hour. A disk that has carried out an order with a
/// later id would refuse every order until that time comes.
#[must_use]
pub fn latest_id(now: u64) -> Option<OrderId> {
    OrderId::made(now.saturating_add(HOUR), [0xff; 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_798_452_900;

    fn wish(more: &serde_json::Value) -> Wish {
        let mut wish = serde_json::json!({"action": "flash", "nodes": ["d8:3a:dd:01:02:03"]});
        let fields = wish.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        serde_json::from_value(wish).expect("a wish")
    }

    #[test]
    fn a_wish_becomes_an_order_with_the_time_in_its_id() {
        let order = wish(&serde_json::json!({"channel": "canary", "rolling": true, "hours": 2}));
        let order = order.order(NOW, NOW, [1, 2, 3]).expect("an order");
        assert_eq!(
            order.to_text(),
            r#"{"gild_order":1,"id":"20261228T101500Z-010203","action":"flash","nodes":["d8:3a:dd:01:02:03"],"expires":1798460100,"channel":"canary","rolling":true}"#
        );
    }

    #[test]
    fn what_cannot_be_meant_becomes_no_order() {
        for more in [
            serde_json::json!({"action": "wipe"}),
            serde_json::json!({"action": "hold", "erase": true}),
            serde_json::json!({"image": "a", "channel": "b"}),
            serde_json::json!({"image": "../a"}),
            serde_json::json!({"channel": "../a"}),
            serde_json::json!({"nodes": []}),
            serde_json::json!({"nodes": ["all"]}),
            serde_json::json!({"nodes": ["d8:3a:dd:01:02:03", "D8:3A:DD:01:02:03"]}),
            serde_json::json!({"disk": " "}),
            serde_json::json!({"hours": 0}),
            serde_json::json!({"hours": 337}),
            serde_json::json!({"hours": u64::MAX}),
        ] {
            assert!(wish(&more).order(NOW, NOW, [0; 3]).is_err(), "{more}");
        }
    }
}
