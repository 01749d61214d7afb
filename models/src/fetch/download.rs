//! Whole files over HTTP: resumed where they broke off, never longer than promised, kept only with the right hash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::index::{innermost, shown};
use super::{FetchError, Indexes, Progress, install};
use crate::manifest::{Package, Source, SourceKind};

/// How often a download is begun or taken up again before the source counts as failed; two in a row that bring nothing are enough.
const ATTEMPTS: usize = 4;
/// To open a connection, and between two pieces of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A progress message at most every so many bytes: a terminal shows no more.
const TELL_EVERY_BYTES: u64 = 1 << 19;

/// One downloaded (or local) file and what kind it is.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) kind: PartKind,
    /// Whether it is a download of ours, deleted once it is used.
    is_ours: bool,
}

/// How the files of a model lie in it.
pub(super) enum PartKind {
    Wheel,
    Tarball,
    /// It is the one file itself.
    Plain {
        name: String,
    },
}

impl Part {
    /// A file of our own making, its kind told by its ending.
    #[cfg(test)]
    pub(super) fn for_test(path: &Path) -> Part {
        let is_wheel = path.extension().is_some_and(|ending| ending == "whl");
        Part { path: path.to_owned(), kind: if is_wheel { PartKind::Wheel } else { PartKind::Tarball }, is_ours: false }
    }

    /// Deletes a download that is needed no more.
    pub(super) fn delete(&self) -> Result<(), FetchError> {
        if self.is_ours { fs::remove_file(&self.path).map_err(|error| FetchError::disk(&self.path, error)) } else { Ok(()) }
    }
}

/// Everything that `source` needs, in `downloads` or where it is.
pub(super) async fn parts(
    source: &Source,
    downloads: &Path,
    indexes: &Indexes,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<Part>, FetchError> {
    let mut parts = Vec::new();
    for package in &source.packages {
        let wanted: Vec<Wanted> = match package.source {
            SourceKind::Path => {
                let path = PathBuf::from(&package.name);
                install::check(&path, package.size, package.sha256.as_deref())?;
                // Taken whole, whatever the manifest calls it.
                let name = source.take.first().and_then(|take| take.from.first()).cloned().unwrap_or_default();
                parts.push(Part { path, kind: PartKind::Plain { name }, is_ours: false });
                continue;
            }
            SourceKind::Hub => {
                let names = source.take.iter().flat_map(|take| take.from.iter().chain(&take.with));
                names.map(|name| Wanted::of_hub(package, name, indexes)).collect::<Result<_, _>>()?
            }
            SourceKind::Pypi | SourceKind::Npm => vec![Wanted::of_registry(package)],
        };
        for wanted in wanted {
            let path = downloads.join(&wanted.file);
            if !wanted.is_there(&path) {
                fs::create_dir_all(downloads).map_err(|error| FetchError::disk(downloads, error))?;
                let client = client()?;
                let request = wanted.request(&client, package, indexes).await?;
                fetch(&client, &request, &wanted, &path, tell).await?;
            }
            tell(Progress::Downloaded { file: wanted.file.clone() });
            parts.push(Part { path, kind: wanted.kind, is_ours: true });
        }
    }
    Ok(parts)
}

/// The name a package has in the folder of downloads.
pub(super) fn file_name(package: &Package) -> String {
    let plain = || format!("{}-{}.tgz", package.name.replace(['/', '@'], "-"), package.version.as_deref().unwrap_or_default());
    package.file.clone().unwrap_or_else(plain)
}

/// One file to download.
struct Wanted {
    /// Its name in the folder of downloads.
    file: String,
    kind: PartKind,
    size: Option<u64>,
    sha256: Option<String>,
    /// For a hub: where it is. A registry has to be asked.
    url: Option<Url>,
}

impl Wanted {
    fn of_registry(package: &Package) -> Wanted {
        let kind = if package.source == SourceKind::Npm { PartKind::Tarball } else { PartKind::Wheel };
        Wanted { file: file_name(package), kind, size: package.size, sha256: package.sha256.clone(), url: None }
    }

    fn of_hub(package: &Package, name: &str, indexes: &Indexes) -> Result<Wanted, FetchError> {
        let url = indexes.hub_file(package, name)?;
        let revision = package.version.as_deref().unwrap_or("main");
        let file = format!("{}-{revision}-{name}", package.name).replace('/', "-");
        Ok(Wanted { file, kind: PartKind::Plain { name: name.to_owned() }, size: None, sha256: None, url: Some(url) })
    }

    /// Whether a complete download lies at `path`: one from before, or one put there by hand.
    fn is_there(&self, path: &Path) -> bool {
        path.is_file() && self.sha256.is_some() && install::check(path, self.size, self.sha256.as_deref()).is_ok()
    }

    async fn request(&self, client: &Client, package: &Package, indexes: &Indexes) -> Result<Request, FetchError> {
        let (url, token) = match (&self.url, package.source) {
            (Some(url), _) => (url.clone(), hub_token()),
            (None, SourceKind::Npm) => (indexes.tarball(client, package).await?, None),
            (None, _) => (indexes.wheel(client, package).await?, None),
        };
        Ok(Request { url, token })
    }
}

/// What to ask a server for.
struct Request {
    url: Url,
    /// The hub's, where there is one.
    token: Option<String>,
}

/// The token of the environment, else the one that the hub's own tools keep.
fn hub_token() -> Option<String> {
    std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()).or_else(|| hf_hub::Cache::from_env().token())
}

