//! The colours of the page: each pair that occurs has the contrast that WCAG 2.2 asks of it at level AA, in light and in dark.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../page/page.css");
const TEXT: f64 = 4.5;
const SHAPE: f64 = 3.0;
const STATES: [&str; 9] = [
    "fault", "silent", "starting", "flashing", "booting", "joining", "joined", "expected",
    "stranger",
];

/// The colours that a block of the style sheet names: red, green and blue.
fn colours(block: &str) -> BTreeMap<&str, [u8; 3]> {
    let declarations = block.split(';').filter_map(|line| {
        let (name, value) = line.split_once("--")?.1.split_once(": #")?;
        let bytes: [u8; 3] = hex::decode(value).ok()?.try_into().ok()?;
        Some((name, bytes))
    });
    declarations.collect()
}

fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|byte| {
        let part = f64::from(byte) / 255.0;
        if part <= 0.040_45 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn everything_on_the_page_can_be_told_from_what_is_behind_it() {
    let (light, dark) = STYLE
        .split_once("@media (prefers-color-scheme: dark)")
        .expect("two schemes");
    for (scheme, block) in [("light", light), ("dark", dark)] {
        let block = block.split_once(":root {").expect("colours").1;
        let colours = colours(block.split_once('}').expect("an end").0);
        let mut pairs = vec![
            ("text", "fault-face", TEXT),
            ("fault", "fault-face", TEXT),
            ("link", "fault-face", SHAPE),
            ("edge", "fault-face", SHAPE),
            ("flashing", "line", SHAPE),
        ];
        for behind in ["page", "panel", "face"] {
            pairs.extend(["text", "soft", "link"].map(|front| (front, behind, TEXT)));
            pairs.extend(STATES.map(|front| (front, behind, TEXT)));
            pairs.push(("edge", behind, SHAPE));
        }
        let mut lowest = f64::MAX;
        for (front, behind, least) in pairs {
            let is = contrast(colours[front], colours[behind]);
            assert!(
                is >= least,
                "{scheme}: {front} on {behind} has {is:.2}:1, and needs {least}:1"
            );
            if least > SHAPE {
                lowest = lowest.min(is);
            }
        }
        let claim = format!("{scheme} {lowest:.1}:1");
        assert!(STYLE.contains(&claim), "the style sheet should say {claim}");
    }
}
