//! The container images of a k3s release, in one archive, which k3s imports before it starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

/// An archive that was given, and its SHA-256.
#[derive(Clone, Debug)]
pub struct Images {
    /// The release's `k3s-airgap-images-arm64.tar`, `.tar.gz` or `.tar.zst`.
    pub path: PathBuf,
    /// Its SHA-256, as the release's `sha256sum-arm64.txt` says.
    pub sha256: String,
}

/// Why an archive cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not an archive of images.
    #[error("is not an archive of container images ({0})")]
    NotImages(String),
    /// The sandbox of each pod.
    #[error("has no image `pause`, without which no pod starts")]
    NoPause,
    /// Of another processor.
    #[error("has the image {name} for {architecture}, and the boards are {ARCHITECTURE}")]
    Architecture {
        /// The image.
        name: String,
        /// Its processor.
        architecture: String,
    },
    /// Of another release, as far as its name says so.
    #[error("has the release {of} in its name, and the program is {program}")]
    Release {
        /// The archive's.
        of: String,
        /// The program's.
        program: String,
    },
}

/// Where `docker save` lists what is in it.
const MANIFEST: &str = "manifest.json";
const ARCHITECTURE: &str = "arm64";
/// Layers are longer, lists and settings of images are not.
const LONGEST: u64 = 1 << 20;
/// The widest window that the format knows: other programs need not keep to the usual one.
const WINDOW: u32 = 31;

/// The names of the images in an archive, which fits the boards and, if its own name has a version, the program.
pub fn check(path: &Path, program: Option<&str>) -> Result<Vec<String>, Problem> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some((of, program)) = version_in(&name).zip(program)
        && of != program
    {
        return Err(Problem::Release {
            of,
            program: program.to_owned(),
        });
    }
    let texts = texts(path).map_err(|error| Problem::NotImages(error.to_string()))?;
    judge(&texts)
}

/// The short JSON documents in an archive, by their paths.
fn texts(path: &Path) -> io::Result<BTreeMap<String, Value>> {
    let file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let name = path.to_string_lossy();
    let stream: Box<dyn Read> = if name.ends_with(".gz") {
        Box::new(GzDecoder::new(file))
    } else if name.ends_with(".zst") {
        let mut decoder = zstd::Decoder::with_buffer(file)?;
        decoder.window_log_max(WINDOW)?;
        Box::new(decoder)
    } else {
        Box::new(file)
    };
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() || entry.size() > LONGEST {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if let Ok(value) = serde_json::from_slice(&bytes) {
            found.insert(path, value);
        }
    }
    Ok(found)
}

fn judge(texts: &BTreeMap<String, Value>) -> Result<Vec<String>, Problem> {
    let images = texts.get(MANIFEST).and_then(Value::as_array);
    let images = images.ok_or_else(|| Problem::NotImages(format!("it has no {MANIFEST}")))?;
    let mut names = Vec::new();
    for image in images {
        let tags = image["RepoTags"].as_array().into_iter().flatten();
        let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
        let settings = image["Config"].as_str().and_then(|path| texts.get(path));
        let architecture = settings.and_then(|settings| settings["architecture"].as_str());
        if architecture != Some(ARCHITECTURE) {
            return Err(Problem::Architecture {
                name: tags.first().unwrap_or(&"without a name").to_string(),
                architecture: architecture.unwrap_or("an unknown processor").to_owned(),
            });
        }
        names.extend(tags.into_iter().map(str::to_owned));
    }
    let is_pause = |name: &String| {
        let image = name.rsplit('/').next().unwrap_or_default();
        let image = image.split(':').next().unwrap_or_default();
        image == "pause" || image.ends_with("-pause")
    };
    if !names.iter().any(is_pause) {
        return Err(Problem::NoPause);
    }
    names.sort();
    Ok(names)
}

