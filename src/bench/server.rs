//! The server that is measured: a process of its own, so that its CPU time and memory are its own.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::http;
use super::upstream::{LONG, SHORT, Upstream};

/// Loading the default models takes a few seconds; a loaded machine takes longer.
const READY: Duration = Duration::from_secs(120);
/// Short, because the time to the first answer is measured too.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A running server; it is stopped when this is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    child: Child,
    folder: PathBuf,
    _upstream: Upstream,
}

impl Server {
    /// Starts `timbre serve` on a free port of loopback with the keys of the file `config` and a provider `bench` that answers at once,
    /// and waits until it is ready.
    pub(crate) async fn start(config: Option<&Path>) -> anyhow::Result<Server> {
        let keys = match config {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => String::new(),
        };
        let upstream = Upstream::start().await?;
        Server::launch(&format!("{keys}\n{}", provider(upstream.addr)), upstream).await
    }

    /// Starts `timbre serve` with the configuration `text`, which names `upstream`, and waits until it is ready.
    pub(crate) async fn launch(text: &str, upstream: Upstream) -> anyhow::Result<Server> {
        let folder = std::env::temp_dir().join(format!("timbre-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (file, log) = (folder.join("timbre.toml"), folder.join("server.log"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("no free port on loopback")?;
        let child = Command::new(std::env::current_exe().context("where this program lies is not known")?)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .env("TIMBRE_SERVER__LISTEN", addr.to_string())
            // Neither its routers nor its records are the user's.
            .env("XDG_STATE_HOME", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start `timbre serve`")?;
        let mut server = Server { addr, child, folder, _upstream: upstream };
        server.ready(&log).await?;
        Ok(server)
    }

    async fn ready(&mut self, log: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if matches!(http::get(self.addr, "/readyz").await, Ok((200, _))) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(10).collect();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                bail!("`timbre serve` did not become ready; it said:\n{last}");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may be gone already; there is nothing left to do about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn provider(upstream: SocketAddr) -> String {
    format!(
        "[[provider]]\nname = \"bench\"\ndialect = \"openai\"\nbase_url = \"http://{upstream}/v1\"\nmodels = [\"{SHORT}\", \"{LONG}\"]\n"
    )
}
