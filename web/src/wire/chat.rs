//! A chat completion as it is asked for (`CreateChatCompletionRequest` of OpenAI's API), turned into a [`Prompt`].
//!
//! What is not modelled here is kept in `extra`, so that an upstream of the same dialect gets it as it came.

use audio::Container;
use models::{Message, Part, Prompt, Role, Sampling, SignalKind, SignalSet, Tool, ToolCall};
use serde_json::{Map, Value, json};

use super::{ApiError, Field, Fields};

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    /// The prompt; each of `heard` has a place in it that waits for its words.
    pub(crate) prompt: Prompt,
    /// The caller's own facts for the rules.
    pub(crate) metadata: Map<String, Value>,
    /// Who asks: keeps the same variant.
    pub(crate) user: Option<String>,
    /// Whether the answer is streamed, and how.
    pub(crate) stream: Option<StreamOptions>,
    /// Whether and how the answer is also spoken.
    pub(crate) spoken: Option<SpokenReply>,
    /// Sound to be transcribed, oldest first.
    pub(crate) heard: Vec<InputAudio>,
    /// Earlier spoken answers that the client names by their id only.
    pub(crate) recalled: Vec<RecalledAudio>,
    /// Signals that the client wants to see besides those that the rules read.
    pub(crate) signals: SignalSet,
}

/// How to stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// Whether a last chunk tells the tokens counted.
    pub(crate) include_usage: bool,
}

/// `audio` of the request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpokenReply {
    /// As the client named it.
    pub(crate) voice: String,
    pub(crate) format: Container,
}

/// An `input_audio` part.
#[derive(Debug, PartialEq)]
pub(crate) struct InputAudio {
    /// Which message, counted from 0.
    pub(crate) message: usize,
    /// Which of its parts.
    pub(crate) part: usize,
    /// Path of its `data`, for complaints.
    pub(crate) path: String,
    /// As it came: base64.
    pub(crate) data: String,
}

/// `audio: {"id"}` of an assistant message.
#[derive(Debug, PartialEq)]
pub(crate) struct RecalledAudio {
    /// Which message, counted from 0.
    pub(crate) message: usize,
    /// Path of the id, for complaints.
    pub(crate) path: String,
    pub(crate) id: String,
}

/// The formats of spoken replies, by their names; `pcm` is what the speech API calls `pcm16`.
const FORMATS: [(&str, Container); 6] = [
    ("wav", Container::Wav),
    ("mp3", Container::Mp3),
    ("flac", Container::Flac),
    ("opus", Container::Opus),
    ("pcm16", Container::Pcm16),
    ("pcm", Container::Pcm16),
];
/// The most tokens that one answer may be allowed.
pub(crate) const MOST_TOKENS: u64 = 10_000_000;
/// The longest model name, bytes: names are looked up and logged.
const LONGEST_NAME: usize = 256;

/// Takes a request apart.
pub(crate) fn read(body: Value) -> Result<ChatRequest, ApiError> {
    let mut fields = Field::root(body).object()?;
    let model = read_model(&mut fields)?;
    if let Some(n) = fields.take("n")
        && n.value().as_u64() != Some(1)
    {
        return Err(n.wrong("1: one answer a request"));
    }
    let (stream, delivery) = read_stream(&mut fields)?;
    let spoken = read_spoken(&mut fields, stream.is_some())?;
    let metadata = fields.take("metadata").map(|field| field.object().map(Fields::rest)).transpose()?.unwrap_or_default();
    let user = fields.take("user").map(Field::string).transpose()?;
    let signals = read_signals(&mut fields)?;
    // The caller's name of the limit is kept: some upstreams refuse the old one, others do not know the new one.
    let newer = fields.present("max_completion_tokens").cloned();
    let sampling = read_sampling(&mut fields)?;
    let tools = fields.take("tools").map(read_tools).transpose()?.unwrap_or_default();
    let tool_choice = fields.take("tool_choice").map(Field::into_value);
    let mut dialogue = Dialogue::default();
    let messages = fields.require("messages", "an array with at least one message")?;
    let empty = messages.value().as_array().is_some_and(Vec::is_empty).then(|| messages.wrong("an array with at least one message"));
    if let Some(error) = empty {
        return Err(error);
    }
    for message in messages.array()? {
        dialogue.read(message)?;
    }
    let mut extra = fields.rest();
    if let Some(user) = &user {
        extra.insert("user".to_owned(), json!(user));
    }
    // Metadata are for the rules; an upstream takes them only from who asks it to store the answer.
    if extra.get("store") == Some(&Value::Bool(true)) && !metadata.is_empty() {
        extra.insert("metadata".to_owned(), Value::Object(metadata.clone()));
    }
    if !delivery.is_empty() {
        extra.insert("stream_options".to_owned(), Value::Object(delivery));
    }
    extra.extend(newer.map(|most| ("max_completion_tokens".to_owned(), most)));
    let prompt = Prompt {
        model,
        messages: dialogue.messages,
        tools,
        tool_choice,
        sampling,
        extra,
        whole: stream.is_none() && spoken.is_none(),
        ..Prompt::default()
    };
    Ok(ChatRequest { prompt, metadata, user, stream, spoken, heard: dialogue.heard, recalled: dialogue.recalled, signals })
}

