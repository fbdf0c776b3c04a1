//! Fetches stored chunks before a worker asks for them. Some parts of an image compress better than others, so sometimes the network is
//! slower and sometimes the disk. With a few chunks in reserve, both stay busy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use gild_source::{Options, Source, SourceError};

use crate::run::lock;

/// At most this many bytes of stored chunks are fetched ahead.
pub const BUDGET: usize = 16 << 20;

/// At most this many chunks are fetched ahead. After a power cut they must be fetched again.
pub const MOST_CHUNKS: usize = 16;

/// Fetches ahead, in the order in which the workers will ask.
pub struct Ahead<'a> {
    source: &'a dyn Source,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The chunks that no thread has begun: where each lies, and its length.
    queue: VecDeque<(u64, usize)>,
    /// The chunks that were begun and that no worker has taken yet, by where they lie. `None` while a chunk is being fetched.
    begun: BTreeMap<u64, Option<Fetched>>,
    /// The bytes of the chunks in `begun`.
    held: usize,
    distrusts: usize,
    is_over: bool,
}

/// How often the source had been distrusted at the time when it was asked for a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Asked(usize);

struct Fetched {
    asked: Asked,
    stored: Result<Vec<u8>, SourceError>,
}

impl<'a> Ahead<'a> {
    /// `chunks` says where each stored chunk lies, and how long it is.
    pub fn new(source: &'a dyn Source, chunks: impl Iterator<Item = (u64, usize)>) -> Self {
        Self {
            source,
            state: Mutex::new(State {
                queue: chunks.collect(),
                begun: BTreeMap::new(),
                held: 0,
                distrusts: 0,
                is_over: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Fetches in threads of this scope, until the returned value is dropped.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Fetching<'scope> {
        // There is one thread for each connection, because more threads would only wait.
        for _ in 0..Options::default().connections {
            // If a thread cannot start, nothing is lost: a worker fetches a chunk that nobody has begun.
            let _ = Builder::new().spawn_scoped(scope, || self.fetch());
        }
        Fetching(self)
    }

    /// Returns a stored chunk. If no thread has begun it, the caller fetches it now.
    pub fn read(&self, offset: u64, length: usize) -> Result<(Vec<u8>, Asked), SourceError> {
        if let Some(fetched) = self.take(offset) {
            return Ok((fetched.stored?, fetched.asked));
        }
        let asked = Asked(lock(&self.state).distrusts);
        let mut stored = vec![0; length];
        self.source.read_exact_at(&mut stored, offset)?;
        Ok((stored, asked))
    }

    /// Distrusts the source because of what it sent then. This happens only once for everything that one server sent. Otherwise chunks that
    /// were fetched ahead from the old server would make the source leave the next server too.
    pub fn distrust(&self, asked: Asked) {
        let mut state = lock(&self.state);
        if asked.0 == state.distrusts {
            state.distrusts += 1;
            self.source.distrust();
        }
    }

    /// Waits for the chunk that lies there. `None` if no thread has begun it; then none ever will.
    fn take(&self, offset: u64) -> Option<Fetched> {
        let mut state = lock(&self.state);
        if let Some(place) = state.queue.iter().position(|(at, _)| *at == offset) {
            state.queue.remove(place);
            // The next chunk may be short enough for the room that is left.
            self.changed.notify_all();
            return None;
        }
        while let Some(fetched) = state.begun.remove(&offset) {
            if let Some(fetched) = fetched {
                state.held -= fetched.stored.as_ref().map_or(0, Vec::len);
                self.changed.notify_all();
                return Some(fetched);
            }
            state.begun.insert(offset, None);
            state = self.wait(state);
        }
        None
    }

    fn fetch(&self) {
        while let Some(mut errand) = self.begin() {
            let mut stored = vec![0; errand.length];
            let outcome = self.source.read_exact_at(&mut stored, errand.offset);
            errand.outcome = Some(outcome.map(|()| stored));
        }
    }

    /// The next chunk to fetch, once there is room for it.
    fn begin(&self) -> Option<Errand<'_>> {
        let mut state = lock(&self.state);
        loop {
            let (offset, length) = *state.queue.front().filter(|_| !state.is_over)?;
            if state.held + length <= BUDGET && state.begun.len() < MOST_CHUNKS {
                state.queue.pop_front();
                state.begun.insert(offset, None);
                state.held += length;
                return Some(Errand {
                    ahead: self,
                    offset,
                    length,
                    asked: Asked(state.distrusts),
                    outcome: None,
                });
            }
            state = self.wait(state);
        }
    }

    fn wait<'state>(&self, state: MutexGuard<'state, State>) -> MutexGuard<'state, State> {
        let state = self.changed.wait(state);
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chunk that is being fetched. When this is dropped, the waiting worker gets the result. If the source panicked, the result is missing,
/// and the worker asks the source itself.
struct Errand<'a> {
    ahead: &'a Ahead<'a>,
    offset: u64,
    length: usize,
    asked: Asked,
    outcome: Option<Result<Vec<u8>, SourceError>>,
}

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.ahead.state);
        if !matches!(self.outcome, Some(Ok(_))) {
            state.held -= self.length;
        }
        match self.outcome.take() {
            None => state.begun.remove(&self.offset),
            Some(stored) => {
                let asked = self.asked;
                let fetched = Fetched { asked, stored };
                state.begun.insert(self.offset, Some(fetched))
            }
        };
        self.ahead.changed.notify_all();
    }
}

