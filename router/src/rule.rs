//! A compiled condition.
//!
//! Compiling bounds what evaluation can cost: the length of the source, the number and depth of its nodes, loops (one, not nested), and
//! patterns (written out, so that no request brings its own). A rule that reads a missing name or fails is no match, and is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, ExecutionError, Program, Value};
use models::SignalSet;

use crate::facts::{self, Variables};

/// Longest source, bytes.
const LONGEST_SOURCE: usize = 4_096;
/// Most nodes of the expression, loops unrolled into theirs.
const MOST_NODES: usize = 512;
/// Deepest nesting of the expression. The evaluator recurses: 1,000 levels fit a thread's 2 MiB, 5,000 do not (measured 2026-11).
const DEEPEST: usize = 100;

/// The functions and operators that the evaluator knows, by their names in the expression tree.
const FUNCTIONS: &[&str] = &[
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "type",
    "dyn",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// What CEL programs call: functions only, no variables. Making one costs 15 µs (measured), so a router keeps it.
pub(crate) struct Library(Context<'static, 'static>);

impl Library {
    pub(crate) fn new() -> Library {
        Library(Context::default())
    }
}

/// A condition, compiled.
pub(crate) struct Rule {
    source: String,
    program: Program,
    wanted: SignalSet,
    matched: AtomicU64,
    missed: AtomicU64,
    failed: AtomicU64,
}

/// How often a rule did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// The router it belongs to.
    pub router: String,
    /// The route it leads to.
    pub route: String,
    /// It held.
    pub matched: u64,
    /// It did not hold, or read a name that the request does not have.
    pub missed: u64,
    /// It could not be evaluated (wrong types, a division by zero, no boolean): no match either.
    pub failed: u64,
}

impl Rule {
    /// Compiles a condition; the error tells what to change.
    pub(crate) fn compile(source: &str, library: &Library) -> Result<Rule, String> {
        if source.len() > LONGEST_SOURCE {
            return Err(format!("the condition is {} bytes long; at most {LONGEST_SOURCE} are allowed", source.len()));
        }
        if source.trim().is_empty() {
            return Err("the condition is empty; leave it out for a route that is always taken".to_owned());
        }
        let program = Program::compile(source).map_err(|errors| format!("the condition {source:?} is not CEL: {errors}"))?;
        let mut survey = Survey { library, nodes: 0, bound: Vec::new(), wanted: SignalSet::NONE };
        survey.visit(program.expression(), 0, 0)?;
        let wanted = survey.wanted;
        Ok(Rule {
            source: source.to_owned(),
            program,
            wanted,
            matched: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, library: &Library, variables: &Variables) -> bool {
        let mut context = library.0.new_inner_scope();
        for (name, value) in variables {
            context.add_variable_from_value(name.as_str(), value.clone());
        }
        let (counter, holds) = match self.program.execute(&context) {
            Ok(Value::Bool(true)) => (&self.matched, true),
            Ok(Value::Bool(false)) | Err(ExecutionError::UndeclaredReference(_) | ExecutionError::NoSuchKey(_)) => (&self.missed, false),
            Ok(_) | Err(_) => (&self.failed, false),
        };
        counter.fetch_add(1, Relaxed);
        holds
    }

    /// As it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The signals that it reads.
    pub(crate) fn wanted(&self) -> SignalSet {
        self.wanted
    }

    pub(crate) fn count(&self, router: &str, route: &str) -> RuleCount {
        RuleCount {
            router: router.to_owned(),
            route: route.to_owned(),
            matched: self.matched.load(Relaxed),
            missed: self.missed.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

/// One walk over an expression: checks the bounds, collects what is read.
struct Survey<'a> {
    library: &'a Library,
    nodes: usize,
    bound: Vec<&'a str>,
    wanted: SignalSet,
}

impl<'a> Survey<'a> {
    fn visit(&mut self, node: &'a IdedExpr, depth: usize, loops: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > DEEPEST {
            return Err(format!(
                "the condition is too large: at most {MOST_NODES} operations, nested at most {DEEPEST} deep, are allowed; split it into two routes"
            ));
        }
        let depth = depth + 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.read(name),
            Expr::Select(select) => {
                if is_voice(&select.operand, &self.bound) {
                    self.read_voice(&select.field);
                } else {
                    self.visit(&select.operand, depth, loops)?;
                }
            }
            Expr::Call(call) => {
                self.check_function(&call.func_name)?;
                if call.func_name == "matches" {
                    self.check_pattern(call.args.last())?;
                }
                if let ("_[_]", [operand, index]) = (call.func_name.as_str(), call.args.as_slice())
                    && is_voice(operand, &self.bound)
                    && let Expr::Literal(LiteralValue::String(field)) = &index.expr
                {
                    self.read_voice(field.inner());
                    return Ok(());
                }
                for child in call.target.iter().map(Box::as_ref).chain(&call.args) {
                    self.visit(child, depth, loops)?;
                }
            }
            Expr::List(list) => {
                for child in &list.elements {
                    self.visit(child, depth, loops)?;
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.visit(&entry.key, depth, loops)?;
                            self.visit(&entry.value, depth, loops)?;
                        }
                        EntryExpr::StructField(field) => self.visit(&field.value, depth, loops)?,
                    }
                }
            }
            Expr::Struct(made) => return Err(format!("the condition makes a {}; messages are not known here", made.type_name)),
            Expr::Comprehension(each) => {
                if loops > 0 {
                    return Err("the condition has a loop inside a loop; one of all, exists, exists_one, map, filter at a time is allowed"
                        .to_owned());
                }
                self.visit(&each.iter_range, depth, loops)?;
                self.visit(&each.accu_init, depth, loops)?;
                let outer = self.bound.len();
                self.bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                for child in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.visit(child, depth, loops + 1)?;
                }
                self.bound.truncate(outer);
            }
        }
        Ok(())
    }

    fn check_function(&self, name: &str) -> Result<(), String> {
        if FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let known: Vec<&str> = FUNCTIONS.iter().copied().filter(|name| name.starts_with(char::is_alphabetic)).collect();
        Err(format!(
            "the condition calls {name}(), which is not known; known are has, all, exists, exists_one, map, filter, {}",
            known.join(", ")
        ))
    }

    /// A pattern is written out and valid: compiling it is then a cost that the rule's author chose.
    fn check_pattern(&self, pattern: Option<&IdedExpr>) -> Result<(), String> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern.map(|pattern| &pattern.expr) else {
            return Err("the pattern of matches() must be written out as a string in the condition".to_owned());
        };
        let mut context = self.library.0.new_inner_scope();
        context.add_variable_from_value("pattern", pattern.inner().to_owned());
        let trial = Program::compile("''.matches(pattern)").map_err(|errors| errors.to_string())?;
        trial.execute(&context).map(|_| ()).map_err(|error| format!("the pattern {:?} of matches() is not valid: {error}", pattern.inner()))
    }

    fn read(&mut self, name: &str) {
        if self.bound.contains(&name) {
            return;
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        // `voice` as a whole, not one of its fields: anything may be read.
        let wanted = if name == "voice" { SignalSet::ALL } else { facts::wanted_by_name(name) };
        self.wanted = self.wanted.union(wanted);
    }

    fn read_voice(&mut self, field: &str) {
        if let Some(kind) = facts::signal(field) {
            self.wanted = self.wanted.with(kind);
        }
    }
}

fn is_voice(operand: &IdedExpr, bound: &[&str]) -> bool {
    matches!(&operand.expr, Expr::Ident(name) if name.strip_prefix('.').unwrap_or(name) == "voice" && !bound.contains(&name.as_str()))
}