pub(crate) fn read_model(fields: &mut Fields) -> Result<String, ApiError> {
    let model = fields.require("model", "the id of a model, as GET /v1/models lists them")?;
    let name = model.clone().string()?;
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(model.wrong(&format!("the id of a model, of at most {LONGEST_NAME} bytes")));
    }
    Ok(name)
}

/// How to stream, and the options that are for the provider.
fn read_stream(fields: &mut Fields) -> Result<(Option<StreamOptions>, Map<String, Value>), ApiError> {
    let stream = fields.take("stream").map(Field::boolean).transpose()?.unwrap_or(false);
    let Some(options) = fields.take("stream_options") else { return Ok((stream.then_some(StreamOptions::default()), Map::new())) };
    let mut options = options.object()?;
    let include_usage = options.take("include_usage").map(Field::boolean).transpose()?.unwrap_or(false);
    Ok((stream.then_some(StreamOptions { include_usage }), options.rest()))
}

/// A reply is spoken if `audio` is there, unless `modalities` leaves it out.
fn read_spoken(fields: &mut Fields, streamed: bool) -> Result<Option<SpokenReply>, ApiError> {
    let modalities = fields.take("modalities").map(Field::array).transpose()?;
    let mut wanted = None;
    if let Some(modalities) = modalities {
        let modalities = modalities.into_iter().map(|item| item.one_of(&[("text", false), ("audio", true)]));
        wanted = Some(modalities.collect::<Result<Vec<_>, _>>()?.contains(&true));
    }
    let audio = fields.take("audio");
    if wanted == Some(false) {
        return Ok(None);
    }
    let Some(audio) = audio else {
        return match wanted {
            Some(true) => Err(ApiError::missing("audio", "`modalities` asks for audio, so `audio` must say which `voice` and `format`")),
            _ => Ok(None),
        };
    };
    let mut audio = audio.object()?;
    let voice = read_voice(audio.take("voice"))?;
    let default = if streamed { Container::Pcm16 } else { Container::Wav };
    let format = audio.take("format").map(|field| field.one_of(&FORMATS)).transpose()?.unwrap_or(default);
    if streamed && format != Container::Pcm16 {
        let message = "`audio.format` must be `pcm16` when `stream` is true; the other formats need `stream` false.";
        return Err(ApiError::invalid("audio.format", message));
    }
    Ok(Some(SpokenReply { voice, format }))
}

/// A voice: its name, or an object with its `id`. Absent: the empty name, which stands for the default.
pub(crate) fn read_voice(field: Option<Field>) -> Result<String, ApiError> {
    let Some(field) = field else { return Ok(String::new()) };
    match field.value() {
        Value::String(_) => field.string(),
        Value::Object(_) => field.object()?.require("id", "the id of a voice")?.string(),
        _ => Err(field.wrong("the name of a voice, or an object with its `id`")),
    }
}

