//! A route, checked: its variants, their shares and their targets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use models::{LanguageModel, Message, Prompt, Role};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use crate::object::{DefaultsObject, MessageTemplate, RouteObject, TextGenerationConfig, VariantObject};
use crate::rank::Ranks;
use crate::router::AUTO;
use crate::select::Order;
use crate::{CacheObject, Provider, RouterError, hash};

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

impl Limits {
    /// Whether nobody asked for other deadlines than the usual.
    pub(crate) fn are_usual(&self) -> bool {
        let Limits { first_content, stall, total, hedge, survive: _ } = Limits::default();
        (self.first_content, self.stall, self.total, self.hedge) == (first_content, stall, total, hedge)
    }
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
    /// The target that an id names: `provider/model`, or a model that a provider lists. `None` where there is no such one.
    pub(crate) fn find(id: &str, providers: &[Provider]) -> Option<Target> {
        let of = |provider: &Provider, name: &str| Target {
            id: format!("{}/{name}", provider.name),
            name: name.to_owned(),
            model: provider.model.clone(),
        };
        if let Some((first, name)) = id.split_once('/')
            && let Some(provider) = providers.iter().find(|candidate| candidate.name == first)
        {
            return (!name.is_empty()).then(|| of(provider, name));
        }
        // Names of models may have a slash of their own.
        let provider = providers.iter().find(|provider| provider.models.iter().any(|known| known == id))?;
        Some(of(provider, id))
    }

    /// Every model that the providers list.
    pub(crate) fn all(providers: &[Provider]) -> Vec<Target> {
        let of = |provider: &Provider| -> Vec<Target> {
            provider.models.iter().filter_map(|name| Target::find(&format!("{}/{name}", provider.name), providers)).collect()
        };
        providers.iter().flat_map(of).collect()
    }

    /// The name of its provider.
    pub(crate) fn provider(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// Whether `name` means it: its id, its model's name or its provider's.
    pub(crate) fn is(&self, name: &str) -> bool {
        name == self.id || name == self.name || name == self.provider()
    }
}

/// A model that is asked the same without anybody waiting for it.
pub(crate) struct Shadow {
    pub(crate) target: Target,
    /// In thousandths of a per cent.
    share: u64,
}

/// One way to do a route, checked.
pub(crate) struct Variant {
    pub(crate) id: String,
    /// The candidates as they are written.
    pub(crate) targets: Vec<Target>,
    /// How many of them, from the front, are not sorted.
    pub(crate) fixed: usize,
    pub(crate) order: Order,
    pub(crate) limits: Limits,
    templates: Vec<Message>,
    parameters: TextGenerationConfig,
    web_search: Option<Value>,
    shadow: Option<Shadow>,
    /// Where its share ends, counted from the first variant's start.
    end: u64,
}

/// What checking a router object looks at.
pub(crate) struct Known<'a> {
    pub(crate) providers: &'a [Provider],
    pub(crate) ranks: &'a Ranks,
    /// What stands for `auto`, where that is a target.
    pub(crate) default: Option<&'a str>,
    pub(crate) defaults: &'a DefaultsObject,
}

/// A named job and the ways to do it.
pub(crate) struct Route {
    pub(crate) id: String,
    variants: Vec<Variant>,
    /// Which of its answers are given again, where the request does not say.
    pub(crate) cache: CacheObject,
    /// Requests without a user, counted: they are dealt out evenly.
    dealt: AtomicU64,
}

