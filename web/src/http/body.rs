//! JSON bodies: limited in size and time, and refused in the caller's own dialect.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body::Body;
use serde_json::Value;
use tokio::time::timeout;

use crate::{ApiError, Limits};

/// Reads a JSON body.
pub(super) async fn json(request: Request, limits: &Limits) -> Result<Value, ApiError> {
    // No content type at all is taken for JSON: hand-written clients forget it.
    if let Some(kind) = request.headers().get(CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if essence != "application/json" && !essence.ends_with("+json") {
            let message = format!("The content type must be `application/json`, not `{essence}`.");
            return Err(ApiError::new(415, "unsupported_media_type", message));
        }
    }
    if let Some(coding) = request.headers().get(CONTENT_ENCODING).filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let message = format!("The body must be sent as it is, not in the coding {coding:?}.");
        return Err(ApiError::new(415, "unsupported_content_encoding", message));
    }
    // What is announced to be too large is not waited for.
    if request.body().size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large(limits));
    }
    let reading = to_bytes(request.into_body(), limits.body_bytes);
    let body = timeout(limits.request_timeout, reading).await.map_err(|_| too_slow())?.map_err(|error| {
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if cause.to_string().contains("length limit") {
                return too_large(limits);
            }
            source = cause.source();
        }
        if error.to_string().contains("length limit") {
            return too_large(limits);
        }
        ApiError::new(400, "incomplete_body", "The request body ended before its announced length.")
    })?;
    // Some clients mark UTF-8 as such, which RFC 8259 section 8.1 lets a reader pass over.
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body))
        .map_err(|error| ApiError::new(400, "invalid_json", format!("The request body is not valid JSON: {error}.")))
}

/// An answer that is JSON already.
pub(super) fn written(json: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

/// The body is larger than is allowed.
pub(super) fn too_large(limits: &Limits) -> ApiError {
    ApiError::new(413, "request_too_large", format!("The request body must have at most {} bytes.", limits.body_bytes))
}

/// The body took too long to arrive.
pub(super) fn too_slow() -> ApiError {
    ApiError::new(408, "request_timeout", "The request body took too long to arrive.")
}
