//! Finished images, looked at by the host's own tools: sfdisk, fsck.vfat, mtools, e2fsck, debugfs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use gild_golden::assemble::{AssembleError, Assembly, Identity, assemble, gzip};
use gild_golden::tree::{Content, Entry, Kind, Tree};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MIB: u64 = 1 << 20;
const BOOT: u64 = 16 * MIB;
const ROOT: u64 = 528 * MIB;
const SOURCE_DATE: u64 = 1_700_000_000;
const LONG_NAME: &str = "usr/share/a-name-that-is-long/F\u{151}tan\u{fa}s\u{ed}tv\u{e1}ny.crt";

/// Set for the child of this test program that builds an image under other circumstances.
const OUTPUT: &str = "GILD_TEST_OUTPUT";

fn mke2fs() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2fsprogs/mke2fs");
    assert!(path.exists(), "no {}: run `make setup`", path.display());
    path
}

fn root() -> Result<Tree> {
    let mut tree = Tree::default();
    let own = |kind, mode, uid, gid| {
        let mut entry = Entry::of_root(kind, mode);
        (entry.uid, entry.gid, entry.mtime) = (uid, gid, 1_600_000_000);
        entry
    };
    let file = |bytes: Vec<u8>, link| Kind::File {
        content: bytes.into(),
        link,
    };
    tree.insert_dir("usr/lib", 0o755)?;
    tree.insert_symlink("lib", "usr/lib")?;
    let mut ping = own(file(b"ping".to_vec(), None), 0o4755, 0, 0);
    let capability = vec![
        1, 0, 0, 2, 0x0a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    ping.xattrs.insert("security.capability".into(), capability);
    tree.insert("usr/bin/ping", ping)?;
    tree.insert(
        "usr/bin/a",
        own(file(b"two names".to_vec(), Some(7)), 0o755, 0, 0),
    )?;
    tree.insert(
        "usr/bin/b",
        own(file(b"two names".to_vec(), Some(7)), 0o755, 0, 0),
    )?;
    tree.insert("var/mail", own(Kind::Directory, 0o2775, 0, 8))?;
    tree.insert(
        "etc/shadow",
        own(file(b"root:*:1::::::\n".to_vec(), None), 0o640, 0, 42),
    )?;
    tree.insert("dev/console", own(Kind::CharDevice(5, 1), 0o600, 0, 5))?;
    tree.insert("run/pipe", own(Kind::Fifo, 0o600, 70_000, 70_001))?;
    tree.insert_file(LONG_NAME, 0o644, "a certificate")?;
    tree.insert_symlink("usr/long", &"../up/".repeat(30))?;
    for number in 0..1500_u32 {
        let bytes: Vec<u8> = number.to_le_bytes().repeat(usize::try_from(number)?);
        tree.insert_file(&format!("usr/share/many/{number}"), 0o644, bytes)?;
    }
    Ok(tree)
}

fn boot() -> Result<BTreeMap<String, Content>> {
    let kernel = Content::from(b"not a kernel ".repeat(100_000));
    Ok(BTreeMap::from([
        ("vmlinuz.gz".into(), gzip(&kernel)?.into()),
        ("initrd.img".into(), vec![5; 3_000_000].into()),
        ("bcm2712-d-rpi-5-b.dtb".into(), "device tree".into()),
        ("gild-trial/on".into(), "default gild\n".into()),
        (
            "dtbs/rockchip/rk3588-rock-5b.dtb".into(),
            "device tree".into(),
        ),
    ]))
}

fn build(tree: &Tree, output: &Path) -> std::result::Result<(), AssembleError> {
    build_for(tree, output, 512)
}

fn build_for(
    tree: &Tree,
    output: &Path,
    sector_size: u32,
) -> std::result::Result<(), AssembleError> {
    let boot = boot().expect("the boot files are made of constants");
    assemble(
        &Assembly {
            identity: &Identity::of("rpi5"),
            tree,
            boot: &boot,
            source_date: SOURCE_DATE,
            mke2fs: &mke2fs(),
            sector_size,
            slack: 8 * MIB,
        },
        output,
    )
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|error| format!("{program}: {error}; run `make setup`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{program} {arguments:?}: {}\n{text}{errors}", output.status).into())
    }
}

