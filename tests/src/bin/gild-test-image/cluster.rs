//! The cluster of the test, and the node's group in Matchbox. At first the group has a wrong token, and the correction is made there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::cluster::Cluster;
use serde_json::json;

use gild_tests::real_image::{AUTHORIZED_KEY, HOST};

/// The password of the cluster's token.
pub const PASSWORD: &str = "s3cret-of-the-cluster";
/// What the operator writes at first.
pub const WRONG_PASSWORD: &str = "s3cret-of-another-cluster";
/// What the node of the test proves its name with.
pub const NODE_PASSWORD: &str = "5ec2e7-of-the-node";
/// The node's name.
pub const NAME: &str = "node-1";

/// A cluster that nodes reach at [`HOST`]. It accepts only the right token.
pub fn start() -> Result<Cluster> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let cluster = Cluster::serve(listener)?;
    cluster.accept(PASSWORD);
    Ok(cluster)
}

/// As nodes see it.
pub fn url(cluster: &Cluster) -> String {
    format!("https://{HOST}:{}", cluster.port())
}

/// The node's entry in Matchbox.
pub struct Group {
    path: PathBuf,
    product: Product,
}

impl Group {
    /// Of the node of this board.
    pub fn new(groups: &Path, product: Product) -> Result<Self> {
        fs::create_dir_all(groups)?;
        let path = groups.join("node-1.json");
        Ok(Self { path, product })
    }

    /// Says that the node joins this cluster with this password.
    pub fn write(&self, cluster: &Cluster, password: &str) -> Result<()> {
        let group = json!({
            "id": NAME, "profile": "gild", "selector": { "mac": self.product.mac() },
            "metadata": {
                "hostname": NAME, "k3s_url": url(cluster), "k3s_token": cluster.token(password),
                "k3s_node_password": NODE_PASSWORD,
                "k3s_node_labels": { "rack": "example.com/rack=a1" }, "ssh_keys": { "site": AUTHORIZED_KEY },
            },
        });
        Ok(fs::write(&self.path, group.to_string())?)
    }
}
