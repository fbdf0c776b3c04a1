//! The date of an image: the date of the newest package list that it is made of, so that the host's clock does not matter.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::fmt::rfc2822;

use super::BaseError;

/// Reads the release files of the sources, in a private apt below `folder`, and gives the newest date in them.
pub fn newest(
    folder: &Path,
    sources: &str,
    access: &str,
    architecture: &str,
) -> Result<u64, BaseError> {
    let io = |source| BaseError::File {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder.join("lists/partial")).map_err(io)?;
    fs::create_dir_all(folder.join("cache/archives/partial")).map_err(io)?;
    fs::write(folder.join("status"), "").map_err(io)?;
    fs::write(folder.join("sources.list"), sources).map_err(io)?;
    let path = folder.display();
    let configuration = format!(
        "Dir::State \"{path}\";\nDir::State::lists \"{path}/lists\";\nDir::State::status \"{path}/status\";\n\
         Dir::Cache \"{path}/cache\";\nDir::Etc::sourcelist \"{path}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n#clear APT::Architectures;\n\
         APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\n\
         APT::Sandbox::User \"root\";\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear Acquire::IndexTargets::deb::Contents-deb;\nAcquire::Languages \"none\";\n{access}"
    );
    let file = folder.join("apt.conf");
    fs::write(&file, configuration).map_err(io)?;
    let output = Command::new("apt-get")
        .arg("-c")
        .arg(&file)
        .args(["-qq", "--error-on=any", "update"])
        .output()
        .map_err(|source| BaseError::Program {
            program: "apt-get",
            source,
        })?;
    if !output.status.success() {
        return Err(BaseError::Lists {
            words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let mut newest = None;
    for entry in fs::read_dir(folder.join("lists")).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with("Release") {
            newest = newest.max(date_of(&fs::read_to_string(entry.path()).map_err(io)?));
        }
    }
    newest.ok_or_else(|| BaseError::Lists {
        words: "no release file has a date".to_owned(),
    })
}

/// The `Date` of a release file.
fn date_of(release: &str) -> Option<u64> {
    let date = release
        .lines()
        .find_map(|line| line.strip_prefix("Date:"))?
        .trim();
    let time = rfc2822::parse(date).ok()?.timestamp();
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_release_file_s_date_is_read() {
        let release = "Origin: Debian\nDate: Sat, 21 Nov 2026 02:10:46 UTC\n";
        assert_eq!(super::date_of(release), Some(1_795_227_046));
        assert_eq!(super::date_of("Origin: Debian\n"), None);
        assert_eq!(super::date_of("Date: yesterday\n"), None);
    }
}
