//! Router objects as they are written, in configuration or over HTTP; nothing is checked here but the shape.
//!
//! Names are accepted in snake_case and camelCase; unknown ones are refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration;

/// A router, called as `timbre/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterObject {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// A title for people.
    #[serde(default, alias = "displayName", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Tried in order; the first whose condition holds is taken.
    #[serde(default)]
    pub routes: Vec<RouteEntry>,
    /// Taken where no condition holds.
    #[serde(default, alias = "defaultRoute", skip_serializing_if = "Option::is_none")]
    pub default_route: Option<RouteObject>,
}

/// A route with the condition that leads to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// When it is taken; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionObject>,
    /// The route.
    pub route: RouteObject,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionObject {
    /// A CEL expression over the facts of a request.
    #[serde(alias = "celExpression")]
    pub cel_expression: String,
}

/// A route: a named job and the variants that can do it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteObject {
    /// Its id; absent: `route-<n>` counted from 1, or `default`.
    #[serde(default, alias = "routeId", skip_serializing_if = "Option::is_none")]
    pub route_id: Option<String>,
    /// Ways to do it.
    #[serde(default)]
    pub variants: Vec<WeightedVariant>,
}

/// A variant with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedVariant {
    /// The variant.
    pub variant: VariantObject,
    /// Per cent of the requests; the weights of a route sum to 100. May be absent where there is one variant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// One way to do a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantObject {
    /// Its id; absent: its `model_id`.
    #[serde(default, alias = "variantId", skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<String>,
    /// The first target, `provider/model`.
    #[serde(default, alias = "modelId")]
    pub model_id: String,
    /// Further targets, tried in order where one fails before its first content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// How long each target has to its first content.
    #[serde(default, alias = "ttftTimeout", with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub ttft_timeout: Option<Duration>,
    /// How long a target may pause once content flows.
    #[serde(default, alias = "stallTimeout", with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
    /// Messages put in front of the caller's.
    #[serde(default, alias = "messageTemplates", skip_serializing_if = "Vec::is_empty")]
    pub message_templates: Vec<MessageTemplate>,
    /// Parameters for what the caller left open.
    #[serde(default, alias = "textGenerationConfig", skip_serializing_if = "Option::is_none")]
    pub text_generation_config: Option<TextGenerationConfig>,
}

/// A message that a variant puts in front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageTemplate {
    /// `system`, `developer`, `user` or `assistant`.
    pub role: String,
    /// Its words.
    pub content: String,
}

/// Parameters of the model; each is used where the request does not set it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextGenerationConfig {
    /// Most tokens to write.
    #[serde(default, alias = "maxTokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 always the likeliest .. 2 wild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus.
    #[serde(default, alias = "topP", skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Texts that end the answer.
    #[serde(default, alias = "stopSequences", skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    /// The same seed gives the same answer, where the engine can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Passed on as it is.
    #[serde(default, alias = "repetitionPenalty", skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Passed on as it is.
    #[serde(default, alias = "frequencyPenalty", skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Passed on as it is.
    #[serde(default, alias = "presencePenalty", skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Passed on as it is (`effort`, `max_tokens`, `exclude`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Map<String, Value>>,
}
