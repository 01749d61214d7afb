//! A route, checked: its variants, their shares and their targets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use models::{LanguageModel, Message, Prompt, Role};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::object::{MessageTemplate, RouteObject, TextGenerationConfig, VariantObject};
use crate::{Provider, RouterError, hash};

/// How long a target has to its first content where the variant does not say: reasoning models think for a minute or two.
const FIRST_CONTENT: Duration = Duration::from_secs(120);
/// How long a target may pause once content flows, where the variant does not say: twice the pause that providers' keep-alives bridge.
const STALL: Duration = Duration::from_secs(30);
/// How long one attempt may take in all. The longest answers of today's models take a few minutes.
const TOTAL: Duration = Duration::from_secs(15 * 60);

/// Shares are counted in thousandths of a per cent, so that 33.333 is exact.
const WHOLE: u64 = 100_000;

/// The deadlines of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) first_content: Duration,
    pub(crate) stall: Duration,
    pub(crate) total: Duration,
    /// How long the first target may be silent before the second is asked as well; `None`: it is not.
    pub(crate) hedge: Option<Duration>,
    /// Whether the next target goes on with an answer that broke off.
    pub(crate) survive: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { first_content: FIRST_CONTENT, stall: STALL, total: TOTAL, hedge: None, survive: true }
    }
}

/// A provider and one of its models.
#[derive(Clone)]
pub(crate) struct Target {
    /// `provider/model`.
    pub(crate) id: String,
    /// The model's name, as its provider knows it.
    pub(crate) name: String,
    pub(crate) model: Arc<dyn LanguageModel>,
}

impl Target {
    /// The target that an id names; `None` where there is no such provider.
    pub(crate) fn find(id: &str, providers: &[Provider]) -> Option<Target> {
        let (provider, name) = id.split_once('/')?;
        let provider = providers.iter().find(|candidate| candidate.name == provider)?;
        (!name.is_empty()).then(|| Target { id: id.to_owned(), name: name.to_owned(), model: provider.model.clone() })
    }
}

/// One way to do a route, checked.
pub(crate) struct Variant {
    pub(crate) id: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) limits: Limits,
    templates: Vec<Message>,
    parameters: TextGenerationConfig,
    /// Where its share ends, counted from the first variant's start.
    end: u64,
}

/// A named job and the ways to do it.
pub(crate) struct Route {
    pub(crate) id: String,
    variants: Vec<Variant>,
    /// Requests without a user, counted: they are dealt out evenly.
    dealt: AtomicU64,
}

impl Route {
    /// Checks a route; `at` says where it is written.
    pub(crate) fn check(object: &RouteObject, default_id: &str, at: &str, providers: &[Provider]) -> Result<Route, RouterError> {
        if object.variants.is_empty() {
            return Err(RouterError::new(format!("{at}.variants"), "a route needs at least one variant"));
        }
        let mut end = 0;
        let mut variants = Vec::new();
        for (n, weighted) in object.variants.iter().enumerate() {
            let at = format!("{at}.variants[{n}]");
            let weight = match weighted.weight {
                Some(weight) => weight,
                None if object.variants.len() == 1 => 100.0,
                None => return Err(RouterError::new(format!("{at}.weight"), "a route with several variants needs the weight of each")),
            };
            end += share(weight).ok_or_else(|| {
                RouterError::new(
                    format!("{at}.weight"),
                    format!("{weight} is not a weight; it is a number from 0 to 100 with at most three decimals"),
                )
            })?;
            variants.push(Variant::check(&weighted.variant, end, &format!("{at}.variant"), providers)?);
        }
        if end != WHOLE {
            let sum = end as f64 / (WHOLE as f64 / 100.0);
            return Err(RouterError::new(
                format!("{at}.variants"),
                format!("the weights sum to {sum}; the weights of a route sum to exactly 100"),
            ));
        }
        Ok(Route { id: object.route_id.clone().unwrap_or_else(|| default_id.to_owned()), variants, dealt: AtomicU64::new(0) })
    }

