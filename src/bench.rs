//! `timbre bench`: measures the server from the outside, over real sockets, and prints a Markdown table.
//!
//! The server runs as a process of its own with the default configuration and a language model that answers at once; callers play
//! recorded speech to it in real time. Nothing here knows how the server works, and nothing here is a test: figures depend on the machine.

mod client;
mod clips;
mod energy;
mod http;
mod noise;
mod playback;
mod process;
mod quantiles;
mod report;
mod server;
mod stt;
mod turn;
mod upstream;
mod words;

use std::path::Path;

use self::client::Ends;
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
}

/// Read speech with texts.
const READ: &str = "stt/en/librispeech_other";
/// All of it.
const ALL_READ: usize = 50;
/// Turns of a slow language model.
const FEW: usize = 10;
/// The model that answers at once, as the server knows it.
const INSTANT: &str = "bench/short";
/// The default embedded model.
const EMBEDDED: &str = "embedded/smollm2-135m";

/// Measures a server with the keys of the file `config`, or a default one, and prints.
pub async fn run(bench: Bench, config: Option<&Path>) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let all = [What::Stt, What::Finals, What::Turn, What::Endpoint, What::EmbeddedTurn];
    let chosen = if bench.what == What::All { &all[..] } else { std::slice::from_ref(&bench.what) };
    for what in chosen {
        rows.extend(measure(&bench, config, *what).await?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    print!("{}", Report { command: format!("timbre {command}"), cores, rows });
    Ok(())
}

async fn measure(bench: &Bench, config: Option<&Path>, what: What) -> anyhow::Result<Vec<Row>> {
    let clips = clips::load(READ, if what == What::Stt { ALL_READ } else { bench.clips })?;
    if what == What::Stt {
        return stt::engines(&clips).await;
    }
    let server = Server::start(config).await?;
    let parallel = bench.parallel;
    match what {
        What::All | What::Stt => Ok(vec![]),
        What::Finals => stt::finals(server.addr, INSTANT, &clips, parallel).await,
        What::Turn => Ok(turn::rows(&turn::play(server.addr, INSTANT, Ends::Default, &clips, parallel).await?)),
        What::EmbeddedTurn => {
            let few = &clips[..clips.len().min(FEW)];
            Ok(turn::embedded_rows(&turn::play(server.addr, EMBEDDED, Ends::Default, few, 1).await?))
        }
        What::Endpoint => {
            let mut settings = Vec::new();
            for eagerness in ["high", "medium", "low"] {
                let turns = turn::play(server.addr, INSTANT, Ends::Eagerness(eagerness), &clips, parallel).await?;
                settings.push((format!("eagerness {eagerness}"), turns));
            }
            Ok(turn::curve(&settings))
        }
    }
}
