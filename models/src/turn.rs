//! End of turn from the sound of a pause's last seconds: Smart Turn v3.2 (pipecat-ai/smart-turn), a Whisper-tiny encoder with a head.
//!
//! Silence and synthetic speech mislead it, so it is asked only in a pause after speech.

use audio::{Probability, Rate};
use futures::future::BoxFuture;
use ort::session::Session;
use ort::value::TensorRef;

use crate::mel::{HOP, LogMel, MELS};
use crate::onnx::{failed, open};
use crate::{ModelError, TurnDetector, Weights, Workers};

const NAME: &str = "smart-turn";
/// Samples it listens to: the last eight seconds at 16 kHz.
pub const WINDOW: usize = 8 * Rate::MODEL.hz() as usize;
const FRAMES: usize = WINDOW / HOP;

/// The model on its own thread.
pub struct SmartTurn {
    workers: Workers<Engine>,
}

struct Engine {
    session: Session,
    mel: LogMel,
}

impl SmartTurn {
    /// Loads the model once for each of `threads`.
    pub fn load(weights: &Weights, threads: usize) -> Result<SmartTurn, ModelError> {
        let path = weights.file("smart-turn", "smart-turn-v3.2-cpu.onnx")?;
        let engine = || Ok(Engine { session: open(weights, &path)?, mel: LogMel::new() });
        let engines = (0..threads).map(|_| engine()).collect::<Result<Vec<_>, ModelError>>()?;
        // A question waits for at most a second of others; later the answer is of no use.
        Ok(SmartTurn { workers: Workers::start(NAME, engines, 32) })
    }
}

impl TurnDetector for SmartTurn {
    fn end_of_turn(&self, pcm: Vec<f32>) -> BoxFuture<'static, Result<Probability, ModelError>> {
        let workers = self.workers.clone();
        Box::pin(async move {
            let ask = move |engine: &mut Engine, _: &crate::Waited| {
                let features = features(&engine.mel, &pcm);
                let mut run = || -> ort::Result<f32> {
                    let input = TensorRef::from_array_view(([1, MELS, FRAMES], &features[..]))?;
                    let outputs = engine.session.run(ort::inputs!["input_features" => input])?;
                    Ok(outputs["logits"].try_extract_tensor::<f32>()?.1[0])
                };
                // The graph ends in a sigmoid, whatever its output is called.
                run().map(Probability::new).map_err(|error| failed(NAME, error))
            };
            workers.run(ask).await
        })
    }
}

/// What the model reads of the last [`WINDOW`] samples: (80, 800) features, band by band; shorter sound is preceded by silence.
fn features(mel: &LogMel, pcm: &[f32]) -> Vec<f32> {
    let mut window = vec![0.0; WINDOW];
    let taken = pcm.len().min(WINDOW);
    window[WINDOW - taken..].copy_from_slice(&pcm[pcm.len() - taken..]);
    let mean = window.iter().sum::<f32>() / WINDOW as f32;
    let variance = window.iter().map(|s| (s - mean) * (s - mean)).sum::<f32>() / WINDOW as f32;
    let scale = 1.0 / (variance + 1e-7).sqrt();
    window.iter_mut().for_each(|s| *s = (*s - mean) * scale);
    mel.compute(&window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sound_comes_after_silence() {
        let tone: Vec<f32> = (0..16_000).map(|n| (std::f32::consts::TAU * 1_000.0 * n as f32 / 16_000.0).sin()).collect();
        let features = features(&LogMel::new(), &tone);
        assert_eq!(features.len(), MELS * FRAMES);
        let band = 26;
        assert!(features[band * FRAMES + FRAMES - 20] > features[band * FRAMES + 100] + 1.0);
    }
}
