//! Images over HTTP and HTTPS: from nginx, through a cache, and with a server that disappears in the middle.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use gild_card_format::HttpUrl;
use gild_http::{Access, HttpError, Share};
use gild_http_testkit::{Reply, Server};
use gild_source::{Backoff, Options};
use gild_tests::board_dtb::Product;
use gild_tests::cargo::host_program;
use gild_tests::command::command;
use gild_tests::disk;
use gild_tests::matchbox::tls::{Authority, Validity};
use gild_tests::nginx::Nginx;
use gild_tests::scene::Scene;
use gild_tests::share;
use tempfile::TempDir;

const TOKEN: &str = "t0ken-of-the-rack";

/// This machine, as a board in QEMU's user-mode network sees it.
const HOST: &str = "10.0.2.2";

fn gild(arguments: &[&str]) -> Result<Output> {
    let gild = host_program("gild")?;
    let mut command = command(&gild.to_string_lossy());
    Ok(command.args(arguments).output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The result of `gild flash` from this address to a file in `folder`.
fn flash(url: &str, key: &Path, folder: &Path, more: &[&str]) -> Result<Output> {
    let target = folder.join("disk.img");
    disk::blank(&target, 256 << 20)?;
    let manifest = format!("{url}/rpi5/golden.json");
    let (target, key) = (target.to_string_lossy(), key.to_string_lossy());
    let mut arguments = vec![
        "flash",
        "--manifest",
        &manifest,
        "--target",
        &target,
        "--key",
        &key,
    ];
    arguments.extend(["--allow-file", "--yes"]);
    arguments.extend(more);
    gild(&arguments)
}

#[test]
fn a_disk_is_flashed_and_an_image_verified_from_nginx_and_through_a_cache() -> Result<()> {
    let share = share::published(Product::Rpi5)?;
    let key = share.key.with_extension("pub");
    let origin = Nginx::serve(&share.directory)?;
    let folder = TempDir::new()?;
    let output = flash(&origin.url(), &key, folder.path(), &[])?;
    assert!(output.status.success(), "{}", said(&output));
    let differing = disk::differences(&share.golden.raw, &folder.path().join("disk.img"))?;
    assert_eq!(differing, [gild_format::record::RECORD_OFFSET]);

    let manifest = format!("{}/rpi5/golden.json", origin.url());
    let output = gild(&[
        "image",
        "verify",
        &manifest,
        "--key",
        &key.to_string_lossy(),
    ])?;
    assert!(
        output.status.success() && said(&output).contains("is sound"),
        "{}",
        said(&output)
    );

    let cache = Nginx::cache_of(&origin.url())?;
    // nginx writes its log when an answer is finished, and the reader may have ended before that.
    let images = || {
        let count = || {
            let lines = origin.requests();
            let of_images = lines.iter().filter(|line| line.contains(".img.zst"));
            of_images.count()
        };
        loop {
            let before = count();
            thread::sleep(Duration::from_millis(500));
            if count() == before {
                return before;
            }
        }
    };
    let before = images();
    let output = flash(&cache.url(), &key, folder.path(), &[])?;
    assert!(output.status.success(), "{}", said(&output));
    let first = images();
    assert!(first > before, "the cache was empty");
    let output = flash(&cache.url(), &key, folder.path(), &[])?;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(images(), first, "the second disk costs the origin nothing");
    let differing = disk::differences(&share.golden.raw, &folder.path().join("disk.img"))?;
    assert_eq!(differing, [gild_format::record::RECORD_OFFSET]);
    Ok(())
}

#[test]
fn who_is_let_in_and_who_answers_are_proven_or_nothing_is_written() -> Result<()> {
    let share = share::published(Product::Rpi5)?;
    let key = share.key.with_extension("pub");
    let authority = Authority::new()?;
    let identity = authority.identity(Ipv4Addr::LOCALHOST.into(), Validity::Now)?;
    let nginx = Nginx::serve_members(&share.directory, TOKEN, &identity)?;
    let folder = TempDir::new()?;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem())?;
    let header = folder.path().join("header");
    fs::write(&header, format!("Authorization: Bearer {TOKEN}\n"))?;
    let (ca, header) = (ca.to_string_lossy(), header.to_string_lossy());

    let attempt = |more: &[&str]| -> Result<(Option<i32>, String)> {
        let output = flash(&nginx.url(), &key, folder.path(), more)?;
        Ok((output.status.code(), said(&output)))
    };
    let (code, text) = attempt(&["--header-file", &header])?;
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("certificate is refused") && text.contains("`ca`"),
        "{text}"
    );
    let (code, text) = attempt(&["--ca", &ca])?;
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("answers 403") && text.contains("http.header"),
        "{text}"
    );
    let written = disk::allocated(&folder.path().join("disk.img"))?;
    assert_eq!(written, 0, "nothing is written before the image is proven");

    // These certificates are of the right authority, but one is not valid yet and one is for another address.
    let other = authority.identity(Ipv4Addr::LOCALHOST.into(), Validity::NotYet)?;
    let young = Nginx::serve_members(&share.directory, TOKEN, &other)?;
    let both = ["--ca", &*ca, "--header-file", &*header];
    let text = said(&flash(&young.url(), &key, folder.path(), &both)?);
    assert!(text.contains("next: check the clock"), "{text}");
    let text = said(&flash(
        &nginx.url_at("localhost"),
        &key,
        folder.path(),
        &both,
    )?);
    assert!(
        text.contains("next: use a name that is in the certificate"),
        "{text}"
    );
    assert!(!text.contains(TOKEN), "{text}");

    let (code, text) = attempt(&both)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains(TOKEN), "{text}");
    let (_, text) = {
        let plain = Nginx::serve(&share.directory)?;
        let output = flash(
            &plain.url(),
            &key,
            folder.path(),
            &["--header-file", &header],
        )?;
        (output.status.code(), said(&output))
    };
    assert!(
        text.contains("in clear text") && !text.contains(TOKEN),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_file_that_nginx_replaces_in_the_middle_is_not_read_on() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("image");
    fs::write(&path, vec![1; 4 << 20])?;
    let nginx = Nginx::serve(folder.path())?;
    let url = HttpUrl::parse(&nginx.url()).map_err(anyhow::Error::msg)?;
    let access = Access::new(None, None)?;
    let patience = Arc::new(Backoff::attempts(2));
    let share = Share::new(&url, &access, Options::default(), patience)?;
    let file = share.open("image")?;
    let mut buffer = vec![0; 1 << 20];
    file.read_exact_at(&mut buffer, 0)?;
    assert!(buffer.iter().all(|byte| *byte == 1));

    fs::write(folder.path().join("next"), vec![2; 4 << 20])?;
    fs::rename(folder.path().join("next"), &path)?;
    // nginx makes the tag from the time of change, and that has only seconds.
    let later = SystemTime::now() + Duration::from_secs(10);
    fs::File::open(&path)?.set_modified(later)?;
    let error = file
        .read_exact_at(&mut buffer, 1 << 20)
        .expect_err("another file");
    assert!(matches!(error, HttpError::Changed { .. }), "{error}");
    Ok(())
}