    /// The variant for a user: always the same for the same user, router and route, on every node. Growing a variant's share moves only
    /// the users of the growth where the variants keep their order. Without a user, requests are dealt out evenly.
    pub(crate) fn variant(&self, router: &str, user: Option<&str>) -> Option<&Variant> {
        let number = match user {
            Some(user) => hash::stable(&[user, router, &self.id]),
            None => hash::mix(self.dealt.fetch_add(1, Relaxed)),
        };
        // The high half of the product: an even map of 64 bits onto the shares (Lemire 2019, without the rejection).
        let point = ((u128::from(number) * u128::from(WHOLE)) >> 64) as u64;
        self.variants.iter().find(|variant| point < variant.end)
    }
}

fn share(weight: f64) -> Option<u64> {
    let share = weight * (WHOLE as f64 / 100.0);
    ((0.0..=WHOLE as f64).contains(&share) && (share - share.round()).abs() < 1e-6).then_some(share.round() as u64)
}

impl Variant {
    fn check(object: &VariantObject, end: u64, at: &str, providers: &[Provider]) -> Result<Variant, RouterError> {
        let mut targets = Vec::new();
        let ids = std::iter::once(("model_id".to_owned(), &object.model_id))
            .chain(object.models.iter().enumerate().map(|(n, id)| (format!("models[{n}]"), id)));
        for (key, id) in ids {
            let target = Target::find(id, providers).ok_or_else(|| {
                let known: Vec<String> = providers.iter().map(|provider| format!("{}/...", provider.name)).collect();
                RouterError::new(format!("{at}.{key}"), format!("{id:?} names no model; known are {}", known.join(", ")))
            })?;
            targets.push(target);
        }
        let default = Limits::default();
        let limits = Limits {
            first_content: object.ttft_timeout.unwrap_or(default.first_content),
            stall: object.stall_timeout.unwrap_or(default.stall),
            ..default
        };
        if limits.first_content.is_zero() || limits.stall.is_zero() {
            return Err(RouterError::new(at, "ttft_timeout and stall_timeout must be longer than nothing, for instance \"2s\""));
        }
        let templates =
            object.message_templates.iter().enumerate().map(|(n, template)| message(template, &format!("{at}.message_templates[{n}]")));
        Ok(Variant {
            id: object.variant_id.clone().unwrap_or_else(|| object.model_id.clone()),
            targets,
            limits,
            templates: templates.collect::<Result<_, _>>()?,
            parameters: object.text_generation_config.clone().unwrap_or_default(),
            end,
        })
    }

    /// The prompt as this variant asks it: its messages in front, its parameters where the caller set none.
    pub(crate) fn prompt(&self, mut prompt: Prompt) -> Prompt {
        prompt.messages.splice(0..0, self.templates.iter().cloned());
        let own = &self.parameters;
        let sampling = &mut prompt.sampling;
        sampling.max_tokens = sampling.max_tokens.or(own.max_tokens);
        sampling.temperature = sampling.temperature.or(own.temperature);
        sampling.top_p = sampling.top_p.or(own.top_p);
        sampling.seed = sampling.seed.or(own.seed);
        if sampling.stop.is_empty() {
            sampling.stop.clone_from(&own.stop_sequences);
        }
        let extra = [
            ("repetition_penalty", own.repetition_penalty.map(|n| json!(n))),
            ("frequency_penalty", own.frequency_penalty.map(|n| json!(n))),
            ("presence_penalty", own.presence_penalty.map(|n| json!(n))),
            ("reasoning", own.reasoning.clone().map(Value::Object)),
        ];
        for (key, value) in extra {
            if let Some(value) = value
                && !prompt.extra.contains_key(key)
            {
                prompt.extra.insert(key.to_owned(), value);
            }
        }
        prompt
    }
}

fn message(template: &MessageTemplate, at: &str) -> Result<Message, RouterError> {
    let role = match template.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            return Err(RouterError::new(
                format!("{at}.role"),
                format!("{other:?} is no role; allowed are system, developer, user, assistant"),
            ));
        }
    };
    Ok(Message::text(role, template.content.clone()))
}
