//! The shell: names to routers and targets, a decision, an answer.

use std::sync::Arc;

use models::{Prompt, SignalSet};

use crate::answer::{Answer, Decision};
use crate::executor::Executor;
use crate::facts;
use crate::object::RouterObject;
use crate::route::{Limits, Route, Target};
use crate::rule::{Library, Rule, RuleCount};
use crate::{Facts, Provider, RouteError, RouterError};

/// The provider name that stands for the routers of this server.
const OWN: &str = "timbre";
/// The model name that stands for the default.
const AUTO: &str = "auto";

/// What a router is made of.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who answers prompts.
    pub providers: Vec<Provider>,
    /// Routers, called as `timbre/<name>`.
    pub routers: Vec<RouterObject>,
    /// What answers where the request names no model, or `auto`.
    pub default_model: String,
}

/// A model that a caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// As it is asked for: `timbre/support`, `embedded/smollm2-135m`.
    pub id: String,
    /// The provider's name, or `timbre`.
    pub owned_by: String,
}

/// A request to be routed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What is asked; `model` as the caller wrote it.
    pub prompt: Prompt,
    /// What rules may see of it.
    pub facts: Facts,
}

/// What a model's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A router, by its name.
    Router(String),
    /// A target, `provider/model`.
    Target(String),
}

/// Every model behind one call. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    providers: Vec<Provider>,
    routers: Vec<Routing>,
    default: Resolved,
    library: Library,
    executor: Executor,
}

/// A router object, checked.
struct Routing {
    name: String,
    /// In order; a route without a rule is always taken.
    routes: Vec<(Option<Rule>, Route)>,
    default: Option<Route>,
}

impl Router {
    /// Checks the configuration and compiles its rules.
    pub fn new(config: Config) -> Result<Router, RouterError> {
        Router::with(config, Executor::default())
    }

    /// The same with what an earlier router learnt of the targets, or with prices.
    pub fn with(config: Config, executor: Executor) -> Result<Router, RouterError> {
        for (n, provider) in config.providers.iter().enumerate() {
            let at = format!("provider[{n}].name");
            if provider.name.is_empty() || provider.name.contains('/') || provider.name == OWN || provider.name == AUTO {
                let detail = format!("{:?} cannot name a provider; it is a word without '/', and not {OWN} or {AUTO}", provider.name);
                return Err(RouterError::new(at, detail));
            }
            if config.providers[..n].iter().any(|other| other.name == provider.name) {
                return Err(RouterError::new(at, format!("there are two providers named {:?}", provider.name)));
            }
        }
        let library = Library::new();
        let mut routers: Vec<Routing> = Vec::new();
        for (n, object) in config.routers.iter().enumerate() {
            if object.name.is_empty() || object.name.contains('/') {
                let detail = format!("{:?} cannot name a router; it is a word without '/'", object.name);
                return Err(RouterError::new(format!("router[{n}].name"), detail));
            }
            if routers.iter().any(|other| other.name == object.name) {
                return Err(RouterError::new(format!("router[{n}].name"), format!("there are two routers named {:?}", object.name)));
            }
            routers.push(Routing::check(object, &config.providers, &library)?);
        }
        let inner = Inner { providers: config.providers, routers, default: Resolved::Target(String::new()), library, executor };
        let default = inner.named(&config.default_model).ok_or_else(|| {
            let known: Vec<String> = inner.models().into_iter().map(|model| model.id).collect();
            let detail = format!("{:?} names no model; known are {}", config.default_model, known.join(", "));
            RouterError::new("default_model", detail)
        })?;
        Ok(Router(Arc::new(Inner { default, ..inner })))
    }

    pub(crate) fn providers(&self) -> &[Provider] {
        &self.0.providers
    }

    /// The signals that any rule reads.
    pub fn wanted(&self) -> SignalSet {
        self.0.routers.iter().fold(SignalSet::NONE, |all, router| all.union(router.wanted()))
    }

    /// The signals that matter to a request for `model`: none where it names its target.
    pub fn wanted_by(&self, model: &str) -> SignalSet {
        match self.resolve(model) {
            Some(Resolved::Router(name)) => self.0.router(&name).map(Routing::wanted).unwrap_or_default(),
            Some(Resolved::Target(_)) | None => SignalSet::NONE,
        }
    }

