//! What calls over WebRTC cost: the transport alone, with a session behind it that answers without a pause and thinks nothing.
//!
//! ```sh
//! cargo run --release -p web --example calls -- --sessions 60 --seconds 60
//! cargo run --release -p web --example calls -- --churn 1000
//! ```
//!
//! The server is a process of its own, so that its CPU time and memory are its own; the callers are clients of the crate `rtc` on the same
//! machine, and send Opus as a browser does, 50 packets a second. `--seconds 600` is a call of ten minutes.

mod caller;
mod machine;
mod server;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use caller::{Caller, Heard};
use machine::Machine;

/// As the program that is measured has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, for whoever reads the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Calls that begin at the same time: more would measure the queue of the handshakes.
const AT_ONCE: usize = 10;
/// Of the calls that come and go, one in so many is left without a word.
const RUDE: usize = 10;
/// Calls that come and go before memory is measured for the first time: they make what is kept for later ones.
const WARM: usize = 200;
/// After this a call that was left without a word is over, with all that was its.
const FORGOTTEN: Duration = Duration::from_secs(40);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.first().is_some_and(|first| first == "serve") {
        return runtime.block_on(server::serve());
    }
    let number = |name: &str| -> Option<usize> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let server = Server::start()?;
    runtime.block_on(async {
        match number("--churn") {
            Some(calls) => churn(&server, calls).await,
            None => load(&server, number("--sessions").unwrap_or(60), number("--seconds").unwrap_or(60)).await,
        }
    })
}

/// The server; it is stopped when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Server, Failure> {
        let mut child = Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
        Ok(Server { address: address.trim().parse()?, child })
    }

    /// CPU time so far: fields 14 and 15 of its stat, in hundredths of a second (proc(5)).
    fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, std::num::ParseIntError>>()?;
        Ok(Duration::from_millis(10) * ticks)
    }

    /// Memory that is in RAM now, MB.
    fn memory(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1_024.0 / 1e6)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; there is nothing left to do about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Many calls for a while.
async fn load(server: &Server, sessions: usize, seconds: usize) -> Result<(), Failure> {
    let mut callers = Vec::new();
    while callers.len() < sessions {
        callers.extend(dial(server.address, AT_ONCE.min(sessions - callers.len())).await?);
    }
    sleep(Duration::from_secs(2)).await;
    let (before, begun) = (server.cpu()?, Instant::now());
    let machine = Machine::watch();
    let mut talking = JoinSet::new();
    for mut caller in callers {
        talking.spawn(async move {
            let heard = caller.talk(Duration::from_secs(seconds as u64)).await;
            caller.hang_up();
            heard
        });
    }
    let mut all = Heard::default();
    while let Some(heard) = talking.join_next().await {
        all.add(&heard??);
    }
    let cpu = server.cpu()?.saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{sessions} sessions for {seconds} s: {:.4} core a session, {cpu:.2} cores in all, {:.1} MB",
        cpu / sessions as f64,
        server.memory()?
    );
    println!(
        "{} packets heard, {} missing; {} gaps over 20 ms, the longest {} ms beyond its packet",
        all.packets,
        all.missing,
        all.gaps.len(),
        all.longest.as_millis()
    );
    let stalls = machine.stalls();
    let own = all.gaps.iter().filter(|gap| !stalls.iter().any(|stall| stall.explains(**gap))).count();
    println!("{} times in that the machine let threads that only sleep wait as well; {own} gaps lie elsewhere", stalls.len());
    Ok(())
}

/// Calls that come and go, some of them rudely.
async fn churn(server: &Server, calls: usize) -> Result<(), Failure> {
    come_and_go(server.address, WARM).await?;
    sleep(FORGOTTEN).await;
    let before = server.memory()?;
    come_and_go(server.address, calls).await?;
    sleep(FORGOTTEN).await;
    let after = server.memory()?;
    println!(
        "{calls} calls came and went, {} of them without a word: {before:.1} MB before, {after:.1} MB after, {:+.1} %",
        calls / RUDE,
        (after / before - 1.0) * 100.0
    );
    Ok(())
}

async fn come_and_go(address: SocketAddr, calls: usize) -> Result<(), Failure> {
    let mut gone = 0;
    while gone < calls {
        let mut talking = JoinSet::new();
        for mut caller in dial(address, AT_ONCE.min(calls - gone)).await? {
            gone += 1;
            let rude = gone % RUDE == 0;
            talking.spawn(async move {
                let talked = caller.talk(Duration::from_millis(200)).await;
                if !rude {
                    caller.hang_up();
                }
                talked.map(drop)
            });
        }
        while let Some(talked) = talking.join_next().await {
            talked??;
        }
    }
    Ok(())
}

/// So many calls at the same time.
async fn dial(address: SocketAddr, count: usize) -> Result<Vec<Caller>, Failure> {
    let mut dialling = JoinSet::new();
    for _ in 0..count {
        dialling.spawn(Caller::dial(address));
    }
    let mut callers = Vec::new();
    while let Some(caller) = dialling.join_next().await {
        callers.push(caller??);
    }
    Ok(callers)
}
