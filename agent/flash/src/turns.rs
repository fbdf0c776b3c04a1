//! What a worker does next while the image is written. It only decides; the worker that asks does the work.
//!
//! A piece is read back only after a flush that began when it was written already, because a read before that proves no more
//! than the disk's cache. What the last flush leaves is read back when all is written. So are holes: their samples are small reads,
//! which would wait behind the large transfers of all other workers.

use std::collections::VecDeque;

/// Least number of whole chunks between two flushes, because a disk writes many of them faster than one by one.
const LEAST_CHUNKS: u64 = 16;

/// Most flushes while an image is written.
const MOST_FLUSHES: u64 = 16;

/// What a worker does, by the numbers of the pieces.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Gets a piece onto the disk.
    Write(usize),
    /// Flushes the disk: these pieces were written before.
    Flush(Vec<usize>),
    /// Reads back a piece that was flushed.
    ReadBack(usize),
}

/// All turns until the last piece is written.
pub struct Turns {
    /// Bytes of data in each piece; none in a hole.
    lengths: Vec<u64>,
    /// So many bytes are written, and then flushed.
    window: u64,
    /// The next one to write.
    next: usize,
    written: Vec<usize>,
    written_bytes: u64,
    flushed: VecDeque<usize>,
    holes: Vec<usize>,
    is_flushing: bool,
    /// Data was written since the last one was read back.
    is_read_due: bool,
}

impl Turns {
    pub fn new(lengths: Vec<u64>, chunk_size: u64) -> Self {
        let data: u64 = lengths.iter().sum();
        Self {
            lengths,
            window: data.div_ceil(MOST_FLUSHES).max(LEAST_CHUNKS * chunk_size),
            next: 0,
            written: Vec::new(),
            written_bytes: 0,
            flushed: VecDeque::new(),
            holes: Vec::new(),
            is_flushing: false,
            is_read_due: false,
        }
    }

    /// What a worker that asks is to do, until it comes back with [`end`](Self::end). `None` when all is written, or in the
    /// hands of others.
    pub fn begin(&mut self) -> Option<Turn> {
        if self.next == self.lengths.len() {
            return None;
        }
        if self.written_bytes >= self.window && !self.is_flushing {
            self.is_flushing = true;
            self.written_bytes = 0;
            return Some(Turn::Flush(std::mem::take(&mut self.written)));
        }
        // One is read back for each one that is written: neither waits for the other, and whichever takes longer has more workers
        // at it.
        if self.is_read_due
            && let Some(piece) = self.flushed.pop_front()
        {
            self.is_read_due = false;
            return Some(Turn::ReadBack(piece));
        }
        let piece = self.next;
        self.next += 1;
        if !self.is_hole(piece) {
            self.is_read_due = true;
        }
        Some(Turn::Write(piece))
    }

    /// A turn is over.
    pub fn end(&mut self, turn: Turn) {
        match turn {
            Turn::Write(piece) if self.is_hole(piece) => self.holes.push(piece),
            Turn::Write(piece) => {
                self.written.push(piece);
                self.written_bytes += self.lengths[piece];
            }
            Turn::Flush(pieces) => {
                self.is_flushing = false;
                self.flushed.extend(pieces);
            }
            Turn::ReadBack(_) => (),
        }
    }

    /// What is to be read back after one more flush.
    pub fn left(self) -> impl Iterator<Item = usize> {
        let data = self.flushed.into_iter().chain(self.written);
        data.chain(self.holes)
    }

