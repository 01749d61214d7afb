//! The name of a cached answer: a hash over everything that changes it.

use std::fmt;
use std::str::FromStr;

use models::{Message, Part, Prompt, Role, Sampling, Tool, ToolCall};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Changed whenever the order or the meaning of what is hashed changes, so that no node reads another version's keys.
const VERSION: &str = "timbre answer 2";
/// Request fields that say how an answer is delivered, not what it says.
const DELIVERY: [&str; 3] = ["cache", "stream", "stream_options"];

/// SHA-256 over a request and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

/// Where a request belongs besides what it says: answers are shared only within the same scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// Whose answers these are (an id of the caller's key); nobody sees another tenant's.
    pub tenant: &'a str,
    /// The model as the caller asked for it.
    pub model: &'a str,
    /// The router that decided and its version: a changed router starts afresh.
    pub router: Option<(&'a str, u64)>,
    /// The route chosen.
    pub route: &'a str,
    /// The variant chosen.
    pub variant: Option<&'a str>,
}

impl CacheKey {
    /// The key of `prompt`, the one that goes to the target (templates and the variant's parameters filled in). Fields of `extra` named in
    /// `ignored` are left out.
    pub fn of(scope: &Scope<'_>, prompt: &Prompt, ignored: &[String]) -> CacheKey {
        let mut hash = Hash::new(scope);
        hash.prompt(prompt, ignored, None);
        CacheKey(hash.0.finalize().into())
    }

    /// The key of all prompts that differ from this one in nothing but the words of the message at `position`.
    pub(super) fn apart_from(scope: &Scope<'_>, prompt: &Prompt, ignored: &[String], position: usize) -> CacheKey {
        let mut hash = Hash::new(scope);
        hash.prompt(prompt, ignored, Some(position));
        CacheKey(hash.0.finalize().into())
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

impl FromStr for CacheKey {
    type Err = String;

    fn from_str(text: &str) -> Result<CacheKey, String> {
        let wrong = || format!("{text:?} is not the key of a cached answer: 64 hexadecimal digits, as in `x-cache-key`");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(CacheKey(key))
    }
}

/// Writes values so that different ones can never look the same: every value is a tag, then its length where it has one.
struct Hash(Sha256);

impl Hash {
    fn new(scope: &Scope<'_>) -> Hash {
        let Scope { tenant, model, router, route, variant } = scope;
        let mut hash = Hash(Sha256::new());
        for text in [VERSION, tenant, model, route] {
            hash.text(text);
        }
        hash.option(*variant, |hash, variant| hash.text(variant));
        hash.option(*router, |hash, (name, version)| {
            hash.text(name);
            hash.number(b'u', version);
        });
        hash
    }

    // Each type is taken apart whole, so that a field added to it does not compile until it is hashed here.
    fn prompt(&mut self, prompt: &Prompt, ignored: &[String], without: Option<usize>) {
        // How the answer comes does not change it; the router's own form of a wish to search stands for what is hashed in `tools` and `extra`.
        let Prompt { id: _, model, messages, tools, tool_choice, sampling, extra, whole: _, web_search: _ } = prompt;
        self.text(model);
        self.count(messages.len());
        for (at, message) in messages.iter().enumerate() {
            self.message(message, without == Some(at));
        }
        self.count(tools.len());
        for Tool { name, description, parameters, extra } in tools {
            self.text(name);
            self.option(description.as_deref(), Hash::text);
            self.option(parameters.as_ref(), Hash::json);
            self.object(extra, &|_| true);
        }
        self.option(tool_choice.as_ref(), Hash::json);
        let Sampling { max_tokens, temperature, top_p, stop, seed } = sampling;
        self.option(*max_tokens, |hash, n| hash.number(b'u', u64::from(n)));
        self.option(*temperature, |hash, n| hash.number(b'f', u64::from(n.to_bits())));
        self.option(*top_p, |hash, n| hash.number(b'f', u64::from(n.to_bits())));
        self.count(stop.len());
        stop.iter().for_each(|stop| self.text(stop));
        self.option(*seed, |hash, n| hash.number(b'u', n));
        self.object(extra, &|name| !DELIVERY.contains(&name) && !ignored.iter().any(|other| other == name));
    }

    fn message(&mut self, message: &Message, without_words: bool) {
        let Message { role, parts, tool_calls, tool_call_id, extra } = message;
        self.tag(match role {
            Role::System => b's',
            Role::User => b'u',
            Role::Assistant => b'a',
            Role::Tool => b't',
        });
        if without_words {
            self.tag(b'*');
        } else {
            self.count(parts.len());
            parts.iter().for_each(|part| self.part(part));
        }
        self.count(tool_calls.len());
        for ToolCall { id, name, arguments, extra } in tool_calls {
            for text in [id, name, arguments] {
                self.text(text);
            }
            self.object(extra, &|_| true);
        }
        self.option(tool_call_id.as_deref(), Hash::text);
        self.object(extra, &|_| true);
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => {
                self.tag(b'T');
                self.text(text);
            }
            Part::Cached { text, cache_control } => {
                self.tag(b'C');
                self.text(text);
                self.json(cache_control);
            }
            Part::Reasoning { text, signature, redacted } => {
                self.tag(b'R');
                self.text(text);
                self.option(signature.as_deref(), Hash::text);
                self.option(redacted.as_deref(), Hash::text);
            }
            Part::Other(value) => {
                self.tag(b'O');
                self.json(value);
            }
        }
    }

    fn json(&mut self, value: &Value) {
        match value {
            Value::Null => self.tag(b'0'),
            Value::Bool(false) => self.tag(b'-'),
            Value::Bool(true) => self.tag(b'+'),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(n), _, _) => self.number(b'u', n),
                (None, Some(n), _) => self.number(b'i', n as u64),
                (None, None, n) => self.number(b'd', n.unwrap_or_default().to_bits()),
            },
            Value::String(text) => {
                self.tag(b'"');
                self.text(text);
            }
            Value::Array(list) => {
                self.tag(b'[');
                self.count(list.len());
                list.iter().for_each(|value| self.json(value));
            }
            Value::Object(object) => self.object(object, &|_| true),
        }
    }

    /// The fields that `taken` lets in, in the order of their names: JSON gives their order no meaning.
    fn object(&mut self, object: &Map<String, Value>, taken: &dyn Fn(&str) -> bool) {
        let mut fields: Vec<(&String, &Value)> = object.iter().filter(|(name, _)| taken(name)).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        self.tag(b'{');
        self.count(fields.len());
        for (name, value) in fields {
            self.text(name);
            self.json(value);
        }
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Hash, T)) {
        match value {
            None => self.tag(b'N'),
            Some(value) => {
                self.tag(b'S');
                write(self, value);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_le_bytes());
    }

    fn number(&mut self, tag: u8, bits: u64) {
        self.tag(tag);
        self.0.update(bits.to_le_bytes());
    }

    fn tag(&mut self, tag: u8) {
        self.0.update([tag]);
    }
}

#[cfg(test)]
mod tests;
