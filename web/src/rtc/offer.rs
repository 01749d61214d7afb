//! What a client asks a call with: its SDP offer, and the session that it wants.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::timeout;

use super::renewal::Description;
use crate::ApiError;

/// The media type of a part of a session description (RFC 8840 section 9).
pub(super) const PART: &str = "application/trickle-ice-sdpfrag";

/// Largest offer together with its session, bytes: browsers' offers have some 10 kB, sessions with many tools a few more.
const MOST_BYTES: usize = 512 * 1024;

/// How long it may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(15);

/// An offer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Offer {
    /// The session description, RFC 8866.
    pub sdp: String,
    /// The session object, where the client sends one.
    pub session: Option<Value>,
}

/// Reads `multipart/form-data` with the parts `sdp` and `session`, or a bare `application/sdp`.
pub(super) async fn read(request: Request) -> Result<Offer, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let offer = match kind.split(';').next().unwrap_or_default().trim() {
        "multipart/form-data" => timeout(ARRIVAL, form(request)).await,
        "application/sdp" => timeout(ARRIVAL, bare(request)).await,
        _ => {
            let message =
                "The content type must be `multipart/form-data` with the parts `sdp` and `session`, or `application/sdp`.".to_owned();
            return Err(ApiError::new(415, "unsupported_media_type", message));
        }
    };
    let offer = offer.map_err(|_| ApiError::new(408, "request_timeout", "The offer took too long to arrive."))??;
    if offer.sdp.trim().is_empty() {
        return Err(ApiError::invalid("sdp", "`sdp` must be the SDP offer of the client's peer connection."));
    }
    Ok(offer)
}

/// Reads what a call in progress is asked with: `application/sdp`, or [`PART`].
pub(super) async fn read_renewal(request: Request) -> Result<Description, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let whole = match kind.split(';').next().unwrap_or_default().trim() {
        "application/sdp" => true,
        PART => false,
        _ => {
            let message = format!("The content type must be `application/sdp` with an offer, or `{PART}`.");
            return Err(ApiError::new(415, "unsupported_media_type", message));
        }
    };
    let offer = timeout(ARRIVAL, bare(request)).await;
    let Offer { sdp, .. } = offer.map_err(|_| ApiError::new(408, "request_timeout", "The offer took too long to arrive."))??;
    Ok(if whole { Description::Offer(sdp) } else { Description::Part(sdp) })
}

async fn bare(request: Request) -> Result<Offer, ApiError> {
    let body = to_bytes(request.into_body(), MOST_BYTES).await.map_err(|_| {
        ApiError::new(400, "incomplete_body", format!("The offer is larger than {MOST_BYTES} bytes, or ended before its announced length."))
    })?;
    Ok(Offer { sdp: text("sdp", body.into())?, session: None })
}

async fn form(request: Request) -> Result<Offer, ApiError> {
    let failed = |error: MultipartError| match error.status().as_u16() {
        413 => too_large(),
        _ => ApiError::new(400, "invalid_multipart", format!("The form is damaged: {}.", error.body_text())),
    };
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| ApiError::new(400, "invalid_multipart", format!("The form is damaged: {}.", error.body_text())))?;
    let (mut offer, mut size) = (Offer::default(), 0);
    while let Some(mut part) = form.next_field().await.map_err(failed)? {
        let name = part.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(failed)? {
            size += chunk.len();
            if size > MOST_BYTES {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        match name.as_str() {
            "sdp" => offer.sdp = text("sdp", bytes)?,
            "session" => {
                let session = serde_json::from_slice(&bytes)
                    .map_err(|error| ApiError::invalid("session", format!("`session` must be a JSON object: {error}.")))?;
                offer.session = Some(session);
            }
            // What another server would read does no harm here.
            _ => {}
        }
    }
    Ok(offer)
}

fn too_large() -> ApiError {
    ApiError::new(413, "request_too_large", format!("The offer and its session must have at most {MOST_BYTES} bytes."))
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, ApiError> {
    String::from_utf8(bytes).map_err(|_| ApiError::invalid(name, format!("`{name}` must be UTF-8 text.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn check(kind: &str, body: &str, expected: Result<Offer, (u16, Option<&str>)>) {
        let request = Request::post("/").header(CONTENT_TYPE, kind).body(Body::from(body.replace('\n', "\r\n"))).expect("a request");
        let read = read(request).await;
        let read = read.as_ref().map_err(|error| (error.status, error.param.as_deref()));
        assert_eq!(read, expected.as_ref().map_err(|&wrong| wrong), "{kind}: {body}");
    }

    #[tokio::test]
    async fn offers_come_in_two_shapes() {
        let form = "multipart/form-data; boundary=b";
        let part = |name: &str, text: &str| format!("--b\nContent-Disposition: form-data; name=\"{name}\"\n\n{text}\n");
        let offer = |session: Option<Value>| Ok(Offer { sdp: "v=0".to_owned(), session });
        check("application/sdp", "v=0", offer(None)).await;
        check("Application/SDP; charset=utf-8", "v=0", offer(None)).await;
        check(form, &format!("{}--b--\n", part("sdp", "v=0")), offer(None)).await;
        let both = [part("session", "{\"model\":\"m\"}"), part("other", "x"), part("sdp", "v=0")].concat();
        check(form, &format!("{both}--b--\n"), offer(Some(serde_json::json!({ "model": "m" })))).await;
        check(form, &format!("{}--b--\n", part("session", "{}")), Err((400, Some("sdp")))).await;
        check(form, &format!("{}--b--\n", part("session", "{")), Err((400, Some("session")))).await;
        check(form, "nonsense", Err((400, None))).await;
        check("multipart/form-data", "", Err((400, None))).await;
        check("application/sdp", " ", Err((400, Some("sdp")))).await;
        check("application/json", "{}", Err((415, None))).await;
        let huge = "v".repeat(MOST_BYTES + 1);
        check(form, &format!("{}--b--\n", part("sdp", &huge)), Err((413, None))).await;
        check("application/sdp", &huge, Err((400, None))).await;
    }
}
