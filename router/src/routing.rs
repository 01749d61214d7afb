//! A router object, checked: its rules, its routes, and the decision for one request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use models::{Prompt, SignalSet};

use crate::answer::Decision;
use crate::facts::View;
use crate::moment::{self, Moment};
use crate::needs::Needs;
use crate::object::RouterObject;
use crate::rank::Ranks;
use crate::route::{Known, Limits, Route, Target};
use crate::rule::{Library, Rule, RuleCount};
use crate::select::{Order, Ordered, Seen, Wishes, unfit_last};
use crate::{Facts, Provider, RouteError, RouterError, TargetFacts};

/// What every decision stands on.
pub(crate) struct Ground {
    pub(crate) providers: Vec<Provider>,
    pub(crate) library: Library,
    pub(crate) ranks: Ranks,
    pub(crate) facts: Arc<dyn TargetFacts>,
}

impl Ground {
    /// What sorting looks at, for this prompt.
    pub(crate) fn seen<'a>(&'a self, prompt: &'a Prompt) -> Seen<'a> {
        Seen { facts: self.facts.as_ref(), ranks: &self.ranks, needs: Needs::of(prompt) }
    }
}

/// A request on its way to a decision.
pub(crate) struct Asked<'a> {
    pub(crate) prompt: Prompt,
    pub(crate) facts: &'a Facts,
    pub(crate) wishes: Wishes,
    pub(crate) now: SystemTime,
}

/// Who is asked what.
pub(crate) struct Choice {
    pub(crate) decision: Decision,
    pub(crate) targets: Vec<Target>,
    pub(crate) limits: Limits,
    pub(crate) prompt: Prompt,
}

/// A router object, checked.
pub(crate) struct Routing {
    pub(crate) id: String,
    /// Counted from 1; 0 for one of the configuration.
    pub(crate) version: u64,
    /// In order; a route without a rule is always taken.
    pub(crate) routes: Vec<(Option<Rule>, Route)>,
    pub(crate) default: Option<Route>,
    /// Its clock, seconds ahead of UTC.
    offset: i32,
    /// The targets whose facts its rules read.
    named: Vec<String>,
}

impl Routing {
    /// Checks a version of an object whose name is an id; `default` is what stands for `auto`, where that is a target.
    pub(crate) fn check(object: &RouterObject, version: u64, ground: &Ground, default: Option<&str>) -> Result<Routing, RouterError> {
        let name = &object.name;
        let defaults = object.defaults.clone().unwrap_or_default();
        let known = Known { providers: &ground.providers, ranks: &ground.ranks, default, defaults: &defaults };
        let mut routes: Vec<(Option<Rule>, Route)> = Vec::new();
        for (n, entry) in object.routes.iter().enumerate() {
            let at = format!("router.{name}.routes[{n}]");
            let compile = |condition: &str| {
                Rule::compile(condition, &ground.library)
                    .map_err(|detail| RouterError::new(format!("{at}.condition.cel_expression"), detail))
            };
            let rule = entry.condition.as_ref().map(|condition| compile(&condition.cel_expression)).transpose()?;
            let route = Route::check(&entry.route, &format!("route-{}", n + 1), &format!("{at}.route"), &known)?;
            if routes.iter().any(|(_, other)| other.id == route.id) {
                let detail = format!("there are two routes {:?}; give each a route_id of its own", route.id);
                return Err(RouterError::new(format!("{at}.route.route_id"), detail));
            }
            routes.push((rule, route));
        }
        let at = format!("router.{name}.default_route");
        let default = object.default_route.as_ref().map(|route| Route::check(route, "default", &at, &known)).transpose()?;
        if routes.is_empty() && default.is_none() {
            return Err(RouterError::new(format!("router.{name}"), "a router needs routes or a default_route"));
        }
        let offset = object.utc_offset.as_deref().map_or(Ok(0), moment::offset);
        let offset = offset.map_err(|detail| RouterError::new(format!("router.{name}.utc_offset"), detail))?;
        let mut named: Vec<String> = Vec::new();
        for target in routes.iter().filter_map(|(rule, _)| rule.as_ref()).flat_map(Rule::targets) {
            if !named.contains(target) {
                named.push(target.clone());
            }
        }
        Ok(Routing { id: name.clone(), version, routes, default, offset, named })
    }

    /// The signals that its rules read.
    pub(crate) fn wanted(&self) -> SignalSet {
        self.routes.iter().filter_map(|(rule, _)| rule.as_ref()).fold(SignalSet::NONE, |all, rule| all.union(rule.wanted()))
    }

