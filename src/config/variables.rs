//! Variables over the file: `TIMBRE_<SECTION>__<KEY>`, the path of a key in capitals with two underscores between its parts.

use toml::{Table, Value};

use super::written::Written;
use super::{ConfigError, Environment, suggest};

const PREFIX: &str = "TIMBRE_";
/// Keys outside any section; their variables have no double underscore to be known by.
const BARE: [&str; 1] = ["default_model"];

/// `written`, which `text` says, with the variables over it.
pub(super) fn over(written: Written, text: &str, environment: &Environment) -> Result<Written, ConfigError> {
    let mut paths: Vec<(&String, Vec<String>, &String)> =
        environment.iter().filter_map(|(name, value)| Some((name, path(name)?, value))).collect();
    if paths.is_empty() {
        return Ok(written);
    }
    paths.sort();
    let mut table: Table = toml::from_str(text).map_err(|error| ConfigError::new(error.to_string()))?;
    let mut written = written;
    for (name, path, value) in paths {
        let mut first = None;
        // A text where the key takes one; else what TOML reads in it; else a list.
        let fits = readings(value).into_iter().find_map(|reading| {
            let mut trial = table.clone();
            match put(&mut trial, &path, reading).and_then(|()| Written::try_from_table(&trial)) {
                Ok(written) => Some((trial, written)),
                Err(error) => {
                    first.get_or_insert(error);
                    None
                }
            }
        });
        match fits {
            Some(fits) => (table, written) = fits,
            None => return Err(ConfigError::new(format!("{name}: {}", first.unwrap_or_default()))),
        }
    }
    Ok(written)
}

impl Written {
    fn try_from_table(table: &Table) -> Result<Written, String> {
        Value::Table(table.clone()).try_into().map_err(|error: toml::de::Error| suggest(error.message()))
    }
}

fn path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    if rest.contains("__") {
        return Some(rest.split("__").map(str::to_owned).collect());
    }
    BARE.contains(&rest.as_str()).then(|| vec![rest])
}

fn readings(value: &str) -> Vec<Value> {
    let list: Vec<Value> =
        value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| Value::String(part.to_owned())).collect();
    let literal = toml::from_str::<Table>(&format!("value = {value}")).ok().and_then(|mut table| table.remove("value"));
    [Some(Value::String(value.to_owned())), literal, Some(Value::Array(list))].into_iter().flatten().collect()
}

/// Sets what lies at `path`; a number in it counts the entries of a list from 0.
fn put(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let [first, rest @ ..] = path else { return Ok(()) };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(());
    }
    match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => put(inner, rest, value),
        Value::Array(entries) => {
            let length = entries.len();
            let entry = rest[0].parse::<usize>().ok().and_then(|n| entries.get_mut(n));
            match entry {
                Some(Value::Table(inner)) if rest.len() > 1 => put(inner, &rest[1..], value),
                Some(entry) if rest.len() == 1 => {
                    *entry = value;
                    Ok(())
                }
                _ => Err(format!("`{first}` is a list of {length}; name an entry by its number, from 0")),
            }
        }
        _ => Err(format!("`{first}` is not a section")),
    }
}
