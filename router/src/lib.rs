//! Who answers: facts, CEL rules, routes, variants, targets, attempts.
//!
//! A request is decided without I/O: its facts run through the rules of the router it names, the first rule that matches gives a route,
//! the route's weights give a variant, the variant gives a chain of targets. Then the chain is raced: a target that fails before its first
//! content is replaced by the next, one that fails after it is continued by the next. The crate knows prompts, deltas and signals, never an HTTP
//! client or an audio device.

mod answer;
mod attempt;
mod cache;
pub mod catalogue;
pub mod cost;
pub mod duration;
mod embed;
mod error;
mod executor;
mod explain;
mod facts;
mod hash;
pub mod health;
mod interval;
pub mod ledger;
pub mod limit;
mod measure;
mod moment;
mod needs;
mod object;
mod outcome;
mod provider;
mod race;
mod rank;
mod record;
mod replicas;
mod route;
mod router;
mod routers;
mod routing;
mod rule;
mod schema;
mod search;
mod select;
mod shadow;
mod survive;
mod target_facts;
mod typing;
mod versions;
mod works;

pub use self::router::{Config, ModelInfo, Request, Resolved, Router};
pub use answer::{Answer, Decision};
pub use attempt::{Attempt, AttemptLog, Counted, Outcome, Work};
pub use cache::{
    Cache, CacheControl, CacheKey, CacheMode, CacheObject, CacheReport, CacheSettings, CacheStatus, CacheUsage, Implicit, Lookup, Scope,
    Served,
};
pub use catalogue::Catalogue;
pub use cost::{Cost, Priced};
pub use error::{Fault, RouteError, RouterError};
pub use executor::{Amount, Executor, Price};
pub use explain::{Candidate, Draw, Explanation, RuleSays};
pub use facts::Facts;
pub use health::Health;
pub use interval::Estimate;
pub use ledger::Ledger;
pub use moment::rfc3339;
pub use object::{
    ConditionObject, DefaultsObject, LogitBias, MessageTemplate, ProviderOrder, RouteEntry, RouteObject, RouterObject, SelectionObject,
    ShadowObject, SortObject, TextGenerationConfig, VariantObject, WeightedVariant,
};
pub use outcome::{Feedback, VariantKey, VariantOutcome, Winner, winners};
pub use provider::Provider;
pub use record::{AttemptRecord, Preparation, Record, Texts, counts};
pub use replicas::{Replica, ReplicaState, Replicas};
pub use routers::{Listed, RoutersError, Source};
pub use rule::{RuleCount, Verdict};
pub use search::{SearchBounds, Searcher};
pub use shadow::{ShadowCount, Shadowed};
pub use target_facts::{Lack, TargetFact, TargetFacts};
pub use versions::{Change, Version};
pub use works::{Speakers, Works};
