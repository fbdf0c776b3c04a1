//! Remembers what a page has been sent, and so finds what to send next.

use std::collections::{BTreeMap, BTreeSet};

use gild_boards::mac::Mac;
use serde_json::json;

use crate::metadata::Groups;
use crate::orders::{OfNode, OrderShown, of_node};
use crate::rack::{Node, Rack};
use crate::view::{Shown, State, count, has_group, name};

/// One server-sent event.
pub struct Message {
    /// Its name.
    pub event: &'static str,
    /// JSON.
    pub data: String,
}

/// The part of a node's picture that changes without a report of the node: it falls silent, or somebody changes its group or orders
/// something.
type Look = (State, bool, String, Option<OfNode>);

/// What a page was sent.
#[derive(Default)]
pub struct Sent {
    looks: BTreeMap<Mac, Look>,
    orders: Vec<OrderShown>,
    of_nodes: BTreeMap<Mac, OfNode>,
    last_orders: Option<Vec<OrderShown>>,
}

impl Sent {
    /// Takes in the present orders. The next messages will show them.
    pub fn see(&mut self, orders: Vec<OrderShown>, rack: &Rack) {
        self.of_nodes = of_node(&orders, rack);
        self.orders = orders;
    }

    /// The orders, if they differ from those that the page has.
    pub fn orders(&mut self) -> Option<Message> {
        if self.last_orders.as_ref() == Some(&self.orders) {
            return None;
        }
        self.last_orders = Some(self.orders.clone());
        Some(Message {
            event: "orders",
            data: json!({"orders": self.orders}).to_string(),
        })
    }

    /// All nodes.
    pub fn all(&mut self, rack: &Rack, groups: &Groups, now: u64) -> Message {
        self.looks.clear();
        for node in rack.nodes() {
            self.note(node, groups, now);
        }
        let nodes: Vec<_> = rack
            .nodes()
            .map(|node| self.shown(node, groups, now))
            .collect();
        let counts: serde_json::Map<_, _> = count(rack, now)
            .into_iter()
            .map(|(state, number)| (state.name().to_owned(), number.into()))
            .collect();
        Message {
            event: "rack",
            data: json!({"now": now, "counts": counts, "nodes": nodes, "orders": self.orders})
                .to_string(),
        }
    }

    /// These nodes.
    pub fn some(
        &mut self,
        rack: &Rack,
        macs: &BTreeSet<Mac>,
        groups: &Groups,
        now: u64,
    ) -> Message {
        let known: Vec<_> = macs.iter().filter_map(|mac| rack.node(*mac)).collect();
        for node in &known {
            self.note(node, groups, now);
        }
        let known = known.into_iter();
        let nodes: Vec<_> = known.map(|node| self.shown(node, groups, now)).collect();
        Message {
            event: "nodes",
            data: json!({"now": now, "nodes": nodes}).to_string(),
        }
    }

    /// The nodes that look different from what the page was sent. If a node is gone, all nodes.
    pub fn by_time(&mut self, rack: &Rack, groups: &Groups, now: u64) -> Message {
        let present: BTreeMap<_, _> = rack
            .nodes()
            .filter_map(|node| Some((Mac::parse(&node.mac)?, self.look(node, groups, now))))
            .collect();
        if self.looks.keys().any(|mac| !present.contains_key(mac)) {
            return self.all(rack, groups, now);
        }
        let changed = present
            .into_iter()
            .filter(|(mac, look)| self.looks.get(mac) != Some(look));
        let changed = changed.map(|(mac, _)| mac).collect();
        self.some(rack, &changed, groups, now)
    }

    fn note(&mut self, node: &Node, groups: &Groups, now: u64) {
        if let Some(mac) = Mac::parse(&node.mac) {
            self.looks.insert(mac, self.look(node, groups, now));
        }
    }

    fn shown<'a>(&'a self, node: &'a Node, groups: &Groups, now: u64) -> Shown<'a> {
        Shown::of(node, now, groups).ordered(self.order_of(node))
    }

    fn look(&self, node: &Node, groups: &Groups, now: u64) -> Look {
        let order = self.order_of(node).cloned();
        let name = name(node, groups).into_owned();
        (State::of(node, now), has_group(node, groups), name, order)
    }