#[test]
fn a_board_is_flashed_over_https_by_the_site_s_own_authority() -> Result<()> {
    let scene = Scene::new("https", Product::Rock5b)?;
    let authority = Authority::new()?;
    let identity = authority.identity(HOST.parse()?, Validity::Now)?;
    let nginx = Nginx::serve_members(&scene.share.directory, TOKEN, &identity)?;
    let configuration = |ca: &str| {
        format!(
            "server = \"{}\"\npublic_key = \"{}\"\n{ca}[http]\nheader = \"Authorization: Bearer {TOKEN}\"\n",
            nginx.url_at(HOST),
            scene.share.public_key,
        )
    };
    // Without the authority the board names the trouble and writes nothing.
    scene.card.write("gild.toml", &configuration(""))?;
    let mut board = scene.power_on()?;
    let console = board.wait_for("FAULT 3", gild_tests::scene::PATIENCE)?;
    assert!(console.contains("certificate is refused"), "{console}");
    drop(board);
    scene.assert_disk_is_untouched()?;

    let ca = format!("ca = \"\"\"\n{}\"\"\"\n", authority.pem());
    scene.card.write("gild.toml", &configuration(&ca))?;
    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()?;
    let note = scene.note()?;
    assert!(!note.contains(TOKEN) && !receipt.to_string().contains(TOKEN));
    Ok(())
}

#[test]
fn a_board_goes_on_with_the_next_server_in_the_middle_of_an_image() -> Result<()> {
    let scene = Scene::new("failover", Product::Rpi5)?;
    let directory = scene.share.directory.clone();
    let parts = Arc::new(AtomicUsize::new(0));
    let given = Arc::clone(&parts);
    let web = Arc::new(Server::start(move |request| {
        let name = request.target.trim_start_matches('/');
        let Ok(bytes) = fs::read(directory.join(name)) else {
            return Reply::new(404, "");
        };
        let reply = Reply::file(request, &bytes).with("ETag", "\"one\"");
        // The connection ends in the third part of the image, and so does every later one.
        if name.ends_with(".img.zst") && given.fetch_add(1, Ordering::SeqCst) >= 3 {
            reply.cut_after(0)
        } else {
            reply
        }
    }));
    let nfs = scene.configuration();
    let nfs = nfs
        .lines()
        .next()
        .and_then(|line| line.split('"').nth(1))
        .context("the address of the other server")?;
    scene.card.write(
        "gild.toml",
        &format!(
            "server = [\"http://{HOST}:{}\", \"{nfs}\"]\npublic_key = \"{}\"\n",
            web.port(),
            scene.share.public_key
        ),
    )?;
    let mut board = scene.power_on()?;
    let line = board.wait_for("going on with", gild_tests::scene::PATIENCE)?;
    assert!(
        line.contains(nfs.split('?').next().unwrap_or(nfs)),
        "{line}"
    );
    let receipt = scene.finish(&mut board)?;
    assert_eq!(receipt["outcome"], "flashed");
    assert!(
        parts.load(Ordering::SeqCst) > 3,
        "the first server was in the middle"
    );
    scene.assert_disk_is_the_image()?;
    Ok(())
}