/// When this is dropped, the threads begin no further chunk.
pub struct Fetching<'a>(&'a Ahead<'a>);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use gild_faults::Fault;

    use super::*;

    const CHUNK: usize = 1 << 20;

    /// Every byte of a chunk is the chunk's number.
    #[derive(Default)]
    struct Numbers {
        reads: AtomicUsize,
        /// The chunk that cannot be read.
        broken: Option<u64>,
    }

    impl Source for Numbers {
        fn size(&self) -> u64 {
            u64::MAX
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let chunk = offset / CHUNK as u64;
            if self.broken == Some(chunk) {
                return Err(SourceError {
                    fault: Fault::ServerUnreachable,
                    message: "broken".to_owned(),
                });
            }
            buffer.fill(u8::try_from(chunk).expect("few chunks"));
            Ok(())
        }
    }

    fn place(chunk: u8) -> u64 {
        u64::from(chunk) * CHUNK as u64
    }

    fn chunks(count: u8) -> impl Iterator<Item = (u64, usize)> {
        (0..count).map(|chunk| (place(chunk), CHUNK))
    }

    #[test]
    fn each_chunk_is_read_once_and_has_the_bytes_of_the_source_whoever_fetched_it() {
        let source = Numbers::default();
        let ahead = Ahead::new(&source, chunks(100));
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let _fetching = ahead.start(scope);
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        while let chunk @ 0..100 = next.fetch_add(1, Ordering::SeqCst) {
                            let chunk = u8::try_from(chunk).expect("below 100");
                            let (stored, _) =
                                ahead.read(place(chunk), CHUNK).expect("it can be read");
                            assert_eq!(stored.len(), CHUNK);
                            assert!(stored.iter().all(|byte| *byte == chunk));
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().expect("no worker panics");
            }
        });
        assert_eq!(source.reads.into_inner(), 100);
    }

    #[test]
    fn no_more_is_fetched_ahead_than_the_budget_and_the_end_does_not_wait_for_room() {
        let source = Numbers::default();
        let ahead = Ahead::new(&source, chunks(100));
        thread::scope(|scope| {
            let fetching = ahead.start(scope);
            while lock(&ahead.state).held < BUDGET {
                thread::sleep(Duration::from_millis(1));
            }
            ahead.read(0, CHUNK).expect("it can be read");
            while lock(&ahead.state).held < BUDGET {
                thread::sleep(Duration::from_millis(1));
            }
            drop(fetching);
        });
        assert_eq!(source.reads.into_inner(), BUDGET / CHUNK + 1);
    }

    #[test]
    fn of_short_chunks_no_more_than_a_few_are_fetched_ahead() {
        let source = Numbers::default();
        let ahead = Ahead::new(&source, (0..100).map(|place| (place, 1)));
        thread::scope(|scope| {
            let _fetching = ahead.start(scope);
            while source.reads.load(Ordering::SeqCst) < MOST_CHUNKS {
                thread::sleep(Duration::from_millis(1));
            }
            // Enough time for another chunk to come.
            thread::sleep(Duration::from_millis(20));
            assert_eq!(lock(&ahead.state).queue.len(), 100 - MOST_CHUNKS);
        });
    }

    #[test]
    fn a_failure_reaches_the_worker_that_asks_for_the_chunk_and_the_next_attempt_asks_the_source() {
        let source = Numbers {
            broken: Some(3),
            ..Numbers::default()
        };
        let ahead = Ahead::new(&source, chunks(5));
        thread::scope(|scope| {
            let _fetching = ahead.start(scope);
            while !lock(&ahead.state).queue.is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            for chunk in [0, 1, 2, 4] {
                ahead.read(place(chunk), CHUNK).expect("it can be read");
            }
            for reads in [5, 6] {
                let error = ahead.read(place(3), CHUNK).expect_err("it is broken");
                assert_eq!(error.message, "broken");
                assert_eq!(source.reads.load(Ordering::SeqCst), reads);
            }
        });
    }

    #[test]
    fn a_chunk_longer_than_the_budget_is_left_to_the_worker() {
        let source = Numbers::default();
        let ahead = Ahead::new(&source, [(0, BUDGET + 1)].into_iter());
        let (stored, _) = thread::scope(|scope| {
            let _fetching = ahead.start(scope);
            ahead.read(0, BUDGET + 1).expect("it can be read")
        });
        assert_eq!(stored.len(), BUDGET + 1);
    }

    #[test]
    fn a_worker_does_not_wait_forever_for_a_chunk_whose_source_panicked() {
        struct Panics;
        impl Source for Panics {
            fn size(&self) -> u64 {
                u64::MAX
            }

            fn read_exact_at(&self, _: &mut [u8], _: u64) -> Result<(), SourceError> {
                thread::sleep(Duration::from_millis(100));
                panic!("as a source may");
            }
        }
        // A thread that waits forever must not keep the test from ending.
        let ahead: &'static Ahead<'static> = Box::leak(Box::new(Ahead::new(&Panics, chunks(2))));
        let (say, hear) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                thread::scope(|scope| {
                    let _fetching = ahead.start(scope);
                    while !lock(&ahead.state).queue.is_empty() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let _ = ahead.read(0, CHUNK);
                });
            }));
            say.send(outcome.is_err()).expect("somebody listens");
        });
        let outcome = hear.recv_timeout(Duration::from_mins(1));
        assert_eq!(outcome, Ok(true));
    }
}