/// A partition as a separate file, for tools that know no offsets.
fn partition(image: &Path, start: u64, length: u64, output: &Path) -> Result<String> {
    let argument = |name: &str, value: &str| format!("{name}={value}");
    let path = output.to_str().expect("temporary paths are UTF-8");
    let image = image.to_str().expect("temporary paths are UTF-8");
    run(
        "dd",
        &[
            &argument("if", image),
            &argument("of", path),
            &argument("skip", &(start / MIB).to_string()),
            &argument("count", &(length / MIB).to_string()),
            "bs=1M",
            "conv=sparse",
        ],
    )?;
    Ok(path.to_owned())
}

#[test]
fn the_hosts_tools_find_nothing_wrong_with_an_image() -> Result<()> {
    let directory = TempDir::new()?;
    let image = directory.path().join("disk.img");
    build(&root()?, &image)?;
    assert!(!directory.path().join("disk.part").exists());
    let root_length = check_table(&image)?;
    check_boot(&image, &directory.path().join("p1"))?;
    check_root(&image, root_length, &directory.path().join("p2"))
}

/// The partition table, and what else is outside of the partitions. Says how long the root is.
fn check_table(image: &Path) -> Result<u64> {
    let path = image.to_str().expect("temporary paths are UTF-8");
    let verified = run("sfdisk", &["--verify", path])?;
    assert!(verified.contains("No errors detected"), "{verified}");
    let dump = run("sfdisk", &["--dump", path])?;
    let identity = Identity::of("rpi5");
    for wanted in [
        format!("label-id: {}", identity.disk).to_uppercase(),
        format!(
            "START=       32768, SIZE=     1048576, TYPE=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, UUID={}, NAME=\"GILDBOOT\", ATTRS=\"LEGACYBIOSBOOTABLE\"",
            identity.boot.to_string().to_uppercase()
        ),
        format!(
            "UUID={}, NAME=\"GILD-ROOT\"",
            identity.root.to_string().to_uppercase()
        ),
    ] {
        assert!(
            dump.to_uppercase().contains(&wanted),
            "{wanted} is not in\n{dump}"
        );
    }
    let length = root_length(image, 512)?;
    let mut record = vec![0xff; 4096];
    let file = fs::File::open(image)?;
    file.read_exact_at(&mut record, 0xf_f000)?;
    assert!(
        record.iter().all(|byte| *byte == 0),
        "gild's commit record has its place taken"
    );
    assert!(
        file.metadata()?.blocks() * 512 < 200 * MIB,
        "the file is not sparse"
    );
    Ok(length)
}

/// The length of the root, by a table that libblkid sees for these sectors and for no others.
fn root_length(image: &Path, sector_size: u32) -> Result<u64> {
    let other = if sector_size == 512 { 4096 } else { 512 };
    let seen = |size| gild_probe::partition_table_for_sectors(image, size);
    assert!(!seen(other).is_ok_and(|table| table.is_some_and(|table| table.partitions.len() > 1)));
    let table = seen(sector_size)?.expect("libblkid sees a partition table");
    let starts: Vec<u64> = table
        .partitions
        .iter()
        .map(|partition| partition.start)
        .collect();
    assert_eq!(starts, [BOOT, ROOT]);
    Ok(table.partitions[1].length)
}

#[test]
fn an_image_for_disks_with_large_sectors_has_its_table_and_its_boot_partition_in_them() -> Result<()>
{
    let directory = TempDir::new()?;
    let image = directory.path().join("disk.img");
    build_for(&root()?, &image, 4096)?;
    let length = root_length(&image, 4096)?;
    // A kernel mounts no FAT whose sectors are smaller than the disk's.
    let mut sector = [0; 2];
    fs::File::open(&image)?.read_exact_at(&mut sector, BOOT + 11)?;
    assert_eq!(u16::from_le_bytes(sector), 4096);
    check_boot(&image, &directory.path().join("p1"))?;
    check_root(&image, length, &directory.path().join("p2"))
}

