//! Linear PCM, 16 bits, little-endian, one channel: `audio/pcm` of realtime interfaces, `L16` with its bytes swapped.

/// One sample of 16 bits as a number in [-1, 1).
pub fn sample(word: i16) -> f32 {
    f32::from(word) / 32_768.0
}

/// The nearest 16-bit sample; what lies outside [-1, 1) is clipped, NaN is silence.
pub fn word(sample: f32) -> i16 {
    // A float-to-int `as` saturates and takes NaN to zero.
    (sample * 32_768.0).round() as i16
}

/// Appends the bytes of `pcm` to `bytes`.
pub fn encode(pcm: &[f32], bytes: &mut Vec<u8>) {
    bytes.reserve(pcm.len() * 2);
    for &value in pcm {
        bytes.extend_from_slice(&word(value).to_le_bytes());
    }
}

/// Appends the samples of `bytes` to `pcm`, and says whether every byte was used: `false` where an odd last byte was left over.
pub fn decode(bytes: &[u8], pcm: &mut Vec<f32>) -> bool {
    let (words, rest) = bytes.as_chunks::<2>();
    pcm.reserve(words.len());
    pcm.extend(words.iter().map(|&word| sample(i16::from_le_bytes(word))));
    rest.is_empty()
}

/// Decodes a stream whose pieces may end in the middle of a sample.
#[derive(Clone, Debug, Default)]
pub struct PcmDecoder {
    low: Option<u8>,
}

impl PcmDecoder {
    /// A decoder at a sample boundary.
    pub fn new() -> PcmDecoder {
        PcmDecoder::default()
    }

    /// Appends the samples that `bytes` completes to `pcm`; half a sample waits for the next piece.
    pub fn decode(&mut self, bytes: &[u8], pcm: &mut Vec<f32>) {
        let mut bytes = bytes;
        if let (Some(low), Some((&high, rest))) = (self.low, bytes.split_first()) {
            pcm.push(sample(i16::from_le_bytes([low, high])));
            self.low = None;
            bytes = rest;
        }
        if !decode(bytes, pcm) {
            self.low = bytes.last().copied();
        }
    }

    /// Whether half a sample waits.
    pub fn is_mid_sample(&self) -> bool {
        self.low.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_range_are_clipped_not_wrapped() {
        for (given, expected) in
            [(0.0, 0), (1.0, i16::MAX), (-1.0, i16::MIN), (9.0, i16::MAX), (-9.0, i16::MIN), (f32::NAN, 0), (0.5, 16_384)]
        {
            assert_eq!(word(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_went(words in prop::collection::vec(any::<i16>(), 0..200)) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let (mut pcm, mut again) = (Vec::new(), Vec::new());
            prop_assert!(decode(&bytes, &mut pcm));
            encode(&pcm, &mut again);
            prop_assert_eq!(bytes, again);
        }

        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..7, 1..50)) {
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            let complete = decode(&bytes, &mut whole);
            let mut decoder = PcmDecoder::new();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((cuts.next().copied().unwrap_or(0) + 1).min(rest.len()));
                decoder.decode(piece, &mut pieces);
                rest = after;
            }
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(decoder.is_mid_sample(), !complete);
        }
    }
}
