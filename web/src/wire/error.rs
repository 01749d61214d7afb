//! Errors in the shapes of OpenAI's API, `{"error": {"message", "type", "param", "code"}}`, and of Anthropic's,
//! `{"type": "error", "error": {"type", "message"}, "request_id"}`.

use std::time::Duration;

use models::{ErrorKind, ModelError};
use router::RouteError;
use serde_json::{Map, Value, json};

use super::completion::attempt_fields;

/// One error as a client of OpenAI's API expects it, with its HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// For programs: what kind of error (`model_not_found`).
    pub code: Option<&'static str>,
    /// Path of the field that is at fault (`messages[0].content`).
    pub param: Option<String>,
    /// For a person: what is wrong and what is allowed.
    pub message: String,
    /// How long to wait before another try.
    pub retry_after: Option<Duration>,
    /// Fields of ours beside `error`, which strict clients ignore.
    pub beside: Option<Box<Map<String, Value>>>,
}

impl ApiError {
    /// An error with a status, a code and a message.
    pub fn new(status: u16, code: impl Into<Option<&'static str>>, message: impl Into<String>) -> ApiError {
        ApiError { status, code: code.into(), param: None, message: message.into(), retry_after: None, beside: None }
    }

    /// The field at `param` holds something that is not allowed; `message` says what is.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.into()), ..ApiError::new(400, "invalid_value", message) }
    }

    /// A field that must be there is not.
    pub fn missing(param: impl Into<String>, wanted: &str) -> ApiError {
        let param = param.into();
        let message = format!("`{param}` is required: {wanted}.");
        ApiError { param: Some(param), ..ApiError::new(400, "missing_required_parameter", message) }
    }

    /// There is no such model.
    pub fn no_such_model(model: &str) -> ApiError {
        let message = format!("The model `{model}` does not exist; GET /v1/models lists those that do.");
        ApiError { param: Some("model".to_owned()), ..ApiError::new(404, "model_not_found", message) }
    }

    /// The same error, at fault of another field.
    #[must_use]
    pub fn at(self, param: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.into()), ..self }
    }

    /// The error's `type`, which OpenAI derives from the status.
    pub fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "error": { "message": self.message, "type": self.kind(), "param": self.param, "code": self.code }
        });
        self.add_beside(&mut body);
        body
    }

    /// The error's `type` in Anthropic's API, which derives it from the status.
    pub fn anthropic_kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            _ => "api_error",
        }
    }

    /// The body, and the data of an `error` event, in Anthropic's API.
    pub fn to_anthropic(&self, request_id: &str) -> Value {
        let error = json!({ "type": self.anthropic_kind(), "message": self.message });
        let mut body = json!({ "type": "error", "error": error, "request_id": request_id });
        self.add_beside(&mut body);
        body
    }

    fn add_beside(&self, body: &mut Value) {
        if let (Value::Object(body), Some(beside)) = (body, &self.beside) {
            body.extend((**beside).clone());
        }
    }
}

/// What the router says, with the attempts it made.
impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> ApiError {
        ApiError {
            param: error.param().map(str::to_owned),
            retry_after: error.retry_after(),
            beside: (!error.attempts().is_empty()).then(|| Box::new(attempt_fields(error.attempts()))),
            ..ApiError::new(error.status(), error.code(), error.to_string())
        }
    }
}

/// A failure of an engine or a provider. What the caller did wrong stays a 4xx; the rest is ours.
impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> ApiError {
        let (status, code) = match error.kind {
            ErrorKind::Timeout => (504, "timeout"),
            ErrorKind::Overloaded => (429, "overloaded"),
            ErrorKind::Failed => (500, "engine_failed"),
            ErrorKind::Refused => (403, "refused"),
            // The caller's own key is good; ours for the upstream is not. A 401 would send them looking in the wrong place.
            ErrorKind::Unauthorized => (502, "upstream_unauthorized"),
            // Nobody here could do it, whatever the request said.
            ErrorKind::BadRequest if error.status == Some(501) => (501, "not_available"),
            ErrorKind::BadRequest => (400, "invalid_request"),
            ErrorKind::Protocol => (502, "upstream_protocol"),
            ErrorKind::Closed => (502, "upstream_closed"),
        };
        ApiError { retry_after: error.retry_after, ..ApiError::new(status, code, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_shape_and_the_type_that_clients_map() {
        let error = ApiError::invalid("messages[0].role", "`messages[0].role` must be one of: user.");
        assert_eq!(
            error.to_json().to_string(),
            r#"{"error":{"message":"`messages[0].role` must be one of: user.","type":"invalid_request_error","param":"messages[0].role","code":"invalid_value"}}"#
        );
        for (status, kind) in
            [(401, "authentication_error"), (404, "invalid_request_error"), (429, "rate_limit_error"), (503, "server_error")]
        {
            assert_eq!(ApiError::new(status, None, "").kind(), kind);
        }
        assert_eq!(
            error.to_anthropic("req_1").to_string(),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"`messages[0].role` must be one of: user."},"request_id":"req_1"}"#
        );
        for (status, kind) in [(404, "not_found_error"), (429, "rate_limit_error"), (502, "api_error"), (504, "timeout_error")] {
            assert_eq!(ApiError::new(status, None, "").anthropic_kind(), kind);
        }
    }

    #[test]
    fn whose_fault_a_model_error_is_shows_in_the_status() {
        for (kind, status) in [
            (ErrorKind::Timeout, 504),
            (ErrorKind::Overloaded, 429),
            (ErrorKind::Failed, 500),
            (ErrorKind::Refused, 403),
            (ErrorKind::Unauthorized, 502),
            (ErrorKind::BadRequest, 400),
            (ErrorKind::Protocol, 502),
            (ErrorKind::Closed, 502),
        ] {
            let error = ModelError { retry_after: Some(Duration::from_secs(3)), ..ModelError::new(kind, "big", "why") };
            let error = ApiError::from(error);
            assert_eq!((error.status, error.retry_after), (status, Some(Duration::from_secs(3))), "{kind:?}");
            assert_eq!(error.message, "big: why");
        }
    }
}
