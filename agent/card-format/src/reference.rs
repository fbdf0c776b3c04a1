//! Every key there is, and what it does: what the agent takes and what docs/configuration.md says are one list.

/// How a kernel argument, which is text, becomes a TOML value.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Number,
    Flag,
    List,
}

/// One key of `gild.toml`.
pub struct Key {
    /// With the section's name and a dot before it.
    pub name: &'static str,
    pub kind: Kind,
    /// Whether a node can do without, and what it takes then.
    pub needed: &'static str,
    /// For the operator, in Markdown.
    pub what: &'static str,
}

/// Every key of the configuration.
pub const KEYS: [Key; 26] = [
    Key {
        name: "server",
        kind: Kind::List,
        needed: "yes",
        what: "the folder that holds `<board>/golden.json`, or a list of up to eight: [below](#servers-of-images)",
    },
    Key {
        name: "answer_seconds",
        kind: Kind::Number,
        needed: "no, 60",
        what: "how long the agent waits for an answer of a slow image server, in seconds: 5 to 600 ([nfs.md](nfs.md#a-slow-server))",
    },
    Key {
        name: "ca",
        kind: Kind::Text,
        needed: "no",
        what: "certificates of your own authorities, in PEM form, for image servers, the metadata server and the status URL. Not as a kernel argument",
    },
    Key {
        name: "http.header",
        kind: Kind::Text,
        needed: "no",
        what: "`Name: value`: a header for each request to an image server: [below](#servers-of-images). Not as a kernel argument",
    },
    Key {
        name: "public_key",
        kind: Kind::Text,
        needed: "yes",
        what: "the minisign public key of your golden images: the second line of the `.pub` file",
    },
    Key {
        name: "next_public_key",
        kind: Kind::Text,
        needed: "no",
        what: "a second key. Images signed with it count as well. Use it to [change the key](golden-image.md#change-the-key)",
    },
    Key {
        name: "matchbox",
        kind: Kind::Text,
        needed: "no",
        what: "base URL of the metadata server, a desk or Matchbox. The console then shows the host name that it has for this MAC address",
    },
    Key {
        name: "status_url",
        kind: Kind::Text,
        needed: "no",
        what: "the agent posts [reports](#reports) there while it works, and the receipt until the server takes it",
    },
    Key {
        name: "status_key",
        kind: Kind::Text,
        needed: "no",
        what: "64 hex digits: the key that [signs](#signed-reports) the reports. Not as a kernel argument",
    },
    Key {
        name: "syslog",
        kind: Kind::Text,
        needed: "no",
        what: "a log server, `udp://host[:port]`: the agent sends each line of the console there, [below](#the-log-server)",
    },
    Key {
        name: "order_url",
        kind: Kind::Text,
        needed: "no",
        what: "where the agent asks for [signed orders](card.md#signed-orders)",
    },
    Key {
        name: "order_key",
        kind: Kind::Text,
        needed: "no",
        what: "the minisign public key that signs orders. Without it, `public_key` and `next_public_key` count for orders",
    },
    Key {
        name: "min_rollback",
        kind: Kind::Number,
        needed: "no, 0",
        what: "the agent refuses images with a lower rollback counter",
    },
    Key {
        name: "dry_run",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the agent writes no disk, and says what it would do: [dry run](#dry-run)",
    },
    Key {
        name: "network.address",
        kind: Kind::Text,
        needed: "no",
        what: "static IPv4 address with prefix length, `192.168.1.50/24`, instead of DHCP. The [node gets it too](#network)",
    },
    Key {
        name: "network.gateway",
        kind: Kind::Text,
        needed: "no",
        what: "router, with a static address. The node looks for one outside of its network on its own link",
    },
    Key {
        name: "network.dns",
        kind: Kind::List,
        needed: "no",
        what: "list of name servers, with a static address",
    },
    Key {
        name: "network.vlan",
        kind: Kind::Number,
        needed: "no",
        what: "VLAN of the node, 1 to 4094: [below](#network)",
    },
    Key {
        name: "network.ntp",
        kind: Kind::List,
        needed: "no",
        what: "list of the IPv4 addresses of time servers, with DHCP too",
    },
    Key {
        name: "target.serial",
        kind: Kind::Text,
        needed: "no",
        what: "serial number of the NVMe disk to write, if there are several",
    },
    Key {
        name: "target.read_holes",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the agent reads back every byte of the image's holes. `false`: it reads [samples](#holes) of them",
    },
    Key {
        name: "order.id",
        kind: Kind::Text,
        needed: "no",
        what: "an [order to flash](card.md#an-order-to-flash). **All data on the disks of its nodes is lost**",
    },
    Key {
        name: "order.nodes",
        kind: Kind::List,
        needed: "with `order.id`",
        what: "list of the nodes that the order is for: MAC addresses or serial numbers of boards, or `all` alone",
    },
    Key {
        name: "boot_order.keep",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the agent does not change the boot order: [below](#the-boot-order)",
    },
    Key {
        name: "boot_order.allow_older",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the EEPROM image on the card may replace a newer one on a Raspberry Pi 5: [below](#the-boot-order)",
    },
    Key {
        name: "boot_order.replace_settings",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the agent may replace EEPROM settings that it cannot read: [below](#the-boot-order)",
    },
];

/// Keys that are kernel arguments only: they are needed before the card is read.
pub const ARGUMENT_KEYS: [&str; 3] = ["card", "hold_seconds", "watchdog_seconds"];

/// Keys that the card alone may have.
pub const CARD_KEYS: [&str; 3] = ["ca", "http.header", "status_key"];

/// The table of all keys, as docs/configuration.md has it.
#[must_use]
pub fn markdown() -> String {
    let row = |key: &Key| format!("| `{}` | {} | {} |\n", key.name, key.needed, key.what);
    let rows: String = KEYS.iter().map(row).collect();
    format!("| key | needed | what |\n| --- | --- | --- |\n{rows}")
}
