//! The calls in progress, by their ids: what a second controller attaches to and what is hung up from outside, whatever carries the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use router::limit::KeyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::ApiError;

/// Controllers of one call, beside its caller.
const MOST_CONTROLLERS: usize = 4;
/// Orders that wait for a call; it takes them as they come.
const ORDERS: usize = 8;
/// Events that wait for a controller: a second and more of a lively answer. One that reads slower is let go.
const TOLD: usize = 256;
/// Events of a controller that wait for the call. When it is full the controller waits.
const ASKED: usize = 16;

/// Every call in progress, of every transport; its clones are one list.
#[derive(Clone, Default)]
pub struct LiveCalls(Arc<Mutex<HashMap<String, Live>>>);

/// A call in progress.
#[derive(Clone)]
struct Live {
    key: KeyId,
    orders: mpsc::Sender<Order>,
    places: Arc<Semaphore>,
}

/// What a call is told from outside.
pub(crate) enum Order {
    /// Somebody else listens and commands from now on.
    Attach(Controller),
    /// It is over.
    HangUp,
}

/// The call's end of a controller.
pub(crate) struct Controller {
    /// Takes the events, as text.
    pub(crate) told: mpsc::Sender<String>,
    /// Gives the controller's own events.
    pub(crate) asked: mpsc::Receiver<String>,
}

/// The controller's end.
pub(crate) struct Attached {
    pub(crate) told: mpsc::Receiver<String>,
    pub(crate) asked: mpsc::Sender<String>,
    /// Its place among the controllers of the call.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A call's place in the list; it leaves the list when this is dropped.
pub(crate) struct Listed {
    calls: LiveCalls,
    name: String,
    orders: mpsc::Receiver<Order>,
}

impl LiveCalls {
    /// Lists a call of whoever has `key`.
    pub(crate) fn list(&self, id: &str, key: KeyId) -> Listed {
        let (sender, orders) = mpsc::channel(ORDERS);
        let name = stem(id).to_owned();
        let live = Live { key, orders: sender, places: Arc::new(Semaphore::new(MOST_CONTROLLERS)) };
        self.lock().insert(name.clone(), live);
        Listed { calls: self.clone(), name, orders }
    }

    /// Attaches a controller to the call named `id`, if it is one of the same key.
    pub(crate) fn attach(&self, id: &str, key: KeyId) -> Result<Attached, ApiError> {
        let live = self.find(id, key)?;
        let place = live.places.clone().try_acquire_owned().map_err(|_| {
            ApiError::new(429, "too_many_controllers", format!("The call {id:?} has {MOST_CONTROLLERS} controllers already."))
        })?;
        let (told, to_controller) = mpsc::channel(TOLD);
        let (asked, from_controller) = mpsc::channel(ASKED);
        order(&live, id, Order::Attach(Controller { told, asked: from_controller }))?;
        Ok(Attached { told: to_controller, asked, place })
    }

    /// Ends the call named `id`, if it is one of the same key.
    pub(crate) fn hang_up(&self, id: &str, key: KeyId) -> Result<(), ApiError> {
        order(&self.find(id, key)?, id, Order::HangUp)
    }

    /// Whether there is such a call; an error says that there is none.
    pub(crate) fn look(&self, id: &str, key: KeyId) -> Result<(), ApiError> {
        self.find(id, key).map(drop)
    }

    fn find(&self, id: &str, key: KeyId) -> Result<Live, ApiError> {
        // A call of somebody else's is none.
        let found = self.lock().get(stem(id)).filter(|live| live.key == key).cloned();
        found.ok_or_else(|| {
            let message =
                format!("There is no call {:?} in progress here; its id stands in the `Location` of the answer that began it.", cut(id));
            ApiError { param: Some("call_id".to_owned()), ..ApiError::new(404, "call_not_found", message) }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// The next order. Cancel-safe.
    pub(crate) async fn order(&mut self) -> Option<Order> {
        self.orders.recv().await
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.name);
    }
}

fn order(live: &Live, id: &str, order: Order) -> Result<(), ApiError> {
    live.orders
        .try_send(order)
        .map_err(|_| ApiError::new(409, "call_busy", format!("The call {:?} takes no orders now; try again.", cut(id))))
}

/// A call is `sess_…` to its session and `rtc_…` to its transport: what both have in common.
fn stem(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, stem)| stem)
}

/// As much of an id as an answer repeats.
fn cut(id: &str) -> String {
    id.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_found_by_either_name_by_its_own_key_while_it_lasts() {
        let calls = LiveCalls::default();
        let (own, other) = (KeyId::of("own"), KeyId::of("other"));
        let mut listed = calls.list("sess_1", own);
        for (id, key, status) in [("rtc_1", own, None), ("sess_1", own, None), ("sess_1", other, Some(404)), ("sess_2", own, Some(404))] {
            assert_eq!(calls.look(id, key).err().map(|error| error.status), status, "{id}");
        }
        calls.hang_up("rtc_1", own).expect("it is there");
        assert!(matches!(listed.order().await, Some(Order::HangUp)));
        let attached: Vec<_> = (0..MOST_CONTROLLERS).map(|_| calls.attach("rtc_1", own).expect("there is a place")).collect();
        assert_eq!(calls.attach("rtc_1", own).err().map(|error| error.status), Some(429));
        drop((attached, listed));
        assert_eq!(calls.look("rtc_1", own).err().map(|error| error.code), Some(Some("call_not_found")));
    }
}
