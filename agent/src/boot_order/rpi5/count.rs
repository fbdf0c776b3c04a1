//! Counts how often the ROM has had the chance to write an update.

use gild_card_format::names::eeprom_count;

use crate::boot_order::{BootOrderError, Job};
use crate::card::values::value;

/// How often an update has been staged for this board. It counts once for each restart in which the ROM could write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub attempts: u32,
    /// The start of the kernel in which the last update was staged. Cards of earlier agents do not have it.
    pub start: Option<String>,
}

impl Count {
    pub fn read(job: &Job, time: u32) -> Result<Self, BootOrderError> {
        let text = job.card.read(&eeprom_count(&job.id))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let value = |key| value(&text, key);
        if value("update") != Some(time.to_string().as_str()) {
            return Ok(Self::default());
        }
        Ok(Self {
            attempts: value("attempts")
                .and_then(|attempts| attempts.parse().ok())
                .unwrap_or(0),
            start: value("boot_id").map(str::to_owned),
        })
    }

    pub fn write(&self, job: &Job, time: u32) -> Result<(), BootOrderError> {
        let start = self.start.as_ref();
        let start = start.map_or_else(String::new, |start| format!("boot_id={start}\n"));
        let text = format!("update={time}\nattempts={}\n{start}", self.attempts);
        Ok(job.card.write(&eeprom_count(&job.id), text.as_bytes())?)
    }
}
