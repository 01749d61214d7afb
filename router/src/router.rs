//! The shell: names to routers and targets, a decision, an answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use models::{Prompt, SignalSet, Usage};
use serde_json::Value;

use crate::answer::{Answer, Decision};
use crate::cost::Priced;
use crate::executor::{Executor, Lately};
use crate::explain::{self, Explanation};
use crate::health::Condition;
use crate::object::RouterObject;
use crate::outcome::{Feedback, Outcomes, VariantKey, VariantOutcome};
use crate::rank::Ranks;
use crate::route::{Limits, Route, Target};
use crate::routers::{Listed, Routers, RoutersError, Set};
use crate::routing::{Asked, Choice, Ground, further, none_left};
use crate::rule::{Library, RuleCount};
use crate::select::{Order, Ordered, Wishes, unfit_last};
use crate::shadow::{self, Job, Shadow, ShadowCount, Shadowed, Work};
use crate::versions::Version;
use crate::{Amount, CacheObject, Facts, Provider, ReplicaState, Replicas, RouteError, RouterError, TargetFacts};

/// The provider name that stands for the routers of this server.
const OWN: &str = "timbre";
/// The same, as clients of another router write it.
const OTHER: &str = "inworld";
/// The model name that stands for the default, or for whatever the request's `sort` puts first.
pub(crate) const AUTO: &str = "auto";

