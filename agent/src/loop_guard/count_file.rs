//! The file on the card that counts restarts without a start from the disk.

use std::io;

use crate::card::folder::Folder;
use crate::card::values::value;

/// What is counted, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub image_id: String,
    pub disk: String,
    pub mark: String,
    pub attempts: u32,
}

impl Count {
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key| value(text, key);
        Some(Self {
            image_id: value("image_id")?.to_owned(),
            disk: value("disk")?.to_owned(),
            mark: value("mark")?.to_owned(),
            attempts: value("attempts")?.parse().ok()?,
        })
    }

    /// The count on the card. `None` if there is none or it cannot be understood.
    pub fn read(card: &dyn Folder, file: &str) -> io::Result<Option<Self>> {
        let text = card.read(file)?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    pub fn to_text(&self) -> String {
        let Self {
            image_id,
            disk,
            mark,
            attempts,
        } = self;
        format!("image_id={image_id}\ndisk={disk}\nmark={mark}\nattempts={attempts}\n")
    }

    /// Whether it is the same restart: of this image on this disk, and nothing has started from the disk since.
    pub fn is_same(&self, other: &Self) -> bool {
        self.image_id == other.image_id && self.disk == other.disk && self.mark == other.mark
    }
}

/// Writes the count including this restart, unless this start has already counted it.
pub fn write(
    card: &dyn Folder,
    file: &str,
    now: Count,
    is_news: bool,
    is_counted: bool,
) -> io::Result<u32> {
    let before = Count::read(card, file)?;
    let before = before.filter(|before| before.is_same(&now) && !is_news);
    let attempts = before.map_or(0, |before| before.attempts);
    if is_counted && attempts > 0 {
        return Ok(attempts);
    }
    let attempts = attempts.saturating_add(1);
    card.write(file, Count { attempts, ..now }.to_text().as_bytes())?;
    Ok(attempts)
}