    /// How often each of its rules did what.
    pub(crate) fn counts(&self) -> impl Iterator<Item = RuleCount> {
        self.routes.iter().filter_map(|(rule, route)| Some(rule.as_ref()?.count(&self.id, &route.id)))
    }

    /// What its rules see of a request.
    pub(crate) fn view<'a>(&'a self, asked: &'a Asked<'_>, ground: &'a Ground) -> Result<View<'a>, RouteError> {
        let now = Moment::new(asked.now, self.offset);
        View::new(asked.facts, &asked.prompt, ground.facts.as_ref(), &self.named, now).map_err(|detail| RouteError::TooManyFacts { detail })
    }

    /// Decides a request.
    pub(crate) fn decide(&self, asked: Asked<'_>, ground: &Ground) -> Result<Choice, RouteError> {
        let view = self.view(&asked, ground)?;
        let holds = |rule: &Option<Rule>| rule.as_ref().is_none_or(|rule| rule.holds(&ground.library, &view));
        let (rule, route) = match (self.routes.iter().find(|(rule, _)| holds(rule)), &self.default) {
            (Some((rule, route)), _) => (Because::Rule(rule.as_ref()), route),
            (None, Some(route)) => (Because::Default, route),
            (None, None) => return Err(RouteError::NoRoute { router: self.id.clone() }),
        };
        drop(view);
        self.settle(asked, ground, &rule, route, route.deal()).map(|settled| settled.choice)
    }

    /// Decides variant and targets where the route is found; `dealt` is the number of the request on that route.
    pub(crate) fn settle<'r>(
        &self,
        asked: Asked<'_>,
        ground: &Ground,
        because: &Because<'_>,
        route: &'r Route,
        dealt: u64,
    ) -> Result<Settled<'r>, RouteError> {
        let point = route.point(&self.id, asked.facts.user.as_deref(), dealt);
        let variant = route.at(point).ok_or_else(|| RouteError::NoRoute { router: self.id.clone() })?;
        let order = asked.wishes.over(&variant.order);
        let further = further(&asked.wishes, &ground.providers)?;
        let candidates = variant.targets.iter().chain(further.iter().filter(|more| !variant.targets.iter().any(|t| t.id == more.id)));
        let Ordered { targets, unfit } = order.apply(candidates.collect(), variant.fixed, dealt, &ground.seen(&asked.prompt));
        if targets.is_empty() {
            return Err(none_left());
        }
        let mut reason = because.text().to_owned();
        if !order.sort.is_empty() {
            reason = format!("{reason}; {}", order.describe());
        }
        reason.push_str(&unfit_last(&targets, unfit));
        let decision = Decision {
            router: Some(self.id.clone()),
            version: Some(self.version),
            route: route.id.clone(),
            variant: Some(variant.id.clone()),
            reason,
            targets: targets.iter().map(|target| target.id.clone()).collect(),
            shadow: variant.shadow(dealt).map(|target| target.id.clone()),
            cache: route.cache.clone(),
        };
        let targets = targets.into_iter().cloned().collect();
        let limits = asked.wishes.limits(variant.limits);
        let choice = Choice { decision, targets, limits, prompt: variant.prompt(asked.prompt) };
        Ok(Settled { choice, point, order })
    }
}

/// A decision with what led to it.
pub(crate) struct Settled<'r> {
    pub(crate) choice: Choice,
    /// Where the request fell on the shares of its route.
    pub(crate) point: u64,
    pub(crate) order: Cow<'r, Order>,
}

/// Why a route is taken.
pub(crate) enum Because<'a> {
    /// Its rule held, or it has none.
    Rule(Option<&'a Rule>),
    /// No rule held.
    Default,
}

impl Because<'_> {
    fn text(&self) -> &str {
        match self {
            Because::Rule(Some(rule)) => rule.source(),
            Because::Rule(None) => "the route has no condition",
            Because::Default => "no condition held: the default route",
        }
    }
}

/// The targets that a request names besides its model.
pub(crate) fn further(wishes: &Wishes, providers: &[Provider]) -> Result<Vec<Target>, RouteError> {
    let find = |id: &String| {
        Target::find(id, providers).ok_or_else(|| {
            let detail = format!("`models` names {id:?}, which is no model here; GET /v1/models lists those that are");
            RouteError::BadField { field: "models", detail }
        })
    };
    wishes.models.iter().map(find).collect()
}

/// Everything that could answer is ignored.
pub(crate) fn none_left() -> RouteError {
    RouteError::BadField { field: "ignore", detail: "every model that could answer is ignored; leave one".to_owned() }
}
