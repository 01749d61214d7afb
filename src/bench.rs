//! `timbre bench`: measures the server from the outside, over real sockets, and prints a Markdown table.
//!
//! The server runs as a process of its own with the default configuration and a language model that answers at once; callers play
//! recorded speech to it in real time. Nothing here knows how the server works, and nothing here is a test: figures depend on the machine.

mod barge_in;
mod client;
mod clips;
mod echo;
pub(crate) mod energy;
pub mod gateway;
mod http;
pub(crate) mod interruptions;
mod load;
mod noise;
mod playback;
pub(crate) mod process;
pub(crate) mod quantiles;
mod report;
mod roundtrip;
mod server;
pub(crate) mod stt;
mod turn;
pub mod upstream;
pub(crate) mod words;

use std::path::Path;
use std::time::Duration;

use self::client::Ends;
pub(crate) use self::clips::folder as data_folder;
pub(crate) use self::energy::speech;
pub(crate) use self::noise::noise as quiet;
pub(crate) use self::quantiles::Quantiles;
use self::report::{Report, Row};
use self::server::Server;

/// Measures quality, latency, load and cost.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// How many read clips make turns.
    #[arg(long, default_value_t = 40)]
    clips: usize,
    /// How many of them are played at a time.
    #[arg(long, default_value_t = 2)]
    parallel: usize,
    /// How many sessions talk at once, a line each.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 8, 16, 24, 32])]
    sessions: Vec<usize>,
    /// Over how many requests the gateway's memory should stay flat; 1000000 is the whole measurement.
    #[arg(long, default_value_t = 50_000)]
    requests: u64,
    /// How long each round of load on the gateway lasts, seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Everything.
    All,
    /// Word error rate and CPU time of the recognisers.
    Stt,
    /// Final transcripts after the end of a turn.
    Finals,
    /// End of speech to first reply byte and first audible sample.
    Turn,
    /// Clips cut off early against latency.
    Endpoint,
    /// The turn with the embedded language model.
    EmbeddedTurn,
    /// Speech onset to the last byte of the reply it interrupts.
    Bargein,
    /// Speech and other sound over an answer: which interrupts.
    Interruptions,
    /// An answer that is played aloud: what its echo does, with and without echo cancellation.
    Echo,
    /// Many talking sessions.
    Sessions,
    /// Many silent sessions.
    Silence,
    /// Memory with default models loaded.
    Memory,
    /// Speech out, transcribed back.
    Roundtrip,
    /// Time, memory and rate of requests that pass through to a provider.
    Gateway,
    /// What callers get when providers fail.
    Faults,
}

/// Read speech with texts.
const READ: &str = "stt/en/librispeech_other";
/// All of it.
const ALL_READ: usize = 50;
/// Turns of a slow language model.
const FEW: usize = 10;
/// The model that answers at once, as the server knows it.
const INSTANT: &str = "bench/short";
/// The one that talks on.
const TALKATIVE: &str = "bench/long";
/// The default embedded model.
const EMBEDDED: &str = "embedded/smollm2-135m";

/// Measures a server with the keys of the file `config`, or a default one, and prints.
pub async fn run(bench: Bench, config: Option<&Path>) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    if bench.what == What::All {
        for what in What::EACH {
            // One figure that cannot be had must not cost the others.
            let failed = |error| vec![Row::new(format!("{what:?}"), "", format!("not measured: {error:#}"))];
            rows.extend(measure(&bench, config, *what).await.unwrap_or_else(failed));
        }
    } else {
        rows = measure(&bench, config, bench.what).await?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    print!("{}", Report { command: format!("timbre {command}"), cores, rows });
    Ok(())
}

impl What {
    /// What `all` measures, in the order of the table. The curve holds the turns of the default setting too, but in a run of its own, so
    /// that every figure can be had alone.
    const EACH: &[What] = &[
        What::Stt,
        What::Finals,
        What::Turn,
        What::Endpoint,
        What::Bargein,
        What::Interruptions,
        What::Echo,
        What::EmbeddedTurn,
        What::Sessions,
        What::Silence,
        What::Roundtrip,
        What::Memory,
        What::Gateway,
        What::Faults,
    ];
}

async fn measure(bench: &Bench, config: Option<&Path>, what: What) -> anyhow::Result<Vec<Row>> {
    if what == What::Stt {
        return stt::engines(&clips::load(READ, ALL_READ)?).await;
    }
    if what == What::Interruptions {
        return interruptions::rows().await;
    }
    if what == What::Echo {
        return echo::rows().await;
    }
    if what == What::Gateway {
        let effort = gateway::Effort { round: Duration::from_secs(bench.seconds.max(1)), requests: bench.requests };
        return gateway::rows(effort).await;
    }
    if what == What::Faults {
        return gateway::fault_rows().await;
    }
    let server = Server::start(config).await?;
    let clips = || clips::load(READ, bench.clips);
    let few = || clips::load(READ, bench.clips.min(FEW));
    let (addr, parallel) = (server.addr, bench.parallel);
    match what {
        What::All | What::Stt | What::Interruptions | What::Echo | What::Gateway | What::Faults => Ok(vec![]),
        What::Finals => stt::finals(addr, INSTANT, &few()?, parallel).await,
        What::Turn => Ok(turn::rows(&turn::play(addr, INSTANT, Ends::Default, &clips()?, parallel).await?)),
        What::EmbeddedTurn => Ok(turn::embedded_rows(&turn::play(addr, EMBEDDED, Ends::Default, &few()?, 1).await?)),
        What::Endpoint => {
            let clips = clips()?;
            let mut settings = Vec::new();
            for (name, ends) in SETTINGS {
                settings.push((name.to_owned(), turn::play(addr, INSTANT, ends, &clips, parallel).await?));
            }
            Ok(turn::curve(&settings))
        }
        What::Bargein => barge_in::rows(addr, TALKATIVE, &clips::load(READ, bench.clips.min(FEW * 2))?).await,
        What::Sessions => load::talking(&server, INSTANT, clips()?, &bench.sessions).await,
        What::Silence => load::silent(&server, INSTANT).await,
        What::Memory => {
            let clips = few()?;
            load::memory(&server, INSTANT, &clips[0]).await
        }
        What::Roundtrip => roundtrip::rows(addr).await,
    }
}

/// Points of the curve.
const SETTINGS: [(&str, Ends); 4] = [
    ("eagerness high", Ends::Eagerness("high")),
    ("eagerness medium", Ends::Eagerness("medium")),
    ("eagerness low", Ends::Eagerness("low")),
    ("a fixed silence of 500 ms", Ends::Silence(500)),
];
