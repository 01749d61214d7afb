//! Realtime calls over WebSocket.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::call::Call;

/// Who answers calls. The call is over when the future is, and the other way round: a call that is over drops it.
pub type Answer = Arc<dyn Fn(Call) -> BoxFuture<'static, ()> + Send + Sync>;
