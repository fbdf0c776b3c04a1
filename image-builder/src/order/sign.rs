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
use crate::input::{must_be_regular, text_in};
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
        let agree = || if args.yes { Ok(()) } else { ask(&mut stdout()) };
        sign(draft, &signer, &mut stdout(), agree)?;
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

/// The key that was given, or else the key of the desk, if exactly one path was given and it belongs to a desk.
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
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(context)?
        .take(MAX_LENGTH as u64)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    let text = text_in(bytes, path, "the draft")?;
    Order::parse(&text).with_context(|| {
        format!(
            "{} cannot be signed; next: give a .json file of a desk's folder orders/",
            path.display()
        )
    })
}

/// Shows a draft, and signs what it has shown once somebody agrees.
fn sign(
    draft: &Draft<'_>,
    signer: &Signer,
    out: &mut impl Write,
    agree: impl FnOnce() -> Result<()>,
) -> Result<()> {
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
    write!(out, "{}", show::words(order, *desk)?)?;
    agree()?;
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

#[cfg(test)]
mod tests {
    use gild_boards::mac::Mac;
    use gild_orders::{Action, OrderId};

    use super::*;

    #[test]
    fn a_draft_that_is_taken_back_or_changed_while_somebody_reads_it_is_not_signed() {
        let folder = tempfile::tempdir().expect("a folder");
        crate::key::make(&folder.path().join("site")).expect("keys");
        let signer = Signer::read(&folder.path().join("site.key")).expect("a key");
        let path = folder.path().join("draft.json");
        let order = Order {
            id: OrderId::made(now(), [1, 2, 3]).expect("our days"),
            nodes: vec![Mac([0xd8, 0x3a, 0xdd, 1, 2, 3])],
            expires: now() + 3600,
            action: Action::Hold,
        };
        let text = order.to_text();
        let changed = text.replace("hold", "flash");
        let draft = Draft {
            path: path.clone(),
            order,
            desk: None,
        };
        let target = folder.path().join(format!("{}.order", draft.order.id));
        let tries = |meanwhile: &dyn Fn()| {
            std::fs::write(&path, &text).expect("written");
            let agree = || {
                meanwhile();
                Ok(())
            };
            sign(&draft, &signer, &mut Vec::new(), agree)
        };
        let gone = tries(&|| std::fs::remove_file(&path).expect("removed"));
        let gone = format!("{:#}", gone.expect_err("it is gone"));
        assert!(gone.contains("nothing was signed"), "{gone}");
        let other = tries(&|| std::fs::write(&path, &changed).expect("written"));
        let other = other.expect_err("it is another").to_string();
        assert!(other.contains("was changed meanwhile"), "{other}");
        assert!(!target.exists());
        tries(&|| ()).expect("signed");
        assert!(target.exists());
    }
}
