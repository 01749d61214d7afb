//! Looks after replicas: asks each from time to time whether it is there, so that one that went away is left out before a request finds
//! out, and one that came back is asked again.

use std::time::Duration;

use models::llm::presets::Wire;
use models::llm::quirks::Quirks;
use models::remote::Endpoint;
use router::{Replica, Replicas};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::{Dialect, ProviderConfig, ReplicaConfig, without_password};

/// Longest wait for a replica to say that it is there: it only lists its models.
const LONGEST: Duration = Duration::from_secs(2);

/// The replicas of a provider, each an endpoint like `endpoint` at an address of its own.
pub fn replicas(wire: Wire, endpoint: &Endpoint, quirks: Quirks, config: &ReplicaConfig) -> Replicas {
    let replica = |base_url: &String| Replica {
        name: without_password(base_url),
        model: wire.language_model(at(endpoint, base_url), quirks),
        embedder: wire.embedder(at(endpoint, base_url), quirks),
    };
    Replicas::new(config.base_urls.iter().map(replica).collect())
}

/// Watches the replicas of every provider that has any; dropping what this gives ends it.
pub fn watch(providers: &[ProviderConfig], router: &router::Router) -> JoinSet<()> {
    let mut watched = JoinSet::new();
    for provider in providers {
        let Dialect::Remote { endpoint, replicas: Some(config), .. } = &provider.dialect else { continue };
        let (Some(every), Some(replicas)) = (config.check_every, router.replicas_of(&provider.name)) else { continue };
        for (n, base_url) in config.base_urls.iter().enumerate() {
            watched.spawn(look_after(at(endpoint, base_url), every, replicas.clone(), n));
        }
    }
    watched
}

fn at(endpoint: &Endpoint, base_url: &str) -> Endpoint {
    Endpoint { base_url: base_url.to_owned(), ..endpoint.clone() }
}

async fn look_after(endpoint: Endpoint, every: Duration, replicas: Replicas, n: usize) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let replica = without_password(&endpoint.base_url);
    let mut was_up = true;
    loop {
        ticks.tick().await;
        let is_up = endpoint.is_up(LONGEST).await;
        replicas.set_up(n, is_up);
        match (was_up, is_up) {
            (true, false) => warn!(provider = %endpoint.name, %replica, "A replica is gone."),
            (false, true) => info!(provider = %endpoint.name, %replica, "A replica is back."),
            (true, true) | (false, false) => {}
        }
        was_up = is_up;
    }
}
