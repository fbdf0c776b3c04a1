//! Answers cut into fragments, as RFC 5531 allows.

/// Set in the mark of the last fragment.
const LAST: u32 = 1 << 31;

/// Takes a stream of answers in one piece each and gives the same in fragments.
#[derive(Default)]
pub struct Fragmenter {
    waiting: Vec<u8>,
}

impl Fragmenter {
    /// The answers that are complete with these bytes, in fragments of at most this size.
    pub fn pass(&mut self, bytes: &[u8], size: usize) -> Vec<u8> {
        self.waiting.extend_from_slice(bytes);
        let mut output = Vec::new();
        while let Some((mark, rest)) = self.waiting.split_first_chunk::<4>() {
            let length = (u32::from_be_bytes(*mark) & !LAST) as usize;
            let Some(message) = rest.get(..length) else {
                break;
            };
            output.extend_from_slice(&[0; 4]);
            let mut pieces = message.chunks(size).peekable();
            while let Some(piece) = pieces.next() {
                let last = if pieces.peek().is_none() { LAST } else { 0 };
                let mark = last | u32::try_from(piece.len()).unwrap_or(0);
                output.extend_from_slice(&mark.to_be_bytes());
                output.extend_from_slice(piece);
            }
            self.waiting.drain(..4 + length);
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::Fragmenter;

    #[test]
    fn an_answer_is_cut_once_it_is_there() {
        let mut fragmenter = Fragmenter::default();
        assert!(fragmenter.pass(&[0x80, 0, 0, 3, 7, 8], 2).is_empty());
        let cut = fragmenter.pass(&[9, 0x80], 2);
        assert_eq!(cut, [0, 0, 0, 0, 0, 0, 0, 2, 7, 8, 0x80, 0, 0, 1, 9]);
    }
}
