//! The whole way from a kernel directory and an agent to an initramfs, looked at with stock zstd and cpio.
//! Kernel, modules and agent are made up here; real ones are in `real_kernel.rs`.

mod support;

use std::fs;
use std::io::Write;

use gild_boards::Board;
use gild_boards_testkit::{elf, elf32};
use gild_initramfs::{AGENT_BUDGET, Contents, Error, Initramfs, NotTheAgent, build};
use support::{ALPHA, BETA, Fixture, GAMMA, board, cpio};

fn pack(fixture: &Fixture, boards: &[&Board], extra: &[&str]) -> Result<Initramfs, Error> {
    let extra_modules: Vec<_> = extra.iter().map(|&name| name.to_owned()).collect();
    let (kernel, agent) = (fixture.kernel(), fixture.agent());
    build(&Contents {
        kernel: &kernel,
        agent: &agent,
        boards,
        extra_modules: &extra_modules,
    })
}

/// The error and what caused it, as a program would print them.
fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

#[test]
fn the_archive_holds_what_it_should_and_no_other_program_than_init() {
    let fixture = Fixture::new();
    let (one, two) = (board("one", &["alpha"]), board("two", &["gamma"]));
    let file = fixture.directory.path().join("initramfs");
    pack(&fixture, &[&one, &two], &[])
        .expect("build")
        .write(&file)
        .expect("write");

    let listing = cpio(&file, &["-itv", "--quiet"], fixture.directory.path());
    let lines: Vec<_> = listing.lines().collect();
    let column = |line: &str, number| {
        line.split_whitespace()
            .nth(number)
            .unwrap_or_default()
            .to_owned()
    };
    let paths: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let expected = [
        "dev",
        "dev/console",
        "dev/null",
        "etc",
        "etc/gild",
        "etc/gild/modules",
        "etc/gild/modules/one",
        "etc/gild/modules/two",
        "init",
        "lib",
        "lib/modules",
        "lib/modules/7.0.0-test",
        "lib/modules/7.0.0-test/kernel",
        "lib/modules/7.0.0-test/kernel/alpha.ko",
        "lib/modules/7.0.0-test/kernel/beta.ko",
        "lib/modules/7.0.0-test/kernel/gamma.ko",
        "mnt",
        "proc",
        "run",
        "sys",
        "tmp",
    ];
    assert_eq!(paths, expected);
    let programs: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("-rwx"))
        .map(|line| column(line, 8))
        .collect();
    assert_eq!(programs, ["init"]);
    for line in &lines {
        assert!(
            column(line, 0).chars().all(|c| "-drwxc".contains(c)),
            "an odd kind or mode: {line}"
        );
        assert_eq!(
            (column(line, 2), column(line, 3)),
            ("root".to_owned(), "root".to_owned()),
            "{line}"
        );
        assert!(line.contains("Jan  1  1970"), "{line}");
    }
    for (device, major, minor) in [("dev/console", "5,", "1"), ("dev/null", "1,", "3")] {
        let node = lines
            .iter()
            .find(|line| line.ends_with(device))
            .expect("a device node");
        assert!(node.starts_with("crw-------"), "{node}");
        assert_eq!(
            (column(node, 4), column(node, 5)),
            (major.to_owned(), minor.to_owned()),
            "{node}"
        );
    }
}

#[test]
fn modules_arrive_decompressed_and_listed_in_the_order_to_load_them() {
    let fixture = Fixture::new();
    let (one, two) = (board("one", &["delta", "alpha"]), board("two", &["gamma"]));
    let file = fixture.directory.path().join("initramfs");
    let initramfs = pack(&fixture, &[&one, &two], &["gamma"]).expect("build");
    initramfs.write(&file).expect("write");

    let root = fixture.directory.path().join("root");
    fs::create_dir(&root).expect("a directory to unpack in");
    cpio(
        &file,
        &[
            "-id",
            "--quiet",
            "--no-preserve-owner",
            "lib/*",
            "etc/*",
            "init",
        ],
        &root,
    );
    let tree = root.join("lib/modules/7.0.0-test/kernel");
    for (name, content) in [("alpha.ko", ALPHA), ("beta.ko", BETA), ("gamma.ko", GAMMA)] {
        assert_eq!(fs::read(tree.join(name)).expect(name), content, "{name}");
    }
    assert_eq!(fs::read(root.join("init")).expect("init"), elf());
    let list = "/lib/modules/7.0.0-test/kernel/beta.ko\n\
                /lib/modules/7.0.0-test/kernel/alpha.ko\n\
                /lib/modules/7.0.0-test/kernel/gamma.ko\n";
    for board in ["one", "two"] {
        assert_eq!(
            fs::read_to_string(root.join("etc/gild/modules").join(board)).expect(board),
            list,
            "{board}"
        );
    }
    let total = ALPHA.len() + BETA.len() + GAMMA.len();
    assert!(
        initramfs
            .boards
            .iter()
            .all(|board| board.paths.len() == 3 && board.bytes == total)
    );
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let (earlier, later) = (Fixture::new(), Fixture::new());
    let long_ago =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let agent = fs::File::options()
        .write(true)
        .open(earlier.agent())
        .expect("the agent");
    agent
        .set_modified(long_ago)
        .expect("set the time of the agent's file");
    let board = board("one", &["alpha", "gamma"]);
    let bytes = |fixture| pack(fixture, &[&board], &[]).expect("build").bytes;
    assert!(bytes(&earlier) == bytes(&later), "two builds differ");
}

