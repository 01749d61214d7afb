//! Pulls against a server made here: an index, a wheel, and a hand on the line that cuts, lies and forgets.

use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// How the server treats the file itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// By the book.
    Good,
    /// Closes halfway, as long as nobody asks for a range.
    Cuts,
    /// Promises twice the length.
    PromisesMore,
    /// Knows no ranges.
    NoRanges,
    /// Answers 404.
    Forgets,
    /// Sends other bytes of the same length.
    Swaps,
    /// Closes at once.
    Refuses,
}

/// The index, its files by path, and what was asked of it.
#[derive(Clone)]
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `files` (path to body); bodies of `.whl` and `.tgz` in the given manner.
    async fn start(files: HashMap<String, Vec<u8>>, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let server = Server { address: address.clone(), asked: Arc::default() };
        let asked = server.asked.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = socket.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<usize>().ok());
                asked.lock().expect("nobody panics").push(range.map_or(path.clone(), |from| format!("{path} from {from}")));
                let answer = answer(files.get(&path), &address, range, manner, &path);
                let _ = socket.write_all(&answer).await;
            }
        });
        server
    }

    fn indexes(&self) -> Indexes {
        Indexes::fixed(&format!("{}/simple", self.address), &format!("{}/npm/", self.address), &self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

/// The bytes of one answer.
fn answer(body: Option<&Vec<u8>>, address: &str, range: Option<usize>, manner: Manner, path: &str) -> Vec<u8> {
    let is_file = path.ends_with(".whl") || path.ends_with(".tgz") || path.contains("/resolve/");
    let manner = if is_file { manner } else { Manner::Good };
    let (Some(body), true) = (body, manner != Manner::Forgets) else {
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    };
    let mut body = if is_file { body.clone() } else { String::from_utf8_lossy(body).replace("HERE", address).into_bytes() };
    let length = body.len();
    let mut answer = Vec::new();
    let mut promised = length;
    match (manner, range.filter(|from| *from <= length)) {
        (Manner::Refuses, _) => return answer,
        (Manner::Swaps, _) => body.iter_mut().for_each(|byte| *byte ^= 1),
        (Manner::PromisesMore, _) => promised = 2 * length,
        (Manner::Cuts, None) => body.truncate(length / 2),
        (Manner::Good | Manner::Cuts, Some(from)) => {
            body.drain(..from);
            promised = body.len();
            let _ = write!(answer, "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{length}\r\n", length - 1);
        }
        (Manner::Good | Manner::NoRanges | Manner::Forgets, _) => {}
    }
    if answer.is_empty() {
        answer.extend(b"HTTP/1.1 200 OK\r\n");
    }
    let _ = write!(answer, "content-length: {promised}\r\nconnection: close\r\n\r\n");
    answer.extend(body);
    answer
}

/// Not compressible, so that half a wheel is half its content.
fn weights() -> Vec<u8> {
    (0..40_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wheel() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, body) in [("p/a.bin", &weights()[..20_000]), ("p/b.bin", &weights()[20_000..]), ("p/__init__.py", b"")] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file can be started");
        archive.write_all(body).expect("memory can be written");
    }
    archive.finish().expect("memory can be written").into_inner()
}

/// A gzipped tar of one file.
fn tarball(name: &str, body: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    block[156] = b'0';
    block[257..262].copy_from_slice(b"ustar");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let padding = vec![0; body.len().next_multiple_of(512) - body.len() + 1_024];
    for part in [&block[..], body, &padding[..]] {
        gzip.write_all(part).expect("memory can be written");
    }
    gzip.finish().expect("memory can be written")
}

fn files() -> HashMap<String, Vec<u8>> {
    let page = |text: &str| text.as_bytes().to_vec();
    HashMap::from([
        ("/simple/my-weights/".to_owned(), page(r#"{"files": [{"filename": "w-1.whl", "url": "HERE/f/w-1.whl", "hashes": {}}]}"#)),
        ("/simple/other-weights/".to_owned(), page(r#"<html><a href="../../g/o-1.whl#sha256=00">o-1.whl</a></html>"#)),
        ("/npm/@s%2fw".to_owned(), page(r#"{"versions": {"1.0.0": {"dist": {"tarball": "HERE/n/w.tgz"}}}}"#)),
        ("/f/w-1.whl".to_owned(), wheel()),
        ("/g/o-1.whl".to_owned(), wheel()),
        ("/someone/weights/resolve/v1/onnx/w.bin".to_owned(), weights()),
        ("/n/w.tgz".to_owned(), tarball("package/w.bin", &weights())),
    ])
}

/// A manifest of the model `m`, one file joined of two; `packages` in the order they are tried.
fn manifest(packages: &[&str]) -> Manifest {
    let mut text = format!(
        "[[model]]\nname = \"m\"\njob = \"x\"\nlicence = \"MIT\"\nfiles = [{{ name = \"d/w.bin\", size = 40000, sha256 = \"{}\" }}]\n",
        sha256(&weights())
    );
    for package in packages {
        text.push_str(&format!(
            "[[model.sources]]\npackages = [{{ {package}, size = {}, sha256 = \"{}\" }}]\n\
             take = [{{ from = [\"p/a.bin\", \"p/b.bin\"], to = \"d/w.bin\" }}]\n",
            wheel().len(),
            sha256(&wheel())
        ));
    }
    Manifest::parse(&text).expect("it is well formed")
}

const FIRST: &str = "source = \"pypi\", name = \"My_Weights\", version = \"1\", file = \"w-1.whl\"";
const SECOND: &str = "source = \"pypi\", name = \"other.weights\", version = \"1\", file = \"o-1.whl\"";

/// A store in a folder of its own, deleted with it.
struct Scratch {
    store: Store,
    folder: PathBuf,
}

impl Scratch {
    fn new(name: &str, manifest: Manifest) -> Scratch {
        let folder = std::env::temp_dir().join(format!("timbre-fetch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Scratch { store: Store::with_manifest(Weights::new(&folder), manifest), folder }
    }

    async fn pull(&self, server: &Server) -> Result<Pulled, FetchError> {
        self.store.pull(self.store.manifest().get("m").expect("the model"), &server.indexes(), &|_| ()).await
    }

    /// Whether the model is there whole, and nothing else but locks.
    fn is_clean_and(&self, installed: &Installed) -> bool {
        let model = self.store.manifest().get("m").expect("the model");
        let left: Vec<String> = fs::read_dir(&self.folder)
            .expect("the folder is there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name != "m" && name != ".m.lock")
            .collect();
        assert!(left.is_empty(), "{left:?}");
        self.store.installed(model) == *installed && (*installed != Installed::Whole || self.store.verify(model).is_ok())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_model_comes_from_its_package_once() {
    let scratch = Scratch::new("good", manifest(&[FIRST]));
    let server = Server::start(files(), Manner::Good).await;
    assert_eq!(scratch.pull(&server).await.expect("it is served"), Pulled::Fetched);
    assert!(scratch.is_clean_and(&Installed::Whole));
    assert_eq!(server.asked(), ["/simple/my-weights/", "/f/w-1.whl"]);
    assert_eq!(scratch.pull(&server).await.expect("it is there"), Pulled::AlreadyThere);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_cut_download_is_resumed() {
    let scratch = Scratch::new("cut", manifest(&[FIRST]));
    let server = Server::start(files(), Manner::Cuts).await;
    assert_eq!(scratch.pull(&server).await.expect("it resumes"), Pulled::Fetched);
    assert!(scratch.is_clean_and(&Installed::Whole));
    assert_eq!(server.asked().last(), Some(&format!("/f/w-1.whl from {}", wheel().len() / 2)));
}

#[tokio::test]
async fn what_an_earlier_pull_left_is_used_if_it_fits() {
    let half = wheel()[..wheel().len() / 2].to_vec();
    for (name, manner, left) in [
        ("resumed", Manner::Good, half.clone()),
        ("no-ranges", Manner::NoRanges, half.clone()),
        ("of-another-time", Manner::Good, vec![7; half.len()]),
        ("too-long", Manner::Good, vec![7; wheel().len() + 9]),
    ] {
        let scratch = Scratch::new(name, manifest(&[FIRST]));
        fs::create_dir_all(scratch.folder.join(DOWNLOADS)).expect("a folder");
        fs::write(scratch.folder.join(DOWNLOADS).join("w-1.whl.part"), left).expect("a file");
        let server = Server::start(files(), manner).await;
        assert_eq!(scratch.pull(&server).await.unwrap_or_else(|error| panic!("{name}: {error}")), Pulled::Fetched);
        assert!(scratch.is_clean_and(&Installed::Whole), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_lies_or_fails_leaves_nothing_behind() {
    for (manner, says) in [
        (Manner::PromisesMore, "cannot be reached"),
        (Manner::Forgets, "404"),
        (Manner::Swaps, "its sha256 is"),
        (Manner::Refuses, "cannot be reached"),
    ] {
        let scratch = Scratch::new(&format!("{manner:?}"), manifest(&[FIRST]));
        let server = Server::start(files(), manner).await;
        let outcome = scratch.pull(&server).await;
        if manner == Manner::PromisesMore {
            // All that the manifest expects did come: the lie does no harm.
            assert_eq!(outcome.expect("it is whole"), Pulled::Fetched);
            continue;
        }
        let said = outcome.expect_err("it is not served").to_string();
        assert!(said.contains(says), "{manner:?}: {said}");
        assert!(said.contains("pip download --no-deps My_Weights==1") && said.contains(&sha256(&wheel())), "{said}");
        assert_eq!(scratch.store.installed(scratch.store.manifest().get("m").expect("the model")), Installed::Missing);
    }
}

#[tokio::test]
async fn the_second_source_stands_in_for_the_first() {
    let scratch = Scratch::new("second", manifest(&[FIRST, SECOND]));
    let mut files = files();
    files.insert("/f/w-1.whl".to_owned(), vec![0; wheel().len()]);
    let server = Server::start(files, Manner::Good).await;
    let told = Mutex::new(Vec::new());
    let model = scratch.store.manifest().get("m").expect("the model");
    let outcome = scratch.store.pull(model, &server.indexes(), &|progress| told.lock().expect("nobody panics").push(progress)).await;
    assert_eq!(outcome.expect("the second source serves it"), Pulled::Fetched);
    assert!(told.lock().expect("nobody panics").iter().any(|progress| matches!(progress, Progress::NextSource { .. })));
    assert_eq!(server.asked().last().map(String::as_str), Some("/g/o-1.whl"));
    assert!(scratch.is_clean_and(&Installed::Whole));
}

#[tokio::test]
async fn files_put_there_by_hand_need_no_network() {
    let scratch = Scratch::new("by-hand", manifest(&[FIRST]));
    fs::create_dir_all(scratch.folder.join(DOWNLOADS)).expect("a folder");
    fs::write(scratch.folder.join(DOWNLOADS).join("w-1.whl"), wheel()).expect("a file");
    let server = Server::start(HashMap::new(), Manner::Refuses).await;
    assert_eq!(scratch.pull(&server).await.expect("it is there"), Pulled::Fetched);
    assert!(server.asked().is_empty());
    assert!(scratch.is_clean_and(&Installed::Whole));
}

#[tokio::test]
async fn a_failed_installation_leaves_the_old_model_in_place() {
    let mut text = String::from("[[model]]\nname = \"m\"\njob = \"x\"\nlicence = \"MIT\"\n");
    text.push_str(&format!("files = [{{ name = \"w.bin\", size = 40000, sha256 = \"{}\" }}]\n", sha256(b"something else")));
    text.push_str(&format!(
        "[[model.sources]]\npackages = [{{ {FIRST} }}]\ntake = [{{ from = [\"p/a.bin\", \"p/b.bin\"], to = \"w.bin\" }}]\n"
    ));
    let scratch = Scratch::new("old", Manifest::parse(&text).expect("it is well formed"));
    fs::create_dir_all(scratch.folder.join("m")).expect("a folder");
    fs::write(scratch.folder.join("m/w.bin"), b"old").expect("a file");
    let server = Server::start(files(), Manner::Good).await;
    let said = scratch.pull(&server).await.expect_err("the hash is another").to_string();
    assert!(said.contains("its sha256 is"), "{said}");
    assert_eq!(fs::read(scratch.folder.join("m/w.bin")).expect("it is there"), b"old");
}

#[tokio::test]
async fn two_pulls_at_once_fetch_once() {
    let scratch = Scratch::new("twice", manifest(&[FIRST]));
    let server = Server::start(files(), Manner::Good).await;
    let (one, two) = tokio::join!(scratch.pull(&server), scratch.pull(&server));
    let mut outcomes = [one.expect("it is served"), two.expect("it is served")];
    outcomes.sort_by_key(|pulled| *pulled == Pulled::AlreadyThere);
    assert_eq!(outcomes, [Pulled::Fetched, Pulled::AlreadyThere]);
    assert_eq!(server.asked().len(), 2);
}

/// A manifest of one file `w.bin`, taken as `from` from `package`.
fn one_file(package: &str, from: &str) -> Manifest {
    let hash = sha256(&weights());
    let text = format!(
        "[[model]]\nname = \"m\"\njob = \"x\"\nlicence = \"MIT\"\nfiles = [{{ name = \"w.bin\", sha256 = \"{hash}\" }}]\n\
         [[model.sources]]\npackages = [{{ {package} }}]\ntake = [{{ from = [\"{from}\"], to = \"w.bin\" }}]\n"
    );
    Manifest::parse(&text).expect("it is well formed")
}

#[tokio::test]
async fn npm_tarballs_and_own_files_are_sources_too() {
    let server = Server::start(files(), Manner::Good).await;
    let npm = Scratch::new("npm", one_file("source = \"npm\", name = \"@s/w\", version = \"1.0.0\"", "package/w.bin"));
    assert_eq!(npm.pull(&server).await.expect("it is served"), Pulled::Fetched);
    assert!(npm.is_clean_and(&Installed::Whole));
    let own = std::env::temp_dir().join(format!("timbre-own-{}.bin", std::process::id()));
    fs::write(&own, weights()).expect("a file");
    let path = Scratch::new("path", one_file(&format!("source = \"path\", name = \"{}\"", own.display()), "w.bin"));
    assert_eq!(path.pull(&server).await.expect("it is there"), Pulled::Fetched);
    assert!(path.is_clean_and(&Installed::Whole));
    assert!(own.is_file(), "a file of one's own stays where it is");
    fs::remove_file(&own).expect("it is there");
}

#[tokio::test]
async fn a_hub_serves_single_files_and_is_resumed_like_a_registry() {
    for (name, manner) in [("hub", Manner::Good), ("hub-cut", Manner::Cuts)] {
        let server = Server::start(files(), manner).await;
        let scratch = Scratch::new(name, one_file("source = \"hub\", name = \"someone/weights\", version = \"v1\"", "onnx/w.bin"));
        assert_eq!(scratch.pull(&server).await.unwrap_or_else(|error| panic!("{name}: {error}")), Pulled::Fetched);
        assert!(scratch.is_clean_and(&Installed::Whole));
        assert_eq!(server.asked()[0], "/someone/weights/resolve/v1/onnx/w.bin");
    }
}

#[test]
fn a_tarball_or_wheel_that_lies_is_an_error() {
    let folder = std::env::temp_dir().join(format!("timbre-archives-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let good = tarball("package/w.bin", &weights());
    for (name, bytes) in
        [("cut.tgz", &good[..good.len() / 2]), ("no.tgz", b"not an archive"), ("no.whl", b"not an archive"), ("cut.whl", &wheel()[..900])]
    {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a file");
        let parts = [download::Part::for_test(&path)];
        assert!(archive::extract(&parts, &["package/w.bin"], Path::new(&folder)).is_err(), "{name}");
    }
    fs::remove_dir_all(&folder).expect("it is there");
}
