//! Weight matrices in 4 or 8 bits, laid out for the product with a vector.
//!
//! Eight rows lie interleaved: one 256-bit register then holds four columns of eight rows, a sum stays in its row's lane to the end, and
//! nothing is ever added across lanes. Every GGUF type is turned into one of the two layouts while loading, so two kernels serve them all;
//! of the file's own types, Q4_0, Q4_1, Q4_K and Q8_0 keep their values exactly (Q4_K up to the rounding of its scales to f16).

use half::f16;

use super::activations::Activations;
#[cfg(target_arch = "x86_64")]
use super::avx2;

/// Columns that share a scale, as in every GGUF type of the `_0` and `_1` families.
pub(super) const BLOCK: usize = 32;
/// Rows that lie interleaved: the 32-bit lanes of one 256-bit register.
pub(super) const LANES: usize = 8;
/// Columns of one row that lie together: the bytes of one lane.
const QUAD: usize = 4;
/// Bytes of one register: `LANES` rows of `QUAD` columns.
pub(super) const CHUNK: usize = LANES * QUAD;

/// How many bits a weight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// `w = scale * q + minimum`, q in 0..=15; the chunk of quad k holds quad k + 4 in its high nibbles.
    Four,
    /// `w = scale * q`, q in -128..=127.
    Eight,
}

impl Bits {
    /// Bytes of one block of `LANES` rows.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Bits::Four => LANES * BLOCK / 2,
            Bits::Eight => LANES * BLOCK,
        }
    }
}

/// One block of one row: `w[i] = scale * q[i] + minimum`.
pub(super) struct Block {
    /// Weight of one step of `q`.
    pub(super) scale: f16,
    /// Weight where `q` is 0; nought in an eight-bit matrix.
    pub(super) minimum: f16,
    /// The steps: 0..=15 of a four-bit matrix, else any.
    pub(super) steps: [i8; BLOCK],
}

impl Block {
    /// Rounds 32 weights to eight bits, as Q8_0 does.
    pub(super) fn eight(weights: &[f32]) -> Block {
        let largest = weights.iter().fold(0_f32, |largest, w| largest.max(w.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut steps = [0; BLOCK];
        for (step, w) in steps.iter_mut().zip(weights) {
            *step = (w * inverse).round() as i8;
        }
        Block { scale: f16::from_f32(scale), minimum: f16::ZERO, steps }
    }
}

/// A matrix (rows, columns) of quantised weights.
pub(super) struct Matrix {
    /// Rows, the length of a product.
    pub(super) rows: usize,
    /// Columns, the length of what it is multiplied with; a multiple of [`BLOCK`].
    pub(super) columns: usize,
    /// Layout of `values`.
    pub(super) bits: Bits,
    /// (rows / 8, columns / 32, block bytes).
    pub(super) values: Vec<u8>,
    /// (rows / 8, columns / 32, 8 rows).
    pub(super) scales: Vec<f16>,
    /// As `scales`; empty in an eight-bit matrix.
    pub(super) minimums: Vec<f16>,
}

impl Matrix {
    /// A matrix of zeros to put blocks into. Rows that fill the last group up stay zero.
    pub(super) fn zeros(rows: usize, columns: usize, bits: Bits) -> Matrix {
        let blocks = rows.div_ceil(LANES) * (columns / BLOCK);
        let minimums = match bits {
            Bits::Four => vec![f16::ZERO; blocks * LANES],
            Bits::Eight => Vec::new(),
        };
        Matrix { rows, columns, bits, values: vec![0; blocks * bits.block_bytes()], scales: vec![f16::ZERO; blocks * LANES], minimums }
    }

    /// Groups of [`LANES`] rows.
    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Writes one block of one row.
    pub(super) fn put(&mut self, row: usize, block: usize, content: &Block) {
        let at = row / LANES * (self.columns / BLOCK) + block;
        let lane = row % LANES;
        self.scales[at * LANES + lane] = content.scale;
        let bytes = self.bits.block_bytes();
        let values = &mut self.values[at * bytes..][..bytes];
        match self.bits {
            Bits::Four => {
                self.minimums[at * LANES + lane] = content.minimum;
                for column in 0..BLOCK / 2 {
                    let low = content.steps[column] as u8 & 15;
                    let high = content.steps[column + BLOCK / 2] as u8 & 15;
                    values[place(lane, column)] = low | (high << 4);
                }
            }
            Bits::Eight => {
                for (column, step) in content.steps.iter().enumerate() {
                    values[place(lane, column)] = *step as u8;
                }
            }
        }
    }

    /// One row as floats.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let lane = row % LANES;
        let bytes = self.bits.block_bytes();
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let at = row / LANES * (self.columns / BLOCK) + block;
            let scale = self.scales[at * LANES + lane].to_f32();
            let values = &self.values[at * bytes..][..bytes];
            match self.bits {
                Bits::Four => {
                    let minimum = self.minimums[at * LANES + lane].to_f32();
                    for column in 0..BLOCK / 2 {
                        let pair = values[place(lane, column)];
                        out[column] = scale * f32::from(pair & 15) + minimum;
                        out[column + BLOCK / 2] = scale * f32::from(pair >> 4) + minimum;
                    }
                }
                Bits::Eight => {
                    for (column, out) in out.iter_mut().enumerate() {
                        *out = scale * f32::from(values[place(lane, column)] as i8);
                    }
                }
            }
        }
    }

