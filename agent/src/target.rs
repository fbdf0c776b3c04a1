//! Step 6, target: the one disk that may be written.

use gild_disk::select::{self, Candidate, SelectError, System, Wanted};
use gild_faults::HasFault;
use log::info;

use crate::card::Card;
use crate::failure::{Remedy, StepError};
use crate::machine::Machine;
use crate::manifest::Image;

impl StepError for SelectError {
    fn next_step(&self) -> &'static str {
        if self.may_be_hidden {
            "check that the disk is fitted and well seated; the board restarts by itself to find it, and where that does not help, switch the power off and on"
        } else {
            self.fault().next_step()
        }
    }

    fn remedy(&self) -> Remedy {
        if self.may_be_hidden {
            Remedy::Restart
        } else {
            Remedy::LookAgain
        }
    }
}

/// Picks the disk, or says why none can be picked.
pub fn choose(
    machine: &Machine,
    serial: Option<&str>,
    image: &Image,
    card: Option<&Card>,
) -> Result<Candidate, SelectError> {
    let wanted = Wanted {
        size: image.manifest.raw_size,
        sector_size: Some(image.manifest.sector_size),
        serial: serial.map(str::to_owned),
        boot_medium: card.map(|card| card.name.clone()),
    };
    let target = select::choose(&System::default(), &wanted, machine, machine.patience())?;
    info!(
        "target {} {} {} {}",
        target.path.display(),
        target.model,
        target.serial,
        target.size
    );
    Ok(target)
}
