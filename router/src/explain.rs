//! Why a request would be answered as it would: the same decision as for a real one, told in full, with nobody asked and nothing counted.

use std::time::SystemTime;

use crate::answer::Decision;
use crate::route::per_cent;
use crate::routing::{Asked, Because, Ground, Routing};
use crate::rule::Verdict;
use crate::{Facts, Lack, RouteError};

/// A decision and what led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Each route with what its rule says, in order.
    pub rules: Vec<RuleSays>,
    /// Where on the shares of the route the request falls, and the shares.
    pub draw: Option<Draw>,
    /// The targets in the order in which they would be tried.
    pub candidates: Vec<Candidate>,
    /// The decision, or why there is none.
    pub decision: Result<Decision, RouteError>,
}

/// What a route's rule says of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSays {
    /// The route's id.
    pub route: String,
    /// The condition; `None`: always taken.
    pub condition: Option<String>,
    /// What it says.
    pub verdict: Verdict,
    /// Whether the route is the one that is taken: the first that holds.
    pub taken: bool,
}

/// How the variant is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Whether the user keeps it: the point is a hash of user, router and route. Without a user, each request has a point of its own and
    /// this is the next one's.
    pub sticky: bool,
    /// Per cent, 0 to 100.
    pub point: f64,
    /// Each variant with the per cent of its share, in order.
    pub shares: Vec<(String, f64)>,
}

/// A target that would be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// `provider/model`.
    pub target: String,
    /// The keys that it was sorted by, with its numbers, where they are known.
    pub sorted_by: Vec<(String, Option<f64>)>,
    /// Whether it answers, where that is known.
    pub healthy: Option<bool>,
    /// What the request needs and it is known to lack; where others lack nothing, it comes after them.
    pub lacks: Vec<Lack>,
}

impl Routing {
    /// Decides without asking or counting.
    pub(crate) fn explain(&self, asked: Asked<'_>, ground: &Ground) -> Result<Explanation, RouteError> {
        let view = self.view(&asked, ground)?;
        let mut taken = None;
        let mut rules = Vec::new();
        for (rule, route) in &self.routes {
            let verdict = rule.as_ref().map_or(Verdict::Held, |rule| rule.verdict(&ground.library, &view));
            let first = taken.is_none() && verdict == Verdict::Held;
            if first {
                taken = Some((Because::Rule(rule.as_ref()), route));
            }
            let condition = rule.as_ref().map(|rule| rule.source().to_owned());
            rules.push(RuleSays { route: route.id.clone(), condition, verdict, taken: first });
        }
        drop(view);
        let Some((because, route)) = taken.or_else(|| self.default.as_ref().map(|route| (Because::Default, route))) else {
            let decision = Err(RouteError::NoRoute { router: self.id.clone() });
            return Ok(Explanation { rules, draw: None, candidates: Vec::new(), decision });
        };
        let sticky = asked.facts.user.is_some();
        let mut draw = Draw { sticky, point: 0.0, shares: route.shares() };
        let settled = match self.settle(asked, ground, &because, route, route.next()) {
            Ok(settled) => settled,
            Err(error) => return Ok(Explanation { rules, draw: None, candidates: Vec::new(), decision: Err(error) }),
        };
        draw.point = per_cent(settled.point);
        let seen = ground.seen(&settled.choice.prompt);
        let candidate = |target: &crate::route::Target| Candidate {
            target: target.id.clone(),
            sorted_by: settled.order.values(target, &seen),
            healthy: seen.facts.of(&target.id).healthy,
            lacks: seen.lacking(target).collect(),
        };
        let candidates = settled.choice.targets.iter().map(candidate).collect();
        Ok(Explanation { rules, draw: Some(draw), candidates, decision: Ok(settled.choice.decision) })
    }
}

/// What a request would be asked with, for [`Routing::explain`].
pub(crate) fn asked<'a>(prompt: models::Prompt, facts: &'a Facts, ground: &Ground) -> Result<Asked<'a>, RouteError> {
    let mut prompt = prompt;
    let wishes = crate::select::Wishes::take(&mut prompt, &ground.ranks)?;
    Ok(Asked { prompt, facts, wishes, now: SystemTime::now() })
}
