//! The session object: what `session.update` may change, and how it looks to the client.

mod beta;
mod format;
mod mcp;
mod provider_data;
mod tools;
mod turns;

use std::time::Duration;

use models::{Language, Voice};
use serde_json::{Map, Value, json};

use crate::ApiError;
use crate::call::{AfterTurn, MOST_TOKENS, SessionConfig, Truncation, TurnDetection};
use crate::wire::chat::read_voice;
use crate::wire::{Field, Fields};

use beta::modern;
pub(super) use format::{format_json, read_format};
pub(super) use tools::{read_tool_choice, read_tools};
use tools::{tool_choice_json, tools_json};
use turns::{decimal, read_semantic, read_silence, turns_json};

/// Longest name of a model, voice or user, bytes.
const LONGEST_NAME: u64 = 256;

/// The session as its client sees it, and as the conversation goes by it.
#[derive(Clone)]
pub(super) struct Session {
    /// What the client sees. It holds more than `config`: fields that only say something back.
    json: Value,
    config: SessionConfig,
    /// What `null` goes back to.
    defaults: SessionConfig,
    kind: Kind,
}

/// What a session is for. It is settled when the session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A conversation.
    Realtime,
    /// The caller's words alone.
    Transcription,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Realtime => "realtime",
            Kind::Transcription => "transcription",
        }
    }
}

/// Fields of the session that a transcription has nothing to do with.
const ANSWERING: [&str; 10] = [
    "model",
    "output_modalities",
    "instructions",
    "tools",
    "tool_choice",
    "max_output_tokens",
    "tracing",
    "truncation",
    "prompt",
    "temperature",
];

impl Session {
    pub(super) fn new(id: &str, defaults: SessionConfig) -> Session {
        Session { json: describe(id, &defaults), config: defaults.clone(), defaults, kind: Kind::Realtime }
    }

    /// Makes it a session in which nothing answers.
    pub(super) fn only_transcribe(&mut self) {
        self.kind = Kind::Transcription;
        self.json["type"] = json!(self.kind.name());
        self.json["object"] = json!("realtime.transcription_session");
        if let Some(map) = self.json.as_object_mut() {
            map.retain(|name, _| !ANSWERING.contains(&name.as_str()));
        }
        if let Some(audio) = self.json["audio"].as_object_mut() {
            audio.shift_remove("output");
            if let Some(transcription) = audio.get_mut("input").and_then(|input| input.get_mut("transcription")).filter(|it| it.is_null()) {
                *transcription = json!({});
            }
        }
        self.stay_silent();
    }

    /// Whether it only transcribes.
    pub(super) fn only_transcribes(&self) -> bool {
        self.kind == Kind::Transcription
    }

    /// Whether the client takes events that OpenAI does not have.
    pub(super) fn takes_ours(&self) -> bool {
        self.json.pointer("/providerData/events").is_none_or(|events| events != "standard")
    }

    /// A transcription answers nobody and interrupts nothing, whatever else was set.
    fn stay_silent(&mut self) {
        if let TurnDetection::Silence { then, .. } | TurnDetection::Semantic { then, .. } = &mut self.config.turns {
            *then = AfterTurn { respond: false, interrupt: false };
        }
        self.config.transcripts = true;
        if let Some(turns) = self.json.pointer_mut("/audio/input/turn_detection").and_then(Value::as_object_mut) {
            turns.retain(|name, _| !["create_response", "interrupt_response", "idle_timeout_ms"].contains(&name.as_str()));
        }
    }

    pub(super) fn expire_at(&mut self, unix_seconds: u64) {
        self.json["expires_at"] = json!(unix_seconds);
    }

