//! Random cuts. `make campaign` runs this for long.

use gild_boards_testkit::Campaign;

use super::*;

/// What stands in the root of the card, and how many changes stage the update.
struct Start<'a> {
    root: &'a [(&'a str, &'a [u8])],
    changes: u32,
}

impl<'a> Start<'a> {
    fn new(root: &'a [(&'a str, &'a [u8])]) -> Self {
        let mut start = Self {
            root,
            changes: u32::MAX / 2,
        };
        let power = Power::on();
        let card = start.card(&power);
        power.cut_after(start.changes);
        assert_eq!(set_on(&card, &factory()), Ok(BootOrder::Staged));
        start.changes -= power.left().expect("limited");
        start
    }

    fn card(&self, power: &Power) -> MemoryCard {
        let card = card(power);
        for (name, content) in self.root {
            card.put(name, content);
        }
        card
    }
}

#[test]
fn no_random_cut_of_the_boot_order_is_unrecoverable() {
    let (upd, sig, _) = update();
    let left: [(&str, &[u8]); 2] = [("recovery.000", b"used"), (UPD, b"another one's")];
    let staged = [
        (UPD, &upd[..]),
        (SIG, sig.as_bytes()),
        (RECOVERY, RECOVERY_BIN),
    ];
    let starts = [Start::new(&[]), Start::new(&left), Start::new(&staged)];
    Campaign::from_environment(200).run("the boot order of the Raspberry Pi 5", |random| {
        let start = &starts[random.usize(..starts.len())];
        let power = Power::on();
        let card = start.card(&power);
        let mut running = factory();
        for _ in 0..random.u32(1..=4) {
            power.cut_after(random.u32(..start.changes));
            let outcome = set_on(&card, &running);
            power.restore();
            // The ROM runs at every power-on, before the agent.
            rom(&card, &mut running);
            if outcome.is_ok() {
                break;
            }
        }
        if set_on(&card, &running).expect("the next attempt") == BootOrder::Staged {
            rom(&card, &mut running);
        }
        assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
    });
}
