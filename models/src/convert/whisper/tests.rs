//! The converter against a model of two small layers made up here, and against sources that lie.

use proptest::prelude::*;

use super::*;

const WIDTH: usize = 32;

/// A CTranslate2 file of one layer each, every number `0.5`, f16.
fn tiny() -> Vec<u8> {
    let attention = |part: &str, kind: &str, linears: &[usize]| {
        let mut all =
            vec![(format!("{part}/{kind}/layer_norm/gamma"), vec![WIDTH]), (format!("{part}/{kind}/layer_norm/beta"), vec![WIDTH])];
        for (n, rows) in linears.iter().enumerate() {
            all.push((format!("{part}/{kind}/linear_{n}/weight"), vec![rows * WIDTH, WIDTH]));
            all.push((format!("{part}/{kind}/linear_{n}/bias"), vec![rows * WIDTH]));
        }
        all
    };
    let mut tensors = vec![
        ("decoder/embeddings/weight".to_owned(), vec![TEXT_TOKENS, WIDTH]),
        ("encoder/position_encodings/encodings".to_owned(), vec![8, WIDTH]),
        ("decoder/position_encodings/encodings".to_owned(), vec![4, WIDTH]),
        ("encoder/conv1/weight".to_owned(), vec![WIDTH, 80, 3]),
        ("encoder/conv1/bias".to_owned(), vec![WIDTH]),
        ("encoder/conv2/weight".to_owned(), vec![WIDTH, WIDTH, 3]),
        ("encoder/conv2/bias".to_owned(), vec![WIDTH]),
    ];
    for part in ["encoder", "decoder"] {
        tensors.push((format!("{part}/layer_norm/gamma"), vec![WIDTH]));
        tensors.push((format!("{part}/layer_norm/beta"), vec![WIDTH]));
        let layer = format!("{part}/layer_0");
        tensors.extend(attention(&layer, "self_attention", &[3, 1]));
        if part == "decoder" {
            tensors.extend(attention(&layer, "attention", &[1, 2, 1]));
        }
        for (name, dims) in [("layer_norm/gamma", vec![WIDTH]), ("layer_norm/beta", vec![WIDTH])] {
            tensors.push((format!("{layer}/ffn/{name}"), dims));
        }
        tensors.push((format!("{layer}/ffn/linear_0/weight"), vec![4 * WIDTH, WIDTH]));
        tensors.push((format!("{layer}/ffn/linear_0/bias"), vec![4 * WIDTH]));
        tensors.push((format!("{layer}/ffn/linear_1/weight"), vec![WIDTH, 4 * WIDTH]));
        tensors.push((format!("{layer}/ffn/linear_1/bias"), vec![WIDTH]));
    }
    let mut file = 6_u32.to_le_bytes().to_vec();
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u16 + 1).to_le_bytes());
        file.extend(text.as_bytes());
        file.push(0);
    };
    text(&mut file, "WhisperSpec");
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u32 + 2).to_le_bytes());
    for (name, dims) in tensors {
        text(&mut file, &name);
        file.push(dims.len() as u8);
        dims.iter().for_each(|n| file.extend((*n as u32).to_le_bytes()));
        file.push(4);
        let numbers: usize = dims.iter().product();
        file.extend((numbers as u32 * 2).to_le_bytes());
        (0..numbers).for_each(|_| file.extend(f16::from_f32(0.5).to_le_bytes()));
    }
    for part in ["encoder", "decoder"] {
        text(&mut file, &format!("{part}/num_heads"));
        file.extend([0, 2]);
        file.extend(2_u32.to_le_bytes());
        file.extend(2_u16.to_le_bytes());
    }
    file
}

fn tokenizer() -> Vec<u8> {
    br#"{"model": {"vocab": {"a": 0, "\u0120": 1, "\u0120caf\u00c3\u00a9": 2, "<|late|>": 50300}}}"#.to_vec()
}

fn converted(model: &[u8], tokenizer: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let mut file = Vec::new();
    to_ggml(model, tokenizer, &mut file).map(|()| file)
}

#[test]
fn a_whole_model_becomes_a_ggml_file() {
    let file = converted(&tiny(), &tokenizer()).expect("the made-up model is well formed");
    let words: Vec<u32> = file.chunks_exact(4).take(14).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_eq!(words, [MAGIC, TEXT_TOKENS as u32, 8, 32, 2, 1, 4, 32, 2, 1, 80, MOSTLY_Q8_0, 80, BINS as u32]);
    let named = |name: &[u8]| file.windows(name.len()).any(|window| window == name);
    assert!(named(b"encoder.blocks.0.attn.value.bias") && named(b"decoder.blocks.0.cross_attn.key.weight"));
    assert!(!named(b"attn.key.bias"), "keys have no bias");
}

#[test]
fn tokens_are_bytes_again() {
    let vocabulary = vocabulary(&tokenizer()).expect("it is well formed");
    assert_eq!(vocabulary.len(), TEXT_TOKENS);
    assert_eq!((&vocabulary[1][..], &vocabulary[2][..]), (&b" "[..], " café".as_bytes()));
}

#[test]
fn a_block_keeps_its_numbers_to_one_part_in_254() {
    let block: Vec<f32> = (0..BLOCK).map(|n| (n as f32 - 11.0) / 7.0).collect();
    let mut bytes = Vec::new();
    quantise(&block, &mut bytes);
    let scale = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    for (n, byte) in block.iter().zip(&bytes[2..]) {
        assert!((n - f32::from(*byte as i8) * scale).abs() <= scale * 0.55, "{n}");
    }
}

#[test]
fn the_filters_have_equal_areas() {
    let filters = mel_filters(80);
    assert_eq!(filters.len(), 80 * BINS);
    // The upper ones are wide enough for the sum over 40 Hz bins to be their area.
    for filter in filters.chunks(BINS).skip(40) {
        let area = filter.iter().sum::<f32>() * 40.0;
        assert!((area - 1.0).abs() < 0.1, "{area}");
    }
}

#[test]
fn what_lies_is_refused() {
    let good = tiny();
    let mut other_version = good.clone();
    other_version[0] = 7;
    for (what, model, tokens) in [
        ("empty", &[][..], tokenizer()),
        ("cut", &good[..good.len() / 2], tokenizer()),
        ("another version", &other_version[..], tokenizer()),
        ("no vocabulary", &good[..], b"{}".to_vec()),
        ("no JSON", &good[..], b"\xff".to_vec()),
        ("no blank", &good[..], br#"{"model": {"vocab": {"a": 0}}}"#.to_vec()),
    ] {
        assert!(matches!(converted(model, &tokens), Err(ConvertError::Malformed(_))), "{what}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..2_000, flip in 0_usize..600) {
        let _ = Source::read(&bytes);
        let mut head = tiny()[..2_600].to_vec();
        head[flip] ^= 0x81;
        head.truncate(cut + 600);
        let _ = Source::read(&head);
    }
}