    pub(super) fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_default()
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.config
    }

    pub(super) fn to_json(&self) -> Value {
        self.json.clone()
    }

    /// Changes what `patch` names, or nothing if any of it is wrong.
    pub(super) fn update(&mut self, patch: Field) -> Result<(), ApiError> {
        let path = patch.path().to_owned();
        let patch = modern(patch.object()?.rest());
        let mut next = self.clone();
        next.merge(Field::at(path, Value::Object(patch)).object()?)?;
        if next.kind == Kind::Transcription {
            next.stay_silent();
        }
        *self = next;
        Ok(())
    }

    fn merge(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        if let Some(kind) = fields.take("type") {
            let wrong = kind.wrong(&format!("`{}`, which this session is: its type is settled when it begins", self.kind.name()));
            if kind.one_of(&[("realtime", Kind::Realtime), ("transcription", Kind::Transcription)])? != self.kind {
                return Err(wrong);
            }
        }
        if self.kind == Kind::Transcription {
            self.refuse_answering(&mut fields)?;
        }
        // Some clients send back the whole object that they were told.
        for told in ["id", "object", "expires_at", "client_secret"] {
            fields.given(told);
        }
        self.merge_answers(&mut fields)?;
        self.merge_tools(&mut fields)?;
        self.merge_caller(&mut fields)?;
        self.merge_echoes(&mut fields)?;
        if let Some(audio) = fields.take("audio") {
            let mut audio = audio.object()?;
            if let Some(input) = audio.take("input") {
                self.merge_input(input.object()?)?;
            }
            if let Some(output) = audio.take("output") {
                self.merge_output(output.object()?)?;
            }
            audio.nothing_else(&["input", "output"])?;
        }
        fields.nothing_else(&[
            "type",
            "model",
            "instructions",
            "output_modalities",
            "audio",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "max_output_tokens",
            "temperature",
            "tracing",
            "truncation",
            "include",
            "prompt",
            "reasoning",
            "user",
            "metadata",
            "providerData",
        ])
    }

    /// A transcription has no answers to shape. A client that sends back what a beta session showed says nothing by it.
    fn refuse_answering(&self, fields: &mut Fields) -> Result<(), ApiError> {
        for name in ["modalities", "output_modalities", "model"] {
            fields.given(name);
        }
        for name in ANSWERING {
            if let Some(field) = fields.take(name) {
                let message = format!("`{}` has no meaning here: this session only transcribes.", field.path());
                return Err(ApiError::invalid(field.path(), message));
            }
        }
        if let Some(output) = fields.present("audio").and_then(|audio| audio.get("output")).filter(|output| !output.is_null()) {
            let path = format!("{}.output", fields.path("audio"));
            let message = format!("`{path}` must be absent, not {output}: this session only transcribes.");
            return Err(ApiError::invalid(path, message.chars().take(300).collect::<String>()));
        }
        Ok(())
    }

    /// Who answers, by which instructions, in which form, at what length.
    fn merge_answers(&mut self, fields: &mut Fields) -> Result<(), ApiError> {
        if let Some(model) = fields.given("model") {
            self.config.model = model.present().map(read_name).transpose()?.unwrap_or_else(|| self.defaults.model.clone());
            self.json["model"] = json!(self.config.model);
        }
        if let Some(text) = fields.given("instructions") {
            let text = text.present().map(Field::string).transpose()?;
            self.config.instructions = text.unwrap_or_else(|| self.defaults.instructions.clone());
            self.json["instructions"] = json!(self.config.instructions);
        }
        if let Some(modalities) = fields.given("output_modalities") {
            self.config.spoken = modalities.present().map(read_modalities).transpose()?.unwrap_or(self.defaults.spoken);
            self.json["output_modalities"] = modalities_json(self.config.spoken);
        }
        if let Some(limit) = fields.given("max_output_tokens") {
            self.config.max_tokens = limit.present().map_or(Ok(self.defaults.max_tokens), read_limit)?;
            self.json["max_output_tokens"] = limit_json(self.config.max_tokens);
        }
        if let Some(temperature) = fields.given("temperature") {
            let temperature = temperature.present().map(|field| field.number(0.0, 2.0)).transpose()?;
            self.config.temperature = temperature.map_or(self.defaults.temperature, |number| Some(number as f32));
            self.json["temperature"] = json!(temperature);
        }
        Ok(())
    }

    fn merge_tools(&mut self, fields: &mut Fields) -> Result<(), ApiError> {
        if let Some(tools) = fields.given("tools") {
            let tools = tools.present();
            let known = &self.config.tools.servers;
            self.config.tools = tools.map(|tools| read_tools(tools, known)).transpose()?.unwrap_or_default();
            self.json["tools"] = tools_json(&self.config.tools);
        }
        if let Some(choice) = fields.given("tool_choice") {
            let choice = choice.present();
            self.json["tool_choice"] = choice.as_ref().map_or(json!("auto"), |choice| choice.value().clone());
            self.config.tool_choice = choice.map(read_tool_choice).transpose()?;
        }
        Ok(())
    }

    /// Who calls, for rules and sticky variants.
    fn merge_caller(&mut self, fields: &mut Fields) -> Result<(), ApiError> {
        let mut own = None;
        if let Some(provider_data) = fields.given("providerData") {
            let value = provider_data.value().clone();
            own = provider_data.present().map(Field::object).transpose()?;
            self.merge_provider_data(own.as_mut())?;
            self.json["providerData"] = value;
        }
        let own_user = own.as_mut().and_then(|own| own.given("user_id"));
        let own_metadata = own.as_mut().and_then(|own| own.given("metadata"));
        if let Some(user) = fields.given("user").or(own_user) {
            self.config.user = user.present().map_or(Ok(self.defaults.user.clone()), |user| read_name(user).map(Some))?;
            self.json["user"] = json!(self.config.user);
        }
        if let Some(metadata) = fields.given("metadata").or(own_metadata) {
            let metadata = metadata.present().map(|field| field.object().map(Fields::rest)).transpose()?;
            self.config.metadata = metadata.unwrap_or_else(|| self.defaults.metadata.clone());
            self.json["metadata"] = Value::Object(self.config.metadata.clone());
        }
        Ok(())
    }

    /// Fields that change nothing here but are checked and told back.
    fn merge_echoes(&mut self, fields: &mut Fields) -> Result<(), ApiError> {
        if let Some(prompt) = fields.given("prompt")
            && prompt.present().is_some()
        {
            let path = fields.path("prompt");
            let message = format!("`{path}` must be null: there are no stored prompts here. Put the text into `instructions`.");
            return Err(ApiError::invalid(path, message));
        }
        check_parallel(fields)?.into_iter().for_each(|flag| self.json["parallel_tool_calls"] = flag);
        check_reasoning(fields)?.into_iter().for_each(|reasoning| self.json["reasoning"] = reasoning);
        if let Some(tracing) = fields.given("tracing") {
            if !matches!(tracing.value(), Value::Null | Value::Object(_)) {
                tracing.clone().one_of(&[("auto", ())]).map_err(|_| tracing.wrong("null, `auto` or an object"))?;
            }
            self.json["tracing"] = tracing.into_value();
        }
        if let Some(truncation) = fields.given("truncation") {
            let value = truncation.value().clone();
            self.config.truncation = match truncation.value() {
                Value::Null => self.defaults.truncation,
                Value::Object(_) => read_retention(truncation.object()?)?,
                _ => truncation
                    .clone()
                    .one_of(&[("auto", self.defaults.truncation), ("disabled", Truncation::Disabled)])
                    .map_err(|_| truncation.wrong("`auto`, `disabled` or an object of type `retention_ratio`"))?,
            };
            self.json["truncation"] = if value.is_null() { json!("auto") } else { value };
        }
        if let Some(include) = fields.given("include") {
            self.json["include"] = include.value().clone();
            for item in include.present().map(Field::array).transpose()?.unwrap_or_default() {
                item.one_of(&[("item.input_audio_transcription.logprobs", ())])?;
            }
        }
        Ok(())
    }

    fn merge_input(&mut self, mut input: Fields) -> Result<(), ApiError> {
        if let Some(format) = input.given("format") {
            self.config.input = format.present().map(read_format).transpose()?.unwrap_or(self.defaults.input);
            self.json["audio"]["input"]["format"] = format_json(self.config.input);
        }
        if let Some(transcription) = input.given("transcription") {
            self.merge_transcription(transcription)?;
        }
        if let Some(reduction) = input.given("noise_reduction") {
            let kinds = [("near_field", "near_field"), ("far_field", "far_field")];
            let kind = match reduction.present() {
                Some(reduction) => {
                    let mut reduction = reduction.object()?;
                    Some(reduction.require("type", "near_field or far_field")?.one_of(&kinds)?)
                }
                None => None,
            };
            self.config.noise_reduction = kind.is_some();
            self.json["audio"]["input"]["noise_reduction"] = kind.map_or(Value::Null, |kind| json!({ "type": kind }));
        }
        if let Some(turns) = input.given("turn_detection") {
            self.merge_turns(turns)?;
        }
        input.nothing_else(&["format", "transcription", "noise_reduction", "turn_detection"])
    }

    fn merge_transcription(&mut self, field: Field) -> Result<(), ApiError> {
        let Some(field) = field.present() else {
            self.config.transcripts = false;
            (self.config.language, self.config.languages) = (self.defaults.language, self.defaults.languages.clone());
            self.config.prompt.clone_from(&self.defaults.prompt);
            self.config.keywords.clone_from(&self.defaults.keywords);
            self.config.thorough = self.defaults.thorough;
            self.json["audio"]["input"]["transcription"] = Value::Null;
            return Ok(());
        };
        // What is not named stays; only then is the whole of it read.
        let path = field.path().to_owned();
        let mut merged = self.json["audio"]["input"]["transcription"].as_object().cloned().unwrap_or_default();
        for (name, value) in field.object()?.rest() {
            match value {
                Value::Null => drop(merged.shift_remove(&name)),
                value => drop(merged.insert(name, value)),
            }
        }
        let mut fields = Field::at(path, Value::Object(merged.clone())).object()?;
        fields.take("model").map(read_name).transpose()?;
        let language = fields.take("language").map(read_language).transpose()?.flatten();
        let languages = fields.take("languages").map(Field::array).transpose()?.unwrap_or_default();
        let languages = languages.into_iter().map(read_language).collect::<Result<Vec<_>, _>>()?;
        let prompt = fields.take("prompt").map(Field::string).transpose()?.filter(|text| !text.is_empty());
        let keywords = fields.take("keywords").map(Field::array).transpose()?.unwrap_or_default();
        let keywords = keywords.into_iter().map(Field::string).collect::<Result<Vec<_>, _>>()?;
        let delays = [("minimal", false), ("low", false), ("medium", false), ("high", true), ("xhigh", true)];
        let thorough = fields.take("delay").and_then(Field::present).map(|delay| delay.one_of(&delays)).transpose()?.unwrap_or(false);
        fields.nothing_else(&["model", "language", "languages", "keywords", "prompt", "delay"])?;
        self.config.transcripts = true;
        self.config.speaks(language, languages);
        (self.config.prompt, self.config.keywords, self.config.thorough) = (prompt, keywords, thorough);
        self.json["audio"]["input"]["transcription"] = Value::Object(merged);
        Ok(())
    }

    fn merge_turns(&mut self, field: Field) -> Result<(), ApiError> {
        let Some(field) = field.present() else {
            self.config.turns = TurnDetection::Manual;
            self.config.idle_timeout = None;
            self.json["audio"]["input"]["turn_detection"] = Value::Null;
            return Ok(());
        };
        let mut fields = field.object()?;
        let now = self.config.turns;
        let semantic = match fields.take("type") {
            Some(kind) => kind.one_of(&[("server_vad", false), ("semantic_vad", true)])?,
            None => matches!(now, TurnDetection::Semantic { .. }),
        };
        let mut then = match now {
            TurnDetection::Silence { then, .. } | TurnDetection::Semantic { then, .. } => then,
            TurnDetection::Manual => AfterTurn { respond: true, interrupt: true },
        };
        for (name, flag) in [("create_response", &mut then.respond), ("interrupt_response", &mut then.interrupt)] {
            if let Some(value) = fields.take(name) {
                *flag = value.boolean()?;
            }
        }
        let told = self.json["audio"]["input"]["turn_detection"].clone();
        let (turns, json) = if semantic {
            read_semantic(&mut fields, now, then, &told)?
        } else {
            read_silence(&mut fields, now, self.defaults.turns, then, &told)?
        };
        fields.nothing_else(&[
            "type",
            "create_response",
            "interrupt_response",
            "threshold",
            "prefix_padding_ms",
            "silence_duration_ms",
            "idle_timeout_ms",
            "eagerness",
        ])?;
        self.config.turns = turns;
        self.config.idle_timeout = json.get("idle_timeout_ms").and_then(Value::as_u64).map(Duration::from_millis);
        self.json["audio"]["input"]["turn_detection"] = json;
        Ok(())
    }

    fn merge_output(&mut self, mut output: Fields) -> Result<(), ApiError> {
        if let Some(format) = output.given("format") {
            self.config.output = format.present().map(read_format).transpose()?.unwrap_or(self.defaults.output);
            self.json["audio"]["output"]["format"] = format_json(self.config.output);
        }
        let mut voice = self.config.voice.clone().unwrap_or_else(|| Voice::new(""));
        if let Some(name) = output.given("voice") {
            let default = || self.defaults.voice.as_ref().map_or_else(String::new, |voice| voice.name.clone());
            voice.name = name.present().map(|name| read_voice(Some(name))).transpose()?.unwrap_or_else(default);
        }
        if let Some(speed) = output.given("speed") {
            voice.speed = speed.present().map(|speed| speed.number(0.25, 1.5)).transpose()?.unwrap_or(1.0) as f32;
        }
        self.json["audio"]["output"]["voice"] = json!(voice_name(&voice));
        self.json["audio"]["output"]["speed"] = decimal(voice.speed);
        self.config.voice = Some(voice);
        output.nothing_else(&["format", "voice", "speed"])
    }
}

