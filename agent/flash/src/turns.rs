//! Decides what a worker does next while the image is written. The worker that asks does the work.
//!
//! A piece is read back only after a flush that began after the piece was written. An earlier read might show only the disk's cache. Pieces
//! after the last flush are read back when everything is written, and nothing else happens meanwhile. That is why flushes come closer
//! together towards the end. Holes are read last too: their samples are small reads, which would wait behind the large transfers of all
//! other workers.

use std::collections::VecDeque;

/// At least this many whole chunks come between two flushes, because a disk writes many chunks faster than single ones.
const LEAST_CHUNKS: u64 = 16;

/// The least number of chunks towards the end.
const LEAST_CHUNKS_AT_THE_END: u64 = 4;

/// At most this many flushes, before they come closer together towards the end.
const MOST_FLUSHES: u64 = 16;

/// How many of eight workers may read back while there is something to write. They are enough to keep a disk busy with reads, and the
/// others write.
const READERS_OF_EIGHT: usize = 3;

/// What a worker does, by the numbers of the pieces.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Gets a piece onto the disk.
    Write(usize),
    /// Flushes the disk. These pieces were written before.
    Flush(Vec<usize>),
    /// Reads back a piece that was flushed.
    ReadBack(usize),
}

/// All turns until the last piece is written.
pub struct Turns {
    /// Bytes of data in each piece; none in a hole.
    lengths: Vec<u64>,
    /// After this many bytes the disk is flushed.
    window: u64,
    /// The least window towards the end.
    least_window: u64,
    /// Bytes of data that no worker has begun to write.
    ahead: u64,
    /// The next one to write.
    next: usize,
    written: Vec<usize>,
    written_bytes: u64,
    flushed: VecDeque<usize>,
    /// How many pieces are being read back now.
    reading: usize,
    /// At most this many are read back at a time while there is something to write.
    most_readers: usize,
    holes: Vec<usize>,
    is_flushing: bool,
    was_flushed: bool,
    /// A worker has already found nothing to do.
    is_ended: bool,
}

impl Turns {
    pub fn new(lengths: Vec<u64>, chunk_size: u64, workers: usize) -> Self {
        let data: u64 = lengths.iter().sum();
        Self {
            lengths,
            window: data.div_ceil(MOST_FLUSHES).max(LEAST_CHUNKS * chunk_size),
            least_window: LEAST_CHUNKS_AT_THE_END * chunk_size,
            ahead: data,
            next: 0,
            written: Vec::new(),
            written_bytes: 0,
            flushed: VecDeque::new(),
            reading: 0,
            most_readers: (workers * READERS_OF_EIGHT / 8).max(1),
            holes: Vec::new(),
            is_flushing: false,
            was_flushed: false,
            is_ended: false,
        }
    }

    /// What the worker that asks does next. It must call [`end`](Self::end) afterwards. `None` when everything is written, and every
    /// flushed piece has been read back or is in another worker's hands. After the first `None` there is never another turn: all workers
    /// share what the last flush leaves, not only the one that flushed.
    pub fn begin(&mut self) -> Option<Turn> {
        if self.is_ended {
            return None;
        }
        let turn = self.next_turn();
        self.is_ended = turn.is_none();
        turn
    }

