//! G.711: eight bits a sample at 8 kHz, companded by one of two laws (ITU-T G.711, 11/1988). The telephone's codec, and `audio/pcmu` and
//! `audio/pcma` of realtime interfaces (RFC 3551 section 4.5.14).

use super::pcm;

/// Which companding law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// Mu-law (PCMU): North America, Japan. ITU-T G.711 table 2.
    Mu,
    /// A-law (PCMA): everywhere else. ITU-T G.711 table 1.
    A,
}

// Decision and output values in the recommendation are of 14 bits (mu) and 13 bits (A); here all are scaled to 16 bits.
const MU_BIAS: i32 = 33 << 2;
const MU_CLIP: i32 = 32_767 - MU_BIAS;
const A_TOGGLE: u8 = 0x55;

const fn expand_mu(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let step = (bits & 0x0f) as i32;
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    if bits & 0x80 == 0 { magnitude as i16 } else { -magnitude as i16 }
}

const fn expand_a(code: u8) -> i16 {
    let bits = code ^ A_TOGGLE;
    let segment = (bits >> 4) & 7;
    let step = (bits & 0x0f) as i32;
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    if bits & 0x80 == 0 { -magnitude as i16 } else { magnitude as i16 }
}

const fn table(law: Law) -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let word = match law {
            Law::Mu => expand_mu(code as u8),
            Law::A => expand_a(code as u8),
        };
        table[code] = word as f32 / 32_768.0;
        code += 1;
    }
    table
}

static MU: [f32; 256] = table(Law::Mu);
static A: [f32; 256] = table(Law::A);

fn compress_mu(word: i16) -> u8 {
    let sign = if word < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(word).abs().min(MU_CLIP) + MU_BIAS;
    // The bias puts the highest bit at 7 or above; it names the segment.
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

fn compress_a(word: i16) -> u8 {
    let (sign, magnitude) = if word < 0 { (0, i32::from(!word)) } else { (0x80, i32::from(word)) };
    let bits = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = magnitude.ilog2() - 7;
        (segment as i32) << 4 | (magnitude >> (segment + 3)) & 0x0f
    };
    (sign | bits as u8) ^ A_TOGGLE
}

/// Appends the samples of `codes` to `pcm`.
pub fn decode(law: Law, codes: &[u8], pcm: &mut Vec<f32>) {
    let table = match law {
        Law::Mu => &MU,
        Law::A => &A,
    };
    pcm.extend(codes.iter().map(|&code| table[usize::from(code)]));
}

/// Appends one code for each sample of `pcm` to `codes`.
pub fn encode(law: Law, pcm: &[f32], codes: &mut Vec<u8>) {
    match law {
        Law::Mu => codes.extend(pcm.iter().map(|&sample| compress_mu(pcm::word(sample)))),
        Law::A => codes.extend(pcm.iter().map(|&sample| compress_a(pcm::word(sample)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From tables 1 and 2 of the recommendation: the ends and the zeros, scaled to 16 bits.
    #[test]
    fn the_codes_of_the_recommendation() {
        for (law, code, word) in [
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0xfe, 8),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0x2a, -32_256),
        ] {
            let (mut pcm, mut codes) = (Vec::new(), Vec::new());
            decode(law, &[code], &mut pcm);
            assert_eq!(pcm::word(pcm[0]), word, "{law:?} {code:#x}");
            encode(law, &pcm, &mut codes);
            assert_eq!(codes, [code], "{law:?} {word}");
        }
    }

    #[test]
    fn every_code_comes_back() {
        for law in [Law::Mu, Law::A] {
            let all: Vec<u8> = (0..=255).collect();
            let (mut pcm, mut again) = (Vec::new(), Vec::new());
            decode(law, &all, &mut pcm);
            encode(law, &pcm, &mut again);
            // Mu-law has two zeros; the negative one comes back as the positive one.
            let expected: Vec<u8> = all.iter().map(|&code| if law == Law::Mu && code == 0x7f { 0xff } else { code }).collect();
            assert_eq!(again, expected, "{law:?}");
        }
    }

    proptest! {
        #[test]
        fn a_sample_moves_by_less_than_its_step(word in any::<i16>()) {
            for law in [Law::Mu, Law::A] {
                let (mut codes, mut pcm) = (Vec::new(), Vec::new());
                encode(law, &[pcm::sample(word)], &mut codes);
                decode(law, &codes, &mut pcm);
                let off = (i32::from(pcm::word(pcm[0])) - i32::from(word)).abs();
                // Steps are a sixteenth of a segment, and 16 at least (A-law); the top of mu-law is clipped.
                prop_assert!(off <= (i32::from(word).abs() / 16).max(16), "{law:?} {word} off by {off}");
            }
        }
    }
}
