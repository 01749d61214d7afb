//! One answer on its way to several callers who asked the same at the same time.
//!
//! Nobody leads: whoever polls first drives the stream for all, and those who are behind read what has come already. The stream ends when
//! the last of them is gone, so a caller who leaves takes nothing from the others.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::Stream;
use futures::stream::BoxStream;
use models::Delta;

use crate::RouteError;

type Item = Result<Delta, RouteError>;

/// An answer that may be joined.
pub(super) struct Flight {
    state: Mutex<State>,
    waiting: Arc<Waiting>,
}

struct State {
    /// Gone once it has ended.
    stream: Option<BoxStream<'static, Item>>,
    /// All that has come.
    items: Vec<Item>,
}

/// The tasks to wake when more comes. A place each, free when its caller is gone.
#[derive(Default)]
struct Waiting(Mutex<Vec<Place>>);

enum Place {
    Free,
    Taken(Option<Waker>),
}

impl Waiting {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> usize {
        let mut places = self.places();
        let free = places.iter().position(|place| matches!(place, Place::Free));
        let place = free.unwrap_or(places.len());
        if free.is_none() {
            places.push(Place::Free);
        }
        places[place] = Place::Taken(None);
        place
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let wakers: Vec<Waker> = self
            .places()
            .iter_mut()
            .filter_map(|place| match place {
                Place::Free => None,
                Place::Taken(waker) => waker.take(),
            })
            .collect();
        // Outside the lock: a waker may run anything.
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Flight {
    pub(super) fn new(stream: BoxStream<'static, Item>) -> Flight {
        Flight { state: Mutex::new(State { stream: Some(stream), items: Vec::new() }), waiting: Arc::default() }
    }

    /// The whole answer, from its beginning.
    pub(super) fn join(self: &Arc<Flight>) -> Passenger {
        Passenger { flight: self.clone(), next: 0, place: self.waiting.take() }
    }
}

/// One caller's view of the answer.
pub(super) struct Passenger {
    flight: Arc<Flight>,
    next: usize,
    place: usize,
}

impl Stream for Passenger {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let flight = self.flight.clone();
        let mut state = flight.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = state.items.get(self.next).cloned() {
            self.next += 1;
            return Poll::Ready(Some(item));
        }
        let Some(stream) = &mut state.stream else { return Poll::Ready(None) };
        // Before the stream is polled, so that nothing that comes in between is missed.
        flight.waiting.places()[self.place] = Place::Taken(Some(context.waker().clone()));
        let all = Waker::from(flight.waiting.clone());
        match stream.as_mut().poll_next(&mut Context::from_waker(&all)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(item) => {
                match &item {
                    Some(item) => {
                        state.items.push(item.clone());
                        self.next += 1;
                    }
                    None => state.stream = None,
                }
                drop(state);
                flight.waiting.places()[self.place] = Place::Taken(None);
                // The others may have been asleep since the item before.
                all.wake();
                Poll::Ready(item)
            }
        }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let mut places = self.flight.waiting.places();
        places[self.place] = Place::Free;
        drop(places);
        // Whoever is left may have to drive the stream now.
        self.flight.waiting.clone().wake();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, SinkExt, StreamExt};

    use super::*;

    fn text(text: &str) -> Item {
        Ok(Delta::Text(text.into()))
    }

    #[tokio::test]
    async fn late_ones_hear_it_from_the_beginning_and_leavers_stop_nobody() {
        let (mut upstream, answer) = futures::channel::mpsc::channel(4);
        let flight = Arc::new(Flight::new(answer.boxed()));
        let mut first = flight.join();
        upstream.send(text("a")).await.expect("it is heard");
        assert_eq!(first.next().await, Some(text("a")));
        let mut second = flight.join();
        assert_eq!(second.next().await, Some(text("a")));
        // The first was the last to poll: its task would be woken. It leaves, and the second still hears.
        assert_eq!(second.next().now_or_never(), None);
        assert_eq!(first.next().now_or_never(), None);
        let waits = tokio::spawn(async move { (second.next().await, second) });
        tokio::task::yield_now().await;
        drop(first);
        upstream.send(text("b")).await.expect("it is heard");
        let (heard, mut second) = waits.await.expect("no panic");
        assert_eq!(heard, Some(text("b")));
        drop(flight);
        assert!(!upstream.is_closed());
        drop(upstream.clone());
        upstream.close_channel();
        assert_eq!(second.next().await, None);
        assert_eq!(second.next().await, None);
    }

    #[tokio::test]
    async fn the_last_to_leave_ends_it() {
        let (upstream, answer) = futures::channel::mpsc::channel::<Item>(1);
        let flight = Arc::new(Flight::new(answer.boxed()));
        let (first, second) = (flight.join(), flight.join());
        drop((first, flight));
        assert!(!upstream.is_closed());
        drop(second);
        assert!(upstream.is_closed());
    }

    #[tokio::test]
    async fn callers_that_wait_at_once_all_hear_everything() {
        let items: Vec<Item> = (0..200).map(|n| text(&n.to_string())).collect();
        let slow = futures::stream::iter(items.clone()).then(|item| async {
            tokio::task::yield_now().await;
            item
        });
        let flight = Arc::new(Flight::new(slow.boxed()));
        let callers: Vec<_> = (0..8).map(|_| tokio::spawn(flight.join().collect::<Vec<Item>>())).collect();
        drop(flight);
        for caller in callers {
            assert_eq!(caller.await.expect("no panic"), items);
        }
    }
}
