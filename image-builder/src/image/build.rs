//! `gild image build`: packages or a vendor's image become the published set of a board.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use gild_boards::Board;
use gild_golden::base::Security;
use gild_golden::base_image::BaseImage;
use gild_golden::cache::Cache;
use gild_golden::k3s::{Images, K3s};
use gild_golden::pipeline::{self, Options};
use gild_golden::progress::Progress as _;
use gild_golden::site;

use super::pack;
use super::release::{ABOUT, Folder};
use crate::board;
use crate::image::verify::read_key;
use crate::input::must_be_file;
use crate::key::Signer;
use crate::own_files;
use crate::progress::Stages;
use crate::source_date;

/// Arguments of `gild image build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Board that the image is for
    #[arg(long, value_parser = board::Named)]
    board: &'static Board,
    /// Folder of `gild init`: gives `--key`, `--output`, `--matchbox`, `--matchbox-ca`, `--authorized-key`, `--order-url` and `--order-key`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["matchbox", "matchbox_ca", "without_matchbox"])]
    desk: Option<PathBuf>,
    /// Secret key that signs the manifest; `GILD_KEY_PASSWORD` in the environment holds its password, if it has one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Folder in which the image gets a folder with the name of the board
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Recipe that says what goes into the image [default: gild's own, boards/BOARD/image.toml]
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Install this Debian package too; may be given several times
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// Lay the files of this folder over the image's own; may be given several times
    #[arg(long = "overlay", value_name = "DIR")]
    overlays: Vec<PathBuf>,
    /// File with public SSH keys of those who may log in to the nodes; may be given several times
    #[arg(long = "authorized-key", value_name = "FILE")]
    authorized_keys: Vec<PathBuf>,
    /// Address of the metadata server (a desk or Matchbox) that each node asks for its name and its cluster; or give `--without-matchbox`
    #[arg(long, value_name = "URL")]
    matchbox: Option<String>,
    /// File with the certificate authorities for the metadata server's certificate [default: the public ones]
    #[arg(long, value_name = "FILE", requires = "matchbox")]
    matchbox_ca: Option<PathBuf>,
    /// The cluster's address for nodes whose group has no `k3s_url`: `https://host:6443`
    #[arg(long, value_name = "URL", requires = "matchbox")]
    k3s_url: Option<String>,
    /// Build an image whose nodes ask nobody who they are, and join no cluster
    #[arg(long, conflicts_with = "matchbox")]
    without_matchbox: bool,
    /// Address that nodes ask for signed orders, as `order_url` in `gild.toml`
    #[arg(long, value_name = "URL", requires = "order_keys")]
    order_url: Option<String>,
    /// Public key that may sign orders: a `.pub` file, or its second line; may be given several times
    #[arg(long = "order-key", value_name = "FILE", requires = "order_url")]
    order_keys: Vec<String>,

    /// The program of a k3s release, `k3s-arm64`; give it with `--k3s-sha256`, or give `--without-k3s`
    #[arg(long, value_name = "FILE", requires = "k3s_sha256")]
    k3s: Option<PathBuf>,
    /// SHA-256 of that program, from the release's `sha256sum-arm64.txt`
    #[arg(long, value_name = "HEX", requires = "k3s")]
    k3s_sha256: Option<String>,
    /// The container images of the same release, `k3s-airgap-images-arm64.tar.zst`, `.tar.gz` or `.tar`; give it with
    /// `--k3s-airgap-images-sha256`
    #[arg(
        long,
        value_name = "FILE",
        requires = "k3s",
        requires = "k3s_airgap_images_sha256"
    )]
    k3s_airgap_images: Option<PathBuf>,
    /// SHA-256 of that file, from the release's `sha256sum-arm64.txt`
    #[arg(long, value_name = "HEX", requires = "k3s_airgap_images")]
    k3s_airgap_images_sha256: Option<String>,
    /// Build an image that cannot join a cluster
    #[arg(long, conflicts_with = "k3s")]
    without_k3s: bool,

    /// Build from a vendor's disk image, not from packages alone; give it with `--sha256`
    #[arg(long, value_name = "FILE.img[.xz|.gz|.zst]", requires = "sha256")]
    base: Option<PathBuf>,
    /// SHA-256 of the file that `--base` names, as it is: before it is decompressed
    #[arg(long, value_name = "HEX", requires = "base")]
    sha256: Option<String>,
    #[command(flatten)]
    mirrors: Mirrors,

    /// Folder that keeps packages and lists for the next build [default: target/image-cache of gild's checkout, else
    /// ~/.cache/gild]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Ignore the cache and fetch the current packages
    #[arg(long)]
    refresh: bool,
    /// Time of everything in the image, in seconds since 1970 [default: `SOURCE_DATE_EPOCH` in the environment, or the
    /// time of the newest package list]
    #[arg(long, value_name = "SECONDS")]
    source_date: Option<u64>,
    /// Level of zstd, 1 (fast) to 22 (small)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Rollback counter; once an image has started on a node, the node refuses images with a lower counter [default: the
    /// source date]
    #[arg(long, value_name = "N")]
    rollback_counter: Option<u64>,
    /// Sector size of the nodes' disks, in bytes: 512 or 4096. All images of one board on a share are for disks of one size
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = pack::sector_size)]
    sector_size: u32,
    /// Accept the findings of a rule in these paths (`*` within a folder, `**` across folders); may be given several times
    #[arg(long = "exempt", value_name = "RULE=PATH")]
    exemptions: Vec<String>,

    /// Folder with the files that go into every image [default: gild's own]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// Folder with the programs of first boot, gild-seed and gild-reprovision, for the boards [default: gild's own]
    #[arg(long, value_name = "DIR")]
    first_boot: Option<PathBuf>,
    /// The program mke2fs, of a version that reads tar files [default: gild's own]
    #[arg(long, value_name = "FILE")]
    mke2fs: Option<PathBuf>,
}