    /// The products of one group of rows with every vector of `x`; `out` is (vectors, 8 rows).
    pub(super) fn product(&self, group: usize, x: &Activations, out: &mut [f32]) {
        assert!(x.columns == self.columns && group < self.groups() && out.len() == x.vectors * LANES, "shapes of a product agree");
        #[cfg(target_arch = "x86_64")]
        if avx2::available() {
            #[expect(unsafe_code, reason = "the processor was just asked whether it has these instructions")]
            unsafe {
                return match self.bits {
                    Bits::Four => avx2::product_four(self, group, x, out),
                    Bits::Eight => avx2::product_eight(self, group, x, out),
                };
            }
        }
        self.product_portable(group, x, out);
    }

    /// [`Matrix::product`] for any processor.
    pub(super) fn product_portable(&self, group: usize, x: &Activations, out: &mut [f32]) {
        let blocks = self.columns / BLOCK;
        let bytes = self.bits.block_bytes();
        for (vector, out) in out.chunks_exact_mut(LANES).enumerate() {
            let mut sums = [0_f32; LANES];
            for block in 0..blocks {
                let at = group * blocks + block;
                let values = &self.values[at * bytes..][..bytes];
                let steps = &x.steps[vector * x.columns + block * BLOCK..][..BLOCK];
                let scale = x.scales[vector * blocks + block];
                let total = x.totals[vector * blocks + block];
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let mut dot = 0_i32;
                    match self.bits {
                        Bits::Four => {
                            for column in 0..BLOCK / 2 {
                                let pair = values[place(lane, column)];
                                dot += i32::from(pair & 15) * i32::from(steps[column]);
                                dot += i32::from(pair >> 4) * i32::from(steps[column + BLOCK / 2]);
                            }
                            *sum += self.minimums[at * LANES + lane].to_f32() * total;
                        }
                        Bits::Eight => {
                            for (column, step) in steps.iter().enumerate() {
                                dot += i32::from(values[place(lane, column)] as i8) * i32::from(*step);
                            }
                        }
                    }
                    *sum += dot as f32 * (self.scales[at * LANES + lane].to_f32() * scale);
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}

/// Where in its block a column of a row lies.
fn place(lane: usize, column: usize) -> usize {
    column / QUAD * CHUNK + lane * QUAD + column % QUAD
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in -1..1, the same each time (Numerical Recipes' linear congruences).
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// A matrix of any blocks that its layout can hold, the extremes among them.
    fn matrix(rows: usize, columns: usize, bits: Bits) -> Matrix {
        let mut matrix = Matrix::zeros(rows, columns, bits);
        let numbers = numbers(rows * columns);
        for (at, numbers) in numbers.chunks_exact(BLOCK).enumerate() {
            let steps = std::array::from_fn(|i| match (bits, at % 5) {
                (Bits::Four, 0) => 15,
                (Bits::Four, _) => (numbers[i] * 7.5 + 7.5) as i8,
                (Bits::Eight, 0) => -128,
                (Bits::Eight, _) => (numbers[i] * 127.0) as i8,
            });
            let minimum = if bits == Bits::Four { f16::from_f32(numbers[1]) } else { f16::ZERO };
            matrix.put(at / (columns / BLOCK), at % (columns / BLOCK), &Block { scale: f16::from_f32(numbers[0]), minimum, steps });
        }
        matrix
    }

    #[test]
    fn the_fast_product_is_the_portable_one_and_both_are_the_dequantised_one() {
        for (rows, columns, vectors, bits) in
            [(8, 32, 1, Bits::Four), (20, 96, 9, Bits::Four), (8, 32, 1, Bits::Eight), (13, 160, 6, Bits::Eight), (64, 576, 4, Bits::Four)]
        {
            let matrix = matrix(rows, columns, bits);
            let x = numbers(vectors * columns);
            let mut activations = Activations::default();
            activations.set(&x, columns);
            for group in 0..matrix.groups() {
                let mut fast = vec![0.0; vectors * LANES];
                let mut portable = fast.clone();
                matrix.product(group, &activations, &mut fast);
                matrix.product_portable(group, &activations, &mut portable);
                for (at, (fast, portable)) in fast.iter().zip(&portable).enumerate() {
                    let (vector, row) = (at / LANES, group * LANES + at % LANES);
                    let mut weights = vec![0.0; columns];
                    let rounded = &activations.steps[vector * columns..][..columns];
                    let scales = &activations.scales[vector * columns / BLOCK..];
                    if row < rows {
                        matrix.row(row, &mut weights);
                    }
                    let terms = weights.iter().zip(rounded).enumerate();
                    let terms: Vec<f32> = terms.map(|(i, (w, step))| w * f32::from(*step) * scales[i / BLOCK]).collect();
                    let exact: f32 = terms.iter().sum();
                    // Only the order of additions differs.
                    let tolerance = 1e-5 * terms.iter().map(|term| term.abs()).sum::<f32>().max(1.0);
                    assert!((fast - exact).abs() < tolerance, "{bits:?} {rows}x{columns} at {at}: {fast} not {exact}");
                    assert!((portable - exact).abs() < tolerance, "{bits:?} {rows}x{columns} at {at}: {portable} not {exact}");
                }
            }
        }
    }
}
