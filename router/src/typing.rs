//! What a rule's expression holds, as far as it can be known before any request: finds the slip that would make the rule fail each time.
//!
//! Metadata can hold anything, so most names are [`Held::Unknown`] and fit everywhere. What is known (literals, `voice`, `request`, `time`,
//! `targets`, the functions) must fit together, and the whole must be a truth value.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

use crate::facts::{self, Holds};
use crate::{moment, schema};

/// What an expression holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Unknown,
    Flag,
    Whole,
    Unsigned,
    Number,
    Text,
    Null,
    List,
    Map,
    /// Bytes, a duration, a point in time, a type.
    Other,
    /// `voice`, `request` and so on as a whole.
    Ours(Namespace),
    /// `targets["provider/model"]`.
    Target,
}

/// A name of ours with names under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    Voice,
    Request,
    Time,
    Targets,
}

impl Held {
    fn name(self) -> &'static str {
        match self {
            Held::Unknown => "anything",
            Held::Flag => "true or false",
            Held::Whole => "a whole number",
            Held::Unsigned => "an unsigned number",
            Held::Number => "a number with decimals",
            Held::Text => "a text",
            Held::Null => "null",
            Held::List => "a list",
            Held::Map | Held::Ours(_) | Held::Target => "a map",
            Held::Other => "bytes, a time or a type",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Held::Whole | Held::Unsigned | Held::Number)
    }

    /// Whether a value that holds this may be `other`.
    fn fits(self, other: Held) -> bool {
        self == Held::Unknown || other == Held::Unknown || self.plain() == other.plain()
    }

    fn plain(self) -> Held {
        match self {
            Held::Ours(_) | Held::Target => Held::Map,
            other => other,
        }
    }
}

impl From<Holds> for Held {
    fn from(holds: Holds) -> Held {
        match holds {
            Holds::Text => Held::Text,
            Holds::Whole => Held::Whole,
            Holds::Number => Held::Number,
            Holds::Flag => Held::Flag,
        }
    }
}

/// Checks a whole condition; the error tells what does not fit.
pub(crate) fn check(condition: &IdedExpr) -> Result<(), String> {
    let mut checker = Checker { bound: Vec::new() };
    match checker.held(condition)? {
        Held::Flag | Held::Unknown => Ok(()),
        other => Err(format!("the condition is {}; it must be true or false, for instance a comparison", other.name())),
    }
}

struct Checker<'a> {
    /// Names that loops bind, which hide ours.
    bound: Vec<(&'a str, Held)>,
}

impl<'a> Checker<'a> {
    fn held(&mut self, node: &'a IdedExpr) -> Result<Held, String> {
        Ok(match &node.expr {
            Expr::Unspecified | Expr::Struct(_) => Held::Unknown,
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Held::Flag,
                LiteralValue::Bytes(_) => Held::Other,
                LiteralValue::Double(_) => Held::Number,
                LiteralValue::Int(_) => Held::Whole,
                LiteralValue::Null => Held::Null,
                LiteralValue::String(_) => Held::Text,
                LiteralValue::UInt(_) => Held::Unsigned,
            },
            Expr::Ident(name) => self.named(name)?,
            Expr::Select(select) => {
                let operand = self.held(&select.operand)?;
                let field = member(operand, &select.field)?;
                if select.test { Held::Flag } else { field }
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => {
                for element in &list.elements {
                    self.held(element)?;
                }
                Held::List
            }
            Expr::Map(_) => Held::Map,
            Expr::Comprehension(each) => {
                let range = self.held(&each.iter_range)?;
                if !matches!(range.plain(), Held::Unknown | Held::List | Held::Map) {
                    return Err(format!("the condition loops over {}; a loop goes over a list or a map", range.name()));
                }
                let sum = self.held(&each.accu_init)?;
                let outer = self.bound.len();
                self.bound.push((&each.iter_var, Held::Unknown));
                self.bound.extend(each.iter_var2.as_deref().map(|name| (name, Held::Unknown)));
                self.bound.push((&each.accu_var, sum));
                self.held(&each.loop_cond)?;
                self.held(&each.loop_step)?;
                let result = self.held(&each.result)?;
                self.bound.truncate(outer);
                result
            }
        })
    }