    fn is_hole(&self, piece: usize) -> bool {
        self.lengths[piece] == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 4 << 20;

    /// Numbers that look random, the same for the same seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(self.0 >> 33).expect("31 bits") % limit
        }
    }

    /// Every fifth piece is a hole.
    fn pieces(count: usize) -> Vec<u64> {
        (0..count)
            .map(|piece| if piece % 5 == 4 { 0 } else { CHUNK })
            .collect()
    }

    /// Workers that begin and end their turns in an order that nobody knows. Gives how often each piece was read back, and
    /// the number of flushes.
    fn play(count: usize, workers: usize, seed: u64) -> (Vec<usize>, usize) {
        let mut dice = Dice(seed);
        let mut turns = Turns::new(pieces(count), CHUNK);
        let mut busy: Vec<Turn> = Vec::new();
        let (mut is_written, mut is_safe) = (vec![false; count], vec![false; count]);
        let mut before_flush = Vec::new();
        let (mut reads, mut flushes) = (vec![0; count], 0);
        let mut is_over = false;
        while !is_over || !busy.is_empty() {
            if !is_over && busy.len() < workers && dice.below(2) == 0 {
                match turns.begin() {
                    None => is_over = true,
                    Some(turn) => {
                        match &turn {
                            Turn::Write(_) => (),
                            Turn::Flush(_) => before_flush.clone_from(&is_written),
                            Turn::ReadBack(piece) => {
                                assert!(is_safe[*piece], "{piece} was not flushed");
                                reads[*piece] += 1;
                            }
                        }
                        busy.push(turn);
                    }
                }
            } else if !busy.is_empty() {
                let turn = busy.swap_remove(dice.below(busy.len()));
                match &turn {
                    Turn::Write(piece) => is_written[*piece] = true,
                    Turn::Flush(_) => {
                        is_safe.clone_from(&before_flush);
                        flushes += 1;
                    }
                    Turn::ReadBack(_) => (),
                }
                turns.end(turn);
            }
        }
        assert!(is_written.iter().all(|is_written| *is_written));
        for piece in turns.left() {
            reads[piece] += 1;
        }
        (reads, flushes)
    }

    #[test]
    fn each_piece_is_read_back_once_and_after_a_flush_that_began_when_it_was_written() {
        for seed in 0..200 {
            for workers in [1, 2, 8] {
                for count in [0, 1, 15, 700] {
                    let (reads, flushes) = play(count, workers, seed);
                    assert!(reads.iter().all(|reads| *reads == 1), "{reads:?}");
                    assert!(flushes <= 16, "{flushes} flushes");
                    assert_eq!(flushes > 0, count > 15, "{flushes} flushes of {count}");
                }
            }
        }
    }

    #[test]
    fn a_hole_is_read_at_the_end_and_has_no_chunk_read_back_before_the_next_is_fetched() {
        let mut lengths = vec![CHUNK; 16];
        lengths.extend([0; 4]);
        lengths.push(CHUNK);
        lengths.push(CHUNK);
        let mut turns = Turns::new(lengths, CHUNK);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        turns.end(flush);
        assert_eq!(turns.begin(), Some(Turn::ReadBack(0)));
        write(&mut turns, 4);
        assert_eq!(turns.begin(), Some(Turn::Write(20)));
        assert_eq!(turns.begin(), Some(Turn::ReadBack(1)));
        let left: Vec<_> = turns.left().collect();
        assert!(left.ends_with(&[16, 17, 18, 19]), "{left:?}");
    }

    /// Begins and ends so many turns, each a write.
    fn write(turns: &mut Turns, count: usize) {
        for _ in 0..count {
            let turn = turns.begin().expect("a piece to write");
            assert!(matches!(turn, Turn::Write(_)), "{turn:?}");
            turns.end(turn);
        }
    }

    #[test]
    fn one_piece_is_read_back_for_each_that_is_written_so_that_neither_waits() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        assert_eq!(flush, Turn::Flush((0..16).collect()));
        turns.end(flush);
        // None of them ends: so many workers are busy at once.
        let begun: Vec<_> = (0..12).map_while(|_| turns.begin()).collect();
        let expected = (0..6).flat_map(|number| [Turn::ReadBack(number), Turn::Write(16 + number)]);
        assert!(begun.into_iter().eq(expected));
    }

    #[test]
    fn workers_write_while_another_one_flushes() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        write(&mut turns, 40);
        turns.end(flush);
        // All of it, in one flush.
        let flush = turns.begin().expect("a flush is due");
        assert_eq!(flush, Turn::Flush((16..56).collect()));
    }
}
