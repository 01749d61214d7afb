//! From downloads to a model's folder: taken out, joined, converted, checked, and moved into place whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::download::Part;
use super::{FetchError, archive};
use crate::convert;
use crate::manifest::{Conversion, ModelEntry, Source, Take};

/// Installs `model` into its folder under `folder` from the `parts` of `source`.
pub(super) fn install(folder: &Path, model: &ModelEntry, source: &Source, parts: &[Part]) -> Result<(), FetchError> {
    let staging = folder.join(format!(".{}.new", model.name));
    let raw = folder.join(format!(".{}.raw", model.name));
    for left_over in [&staging, &raw] {
        remove(left_over)?;
        fs::create_dir_all(left_over).map_err(|error| FetchError::disk(left_over, error))?;
    }
    let done = fill(&staging, &raw, model, source, parts).and_then(|()| swap(folder, &staging, model));
    // Of a failure nothing stays but the downloads, which are right and need not come again.
    let cleaned = [&staging, &raw].into_iter().try_for_each(|path| remove(path));
    done.and(cleaned)
}

/// Puts the finished files of `model` into `staging`, by way of `raw`.
fn fill(staging: &Path, raw: &Path, model: &ModelEntry, source: &Source, parts: &[Part]) -> Result<(), FetchError> {
    let wanted: Vec<&str> = source.take.iter().flat_map(|take| take.from.iter().chain(&take.with)).map(String::as_str).collect();
    archive::extract(parts, &wanted, raw)?;
    for take in &source.take {
        let to = staging.join(&take.to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|error| FetchError::disk(parent, error))?;
        }
        make(take, &wanted, raw, &to)?;
        let file = model.files.iter().find(|file| file.name == take.to);
        let (size, hash) = file.map_or((None, None), |file| (file.size, file.sha256.as_deref()));
        check(&to, size, hash)?;
        File::open(&to).and_then(|file| file.sync_all()).map_err(|error| FetchError::disk(&to, error))?;
    }
    Ok(())
}

/// Makes one installed file out of the raw ones.
fn make(take: &Take, wanted: &[&str], raw: &Path, to: &Path) -> Result<(), FetchError> {
    let path_of = |name: &str| -> Result<PathBuf, FetchError> {
        let index = wanted.iter().position(|want| *want == name);
        let missing = || FetchError::Gone { what: name.to_owned(), detail: "the packages do not contain it".to_owned() };
        index.map(|index| raw.join(index.to_string())).filter(|path| path.is_file()).ok_or_else(missing)
    };
    let from = take.from.iter().map(|name| path_of(name)).collect::<Result<Vec<_>, _>>()?;
    let disk = |error| FetchError::disk(to, error);
    match (take.convert, &from[..]) {
        (None, [whole]) => fs::rename(whole, to).map_err(disk),
        (None, _) => {
            let mut out = File::create(to).map_err(disk)?;
            for part in &from {
                let mut part = File::open(part).map_err(disk)?;
                io::copy(&mut part, &mut out).map_err(disk)?;
            }
            Ok(())
        }
        (Some(Conversion::WhisperToGgml), _) => {
            let mut model = Vec::new();
            for part in &from {
                File::open(part).and_then(|mut part| part.read_to_end(&mut model)).map_err(disk)?;
            }
            let tokenizer = fs::read(path_of(take.with.as_deref().unwrap_or_default())?).map_err(disk)?;
            let mut out = BufWriter::new(File::create(to).map_err(disk)?);
            convert::whisper::to_ggml(&model, &tokenizer, &mut out).map_err(|error| FetchError::conversion(to, error))?;
            out.flush().map_err(disk)
        }
    }
}

/// Moves the finished folder into the model's place. What was there is moved aside first and deleted last.
fn swap(folder: &Path, staging: &Path, model: &ModelEntry) -> Result<(), FetchError> {
    let place = folder.join(&model.name);
    let old = folder.join(format!(".{}.old", model.name));
    let disk = |error| FetchError::disk(&place, error);
    sync_folder(staging)?;
    remove(&old)?;
    if place.exists() {
        fs::rename(&place, &old).map_err(disk)?;
    }
    if let Err(error) = fs::rename(staging, &place) {
        // Better the old model than none.
        let _ = fs::rename(&old, &place);
        return Err(disk(error));
    }
    sync_folder(folder)?;
    remove(&old)
}

/// Makes the names in a folder last.
fn sync_folder(folder: &Path) -> Result<(), FetchError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| FetchError::disk(folder, error))
}

/// Deletes a folder if it is there.
fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::disk(path, error)),
        _ => Ok(()),
    }
}

/// Compares a file with what the manifest says of it.
pub(super) fn check(path: &Path, size: Option<u64>, sha256: Option<&str>) -> Result<(), FetchError> {
    let disk = |error| FetchError::disk(path, error);
    let wrong = |detail| FetchError::WrongContent { what: path.display().to_string(), detail };
    let found = fs::metadata(path).map_err(disk)?.len();
    if let Some(size) = size.filter(|size| *size != found) {
        return Err(wrong(format!("it has {found} bytes, not {size}")));
    }
    let Some(expected) = sha256 else { return Ok(()) };
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(disk)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(disk)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected { Ok(()) } else { Err(wrong(format!("its sha256 is {found}, not {expected}"))) }
}
