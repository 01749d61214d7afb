//! The inner loops for processors with AVX2, FMA and F16C (every x86 server since 2013). Each has a portable twin beside its caller; the
//! processor is asked at run time, so the program starts on any.
#![expect(unsafe_code, reason = "vector loads and stores take pointers; each comes from a slice whose length is checked")]

use std::arch::x86_64::*;

use half::f16;

use super::activations::Activations;
use super::matrix::{BLOCK, Bits, CHUNK, LANES, Matrix};

/// Vectors multiplied in one pass over a group of rows: as many sums as fit the registers.
const TILE: usize = 4;

/// Whether this processor has what the functions here need.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// [`Matrix::product`] of a four-bit matrix.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn product_four(matrix: &Matrix, group: usize, x: &Activations, out: &mut [f32]) {
    tiled(x.vectors, out, |vector, out| match out.len() / LANES {
        TILE => four::<TILE>(matrix, group, x, vector, out),
        _ => four::<1>(matrix, group, x, vector, out),
    });
}

/// [`Matrix::product`] of an eight-bit matrix.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn product_eight(matrix: &Matrix, group: usize, x: &Activations, out: &mut [f32]) {
    tiled(x.vectors, out, |vector, out| match out.len() / LANES {
        TILE => eight::<TILE>(matrix, group, x, vector, out),
        _ => eight::<1>(matrix, group, x, vector, out),
    });
}

/// Walks over the vectors by tiles, the rest one by one.
#[inline(always)]
fn tiled(vectors: usize, out: &mut [f32], mut each: impl FnMut(usize, &mut [f32])) {
    let whole = vectors / TILE * TILE;
    for (tile, out) in out[..whole * LANES].chunks_exact_mut(TILE * LANES).enumerate() {
        each(tile * TILE, out);
    }
    for (rest, out) in out[whole * LANES..].chunks_exact_mut(LANES).enumerate() {
        each(whole + rest, out);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn four<const N: usize>(matrix: &Matrix, group: usize, x: &Activations, vector: usize, out: &mut [f32]) {
    let blocks = matrix.columns / BLOCK;
    let bytes = Bits::Four.block_bytes();
    let values = &matrix.values[group * blocks * bytes..][..blocks * bytes];
    let scales = &matrix.scales[group * blocks * LANES..][..blocks * LANES];
    let minimums = &matrix.minimums[group * blocks * LANES..][..blocks * LANES];
    let steps = &x.steps[vector * x.columns..][..N * x.columns];
    let x_scales = &x.scales[vector * blocks..][..N * blocks];
    let x_totals = &x.totals[vector * blocks..][..N * blocks];
    let out = &mut out[..N * LANES];
    let mask = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    let mut offsets = [_mm256_setzero_ps(); N];
    for block in 0..blocks {
        // SAFETY: the slices above hold `blocks` blocks and, of x, N vectors of them.
        unsafe {
            let chunk = values.as_ptr().add(block * bytes).cast::<__m256i>();
            let mut low = [_mm256_setzero_si256(); 4];
            let mut high = [_mm256_setzero_si256(); 4];
            for quad in 0..4 {
                let pairs = _mm256_loadu_si256(chunk.add(quad));
                low[quad] = _mm256_and_si256(pairs, mask);
                high[quad] = _mm256_and_si256(_mm256_srli_epi16::<4>(pairs), mask);
            }
            let scale = halves(scales.as_ptr().add(block * LANES));
            let minimum = halves(minimums.as_ptr().add(block * LANES));
            for n in 0..N {
                let x = steps.as_ptr().add(n * matrix.columns + block * BLOCK).cast::<i32>();
                // Eight products of at most 2 * 15 * 127 fit 16 bits.
                let mut dot = _mm256_maddubs_epi16(low[0], _mm256_set1_epi32(x.read_unaligned()));
                dot = _mm256_add_epi16(dot, _mm256_maddubs_epi16(high[0], _mm256_set1_epi32(x.add(4).read_unaligned())));
                for quad in 1..4 {
                    dot = _mm256_add_epi16(dot, _mm256_maddubs_epi16(low[quad], _mm256_set1_epi32(x.add(quad).read_unaligned())));
                    dot = _mm256_add_epi16(dot, _mm256_maddubs_epi16(high[quad], _mm256_set1_epi32(x.add(quad + 4).read_unaligned())));
                }
                let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(dot, ones));
                let at = n * blocks + block;
                let both = _mm256_mul_ps(scale, _mm256_set1_ps(*x_scales.get_unchecked(at)));
                sums[n] = _mm256_fmadd_ps(dot, both, sums[n]);
                offsets[n] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(*x_totals.get_unchecked(at)), offsets[n]);
            }
        }
    }
    for (n, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: `out` is eight floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(sums[n], offsets[n])) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn eight<const N: usize>(matrix: &Matrix, group: usize, x: &Activations, vector: usize, out: &mut [f32]) {
    let blocks = matrix.columns / BLOCK;
    let bytes = Bits::Eight.block_bytes();
    let values = &matrix.values[group * blocks * bytes..][..blocks * bytes];
    let scales = &matrix.scales[group * blocks * LANES..][..blocks * LANES];
    let steps = &x.steps[vector * x.columns..][..N * x.columns];
    let x_scales = &x.scales[vector * blocks..][..N * blocks];
    let out = &mut out[..N * LANES];
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    for block in 0..blocks {
        // SAFETY: the slices above hold `blocks` blocks and, of x, N vectors of them.
        unsafe {
            let chunk = values.as_ptr().add(block * bytes).cast::<__m256i>();
            let mut dots = [_mm256_setzero_si256(); N];
            for quad in 0..BLOCK * LANES / CHUNK {
                let weights = _mm256_loadu_si256(chunk.add(quad));
                // The instruction multiplies unsigned with signed, so the weight's sign moves to the other factor.
                let sizes = _mm256_abs_epi8(weights);
                for (n, dot) in dots.iter_mut().enumerate() {
                    let x = steps.as_ptr().add(n * matrix.columns + block * BLOCK).cast::<i32>();
                    let signed = _mm256_sign_epi8(_mm256_set1_epi32(x.add(quad).read_unaligned()), weights);
                    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, signed), ones));
                }
            }
            let scale = halves(scales.as_ptr().add(block * LANES));
            for n in 0..N {
                let both = _mm256_mul_ps(scale, _mm256_set1_ps(*x_scales.get_unchecked(n * blocks + block)));
                sums[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[n]), both, sums[n]);
            }
        }
    }
    for (n, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: `out` is eight floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sums[n]) };
    }
}