/// `timbre.signals`: our own field; the signals that the client wants to see.
pub(crate) fn read_signals(fields: &mut Fields) -> Result<SignalSet, ApiError> {
    let Some(own) = fields.take("timbre") else { return Ok(SignalSet::NONE) };
    let Some(signals) = own.object()?.take("signals") else { return Ok(SignalSet::NONE) };
    let kinds = SignalKind::ALL.map(|kind| (kind.name(), kind));
    let mut set = SignalSet::NONE;
    for signal in signals.array()? {
        set = set.with(signal.one_of(&kinds)?);
    }
    Ok(set)
}

fn read_sampling(fields: &mut Fields) -> Result<Sampling, ApiError> {
    let old = fields.take("max_tokens").map(|field| field.whole(1, MOST_TOKENS)).transpose()?;
    let new = fields.take("max_completion_tokens").map(|field| field.whole(1, MOST_TOKENS)).transpose()?;
    let stop = match fields.take("stop") {
        None => Vec::new(),
        Some(field) if field.value().is_string() => vec![field.string()?],
        Some(field) if field.value().is_array() => field.array()?.into_iter().map(Field::string).collect::<Result<_, _>>()?,
        Some(field) => return Err(field.wrong("a string or an array of strings")),
    };
    Ok(Sampling {
        max_tokens: new.or(old).map(|tokens| tokens as u32),
        temperature: decimal_in(fields.take("temperature"), 2.0)?,
        top_p: decimal_in(fields.take("top_p"), 1.0)?,
        stop,
        seed: fields.take("seed").map(read_seed).transpose()?,
    })
}

/// A number from 0 to `most`. No caller says 0.7 with more than single precision.
pub(crate) fn decimal_in(field: Option<Field>, most: f64) -> Result<Option<f32>, ApiError> {
    field.map(|field| field.number(0.0, most).map(|number| number as f32)).transpose()
}

/// Any whole number, negative ones included: OpenAI's type is a signed 64-bit one.
fn read_seed(field: Field) -> Result<u64, ApiError> {
    let seed = field.value().as_u64().or_else(|| field.value().as_i64().map(i64::cast_unsigned));
    seed.ok_or_else(|| field.wrong("a whole number"))
}

fn read_tools(field: Field) -> Result<Vec<Tool>, ApiError> {
    field.array()?.into_iter().map(read_tool).collect()
}

fn read_tool(field: Field) -> Result<Tool, ApiError> {
    let mut tool = field.object()?;
    let kind = tool.require("type", "`function`, or a type that the provider knows")?;
    if kind.clone().string()? != "function" {
        let mut extra = tool.rest();
        extra.insert("type".to_owned(), kind.into_value());
        return Ok(Tool { name: String::new(), description: None, parameters: None, extra });
    }
    let mut function = tool.require("function", "an object with a `name`")?.object()?;
    let name = function.require("name", "the name of the function")?;
    if name.value() == "" {
        return Err(name.wrong("the name of the function"));
    }
    let name = name.string()?;
    let description = function.take("description").map(Field::string).transpose()?;
    let parameters = function.take("parameters").map(|parameters| parameters.object().map(Fields::rest)).transpose()?;
    Ok(Tool { name, description, parameters: parameters.map(Value::Object), extra: function.rest() })
}

/// The dialogue as it is read, and what must be filled in before a model can see it.
#[derive(Default)]
struct Dialogue {
    messages: Vec<Message>,
    heard: Vec<InputAudio>,
    recalled: Vec<RecalledAudio>,
}

const ROLES: [(&str, Role); 6] = [
    ("system", Role::System),
    ("developer", Role::System),
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("tool", Role::Tool),
    // The role of tools before there were several a message.
    ("function", Role::Tool),
];

