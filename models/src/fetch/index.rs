//! Where packages are: the index that pip uses here, the registry that npm uses here, the hub of the environment.
//!
//! Their addresses are asked of the package managers themselves, so a mirror that a machine is set up for is used here, too.

use std::process::Command;
use std::sync::OnceLock;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use super::FetchError;
use crate::manifest::Package;

/// PEP 691, and PEP 503 for an index that knows nothing newer.
const SIMPLE_API: &str = "application/vnd.pypi.simple.v1+json, text/html;q=0.2";
/// npm's short form of a package's description.
const PACKUMENT: &str = "application/vnd.npm.install-v1+json, application/json;q=0.5";
/// Prints the index that pip would use if nobody configured one.
const PIP_DEFAULT: &str = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";

/// The addresses, each asked for once, when first needed.
#[derive(Debug, Default)]
pub struct Indexes {
    python: OnceLock<Option<String>>,
    node: OnceLock<Option<String>>,
    /// `None`: as `HF_ENDPOINT` says.
    hub: Option<String>,
}

impl Indexes {
    /// As the environment and the package managers say.
    pub fn of_this_machine() -> Indexes {
        Indexes::default()
    }

    /// Fixed ones: a Python package index (its simple API), an npm registry, and a hub.
    pub fn fixed(python: &str, node: &str, hub: &str) -> Indexes {
        let known = |address: &str| OnceLock::from(Some(address.to_owned()));
        Indexes { python: known(python), node: known(node), hub: Some(hub.to_owned()) }
    }

    /// The address of a file in a repository on the hub.
    pub(super) fn hub_file(&self, package: &Package, name: &str) -> Result<Url, FetchError> {
        let malformed = |detail: String| FetchError::Malformed { what: format!("{} on the hub", package.name), detail };
        let mut builder = hf_hub::api::sync::ApiBuilder::from_env().with_progress(false);
        if let Some(hub) = &self.hub {
            builder = builder.with_endpoint(hub.clone());
        }
        let api = builder.build().map_err(|error| malformed(error.to_string()))?;
        let revision = package.version.clone().unwrap_or_else(|| "main".to_owned());
        let repository = api.repo(hf_hub::Repo::with_revision(package.name.clone(), hf_hub::RepoType::Model, revision));
        Url::parse(&repository.url(name)).map_err(|error| malformed(error.to_string()))
    }

    /// The address of a wheel.
    pub(super) async fn wheel(&self, client: &Client, package: &Package) -> Result<Url, FetchError> {
        let index = self.python.get_or_init(python_index).as_deref().ok_or(FetchError::NoIndex {
            advice: "no Python package index is known here: install pip, or set PIP_INDEX_URL to the address of one",
        })?;
        let file = package.file.as_deref().unwrap_or_default();
        let page = join(index, &format!("{}/", normalised(&package.name)))?;
        let (base, body) = get(client, page, SIMPLE_API, &package.name).await?;
        let links = if body.trim_start().starts_with('{') { json_links(&body) } else { Some(html_links(&body)) };
        let links = links.ok_or_else(|| FetchError::Malformed { what: shown(&base), detail: "it is no simple API answer".to_owned() })?;
        let link = links.into_iter().find(|(name, _)| name == file);
        let (_, link) =
            link.ok_or_else(|| FetchError::Gone { what: file.to_owned(), detail: format!("{} does not list it", shown(&base)) })?;
        base.join(&link).map_err(|error| FetchError::Malformed { what: shown(&base), detail: error.to_string() })
    }

    /// The address of an npm tarball.
    pub(super) async fn tarball(&self, client: &Client, package: &Package) -> Result<Url, FetchError> {
        let registry = self.node.get_or_init(node_registry).as_deref().ok_or(FetchError::NoIndex {
            advice: "no npm registry is known here: install npm, or set NPM_CONFIG_REGISTRY to the address of one",
        })?;
        let page = join(registry, &package.name.replace('/', "%2f"))?;
        let (base, body) = get(client, page, PACKUMENT, &package.name).await?;
        let malformed = |detail: String| FetchError::Malformed { what: shown(&base), detail };
        let packument: serde_json::Value = serde_json::from_str(&body).map_err(|error| malformed(error.to_string()))?;
        let version = package.version.as_deref().unwrap_or_default();
        let link = packument["versions"][version]["dist"]["tarball"].as_str();
        let link = link.ok_or_else(|| FetchError::Gone {
            what: format!("{} {version}", package.name),
            detail: format!("{} does not list it", shown(&base)),
        })?;
        base.join(link).map_err(|error| malformed(error.to_string()))
    }
}

