//! Router objects as they are written, in configuration or over HTTP; nothing is checked here but the shape.
//!
//! Names are accepted in snake_case and camelCase; unknown ones are refused with the one that was probably meant.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::schema::{self, Kind};
use crate::{RouterError, duration};

/// A router, called as `timbre/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RouterObject {
    /// Its id; absent over HTTP: made of `display_name`. `routers/<id>` says the same.
    #[serde(default)]
    pub name: String,
    /// A title for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What its variants have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<DefaultsObject>,
    /// The clock of `time` in its rules, `+02:00`; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<String>,
    /// Tried in order; the first whose condition holds is taken.
    #[serde(default)]
    pub routes: Vec<RouteEntry>,
    /// Taken where no condition holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<RouteObject>,
}

impl RouterObject {
    /// Reads an object as JSON says it.
    pub fn from_json(value: Value) -> Result<RouterObject, RouterError> {
        let at = match value.get("name").and_then(Value::as_str) {
            Some(name) => format!("router.{}", id_of(name)),
            None => "router".to_owned(),
        };
        let value = schema::read(value, &Kind::Object(schema::ROUTER), &at)?;
        let mut object = RouterObject::deserialize(value).map_err(|error| RouterError::new(at, error.to_string()))?;
        object.name = id_of(&object.name).to_owned();
        Ok(object)
    }

    /// As JSON, in snake_case.
    pub fn to_json(&self) -> Value {
        RouterObject::serialize(self, serde_json::value::Serializer).expect("an object of texts and numbers is JSON")
    }
}

/// `routers/support` as `support`.
pub(crate) fn id_of(name: &str) -> &str {
    name.strip_prefix("routers/").unwrap_or(name)
}

impl<'de> Deserialize<'de> for RouterObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RouterObject, D::Error> {
        RouterObject::from_json(<Value as Deserialize>::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Serialize for RouterObject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        RouterObject::serialize(self, to)
    }
}

/// What the variants of a router have in common; each may say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DefaultsObject {
    /// Messages put in front of the caller's, for variants that have none of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message_templates: Vec<MessageTemplate>,
    /// Parameters, each used where the variant does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_generation_config: Option<TextGenerationConfig>,
    /// How long each target has to its first content.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub ttft_timeout: Option<Duration>,
    /// How long a target may pause once content flows.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
    /// How long one attempt may take in all.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// How long the first target may be silent before the second is asked beside it; absent: it is not.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Duration>,
    /// Whether the next target goes on with an answer that broke off after its first words; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survive: Option<bool>,
}

/// A route with the condition that leads to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteEntry {
    /// When it is taken; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionObject>,
    /// The route.
    pub route: RouteObject,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionObject {
    /// A CEL expression over the facts of a request.
    pub cel_expression: String,
}

/// A route: a named job and the variants that can do it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteObject {
    /// Its id; absent: `route-<n>` counted from 1, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_id: Option<String>,
    /// Ways to do it.
    #[serde(default)]
    pub variants: Vec<WeightedVariant>,
    /// Which of its answers are given again: as the request's field of that name, for requests without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Value>,
}

/// A variant with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedVariant {
    /// The variant.
    pub variant: VariantObject,
    /// Per cent of the requests; the weights of a route sum to 100. May be absent where there is one variant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// One way to do a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VariantObject {
    /// Its id; absent: its `model_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<String>,
    /// The first target: `provider/model`, or the bare name of a model that a provider lists. `auto` or absent: the first of
    /// `model_selection`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// Further targets, tried in order where one fails before its first content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// How long each target has to its first content.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub ttft_timeout: Option<Duration>,
    /// How long a target may pause once content flows.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
    /// How long one attempt may take in all.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// How long the first target may be silent before the second is asked beside it; absent: it is not.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Duration>,
    /// Whether the next target goes on with an answer that broke off after its first words; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survive: Option<bool>,
    /// Messages put in front of the caller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message_templates: Vec<MessageTemplate>,
    /// Parameters for what the caller left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_generation_config: Option<TextGenerationConfig>,
    /// Further candidates, and their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_selection: Option<SelectionObject>,
    /// Whether the model searches the web, and how: as the request's field of that name, for requests without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_search: Option<Value>,
    /// A model that is asked the same without anybody waiting for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowObject>,
}

/// Candidates and their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelectionObject {
    /// Candidates besides `model_id` and `models`. Empty where `model_id` is `auto`: every model that the providers list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What to sort the candidates by; later keys break ties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<SortObject>,
    /// Never asked: models (`provider/model` or the bare name) and providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Which providers come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderOrder>,
}

/// One key to sort by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SortObject {
    /// `price`, `latency`, `throughput`, `intelligence` and so on; `SORT_METRIC_PRICE` says the same.
    pub metric: String,
    /// `asc` or `desc`, `SORT_DIRECTION_ASC` and so on; absent: what is better first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
}

/// Which providers come first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderOrder {
    /// By name, first choice first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Whether providers that are not in `order` may be asked after those that are; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_fallbacks: Option<bool>,
}

/// A model that is asked the same without anybody waiting for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowObject {
    /// `provider/model`.
    pub model_id: String,
    /// Per cent of the variant's requests; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// A message that a variant puts in front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageTemplate {
    /// `system`, `developer`, `user` or `assistant`.
    pub role: String,
    /// Its words.
    pub content: String,
}

/// Parameters of the model; each is used where the request does not set it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextGenerationConfig {
    /// Most tokens to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 always the likeliest .. 2 wild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Texts that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    /// The same seed gives the same answer, where the engine can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Passed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Passed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Passed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Passed on in OpenAI's shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logit_bias: Vec<LogitBias>,
    /// `effort` is passed on as OpenAI's `reasoning_effort`; with `max_tokens` or `exclude`, the whole as it is too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Map<String, Value>>,
}

/// How much likelier or unlikelier a token is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogitBias {
    /// The token, a number or its digits.
    pub token_id: Value,
    /// -100 never .. 100 always.
    pub bias_value: f64,
}

impl TextGenerationConfig {
    /// These parameters, and `other`'s where these say nothing.
    #[must_use]
    pub fn or(self, other: &TextGenerationConfig) -> TextGenerationConfig {
        fn list<T: Clone>(own: Vec<T>, other: &[T]) -> Vec<T> {
            if own.is_empty() { other.to_vec() } else { own }
        }
        TextGenerationConfig {
            max_tokens: self.max_tokens.or(other.max_tokens),
            temperature: self.temperature.or(other.temperature),
            top_p: self.top_p.or(other.top_p),
            stop_sequences: list(self.stop_sequences, &other.stop_sequences),
            seed: self.seed.or(other.seed),
            repetition_penalty: self.repetition_penalty.or(other.repetition_penalty),
            frequency_penalty: self.frequency_penalty.or(other.frequency_penalty),
            presence_penalty: self.presence_penalty.or(other.presence_penalty),
            logit_bias: list(self.logit_bias, &other.logit_bias),
            reasoning: self.reasoning.or_else(|| other.reasoning.clone()),
        }
    }
}
