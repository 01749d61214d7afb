//! The routers in force: replaced as a whole when one changes, so that a request sees either all of a change or nothing of it.
//!
//! A request takes the set once and keeps what it took: a stream under way goes on with the targets it was given. Routers written in
//! the configuration are changed there; those made over HTTP have versions, and can be changed, deleted and rolled back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::object::{RouterObject, id_of};
use crate::routing::{Ground, Routing};
use crate::schema;
use crate::versions::{Change, Version, Versions};
use crate::{RouteError, RouterError};

/// The longest id of a router.
const LONGEST_ID: usize = 64;

/// Where a router is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration: changed there.
    Configuration,
    /// Made over HTTP.
    Api,
}

/// A router with what the server knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its id: `timbre/<id>` calls it.
    pub id: String,
    /// Where it is written.
    pub source: Source,
    /// Counted from 1; 0 for one of the configuration.
    pub version: u64,
    /// When this version was made, seconds since 1970; 0 for one of the configuration.
    pub updated: u64,
    /// The object; ids that were left out are assigned.
    pub object: RouterObject,
    /// Why it cannot be used, for instance because its provider is gone from the configuration.
    pub problem: Option<String>,
}

/// Why a router was not changed or not found.
#[derive(Clone, Debug, PartialEq)]
pub enum RoutersError {
    /// There is none.
    NotFound {
        /// As it was asked for.
        id: String,
    },
    /// There is one already.
    Exists {
        /// Its id.
        id: String,
    },
    /// It is written in the configuration.
    Configured {
        /// Its id.
        id: String,
    },
    /// It has no such version, or that version was its deletion.
    NoVersion {
        /// Its id.
        id: String,
        /// As it was asked for.
        version: u64,
    },
    /// The object cannot be used.
    Invalid(RouterError),
    /// It could not be kept.
    Kept {
        /// What the disk said.
        detail: String,
    },
}

impl fmt::Display for RoutersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutersError::NotFound { id } => write!(f, "there is no router {id:?}; GET /router/v1/routers lists them"),
            RoutersError::Exists { id } => write!(f, "there is a router {id:?} already; PATCH it, or choose another name"),
            RoutersError::Configured { id } => write!(f, "the router {id:?} is written in the configuration file; change it there"),
            RoutersError::NoVersion { id, version } => {
                write!(f, "the router {id:?} has no version {version} to go back to; GET /router/v1/routers/{id}/versions lists them")
            }
            RoutersError::Invalid(error) => error.fmt(f),
            RoutersError::Kept { detail } => f.write_str(detail),
        }
    }
}

impl std::error::Error for RoutersError {}

impl From<RouterError> for RoutersError {
    fn from(error: RouterError) -> RoutersError {
        RoutersError::Invalid(error)
    }
}

/// A router of the set.
pub(crate) struct Entry {
    listed: Listed,
    routing: Result<Routing, RouterError>,
}

impl Entry {
    /// The router, where it can be used.
    pub(crate) fn routing(&self) -> Result<&Routing, RouteError> {
        self.routing.as_ref().map_err(|error| RouteError::Unusable { router: self.listed.id.clone(), detail: error.to_string() })
    }
}

/// The routers in force at one moment, by id.
pub(crate) type Set = BTreeMap<String, Arc<Entry>>;

/// A handle to the routers in force.
pub(crate) struct Routers {
    current: RwLock<Arc<Set>>,
    /// Held while a change is made: changes happen one after the other.
    versions: Mutex<Versions>,
}

impl Routers {
    /// Checks the configured routers, and takes those kept in the data folder beside them. A configured router hides a kept one of its
    /// name; a kept one that cannot be used any more is listed with its problem and does not stop the start.
    pub(crate) fn new(
        configured: &[RouterObject],
        data: Option<&Path>,
        ground: &Ground,
        default: Option<&str>,
    ) -> Result<Routers, RouterError> {
        let mut set = Set::new();
        for (n, object) in configured.iter().enumerate() {
            let id = valid_id(&object.name).map_err(|detail| RouterError::new(format!("router[{n}].name"), detail))?;
            if set.contains_key(id) {
                return Err(RouterError::new(format!("router[{n}].name"), format!("there are two routers named {id:?}")));
            }
            let mut object = RouterObject { name: id.to_owned(), ..object.clone() };
            assign_ids(&mut object);
            let routing = Routing::check(&object, 0, ground, default)?;
            set.insert(id.to_owned(), Arc::new(entry(object, Source::Configuration, 0, 0, Ok(routing))));
        }
        let versions = Versions::new(data);
        for (id, version) in versions.newest().map_err(|detail| RouterError::new("data", detail))? {
            let Some(value) = version.object else { continue };
            if set.contains_key(&id) {
                continue;
            }
            let object = RouterObject::from_json(value)?;
            let routing = Routing::check(&object, version.version, ground, default);
            set.insert(id, Arc::new(entry(object, Source::Api, version.version, version.time, routing)));
        }
        Ok(Routers { current: RwLock::new(Arc::new(set)), versions: Mutex::new(versions) })
    }

