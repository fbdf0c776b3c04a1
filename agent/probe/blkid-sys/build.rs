//! Links libblkid: the one of `toolchain/libblkid` for a musl target, the system's for the host.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_static = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl");
    match pkg_config::Config::new().statik(is_static).probe("blkid") {
        Ok(library) => {
            // The archive is bundled into the rlib, so a rebuilt archive means a new rlib.
            for directory in library.link_paths {
                println!(
                    "cargo::rerun-if-changed={}",
                    directory.join("libblkid.a").display()
                );
            }
        }
        Err(error) => {
            eprintln!("{error}\nlibblkid is not there for this target; next: make setup");
            std::process::exit(1);
        }
    }
}