#[test]
fn a_module_the_kernel_does_not_have_is_named_with_who_wants_it_and_where_to_change_it() {
    let fixture = Fixture::new();
    let error = pack(&fixture, &[&board("one", &["alpha", "no_such"])], &[]).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "kernel 7.0.0-test has no module `no_such`, which board one asks for: \
         correct boards/one/board.toml, or give another kernel"
    );
    let error = pack(&fixture, &[&board("one", &["alpha"])], &["no-such"]).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "kernel 7.0.0-test has no module `no-such`, which --extra-module asks for: \
         correct the name, or give another kernel"
    );
}

#[test]
fn a_damaged_or_missing_kernel_file_is_named() {
    let alpha = board("one", &["alpha"]);

    let fixture = Fixture::new();
    let beta = fixture.kernel().join("modules/kernel/beta.ko.xz");
    let mut damaged = fs::read(&beta).expect("beta");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    fs::write(&beta, &damaged).expect("damage it");
    let error = words(&pack(&fixture, &[&alpha], &[]).expect_err("damaged"));
    assert!(
        error.contains("beta.ko.xz: get the kernel again"),
        "{error}"
    );

    fs::remove_file(&beta).expect("remove it");
    let error = words(&pack(&fixture, &[&alpha], &[]).expect_err("gone"));
    assert!(
        error.contains("cannot read") && error.contains("beta.ko.xz"),
        "{error}"
    );

    fixture.table("dep", "kernel/alpha.ko: kernel/epsilon.ko\n");
    let error = words(&pack(&fixture, &[&alpha], &[]).expect_err("not listed"));
    assert!(error.contains("run depmod again"), "{error}");

    fs::write(fixture.kernel().join("modules/kernel/alpha.ko.gz"), "").expect("write alpha");
    fixture.table("dep", "kernel/alpha.ko.gz:\n");
    let error = words(&pack(&fixture, &[&alpha], &[]).expect_err("gzip"));
    assert!(error.contains("expected .ko, .ko.xz or .ko.zst"), "{error}");

    fs::remove_dir_all(fixture.kernel()).expect("remove the kernel");
    let error = words(&pack(&fixture, &[&alpha], &[]).expect_err("no kernel"));
    assert!(error.contains("make setup"), "{error}");
}

#[test]
fn a_file_that_cannot_be_pid_1_on_a_board_is_refused_as_the_agent() {
    let with = |offset: usize, value: u8| {
        let mut file = elf();
        file[offset] = value;
        file
    };
    let host_program =
        fs::read(std::env::current_exe().expect("this test")).expect("this test's own file");
    for (file, reason) in [
        (with(18, 62), NotTheAgent::Machine(62)),
        (with(16, 1), NotTheAgent::NotExecutable(1)),
        (with(64, 3), NotTheAgent::Dynamic),
    ] {
        assert_refused(&file, |why| *why == reason);
    }
    for file in [
        &b""[..],
        b"#!/bin/sh\n",
        &elf()[..70],
        &elf32(),
        &with(5, 2),
    ] {
        assert_refused(file, |why| matches!(why, NotTheAgent::NotElf(_)));
    }
    assert_refused(&host_program, |why| {
        matches!(why, NotTheAgent::Machine(_) | NotTheAgent::Dynamic)
    });
}

fn assert_refused(file: &[u8], right: impl Fn(&NotTheAgent) -> bool) {
    let fixture = Fixture::new();
    fs::write(fixture.agent(), file).expect("write the agent");
    match pack(&fixture, &[], &[]) {
        Err(Error::NotTheAgent { source, .. }) => assert!(right(&source), "{source:?}"),
        other => panic!(
            "not refused: {:?}",
            other.map(|initramfs| initramfs.agent_bytes)
        ),
    }
}

#[test]
fn an_agent_or_an_initramfs_over_its_budget_is_refused() {
    let fixture = Fixture::new();
    let grow = |bytes: usize| {
        let mut file = elf();
        file.resize(bytes, 0);
        fs::write(fixture.agent(), file).expect("write the agent");
    };
    grow(AGENT_BUDGET);
    pack(&fixture, &[], &[]).expect("just within");
    grow(AGENT_BUDGET + 1);
    let error = pack(&fixture, &[], &[]).expect_err("just over");
    assert_eq!(
        error.to_string(),
        "the agent has 3670017 bytes, 1 more than its budget of 3670016: build it with --profile agent, which strips it"
    );

    grow(1000);
    let mut module =
        fs::File::create(fixture.kernel().join("modules/kernel/alpha.ko")).expect("alpha");
    let mut state = 1u64;
    for _ in 0..(17 << 20) / 8 {
        // xorshift: noise, so that compression does not help.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        module.write_all(&state.to_le_bytes()).expect("write noise");
    }
    let error = pack(&fixture, &[&board("one", &["alpha"])], &[]).expect_err("over");
    assert!(
        matches!(
            error,
            Error::OverBudget {
                what: "the initramfs",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let initramfs = pack(&fixture, &[], &[]).expect("build");
    let output = fixture.directory.path().join("taken");
    fs::create_dir(&output).expect("a directory where the file should go");
    let names = || {
        fs::read_dir(fixture.directory.path())
            .expect("list")
            .count()
    };
    let before = names();
    let error = initramfs
        .write(&output)
        .expect_err("a directory is in the way");
    assert!(error.to_string().contains("taken"), "{error}");
    assert_eq!(names(), before);
    let error = initramfs
        .write(&fixture.directory.path().join("absent/initramfs"))
        .expect_err("no such directory");
    assert!(error.to_string().contains("absent/initramfs"), "{error}");
}
