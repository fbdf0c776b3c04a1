//! Tells all open pages what changes. Each message is made once, for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::picture::{Picture, events};
use super::sent::Sent;
use crate::desk::{Desk, now};
use crate::rack::Rack;

/// Changes within this time go out as one message.
const TOGETHER: Duration = Duration::from_millis(250);
/// A page gets a message at least this often: what has changed because time passed, or that nothing has. If it gets none for much longer,
/// its connection is lost.
const BEAT: Duration = Duration::from_secs(5);

/// Tells pages, forever.
pub async fn changes(desk: &Arc<Desk>, picture: &Picture) {
    let mut news = desk.news();
    let mut sent = Sent::default();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // If this task falls behind, it misses changes. Then it sends everything again.
        let mut has_missed = false;
        let mut changed = BTreeSet::new();
        tokio::select! {
            first = news.recv() => {
                match first {
                    Ok(first) => changed.insert(first),
                    Err(RecvError::Lagged(_)) => { has_missed = true; false }
                    Err(RecvError::Closed) => return,
                };
                sleep(TOGETHER).await;
            }
            _ = beat.tick() => {}
        }
        loop {
            match news.try_recv() {
                Ok(next) => {
                    changed.insert(next);
                }
                Err(TryRecvError::Lagged(_)) => has_missed = true,
                Err(_) => break,
            }
        }
        if !picture.is_watched() {
            continue;
        }
        let desk = Arc::clone(desk);
        let made = spawn_blocking(move || {
            let (groups, orders) = (desk.groups(), desk.shown_orders());
            let rack = desk.look(Rack::clone);
            sent.see(orders, &rack);
            let nodes = if has_missed {
                sent.all(&rack, &groups, now())
            } else if changed.is_empty() {
                sent.by_time(&rack, &groups, now())
            } else {
                sent.some(&rack, &changed, &groups, now())
            };
            let events = events([Some(nodes), sent.orders()]);
            (sent, events)
        });
        let Ok((next, events)) = made.await else {
            return;
        };
        sent = next;
        picture.tell(events);
    }
}
