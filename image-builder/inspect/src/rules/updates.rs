//! Where a node's apt gets security updates from.

use gild_node::reach::Reach;

use crate::image::Image;
use crate::report::Finding;

use super::has_ending;

const LIST: &str = "etc/apt/sources.list";
const FOLDER: &str = "etc/apt/sources.list.d";
const OS_RELEASE: &str = "usr/lib/os-release";

/// Names of releases that any release may be at its time.
const ALIASES: [&str; 3] = ["stable", "oldstable", "testing"];

/// A source of packages that apt uses.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    address: String,
    suite: String,
    components: Vec<String>,
}

pub fn security(image: &Image) -> Vec<Finding> {
    if image.is_without_security_updates() {
        return Vec::new();
    }
    let release = image.root_text(OS_RELEASE).unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(codename) = codename.map(|name| name.trim().trim_matches('"')) else {
        let what = "does not say which release it is (VERSION_CODENAME)";
        return vec![Finding::new(OS_RELEASE, what)];
    };
    let is_security = |source: &Source| {
        let release = source.suite.strip_suffix("-security");
        release.is_some_and(|release| release == codename || ALIASES.contains(&release))
            && source.components.iter().any(|name| name == "main")
            && is_elsewhere(&source.address)
    };
    if sources(image).iter().any(is_security) {
        return Vec::new();
    }
    let what = format!("no source of {codename}-security that a node can reach");
    vec![Finding::new(FOLDER, what)]
}

/// Neither on the node nor on a disk in it.
fn is_elsewhere(address: &str) -> bool {
    let scheme = address.split(':').next().unwrap_or_default();
    !["file", "copy", "cdrom"].contains(&scheme) && Reach::of_text(address) != Some(Reach::Itself)
}

fn sources(image: &Image) -> Vec<Source> {
    let text = |path: &str| image.root_text(path).unwrap_or_default();
    let mut sources = one_line(&text(LIST));
    for (path, _) in image.root.in_folder(FOLDER) {
        if has_ending(path, "list") {
            sources.extend(one_line(&text(path)));
        } else if has_ending(path, "sources") {
            sources.extend(stanzas(&text(path)));
        }
    }
    sources
}

/// The older form: `deb [options] address suite components`.
fn one_line(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?;
        let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Source {
            address: words.next()?,
            suite: words.next()?,
            components: words.collect(),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// The newer form: paragraphs of fields.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(of_fields(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        }
    }
    sources
}

fn of_fields(fields: &[(String, String)]) -> Vec<Source> {
    let words = |name: &str| -> Vec<&str> {
        let field = fields.iter().find(|(found, _)| found == name);
        field.map_or(Vec::new(), |(_, value)| value.split_whitespace().collect())
    };
    let is_off = words("enabled").first().is_some_and(|word| {
        let off = ["no", "false", "without", "off", "disable", "0"];
        off.iter().any(|off| word.eq_ignore_ascii_case(off))
    });
    if is_off || !words("types").contains(&"deb") {
        return Vec::new();
    }
    let components: Vec<String> = words("components").into_iter().map(str::to_owned).collect();
    let (addresses, suites) = (words("uris"), words("suites"));
    addresses
        .iter()
        .flat_map(|address| suites.iter().map(move |suite| (address, suite)))
        .map(|(address, suite)| Source {
            address: (*address).to_owned(),
            suite: (*suite).to_owned(),
            components: components.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sources: &[Source]) -> Vec<String> {
        let shown = sources.iter().map(|source| {
            let Source {
                address,
                suite,
                components,
            } = source;
            format!("{address} {suite} {}", components.join(","))
        });
        shown.collect()
    }

    #[test]
    fn lines_are_read_as_apt_reads_them() {
        let text = "# deb http://a x main\ndeb http://a trixie main contrib # why\n\
                    deb-src http://a trixie main\n deb\t[ arch=arm64 signed-by=/k ]  http://b  y-security main\ndebug http://c z main\n";
        assert_eq!(
            shown(&one_line(text)),
            ["http://a trixie main,contrib", "http://b y-security main"]
        );
    }

    #[test]
    fn stanzas_are_read_as_apt_reads_them() {
        let text = "# said\nTypes: deb deb-src\nURIs: http://a http://b\nSuites: x\n y-security\n#no\nComponents: main\n\n\
                    Types: deb-src\nURIs: http://c\nSuites: z\nComponents: main\n\n\
                    Enabled: No\nTypes: deb\nURIs: http://d\nSuites: z\nComponents: main\n\n\
                    types: deb\nuris: http://e\nsuites: z\nComponents: main non-free";
        assert_eq!(
            shown(&stanzas(text)),
            [
                "http://a x main",
                "http://a y-security main",
                "http://b x main",
                "http://b y-security main",
                "http://e z main,non-free",
            ]
        );
    }
}
