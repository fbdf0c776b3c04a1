//! Large files as short inputs: an EEPROM image has 2 MiB, and nearly all of them are alike.
//!
//! An input is a list of pieces: the place in the file in three bytes, in units of 16, the length in two bytes, all with the
//! low byte first, and the bytes. The rest of the file is one byte repeated.

const UNIT: usize = 16;

/// The pieces of an input, each with its place. The last one may be cut off.
pub fn pieces(mut input: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = input.split_first_chunk::<5>()?;
        let [a, b, c, low, high] = *header;
        let place = u32::from_le_bytes([a, b, c, 0]) as usize * UNIT;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        input = rest;
        Some((place, bytes))
    })
}

/// The file of this length that an input stands for. What lies behind its end falls away.
#[must_use]
pub fn unpack(input: &[u8], length: usize, fill: u8) -> Vec<u8> {
    let mut file = vec![fill; length];
    for (place, bytes) in pieces(input) {
        let Some(room) = file.get_mut(place..) else {
            continue;
        };
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
    }
    file
}

/// The input that stands for this file.
///
/// # Panics
///
/// If the file is too long for the format, 256 MiB.
#[must_use]
pub fn pack(file: &[u8], fill: u8) -> Vec<u8> {
    let is_same = |unit: &[u8]| unit.iter().all(|byte| *byte == fill);
    let mut input = Vec::new();
    let units: Vec<&[u8]> = file.chunks(UNIT).collect();
    let mut place = 0;
    for run in units.chunk_by(|one, other| is_same(one) == is_same(other)) {
        if !is_same(run[0]) {
            for (index, piece) in run.chunks(0xffff / UNIT).enumerate() {
                let at = place + index * (0xffff / UNIT);
                let bytes = piece.concat();
                input.extend(&u32::try_from(at).expect("a short file").to_le_bytes()[..3]);
                input.extend(
                    u16::try_from(bytes.len())
                        .expect("a short piece")
                        .to_le_bytes(),
                );
                input.extend(bytes);
            }
        }
        place += run.len();
    }
    input
}