/// What a router is made of.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who answers prompts.
    pub providers: Vec<Provider>,
    /// Routers, called as `timbre/<name>`.
    pub routers: Vec<RouterObject>,
    /// What answers where the request names no model, or `auto`.
    pub default_model: String,
    /// Where routers made over HTTP are kept, every version of them; absent: in memory, until the process ends.
    pub data: Option<PathBuf>,
    /// Who knows prices, speed and health of the targets; absent: nobody.
    pub target_facts: Option<Arc<dyn TargetFacts>>,
    /// A table of ranks, `model,metric,score,source,date` a line; absent: the one that comes with the program.
    pub ranks: Option<String>,
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
    /// Its id, for what becomes of it elsewhere; may be empty.
    pub id: String,
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
    ground: Ground,
    routers: Routers,
    default: Resolved,
    /// Every model that the providers list.
    all: Vec<Target>,
    outcomes: Outcomes,
    executor: Executor,
    shadow: Shadow,
    /// The work on what `shadow` takes, until somebody does it.
    mirrored: Mutex<Option<Work>>,
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
            if provider.name.is_empty() || provider.name.contains('/') || [OWN, OTHER, AUTO].contains(&provider.name.as_str()) {
                let detail =
                    format!("{:?} cannot name a provider; it is a word without '/', and not {OWN}, {OTHER} or {AUTO}", provider.name);
                return Err(RouterError::new(at, detail));
            }
            if config.providers[..n].iter().any(|other| other.name == provider.name) {
                return Err(RouterError::new(at, format!("there are two providers named {:?}", provider.name)));
            }
        }
        let ranks = config.ranks.as_deref().map_or_else(|| Ok(Ranks::included()), Ranks::read)?;
        let facts = Arc::new(Lately { health: executor.health.clone(), others: config.target_facts });
        let ground = Ground { providers: config.providers, library: Library::new(), ranks, facts };
        let target = Target::find(&config.default_model, &ground.providers).map(|target| target.id);
        let routers = Routers::new(&config.routers, config.data.as_deref(), &ground, target.as_deref())?;
        let set = routers.current();
        let default = named(&config.default_model, &set, &ground.providers).ok_or_else(|| {
            let known: Vec<String> = models(&set, &ground.providers).into_iter().map(|model| model.id).collect();
            let detail = format!("{:?} names no model; known are {}", config.default_model, known.join(", "));
            RouterError::new("default_model", detail)
        })?;
        let all = Target::all(&ground.providers);
        let (shadow, work) = shadow::new(executor.clone());
        let (outcomes, mirrored) = (Outcomes::default(), Mutex::new(Some(work)));
        Ok(Router(Arc::new(Inner { ground, routers, default, all, outcomes, executor, shadow, mirrored })))
    }

    pub(crate) fn providers(&self) -> &[Provider] {
        &self.0.ground.providers
    }

    /// The signals that any rule reads.
    pub fn wanted(&self) -> SignalSet {
        let set = self.0.routers.current();
        set.values().filter_map(|entry| entry.routing().ok()).fold(SignalSet::NONE, |all, router| all.union(router.wanted()))
    }

    /// The signals that matter to a request for `model`: none where it names its target.
    pub fn wanted_by(&self, model: &str) -> SignalSet {
        let set = self.0.routers.current();
        match self.0.resolve(model, &set) {
            Some(Resolved::Router(id)) => set.get(&id).and_then(|entry| Some(entry.routing().ok()?.wanted())).unwrap_or_default(),
            Some(Resolved::Target(_)) | None => SignalSet::NONE,
        }
    }

    /// What may be asked for.
    pub fn models(&self) -> Vec<ModelInfo> {
        models(&self.0.routers.current(), &self.0.ground.providers)
    }

    /// What a model's name stands for: a router (`timbre/support`, `inworld/support`, `support`), a target (`upstream/x`, or the bare
    /// name of a model that a provider lists), or the default (nothing, `auto`). `None` where it stands for nothing.
    pub fn resolve(&self, model: &str) -> Option<Resolved> {
        self.0.resolve(model, &self.0.routers.current())
    }

    /// How often each rule matched, missed or failed since it was last changed.
    pub fn counts(&self) -> Vec<RuleCount> {
        let set = self.0.routers.current();
        set.values().filter_map(|entry| entry.routing().ok()).flat_map(|router| router.counts()).collect()
    }

    /// Decides at once who answers, without I/O; the answer's stream then asks them. Call and poll it inside a tokio runtime.
    pub fn complete(&self, request: Request) -> Result<Answer, RouteError> {
        let Request { mut prompt, facts, id } = request;
        prompt.id.clone_from(&id);
        let Choice { decision, targets, limits, prompt } = self.choose(prompt, &facts)?;
        let shadowed = decision.shadow.as_deref().and_then(|shadow| Target::find(shadow, &self.0.ground.providers));
        let job = shadowed.map(|target| Job { id, decision: decision.clone(), target, limits, prompt: prompt.clone() });
        let answer = self.0.outcomes.watch(self.0.executor.answer(decision, targets, limits, prompt));
        let Some(job) = job else { return Ok(answer) };
        // With the first poll: a request that is refused, or answered from a cache, is not mirrored either.
        let shadow = self.0.shadow.clone();
        Ok(answer.through(|deltas| {
            let begun = async move {
                shadow.mirror(job);
                deltas
            };
            begun.into_stream().flatten().boxed()
        }))
    }

    /// The work on mirrored requests: at most `running` answers at once, each given to `tell` at its end. Whoever calls this polls it, and
    /// ends it by dropping it; `None` where somebody did before. Until then a few requests wait, and the rest is dropped and counted.
    pub fn shadows(&self, running: usize, tell: impl Fn(Shadowed) + Send + 'static) -> Option<BoxFuture<'static, ()>> {
        let work = self.0.mirrored.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(work.run(running, tell).boxed())
    }

    /// How many requests were mirrored.
    pub fn shadow_count(&self) -> ShadowCount {
        self.0.shadow.count()
    }

    /// How the targets do that were asked so far, in no order.
    pub fn conditions(&self) -> Vec<(String, Condition)> {
        self.0.executor.health.conditions(Instant::now())
    }

    /// The replicas of a provider, where it has any.
    pub fn replicas_of(&self, provider: &str) -> Option<Replicas> {
        self.providers().iter().find(|own| own.name == provider)?.replicas.clone()
    }

    /// What the replicas of each provider that has any did so far.
    pub fn replicas(&self) -> Vec<(String, Vec<ReplicaState>)> {
        let of = |provider: &Provider| Some((provider.name.clone(), provider.replicas.as_ref()?.states()));
        self.providers().iter().filter_map(of).collect()
    }

    /// Decides who would answer, and asks nobody. Rules and requests are counted as for an answer.
    pub fn decide(&self, request: Request) -> Result<Decision, RouteError> {
        self.choose(request.prompt, &request.facts).map(|choice| choice.decision)
    }

    /// What a request to the router `id` would come to, without asking anybody. The model that it names does not matter.
    pub fn explain(&self, id: &str, request: Request) -> Result<Explanation, RouteError> {
        let set = self.0.routers.current();
        let unknown = || self.unknown(&request.prompt.model, &set);
        let routing = set.get(id).ok_or_else(unknown)?.routing()?;
        let asked = explain::asked(request.prompt, &request.facts, &self.0.ground)?;
        routing.explain(asked, &self.0.ground)
    }

    /// The routers, by id.
    pub fn routers(&self) -> Vec<Listed> {
        self.0.routers.list()
    }

    /// One router.
    pub fn router(&self, id: &str) -> Result<Listed, RoutersError> {
        self.0.routers.get(id)
    }

    /// Makes a router; without a name it gets one. Writes to the disk.
    pub fn create_router(&self, object: Value) -> Result<Listed, RoutersError> {
        self.0.routers.create(object, &self.0.ground, self.0.default_target())
    }

    /// Changes the fields of `mask` (comma-separated paths, `*` for all), or those that `object` has. Writes to the disk.
    pub fn update_router(&self, id: &str, object: Value, mask: Option<&str>) -> Result<Listed, RoutersError> {
        let before = self.router(id)?;
        let after = self.0.routers.update(id, object, mask, &self.0.ground, self.0.default_target())?;
        self.forget_changed(&before, &after);
        Ok(after)
    }

    /// Deletes a router; its versions stay. Writes to the disk.
    pub fn delete_router(&self, id: &str) -> Result<(), RoutersError> {
        self.0.routers.delete(id)?;
        self.0.outcomes.forget(|key| key.router == id);
        Ok(())
    }

    /// Brings an earlier version back, of a deleted router too. Writes to the disk.
    pub fn roll_back_router(&self, id: &str, version: u64) -> Result<Listed, RoutersError> {
        let before = self.router(id).ok();
        let after = self.0.routers.roll_back(id, version, &self.0.ground, self.0.default_target())?;
        if let Some(before) = before {
            self.forget_changed(&before, &after);
        }
        Ok(after)
    }

    /// Every version of a router, oldest first; none for one of the configuration. Reads from the disk.
    pub fn router_versions(&self, id: &str) -> Result<Vec<Version>, RoutersError> {
        self.0.routers.versions(id)
    }

    /// What became of the requests of a router's variants, since each was last changed.
    pub fn outcomes(&self, id: &str) -> Result<Vec<VariantOutcome>, RoutersError> {
        self.router(id)?;
        Ok(self.0.outcomes.of(id))
    }

    /// Lets an answer be scored under an id, and as the last one of its user.
    pub fn remember(&self, id: &str, user: Option<&str>, decision: &Decision) {
        self.0.outcomes.remember(id, user, decision);
    }

    /// Counts a score; the error tells what is missing.
    pub fn score(&self, feedback: &Feedback) -> Result<VariantKey, String> {
        let set = self.0.routers.current();
        let has = |route: &Route, key: &VariantKey| route.id == key.route && route.has(&key.variant);
        self.0.outcomes.score(feedback, |key| {
            let routing = set.get(&key.router).and_then(|entry| entry.routing().ok());
            routing
                .is_some_and(|routing| routing.routes.iter().map(|(_, route)| route).chain(&routing.default).any(|route| has(route, key)))
        })
    }

    /// What tokens of a target (`provider/model`) cost; `None` where its price is not known.
    pub fn price(&self, target: &str, usage: &Usage) -> Option<Priced> {
        self.0.executor.price.as_ref()?(target, Amount::Tokens(usage))
    }

    fn choose(&self, mut prompt: Prompt, facts: &Facts) -> Result<Choice, RouteError> {
        let inner = &self.0;
        let set = inner.routers.current();
        let resolved = inner.resolve(&prompt.model, &set).ok_or_else(|| self.unknown(&prompt.model, &set))?;
        let wishes = Wishes::take(&mut prompt, &inner.ground.ranks)?;
        let automatic = prompt.model.is_empty() || prompt.model == AUTO;
        match resolved {
            _ if automatic && wishes.reorders() => inner.automatic(prompt, &wishes),
            Resolved::Target(id) => {
                let target = Target::find(&id, &inner.ground.providers).ok_or_else(|| self.unknown(&prompt.model, &set))?;
                let reason = if automatic { "the default".to_owned() } else { format!("the request names {id}") };
                inner.direct(target, reason, prompt, &wishes)
            }
            Resolved::Router(id) => {
                let entry = set.get(&id).ok_or_else(|| self.unknown(&prompt.model, &set))?;
                let asked = Asked { prompt, facts, wishes, now: SystemTime::now() };
                entry.routing()?.decide(asked, &inner.ground)
            }
        }
    }

    fn unknown(&self, model: &str, set: &Set) -> RouteError {
        let known = models(set, &self.0.ground.providers).into_iter().map(|model| model.id).collect();
        RouteError::UnknownModel { model: model.to_owned(), known }
    }

    /// Forgets what became of variants that are not what they were; their shares may have changed.
    fn forget_changed(&self, before: &Listed, after: &Listed) {
        let find = |object: &RouterObject, key: &VariantKey| {
            let routes = object.routes.iter().map(|entry| &entry.route).chain(&object.default_route);
            let mut routes = routes.filter(|route| route.route_id.as_ref() == Some(&key.route));
            let variants = routes.next().map(|route| route.variants.clone()).unwrap_or_default();
            variants.into_iter().map(|weighted| weighted.variant).find(|variant| variant.variant_id.as_ref() == Some(&key.variant))
        };
        let defaults = before.object.defaults != after.object.defaults;
        self.0.outcomes.forget(|key| key.router == after.id && (defaults || find(&before.object, key) != find(&after.object, key)));
    }
}

