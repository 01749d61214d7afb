//! ONNX Runtime: the one engine for every `.onnx` and `.ort` model.

#[cfg(feature = "moonshine")]
mod ort_format;

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
#[cfg(feature = "moonshine")]
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::{ErrorKind, ModelError, Weights};

/// ONNX Runtime keeps one environment a process, so the first library loaded stays.
static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();

fn environment(weights: &Weights) -> Result<&'static Environment, ModelError> {
    let library = weights.file("onnxruntime", "libonnxruntime.so")?;
    let made = ENVIRONMENT.get_or_init(|| {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        builder.with_name("timbre").build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|detail| failed("onnxruntime", detail))
}

/// Opens a model to run on one thread: more threads than free cores cost a multiple of the time they save.
pub(crate) fn open(weights: &Weights, model: &Path) -> Result<Session, ModelError> {
    let build = |environment| -> ort::Result<Session> { builder(environment)?.commit_from_file(model) };
    build(environment(weights)?).map_err(|error| failed(&model.display().to_string(), error))
}

/// Opens a model whose branch gives out other values that lie inside it: see [`ort_format::give_instead`].
#[cfg(feature = "moonshine")]
pub(crate) fn open_giving_instead(
    weights: &Weights,
    model: &Path,
    branch: &str,
    instead: &[(String, String)],
) -> Result<Session, ModelError> {
    let target = model.display().to_string();
    let mut bytes = std::fs::read(model).map_err(|error| ModelError::new(ErrorKind::Failed, &target, error.to_string()))?;
    let given = ort_format::give_instead(&mut bytes, branch, instead);
    given.ok_or_else(|| failed(&target, "its graph could not be read; fetch it anew with `timbre models pull`"))?;
    // It would warn of every answer that what comes has not the shape of what came by that name before.
    let build = |environment| -> ort::Result<Session> { builder(environment)?.with_log_level(LogLevel::Error)?.commit_from_memory(&bytes) };
    build(environment(weights)?).map_err(|error| failed(&target, error))
}

fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?)
}

/// Opens a model that also gives out the values named `more`, which lie inside its graph.
#[cfg(any(feature = "hibari", feature = "moonshine"))]
pub(crate) fn open_with_outputs(weights: &Weights, model: &Path, more: &[&str]) -> Result<Session, ModelError> {
    let target = model.display().to_string();
    let mut bytes = std::fs::read(model).map_err(|error| ModelError::new(ErrorKind::Failed, &target, error.to_string()))?;
    #[cfg(feature = "moonshine")]
    if ort_format::is_ort(&bytes) {
        let added = ort_format::add_outputs(&mut bytes, more);
        added.ok_or_else(|| failed(&target, "its graph could not be read; fetch it anew with `timbre models pull`"))?;
        let build = |environment| -> ort::Result<Session> { builder(environment)?.commit_from_memory(&bytes) };
        return build(environment(weights)?).map_err(|error| failed(&target, error));
    }
    for name in more {
        // A protocol buffer may go on with more of a message that was already there, and the two are merged: this is field 7 of the
        // model (its graph), with field 12 (an output), with field 1 (a name). See onnx.proto.
        bytes.extend(field(7, &field(12, &field(1, name.as_bytes()))));
    }
    let build = |environment| -> ort::Result<Session> { builder(environment)?.commit_from_memory(&bytes) };
    build(environment(weights)?).map_err(|error| failed(&target, error))
}

/// A field of a protocol buffer with a length; names are shorter than 100 bytes, so that it fits one byte.
#[cfg(any(feature = "hibari", feature = "moonshine"))]
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).expect("a name inside a graph is short");
    [&[number << 3 | 2, length], content].concat()
}

/// An engine's failure as ours.
pub(crate) fn failed(target: &str, error: impl std::fmt::Display) -> ModelError {
    ModelError::new(ErrorKind::Failed, target, format!("ONNX Runtime: {error}"))
}
