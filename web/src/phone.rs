//! Telephone calls: `/phone/{carrier}` is both the webhook that a carrier asks what to do with a call and the WebSocket that it is then
//! told to open; Asterisk's AudioSocket has a TCP port of its own.
//!
//! One task owns a call: it reads the carrier's wire format, paces the answers by its marks, and drives the session, as the other
//! transports do. The carriers have no keys of this server's: they sign their requests (Twilio), or carry a token. Not here: placing calls,
//! transferring them, and telling an answering machine from a person; where a carrier tells that (`AnsweredBy`), rules see it in `parameters`.

mod digits;
mod playout;
mod signature;
mod socket;
mod trunk;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::FutureExt;
use futures::future::BoxFuture;
use router::limit::KeyId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::ApiError;
use crate::auth::Keys;
use crate::call::{ResponseConfig, SessionConfig};
use crate::line::Line;
use crate::wire::phone::Wire;
pub use crate::wire::phone::{Abilities, Carrier, Document, Framing, Heard, Packet, Said, Start, WireError};
use crate::ws::{self, Realtimes, Shared};

use socket::{Socket, Tcp, Web};
use trunk::{Carriage, Trunk};

/// Largest webhook's body, bytes: Twilio's have one or two thousand.
const MOST_BODY: usize = 64 * 1024;
/// Largest message of a carrier's, bytes: 30 s of G.711 in base64, the most that any sends.
const MOST_MESSAGE: usize = 512 * 1024;
/// Where the system has no descriptor left, the next try waits for this.
const RECOVER: Duration = Duration::from_millis(100);
/// Names of the parameters that our documents pass on.
const TICKET: &str = "ticket";
const CALLER: &str = "caller";
const CALLEE: &str = "callee";
/// Who carries a call's sound, as `jambonz` and browsers ask for it.
const JAMBONZ: &str = "audio.jambonz.org";
/// The protocol that Asterisk's media connections ask for.
const MEDIA: &str = "media";

/// How telephone calls are taken.
#[derive(Clone, Default)]
pub struct Bridges {
    /// Whose calls.
    pub carriers: Vec<Carrier>,
    /// Where carriers reach this server, `https://voice.example.org`.
    pub public_url: String,
    /// What carriers without signatures must know; `None`: nothing.
    pub token: Option<String>,
    /// The auth token of the Twilio account, with which it signs; `None`: Twilio needs the token, too.
    pub twilio_token: Option<String>,
    /// Keys are heard in the sound itself, not in the carrier's events.
    pub in_band_keys: bool,
    /// Who answers.
    pub agent: Agent,
}

/// Who answers a telephone call; what is empty is the server's default.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// A model or router.
    pub model: String,
    /// Its instructions.
    pub instructions: String,
    /// Its voice.
    pub voice: String,
    /// What it says first, word for word.
    pub greeting: String,
}

/// What the endpoints stand on.
struct Desk {
    shared: Arc<Shared>,
    bridges: Bridges,
    token: Keys,
}

/// A call on its way in.
struct Caller {
    carrier: Carrier,
    /// Its place, if it has shown the token or signed; else its beginning must have a ticket.
    place: Option<ws::Place>,
}

/// Endpoints to be served beside the others.
pub type Routes = Router;

/// The endpoints, and the work of the AudioSocket port. They ask for their own tokens, not for keys.
pub fn routes(shared: Arc<Shared>, bridges: Bridges, port: Option<TcpListener>) -> (Routes, Option<BoxFuture<'static, ()>>) {
    let token = Keys::new(bridges.token.clone());
    let desk = Arc::new(Desk { shared, bridges, token });
    let listening = port.map(|port| listen(port, desk.clone()).boxed());
    let routes = Router::new()
        .route("/phone/{carrier}", any(answer))
        .route("/phone/{carrier}/{token}", any(answer))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(desk);
    (routes, listening)
}

/// What stands in the path.
#[derive(Deserialize)]
struct Place {
    carrier: String,
    token: Option<String>,
}

/// What stands in the address.
#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
}

/// What a carrier's webhook may ask with.
struct Webhook {
    method: Method,
    url: String,
    headers: HeaderMap,
    fields: Vec<(String, String)>,
    token: Option<String>,
}

async fn answer(
    State(desk): State<Arc<Desk>>,
    Path(place): Path<Place>,
    Query(asked): Query<Asked>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let Some(carrier) = Carrier::named(&place.carrier).filter(|carrier| desk.takes(*carrier)) else {
        return desk.unknown(&place.carrier).into_response();
    };
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    // A webhook that is JSON (Vonage's, jambonz's) says nothing that is needed here.
    let fields = form.map(|Form(fields)| fields).unwrap_or_default();
    let url = format!("{}{path}", desk.bridges.public_url);
    let webhook = Webhook { method, url, headers, fields, token: place.token.or(asked.token) };
    match upgrade {
        Ok(upgrade) => desk.take(carrier, &webhook, upgrade),
        Err(_) => desk.instruct(carrier, &webhook),
    }
    .unwrap_or_else(IntoResponse::into_response)
}