    /// The routers in force now.
    pub(crate) fn current(&self) -> Arc<Set> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of them, by id.
    pub(crate) fn list(&self) -> Vec<Listed> {
        self.current().values().map(|entry| entry.listed.clone()).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Result<Listed, RoutersError> {
        let found = self.current().get(id).map(|entry| entry.listed.clone());
        found.ok_or_else(|| RoutersError::NotFound { id: id.to_owned() })
    }

    /// Makes a router; without a name it gets one.
    pub(crate) fn create(&self, value: Value, ground: &Ground, default: Option<&str>) -> Result<Listed, RoutersError> {
        let mut versions = self.lock();
        let mut object = RouterObject::from_json(value)?;
        if object.name.is_empty() {
            object.name = self.fresh_id(object.display_name.as_deref().unwrap_or_default(), &versions)?;
        }
        let id = valid_id(&object.name).map_err(|detail| RouterError::new("name", detail))?.to_owned();
        if self.current().contains_key(&id) {
            return Err(RoutersError::Exists { id });
        }
        self.put(&mut versions, object, Change::Created, None, (ground, default))
    }

    /// Changes a router: the fields of `mask` (comma-separated paths, `*` for all), or those that `value` has.
    pub(crate) fn update(
        &self,
        id: &str,
        value: Value,
        mask: Option<&str>,
        ground: &Ground,
        default: Option<&str>,
    ) -> Result<Listed, RoutersError> {
        let mut versions = self.lock();
        let before = self.changeable(id)?;
        let at = format!("router.{id}");
        let patch = schema::read(value, &schema::Kind::Object(schema::ROUTER), &at)?;
        let mut merged = masked(before.object.to_json(), patch, mask).map_err(|detail| RouterError::new("update_mask", detail))?;
        if let Value::Object(merged) = &mut merged {
            merged.insert("name".to_owned(), Value::String(id.to_owned()));
        }
        self.put(&mut versions, RouterObject::from_json(merged)?, Change::Updated, None, (ground, default))
    }

    /// Deletes a router; its versions stay, so that it can be brought back.
    pub(crate) fn delete(&self, id: &str) -> Result<Listed, RoutersError> {
        let mut versions = self.lock();
        let before = self.changeable(id)?;
        let version = Version { version: before.version + 1, time: now(), change: Change::Deleted, of: None, object: None };
        versions.add(id, version).map_err(|detail| RoutersError::Kept { detail })?;
        self.swap(|set| {
            set.remove(id);
        });
        Ok(before)
    }

    /// Brings an earlier version back, as a new one; a deleted router too.
    pub(crate) fn roll_back(&self, id: &str, version: u64, ground: &Ground, default: Option<&str>) -> Result<Listed, RoutersError> {
        let mut versions = self.lock();
        if let Ok(before) = self.get(id) {
            self.changeable(&before.id)?;
        }
        let all = if valid_id(id).is_ok() { versions.all(id).map_err(|detail| RoutersError::Kept { detail })? } else { Vec::new() };
        if all.is_empty() {
            return Err(RoutersError::NotFound { id: id.to_owned() });
        }
        let found = all.into_iter().find(|kept| kept.version == version).and_then(|kept| kept.object);
        let value = found.ok_or_else(|| RoutersError::NoVersion { id: id.to_owned(), version })?;
        self.put(&mut versions, RouterObject::from_json(value)?, Change::Restored, Some(version), (ground, default))
    }

    /// Every version of a router, oldest first; of a deleted one too.
    pub(crate) fn versions(&self, id: &str) -> Result<Vec<Version>, RoutersError> {
        let kept = if valid_id(id).is_ok() { self.lock().all(id).map_err(|detail| RoutersError::Kept { detail })? } else { Vec::new() };
        if kept.is_empty() { self.get(id).map(|_| Vec::new()) } else { Ok(kept) }
    }

    fn put(
        &self,
        versions: &mut Versions,
        mut object: RouterObject,
        change: Change,
        of: Option<u64>,
        (ground, default): (&Ground, Option<&str>),
    ) -> Result<Listed, RoutersError> {
        assign_ids(&mut object);
        let id = object.name.clone();
        let newest = versions.all(&id).map_err(|detail| RoutersError::Kept { detail })?.last().map_or(0, |kept| kept.version);
        let (version, time) = (newest + 1, now());
        let routing = Routing::check(&object, version, ground, default)?;
        let kept = Version { version, time, change, of, object: Some(object.to_json()) };
        versions.add(&id, kept).map_err(|detail| RoutersError::Kept { detail })?;
        let entry = entry(object, Source::Api, version, time, Ok(routing));
        let listed = entry.listed.clone();
        self.swap(|set| {
            set.insert(id, Arc::new(entry));
        });
        Ok(listed)
    }

    /// Replaces the set by a changed one. Whoever holds the old one keeps it.
    fn swap(&self, change: impl FnOnce(&mut Set)) {
        let mut set = Set::clone(&self.current());
        change(&mut set);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }

    fn changeable(&self, id: &str) -> Result<Listed, RoutersError> {
        match self.get(id)? {
            listed if listed.source == Source::Configuration => Err(RoutersError::Configured { id: listed.id }),
            listed => Ok(listed),
        }
    }

    /// An id made of a title, that no router has or had.
    fn fresh_id(&self, title: &str, versions: &Versions) -> Result<String, RoutersError> {
        let mut slug = String::new();
        for letter in title.chars().take(LONGEST_ID - 8) {
            match letter.to_ascii_lowercase() {
                letter if letter.is_ascii_alphanumeric() => slug.push(letter),
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
        }
        let slug = slug.trim_end_matches('-');
        let slug = if slug.is_empty() || slug == "auto" { "router" } else { slug };
        let set = self.current();
        let mut id = slug.to_owned();
        let mut n = 1;
        while set.contains_key(&id) || !versions.all(&id).map_err(|detail| RoutersError::Kept { detail })?.is_empty() {
            n += 1;
            id = format!("{slug}-{n}");
        }
        Ok(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(object: RouterObject, source: Source, version: u64, updated: u64, routing: Result<Routing, RouterError>) -> Entry {
    let problem = routing.as_ref().err().map(RouterError::to_string);
    Entry { listed: Listed { id: object.name.clone(), source, version, updated, object, problem }, routing }
}

/// Writes down the ids that were left out, so that they stay when routes are moved.
fn assign_ids(object: &mut RouterObject) {
    let taken: Vec<String> = object.routes.iter().filter_map(|entry| entry.route.route_id.clone()).collect();
    let mut n = 0;
    for entry in &mut object.routes {
        n += 1;
        if entry.route.route_id.is_none() {
            while taken.contains(&format!("route-{n}")) {
                n += 1;
            }
            entry.route.route_id = Some(format!("route-{n}"));
        }
    }
    if let Some(route) = &mut object.default_route {
        route.route_id.get_or_insert_with(|| "default".to_owned());
    }
    for route in object.routes.iter_mut().map(|entry| &mut entry.route).chain(&mut object.default_route) {
        let mut ids: Vec<String> = route.variants.iter().filter_map(|weighted| weighted.variant.variant_id.clone()).collect();
        for variant in route.variants.iter_mut().map(|weighted| &mut weighted.variant) {
            if variant.variant_id.is_none() {
                let stem = if variant.model_id.is_empty() { "auto" } else { &variant.model_id };
                let mut id = stem.to_owned();
                let mut n = 1;
                while ids.contains(&id) {
                    n += 1;
                    id = format!("{stem}-{n}");
                }
                ids.push(id.clone());
                variant.variant_id = Some(id);
            }
        }
    }
}

/// The id that a name says: letters, digits, `-`, `_` and `.`, as it is also the name of a folder.
fn valid_id(name: &str) -> Result<&str, String> {
    let id = id_of(name);
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if id.is_empty() || id.len() > LONGEST_ID || id == "auto" || id.starts_with('.') || !id.chars().all(fits) {
        return Err(format!(
            "{name:?} cannot name a router; it is a word of at most {LONGEST_ID} letters, digits, '-', '_' and '.', and not \"auto\""
        ));
    }
    Ok(id)
}

/// `before` with the fields of `mask` as `patch` has them; what `patch` does not have is taken away.
fn masked(mut before: Value, patch: Value, mask: Option<&str>) -> Result<Value, String> {
    let (Value::Object(old), Value::Object(new)) = (&mut before, &patch) else { return Ok(patch) };
    let paths: Vec<String> = match mask.map(str::trim).filter(|mask| !mask.is_empty()) {
        None => new.keys().cloned().collect(),
        Some("*") => return Ok(patch),
        Some(mask) => mask.split(',').map(|path| schema::snake(path.trim())).collect(),
    };
    for path in paths {
        let mut keys = path.split('.').peekable();
        let first = keys.peek().copied().unwrap_or_default();
        if !schema::ROUTER.iter().any(|(name, kind)| *name == first && !matches!(kind, schema::Kind::Ours)) {
            let known: Vec<&str> =
                schema::ROUTER.iter().filter(|(_, kind)| !matches!(kind, schema::Kind::Ours)).map(|(name, _)| *name).collect();
            let meant = schema::nearest(first, known.iter().copied()).unwrap_or_default();
            return Err(format!("there is no field {path:?}; did you mean {meant:?}? Known are {}", known.join(", ")));
        }
        copy(old, new, &mut keys)?;
    }
    Ok(before)
}

fn copy<'a>(old: &mut Map<String, Value>, new: &Map<String, Value>, keys: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    let Some(key) = keys.next() else { return Ok(()) };
    let mut rest = keys.peekable();
    if rest.peek().is_none() {
        match new.get(key) {
            Some(value) => old.insert(key.to_owned(), value.clone()),
            None => old.shift_remove(key),
        };
        return Ok(());
    }
    let empty = Map::new();
    let deeper = new.get(key).and_then(Value::as_object).unwrap_or(&empty);
    match old.entry(key).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(old) => {
            // A path is at most as deep as the objects that are not in lists.
            let rest: Vec<&str> = rest.collect();
            copy(old, deeper, &mut rest.into_iter())
        }
        _ => Err(format!("{key:?} is not an object; name it without what follows")),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