/// [`Activations::set`]: `round`s half to even, as the portable twin does.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(x: &[f32], to: &mut Activations) {
    let sign = _mm256_set1_ps(-0.0);
    let blocks = x.chunks_exact(BLOCK).zip(to.steps.chunks_exact_mut(BLOCK));
    for ((x, steps), (scale, total)) in blocks.zip(to.scales.iter_mut().zip(&mut to.totals)) {
        // SAFETY: `x` is 32 floats and `steps` 32 bytes.
        unsafe {
            let mut v = [_mm256_setzero_ps(); 4];
            let mut largest = _mm256_setzero_ps();
            for (part, v) in v.iter_mut().enumerate() {
                *v = _mm256_loadu_ps(x.as_ptr().add(part * LANES));
                largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, *v));
            }
            let largest = max_lane(largest);
            let inverse = _mm256_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let mut q = [_mm256_setzero_si256(); 4];
            let mut sum = _mm256_setzero_si256();
            for (q, v) in q.iter_mut().zip(v) {
                *q = _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse));
                sum = _mm256_add_epi32(sum, *q);
            }
            // Packing works within each half of a register; the permutation puts the four-byte runs in order again.
            let packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
            let ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_storeu_si256(steps.as_mut_ptr().cast(), ordered);
            *scale = largest / 127.0;
            *total = *scale * sum_lanes(_mm256_cvtepi32_ps(sum));
        }
    }
}

/// Product of a vector with one of half precision.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn dot(x: &[f32], y: &[f16]) -> f32 {
    let mut sum = _mm256_setzero_ps();
    let whole = x.len().min(y.len()) / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        // SAFETY: `at + LANES` is within both.
        unsafe { sum = _mm256_fmadd_ps(_mm256_loadu_ps(x.as_ptr().add(at)), halves(y.as_ptr().add(at)), sum) };
    }
    let rest: f32 = x[whole..].iter().zip(&y[whole..]).map(|(x, y)| x * y.to_f32()).sum();
    sum_lanes(sum) + rest
}

/// Adds `factor * x` to `sum`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn add_scaled(sum: &mut [f32], factor: f32, x: &[f16]) {
    let whole = x.len().min(sum.len()) / LANES * LANES;
    let wide = _mm256_set1_ps(factor);
    for at in (0..whole).step_by(LANES) {
        // SAFETY: `at + LANES` is within both.
        unsafe {
            let to = sum.as_mut_ptr().add(at);
            _mm256_storeu_ps(to, _mm256_fmadd_ps(wide, halves(x.as_ptr().add(at)), _mm256_loadu_ps(to)));
        }
    }
    for (sum, x) in sum[whole..].iter_mut().zip(&x[whole..]) {
        *sum += factor * x.to_f32();
    }
}

/// Eight halves as floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn halves(from: *const f16) -> __m256 {
    // SAFETY: the caller's pointer has eight halves behind it.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum_lanes(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn max_lane(v: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