/// Where packages come from.
#[derive(Debug, clap::Args)]
struct Mirrors {
    /// Debian mirror [default: this machine's]. With --base it is only for the added packages: nodes keep the vendor's
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Mirror of Debian's security archive [default: this machine's]. With --base as --mirror
    #[arg(long, value_name = "URL")]
    security_mirror: Option<String>,
    /// Build an image without security updates, whose nodes fetch none either
    #[arg(long, conflicts_with_all = ["security_mirror", "base"])]
    without_security_updates: bool,
}

impl Mirrors {
    fn security(&self) -> Security {
        match &self.security_mirror {
            Some(url) => Security::At(url.clone()),
            None if self.without_security_updates => Security::Without,
            None => Security::OfThisMachine,
        }
    }
}

/// Runs `gild image build`.
pub fn run(mut args: Args) -> Result<()> {
    // All that can be refused is refused before anything takes long.
    args.take_from_desk()?;
    let (Some(key), Some(output)) = (args.key.clone(), args.output.clone()) else {
        bail!(
            "which key signs the image, and where does it go? next: give --desk DIR, the folder of `gild init`, or --key FILE and --output DIR"
        );
    };
    args.check_said()?;
    Signer::read(&key)?;
    let options = args.options()?;
    let inspection = inspection(&args.exemptions)?;
    // Locked to the end: otherwise another build into it would fail only after all its work.
    let folder = Folder::open(&output.join(&args.board.name))?;

    let stages = Stages::new();
    // Not in the folder that is published: whatever stops the build leaves nothing there.
    let scratch = Cache::open(&options.cache).and_then(|cache| cache.scratch())?;
    let disk = scratch.path().join("disk.img");
    let built = pipeline::build(&options, &disk, &stages)
        .with_context(|| format!("cannot build the image of {}", args.board.name))?;

    stages.stage("inspection: another program looks for what must not be there");
    let report = gild_inspect::inspect(&disk, &inspection)?;
    if !report.passed() {
        bail!(
            "the image of {} does not pass its inspection and was not published; next: take what is listed out of the overlay or the packages, or accept it with --exempt:\n{report}",
            args.board.name
        );
    }
    stages.note(&report.to_string());

    stages.stage("package: compressed, signed, published in the folder");
    let inspection = serde_json::to_string_pretty(&report)?;
    let texts = [&*built.sbom, &built.record, &inspection];
    let about: Vec<_> = ABOUT.into_iter().zip(texts).collect();
    let args = pack::Args {
        disk,
        board: args.board,
        key,
        id: Some(built.image_id),
        output,
        level: args.level,
        rollback_counter: args.rollback_counter,
        proves_itself: true,
        sector_size: args.sector_size,
        build_time: Some(built.source_date),
    };
    pack::pack(args, &about, Some(folder))?;
    stages.finish();
    Ok(())
}