impl Webhook {
    fn field(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.fields.iter().find(|(known, _)| known == name)).map(|(_, value)| value.as_str())
    }
}

impl Desk {
    fn takes(&self, carrier: Carrier) -> bool {
        carrier != Carrier::Audiosocket && self.bridges.carriers.contains(&carrier)
    }

    fn unknown(&self, name: &str) -> ApiError {
        let known: Vec<&str> = Carrier::ALL.into_iter().filter(|carrier| self.takes(*carrier)).map(Carrier::name).collect();
        let message = format!("There is no telephone bridge {name:?} here; [phone] bridges has: {}.", known.join(", "));
        ApiError::new(404, "unknown_url", message)
    }

    /// Whether the request shows the token, or is signed by its carrier. Where there is nothing to show, everybody may call.
    fn knows(&self, carrier: Carrier, webhook: &Webhook, url: &str, fields: &[(String, String)]) -> bool {
        let Bridges { token, twilio_token, .. } = &self.bridges;
        if carrier == Carrier::Twilio
            && let Some(secret) = twilio_token
        {
            let signature = webhook.headers.get("x-twilio-signature").and_then(|signature| signature.to_str().ok());
            if signature.is_some_and(|signature| signature::is_twilios(secret, signature, url, fields)) {
                return true;
            }
            if token.is_none() {
                return false;
            }
        }
        let offered = webhook.token.as_deref();
        token.is_none() || offered.is_some_and(|offered| self.token.holds(offered)) || self.token.check(&webhook.headers).is_ok()
    }

    /// What tickets are made with.
    fn secret(&self, carrier: Carrier) -> Option<&str> {
        let Bridges { token, twilio_token, .. } = &self.bridges;
        twilio_token.as_deref().filter(|_| carrier == Carrier::Twilio).or(token.as_deref())
    }

    /// Answers a webhook: the document that connects the call to its socket.
    fn instruct(&self, carrier: Carrier, webhook: &Webhook) -> Result<Response, ApiError> {
        let fields: &[(String, String)] = if webhook.method == Method::POST { &webhook.fields } else { &[] };
        if !self.knows(carrier, webhook, &webhook.url, fields) {
            return Err(refused(carrier));
        }
        let host = self.bridges.public_url.replacen("http", "ws", 1);
        let mut url = format!("{host}/phone/{}", carrier.name());
        let (call, caller, callee) = (webhook.field(&["CallSid"]), webhook.field(&["From", "from"]), webhook.field(&["To", "to"]));
        let mut parameters = Vec::new();
        parameters.extend(caller.map(|caller| (CALLER, caller)));
        parameters.extend(callee.map(|callee| (CALLEE, callee)));
        parameters.extend(webhook.field(&["AnsweredBy"]).map(|by| ("answered_by", by)));
        // Vonage's socket does not name its call, only what was passed on.
        parameters.extend(webhook.field(&["uuid"]).filter(|_| carrier == Carrier::Vonage).map(|uuid| ("uuid", uuid)));
        let ticket;
        match (carrier, self.secret(carrier)) {
            (_, None) => {}
            // The addresses of their streams may have no query, and what they are told to pass on can be trusted with more than a token.
            (Carrier::Twilio | Carrier::Signalwire, Some(secret)) => {
                ticket = signature::ticket(secret, call.unwrap_or_default(), caller, callee);
                parameters.push((TICKET, &ticket));
            }
            (_, Some(secret)) => url.push_str(&format!("?token={}", encoded(secret))),
        }
        let document = carrier.document(&url, &parameters).ok_or_else(|| {
            let message = format!("This path is for {}'s WebSocket: it has no webhook.", carrier.name());
            ApiError::new(426, "websocket_required", message)
        })?;
        Ok(([(CONTENT_TYPE, document.kind)], document.text).into_response())
    }

    /// Takes the socket of a call.
    fn take(self: &Arc<Self>, carrier: Carrier, webhook: &Webhook, upgrade: WebSocketUpgrade) -> Result<Response, ApiError> {
        let url = webhook.url.replacen("http", "ws", 1);
        let known = self.knows(carrier, webhook, &url, &[]);
        // These may show a ticket with their first message.
        if !known && !matches!(carrier, Carrier::Twilio | Carrier::Signalwire) {
            return Err(refused(carrier));
        }
        // A caller that nobody knows yet takes no place from those who are known.
        let place = if known { Some(self.shared.place()?) } else { None };
        let desk = self.clone();
        let upgrade = upgrade.protocols([JAMBONZ, MEDIA]).max_message_size(MOST_MESSAGE).max_frame_size(MOST_MESSAGE);
        Ok(upgrade.on_upgrade(move |socket| async move {
            desk.carry(Caller { carrier, place }, Web(socket)).await;
        }))
    }

