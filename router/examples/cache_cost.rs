//! What the cache costs a request: the key, a hit, a miss. `cargo run --release -p router --example cache_cost`.

use std::hint::black_box;
use std::time::Instant;

use futures::{FutureExt, StreamExt, stream};
use models::{Delta, Finish, Message, Prompt, Role};
use router::{Cache, CacheControl, CacheKey, CacheMode, CacheObject, CacheSettings, Lookup, Scope};

/// Repetitions of each measurement.
const TIMES: u32 = 2_000;

fn timed(what: &str, mut run: impl FnMut()) {
    let begun = Instant::now();
    (0..TIMES).for_each(|_| run());
    println!("{what}: {:.2} us", begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
}

fn main() {
    let prompt = |bytes: usize| {
        let messages = vec![Message::text(Role::System, "Be brief."), Message::text(Role::User, "x".repeat(bytes))];
        Prompt { messages, ..Prompt::default() }
    };
    let scope = Scope { tenant: "tenant", model: "timbre/support", router: Some(("support", 1)), route: "default", variant: Some("a") };
    let cache = Cache::new(CacheSettings::default(), None);
    let (control, route) = (CacheControl::default(), CacheObject { mode: Some(CacheMode::Exact), ..CacheObject::default() });
    for bytes in [200, 4_000, 120_000] {
        let prompt = prompt(bytes);
        timed(&format!("key of {bytes} bytes"), || {
            black_box(CacheKey::of(&scope, black_box(&prompt), &[]));
        });
    }
    let answer = || {
        let text = (0..16).map(|n| Ok(Delta::Text(format!("token{n} "))));
        stream::iter(text.chain([Ok(Delta::Finish(Finish::Stop))]).collect::<Vec<_>>()).boxed()
    };
    let ask = |prompt: &Prompt| {
        let served = cache.serve(Lookup { scope, prompt, control: &control, route: &route }, answer);
        served.deltas.count().now_or_never()
    };
    let known = prompt(200);
    timed("answer of 16 tokens without the cache", || {
        black_box(answer().count().now_or_never());
    });
    timed("a hit", || {
        black_box(ask(&known));
    });
    let mut n = 0;
    timed("a miss, recorded and kept", || {
        n += 1;
        black_box(ask(&prompt(200 + n)));
    });
}