impl Route {
    /// Checks a route; `at` says where it is written.
    pub(crate) fn check(object: &RouteObject, default_id: &str, at: &str, known: &Known<'_>) -> Result<Route, RouterError> {
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
            let variant = Variant::check(&weighted.variant, end, &format!("{at}.variant"), known)?;
            if variants.iter().any(|other: &Variant| other.id == variant.id) {
                let detail = format!("there are two variants {:?}; give each a variant_id of its own", variant.id);
                return Err(RouterError::new(format!("{at}.variant.variant_id"), detail));
            }
            variants.push(variant);
        }
        if end != WHOLE {
            let sum = end as f64 / (WHOLE as f64 / 100.0);
            return Err(RouterError::new(
                format!("{at}.variants"),
                format!("the weights sum to {sum}; the weights of a route sum to exactly 100"),
            ));
        }
        let cache = object.cache.as_ref().map(CacheObject::read).transpose();
        let cache = cache.map_err(|detail| RouterError::new(at, detail))?.unwrap_or_default();
        Ok(Route { id: object.route_id.clone().unwrap_or_else(|| default_id.to_owned()), variants, cache, dealt: AtomicU64::new(0) })
    }

    /// The next number for what is dealt out.
    pub(crate) fn deal(&self) -> u64 {
        self.dealt.fetch_add(1, Relaxed)
    }

    /// The number that the next deal gives.
    pub(crate) fn next(&self) -> u64 {
        self.dealt.load(Relaxed)
    }

    /// Whether it has this variant.
    pub(crate) fn has(&self, variant: &str) -> bool {
        self.variants.iter().any(|own| own.id == variant)
    }

    /// Where a request falls on the shares: always at the same point for the same user, router and route, on every node. Growing a
    /// variant's share moves only the users of the growth where the variants keep their order. Without a user, requests are dealt out
    /// evenly by their number.
    pub(crate) fn point(&self, router: &str, user: Option<&str>, dealt: u64) -> u64 {
        let number = match user {
            Some(user) => hash::stable(&[user, router, &self.id]),
            None => hash::mix(dealt),
        };
        // The high half of the product: an even map of 64 bits onto the shares (Lemire 2019, without the rejection).
        ((u128::from(number) * u128::from(WHOLE)) >> 64) as u64
    }

    /// The variant at a point of the shares.
    pub(crate) fn at(&self, point: u64) -> Option<&Variant> {
        self.variants.iter().find(|variant| point < variant.end)
    }

    /// Each variant with the per cent of its share.
    pub(crate) fn shares(&self) -> Vec<(String, f64)> {
        let mut start = 0;
        let mut shares = Vec::new();
        for variant in &self.variants {
            shares.push((variant.id.clone(), per_cent(variant.end - start)));
            start = variant.end;
        }
        shares
    }
}

/// A point of the shares, or a share, in per cent.
pub(crate) fn per_cent(share: u64) -> f64 {
    share as f64 / (WHOLE as f64 / 100.0)
}

fn share(weight: f64) -> Option<u64> {
    let share = weight * (WHOLE as f64 / 100.0);
    ((0.0..=WHOLE as f64).contains(&share) && (share - share.round()).abs() < 1e-6).then_some(share.round() as u64)
}

impl Variant {
    fn check(object: &VariantObject, end: u64, at: &str, known: &Known<'_>) -> Result<Variant, RouterError> {
        let (targets, fixed) = candidates(object, at, known)?;
        let order = match &object.model_selection {
            Some(selection) => Order::check(selection, &format!("{at}.model_selection"), known.ranks)?,
            None => Order::default(),
        };
        let defaults = known.defaults;
        let default = Limits::default();
        let limits = Limits {
            first_content: object.ttft_timeout.or(defaults.ttft_timeout).unwrap_or(default.first_content),
            stall: object.stall_timeout.or(defaults.stall_timeout).unwrap_or(default.stall),
            total: object.total_timeout.or(defaults.total_timeout).unwrap_or(default.total),
            hedge: object.hedge_after.or(defaults.hedge_after).or(default.hedge),
            survive: object.survive.or(defaults.survive).unwrap_or(default.survive),
        };
        if limits.first_content.is_zero() || limits.stall.is_zero() || limits.total.is_zero() {
            let detail = "ttft_timeout, stall_timeout and total_timeout must be longer than nothing, for instance \"2s\"";
            return Err(RouterError::new(at, detail));
        }
        let (from, templates) = match object.message_templates.as_slice() {
            [] => ("defaults", defaults.message_templates.as_slice()),
            own => (at, own),
        };
        let templates = templates.iter().enumerate().map(|(n, template)| message(template, &format!("{from}.message_templates[{n}]")));
        let templates = templates.collect::<Result<_, _>>()?;
        let shadow = object.shadow.as_ref().map(|shadow| {
            let at = format!("{at}.shadow");
            let share = shadow.share.unwrap_or(100.0);
            let share = self::share(share).ok_or_else(|| {
                RouterError::new(
                    format!("{at}.share"),
                    format!("{share} is not a share; it is a number from 0 to 100 with at most three decimals"),
                )
            })?;
            Ok(Shadow { target: find(&shadow.model_id, &format!("{at}.model_id"), known.providers)?, share })
        });
        let mut parameters = object.text_generation_config.clone().unwrap_or_default();
        if let Some(default) = &defaults.text_generation_config {
            parameters = parameters.or(default);
        }
        Ok(Variant {
            id: object.variant_id.clone().unwrap_or_else(|| if object.model_id.is_empty() { AUTO } else { &object.model_id }.to_owned()),
            targets,
            fixed,
            order,
            limits,
            templates,
            parameters,
            web_search: object.web_search.clone(),
            shadow: shadow.transpose()?,
            end,
        })
    }

