//! Random cuts, one after the other, each torn in another place. `make campaign` runs this for long.

use fastrand::Rng;
use gild_boards::nor::PAGE;
use gild_boards_testkit::Campaign;

use super::*;

/// The most cuts in a row.
const IN_A_ROW: usize = 3;

fn torn(random: &mut Rng) -> Torn {
    if random.bool() {
        Torn::Half
    } else {
        Torn::Nonsense(random.usize(..=PAGE))
    }
}

/// What a board may have, what the card has, and how many changes lead to `new`.
struct Start {
    block: usize,
    old: Vec<u8>,
    file: Option<Vec<u8>>,
    new: Vec<u8>,
    changes: u32,
}

impl Start {
    fn new(block: usize, old: Vec<u8>, file: Option<Vec<u8>>, new: Vec<u8>) -> Self {
        let mut start = Self {
            block,
            old,
            file,
            new,
            changes: u32::MAX / 2,
        };
        let power = Power::on();
        let (card, flash) = start.board(&power);
        power.cut_after(start.changes);
        assert_eq!(start.set(&card, &flash), Ok(BootOrder::Written));
        start.changes -= power.left().expect("limited");
        start
    }

    fn board(&self, power: &Power) -> (MemoryCard, MemoryNor) {
        let card = MemoryCard::new(power);
        card.put("gate.env", GATE);
        if let Some(file) = &self.file {
            card.put_firmware(SPI_IMAGE, file);
        }
        let flash = MemoryNor::new(power, self.block, self.old.clone());
        (card, flash)
    }

    fn set(&self, card: &MemoryCard, flash: &MemoryNor) -> Result<BootOrder, BootOrderError> {
        match self.file {
            Some(_) => set_with(card, Some(flash), None, true),
            None => set_with(card, None, Some(flash), true),
        }
    }

    /// The next power-on finishes, and until then nothing half written starts the board.
    fn survives(&self, random: &mut Rng) {
        let power = Power::on();
        let (card, flash) = self.board(&power);
        for _ in 0..random.usize(1..=IN_A_ROW) {
            flash.torn.set(torn(random));
            power.cut_after(random.u32(..self.changes));
            let cut = self.set(&card, &flash);
            let is_cut = power.is_cut();
            power.restore();
            assert!(is_cut || cut.is_ok(), "{cut:?}");
            let found = flash.bytes.borrow();
            assert!(self.file.is_none() || is_safe(&found, [&self.old, &self.new]));
            assert!(*found == self.old || *found == self.new || is_closed(&card));
        }
        let set = self.set(&card, &flash);
        assert!(set.is_ok(), "{set:?}");
        assert!(*flash.bytes.borrow() == self.new);
        assert!(marks(&card).is_empty());
    }
}

#[test]
fn no_random_cut_of_the_boot_order_is_unrecoverable() {
    let image = wanted();
    let small = 64 << 10;
    let starts = [
        Start::new(
            BLOCK,
            chip(&Workshop::new().rock5b_spi(MAINLINE)),
            Some(image.clone()),
            chip(&image),
        ),
        Start::new(BLOCK, chip(&[]), Some(image.clone()), chip(&image)),
        Start::new(
            BLOCK,
            variables(FACTORY, small),
            None,
            variables(CHANGED, small),
        ),
    ];
    Campaign::from_environment(10).run("the boot order of the Rock 5B", |random| {
        starts[random.usize(..starts.len())].survives(random);
    });
}