    /// Carries one call to its end.
    async fn carry(&self, Caller { carrier, place }: Caller, mut socket: impl Socket) {
        let mut wire = carrier.wire();
        let (mut start, early) = match trunk::begin(&mut socket, &mut *wire).await {
            Ok(began) => began,
            Err(end) => return info!(carrier = carrier.name(), %end, "A telephone call did not begin."),
        };
        let ticket = start.parameters.remove(TICKET);
        let place = match place {
            Some(place) => Ok(place),
            None if self.admits(carrier, ticket.as_deref(), &start) => self.shared.place(),
            None => Err(refused(carrier)),
        };
        let ws::Place { permit, mut stop } = match place {
            Ok(place) => place,
            Err(error) => return warn!(carrier = carrier.name(), error = %error.message, "A telephone call did not begin."),
        };
        let Realtimes { answer, limits, .. } = &self.shared.realtimes;
        let realtime = self.shared.session(self.config(carrier, &start));
        let (call, config) = (realtime.id().to_owned(), realtime.config().clone());
        info!(call = %call, model = %config.model, transport = carrier.name(), carriers = %start.call, "Call began.");
        let books = self.shared.books(KeyId::ANYBODY);
        let line = Line::new(realtime, config, books, answer);
        let carriage = Carriage { abilities: wire.abilities(), codec: start.codec, in_band_keys: self.bridges.in_band_keys };
        let greeting = Some(self.bridges.agent.greeting.clone()).filter(|greeting| !greeting.is_empty());
        let greeting = greeting.map(|say| ResponseConfig { say: Some(say), ..ResponseConfig::default() });
        let end = Trunk::new(socket, wire, &carriage, line, limits.clone()).run(early, greeting, &mut stop).await;
        info!(call = %call, %end, "Call ended.");
        drop(permit);
    }

    fn admits(&self, carrier: Carrier, ticket: Option<&str>, start: &Start) -> bool {
        let (caller, callee) = (start.caller.as_deref(), start.callee.as_deref());
        let secret = self.secret(carrier);
        secret.zip(ticket).is_some_and(|(secret, ticket)| signature::is_ticket(secret, ticket, &start.call, caller, callee))
    }

    /// What the session of a call is told of it: rules see all of that.
    fn config(&self, carrier: Carrier, start: &Start) -> SessionConfig {
        let Start { call, caller, callee, codec, parameters } = start;
        let mut metadata = Map::new();
        metadata.insert("channel".to_owned(), json!("phone"));
        metadata.insert("carrier".to_owned(), json!(carrier.name()));
        metadata.insert("call".to_owned(), json!(call));
        metadata.insert(CALLER.to_owned(), json!(caller.as_deref().unwrap_or_default()));
        metadata.insert(CALLEE.to_owned(), json!(callee.as_deref().unwrap_or_default()));
        let parameters = parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        metadata.insert("parameters".to_owned(), Value::Object(parameters));
        let defaults = self.shared.realtimes.defaults.clone();
        let Agent { model, instructions, voice, .. } = &self.bridges.agent;
        let or = |own: &String, default: String| if own.is_empty() { default } else { own.clone() };
        SessionConfig {
            model: or(model, defaults.model),
            instructions: or(instructions, defaults.instructions),
            voice: if voice.is_empty() { defaults.voice } else { Some(models::Voice::new(voice)) },
            user: caller.clone(),
            input: *codec,
            output: *codec,
            metadata,
            // No carrier can be told; rules, and who else controls the call, still get what they ask for.
            signals: models::SignalSet::NONE,
            ..defaults
        }
    }
}

fn refused(carrier: Carrier) -> ApiError {
    let message = match carrier {
        Carrier::Twilio => "The request is not signed by Twilio for [phone] public_url and the auth token, and has no valid token.",
        _ => "A valid token is required: as `?token=`, as the last part of the path, or as the password of `Authorization: Basic`.",
    };
    ApiError::new(403, "invalid_token", message)
}

/// Text as it may stand in a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Takes AudioSocket's calls. Dropping it ends them.
async fn listen(port: TcpListener, desk: Arc<Desk>) {
    let mut calls = JoinSet::new();
    loop {
        match port.accept().await {
            Ok((stream, _)) => match desk.shared.place() {
                Ok(place) => {
                    let desk = desk.clone();
                    calls.spawn(async move {
                        desk.carry(Caller { carrier: Carrier::Audiosocket, place: Some(place) }, Tcp::new(stream)).await;
                    });
                }
                Err(error) => warn!(error = %error.message, "An AudioSocket call is refused."),
            },
            Err(error) => {
                warn!(%error, "An AudioSocket connection could not be accepted.");
                tokio::time::sleep(RECOVER).await;
            }
        }
        while calls.try_join_next().is_some() {}
    }
}

/// A new call's wire format, for those who test it.
pub fn wire(carrier: Carrier) -> Box<dyn Wire> {
    carrier.wire()
}
