//! Where records of requests go: files of one JSON object a line, turned over by size.
//!
//! Whoever makes a record hands it over and goes on: a bounded queue, and a thread that writes. What does not fit the queue, or cannot be
//! written because the disk is full or the folder gone, is dropped and counted; no request is ever slowed or failed by it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use router::Record;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::config::RecordConfig;

/// Records that may wait: at 4,000 requests a second, one second. When it is full, the newest is dropped and counted.
const QUEUE: usize = 4_096;
/// Bytes gathered before they are written.
const BATCH: usize = 64 * 1_024;
/// How long records are gathered. At 4,000 requests a second the queue is a twentieth full then.
const GATHER: Duration = Duration::from_millis(50);
/// How long after a failure the file is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for what is still in the queue.
const FLUSH: Duration = Duration::from_secs(2);

enum Item {
    Record(Box<Record>),
    /// Everything before this has been written, or dropped.
    Flush(oneshot::Sender<()>),
}

/// Takes records. Cheap to clone; the thread ends when the last is dropped.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the thread that writes.
    pub fn start(config: RecordConfig) -> Result<Recorder> {
        let (queue, items) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: config.file.clone(),
            config,
            file: None,
            length: 0,
            batch: Vec::new(),
            lines: 0,
            failed: None,
            dropped: dropped.clone(),
        };
        let thread = thread::Builder::new().name("record".to_owned());
        thread.spawn(move || run(writer, items)).context("cannot start the thread that writes records")?;
        Ok(Recorder { queue, dropped })
    }

    /// Hands a record over. Never waits.
    pub fn record(&self, record: Record) {
        if self.queue.try_send(Item::Record(Box::new(record))).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Records that could not be kept.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything handed over so far has been written, two seconds at most.
    pub async fn flush(&self) {
        let flushed = async {
            let (done, is_done) = oneshot::channel();
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH, flushed).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to do")]
fn run(mut writer: Writer, mut items: mpsc::Receiver<Item>) {
    while let Some(first) = items.blocking_recv() {
        writer.take(first);
        // One wake-up and one write for many records.
        thread::sleep(GATHER);
        // What waits already goes into the same write.
        while let Ok(item) = items.try_recv() {
            writer.take(item);
        }
        writer.write(Instant::now());
    }
}

struct Writer {
    config: RecordConfig,
    path: PathBuf,
    file: Option<File>,
    /// Bytes of the open file.
    length: u64,
    /// Lines not written yet, and how many.
    batch: Vec<u8>,
    lines: u64,
    /// Since when nothing can be written.
    failed: Option<Instant>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn take(&mut self, item: Item) {
        match item {
            Item::Record(record) => {
                let before = self.batch.len();
                match serde_json::to_writer(&mut self.batch, &record) {
                    Ok(()) => {
                        self.batch.push(b'\n');
                        self.lines += 1;
                    }
                    Err(_) => {
                        self.batch.truncate(before);
                        self.dropped.fetch_add(1, Relaxed);
                    }
                }
                if self.batch.len() >= BATCH {
                    self.write(Instant::now());
                }
            }
            Item::Flush(done) => {
                self.write(Instant::now());
                let _ = done.send(());
            }
        }
    }

    /// Writes what was gathered; where that fails, it is dropped.
    fn write(&mut self, now: Instant) {
        if self.lines == 0 {
            return;
        }
        let resting = self.failed.is_some_and(|since| now.duration_since(since) < RETRY);
        let written = if resting { Err(None) } else { self.append().map_err(Some) };
        match written {
            Ok(()) => {
                if self.failed.take().is_some() {
                    info!(file = %self.path.display(), dropped = self.dropped.load(Relaxed), "Records are written again.");
                }
            }
            Err(error) => {
                self.dropped.fetch_add(self.lines, Relaxed);
                if let Some(error) = error {
                    if self.failed.is_none() {
                        warn!(file = %self.path.display(), %error, "Records cannot be written and are dropped; free the disk or change record.file.");
                    }
                    self.failed = Some(now);
                    // Opened afresh: the folder may have been made again, or the file turned over by somebody else.
                    self.file = None;
                }
            }
        }
        self.batch.clear();
        self.lines = 0;
    }

    fn append(&mut self) -> io::Result<()> {
        if self.file.is_some() && self.length > 0 && self.length + self.batch.len() as u64 > self.config.file_bytes {
            self.file = None;
            turn_over(&self.path, self.config.files)?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    fs::create_dir_all(folder)?;
                }
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.length = file.metadata()?.len();
                none.insert(file)
            }
        };
        file.write_all(&self.batch)?;
        self.length += self.batch.len() as u64;
        Ok(())
    }
}