    fn order_of(&self, node: &Node) -> Option<&OfNode> {
        self.of_nodes.get(&Mac::parse(&node.mac)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rack::{Happened, Trust};
    use gild_report::Report;
    use serde_json::Value;

    fn reported(rack: &mut Rack, at: u64, last: u8, trust: Trust, other_macs: &[&str]) {
        let report = Report {
            mac: Some(format!("d8:3a:dd:01:02:{last:02x}")),
            other_macs: other_macs.iter().map(|mac| (*mac).to_owned()).collect(),
            stage: Some("flash".to_owned()),
            boot: "a".to_owned(),
            sequence: at,
            ..Report::default()
        };
        rack.apply(&Happened::Reported {
            at,
            trust,
            report: Box::new(report),
        });
    }

    fn states(message: &Message) -> Vec<(String, String)> {
        let data: Value = serde_json::from_str(&message.data).expect("JSON");
        let nodes = data["nodes"].as_array().expect("nodes").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        nodes
            .map(|node| (text(&node["mac"]), text(&node["state"])))
            .collect()
    }

    #[test]
    fn a_page_hears_once_that_a_board_has_fallen_silent() {
        let mut rack = Rack::default();
        reported(&mut rack, 1000, 1, Trust::Card, &[]);
        reported(&mut rack, 1050, 2, Trust::Card, &[]);
        let (groups, mut sent) = (Groups::default(), Sent::default());
        assert_eq!(states(&sent.all(&rack, &groups, 1055)).len(), 2);
        assert!(states(&sent.by_time(&rack, &groups, 1060)).is_empty());
        let silent = [("d8:3a:dd:01:02:01".to_owned(), "silent".to_owned())];
        assert_eq!(states(&sent.by_time(&rack, &groups, 1061)), silent);
        assert!(states(&sent.by_time(&rack, &groups, 1066)).is_empty());
    }

    #[test]
    fn a_page_hears_that_a_board_has_a_group_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rack = Rack::default();
        reported(&mut rack, 1000, 1, Trust::Card, &["d8:3a:dd:01:02:09"]);
        let mut sent = Sent::default();
        sent.all(&rack, &Groups::read(folder.path()), 1000);
        std::fs::create_dir(folder.path().join("groups")).expect("a folder");
        let group =
            r#"{"selector": {"mac": "D8-3A-DD-01-02-09"}, "metadata": {"k3s_token": "s3cret"}}"#;
        std::fs::write(folder.path().join("groups/a.json"), group).expect("written");
        let message = sent.by_time(&rack, &Groups::read(folder.path()), 1001);
        assert!(
            message.data.contains("\"has_group\":true"),
            "{}",
            message.data
        );
        assert!(!message.data.contains("s3cret"));
    }

    #[test]
    fn a_page_hears_that_a_board_that_has_not_said_its_name_is_called_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("groups")).expect("a folder");
        let named = |name: &str| {
            let group =
                json!({"selector": {"mac": "d8:3a:dd:01:02:01"}, "metadata": {"hostname": name}});
            let file = folder.path().join("groups/a.json");
            std::fs::write(file, group.to_string()).expect("written");
            Groups::read(folder.path())
        };
        let mut rack = Rack::default();
        reported(&mut rack, 1000, 1, Trust::Card, &[]);
        let mut sent = Sent::default();
        let first = sent.all(&rack, &named("node-1"), 1000);
        assert!(first.data.contains(r#""name":"node-1""#), "{}", first.data);
        let next = sent.by_time(&rack, &named("node-2"), 1001);
        assert!(next.data.contains(r#""name":"node-2""#), "{}", next.data);
    }

    #[test]
    fn a_board_that_never_spoke_is_expected_under_the_name_of_its_group() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("groups")).expect("a folder");
        let group =
            r#"{"selector": {"mac": "d8:3a:dd:01:02:01"}, "metadata": {"hostname": "node-1"}}"#;
        std::fs::write(folder.path().join("groups/a.json"), group).expect("written");
        let groups = Groups::read(folder.path());
        let mut rack = Rack::default();
        rack.apply(&Happened::Decided {
            at: 1000,
            mac: "d8:3a:dd:01:02:01".to_owned(),
            open: true,
        });
        let all = Sent::default().all(&rack, &groups, 5000);
        let all: Value = serde_json::from_str(&all.data).expect("JSON");
        let node = &all["nodes"][0];
        assert_eq!(
            (&node["name"], &node["state"]),
            (&json!("node-1"), &json!("expected"))
        );
        assert_eq!(
            (&all["counts"]["silent"], &all["counts"]["expected"]),
            (&json!(0), &json!(1))
        );
        let metrics = crate::web::metrics::text(&rack, &groups, 5000);
        let state = r#"name="node-1",board="",state="expected"} 1"#;
        assert!(metrics.contains(state), "{metrics}");
    }

    #[test]
    fn a_page_gets_everything_again_when_a_stranger_turns_out_to_be_another_board() {
        let mut rack = Rack::default();
        reported(&mut rack, 1000, 2, Trust::Nobody, &[]);
        let (groups, mut sent) = (Groups::default(), Sent::default());
        sent.all(&rack, &groups, 1000);
        reported(&mut rack, 1001, 1, Trust::Card, &["d8:3a:dd:01:02:02"]);
        let message = sent.by_time(&rack, &groups, 1002);
        assert_eq!((message.event, states(&message).len()), ("rack", 1));
    }
}
