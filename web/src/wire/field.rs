//! A JSON value with its path, taken apart by hand: every complaint names the field and what is allowed.
//!
//! OpenAI's SDKs send `null` for what was not set, so `null` is as good as absent everywhere.

use serde_json::{Map, Value};

use super::ApiError;

/// A value and where it stood in the request (`messages[0].content`).
#[derive(Clone, Debug)]
pub(crate) struct Field {
    path: String,
    value: Value,
}

/// An object whose fields are taken one by one; what is not taken is left for [`Fields::rest`].
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Field {
    /// The whole request.
    pub(crate) fn root(value: Value) -> Field {
        Field { path: String::new(), value }
    }

    /// A value that came at `path`.
    pub(crate) fn at(path: impl Into<String>, value: Value) -> Field {
        Field { path: path.into(), value }
    }

    /// Where it stood.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// As it came.
    pub(crate) fn into_value(self) -> Value {
        self.value
    }

    /// As it came, to look at.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The complaint that this field is not what it should be.
    pub(crate) fn wrong(&self, wanted: &str) -> ApiError {
        let got = match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(value) if value.chars().count() <= 40 => format!("`{value}`"),
            Value::String(_) => "a longer string".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        let name = if self.path.is_empty() { "The request body".to_owned() } else { format!("`{}`", self.path) };
        ApiError {
            param: (!self.path.is_empty()).then(|| self.path.clone()),
            ..ApiError::new(400, "invalid_value", format!("{name} must be {wanted}, not {got}."))
        }
    }

    /// `None` if it is null.
    pub(crate) fn present(self) -> Option<Field> {
        (!self.value.is_null()).then_some(self)
    }

    /// As an object.
    pub(crate) fn object(self) -> Result<Fields, ApiError> {
        match self.value {
            Value::Object(map) => Ok(Fields { path: self.path, map }),
            _ => Err(self.wrong("an object")),
        }
    }

    /// As an array; each item knows its own path.
    pub(crate) fn array(self) -> Result<Vec<Field>, ApiError> {
        match self.value {
            Value::Array(items) => {
                let path = |at: usize| format!("{}[{at}]", self.path);
                Ok(items.into_iter().enumerate().map(|(at, value)| Field { path: path(at), value }).collect())
            }
            _ => Err(self.wrong("an array")),
        }
    }

    /// As a string.
    pub(crate) fn string(self) -> Result<String, ApiError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    /// As a truth value.
    pub(crate) fn boolean(self) -> Result<bool, ApiError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// As a number within `least..=most`.
    pub(crate) fn number(self, least: f64, most: f64) -> Result<f64, ApiError> {
        let number = self.value.as_f64().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.wrong(&format!("a number from {least} to {most}")))
    }

    /// As a whole number within `least..=most`.
    pub(crate) fn whole(self, least: u64, most: u64) -> Result<u64, ApiError> {
        // Some clients write 5.0 for 5.
        let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
        let number = self.value.as_u64().or_else(|| self.value.as_f64().and_then(whole));
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| match most {
            u64::MAX => self.wrong(&format!("a whole number from {least} up")),
            _ => self.wrong(&format!("a whole number from {least} to {most}")),
        })
    }

    /// As one of the names in `choices`.
    pub(crate) fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, ApiError> {
        let found = self.value.as_str().and_then(|name| choices.iter().find(|(choice, _)| *choice == name));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(&format!("one of: {}", names.join(", ")))
        })
    }
}

impl Fields {
    /// The path of a field of this object.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field out; `None` if it is absent or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        // `shift_remove` keeps the order of what is left, which an upstream gets as it came.
        let value = self.map.shift_remove(name)?;
        (!value.is_null()).then(|| Field { path: self.path(name), value })
    }

    /// A field's value, left where it is; `None` if it is absent or null.
    pub(crate) fn present(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Takes a field out, `null` too, where that clears something; `None` if it is absent.
    pub(crate) fn given(&mut self, name: &str) -> Option<Field> {
        self.map.shift_remove(name).map(|value| Field { path: self.path(name), value })
    }

    /// A complaint about the first field that nobody took.
    pub(crate) fn nothing_else(&self, known: &[&str]) -> Result<(), ApiError> {
        let Some(name) = self.map.keys().next() else { return Ok(()) };
        // Long enough for any name that was meant, short enough for an answer.
        let path = self.path(&name.chars().take(60).collect::<String>());
        let message = format!("`{path}` is not known; known here are: {}.", known.join(", "));
        Err(ApiError { param: Some(path), ..ApiError::new(400, "unknown_parameter", message) })
    }

    /// Takes a field out; a complaint that says what is `wanted` if it is absent.
    pub(crate) fn require(&mut self, name: &str, wanted: &str) -> Result<Field, ApiError> {
        self.take(name).ok_or_else(|| ApiError::missing(self.path(name), wanted))
    }

    /// What was not taken.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn complaints_name_the_path_and_what_is_allowed() {
        let body = || json!({ "a": { "b": [1, "two", null] }, "n": 7.5, "none": null, "kept": 1 });
        let mut fields = Field::root(body()).object().expect("an object");
        let items = fields.take("a").expect("a").object().expect("an object").take("b").expect("b").array().expect("an array");
        let complaints: Vec<_> = items.into_iter().map(|item| item.boolean().map_err(|e| (e.param, e.message))).collect();
        assert_eq!(complaints[1], Err((Some("a.b[1]".to_owned()), "`a.b[1]` must be true or false, not `two`.".to_owned())));
        assert!(fields.take("none").is_none());
        let error = fields.require("none", "a name").expect_err("it is null");
        assert_eq!((error.message.as_str(), error.code), ("`none` is required: a name.", Some("missing_required_parameter")));
        let number = fields.take("n").expect("n");
        assert_eq!(number.clone().whole(1, 9).map_err(|e| e.message), Err("`n` must be a whole number from 1 to 9, not 7.5.".to_owned()));
        assert_eq!(number.clone().number(0.0, 2.0).map_err(|e| e.message), Err("`n` must be a number from 0 to 2, not 7.5.".to_owned()));
        assert_eq!(number.one_of(&[("x", 1), ("y", 2)]).map_err(|e| e.message), Err("`n` must be one of: x, y, not 7.5.".to_owned()));
        assert_eq!(fields.rest().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["kept"]);
        let error = Field::root(json!([])).object().expect_err("an array");
        assert_eq!((error.message.as_str(), error.param), ("The request body must be an object, not an array.", None));
    }
}