    /// The model that is asked the same as the request of this number, without anybody waiting.
    pub(crate) fn shadow(&self, dealt: u64) -> Option<&Target> {
        let shadow = self.shadow.as_ref()?;
        // Another hash than the variant's own, so that the two draws are independent.
        let number = hash::mix(hash::mix(dealt) ^ 0x5368_6164_6f77);
        let point = ((u128::from(number) * u128::from(WHOLE)) >> 64) as u64;
        (point < shadow.share).then_some(&shadow.target)
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
        let bias = own.logit_bias.iter().map(|bias| {
            let token = bias.token_id.as_str().map_or_else(|| bias.token_id.to_string(), str::to_owned);
            (token, json!(bias.bias_value))
        });
        let bias: Map<String, Value> = bias.collect();
        let reasoning = own.reasoning.as_ref();
        let effort = reasoning.and_then(|reasoning| reasoning.get("effort"));
        // The effort alone has a name in OpenAI's API; the rest is for upstreams that know this object.
        let more = reasoning.filter(|reasoning| reasoning.keys().any(|key| key != "effort"));
        let searches = prompt.extra.contains_key("web_search_options");
        let extra = [
            ("logit_bias", (!bias.is_empty()).then_some(Value::Object(bias))),
            ("reasoning_effort", effort.cloned()),
            ("web_search", self.web_search.clone().filter(|_| !searches)),
            ("repetition_penalty", own.repetition_penalty.map(|n| json!(n))),
            ("frequency_penalty", own.frequency_penalty.map(|n| json!(n))),
            ("presence_penalty", own.presence_penalty.map(|n| json!(n))),
            ("reasoning", more.cloned().map(Value::Object)),
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

/// The candidates of a variant as they are written, and how many at the front are not sorted: a model that is named comes first.
fn candidates(object: &VariantObject, at: &str, known: &Known<'_>) -> Result<(Vec<Target>, usize), RouterError> {
    let selection = object.model_selection.as_ref();
    let automatic = object.model_id.is_empty() || object.model_id == AUTO;
    let mut targets: Vec<Target> = Vec::new();
    if !automatic {
        targets.push(find(&object.model_id, &format!("{at}.model_id"), known.providers)?);
    }
    // A model that stands here twice is tried twice.
    for (n, id) in object.models.iter().enumerate() {
        targets.push(find(id, &format!("{at}.models[{n}]"), known.providers)?);
    }
    for (n, id) in selection.iter().flat_map(|selection| &selection.models).enumerate() {
        let target = find(id, &format!("{at}.model_selection.models[{n}]"), known.providers)?;
        if !targets.iter().any(|other| other.id == target.id) {
            targets.push(target);
        }
    }
    if automatic && targets.is_empty() {
        match (selection, known.default) {
            (Some(_), _) => targets = Target::all(known.providers),
            (None, Some(default)) if object.model_id == AUTO => targets.push(find(default, &format!("{at}.model_id"), known.providers)?),
            (None, _) => {
                let detail = "a variant needs a model_id, or a model_selection to choose by";
                return Err(RouterError::new(format!("{at}.model_id"), detail));
            }
        }
    }
    if targets.is_empty() {
        return Err(RouterError::new(format!("{at}.model_selection"), "no provider lists its models, so `models` must name some"));
    }
    Ok((targets, usize::from(!automatic)))
}

fn find(id: &str, at: &str, providers: &[Provider]) -> Result<Target, RouterError> {
    Target::find(id, providers).ok_or_else(|| {
        let known: Vec<String> = providers.iter().map(|provider| format!("{}/...", provider.name)).collect();
        RouterError::new(at, format!("{id:?} names no model; known are {}", known.join(", ")))
    })
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