    fn named(&self, name: &str) -> Result<Held, String> {
        if let Some((_, held)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return Ok(*held);
        }
        if let Some(plain) = name.strip_prefix('.') {
            return Err(format!("write {plain}, without the dot in front"));
        }
        Ok(match name {
            "voice" => Held::Ours(Namespace::Voice),
            "request" => Held::Ours(Namespace::Request),
            "time" | "utc" => Held::Ours(Namespace::Time),
            "targets" => Held::Ours(Namespace::Targets),
            "metadata" => Held::Map,
            _ => Held::Unknown,
        })
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Held, String> {
        let target = call.target.as_ref().map(|target| self.held(target)).transpose()?;
        let args = call.args.iter().map(|arg| self.held(arg)).collect::<Result<Vec<_>, _>>()?;
        let name = call.func_name.as_str();
        match (name, args.as_slice()) {
            ("_&&_" | "_||_" | "!_" | "@not_strictly_false", _) => {
                if let Some(wrong) = args.iter().find(|arg| !arg.fits(Held::Flag)) {
                    return Err(format!("&&, || and ! join what is true or false, not {}", wrong.name()));
                }
                Ok(Held::Flag)
            }
            ("_==_" | "_!=_", [left, right]) => {
                let null = *left == Held::Null || *right == Held::Null;
                if null || left.fits(*right) || left.is_number() && right.is_number() {
                    return Ok(Held::Flag);
                }
                Err(format!("{} is compared with {}, which it never equals", left.name(), right.name()))
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => {
                if let Some(wrong) = args.iter().find(|arg| matches!(arg.plain(), Held::Map | Held::List | Held::Null)) {
                    return Err(format!("<, <=, > and >= put in order; {} has none", wrong.name()));
                }
                if left.fits(*right) || left.is_number() && right.is_number() {
                    return Ok(Held::Flag);
                }
                Err(format!("{} is compared with {}; both must be numbers or both texts", left.name(), right.name()))
            }
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => arithmetic(name, *left, *right),
            ("-_", [of]) => Ok(*of),
            ("@in", [_, within]) => match within.plain() {
                Held::List | Held::Map | Held::Unknown => Ok(Held::Flag),
                other => Err(format!("`in` looks into a list or a map, not into {}", other.name())),
            },
            ("_?_:_", [condition, yes, no]) => {
                if !condition.fits(Held::Flag) {
                    return Err(format!("what stands before ? must be true or false, not {}", condition.name()));
                }
                Ok(if yes == no { *yes } else { Held::Unknown })
            }
            ("_[_]", [operand, _]) => index(*operand, &call.args[1]),
            ("contains" | "startsWith" | "endsWith" | "matches", _) => {
                if let Some(wrong) = target.iter().chain(&args).find(|held| !held.fits(Held::Text)) {
                    return Err(format!("{name}() works on texts, not on {}", wrong.name()));
                }
                Ok(Held::Flag)
            }
            ("size", _) => {
                let sized = |held: &Held| matches!(held.plain(), Held::Text | Held::List | Held::Map | Held::Unknown | Held::Other);
                match target.iter().chain(&args).find(|held| !sized(held)) {
                    Some(wrong) => Err(format!("size() counts texts, lists and maps, not {}", wrong.name())),
                    None => Ok(Held::Whole),
                }
            }
            ("int", _) => Ok(Held::Whole),
            ("uint", _) => Ok(Held::Unsigned),
            ("double", _) => Ok(Held::Number),
            ("string", _) => Ok(Held::Text),
            ("bool", _) => Ok(Held::Flag),
            ("duration" | "timestamp" | "type", _) => Ok(Held::Other),
            (get, _) if get.starts_with("get") => Ok(Held::Whole),
            _ => Ok(Held::Unknown),
        }
    }
}

fn arithmetic(name: &str, left: Held, right: Held) -> Result<Held, String> {
    if left == Held::Unknown || right == Held::Unknown || left == Held::Other || right == Held::Other {
        return Ok(Held::Unknown);
    }
    let joined = name == "_+_" && matches!(left, Held::Text | Held::List);
    if left == right && (left.is_number() || joined) {
        return Ok(left);
    }
    let sign = name.trim_matches('_');
    if left.is_number() && right.is_number() {
        return Err(format!("{} {sign} {} is not defined; convert one side with double() or int()", left.name(), right.name()));
    }
    Err(format!("{} {sign} {} is not defined", left.name(), right.name()))
}

fn index(operand: Held, key: &IdedExpr) -> Result<Held, String> {
    match (operand, &key.expr) {
        (Held::Ours(Namespace::Targets), Expr::Literal(LiteralValue::String(_))) => Ok(Held::Target),
        (Held::Ours(Namespace::Targets), _) => Err("write the target out: targets[\"provider/model\"]".to_owned()),
        (Held::Ours(_) | Held::Target, Expr::Literal(LiteralValue::String(field))) => member(operand, field.inner()),
        (Held::Unknown | Held::List | Held::Map | Held::Ours(_) | Held::Target, _) => Ok(Held::Unknown),
        (other, _) => Err(format!("[..] looks into a list or a map, not into {}", other.name())),
    }
}

fn member(operand: Held, field: &str) -> Result<Held, String> {
    let of = |place: &str, fields: &[(&'static str, Holds)], field: &str| match fields.iter().find(|(name, _)| *name == field) {
        Some((_, holds)) => Ok(Held::from(*holds)),
        None => Err(no_such(place, field, fields.iter().map(|(name, _)| *name))),
    };
    match operand {
        Held::Ours(Namespace::Voice) => match field.strip_suffix(facts::CONFIDENCE) {
            Some(measured) => of("voice", &facts::VOICE, measured).map(|_| Held::Number),
            None => of("voice", &facts::VOICE, field),
        },
        Held::Ours(Namespace::Request) => of("request", &facts::REQUEST, field),
        Held::Ours(Namespace::Time) if moment::FIELDS.contains(&field) => Ok(Held::Whole),
        Held::Ours(Namespace::Time) => Err(no_such("time", field, moment::FIELDS.into_iter())),
        Held::Ours(Namespace::Targets) => Err(format!("write targets[\"provider/model\"].latency_ms and so on, not targets.{field}")),
        Held::Target => of("targets[..]", &facts::TARGET, field),
        Held::Unknown | Held::Map => Ok(Held::Unknown),
        other => Err(format!(".{field} looks into a map, not into {}", other.name())),
    }
}

fn no_such(place: &str, field: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<&str> = known.collect();
    let meant = schema::nearest(field, known.iter().copied()).unwrap_or_default();
    format!("there is no {place}.{field}; did you mean {place}.{meant}? Known are {}", known.join(", "))
}
