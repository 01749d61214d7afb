//! The whole server, as its configuration says, on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use timbre::serve::Running;

/// A server that is told to stop when it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
}

impl Server {
    /// Starts one from the text of a configuration file; nothing of the environment is seen.
    pub async fn start(config: &str) -> Server {
        Server::start_in(config, &[]).await
    }

    /// The same, in an environment.
    pub async fn start_in(config: &str, environment: &[(&str, &str)]) -> Server {
        let environment = [&[("TIMBRE_SERVER__LISTEN", "127.0.0.1:0")], environment].concat();
        let environment: Vec<_> = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = timbre::config::read(config, "test", &environment).and_then(|written| written.check(&environment));
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let running = timbre::serve::serve(config).await.expect("the server starts");
        Server { address: running.address, running }
    }

    /// Stops it and waits until it has.
    pub async fn stop(mut self) {
        self.running.stop();
        (&mut self.running.done).await.expect("it ends").expect("without an error");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.stop();
    }
}

/// A gateway to one provider in three dialects: `up` speaks OpenAI's, `claude` Anthropic's, `gem` Gemini's. Sections and keys of
/// sections in `more` go behind.
pub fn gateway(provider: SocketAddr, more: &str) -> String {
    format!(
        "default_model = \"up/ok\"\n[models]\nlocal = false\n\
         [[provider]]\nname = \"up\"\nbase_url = \"http://{provider}/v1\"\nmodels = [\"ok\"]\n\
         [[provider]]\nname = \"claude\"\ndialect = \"anthropic\"\nbase_url = \"http://{provider}/v1\"\napi_key_env = \"\"\n\
         [[provider]]\nname = \"gem\"\ndialect = \"gemini\"\nbase_url = \"http://{provider}/v1beta\"\napi_key_env = \"\"\n{more}\n"
    )
}

/// A router of one route and variant, as the configuration has it.
pub fn router(name: &str, model: &str, fallbacks: &[&str], more: &str) -> String {
    format!(
        "[[router]]\nname = \"{name}\"\n[router.default_route]\nvariants = [ {{ variant = {{ model_id = \"{model}\", models = {fallbacks:?}{more} }}, \
         weight = 100 }} ]\n"
    )
}

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    pub fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("timbre-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
