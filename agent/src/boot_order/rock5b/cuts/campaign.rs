//! Random cuts in a row, each torn at another place. `make campaign` runs this for longer.

use fastrand::Rng;
use gild_boards::nor::PAGE;
use gild_boards::rk3588::Layout;
use gild_boards_testkit::Campaign;

use super::super::tests::{chip_of, set_in};
use super::*;
use crate::boot_order::stand_in::Files;

/// At most this many cuts in a row.
const IN_A_ROW: usize = 3;

/// Most of the time would go into reading, hashing and comparing 16 MiB, and no step touches most of those blocks. So most cuts happen to a
/// flash that ends shortly after the image. The code is the same, and so are the changed blocks, their order and number, the pages, and
/// what is torn of them. The test fails if a start makes other changes on this flash. One of 256 cuts happens to a flash of the boards'
/// size, and so do all cuts in [`super`].
const SHORT: Layout = Layout {
    size: 1 << 20,
    environment: 0xe_0000..0x10_0000,
};

fn torn(random: &mut Rng) -> Torn {
    if random.bool() {
        Torn::Half
    } else {
        Torn::Nonsense(random.usize(..=PAGE))
    }
}

/// A state from which the board may start, what the card has, and how many changes lead to `new`.
struct Start {
    layout: Layout,
    block: usize,
    old: Vec<u8>,
    has_file: bool,
    files: Files,
    new: Vec<u8>,
    changes: u32,
}

impl Start {
    /// A boot flash that begins with `old`, and a card with an image.
    fn of_image(layout: Layout, old: &[u8], file: &[u8]) -> Self {
        let [old, new] = [old, file].map(|start| chip_of(layout.size, start));
        Self::new(layout, BLOCK, old, Some(file), new)
    }

    fn of_environment(layout: Layout) -> Self {
        let small = 64 << 10;
        let [old, new] = [FACTORY, CHANGED].map(|order| variables(order, small));
        Self::new(layout, small, old, None, new)
    }

    fn new(layout: Layout, block: usize, old: Vec<u8>, file: Option<&[u8]>, new: Vec<u8>) -> Self {
        let card = MemoryCard::new(&Power::on());
        card.put("gate.env", GATE);
        if let Some(file) = file {
            card.put_firmware(SPI_IMAGE, file);
        }
        let mut start = Self {
            layout,
            block,
            old,
            has_file: file.is_some(),
            files: card.files(),
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
        let card = MemoryCard::holding(power, self.files.clone());
        let flash = MemoryNor::new(power, self.block, self.old.clone());
        (card, flash)
    }

    fn set(&self, card: &MemoryCard, flash: &MemoryNor) -> Result<BootOrder, BootOrderError> {
        if self.has_file {
            set_in(&self.layout, card, Some(flash), None)
        } else {
            set_in(&self.layout, card, None, Some(flash))
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
            assert!(!self.has_file || is_safe(&found, [&self.old, &self.new]));
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
    let mainline = Workshop::new().rock5b_spi(MAINLINE);
    let starts = [SHORT, Layout::BOARDS].map(|layout| {
        [
            Start::of_image(layout.clone(), &mainline, &image),
            Start::of_image(layout.clone(), &[], &image),
            Start::of_environment(layout),
        ]
    });
    for (short, whole) in starts[0].iter().zip(&starts[1]) {
        assert_eq!(short.changes, whole.changes);
    }
    Campaign::from_environment(50).run("the boot order of the Rock 5B", |random| {
        let start = random.usize(..starts[0].len());
        // It has its own random number, so that all other cuts are the same whatever it is.
        let is_whole = random.fork().u8(..) == 0;
        starts[usize::from(is_whole)][start].survives(random);
    });
}
