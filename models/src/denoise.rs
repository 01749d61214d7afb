//! Noise suppression: GTCRN (Rong et al. 2024, ICASSP), 48 thousand weights, one 16 ms hop at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::value::TensorRef;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::onnx::{failed, open};
use crate::{ModelError, Weights};

const NAME: &str = "gtcrn";
/// Short-time spectrum: window and hop at 16 kHz, square-root Hann on both sides.
const FFT: usize = 512;
const HOP: usize = 256;
const BINS: usize = FFT / 2 + 1;
/// Lengths of the recurrent states: (2,1,16,16,33), (2,3,1,1,16), (2,1,33,16).
const CONVOLUTION: usize = 2 * 16 * 16 * 33;
const ATTENTION: usize = 2 * 3 * 16;
const INTER: usize = 2 * 33 * 16;

/// The model, shared by all callers.
pub struct Denoiser {
    session: Mutex<Session>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
}

/// What the model remembers of one caller, and sound on its way through. The output lags by [`Denoising::DELAY`] samples.
pub struct Denoising {
    convolution: Vec<f32>,
    attention: Vec<f32>,
    inter: Vec<f32>,
    /// Sound not yet analysed, after one hop that was.
    pending: VecDeque<f32>,
    overlap: Vec<f32>,
}

impl Denoising {
    /// Samples of delay: one window less a hop.
    pub const DELAY: usize = FFT - HOP;
}

impl Default for Denoising {
    fn default() -> Denoising {
        Denoising {
            convolution: vec![0.0; CONVOLUTION],
            attention: vec![0.0; ATTENTION],
            inter: vec![0.0; INTER],
            pending: VecDeque::from(vec![0.0; HOP]),
            overlap: vec![0.0; HOP],
        }
    }
}

impl Denoiser {
    /// Loads the model.
    pub fn load(weights: &Weights) -> Result<Denoiser, ModelError> {
        let session = open(weights, &weights.file("gtcrn", "gtcrn_simple.onnx")?)?;
        let mut planner = RealFftPlanner::new();
        let window = (0..FFT).map(|n| (0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / FFT as f32).cos()).sqrt()).collect();
        Ok(Denoiser {
            session: Mutex::new(session),
            forward: planner.plan_fft_forward(FFT),
            inverse: planner.plan_fft_inverse(FFT),
            window,
        })
    }

    /// Takes any amount of 16 kHz sound and adds what is ready of it, cleaned, to `out`.
    pub fn clean(&self, state: &mut Denoising, pcm: &[f32], out: &mut Vec<f32>) -> Result<(), ModelError> {
        state.pending.extend(pcm);
        while state.pending.len() >= FFT {
            self.hop(state, out).map_err(|error| failed(NAME, error))?;
        }
        Ok(())
    }

    fn hop(&self, state: &mut Denoising, out: &mut Vec<f32>) -> ort::Result<()> {
        let fits = "the buffers have the lengths that the plan asks for";
        let mut frame: Vec<f32> = state.pending.iter().zip(&self.window).map(|(s, w)| s * w).collect();
        state.pending.drain(..HOP);
        let mut spectrum = vec![Complex::default(); BINS];
        self.forward.process(&mut frame, &mut spectrum).expect(fits);
        let mix: Vec<f32> = spectrum.iter().flat_map(|bin| [bin.re, bin.im]).collect();
        {
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let outputs = session.run(ort::inputs![
                "mix" => TensorRef::from_array_view(([1, BINS, 1, 2], &mix[..]))?,
                "conv_cache" => TensorRef::from_array_view(([2_usize, 1, 16, 16, 33], &state.convolution[..]))?,
                "tra_cache" => TensorRef::from_array_view(([2_usize, 3, 1, 1, 16], &state.attention[..]))?,
                "inter_cache" => TensorRef::from_array_view(([2_usize, 1, 33, 16], &state.inter[..]))?,
            ])?;
            let enhanced = outputs["enh"].try_extract_tensor::<f32>()?.1;
            for (bin, pair) in spectrum.iter_mut().zip(enhanced.chunks_exact(2)) {
                *bin = Complex::new(pair[0], pair[1]);
            }
            state.convolution.copy_from_slice(outputs["conv_cache_out"].try_extract_tensor::<f32>()?.1);
            state.attention.copy_from_slice(outputs["tra_cache_out"].try_extract_tensor::<f32>()?.1);
            state.inter.copy_from_slice(outputs["inter_cache_out"].try_extract_tensor::<f32>()?.1);
        }
        // The transform back to real sound takes real numbers at both ends of the spectrum.
        spectrum[0].im = 0.0;
        spectrum[BINS - 1].im = 0.0;
        self.inverse.process(&mut spectrum, &mut frame).expect(fits);
        for (sample, window) in frame.iter_mut().zip(&self.window) {
            *sample *= window / FFT as f32;
        }
        out.extend(state.overlap.iter().zip(&frame).map(|(before, now)| before + now));
        state.overlap.copy_from_slice(&frame[HOP..]);
        Ok(())
    }
}
