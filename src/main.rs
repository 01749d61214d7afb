//! The `timbre` command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use timbre::bench::{self, Bench};
use timbre::config;
use timbre::eval::{self, Eval};
use timbre::models_command::{self, ModelsCommand};
use timbre::train::{self, Train};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Voice-aware LLM router and realtime voice server.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The configuration file; without one everything runs here, on embedded models, for this machine only.
    #[arg(long, global = true, env = "TIMBRE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve callers.
    Serve,
    /// Play a recording into the pipeline and show the turn.
    Talk {
        /// A recording: wav, flac, mp3 or Ogg-Opus.
        file: PathBuf,
        /// Where to write the spoken answer.
        #[arg(long)]
        out: Option<PathBuf>,
        /// The model or router that answers.
        #[arg(long)]
        model: Option<String>,
        /// Play only this much of its beginning, seconds.
        #[arg(long)]
        seconds: Option<f64>,
    },
    /// List, fetch and check models.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Measure quality, latency, load and cost, and print a table.
    Bench(Bench),
    /// Run recordings through the engines and say how good they are.
    Eval(Eval),
    /// Train what can be trained here, from your own recordings.
    #[command(subcommand)]
    Train(Train),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether it can be used, and if not, why.
    Check,
    /// Show the configuration in force, secrets hidden.
    Print,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    // Until it is known what is to be done: what is huge once stays so.
    let_pages_be_huge(!matches!(cli.command, Command::Serve));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let written = || config::load(cli.config.as_deref(), &environment);
    match cli.command {
        Command::Serve => serve(written()?.check(&environment)?).await,
        Command::Talk { file, out, model, seconds } => {
            let talk = timbre::talk::Talk { file, out, model, seconds };
            timbre::talk::run(written()?.check(&environment)?, talk).await
        }
        Command::Bench(what) => bench::run(what, cli.config.as_deref()).await,
        Command::Eval(what) => tokio::task::spawn_blocking(move || eval::run(&what)).await?,
        Command::Train(what) => tokio::task::spawn_blocking(move || train::run(what)).await?,
        Command::Models(command) => models_command::run(command).await,
        Command::Config(ConfigCommand::Check) => {
            written()?.check(&environment)?;
            println!("The configuration is fine.");
            Ok(())
        }
        Command::Config(ConfigCommand::Print) => {
            print!("{}", config::print(&written()?)?);
            Ok(())
        }
    }
}

async fn serve(config: config::Config) -> Result<()> {
    let_pages_be_huge(config.models.local);
    let running = timbre::serve::serve(config).await?;
    println!("Timbre listens on http://{}", running.address);
    shutdown_signal().await;
    running.stop();
    running.done.await??;
    Ok(())
}

/// Whether the system may back memory with pages of 2 MB. A gateway uses a small part of each: it holds a third less without them and is no
/// slower. Models, which fill theirs, gain from them.
fn let_pages_be_huge(huge: bool) {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(!huge) {
        tracing::debug!(%error, "Huge pages are as they were.");
    }
}

/// Resolves at Ctrl-C, or when the system asks the process to end.
async fn shutdown_signal() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "Only Ctrl-C will stop the server in good order.");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Logs go to stderr, `TIMBRE_LOG` chooses what (default: our own, at info).
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIMBRE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,timbre=info,web=info,router=info,models=info,ort=error,rmcp=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
