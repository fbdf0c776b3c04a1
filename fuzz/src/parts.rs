//! Several inputs in one: each except the last has its length in front of it, two bytes, the low one first.

/// The parts of an input. A part that is cut off is shorter, and a missing part is empty.
#[must_use]
pub fn parts<const N: usize>(mut input: &[u8]) -> [&[u8]; N] {
    let mut found = [&[][..]; N];
    for (index, part) in found.iter_mut().enumerate() {
        let (length, rest) = match input.split_first_chunk() {
            Some((length, rest)) if index + 1 < N => (u16::from_le_bytes(*length).into(), rest),
            _ => (input.len(), input),
        };
        (*part, input) = rest.split_at(length.min(rest.len()));
    }
    found
}

/// The input that has these parts.
///
/// # Panics
///
/// If a part other than the last one has 64 KiB or more.
#[must_use]
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 < parts.len() {
            let length = u16::try_from(part.len()).expect("a short part");
            input.extend(length.to_le_bytes());
        }
        input.extend_from_slice(part);
    }
    input
}