/// `v1.33.1+k3s1`, as a file's name may have it: the `+` may be written in other ways.
fn version_in(name: &str) -> Option<String> {
    let name = name.replace("%2B", "+").replace("%2b", "+");
    ["+k3s", "-k3s"].iter().find_map(|mark| {
        let (before, after) = name.split_once(mark)?;
        let version = &before[before.rfind('v')?..];
        let build = after.split(|c: char| !c.is_ascii_digit()).next()?;
        let is_version =
            version.len() > 1 && version[1..].chars().all(|c| c.is_ascii_digit() || c == '.');
        (is_version && !build.is_empty()).then(|| format!("{version}+k3s{build}"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const PAUSE: &str = "docker.io/rancher/mirrored-pause:3.6";
    const DNS: &str = "docker.io/rancher/mirrored-coredns-coredns:1.12.1";

    /// An archive as `docker save` makes it: settings and layers first, the list last.
    fn archive(images: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes)
                .expect("into memory");
        };
        add("blobs/sha256/layer", &vec![b'{'; 2 << 20]);
        let mut list = Vec::new();
        for (number, (name, architecture)) in images.iter().enumerate() {
            let path = format!("blobs/sha256/{number}");
            let settings = json!({"architecture": architecture, "os": "linux"});
            add(&path, settings.to_string().as_bytes());
            list.push(
                json!({"Config": path, "RepoTags": [name], "Layers": ["blobs/sha256/layer"]}),
            );
        }
        add(MANIFEST, json!(list).to_string().as_bytes());
        tar.into_inner().expect("into memory")
    }

    fn checked(name: &str, bytes: &[u8]) -> Result<Vec<String>, Problem> {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        check(&path, Some("v1.33.1+k3s1"))
    }

    #[test]
    fn a_release_s_images_are_listed_however_they_are_packed() {
        let tar = archive(&[(PAUSE, "arm64"), (DNS, "arm64")]);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).expect("into memory");
        let gzip = gzip.finish().expect("into memory");
        let zstd = zstd::encode_all(&tar[..], 1).expect("into memory");
        for (name, bytes) in [
            ("k3s-airgap-images-arm64.tar", tar),
            ("images-v1.33.1%2Bk3s1.tar.gz", gzip),
            ("k3s-airgap-images-arm64-v1.33.1+k3s1.tar.zst", zstd),
        ] {
            assert_eq!(
                checked(name, &bytes),
                Ok(vec![DNS.to_owned(), PAUSE.to_owned()]),
                "{name}"
            );
        }
    }

    #[test]
    fn images_that_start_no_pod_on_the_boards_are_refused() {
        let other = checked("a.tar", &archive(&[(PAUSE, "arm64"), (DNS, "amd64")]));
        assert!(matches!(other, Err(Problem::Architecture { name, .. }) if name == DNS));
        assert_eq!(
            checked("a.tar", &archive(&[(DNS, "arm64")])),
            Err(Problem::NoPause)
        );
        for (name, bytes) in [
            ("a.tar", b"nothing".to_vec()),
            ("a.tar.gz", b"nothing".to_vec()),
            ("a.tar.zst", b"nothing".to_vec()),
            (
                "a.tar",
                tar::Builder::new(Vec::new())
                    .into_inner()
                    .expect("into memory"),
            ),
        ] {
            let said = checked(name, &bytes);
            assert!(
                matches!(said, Err(Problem::NotImages(_))),
                "{name}: {said:?}"
            );
        }
        // The end is missing, and with it the list.
        let zstd = zstd::encode_all(&archive(&[(PAUSE, "arm64")])[..], 1).expect("into memory");
        let cut = checked("a.tar.zst", &zstd[..zstd.len() / 2]);
        assert!(matches!(cut, Err(Problem::NotImages(_))), "{cut:?}");
    }

    #[test]
    fn images_of_another_release_are_refused_where_their_name_says_so() {
        let tar = archive(&[(PAUSE, "arm64")]);
        for name in [
            "k3s-airgap-images-v1.32.5+k3s1.tar",
            "v1.33.1-k3s2-images.tar",
        ] {
            let said = checked(name, &tar);
            assert!(
                matches!(said, Err(Problem::Release { .. })),
                "{name}: {said:?}"
            );
        }
        assert_eq!(version_in("my-k3s-airgap-images-arm64.tar"), None);
        assert_eq!(version_in("preview+k3s1"), None);
        assert_eq!(
            version_in("x-v1.33.1-k3s1.tar").as_deref(),
            Some("v1.33.1+k3s1")
        );
    }
}
