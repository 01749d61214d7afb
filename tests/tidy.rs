//! The rules of this repository that no compiler checks: who imports whom, how files are named, what documents promise, which licences
//! dependencies have. Each failure names the file and what is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates, each importing only those before it, with the folder of their manifest.
const CRATES: [(&str, &str); 5] = [("audio", "audio"), ("models", "models"), ("router", "router"), ("web", "web"), ("timbre", ".")];
/// Drawers that nobody owns.
const NAMELESS: [&str; 9] = ["utils", "util", "helpers", "common", "misc", "base", "manager", "types", "prelude"];
/// A longer file says two things.
const LONGEST_FILE: usize = 700;
/// Licences that an Apache-2.0 program may be built from; deny.toml has the same.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// TLS is rustls: nothing of the system's to match.
const BANNED: [&str; 3] = ["openssl", "openssl-sys", "native-tls"];
/// Where packages come from is the business of whoever fetches them. (Split, so that this file has none.)
const REGISTRIES: [&str; 4] =
    [concat!("pypi.", "org"), concat!("python", "hosted.org"), concat!("npm", "js.org"), concat!("npm", "js.com")];
/// Documents for readers.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/configuration.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of ours, relative to the root: what lies in the checkout and is neither hidden, built nor installed.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the checkout can be read") {
            let path = entry.expect("an entry of it, too").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(".git") || ["target", "node_modules", "corpus", "artifacts", ".venv"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path.strip_prefix(root()).expect("it lies below the root").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect()
}

/// The part of a source file that ships: nothing of a test file, and of others what stands before their tests.
fn shipped(path: &Path) -> String {
    let tested = path.components().any(|part| part.as_os_str() == "tests") || path.file_stem().is_some_and(|stem| stem == "tests");
    let text = if tested { String::new() } else { read(path) };
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Collects what is wrong, so that one run shows all of it.
fn none_wrong(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn crates_import_only_leftwards() {
    let mut wrong = Vec::new();
    for (at, (name, folder)) in CRATES.iter().enumerate() {
        let manifest: toml::Table = toml::from_str(&read(Path::new(folder).join("Cargo.toml"))).expect("a manifest");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(toml::Value::Table(dependencies)) = manifest.get(section) else { continue };
            for (right, _) in &CRATES[at..] {
                if dependencies.contains_key(*right) {
                    wrong.push(format!("{name}: [{section}] names {right}, which stands to its right"));
                }
            }
        }
    }
    none_wrong(wrong);
}

#[test]
fn files_say_what_they_are_and_are_named_by_it() {
    let mut wrong = Vec::new();
    for path in rust_files() {
        let (text, shown) = (read(&path), path.display());
        if !text.starts_with("//!") {
            wrong.push(format!("{shown}: does not begin with what it is (//!)"));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{shown}: has {lines} lines; at most {LONGEST_FILE}"));
        }
        let named = path.with_extension("");
        if let Some(name) = named.iter().filter_map(|part| part.to_str()).find(|part| NAMELESS.contains(part)) {
            wrong.push(format!("{shown}: {name:?} is no noun; name it after what it defines"));
        }
    }
    none_wrong(wrong);
}

#[test]
fn what_ships_does_not_unwrap_or_detach() {
    let mut wrong = Vec::new();
    for path in rust_files() {
        for (number, line) in shipped(&path).lines().enumerate() {
            let (line, at) = (line.trim(), format!("{}:{}", path.display(), number + 1));
            if line.starts_with("//") {
                continue;
            }
            if line.contains(".unwrap()") {
                wrong.push(format!("{at}: unwrap; return the error, or expect(\"why it holds\")"));
            }
            if line.starts_with("tokio::spawn(") {
                wrong.push(format!("{at}: a task that nobody owns; keep its handle and end it with its owner"));
            }
            if line.starts_with("#[allow(") {
                wrong.push(format!("{at}: allow; write #[expect(.., reason = \"..\")]"));
            }
        }
    }
    none_wrong(wrong);
}

#[test]
fn no_file_names_a_registry() {
    let mut wrong = Vec::new();
    for path in files() {
        // Binary files name nothing.
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for host in REGISTRIES.iter().filter(|host| text.contains(**host)) {
            wrong.push(format!("{}: names {host}", path.display()));
        }
    }
    none_wrong(wrong);
}

#[test]
fn the_example_configuration_can_be_used() {
    let environment = [("UPSTREAM_API_KEY".to_owned(), "a key".to_owned())];
    let check = |name: &str, text: &str| {
        let config = timbre::config::read(text, name, &environment).and_then(|written| written.check(&environment));
        config.unwrap_or_else(|error| panic!("{error}"))
    };
    let config = check("timbre.example.toml", &read("docs/timbre.example.toml"));
    assert_eq!((config.routers.len(), config.providers.len()), (1, 2));
    let readme = read("README.md");
    let mut examples = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).peekable();
    assert!(examples.peek().is_some(), "README.md shows no configuration");
    for example in examples {
        check("README.md", example);
    }
}

