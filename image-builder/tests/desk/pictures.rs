//! The pictures of docs/desk.md: `GILD_WRITE_DOCS=1` writes them.

use std::fs;
use std::path::Path;

use crate::boards::{hundred, in_all_states, mac};
use crate::browser::Browser;
use crate::common::Bench;
use crate::serve::init;

/// Bytes.
const LONGEST: usize = 150_000;

#[test]
fn the_pictures_of_the_page_are_small_enough_for_a_repository() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let eight = in_all_states(&bench);
    let other = Bench::new();
    init(&other, &[]).succeeds();
    let hundred = hundred(&other);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    let of_fault = format!("/#{}", mac(6));
    for (name, width, height, scheme, serve, path) in [
        ("rack.png", 1280, 720, "light", &eight, &*of_fault),
        ("rack-hundred.webp", 1366, 640, "dark", &hundred, "/"),
        ("rack-phone.png", 360, 720, "light", &eight, "/"),
        ("rack-order.png", 1000, 790, "light", &eight, &of_fault),
    ] {
        let mut page = Browser::open("about:blank", width, height);
        page.prefer(&[
            ("prefers-color-scheme", scheme),
            ("prefers-reduced-motion", "reduce"),
        ]);
        page.go(&serve.https(path));
        page.until("document.querySelectorAll('#units li').length >= 8");
        if name == "rack-hundred.webp" {
            // As much as a laptop shows below the browser's own bars.
            let end = page.js("document.getElementById('cabinet').getBoundingClientRect().bottom");
            assert!(end.as_f64().expect("a number") < f64::from(height), "{end}");
        }
        if name == "rack-order.png" {
            page.js("document.getElementById('order-flash').click()");
            page.js("document.getElementById('order-rolling').click()");
            page.js("document.querySelectorAll('#order-boards input')[1].click()");
        }
        let (_, format) = name.split_once('.').expect("an ending");
        let picture = page.picture(format);
        assert!(picture.len() < LONGEST, "{name}: {} bytes", picture.len());
        if std::env::var_os("GILD_WRITE_DOCS").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(name), picture).expect("written");
        }
    }
}