impl Dialogue {
    fn read(&mut self, field: Field) -> Result<(), ApiError> {
        let mut fields = field.object()?;
        let role = fields.require("role", "who the message is from")?.one_of(&ROLES)?;
        let mut message = Message { role, parts: Vec::new(), tool_calls: Vec::new(), tool_call_id: None, extra: Map::new() };
        let content_path = fields.path("content");
        if let Some(content) = fields.take("content") {
            message.parts = self.read_content(content)?;
        }
        if role == Role::Assistant {
            let thoughts = read_thoughts(&mut fields)?;
            message.parts.splice(0..0, thoughts);
            message.tool_calls = fields.take("tool_calls").map(read_calls).transpose()?.unwrap_or_default();
            if let Some(audio) = fields.take("audio") {
                let id = audio.object()?.require("id", "the id of an earlier spoken answer")?;
                self.recalled.push(RecalledAudio { message: self.messages.len(), path: id.path().to_owned(), id: id.string()? });
            }
        }
        if role == Role::Tool {
            message.tool_call_id = fields.take("tool_call_id").map(Field::string).transpose()?;
        }
        message.extra = fields.rest();
        // An assistant may have said nothing but called a tool or refused; anybody else must say something.
        if role != Role::Assistant && message.parts.is_empty() {
            return Err(ApiError::missing(content_path, "a string, or an array with at least one part"));
        }
        self.messages.push(message);
        Ok(())
    }

    fn read_content(&mut self, content: Field) -> Result<Vec<Part>, ApiError> {
        match content.value() {
            Value::String(_) => Ok(vec![Part::Text(content.string()?)]),
            Value::Array(_) => {
                let parts = content.array()?;
                parts.into_iter().enumerate().map(|(at, part)| self.read_part(at, part)).collect()
            }
            _ => Err(content.wrong("a string or an array of parts")),
        }
    }

    fn read_part(&mut self, at: usize, part: Field) -> Result<Part, ApiError> {
        // Looked at before it is taken apart: a part that nothing here models is kept whole.
        let kind = part.value().get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "text" => {
                let mut part = part.object()?;
                let text = part.require("text", "the words of the part")?.string()?;
                Ok(match part.take("cache_control") {
                    Some(mark) => Part::Cached { text, cache_control: mark.object()?.rest().into() },
                    None => Part::Text(text),
                })
            }
            "input_audio" => {
                let mut audio = part.object()?.require("input_audio", "an object with `data` and `format`")?.object()?;
                let data = audio.require("data", "base64 of a WAV or MP3 file")?;
                let path = data.path().to_owned();
                self.heard.push(InputAudio { message: self.messages.len(), part: at, path, data: data.string()? });
                Ok(Part::Text(String::new()))
            }
            "" => Err(ApiError::missing(format!("{}.type", part.path()), "text, image_url, input_audio, file or refusal")),
            _ => Ok(Part::Other(part.into_value())),
        }
    }
}

/// What an earlier answer thought, under the names that answers here have it; `reasoning` is what some other servers call it.
fn read_thoughts(fields: &mut Fields) -> Result<Vec<Part>, ApiError> {
    let mut text = |name| fields.take(name).map(Field::string).transpose();
    let words = text("reasoning_content")?.or(text("reasoning")?);
    let signature = text("reasoning_signature")?;
    let mut parts = Vec::new();
    if words.is_some() || signature.is_some() {
        parts.push(Part::Reasoning { text: words.unwrap_or_default(), signature, redacted: None });
    }
    if let Some(field) = fields.take("redacted_reasoning") {
        let items = if field.value().is_string() { vec![field] } else { field.array()? };
        for item in items {
            parts.push(Part::Reasoning { text: String::new(), signature: None, redacted: Some(item.string()?) });
        }
    }
    Ok(parts)
}

fn read_calls(field: Field) -> Result<Vec<ToolCall>, ApiError> {
    let read = |call: Field| {
        let mut call = call.object()?;
        let id = call.require("id", "the id of the call")?.string()?;
        let mut function = call.require("function", "an object with `name` and `arguments`")?.object()?;
        let name = function.require("name", "the name of the function")?.string()?;
        let arguments = function.require("arguments", "its arguments, a JSON text")?.string()?;
        let mut extra = call.rest();
        extra.remove("type");
        Ok(ToolCall { id, name, arguments, extra })
    };
    field.array()?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
