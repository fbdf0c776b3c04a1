//! The seed's two documents.
//!
//! They are JSON, which every YAML parser can read. The serialiser quotes every string, so no version of YAML can take a value for a
//! number, a date or another key.

use serde_json::{Map, Value, json};

use gild_boards::mac::Mac;

use gild_matchbox::fallback_name;

use crate::node::Node;
use crate::node::labels::{BOARD, IMAGE};
use crate::settings::Image;
use crate::token::{Credentials, Token};

/// Where k3s reads its configuration.
pub const K3S_CONFIG: &str = "/etc/rancher/k3s/config.yaml";
/// Where k3s reads of registries.
pub const REGISTRIES: &str = "/etc/rancher/k3s/registries.yaml";
/// Where k3s keeps what proves that it is the node of its name.
pub const NODE_PASSWORD: &str = "/etc/rancher/node/password";

const HEADER: &str = "#cloud-config\n";
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

/// The instance id of a node with this image. Another image gives another instance.
#[must_use]
pub fn instance_id(mac: Mac, image: &Image) -> String {
    format!("{}-{}", mac.digits(), image.id)
}

/// The instance of a node without an identity.
#[must_use]
pub fn fallback_instance_id(mac: Option<Mac>) -> String {
    format!("{}{FALLBACK}", mac.map_or("nomac".to_owned(), Mac::digits))
}

/// What Matchbox has said of a node, as far as the node keeps it in files.
#[derive(PartialEq, Eq)]
pub struct Said {
    /// The node's name.
    pub hostname: String,
    /// Who may log in.
    pub ssh_keys: Vec<String>,
    /// The configuration of k3s, with the token in it.
    pub config: Map<String, Value>,
    /// What proves to the cluster that it is the node of its name.
    pub password: String,
    /// Registries with their credentials.
    pub registries: Option<Value>,
}

impl Said {
    /// Of a node.
    #[must_use]
    pub fn of(node: &Node, image: &Image) -> Self {
        Self {
            hostname: node.hostname.clone(),
            ssh_keys: node.ssh_keys.clone(),
            config: k3s_config(node, image),
            password: node.node_password.text.clone(),
            registries: node.registries.as_ref().map(|content| content.0.clone()),
        }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        Token::parse(self.config.get("token")?.as_str()?).ok()
    }

    /// The values that must stay secret. The password inside a token counts separately.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let token = self.token();
        let part = token.as_ref().map(|token| match token.credentials() {
            Credentials::Password(text) | Credentials::Bearer(text) => text,
        });
        let configs = self
            .registries
            .as_ref()
            .and_then(|it| it["configs"].as_object());
        let logins = configs
            .into_iter()
            .flat_map(Map::values)
            .flat_map(|config| ["username", "password"].map(|key| config["auth"][key].as_str()));
        let own = [
            token.as_ref().map(Token::reveal),
            part,
            Some(&*self.password),
        ];
        let all = own.into_iter().chain(logins).flatten();
        all.filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Reads what a seed says, if gild made it.
    #[must_use]
    pub fn parse(meta_data: &str, user_data: &str) -> Option<Self> {
        let meta: Value = serde_json::from_str(meta_data).ok()?;
        let user: Value = serde_json::from_str(user_data.strip_prefix(HEADER)?).ok()?;
        let files = user["write_files"].as_array()?;
        let content = |path: &str| {
            let file = files.iter().find(|file| file["path"] == path)?;
            file["content"].as_str()
        };
        let keys = meta["public-keys"].as_array()?.iter();
        Some(Self {
            hostname: meta["local-hostname"].as_str()?.to_owned(),
            ssh_keys: keys
                .map(|key| key.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            config: serde_json::from_str(content(K3S_CONFIG)?).ok()?,
            password: content(NODE_PASSWORD)?.trim_end().to_owned(),
            registries: content(REGISTRIES)
                .map(serde_json::from_str)
                .transpose()
                .ok()?,
        })
    }
}

impl Seed {
    /// The seed of this instance, with these values.
    #[must_use]
    pub fn of(instance_id: String, said: &Said) -> Self {
        let secret = |path: &str, content: String| {
            json!({
                "path": path,
                "owner": "root:root",
                "permissions": "0600",
                "content": content,
            })
        };
        let mut files = vec![
            secret(K3S_CONFIG, pretty(&json!(said.config))),
            secret(NODE_PASSWORD, format!("{}\n", said.password)),
        ];
        let registries = said.registries.as_ref();
        files.extend(registries.map(|content| secret(REGISTRIES, pretty(content))));
        let user_data = json!({ "write_files": files });
        Self {
            meta_data: pretty(&json!({
                "instance-id": instance_id,
                "local-hostname": said.hostname,
                "public-keys": said.ssh_keys,
            })),
            user_data: format!("{HEADER}{}", pretty(&user_data)),
            instance_id,
        }
    }

    /// The seed of a node that has only a name.
    #[must_use]
    pub fn fallback(mac: Option<Mac>) -> Self {
        let instance_id = fallback_instance_id(mac);
        Self {
            meta_data: pretty(&json!({
                "instance-id": instance_id,
                "local-hostname": fallback_name(mac),
            })),
            user_data: format!("{HEADER}{{}}\n"),
            instance_id,
        }
    }
}

fn k3s_config(node: &Node, image: &Image) -> Map<String, Value> {
    let own = [
        format!("{BOARD}={}", image.board),
        format!("{IMAGE}={}", image.id),
    ];
    let labels = node.labels.iter();
    let labels = labels.map(|(name, value)| format!("{name}={value}"));
    let labels: Vec<_> = own.into_iter().chain(labels).collect();
    let mut config = node.options.clone();
    config.insert("server".to_owned(), json!(node.server.as_str()));
    config.insert("token".to_owned(), json!(node.token.reveal()));
    config.insert("node-label".to_owned(), json!(labels));
    config
}

/// JSON in the form of all of gild's files.
#[must_use]
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Known;
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
        let node = Node::read(MAC, &answer, Known::default()).expect("a node");
        Seed::of(instance_id(MAC, &image()), &Said::of(&node, &image()))
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
            let labels = json!(["gild/board=rpi5", "gild/image=rpi5-0123456789ab"]);
            assert_eq!(config["node-label"], labels);
        }
    }

    #[test]
    fn what_a_seed_says_is_read_again_and_a_fallback_says_nothing() {
        let seed = seed("s3cret");
        let said = Said::parse(&seed.meta_data, &seed.user_data).expect("of gild's");
        assert_eq!(said.hostname, "node-1");
        assert_eq!(said.config["token"], "s3cret");
        assert_eq!(said.password, "0123456789abcdef");
        assert!(said.ssh_keys.is_empty());
        assert!(Seed::of(seed.instance_id.clone(), &said) == seed);
        let fallback = Seed::fallback(Some(MAC));
        assert!(Said::parse(&fallback.meta_data, &fallback.user_data).is_none());
        assert!(Said::parse("instance-id: own\n", "#cloud-config\n{}\n").is_none());
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