fn describe(id: &str, config: &SessionConfig) -> Value {
    let voice = config.voice.clone().unwrap_or_else(|| Voice::new(""));
    let mut transcription = Map::new();
    if let Some(language) = config.language {
        transcription.insert("language".to_owned(), json!(language.code()));
    }
    if !config.languages.is_empty() {
        transcription.insert("languages".to_owned(), json!(config.languages.iter().map(Language::code).collect::<Vec<_>>()));
    }
    if let Some(prompt) = &config.prompt {
        transcription.insert("prompt".to_owned(), json!(prompt));
    }
    if !config.keywords.is_empty() {
        transcription.insert("keywords".to_owned(), json!(config.keywords));
    }
    let mut json = json!({
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": config.model,
        "output_modalities": modalities_json(config.spoken),
        "instructions": config.instructions,
        "tools": tools_json(&config.tools),
        "tool_choice": config.tool_choice.as_ref().map_or(json!("auto"), tool_choice_json),
        "max_output_tokens": limit_json(config.max_tokens),
        "tracing": null,
        "truncation": "auto",
        "prompt": null,
        "audio": {
            "input": {
                "format": format_json(config.input),
                "transcription": if config.transcripts { Value::Object(transcription) } else { Value::Null },
                "noise_reduction": if config.noise_reduction { json!({ "type": "near_field" }) } else { Value::Null },
                "turn_detection": turns_json(config.turns),
            },
            "output": { "format": format_json(config.output), "voice": voice_name(&voice), "speed": decimal(voice.speed) },
        },
        "include": null,
    });
    for (name, value) in [
        ("temperature", config.temperature.map(decimal)),
        ("user", config.user.as_ref().map(|user| json!(user))),
        ("metadata", (!config.metadata.is_empty()).then(|| Value::Object(config.metadata.clone()))),
    ] {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    json
}

fn read_name(field: Field) -> Result<String, ApiError> {
    match field.value().as_str() {
        Some(name) if !name.is_empty() && name.len() as u64 <= LONGEST_NAME => field.string(),
        _ => Err(field.wrong(&format!("a string of 1 to {LONGEST_NAME} bytes"))),
    }
}

/// A language; the empty string and `auto` leave it open.
fn read_language(field: Field) -> Result<Option<Language>, ApiError> {
    match field.value().as_str() {
        Some("" | "auto") => Ok(None),
        Some(code) => Language::new(code).map(Some).ok_or_else(|| field.wrong("an ISO 639 code such as `en`, or `auto`")),
        None => Err(field.wrong("an ISO 639 code such as `en`, or `auto`")),
    }
}

/// Whether answers are spoken. The beta dialect's `["text", "audio"]` is spoken: the text is its transcript.
pub(super) fn read_modalities(field: Field) -> Result<bool, ApiError> {
    let wrong = field.wrong("[\"audio\"] or [\"text\"]");
    let modalities = field.array()?.into_iter().map(|item| item.one_of(&[("text", false), ("audio", true)]));
    let modalities = modalities.collect::<Result<Vec<_>, _>>()?;
    if modalities.is_empty() { Err(wrong) } else { Ok(modalities.contains(&true)) }
}

pub(super) fn modalities_json(spoken: bool) -> Value {
    json!([if spoken { "audio" } else { "text" }])
}

pub(super) fn read_limit(field: Field) -> Result<Option<u32>, ApiError> {
    if field.value() == "inf" {
        return Ok(None);
    }
    let wrong = field.wrong("a whole number from 1 up, or `inf`");
    field.whole(1, u32::MAX.into()).map(|limit| Some(limit as u32)).map_err(|_| wrong)
}

pub(super) fn limit_json(limit: Option<u32>) -> Value {
    limit.map_or(json!("inf"), |limit| json!(limit))
}

/// The name that clients see; there is always one.
pub(super) fn voice_name(voice: &Voice) -> &str {
    if voice.name.is_empty() { "default" } else { &voice.name }
}

/// Whether several functions may be called at once: told back, decided by the model.
pub(super) fn check_parallel(fields: &mut Fields) -> Result<Option<Value>, ApiError> {
    Ok(fields.take("parallel_tool_calls").map(Field::boolean).transpose()?.map(Value::Bool))
}

/// How hard to think: told back, decided by the route.
pub(super) fn check_reasoning(fields: &mut Fields) -> Result<Option<Value>, ApiError> {
    let Some(reasoning) = fields.given("reasoning") else { return Ok(None) };
    let value = reasoning.value().clone();
    if let Some(reasoning) = reasoning.present()
        && let Some(effort) = reasoning.object()?.take("effort")
    {
        effort.one_of(&["none", "minimal", "low", "medium", "high", "xhigh"].map(|name| (name, ())))?;
    }
    Ok(Some(value))
}

fn read_retention(mut truncation: Fields) -> Result<Truncation, ApiError> {
    truncation.require("type", "`retention_ratio`")?.one_of(&[("retention_ratio", ())])?;
    let ratio = truncation.require("retention_ratio", "a number from 0 to 1")?.number(0.0, 1.0)? as f32;
    let mut most = MOST_TOKENS;
    if let Some(limits) = truncation.take("token_limits") {
        let mut limits = limits.object()?;
        if let Some(field) = limits.take("post_instructions") {
            most = field.whole(1, u32::MAX.into())?;
        }
        limits.nothing_else(&["post_instructions"])?;
    }
    truncation.nothing_else(&["type", "retention_ratio", "token_limits"])?;
    Ok(Truncation::Retain { ratio, most })
}
