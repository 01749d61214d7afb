//! Who answers: facts, CEL rules, routes, variants, targets, attempts.
//!
//! A request is decided without I/O: its facts run through the rules of the router it names, the first rule that matches gives a route,
//! the route's weights give a variant, the variant gives a chain of targets. Then the chain is raced: a target that fails before its first
//! content is replaced by the next, one that fails after it ends the answer. The crate knows prompts, deltas and signals, never an HTTP
//! client or an audio device.

mod answer;
mod attempt;
pub mod duration;
mod embed;
mod error;
mod facts;
mod hash;
mod object;
mod provider;
mod race;
mod route;
mod router;
mod rule;

pub use self::router::{Config, ModelInfo, Request, Resolved, Router};
pub use answer::{Answer, Decision};
pub use attempt::{Attempt, AttemptLog, Outcome};
pub use error::{Fault, RouteError, RouterError};
pub use facts::Facts;
pub use object::{
    ConditionObject, MessageTemplate, RouteEntry, RouteObject, RouterObject, TextGenerationConfig, VariantObject, WeightedVariant,
};
pub use provider::Provider;
pub use rule::RuleCount;
