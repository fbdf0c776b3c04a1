//! The seed's two documents.
//!
//! They are written as JSON, which every YAML parser reads, by a serialiser that quotes every string: no value can be
//! taken for a number, a date or another key, in whichever version of YAML it is read.

use serde_json::{Value, json};

use gild_boards::mac::Mac;

use gild_matchbox::fallback_name;

use crate::node::Node;
use crate::settings::Image;

/// Where k3s reads its configuration.
pub const K3S_CONFIG: &str = "/etc/rancher/k3s/config.yaml";
/// Where k3s keeps what proves that it is the node of its name.
pub const NODE_PASSWORD: &str = "/etc/rancher/node/password";

/// The end of the instance id of a node without an identity.
pub const FALLBACK: &str = "-fallback";

/// What cloud-init's NoCloud data source reads.
#[derive(PartialEq, Eq)]
pub struct Seed {
    /// `meta-data`.
    pub meta_data: String,
    /// `user-data`, with the token in it.
    pub user_data: String,
    /// The instance it is for.
    pub instance_id: String,
}

/// The instance of a node and the image on it: another flash of another image is another instance.
#[must_use]
pub fn instance_id(mac: Mac, image: &Image) -> String {
    format!("{}-{}", mac.digits(), image.id)
}

/// The instance of a node without an identity.
#[must_use]
pub fn fallback_instance_id(mac: Option<Mac>) -> String {
    format!("{}{FALLBACK}", mac.map_or("nomac".to_owned(), Mac::digits))
}

impl Seed {
    /// The seed of a node.
    #[must_use]
    pub fn of(node: &Node, image: &Image) -> Self {
        let secret = |path: &str, content: String| {
            json!({
                "path": path,
                "owner": "root:root",
                "permissions": "0600",
                "content": content,
            })
        };
        let user_data = json!({
            "write_files": [
                secret(K3S_CONFIG, pretty(&k3s_config(node, image))),
                secret(NODE_PASSWORD, format!("{}\n", node.node_password.0)),
            ],
        });
        let instance_id = instance_id(node.mac, image);
        Self {
            meta_data: pretty(&json!({
                "instance-id": instance_id,
                "local-hostname": node.hostname,
                "public-keys": node.ssh_keys,
            })),
            user_data: format!("#cloud-config\n{}", pretty(&user_data)),
            instance_id,
        }
    }

    /// The seed of a node that has a name and nothing else.
    #[must_use]
    pub fn fallback(mac: Option<Mac>) -> Self {
        let instance_id = fallback_instance_id(mac);
        Self {
            meta_data: pretty(&json!({
                "instance-id": instance_id,
                "local-hostname": fallback_name(mac),
            })),
            user_data: "#cloud-config\n{}\n".to_owned(),
            instance_id,
        }
    }
}

fn k3s_config(node: &Node, image: &Image) -> Value {
    let labels = std::iter::once(format!("gild/board={}", image.board)).chain(
        node.labels
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    json!({
        "server": node.server,
        "token": node.token.reveal(),
        "node-label": labels.collect::<Vec<_>>(),
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gild_matchbox::Answer;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);

    fn image() -> Image {
        Image {
            board: "rpi5".to_owned(),
            id: "rpi5-0123456789ab".to_owned(),
        }
    }

    fn seed(token: &str) -> Seed {
        let body = format!(
            "REQUEST_QUERY_MAC={MAC}\nMAC={MAC}\nHOSTNAME=node-1\nK3S_URL=https://a:6443\nK3S_TOKEN={token}\nK3S_NODE_PASSWORD=0123456789abcdef\n"
        );
        let answer = Answer::parse(&body, MAC).expect("an answer");
        Seed::of(&Node::read(MAC, &answer, None).expect("a node"), &image())
    }

    #[test]
    fn cloud_init_is_told_the_name_and_two_files() {
        let seed = seed("s3cret");
        let meta: Value = serde_json::from_str(&seed.meta_data).expect("meta-data");
        assert_eq!(meta["instance-id"], "d83add010203-rpi5-0123456789ab");
        assert_eq!(meta["local-hostname"], "node-1");
        let user = seed
            .user_data
            .strip_prefix("#cloud-config\n")
            .expect("a header");
        let user: Value = serde_json::from_str(user).expect("user-data");
        for (file, path) in [(0, K3S_CONFIG), (1, NODE_PASSWORD)] {
            assert_eq!(user["write_files"][file]["path"], path);
            assert_eq!(user["write_files"][file]["permissions"], "0600");
        }
        assert_eq!(user["write_files"][1]["content"], "0123456789abcdef\n");
    }

    #[test]
    fn a_hostile_token_arrives_in_the_configuration_unchanged() {
        for token in [
            "a\"b'c\\d",
            "x # y: {z}",
            "yes",
            "12:34:56",
            "0o17",
            "é=ü",
            "- *a &b !c %d @e `f",
        ] {
            let seed = seed(token);
            let user: Value = serde_saphyr::from_str(&seed.user_data).expect("YAML");
            let config = user["write_files"][0]["content"]
                .as_str()
                .expect("a string");
            let config: Value = serde_saphyr::from_str(config).expect("YAML");
            assert_eq!(config["token"], token);
            assert_eq!(config["node-label"], json!(["gild/board=rpi5"]));
        }
    }

    #[test]
    fn the_fallback_has_a_name_and_no_cluster() {
        let seed = Seed::fallback(Some(MAC));
        assert_eq!(seed.instance_id, "d83add010203-fallback");
        assert!(seed.meta_data.contains("\"k3s-010203\""));
        assert_eq!(seed.user_data, "#cloud-config\n{}\n");
        assert_eq!(Seed::fallback(None).instance_id, "nomac-fallback");
    }
}