    fn next_turn(&mut self) -> Option<Turn> {
        let is_over = self.next == self.lengths.len();
        if !is_over && !self.is_flushing && self.is_flush_due() {
            self.is_flushing = true;
            self.was_flushed = true;
            self.written_bytes = 0;
            return Some(Turn::Flush(std::mem::take(&mut self.written)));
        }
        if (is_over || self.reading < self.most_readers)
            && let Some(piece) = self.flushed.pop_front()
        {
            self.reading += 1;
            return Some(Turn::ReadBack(piece));
        }
        if is_over {
            return None;
        }
        let piece = self.next;
        self.next += 1;
        self.ahead -= self.lengths[piece];
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
            Turn::ReadBack(_) => self.reading -= 1,
        }
    }

    /// What must be read back after one more flush.
    pub fn left(self) -> impl Iterator<Item = usize> {
        let data = self.flushed.into_iter().chain(self.written);
        data.chain(self.holes)
    }

    fn is_flush_due(&self) -> bool {
        // An image that fits into one window needs only the flush at its end.
        let window = if self.was_flushed {
            self.window.min((self.ahead / 2).max(self.least_window))
        } else {
            self.window
        };
        self.written_bytes >= window
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

    /// Workers begin and end their turns in a random order. Returns how often each piece was read back, and the number of flushes.
    fn play(count: usize, workers: usize, seed: u64) -> (Vec<usize>, usize) {
        let mut dice = Dice(seed);
        let mut turns = Turns::new(pieces(count), CHUNK, workers);
        let mut busy: Vec<Turn> = Vec::new();
        let (mut is_written, mut is_safe) = (vec![false; count], vec![false; count]);
        let mut before_flush = Vec::new();
        let (mut reads, mut flushes) = (vec![0; count], 0);
        let mut left = workers;
        while left > 0 {
            if busy.len() < left && dice.below(2) == 0 {
                match turns.begin() {
                    None => left -= 1,
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
                    assert!(flushes <= 24, "{flushes} flushes");
                    assert_eq!(flushes > 0, count > 15, "{flushes} flushes of {count}");
                }
            }
        }
    }

    #[test]
    fn a_hole_is_read_at_the_end() {
        let mut lengths = vec![CHUNK; 16];
        lengths.extend([0; 4]);
        lengths.push(CHUNK);
        lengths.push(CHUNK);
        let mut turns = Turns::new(lengths, CHUNK, 8);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        turns.end(flush);
        for piece in 0..READERS_OF_EIGHT {
            assert_eq!(turns.begin(), Some(Turn::ReadBack(piece)));
        }
        write(&mut turns, 5);
        let left: Vec<_> = turns.left().collect();
        assert!(left.ends_with(&[16, 17, 18, 19]), "{left:?}");
    }

    /// Begins and ends this many turns, each of which is a write.
    fn write(turns: &mut Turns, count: usize) {
        for _ in 0..count {
            let turn = turns.begin().expect("a piece to write");
            assert!(matches!(turn, Turn::Write(_)), "{turn:?}");
            turns.end(turn);
        }
    }

    #[test]
    fn some_workers_read_back_and_all_others_write() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK, 8);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        assert_eq!(flush, Turn::Flush((0..16).collect()));
        turns.end(flush);
        // None of the turns ends, so all these workers are busy at the same time.
        let begun: Vec<_> = (0..8).map_while(|_| turns.begin()).collect();
        let reads = (0..READERS_OF_EIGHT).map(Turn::ReadBack);
        let writes = (16..21).map(Turn::Write);
        assert!(begun.into_iter().eq(reads.chain(writes)));
        turns.end(Turn::ReadBack(0));
        assert_eq!(turns.begin(), Some(Turn::ReadBack(READERS_OF_EIGHT)));
    }

    #[test]
    fn of_two_workers_one_writes() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK, 2);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        turns.end(flush);
        assert_eq!(turns.begin(), Some(Turn::ReadBack(0)));
        assert_eq!(turns.begin(), Some(Turn::Write(16)));
    }

    #[test]
    fn who_has_nothing_to_write_reads_back_while_the_last_pieces_are_written() {
        let mut turns = Turns::new(vec![CHUNK; 20], CHUNK, 8);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        turns.end(flush);
        let begun: Vec<_> = (0..21).map_while(|_| turns.begin()).collect();
        let writes = begun.iter().filter(|turn| matches!(turn, Turn::Write(_)));
        assert_eq!(writes.count(), 4);
        assert_eq!(begun.len(), 20, "{begun:?}");
    }

    #[test]
    fn workers_write_while_another_one_flushes() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK, 8);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        write(&mut turns, 40);
        turns.end(flush);
        // All of it, in one flush.
        let flush = turns.begin().expect("a flush is due");
        assert_eq!(flush, Turn::Flush((16..56).collect()));
    }

    #[test]
    fn flushes_come_closer_together_towards_the_end_so_that_little_is_left_for_it() {
        let mut turns = Turns::new(vec![CHUNK; 256], CHUNK, 8);
        // All that was flushed is read back at once.
        while let Some(turn) = turns.begin() {
            turns.end(turn);
        }
        let left = turns.left().count();
        assert!(left <= 8, "{left} pieces");
    }

    #[test]
    fn what_the_last_flush_leaves_is_for_all_workers() {
        let mut turns = Turns::new(vec![CHUNK; 17], CHUNK, 8);
        write(&mut turns, 16);
        let flush = turns.begin().expect("a flush is due");
        write(&mut turns, 1);
        assert_eq!(turns.begin(), None);
        turns.end(flush);
        assert_eq!(turns.begin(), None);
        assert_eq!(turns.left().count(), 17);
    }
}
