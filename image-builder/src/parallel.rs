//! Work on all cores, results in order, bounded memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Context, Result};

/// Jobs handed out per thread before their results are taken: enough that no core waits, few enough for the memory.
const JOBS_PER_THREAD: usize = 3;

/// Runs jobs `0..count` on all cores, each thread with its own worker, and hands the results to `take` in order.
///
/// The first error, of a worker or of `take`, ends it all.
pub fn in_order<T, W>(
    count: usize,
    worker: impl Fn() -> Result<W> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()>
where
    T: Send,
    W: FnMut(usize) -> Result<T>,
{
    let threads = thread::available_parallelism().map_or(1, Into::into);
    let (jobs, waiting) = mpsc::channel::<usize>();
    let (answers, results) = mpsc::channel();
    let waiting = &Mutex::new(waiting);
    let worker = &worker;
    // A job is handed out when a result is taken, so a slow one cannot be overrun by the others without limit.
    let mut upcoming = 0..count;
    for job in upcoming.by_ref().take(threads * JOBS_PER_THREAD) {
        jobs.send(job)?;
    }
    // The closure owns its ends of the channels: however it is left, the threads see them close and end.
    thread::scope(move |scope| {
        for _ in 0..threads {
            let answers = answers.clone();
            scope.spawn(move || {
                let next = || {
                    waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv()
                };
                let mut work = match worker() {
                    Ok(work) => work,
                    Err(error) => return drop(answers.send(Err(error))),
                };
                while let Ok(job) = next() {
                    if answers.send(work(job).map(|result| (job, result))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answers);
        let mut early = BTreeMap::new();
        for job in 0..count {
            let result = loop {
                if let Some(result) = early.remove(&job) {
                    break result;
                }
                let (done, result) = results.recv().context("a worker thread ended early")??;
                early.insert(done, result);
            };
            if let Some(job) = upcoming.next() {
                jobs.send(job)?;
            }
            take(result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_in_order_however_long_each_takes() {
        let mut taken = Vec::new();
        let worker = || {
            Ok(|job: usize| {
                thread::sleep(Duration::from_micros((job as u64 * 7919) % 500));
                Ok(job)
            })
        };
        in_order(200, worker, |job| {
            taken.push(job);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(taken, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_of_either_side_ends_it() {
        let failing = || {
            Ok(|job: usize| {
                anyhow::ensure!(job != 5, "job 5");
                Ok(job)
            })
        };
        let error = in_order(1000, failing, |_| Ok(())).expect_err("job 5 fails");
        assert_eq!(error.to_string(), "job 5");
        let error = in_order(
            1000,
            || Ok(Ok),
            |job| {
                anyhow::ensure!(job < 7, "disk full");
                Ok(())
            },
        )
        .expect_err("taking fails");
        assert_eq!(error.to_string(), "disk full");
        let broken = || -> Result<fn(usize) -> Result<usize>> { anyhow::bail!("no memory") };
        let error = in_order(1000, broken, |_| Ok(())).expect_err("no worker starts");
        assert_eq!(error.to_string(), "no memory");
    }
}