fn check_boot(image: &Path, scratch: &Path) -> Result<()> {
    let path = image.to_str().expect("temporary paths are UTF-8");
    let mut serial = [0; 4];
    fs::File::open(image)?.read_exact_at(&mut serial, BOOT + 67)?;
    assert_eq!(u32::from_le_bytes(serial), Identity::of("rpi5").boot_volume);

    let boot = partition(image, BOOT, 512 * MIB, scratch)?;
    let checked = run("fsck.vfat", &["-n", &boot])?;
    assert!(checked.contains("9 files"), "{checked}");
    assert!(run("mlabel", &["-i", &boot, "-s", "::"])?.contains("GILDBOOT"));
    let conf = run(
        "mcopy",
        &["-i", &format!("{path}@@{BOOT}"), "::gild-trial/on", "-"],
    )?;
    assert_eq!(conf, "default gild\n");
    let times = run("mdir", &["-/", "-i", &boot, "::"])?;
    assert!(
        !times.contains("202") && times.contains("1980-01-01"),
        "{times}"
    );
    assert!(times.contains("bcm2712-d-rpi-5-b.dtb"), "{times}");
    Ok(())
}

fn check_root(image: &Path, length: u64, scratch: &Path) -> Result<()> {
    let root = partition(image, ROOT, length, scratch)?;
    run("e2fsck", &["-fn", &root])?;
    let debugfs = |request: &str| run("debugfs", &["-R", request, &root]);
    for (path, wanted) in [
        ("/usr/bin/ping", "Mode:  04755"),
        ("/usr/bin/ping", "User:     0   Group:     0"),
        ("/usr/bin/a", "Links: 2"),
        ("/var/mail", "Mode:  02775"),
        ("/etc/shadow", "User:     0   Group:    42"),
        ("/run/pipe", "User: 70000   Group: 70001"),
        ("/run/pipe", "Type: FIFO"),
        ("/dev/console", "Device major/minor number: 05:01"),
        ("/usr/bin/ping", "mtime: 0x5f5e1000"),
        ("/usr/share/many/7", "mtime: 0x6553f100"),
        ("/", "Mode:  0755"),
    ] {
        let stat = debugfs(&format!("stat {path}"))?;
        assert!(stat.contains(wanted), "{path}: {wanted} is not in\n{stat}");
    }
    let number = |path: &str| -> Result<String> {
        Ok(debugfs(&format!("stat {path}"))?
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned())
    };
    assert_eq!(number("/usr/bin/a")?, number("/usr/bin/b")?);
    let capability = debugfs("ea_get -x /usr/bin/ping security.capability")?;
    assert!(capability.contains("01 00 00 02 0a 20"), "{capability}");
    assert_eq!(debugfs(&format!("cat /{LONG_NAME}"))?, "a certificate");
    assert!(debugfs("stat /lib")?.contains("Fast link dest: \"usr/lib\""));
    assert_eq!(
        debugfs("cat /usr/share/many/3")?.as_bytes(),
        [3, 0, 0, 0].repeat(3)
    );
    Ok(())
}

