//! Voice activity from the sound alone: Silero VAD (snakers4/silero-vad, v6).
//!
//! One model for the whole process: the state of each caller (1.3 kB) goes in and out with every window, so a thousand callers need
//! no more memory for weights than one. A window costs about a tenth of a millisecond, little enough to run where the caller's task runs.

use std::sync::{Mutex, PoisonError};

use audio::Probability;
use ort::session::Session;
use ort::value::TensorRef;

use crate::onnx::{failed, open};
use crate::{ModelError, Weights};

const NAME: &str = "silero-vad";
/// Samples of one window, 32 ms at 16 kHz.
pub const WINDOW: usize = 512;
/// Samples of the window before that the model sees again.
const CONTEXT: usize = 64;
/// Shape of the recurrent state: (2, batch, 128).
const STATE: usize = 2 * 128;
/// A window below this mean square (-66 dBFS) holds no voice that a recogniser could use: the model is not asked.
const SILENCE: f32 = 2.5e-7;

/// The model, shared by all callers.
pub struct VoiceDetector {
    session: Mutex<Session>,
}

/// What the model remembers of one caller.
#[derive(Clone, Debug)]
pub struct VoiceState {
    recurrent: [f32; STATE],
    context: [f32; CONTEXT],
}

impl Default for VoiceState {
    fn default() -> VoiceState {
        VoiceState { recurrent: [0.0; STATE], context: [0.0; CONTEXT] }
    }
}

impl VoiceDetector {
    /// Loads the model.
    pub fn load(weights: &Weights) -> Result<VoiceDetector, ModelError> {
        Ok(VoiceDetector { session: Mutex::new(open(weights, &weights.file("silero-vad", "silero_vad.onnx")?)?) })
    }

    /// How likely `window` holds speech: mono at 16 kHz, the windows of a caller in order.
    pub fn voice(&self, state: &mut VoiceState, window: &[f32; WINDOW]) -> Result<Probability, ModelError> {
        if window.iter().map(|s| s * s).sum::<f32>() < SILENCE * WINDOW as f32 {
            *state = VoiceState::default();
            return Ok(Probability::ZERO);
        }
        let mut input = [0.0; CONTEXT + WINDOW];
        input[..CONTEXT].copy_from_slice(&state.context);
        input[CONTEXT..].copy_from_slice(window);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run = || -> ort::Result<f32> {
            let outputs = session.run(ort::inputs![
                "input" => TensorRef::from_array_view(([1_usize, CONTEXT + WINDOW], &input[..]))?,
                "state" => TensorRef::from_array_view(([2_usize, 1, 128], &state.recurrent[..]))?,
                "sr" => TensorRef::from_array_view(([] as [usize; 0], &[16_000_i64][..]))?,
            ])?;
            state.recurrent.copy_from_slice(outputs["stateN"].try_extract_tensor::<f32>()?.1);
            Ok(outputs["output"].try_extract_tensor::<f32>()?.1[0])
        };
        let voice = run().map_err(|error| failed(NAME, error))?;
        state.context.copy_from_slice(&window[WINDOW - CONTEXT..]);
        Ok(Probability::new(voice))
    }
}
