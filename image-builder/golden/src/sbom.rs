//! The list of what is in an image: SPDX 2.3 in JSON, out of dpkg's own database.

pub mod dpkg;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::tree::{Tree, TreeError};
use dpkg::Package;

const STATUS: &str = "var/lib/dpkg/status";

/// Something in the image that is not a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who made it, if known.
    pub supplier: Option<String>,
    /// Digest of its program, hexadecimal.
    pub sha256: String,
}

/// The list of what is in the tree. Equal trees have equal lists.
pub fn spdx(
    tree: &Tree,
    image_id: &str,
    source_date: u64,
    components: &[Component],
) -> Result<String, TreeError> {
    let installed = dpkg::installed(&tree.read_text(STATUS)?);
    let distribution = distribution(&tree.read_text("etc/os-release")?);
    let image = json!({
        "SPDXID": "SPDXRef-Image",
        "name": image_id,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
    });
    let packages: Vec<Value> = [image]
        .into_iter()
        .chain(
            installed
                .iter()
                .map(|package| of_package(package, &distribution)),
        )
        .chain(components.iter().map(of_component))
        .collect();
    let contains = packages[1..].iter().map(|package| {
        json!({
            "spdxElementId": "SPDXRef-Image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": package["SPDXID"],
        })
    });
    let describes = json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-Image",
    });
    let relationships: Vec<Value> = [describes].into_iter().chain(contains).collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image_id,
        "documentNamespace": namespace(image_id),
        "creationInfo": {
            "created": date(source_date),
            "creators": [format!("Tool: gild-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    Ok(format!("{document:#}\n"))
}

/// A URI that no other image's list has.
fn namespace(image_id: &str) -> String {
    let digest = Sha256::digest(format!("gild spdx {image_id}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes).urn().to_string()
}

fn date(source_date: u64) -> String {
    i64::try_from(source_date)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The distribution's name as package URLs have it.
fn distribution(os_release: &str) -> String {
    let id = os_release.lines().find_map(|line| line.strip_prefix("ID="));
    id.unwrap_or("debian").trim_matches('"').to_owned()
}

fn of_package(package: &Package, distribution: &str) -> Value {
    let Package {
        name,
        version,
        architecture,
        maintainer,
        source,
    } = package;
    let purl = format!(
        "pkg:deb/{distribution}/{}@{}?arch={architecture}",
        percent(name),
        percent(version)
    );
    let mut value = json!({
        "SPDXID": format!("SPDXRef-Package-{}-{architecture}", identifier(name)),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }],
    });
    if let Some(maintainer) = maintainer {
        value["supplier"] = format!("Organization: {maintainer}").into();
    }
    if let Some(source) = source {
        value["sourceInfo"] = format!("built from the source package {source}").into();
    }
    value
}

fn of_component(component: &Component) -> Value {
    let mut value = json!({
        "SPDXID": format!("SPDXRef-Component-{}", identifier(&component.name)),
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": component.sha256 }],
    });
    if let Some(supplier) = &component.supplier {
        value["supplier"] = format!("Organization: {supplier}").into();
    }
    value
}

/// SPDX allows letters, digits, dots and dashes.
fn identifier(name: &str) -> String {
    name.replace('+', "plus").replace(
        |letter: char| !letter.is_ascii_alphanumeric() && letter != '.',
        "-",
    )
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
