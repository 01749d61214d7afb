//! The chat template inside a GGUF file, run as the Jinja program that it is.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind as JinjaError, Value, context};
use serde_json::json;

use super::tokenizer::{GUARD, Tokenizer};
use crate::{ErrorKind, Message, ModelError, Part, Prompt, Role};

/// For a model that speaks ChatML but whose file has no template.
const CHAT_ML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
    {% endfor %}{{ '<|im_start|>assistant\n' }}";

/// A compiled template.
pub(super) struct Template {
    environment: Environment<'static>,
    specials: Vec<String>,
    begin: String,
    end: String,
}

impl Template {
    /// Compiles a template; `None` if there is none and the model does not speak ChatML.
    pub(super) fn new(source: Option<&str>, tokenizer: &Tokenizer) -> Option<Result<Template, String>> {
        let chat_ml = || tokenizer.specials().any(|special| special == "<|im_start|>").then_some(CHAT_ML);
        let source = source.or_else(chat_ml)?;
        let mut environment = Environment::new();
        // As the transformers library sets it, for which templates are written.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default());
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |detail: String| -> Result<Value, Error> {
            Err(Error::new(JinjaError::InvalidOperation, detail))
        });
        Some(match environment.add_template_owned("chat", source.to_owned()) {
            Ok(()) => Ok(Template {
                environment,
                specials: tokenizer.specials().map(str::to_owned).collect(),
                begin: tokenizer.begin.clone(),
                end: tokenizer.end.clone(),
            }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The text that the model reads.
    pub(super) fn render(&self, prompt: &Prompt, name: &str) -> Result<String, ModelError> {
        let refused = |detail: String| ModelError::new(ErrorKind::BadRequest, name, detail);
        if prompt.messages.is_empty() {
            return Err(refused("messages is empty; give at least one".to_owned()));
        }
        let mut messages = Vec::new();
        for message in &prompt.messages {
            messages.push(self.message(message).map_err(refused)?);
        }
        let tools: Vec<_> = (prompt.tools.iter())
            .filter(|tool| !tool.name.is_empty())
            .map(|tool| json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}}))
            .collect();
        let tools = (!tools.is_empty()).then(|| Value::from(Serde(tools)));
        let context = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => true,
            bos_token => self.begin.clone(),
            eos_token => self.end.clone(),
            ..context! { tools => tools.unwrap_or(Value::from(())) }
        };
        let rendered = self.environment.get_template("chat").and_then(|template| template.render(context));
        rendered.map_err(|error| refused(format!("the model's chat template does not take these messages: {error}")))
    }

    fn message(&self, message: &Message) -> Result<serde_json::Value, String> {
        if message.parts.iter().any(|part| matches!(part, Part::Other(_))) {
            return Err("this model reads text only; leave out parts of other types".to_owned());
        }
        let mut words = message.words();
        if matches!(message.role, Role::User | Role::Tool) {
            // What a stranger says must not be read as the end of their message.
            words = words.replace(GUARD, "");
            for special in &self.specials {
                let after_first = special.chars().next().map_or(0, char::len_utf8);
                words = words.replace(special.as_str(), &format!("{}{GUARD}{}", &special[..after_first], &special[after_first..]));
            }
        }
        let mut shown = json!({"role": message.role.name(), "content": words});
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(|call| {
                let arguments = serde_json::from_str(&call.arguments).unwrap_or(json!(call.arguments));
                json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
            });
            shown["tool_calls"] = calls.collect();
        }
        Ok(shown)
    }
}
