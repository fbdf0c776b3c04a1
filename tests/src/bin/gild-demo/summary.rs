//! What a board's demo has shown, in numbers.

use std::time::Duration;

use gild_tests::board_dtb::Product;
use serde_json::Value;

use crate::End;
use crate::order::Order;

/// The agent's stages, in the order of its story.
pub const STAGES: [&str; 12] = [
    "takeover",
    "board",
    "card",
    "disk",
    "network",
    "manifest",
    "target",
    "flash",
    "verify",
    "commit",
    "boot-order",
    "receipt",
];

/// One board's way from bare to node.
pub struct Summary {
    pub product: Product,
    pub before: Order,
    /// How the first power-on ended.
    pub first: End,
    /// From the second power-on to the golden image's first line.
    pub again: Duration,
}

impl Summary {
    /// Shows it.
    pub fn print(&self) {
        let End {
            flashed,
            golden,
            order,
            receipt,
        } = &self.first;
        println!("\n{} ({})", self.product.name(), self.product.model());
        println!("  boot order {} -> {order}", self.before);
        println!(
            "  power-on   flashed after {:.1} s, golden image after {:.1} s; from the second power-on, straight from the disk, {:.1} s",
            flashed.as_secs_f64(),
            golden.as_secs_f64(),
            self.again.as_secs_f64()
        );
        println!(
            "  image      {}",
            receipt["image_id"].as_str().unwrap_or("?")
        );
        println!(
            "  fetched    {:.1} MB, written {:.1} MB, made zero {:.1} MB, read back and hashed {:.1} MB",
            self.megabytes("bytes_fetched"),
            self.megabytes("bytes_written"),
            self.megabytes("bytes_zeroed"),
            self.megabytes("bytes_read_back")
        );
        println!(
            "  rate       {:.1} MB/s of image in flash and verify, on an emulated processor",
            (self.megabytes("bytes_written") + self.megabytes("bytes_zeroed"))
                / (self.stage("flash") + self.stage("verify")).max(0.001)
        );
        let times = STAGES.map(|name| format!("{name} {:.1}", self.stage(name)));
        println!("  seconds    {}", times.join(", "));
        println!("  changed    {}", self.changes());
        println!("  receipt    gild-<mac>.json on the card, and the line `gild: receipt` above");
    }

    fn changes(&self) -> String {
        let changes = self.first.receipt["boot_order_changes"].as_array();
        let texts = changes.into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join("; ")
    }

    fn megabytes(&self, key: &str) -> f64 {
        self.first.receipt[key].as_f64().unwrap_or(0.0) / 1e6
    }

    fn stage(&self, name: &str) -> f64 {
        self.first.receipt["seconds"][name].as_f64().unwrap_or(0.0)
    }
}

/// What comes after the demo.
pub const NEXT: &str = "next: make an image for your own boards (docs/getting-started.md)";

/// What the demo has shown of these boards. Only for boards that did all of it.
pub fn verdict(products: &[Product]) -> String {
    match products {
        [product] => format!(
            "{} was flashed, changed its boot order and started from the disk",
            product.name()
        ),
        [_, _] => "both boards were flashed, changed their boot order and started from the disk"
            .to_owned(),
        _ => format!(
            "{} boards were flashed, changed their boot order and started from the disk",
            products.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_says_which_boards_did_it() {
        let both = verdict(&[Product::Rpi5, Product::Rock5b]);
        assert!(both.starts_with("both boards were flashed, "), "{both}");
        let one = verdict(&[Product::Rpi5]);
        assert!(one.starts_with("rpi5 was flashed, changed its"), "{one}");
    }
}
