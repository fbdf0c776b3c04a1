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
        what: "the directory that holds `<board>/golden.json`. `nfs://host[:port]/path[?mountport=N]`: over NFSv3 and TCP. \
            Without a port the server's portmapper is asked; with one, the MOUNT service is tried on the same port unless \
            `mountport` names another. A space in the path may be written as it is, or as `%20` ([nfs.md](nfs.md#the-address)). \
            `https://host[:port]/path[?query]`, or `http://`: see [http.md](http.md). A list names up to \
            eight: the next one is used where one does not answer, in the middle of an image too; as a kernel argument separated \
            by commas",
    },
    Key {
        name: "answer_seconds",
        kind: Kind::Number,
        needed: "no, 60",
        what: "how long a node waits for an answer of a server of images that is there and slow, in seconds: 5 to 600. A server that \
            is gone is noticed sooner ([nfs.md](nfs.md#a-slow-server))",
    },
    Key {
        name: "ca",
        kind: Kind::Text,
        needed: "no",
        what: "certificates of the site's own authorities, in PEM form: servers of images, Matchbox and the status URL may have \
            theirs from them, or from a public authority. Not as a kernel argument",
    },
    Key {
        name: "http.header",
        kind: Kind::Text,
        needed: "no",
        what: "`Name: value`: a header for each request to a server of images, over `https://` alone. **Anyone who has the card can read it**: \
            give it the right to read images and nothing else. Not as a kernel argument",
    },
    Key {
        name: "public_key",
        kind: Kind::Text,
        needed: "yes",
        what: "the minisign public key that golden images are signed with: the second line of the `.pub` file",
    },
    Key {
        name: "next_public_key",
        kind: Kind::Text,
        needed: "no",
        what: "a second key: an image that it signed is taken as well. It is there to [change the key](golden-image.md#change-the-key)",
    },
    Key {
        name: "matchbox",
        kind: Kind::Text,
        needed: "no",
        what: "base URL of a Matchbox server. The console then says which host name Matchbox has for this MAC, or that it \
            knows none. Nothing else that Matchbox answers is shown or kept, and the flash never waits for more than a \
            few seconds",
    },
    Key {
        name: "status_url",
        kind: Kind::Text,
        needed: "no",
        what: "what the node is doing is posted there as JSON while it happens, and the receipt until it is taken: see [reports](#reports)",
    },
    Key {
        name: "status_key",
        kind: Kind::Text,
        needed: "no",
        what: "64 hex digits: the key that the reports are [signed](#signed-reports) with. **Anyone who has the card can read it**, and can send reports \
            in the name of any board; it is good for nothing else. Not as a kernel argument",
    },
    Key {
        name: "syslog",
        kind: Kind::Text,
        needed: "no",
        what: "a log server, `udp://host[:port]`: each line of the console is sent there as RFC 5424 has it, with the facility *daemon*, the \
            node's MAC address as host name and no time. Nothing waits for it: up to 512 lines are kept until there is a network, and \
            what is lost on the way is lost",
    },
    Key {
        name: "order_url",
        kind: Kind::Text,
        needed: "no",
        what: "where [signed orders](card.md#signed-orders) are asked for: `<order_url>/<twelve digits of the MAC address>`, and if there is \
            none, `<order_url>/<board>`. gild's desk answers there, and so does a web server with files",
    },
    Key {
        name: "order_key",
        kind: Kind::Text,
        needed: "no",
        what: "the minisign public key that signs orders. If it is given, it alone counts for them; else `public_key` and \
            `next_public_key` do",
    },
    Key {
        name: "min_rollback",
        kind: Kind::Number,
        needed: "no, 0",
        what: "images with a lower rollback counter are refused",
    },
    Key {
        name: "dry_run",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: all steps except those that write, and then what would have been done: [dry run](#dry-run)",
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
        what: "router, with a static address. One outside of the address's network is looked for on the node's own link",
    },
    Key {
        name: "network.dns",
        kind: Kind::List,
        needed: "no",
        what: "list of name servers, with a static address; as a kernel argument separated by commas",
    },
    Key {
        name: "network.vlan",
        kind: Kind::Number,
        needed: "no",
        what: "VLAN of the node, 1 to 4094. With it the address and name servers are the node's alone, in this VLAN: the flasher \
            itself stays outside it and uses DHCP",
    },
    Key {
        name: "network.ntp",
        kind: Kind::List,
        needed: "no",
        what: "list of the IPv4 addresses of time servers, with DHCP too; as a kernel argument separated by commas",
    },
    Key {
        name: "target.serial",
        kind: Kind::Text,
        needed: "no",
        what: "serial number of the NVMe disk to write, where there are several",
    },
    Key {
        name: "target.read_holes",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: every byte of the image's holes is read back as its data is, so that the whole image is proven to be on the \
            disk. `false`: of the holes only [samples](#holes) are read",
    },
    Key {
        name: "order.id",
        kind: Kind::Text,
        needed: "no",
        what: "an order to flash: nodes are written again with the image on the share, **and all data on their disks is lost**. A \
            node carries out each id once: its disk keeps the last five. Letters, digits, dots, dashes and underscores, at most 48",
    },
    Key {
        name: "order.nodes",
        kind: Kind::List,
        needed: "with `order.id`",
        what: "list of the nodes that the order is for: MAC addresses or serial numbers of boards, or `all` alone; as a kernel \
            argument separated by commas",
    },
    Key {
        name: "boot_order.keep",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the boot order in the board's EEPROM or boot flash is left as it is. A board that looks at the card \
            first then starts its finished disk by way of the card",
    },
    Key {
        name: "boot_order.allow_older",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: the EEPROM image on the card may replace a newer one on a Raspberry Pi 5, for fleets that are pinned to \
            one. Not one that is older than the board's parts ask for",
    },
    Key {
        name: "boot_order.replace_settings",
        kind: Kind::Flag,
        needed: "no, false",
        what: "`true`: where a Raspberry Pi 5 does not show its EEPROM settings to Linux, the ones in the EEPROM image on the card \
            may replace them all. `false`: such an EEPROM is left as it is, because nobody could say what would be lost. Where \
            the settings can be read they are kept either way",
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