/// An address without the name and password that may stand in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Only an address that cannot have them refuses.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

async fn get(client: &Client, url: Url, accept: &str, what: &str) -> Result<(Url, String), FetchError> {
    let unreachable = |error: reqwest::Error| FetchError::Unreachable { what: shown(&url), detail: innermost(&error.without_url()) };
    let answer = client.get(url.clone()).header("accept", accept).send().await.map_err(unreachable)?;
    match answer.status() {
        status if status.is_success() => {
            let base = answer.url().clone();
            Ok((base, answer.text().await.map_err(unreachable)?))
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(FetchError::Unreachable { what: shown(&url), detail: format!("it answers {status}") })
        }
        status => Err(FetchError::Gone { what: what.to_owned(), detail: format!("{} answers {status}", shown(&url)) }),
    }
}

/// What a chain of errors began with; the outer ones only say that a request failed.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `path` under `base`, whether or not that ends in a slash.
fn join(base: &str, path: &str) -> Result<Url, FetchError> {
    let malformed = |detail: String| FetchError::Malformed { what: "the address of the package index".to_owned(), detail };
    let base = Url::parse(&format!("{}/", base.trim_end_matches('/'))).map_err(|error| malformed(error.to_string()))?;
    base.join(path).map_err(|error| malformed(error.to_string()))
}

/// A project's name as indexes write it (PEP 503, "Normalized Names").
fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// File names and links of a JSON answer (PEP 691).
fn json_links(body: &str) -> Option<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Project {
        files: Vec<Link>,
    }
    #[derive(Deserialize)]
    struct Link {
        filename: String,
        url: String,
    }
    let project: Project = serde_json::from_str(body).ok()?;
    Some(project.files.into_iter().map(|link| (link.filename, link.url)).collect())
}

/// File names and links of an HTML answer (PEP 503): the text and `href` of its anchors.
fn html_links(body: &str) -> Vec<(String, String)> {
    let anchors = body.split("<a ").skip(1);
    let link = |anchor: &str| {
        let (attributes, rest) = anchor.split_once('>')?;
        let (_, value) = attributes.split_once("href=")?;
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let href = value[1..].split(quote).next()?.replace("&amp;", "&");
        let text = rest.split('<').next()?.trim().to_owned();
        Some((text, href.split('#').next()?.to_owned()))
    };
    anchors.filter_map(link).collect()
}

fn python_index() -> Option<String> {
    let from_environment = std::env::var("PIP_INDEX_URL").ok().filter(|url| !url.is_empty());
    from_environment
        .or_else(|| says("pip", &["config", "get", "global.index-url"]))
        .or_else(|| says("python3", &["-m", "pip", "config", "get", "global.index-url"]))
        .or_else(|| says("python3", &["-c", PIP_DEFAULT]))
}

fn node_registry() -> Option<String> {
    let from_environment = ["NPM_CONFIG_REGISTRY", "npm_config_registry"].into_iter().find_map(|name| std::env::var(name).ok());
    from_environment.filter(|url| !url.is_empty()).or_else(|| says("npm", &["config", "get", "registry"]))
}

/// The first line that a command prints, if it is an address.
fn says(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::trim).filter(|line| line.starts_with("http")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (name, expected) in [("Silero_VAD", "silero-vad"), ("a.-_b", "a-b"), ("hibari-tts", "hibari-tts")] {
            assert_eq!(normalised(name), expected);
        }
    }

    #[test]
    fn links_are_read_from_html() {
        let page = r##"<!DOCTYPE html><html><body><h1>Links for x</h1>
            <a href="../../files/x-1.whl#sha256=ab" data-requires-python="&gt;=3">x-1.whl</a><br/>
            <a class="y" href='http://h/x-2.whl?a=1&amp;b=2'> x-2.whl </a> <a name="z">no link</a></body></html>"##;
        let expected = [("x-1.whl", "../../files/x-1.whl"), ("x-2.whl", "http://h/x-2.whl?a=1&b=2")];
        assert_eq!(html_links(page), expected.map(|(name, link)| (name.to_owned(), link.to_owned())));
        for broken in ["", "<a ", "<a href", "<a href=>", "<a href=\"", "<a href=\"x\">"] {
            assert!(html_links(broken).iter().all(|(name, _)| name.is_empty()), "{broken}");
        }
    }

    #[test]
    fn addresses_are_joined_and_shown_without_secrets() {
        let url = join("http://user:secret@index.test/simple", "x/").expect("an address");
        assert_eq!(shown(&url), "http://index.test/simple/x/");
        assert!(join("not an address", "x").is_err());
    }
}
