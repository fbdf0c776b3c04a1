//! `gild image list`: which images a folder keeps.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::kept::{Kept, Shelf};
use super::pack::timestamp;
use super::size;

/// Arguments of `gild image list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build`, `pack` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print JSON: an array with one object for each image
    #[arg(long)]
    json: bool,
}

/// Runs `gild image list`.
pub fn run(args: &Args) -> Result<()> {
    let shelves = Shelf::all(&args.folder)?;
    if args.json {
        let images: Vec<_> = shelves
            .iter()
            .flat_map(|shelf| shelf.images.iter().map(|image| object(shelf, image)))
            .collect();
        println!("{}", serde_json::to_string_pretty(&images)?);
        return Ok(());
    }
    for shelf in &shelves {
        println!("{}", shelf.path.display());
        for image in &shelf.images {
            println!("  {}", line(image)?);
        }
    }
    Ok(())
}

fn line(image: &Kept) -> Result<String> {
    let mark = if image.is_current { "*" } else { " " };
    let facts = match &image.manifest {
        Ok(manifest) => format!(
            "  built {}  counter {}  {}",
            timestamp(manifest.build_time)?.strftime("%F"),
            manifest.rollback_counter,
            size::shown(manifest.stored_size)
        ),
        Err(_) => String::new(),
    };
    let channels = match &*image.channels.join(", ") {
        "" => String::new(),
        names => format!("  channel {names}"),
    };
    let problem = image
        .problem()
        .map_or_else(String::new, |problem| format!("  {problem}"));
    Ok(format!(
        "{mark} {}{facts}{channels}{problem}",
        image.image_id
    ))
}

fn object(shelf: &Shelf, image: &Kept) -> serde_json::Value {
    let manifest = image.manifest.as_ref().ok();
    json!({
        "folder": shelf.path,
        "image_id": image.image_id.as_str(),
        "current": image.is_current,
        "channels": image.channels,
        "board": manifest.map(|manifest| &manifest.board),
        "build_time": manifest.map(|manifest| manifest.build_time),
        "rollback_counter": manifest.map(|manifest| manifest.rollback_counter),
        "proves_itself": manifest.map(|manifest| manifest.proves_itself),
        "stored_bytes": manifest.map(|manifest| manifest.stored_size),
        "problem": image.problem(),
    })
}
