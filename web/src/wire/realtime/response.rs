//! Answers: what the client asks of one, and how it is told of it.

use models::{Usage, Voice};
use router::Decision;
use serde_json::{Value, json};

use super::item;
use super::receive::name;
use super::session::{
    Session, check_parallel, check_reasoning, format_json, limit_json, modalities_json, read_format, read_limit, read_modalities,
    read_tool_choice, read_tools,
};
use crate::ApiError;
use crate::call::{Ending, InputItem, Response, ResponseConfig, SessionConfig};
use crate::wire::chat::read_voice;
use crate::wire::completion::attempt_json;
use crate::wire::{Field, Fields};

/// What `response.create` asks for; absent: an answer as the session is configured.
pub(super) fn read(field: Option<Field>, session: &SessionConfig) -> Result<ResponseConfig, ApiError> {
    let mut config = ResponseConfig::default();
    let Some(field) = field else { return Ok(config) };
    let mut fields = field.object()?;
    config.instructions = fields.take("instructions").map(Field::string).transpose()?;
    let modalities = fields.take("output_modalities").or(fields.take("modalities"));
    config.spoken = modalities.map(read_modalities).transpose()?;
    let known = &session.tools.servers;
    config.tools = fields.take("tools").map(|tools| read_tools(tools, known)).transpose()?;
    config.tool_choice = fields.take("tool_choice").map(read_tool_choice).transpose()?;
    let limit = fields.take("max_output_tokens").or(fields.take("max_response_output_tokens"));
    config.max_tokens = limit.map(read_limit).transpose()?.flatten();
    config.voice = read_audio(&mut fields, session)?;
    let conversation = fields.take("conversation").map(|field| field.one_of(&[("auto", false), ("none", true)]));
    config.aside = conversation.transpose()?.unwrap_or(false);
    if config.aside
        && let Some(server) = config.tools.as_ref().and_then(|tools| tools.servers.first())
    {
        let message = format!(
            "`{}` names the MCP server {:?}: answers beside the conversation call none, since what it says belongs into one.",
            fields.path("tools"),
            server.label
        );
        return Err(ApiError { code: Some("unsupported_tool"), ..ApiError::invalid(fields.path("tools"), message) });
    }
    config.metadata = fields.take("metadata").map(|field| field.object().map(|map| Value::Object(map.rest()))).transpose()?;
    if let Some(input) = fields.take("input") {
        config.input = Some(input.array()?.into_iter().map(read_input).collect::<Result<_, _>>()?);
    }
    check_parallel(&mut fields)?;
    check_reasoning(&mut fields)?;
    if let Some(prompt) = fields.take("prompt") {
        return Err(prompt.wrong("null: there are no stored prompts here; put the text into `instructions`"));
    }
    fields.nothing_else(&[
        "instructions",
        "output_modalities",
        "audio",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "conversation",
        "metadata",
        "input",
        "reasoning",
        "prompt",
    ])?;
    Ok(config)
}

fn read_audio(fields: &mut Fields, session: &SessionConfig) -> Result<Option<Voice>, ApiError> {
    let mut voice = fields.take("voice");
    if let Some(audio) = fields.take("audio") {
        let mut audio = audio.object()?;
        if let Some(output) = audio.take("output") {
            let mut output = output.object()?;
            voice = output.take("voice").or(voice);
            if let Some(format) = output.take("format") {
                let wrong = format.wrong("the session's own format; change that by `session.update`");
                if read_format(format)? != session.output {
                    return Err(wrong);
                }
            }
            output.nothing_else(&["voice", "format"])?;
        }
        audio.nothing_else(&["output"])?;
    }
    let Some(voice) = voice else { return Ok(None) };
    let name = read_voice(Some(voice))?;
    Ok(Some(Voice { name, ..session.voice.clone().unwrap_or_else(|| Voice::new("")) }))
}

fn read_input(field: Field) -> Result<InputItem, ApiError> {
    if field.value().get("type").is_some_and(|kind| kind == "item_reference") {
        let id = field.object()?.require("id", "the id of an item of the conversation")?;
        return Ok(InputItem::Reference(name(id)?));
    }
    item::read(field).map(InputItem::Item)
}

/// An answer as the client is told of it. `timbre` is ours; strict clients ignore it.
pub(super) fn to_json(response: &Response, session: &Session, conversation: &str) -> Value {
    let (status, details) = match &response.ending {
        None => ("in_progress", Value::Null),
        Some(ending) => ending_json(ending),
    };
    let mut json = json!({
        "object": "realtime.response",
        "id": response.id,
        "status": status,
        "status_details": details,
        "output": response.output.iter().map(item::to_json).collect::<Vec<_>>(),
        "conversation_id": (!response.aside).then_some(conversation),
        "output_modalities": modalities_json(response.spoken),
        "max_output_tokens": limit_json(response.max_tokens),
        "audio": { "output": { "format": format_json(session.config().output), "voice": response.voice } },
        "usage": response.usage.map(usage_json),
        "metadata": response.metadata,
    });
    if let Some(routed) = &response.routed {
        let mut timbre = decision_json(&routed.decision);
        timbre["attempts"] = routed.attempts.iter().map(attempt_json).collect();
        json["timbre"] = timbre;
    }
    json
}

/// Who answers, and why.
pub(super) fn decision_json(decision: &Decision) -> Value {
    let Decision { router, route, variant, reason, targets, .. } = decision;
    json!({ "router": router, "route": route, "variant": variant, "reason": reason, "targets": targets })
}

fn ending_json(ending: &Ending) -> (&'static str, Value) {
    let because = |status, reason| (status, json!({ "type": status, "reason": reason }));
    match ending {
        Ending::Whole => ("completed", Value::Null),
        Ending::Interrupted => because("cancelled", "turn_detected"),
        Ending::ClientCancelled => because("cancelled", "client_cancelled"),
        Ending::MaxTokens => because("incomplete", "max_output_tokens"),
        Ending::ContentFilter => because("incomplete", "content_filter"),
        Ending::Failed(message) => {
            let error = json!({ "type": "server_error", "code": "response_failed", "message": message });
            ("failed", json!({ "type": "failed", "error": error }))
        }
    }
}

/// Tokens. All of them are text: sound is transcribed before a model reads it and spoken after it wrote.
fn usage_json(usage: Usage) -> Value {
    json!({
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": { "text_tokens": usage.cached_tokens, "audio_tokens": 0, "image_tokens": 0 },
        },
        "output_token_details": { "text_tokens": usage.output_tokens, "audio_tokens": 0 },
    })
}
