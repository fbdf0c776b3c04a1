//! What `make demo FAULT=` shows, to its end. `make demo` itself is what a newcomer runs first.

mod campaign {
    use std::process::Command;

    use anyhow::{Context, Result};

    /// The cable's case above all: what the agent fetches ahead of a slow disk decides when there is still something to wait for.
    #[test]
    fn each_fault_of_the_demo_ends_well() -> Result<()> {
        for fault in ["cable", "power", "bad-disk", "bad-image"] {
            let output = Command::new(env!("CARGO_BIN_EXE_gild-demo"))
                .args(["--fault", fault, "rpi5"])
                .output()
                .context("starting the demo")?;
            let said = String::from_utf8_lossy(&output.stdout);
            let failure = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{fault}: {said}\n{failure}");
            assert!(said.contains("ran its image after"), "{fault}: {said}");
        }
        Ok(())
    }
}
