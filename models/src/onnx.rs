//! ONNX Runtime: the one engine for every `.onnx` and `.ort` model.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

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
    let environment = environment(weights)?;
    let build = || -> ort::Result<Session> {
        Ok(Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .commit_from_file(model)?)
    };
    build().map_err(|error| failed(&model.display().to_string(), error))
}

/// An engine's failure as ours.
pub(crate) fn failed(target: &str, error: impl std::fmt::Display) -> ModelError {
    ModelError::new(ErrorKind::Failed, target, format!("ONNX Runtime: {error}"))
}
