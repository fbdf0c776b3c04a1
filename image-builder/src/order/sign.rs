//! `gild order sign`: drafts become orders that count.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gild_desk::desk::now;
use gild_desk::orders::{Keys, Standing, latest_id};
use gild_orders::{MAX_LENGTH, Order, SignedOrder};

use super::rack::Desk;
use super::show;
use crate::input::must_be_regular;
use crate::key::Signer;

/// Arguments of `gild order sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made: all its drafts; or files of drafts, which may have been copied elsewhere
    #[arg(value_name = "DIR|FILE", required = true)]
    drafts: Vec<PathBuf>,
    /// Secret key that signs; `GILD_KEY_PASSWORD` in the environment holds its password, if it has one [default: order.key in the
    /// desk's folder, or else site.key there]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign without a question
    #[arg(long)]
    yes: bool,
}

/// A draft, and the desk that it lies in if that was given.
struct Draft<'a> {
    path: PathBuf,
    order: Order,
    desk: Option<&'a Desk>,
}

/// Runs `gild order sign`.
pub fn run(args: &Args) -> Result<()> {
    let desks: Vec<Option<Desk>> = args
        .drafts
        .iter()
        .map(|path| {
            if path.is_dir() {
                Desk::open(path).map(Some)
            } else {
                Ok(Desk::around(path))
            }
        })
        .collect::<Result<_>>()?;
    let mut drafts = Vec::new();
    for (path, desk) in args.drafts.iter().zip(&desks) {
        match desk {
            Some(desk) if path.is_dir() => drafts.extend(of_desk(desk)?),
            _ => drafts.push(Draft {
                path: path.clone(),
                order: read(path)?,
                desk: desk.as_ref(),
            }),
        }
    }
    ensure!(
        !drafts.is_empty(),
        "there is no draft that could be signed; next: make one with `gild order new`, or on the desk's page"
    );
    let signer = Signer::read(&key(args, &desks)?)?;
    for desk in desks.iter().flatten() {
        must_count(desk, &signer)?;
    }
    for draft in &drafts {
        sign(draft, &signer, args.yes)?;
    }
    Ok(())
}

/// The drafts of a desk that nobody has signed and that still count.
fn of_desk(desk: &Desk) -> Result<Vec<Draft<'_>>> {
    let shelf = desk.shelf();
    let queue = desk.orders()?.into_iter();
    let drafts = queue.filter(|queued| queued.standing == Standing::Draft);
    let drafts = drafts.filter_map(|queued| {
        let order = queued.order.filter(|order| order.counts_at(now()))?;
        Some(Draft {
            path: shelf.draft(&queued.id),
            order,
            desk: Some(desk),
        })
    });
    Ok(drafts.collect())
}

/// What was given, or else the key of the desk, if one thing of one desk was given.
fn key(args: &Args, desks: &[Option<Desk>]) -> Result<PathBuf> {
    if let Some(key) = &args.key {
        return Ok(key.clone());
    }
    let mut desks = desks.iter();
    let (Some(Some(desk)), None) = (desks.next(), desks.next()) else {
        bail!("--key is missing; next: give the secret key whose public one the cards know");
    };
    Ok(Keys::path(&desk.folder)?.with_extension("key"))
}

/// Reads the draft in a file.
fn read(path: &Path) -> Result<Order> {
    must_be_regular(
        path,
        "the draft",
        "give a .json file of a desk's folder orders/",
    )?;
    let context = || format!("cannot read {}", path.display());
    let mut text = String::new();
    File::open(path)
        .with_context(context)?
        .take(MAX_LENGTH as u64)
        .read_to_string(&mut text)
        .with_context(context)?;
    Order::parse(&text).with_context(|| {
        format!(
            "{} cannot be signed; next: give a .json file of a desk's folder orders/",
            path.display()
        )
    })
}

fn sign(draft: &Draft<'_>, signer: &Signer, is_agreed: bool) -> Result<()> {
    let Draft { path, order, desk } = draft;
    let now = now();
    let shown = path.display();
    ensure!(
        order.counts_at(now),
        "the order in {shown} does not count any more; next: make another one, or correct this machine's clock"
    );
    ensure!(
        Some(&order.id) <= latest_id(now).as_ref(),
        "the order in {shown} is of a later time than now, and a disk that has carried it out would take no order before that time; next: make \
         another one, or correct this machine's clock"
    );
    let mut out = stdout();
    write!(out, "{}", show::words(order, *desk)?)?;
    if !is_agreed {
        ask(&mut out)?;
    }
    // Somebody may have taken it back meanwhile.
    let now = read(path).with_context(|| {
        format!("{shown} is not there any more, or was changed, and nothing was signed")
    })?;
    ensure!(
        now == *order,
        "{shown} was changed meanwhile, and nothing was signed; next: sign it again"
    );
    // What was shown is signed, and not the bytes of the file.
    let text = order.to_text();
    let signature = signer.sign(text.as_bytes(), &format!("gild order {}", order.id))?;
    let target = path.with_file_name(format!("{}.order", order.id));
    let whole = SignedOrder::new(text, signature).to_text();
    gild_whole_file::replace(&target, format!("{whole}\n").as_bytes())
        .with_context(|| format!("cannot write {}", target.display()))?;
    writeln!(out, "{}", target.display())?;
    Ok(())
}

/// Only a "yes" goes on. Without a person to ask it refuses.
fn ask(out: &mut impl Write) -> Result<()> {
    ensure!(
        stdin().is_terminal(),
        "nobody to ask whether this is to be signed; next: read it, and add --yes; nothing was signed"
    );
    write!(out, "Type yes to sign this order: ")?;
    out.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    ensure!(answer.trim() == "yes", "not confirmed; it was not signed");
    Ok(())
}

/// Says it here, because boards say it only on their consoles and in reports.
fn must_count(desk: &Desk, signer: &Signer) -> Result<()> {
    let public = signer.public()?;
    let keys = Keys::read(&desk.folder)?;
    ensure!(
        keys.all().contains(&&public),
        "this is not the key whose orders count at this desk, and nothing was signed; next: sign with the one whose public key is order.pub in \
         its folder, or else site.pub"
    );
    Ok(())
}