impl Inner {
    fn resolve(&self, model: &str, set: &Set) -> Option<Resolved> {
        if model.is_empty() || model == AUTO { Some(self.default.clone()) } else { named(model, set, &self.ground.providers) }
    }

    fn default_target(&self) -> Option<&str> {
        match &self.default {
            Resolved::Target(id) => Some(id),
            Resolved::Router(_) => None,
        }
    }

    /// A request that names its target, and perhaps more: the named one first, the others in the order that the request wishes.
    fn direct(&self, target: Target, mut reason: String, prompt: Prompt, wishes: &Wishes) -> Result<Choice, RouteError> {
        let others = further(wishes, &self.ground.providers)?.into_iter().filter(|more| more.id != target.id).collect::<Vec<_>>();
        let mut targets = vec![target];
        targets.extend(others);
        if targets.len() > 1 || wishes.reorders() {
            let order = wishes.over(&Order::default()).into_owned();
            let Ordered { targets: ordered, unfit } = order.apply(targets.iter().collect(), 1, 0, &self.ground.seen(&prompt));
            reason.push_str(&unfit_last(&ordered, unfit));
            targets = ordered.into_iter().cloned().collect();
        }
        chosen("direct", reason, targets, prompt, wishes)
    }

    /// A request that leaves the choice to its `sort` and `ignore`: of `models`, or of every model that the providers list.
    fn automatic(&self, prompt: Prompt, wishes: &Wishes) -> Result<Choice, RouteError> {
        let named = further(wishes, &self.ground.providers)?;
        let default = self.default_target().and_then(|id| Target::find(id, &self.ground.providers));
        let order = wishes.over(&Order::default()).into_owned();
        let pool: Vec<&Target> = if !named.is_empty() {
            named.iter().collect()
        } else {
            // The default first: equals keep their places.
            let others = self.all.iter().filter(|target| default.as_ref().is_none_or(|default| default.id != target.id));
            default.iter().chain(others).collect()
        };
        let Ordered { targets, unfit } = order.apply(pool, 0, 0, &self.ground.seen(&prompt));
        let mut reason = if order.sort.is_empty() { "what is left of the default and the others".to_owned() } else { order.describe() };
        reason.push_str(&unfit_last(&targets, unfit));
        let targets = targets.into_iter().cloned().collect();
        chosen(AUTO, reason, targets, prompt, wishes)
    }
}