impl Args {
    /// Takes from the folder of a desk what was not given.
    fn take_from_desk(&mut self) -> Result<()> {
        let Some(desk) = &self.desk else {
            return Ok(());
        };
        let folder = gild_desk::folder::Folder::open(desk)?;
        let settings = gild_desk::settings::Settings::read(&folder.settings())?;
        self.key
            .get_or_insert_with(|| folder.site_key().with_extension("key"));
        self.output.get_or_insert_with(|| folder.images());
        self.matchbox = Some(settings.matchbox());
        self.matchbox_ca = Some(gild_desk::tls::authority(&folder.tls()));
        if self.order_url.is_none() {
            self.order_url = Some(settings.order_url());
            let key = gild_desk::orders::Keys::path(&folder)?;
            self.order_keys.push(key.display().to_string());
        }
        if self.authorized_keys.is_empty() && folder.authorized_keys().exists() {
            self.authorized_keys.push(folder.authorized_keys());
        }
        Ok(())
    }

    /// Whether an overlay says where nodes ask. Its content is read with the other inputs.
    fn has_own_settings(&self) -> bool {
        let mut overlays = self.overlays.iter();
        overlays.any(|overlay| overlay.join(site::FIRST_BOOT).exists())
    }

    /// Refuses an image that lacks something that the user did not leave out on purpose.
    fn check_said(&self) -> Result<()> {
        ensure!(
            self.k3s.is_some() || self.without_k3s,
            "an image without k3s cannot join a cluster; next: give --k3s FILE and --k3s-sha256 HEX of a k3s release, \
             or say --without-k3s"
        );
        for (file, what, next_step) in [
            (
                &self.k3s,
                "the program of k3s",
                "give k3s-arm64 of a k3s release",
            ),
            (
                &self.k3s_airgap_images,
                "the file of k3s' container images",
                "give k3s-airgap-images-arm64.tar.zst of the same release",
            ),
        ] {
            if let Some(file) = file {
                must_be_file(file, what, next_step)?;
            }
        }
        ensure!(
            self.matchbox.is_some() || self.without_matchbox || self.has_own_settings(),
            "nodes of an image without a metadata server (a desk or Matchbox) do not learn who they are, and join no cluster; next: give --desk DIR, or --matchbox URL, \
             or say --without-matchbox"
        );
        Ok(())
    }

    fn public_order_keys(&self) -> Result<Vec<String>> {
        let keys = self.order_keys.iter();
        keys.map(|key| Ok(read_key(key)?.to_string())).collect()
    }

    fn options(&self) -> Result<Options> {
        let board = self.board;
        let k3s = self.k3s.clone().zip(self.k3s_sha256.clone());
        let images = self.k3s_airgap_images.clone();
        let images = images.zip(self.k3s_airgap_images_sha256.clone());
        let base = self.base.clone().zip(self.sha256.clone());
        Ok(Options {
            board: board.name.clone(),
            recipe: match &self.recipe {
                Some(given) => given.clone(),
                None => own_files::recipe(board)?,
            },
            base: base.map(|(path, sha256)| BaseImage { path, sha256 }),
            mirror: self.mirrors.mirror.clone(),
            security: self.mirrors.security(),
            packages: self.packages.clone(),
            rootfs: own_files::ROOTFS.or(self.rootfs.as_deref())?,
            first_boot: own_files::FIRST_BOOT.or(self.first_boot.as_deref())?,
            overlays: self.overlays.clone(),
            site: site::Options {
                authorized_keys: self.authorized_keys.clone(),
                matchbox: self.matchbox.clone(),
                matchbox_ca: self.matchbox_ca.clone(),
                k3s_url: self.k3s_url.clone(),
                without_matchbox: self.without_matchbox,
                order_url: self.order_url.clone(),
                order_keys: self.public_order_keys()?,
            },
            k3s: k3s.map(|(program, sha256)| K3s {
                program,
                sha256,
                airgap_images: images.map(|(path, sha256)| Images { path, sha256 }),
            }),
            cache: match &self.cache {
                Some(given) => given.clone(),
                None => own_files::cache()?,
            },
            refresh: self.refresh,
            source_date: match self.source_date {
                None => source_date::from_environment()?,
                given => given,
            },
            sector_size: self.sector_size,
            mke2fs: own_files::MKE2FS.or(self.mke2fs.as_deref())?,
        })
    }
}

fn inspection(exemptions: &[String]) -> Result<gild_inspect::Options> {
    let mut options = gild_inspect::Options::for_this_host();
    for text in exemptions {
        options.exemptions.push(text.parse()?);
    }
    Ok(options)
}