fn client() -> Result<Client, FetchError> {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built =
        Client::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE).user_agent(concat!("timbre/", env!("CARGO_PKG_VERSION")));
    built.build().map_err(|error| FetchError::Unreachable { what: "the network".to_owned(), detail: innermost(&error) })
}

/// Downloads to `path`, by way of a `.part` file that a later try goes on with.
async fn fetch(
    client: &Client,
    request: &Request,
    wanted: &Wanted,
    path: &Path,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<(), FetchError> {
    let part = path.with_file_name(format!("{}.part", wanted.file));
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let resumed = fs::metadata(&part).map_or(0, |found| found.len());
        match try_fetch(client, request, wanted, &part, tell).await {
            Ok(()) => {}
            Err(error @ FetchError::Unreachable { .. }) => {
                let grew = fs::metadata(&part).is_ok_and(|found| found.len() > resumed);
                last = Some(error);
                if !grew && attempt > 0 {
                    break;
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        match install::check(&part, wanted.size, wanted.sha256.as_deref()) {
            Ok(()) => return fs::rename(&part, path).map_err(|error| FetchError::disk(path, error)),
            Err(error) => {
                fs::remove_file(&part).map_err(|error| FetchError::disk(&part, error))?;
                // The beginning may be of another time; from scratch once more.
                if resumed == 0 || attempt + 1 == ATTEMPTS || error.is_local() {
                    return Err(renamed(error, wanted));
                }
                last = Some(renamed(error, wanted));
            }
        }
    }
    Err(last.unwrap_or_else(|| FetchError::Unreachable { what: wanted.file.clone(), detail: "it broke off".to_owned() }))
}

/// The fault of a `.part` file as the download's.
fn renamed(error: FetchError, wanted: &Wanted) -> FetchError {
    match error {
        FetchError::WrongContent { detail, .. } => FetchError::WrongContent { what: wanted.file.clone(), detail },
        other => other,
    }
}

async fn try_fetch(
    client: &Client,
    request: &Request,
    wanted: &Wanted,
    part: &Path,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<(), FetchError> {
    let disk = |error: io::Error| FetchError::disk(part, error);
    let broken = |error: reqwest::Error| FetchError::Unreachable { what: shown(&request.url), detail: innermost(&error.without_url()) };
    let had = fs::metadata(part).map_or(0, |found| found.len());
    if had > 0 && wanted.size == Some(had) {
        return Ok(());
    }
    let mut asked = client.get(request.url.clone());
    if had > 0 {
        asked = asked.header(RANGE, format!("bytes={had}-"));
    }
    if let Some(token) = &request.token {
        asked = asked.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let mut answer = asked.send().await.map_err(broken)?;
    let (mut file, mut done) = match answer.status() {
        StatusCode::PARTIAL_CONTENT if resumes_at(&answer, had) => (OpenOptions::new().append(true).open(part).map_err(disk)?, had),
        // A server that knows no ranges sends all of it.
        StatusCode::OK => (File::create(part).map_err(disk)?, 0),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            fs::remove_file(part).map_err(disk)?;
            return Err(FetchError::Unreachable { what: shown(&request.url), detail: "it does not go on where it broke off".to_owned() });
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(FetchError::Unreachable { what: shown(&request.url), detail: format!("it answers {status}") });
        }
        status => return Err(FetchError::Gone { what: wanted.file.clone(), detail: format!("{} answers {status}", shown(&request.url)) }),
    };
    let total = wanted.size.or_else(|| answer.content_length().map(|rest| done + rest));
    let mut told = None;
    while let Some(piece) = answer.chunk().await.map_err(broken)? {
        done += piece.len() as u64;
        if wanted.size.is_some_and(|size| done > size) {
            drop(file);
            fs::remove_file(part).map_err(disk)?;
            return Err(FetchError::WrongContent { what: wanted.file.clone(), detail: "it is longer than it should be".to_owned() });
        }
        file.write_all(&piece).map_err(disk)?;
        if told.is_none_or(|told| done >= told + TELL_EVERY_BYTES) {
            tell(Progress::Downloading { file: wanted.file.clone(), done, total });
            told = Some(done);
        }
    }
    tell(Progress::Downloading { file: wanted.file.clone(), done, total });
    file.sync_all().map_err(disk)
}

/// Whether an answer in part begins where we left off (RFC 9110, section 14.4).
fn resumes_at(answer: &Response, had: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()) == Some(had)
}