/// `requests.ndjson` becomes `requests.ndjson.1`, that becomes `.2`, and the last of `files` goes.
fn turn_over(path: &Path, files: usize) -> io::Result<()> {
    let numbered = |n: usize| if n == 0 { path.to_owned() } else { PathBuf::from(format!("{}.{n}", path.display())) };
    if files <= 1 {
        return fs::remove_file(path);
    }
    for n in (0..files - 1).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("timbre-record-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn config(&self, file_bytes: u64, files: usize) -> RecordConfig {
            RecordConfig { file: self.0.join("requests.ndjson"), file_bytes, files, texts: false }
        }

        fn lines(&self, file: &str) -> Vec<serde_json::Value> {
            let text = fs::read_to_string(self.0.join(file)).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record(n: usize) -> Record {
        Record { id: format!("req_{n}"), dialect: "chat", ..Record::default() }
    }

    #[tokio::test]
    async fn records_become_lines_and_older_files_go() {
        let folder = Folder::new("lines");
        let line = serde_json::to_string(&record(10)).expect("it can be written").len() as u64 + 1;
        // Two lines a file, three files.
        let recorder = Recorder::start(folder.config(2 * line, 3)).expect("it starts");
        for n in 10..20 {
            recorder.record(record(n));
            recorder.flush().await;
        }
        let ids = |file: &str| folder.lines(file).iter().map(|line| line["id"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids("requests.ndjson"), ["req_18", "req_19"]);
        assert_eq!(ids("requests.ndjson.1"), ["req_16", "req_17"]);
        assert_eq!(ids("requests.ndjson.2"), ["req_14", "req_15"]);
        assert!(!folder.0.join("requests.ndjson.3").exists());
        assert_eq!(recorder.dropped(), 0);
        // A new process goes on in the same file.
        let again = Recorder::start(folder.config(1_000_000, 3)).expect("it starts");
        again.record(record(20));
        again.flush().await;
        assert_eq!(ids("requests.ndjson").len(), 3);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_drops_and_counts() {
        let folder = Folder::new("nowhere");
        fs::create_dir_all(&folder.0).expect("a folder");
        fs::write(folder.0.join("taken"), "a file where a folder should be").expect("a file");
        let config = RecordConfig { file: folder.0.join("taken/requests.ndjson"), ..folder.config(1_000, 2) };
        let recorder = Recorder::start(config).expect("it starts all the same");
        for n in 0..3 {
            recorder.record(record(n));
        }
        recorder.flush().await;
        assert_eq!(recorder.dropped(), 3);
    }

    #[test]
    fn after_a_failure_it_rests_and_then_tries_again() {
        let folder = Folder::new("again");
        fs::create_dir_all(&folder.0).expect("a folder");
        let blocked = folder.0.join("sub");
        fs::write(&blocked, "in the way").expect("a file");
        let config = RecordConfig { file: blocked.join("requests.ndjson"), ..folder.config(1_000_000, 2) };
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            path: config.file.clone(),
            config,
            file: None,
            length: 0,
            batch: Vec::new(),
            lines: 0,
            failed: None,
            dropped: dropped.clone(),
        };
        let start = Instant::now();
        let mut at = |ms: u64| {
            writer.take(Item::Record(Box::new(record(0))));
            writer.write(start + Duration::from_millis(ms));
            dropped.load(Relaxed)
        };
        assert_eq!(at(0), 1);
        fs::remove_file(&blocked).expect("it was there");
        assert_eq!(at(500), 2);
        assert_eq!(at(1_500), 2);
        assert_eq!(folder.lines("sub/requests.ndjson").len(), 1);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_never_waits() {
        let (queue, _items) = mpsc::channel(2);
        let recorder = Recorder { queue, dropped: Arc::default() };
        for n in 0..5 {
            recorder.record(record(n));
        }
        assert_eq!(recorder.dropped(), 3);
    }
}