#[test]
fn two_images_of_the_same_inputs_are_the_same_bytes() -> Result<()> {
    // This test runs itself, elsewhere.
    if let Some(output) = std::env::var_os(OUTPUT) {
        return Ok(build(&root()?, Path::new(&output))?);
    }
    let directory = TempDir::new()?;
    let images: Vec<String> = [
        ("a", "umask 022; export TZ=UTC; cd /", "first-host", ":"),
        ("b", "umask 077; export TZ=Asia/Kolkata LC_ALL=C", "second-host", "sleep 2.1"),
    ]
    .into_iter()
    .map(|(name, circumstances, host, wait)| {
        let output = directory.path().join(name);
        let scratch = directory.path().join(format!("{name}-scratch"));
        fs::create_dir(&scratch)?;
        // Time passes, so that the wall clock says something else.
        let script = format!(
            "{circumstances}; {wait}; hostname {host}; exec \"$0\" --exact two_images_of_the_same_inputs_are_the_same_bytes"
        );
        // Root in a separate user namespace could not look into another user's home, where this program may be.
        let is_root = nix::unistd::geteuid().is_root();
        let built = Command::new("unshare")
            .arg("--uts")
            .args((!is_root).then_some("--map-root-user"))
            .args(["sh", "-c", &script])
            .arg(std::env::current_exe()?)
            .current_dir(&scratch)
            .env(OUTPUT, &output)
            .env("TMPDIR", &scratch)
            .output()?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&[built.stdout, built.stderr].concat()).into());
        }
        Ok(output.to_str().expect("temporary paths are UTF-8").to_owned())
    })
    .collect::<Result<_>>()?;
    run("cmp", &[&images[0], &images[1]]).map(drop)
}

#[test]
fn images_of_two_boards_share_no_name() {
    let (one, other) = (Identity::of("rpi5"), Identity::of("rock5b"));
    let names = |identity: &Identity| {
        [
            identity.disk,
            identity.boot,
            identity.root,
            identity.root_fs,
            identity.hash_seed,
        ]
    };
    let mut all = [names(&one), names(&other)].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 10);
    assert_ne!(one.boot_volume, other.boot_volume);
}

#[test]
fn an_mke2fs_that_leaves_the_file_system_empty_is_caught() -> Result<()> {
    let directory = TempDir::new()?;
    // What an mke2fs does that cannot read tar files, in the worst case: it swallows the tar and says that all is well.
    let program = directory.path().join("mke2fs");
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\nfor last; do :; done\n\
         set -- -q -F -t ext4 -b 4096 -E offset={ROOT} {}/disk.part $last\nexec {} \"$@\"\n",
        directory.path().display(),
        mke2fs().display()
    );
    fs::write(&program, script)?;
    run("chmod", &["755", program.to_str().expect("UTF-8")])?;
    let output = directory.path().join("disk.img");
    let (tree, boot) = (root()?, boot()?);
    let assembly = Assembly {
        identity: &Identity::of("rpi5"),
        tree: &tree,
        boot: &boot,
        source_date: SOURCE_DATE,
        mke2fs: &program,
        sector_size: 512,
        slack: 8 * MIB,
    };
    let refused = assemble(&assembly, &output);
    assert!(
        matches!(refused, Err(AssembleError::NotPopulated { found: 11, .. })),
        "{refused:?}"
    );
    assert!(!output.exists());

    fs::write(&program, "#!/bin/sh\necho no room >&2\nexit 1\n")?;
    let refused = assemble(&assembly, &output);
    let said = refused.expect_err("mke2fs failed").to_string();
    assert!(said.contains("no room"), "{said}");
    assert!(!output.exists());
    Ok(())
}

#[test]
fn an_attribute_that_would_be_lost_stops_the_build() -> Result<()> {
    let directory = TempDir::new()?;
    let output = directory.path().join("disk.img");
    for (path, is_taken) in [("var/log/journal", true), ("srv", false)] {
        let mut tree = root()?;
        let mut entry = Entry::of_root(Kind::Directory, 0o755);
        entry
            .xattrs
            .insert("system.posix_acl_access".into(), b"an access list".to_vec());
        tree.insert(path, entry)?;
        let built = build(&tree, &output);
        let refused = matches!(built, Err(AssembleError::Attribute { .. }));
        assert_eq!(refused, !is_taken, "{path}: {built:?}");
        assert_eq!(output.exists(), is_taken);
        if is_taken {
            fs::remove_file(&output)?;
        }
    }
    Ok(())
}