    /// What may be asked for.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.0.models()
    }

    /// What a model's name stands for: a router (`timbre/support`, `support`), a target (`upstream/x`, or the bare name of a model that a
    /// provider lists), or the default (nothing, `auto`). `None` where it stands for nothing.
    pub fn resolve(&self, model: &str) -> Option<Resolved> {
        if model.is_empty() || model == AUTO { Some(self.0.default.clone()) } else { self.0.named(model) }
    }

    /// How often each rule matched, missed or failed since the start.
    pub fn counts(&self) -> Vec<RuleCount> {
        let of = |router: &Routing| -> Vec<RuleCount> {
            router.routes.iter().filter_map(|(rule, route)| Some(rule.as_ref()?.count(&router.name, &route.id))).collect()
        };
        self.0.routers.iter().flat_map(of).collect()
    }

    /// Decides at once who answers, without I/O; the answer's stream then asks them. Call and poll it inside a tokio runtime.
    pub fn complete(&self, request: Request) -> Result<Answer, RouteError> {
        let Request { prompt, facts } = request;
        let unknown = || RouteError::UnknownModel { model: prompt.model.clone(), known: self.models().into_iter().map(|m| m.id).collect() };
        match self.resolve(&prompt.model).ok_or_else(unknown)? {
            Resolved::Target(id) => {
                let target = Target::find(&id, &self.0.providers).ok_or_else(unknown)?;
                let decision = Decision {
                    router: None,
                    route: "direct".to_owned(),
                    variant: None,
                    reason: format!("the request names {id}"),
                    targets: vec![id],
                };
                Ok(self.0.executor.answer(decision, vec![target], Limits::default(), prompt))
            }
            Resolved::Router(name) => self.0.router(&name).ok_or_else(unknown)?.answer(&self.0, prompt, &facts),
        }
    }
}

impl Inner {
    fn router(&self, name: &str) -> Option<&Routing> {
        self.routers.iter().find(|router| router.name == name)
    }

    fn named(&self, model: &str) -> Option<Resolved> {
        if let Some((first, name)) = model.split_once('/') {
            return if first == OWN {
                self.router(name).map(|router| Resolved::Router(router.name.clone()))
            } else {
                Target::find(model, &self.providers).map(|target| Resolved::Target(target.id))
            };
        }
        if let Some(router) = self.router(model) {
            return Some(Resolved::Router(router.name.clone()));
        }
        let provider = self.providers.iter().find(|provider| provider.models.iter().any(|known| known == model))?;
        Some(Resolved::Target(format!("{}/{model}", provider.name)))
    }

    fn models(&self) -> Vec<ModelInfo> {
        let routers = self.routers.iter().map(|router| ModelInfo { id: format!("{OWN}/{}", router.name), owned_by: OWN.to_owned() });
        let targets = self.providers.iter().flat_map(|provider| {
            provider.models.iter().map(|model| ModelInfo { id: format!("{}/{model}", provider.name), owned_by: provider.name.clone() })
        });
        routers.chain(targets).collect()
    }
}

impl Routing {
    fn check(object: &RouterObject, providers: &[Provider], library: &Library) -> Result<Routing, RouterError> {
        let mut routes = Vec::new();
        for (n, entry) in object.routes.iter().enumerate() {
            let at = format!("router.{}.routes[{n}]", object.name);
            let rule = match &entry.condition {
                None => None,
                Some(condition) => Some(
                    Rule::compile(&condition.cel_expression, library)
                        .map_err(|detail| RouterError::new(format!("{at}.condition.cel_expression"), detail))?,
                ),
            };
            routes.push((rule, Route::check(&entry.route, &format!("route-{}", n + 1), &format!("{at}.route"), providers)?));
        }
        let at = format!("router.{}.default_route", object.name);
        let default = object.default_route.as_ref().map(|route| Route::check(route, "default", &at, providers)).transpose()?;
        if routes.is_empty() && default.is_none() {
            return Err(RouterError::new(format!("router.{}", object.name), "a router needs routes or a default_route"));
        }
        Ok(Routing { name: object.name.clone(), routes, default })
    }

    fn wanted(&self) -> SignalSet {
        self.routes.iter().filter_map(|(rule, _)| rule.as_ref()).fold(SignalSet::NONE, |all, rule| all.union(rule.wanted()))
    }

    fn answer(&self, shared: &Inner, prompt: Prompt, facts: &Facts) -> Result<Answer, RouteError> {
        let variables = facts::variables(facts, &prompt).map_err(|detail| RouteError::TooManyFacts { detail })?;
        let holds = |rule: &Option<Rule>| rule.as_ref().is_none_or(|rule| rule.holds(&shared.library, &variables));
        let (route, reason) = match (self.routes.iter().find(|(rule, _)| holds(rule)), &self.default) {
            (Some((Some(rule), route)), _) => (route, rule.source().to_owned()),
            (Some((None, route)), _) => (route, "the route has no condition".to_owned()),
            (None, Some(route)) => (route, "no condition held: the default route".to_owned()),
            (None, None) => return Err(RouteError::NoRoute { router: self.name.clone() }),
        };
        let Some(variant) = route.variant(&self.name, facts.user.as_deref()) else {
            return Err(RouteError::NoRoute { router: self.name.clone() });
        };
        let decision = Decision {
            router: Some(self.name.clone()),
            route: route.id.clone(),
            variant: Some(variant.id.clone()),
            reason,
            targets: variant.targets.iter().map(|target| target.id.clone()).collect(),
        };
        Ok(shared.executor.answer(decision, variant.targets.clone(), variant.limits, variant.prompt(prompt)))
    }
}

#[cfg(test)]
mod tests;
