//! A compiled condition.
//!
//! Compiling bounds what evaluation can cost, so that no clock has to stop it: the length of the source, the depth of its nodes, loops
//! (one, not nested), patterns (written out, so that no request brings its own), and a budget of operations, in which what a loop repeats
//! counts as often as a request can make it repeat. A rule that reads a missing name or fails is no match, and is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, ExecutionError, Program, Value};
use models::SignalSet;

use crate::facts::{self, View};
use crate::typing;

/// Longest source, bytes.
const LONGEST_SOURCE: usize = 4_096;
/// Most operations of one evaluation. What stands in a loop counts [`facts::MOST_VALUES`] times, because a request can bring a list of
/// that length. An operation takes about 0.04 µs (measured 2026-11 with `examples/rule_cost`): the dearest rules end within a millisecond,
/// those that search long texts again and again within some 20.
const MOST_OPERATIONS: usize = 16_384;
/// Most nodes of the expression.
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

    /// A scope for one evaluation.
    fn scope<'v>(&'v self) -> Context<'v, 'v> {
        self.0.new_inner_scope()
    }
}

/// A condition, compiled.
pub(crate) struct Rule {
    source: String,
    program: Program,
    wanted: SignalSet,
    targets: Vec<String>,
    matched: AtomicU64,
    missed: AtomicU64,
    failed: AtomicU64,
}

/// What a rule says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Held,
    /// It does not hold.
    Not,
    /// It reads a name that the request does not have: no match.
    Missing {
        /// Which.
        name: String,
    },
    /// It could not be evaluated (wrong types, a division by zero, no boolean): no match either.
    Failed {
        /// Why.
        detail: String,
    },
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
        let mut survey = Survey { library, nodes: 0, operations: 0, bound: Vec::new(), wanted: SignalSet::NONE, targets: Vec::new() };
        survey.visit(program.expression(), 0, 0)?;
        let Survey { wanted, targets, .. } = survey;
        typing::check(program.expression()).map_err(|detail| format!("in the condition {source:?}: {detail}"))?;
        Ok(Rule {
            source: source.to_owned(),
            program,
            wanted,
            targets,
            matched: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Whether it holds; counted.
    pub(crate) fn holds(&self, library: &Library, view: &View<'_>) -> bool {
        let result = self.execute(library, view);
        let counter = match &result {
            Ok(Value::Bool(true)) => &self.matched,
            Ok(Value::Bool(false)) | Err(ExecutionError::UndeclaredReference(_) | ExecutionError::NoSuchKey(_)) => &self.missed,
            Ok(_) | Err(_) => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
        matches!(result, Ok(Value::Bool(true)))
    }

    /// What it says, in full; not counted.
    pub(crate) fn verdict(&self, library: &Library, view: &View<'_>) -> Verdict {
        match self.execute(library, view) {
            Ok(Value::Bool(true)) => Verdict::Held,
            Ok(Value::Bool(false)) => Verdict::Not,
            Err(ExecutionError::UndeclaredReference(name) | ExecutionError::NoSuchKey(name)) => Verdict::Missing { name: name.to_string() },
            Ok(other) => Verdict::Failed { detail: format!("it is {:?}, not true or false", other.type_of()) },
            Err(error) => Verdict::Failed { detail: error.to_string() },
        }
    }

    fn execute(&self, library: &Library, view: &View<'_>) -> Result<Value, ExecutionError> {
        let mut context: Context<'_, '_> = library.scope();
        context.set_variable_resolver(view);
        self.program.execute(&context)
    }

    /// As it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The targets whose facts it reads.
    pub(crate) fn targets(&self) -> &[String] {
        &self.targets
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
    operations: usize,
    bound: Vec<&'a str>,
    wanted: SignalSet,
    targets: Vec<String>,
}

impl<'a> Survey<'a> {
    fn visit(&mut self, node: &'a IdedExpr, depth: usize, loops: usize) -> Result<(), String> {
        self.nodes += 1;
        let repeats = if loops > 0 { facts::MOST_VALUES } else { 1 };
        self.operations += repeats;
        if self.nodes > MOST_NODES || self.operations > MOST_OPERATIONS || depth > DEEPEST {
            return Err(format!(
                "the condition is too large: at most {MOST_NODES} operations ({} within a loop), nested at most {DEEPEST} deep, are allowed; \
                 split it into two routes",
                MOST_OPERATIONS / facts::MOST_VALUES
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
                self.operations += dearness(&call.func_name) * repeats;
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
                if let ("_[_]", [operand, index]) = (call.func_name.as_str(), call.args.as_slice())
                    && matches!(&operand.expr, Expr::Ident(name) if name == "targets" && !self.bound.contains(&"targets"))
                    && let Expr::Literal(LiteralValue::String(id)) = &index.expr
                    && !self.targets.iter().any(|known| known == id.inner())
                {
                    self.targets.push(id.inner().to_owned());
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

/// What a function costs besides one operation, in operations: a pattern is compiled each time, and texts can be long.
fn dearness(function: &str) -> usize {
    match function {
        "matches" => 24,
        "contains" => 8,
        "_+_" => 4,
        _ => 0,
    }
}

fn is_voice(operand: &IdedExpr, bound: &[&str]) -> bool {
    matches!(&operand.expr, Expr::Ident(name) if name.strip_prefix('.').unwrap_or(name) == "voice" && !bound.contains(&name.as_str()))
}
