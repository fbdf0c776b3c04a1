//! A few slots, such as connections, that many threads share. While the server is slow there are fewer.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A slot that is held for longer than this takes away another slot: a slow server has a queue, and more requests only make it
/// longer.
const SLOW: Duration = Duration::from_secs(2);
/// A slot that was held for a shorter time allows one more.
const QUICK: Duration = Duration::from_millis(500);

/// Hands each caller its own slot, and lets the others wait.
#[derive(Debug)]
pub struct Slots<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
}

#[derive(Debug)]
struct State<T> {
    idle: Vec<T>,
    taken: usize,
    window: Window,
}

/// How many places may be taken at once. It adapts to how long each is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    open: usize,
    most: usize,
}

impl Window {
    fn new(most: usize) -> Self {
        Self { open: most, most }
    }

    /// A place comes back after so long.
    fn after(self, kept: Duration) -> Self {
        if kept > SLOW {
            self.smaller()
        } else if kept < QUICK {
            let open = (self.open + 1).min(self.most);
            Self { open, ..self }
        } else {
            self
        }
    }

    fn smaller(self) -> Self {
        let open = self.open.saturating_sub(1).max(1);
        Self { open, ..self }
    }
}

impl<T> Slots<T> {
    /// As many places as there are items, and one at least must be there.
    pub fn new(items: impl IntoIterator<Item = T>) -> Self {
        let idle: Vec<T> = items.into_iter().collect();
        Self {
            state: Mutex::new(State {
                window: Window::new(idle.len()),
                idle,
                taken: 0,
            }),
            returned: Condvar::new(),
        }
    }

    /// A slot, once one is free. Its drop returns it, whatever happens.
    pub fn lease(&self) -> Lease<'_, T> {
        let mut state = self.state();
        loop {
            if state.taken < state.window.open
                && let Some(item) = state.idle.pop()
            {
                state.taken += 1;
                return Lease {
                    slots: self,
                    item: Some(item),
                    since: Instant::now(),
                    has_failed: false,
                };
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that a caller holds for now.
#[derive(Debug)]
pub struct Lease<'a, T> {
    slots: &'a Slots<T>,
    /// There until it goes back.
    item: Option<T>,
    since: Instant,
    has_failed: bool,
}

impl<T> Lease<'_, T> {
    /// The work with this slot failed, so its short time proves nothing.
    pub fn fail(&mut self) {
        self.has_failed = true;
    }
}

const THERE: &str = "a lease has its item until it is dropped";

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect(THERE)
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect(THERE)
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.idle.extend(self.item.take());
        state.taken -= 1;
        let kept = self.since.elapsed();
        state.window = if self.has_failed {
            state.window.smaller()
        } else {
            state.window.after(kept)
        };
        drop(state);
        // All, because the window may have opened for more than one.
        self.slots.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::{QUICK, SLOW, Slots, Window};

    #[test]
    fn a_slow_server_gets_fewer_requests_at_once_but_at_least_one() {
        let mut window = Window::new(4);
        let mut open = |kept| {
            window = window.after(kept);
            window.open
        };
        let (slow, quick) = (SLOW + Duration::from_millis(1), Duration::ZERO);
        assert_eq!([(); 5].map(|()| open(slow)), [3, 2, 1, 1, 1]);
        assert_eq!(open(QUICK), 1, "neither slow nor quick");
        assert_eq!(open(SLOW), 1, "neither slow nor quick");
        assert_eq!([(); 5].map(|()| open(quick)), [2, 3, 4, 4, 4]);
    }

    #[test]
    fn no_more_callers_are_served_at_once_than_there_are_places() {
        let slots = Slots::new([(), ()]);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lease = slots.lease();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn a_place_comes_back_from_a_caller_that_panics() {
        let slots = Slots::new([7]);
        let caller = thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let mut lease = slots.lease();
                *lease += 1;
                panic!("as the test wants it");
            });
            caller.join()
        });
        assert!(caller.is_err());
        assert_eq!(*slots.lease(), 8);
    }
}