/// A choice that no router made.
fn chosen(route: &str, reason: String, targets: Vec<Target>, prompt: Prompt, wishes: &Wishes) -> Result<Choice, RouteError> {
    if targets.is_empty() {
        return Err(none_left());
    }
    let decision = Decision {
        router: None,
        version: None,
        route: route.to_owned(),
        variant: None,
        reason,
        targets: targets.iter().map(|target| target.id.clone()).collect(),
        shadow: None,
        cache: CacheObject::default(),
    };
    Ok(Choice { decision, targets, limits: wishes.limits(Limits::default()), prompt })
}

fn named(model: &str, set: &Set, providers: &[Provider]) -> Option<Resolved> {
    if let Some((OWN | OTHER, id)) = model.split_once('/') {
        return set.contains_key(id).then(|| Resolved::Router(id.to_owned()));
    }
    if set.contains_key(model) {
        return Some(Resolved::Router(model.to_owned()));
    }
    Target::find(model, providers).map(|target| Resolved::Target(target.id))
}

fn models(set: &Set, providers: &[Provider]) -> Vec<ModelInfo> {
    let routers = set.keys().map(|id| ModelInfo { id: format!("{OWN}/{id}"), owned_by: OWN.to_owned() });
    let targets = providers.iter().flat_map(|provider| {
        provider.models.iter().map(|model| ModelInfo { id: format!("{}/{model}", provider.name), owned_by: provider.name.clone() })
    });
    routers.chain(targets).collect()
}

#[cfg(test)]
mod selection_tests;
#[cfg(test)]
mod tests;
