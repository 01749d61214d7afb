//! Every version of every router that was made over HTTP: one file each, `<folder>/routers/<id>/<version>.json`, never changed once
//! written. Without a folder they are kept in memory and end with the process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One version of a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Counted from 1.
    pub version: u64,
    /// When it was made, seconds since 1970.
    pub time: u64,
    /// What made it.
    pub change: Change,
    /// The version that was rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The router as it is from then on; `None` where it was deleted.
    pub object: Option<Value>,
}

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The router was made.
    Created,
    /// It was changed.
    Updated,
    /// An earlier version came back.
    Restored,
    /// It was deleted.
    Deleted,
}

/// Where versions are kept.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    folder: Option<PathBuf>,
    memory: BTreeMap<String, Vec<Version>>,
}

impl Versions {
    /// Versions in a data folder, which need not be there yet; `None`: in memory.
    pub(crate) fn new(data: Option<&Path>) -> Versions {
        Versions { folder: data.map(|data| data.join("routers")), memory: BTreeMap::new() }
    }

    /// The newest version of every router, deleted ones too.
    pub(crate) fn newest(&self) -> Result<Vec<(String, Version)>, String> {
        let Some(folder) = &self.folder else {
            return Ok(self.memory.iter().filter_map(|(id, all)| Some((id.clone(), all.last()?.clone()))).collect());
        };
        let mut found = Vec::new();
        for name in names(folder).map_err(|error| cannot("read", folder, &error))? {
            if let Some(number) = self.numbers(&name)?.last() {
                found.push((name.clone(), self.read(&name, *number)?));
            }
        }
        Ok(found)
    }

    /// Every version of a router, oldest first.
    pub(crate) fn all(&self, id: &str) -> Result<Vec<Version>, String> {
        match &self.folder {
            Some(_) => self.numbers(id)?.into_iter().map(|number| self.read(id, number)).collect(),
            None => Ok(self.memory.get(id).cloned().unwrap_or_default()),
        }
    }

    /// Keeps a version. Once this returns it survives a loss of power; if it fails, nothing has changed.
    pub(crate) fn add(&mut self, id: &str, version: Version) -> Result<(), String> {
        let Some(folder) = &self.folder else {
            self.memory.entry(id.to_owned()).or_default().push(version);
            return Ok(());
        };
        let folder = folder.join(id);
        let path = folder.join(format!("{}.json", version.version));
        let text = serde_json::to_vec_pretty(&version).map_err(|error| format!("the router cannot be written: {error}"))?;
        write(&folder, &path, &text).map_err(|error| cannot("write", &path, &error))
    }

    fn numbers(&self, id: &str) -> Result<Vec<u64>, String> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let folder = folder.join(id);
        let names = names(&folder).map_err(|error| cannot("read", &folder, &error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, id: &str, number: u64) -> Result<Version, String> {
        let path = self.folder.iter().collect::<PathBuf>().join(id).join(format!("{number}.json"));
        let text = fs::read(&path).map_err(|error| cannot("read", &path, &error))?;
        serde_json::from_slice(&text)
            .map_err(|error| format!("{} is not a version of a router: {error}; delete or mend it", path.display()))
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}; see that the data folder is there and may be written to", path.display())
}

/// The names in a folder; none where it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes beside the path, then renames: the file is there whole or not at all.
fn write(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("tmp");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name is in the folder, and the folder is a file of its own.
    fs::File::open(folder)?.sync_all()
}