#[test]
fn every_key_is_documented() {
    let reference = read("docs/configuration.md");
    let printed = timbre::config::print(&timbre::config::Written::default()).expect("the defaults can be written");
    let table: toml::Table = toml::from_str(&printed).expect("and read again");
    let mut wrong = Vec::new();
    for (section, value) in &table {
        let keys: Vec<String> = match value {
            toml::Value::Table(keys) => keys
                .iter()
                .filter(|(_, value)| !value.is_array() || section == "auth")
                .map(|(key, _)| format!("`{section}.{key}`"))
                .collect(),
            toml::Value::Array(_) => vec![format!("`[[{section}]]`")],
            _ => vec![format!("`{section}`")],
        };
        wrong.extend(
            keys.into_iter().filter(|key| !reference.contains(key)).map(|key| format!("docs/configuration.md: nothing about {key}")),
        );
    }
    none_wrong(wrong);
}

#[test]
fn documents_name_commands_and_files_that_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_timbre")).arg("--help").output().expect("timbre starts");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands: BTreeSet<&str> =
        help.lines().skip_while(|line| *line != "Commands:").filter_map(|line| line.split_whitespace().next()).collect();
    let makefile = read("Makefile");
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        for (number, line) in read(document).lines().enumerate() {
            let at = format!("{document}:{}", number + 1);
            for code in codes(line) {
                let mut words = code.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("timbre"), Some(command)) if !commands.contains(command) => {
                        wrong.push(format!("{at}: there is no `timbre {command}`"))
                    }
                    (Some("make"), Some(target)) if !makefile.contains(&format!("\n{target}:")) => {
                        wrong.push(format!("{at}: there is no `make {target}`"));
                    }
                    _ => {}
                }
            }
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let beside = root().join(document).with_file_name(link);
                if !link.contains("://") && !link.starts_with('#') && !beside.exists() {
                    wrong.push(format!("{at}: links to {link}, which is not there"));
                }
            }
        }
    }
    none_wrong(wrong);
}

/// What stands between backquotes in a line, or the whole of a line that is a command.
fn codes(line: &str) -> Vec<&str> {
    if line.starts_with("make ") || line.starts_with("timbre ") {
        return vec![line];
    }
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_map_names_files_that_exist() {
    let mut wrong = Vec::new();
    for (number, line) in read("ARCHITECTURE.md").lines().enumerate() {
        for path in codes(line).into_iter().filter(|code| {
            code.contains('/')
                && code.split('/').all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)))
        }) {
            if !root().join(path).exists() {
                wrong.push(format!("ARCHITECTURE.md:{}: {path} is not there", number + 1));
            }
        }
    }
    none_wrong(wrong);
}

#[test]
fn dependencies_are_free_and_bring_no_system_tls() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo writes JSON");
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !allowed(licence) {
            wrong.push(format!("{name}: its licence {licence:?} is not one of {}", LICENCES.join(", ")));
        }
        if BANNED.contains(&name) {
            wrong.push(format!("{name}: TLS is rustls here; find the feature that brings it"));
        }
        if package["source"].as_str().is_some_and(|source| source.starts_with("git")) {
            wrong.push(format!("{name}: comes from a repository, not a registry"));
        }
    }
    none_wrong(wrong);
}

/// Whether an SPDX expression leaves a choice of allowed licences. Brackets are read as if they were not there, which is right for the
/// expressions that occur: every part of an AND must hold a choice.
fn allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace(" / ", " OR ").replace('/', " OR ").replace(" WITH LLVM-exception", "");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}
