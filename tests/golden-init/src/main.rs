//! The one program of the test's golden image.
//!
//! As `/init` of the initramfs it loads modules, mounts the root file system that the kernel's command line names, and switches to it. As
//! `/sbin/init` of the root it says which image is running and on what, and switches the machine off. Everything that it reports it has
//! found on the disk from which it was started. Only the proof of an image on trial is gild's code.

mod initramfs;
mod root;

use std::io::Write;

fn main() {
    let role = std::env::args().next().unwrap_or_default();
    let outcome = if role == "/sbin/init" {
        root::report()
    } else {
        initramfs::switch_to_root()
    };
    if let Err(error) = outcome {
        say(&format!("FAILED: {error:#}"));
    }
    root::power_off();
}

/// One line on the console.
fn say(text: &str) {
    let mut console = std::io::stdout();
    // If the console is gone, nobody can read the line anyway.
    let _ = writeln!(console, "golden: {text}").and_then(|()| console.flush());
}
