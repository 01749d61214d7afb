//! The parts that need no weights, and the engine on real speech where weights and speech are installed.

use super::*;

#[test]
fn languages_are_named_as_the_library_does() {
    for (code, expected) in [("en", Some("en")), ("jv", Some("jw")), ("nb", Some("no")), ("yue", Some("zh")), ("tlh", None)] {
        assert_eq!(library_code(Language::new(code).expect("a code")), expected, "{code}");
    }
}

#[test]
fn the_context_covers_the_sound_and_never_more_than_30_s() {
    assert_eq!(positions(RATE), 50 + MARGIN_POSITIONS);
    assert_eq!(positions(60 * RATE), FULL_CONTEXT);
    assert_eq!(filled(&[0.5]).len(), SHORTEST_SOUND);
}

#[test]
fn a_described_noise_is_no_speech() {
    for text in [" [BLANK_AUDIO]", "(bell ringing)", "*sighs*", "♪", "♪ la la ♪"] {
        assert!(is_annotation(text), "{text}");
    }
    for text in ["", "Hello (again)", "(a) or (b)", "[Music] Hello", "*"] {
        assert!(!is_annotation(text), "{text}");
    }
}

/// The 16-bit samples of a plain WAV file.
fn wav(bytes: &[u8]) -> Vec<f32> {
    let data = bytes.windows(4).position(|four| four == b"data").expect("a WAV file has data") + 8;
    bytes[data..].chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
}

/// The engine and the English recording that comes with the weights; `None` (and a line) where they are not installed.
fn installed() -> Option<(Whisper, Vec<f32>)> {
    let weights = Weights::new(Weights::default_folder());
    let files = (weights.file("whisper-base", "ggml-base-q8_0.bin"), weights.file("moonshine-tiny-en", "beckett.wav"));
    let (Ok(_), Ok(recording)) = files else {
        eprintln!("skipped: run `timbre models pull` first");
        return None;
    };
    let pcm = wav(&std::fs::read(recording).expect("the recording can be read"));
    Some((Whisper::load(&weights).expect("the weights load"), pcm))
}

/// Somebody waits to the end.
const WAITED: fn() -> bool = || false;

#[test]
fn real_speech_is_heard_with_its_words_and_language() {
    let Some((mut whisper, pcm)) = installed() else { return };
    let hint = Hint { word_times: crate::WordTimes::Needed, ..Hint::default() };
    let heard = whisper.recognise(&pcm, &hint, &Waited::by(&WAITED)).expect("it hears");
    let plain = heard.text.to_lowercase();
    assert!(plain.contains("ever tried") && plain.contains("fail better"), "{plain}");
    assert_eq!(heard.language.as_ref().map(|language| language.value), Some(Language::ENGLISH));
    assert!(heard.confidence.is_some_and(|sure| sure.get() > 0.5));
    assert_eq!(heard.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "), heard.text);
    assert!(heard.words.windows(2).all(|pair| pair[0].start <= pair[1].start));
    assert!(heard.words.last().is_some_and(|word| word.end <= heard.duration));
}

#[test]
fn silence_has_no_words_and_an_abandoned_run_stops() {
    let Some((mut whisper, pcm)) = installed() else { return };
    let silence = whisper.recognise(&vec![0.0; 3 * RATE], &Hint::default(), &Waited::by(&WAITED)).expect("silence is heard");
    assert_eq!((silence.text.as_str(), silence.language), ("", None));
    assert!(whisper.detect(&vec![0.0; RATE]).expect("silence is heard").is_empty());
    let hint = Hint { language: Some(Language::ENGLISH), ..Hint::default() };
    let gone = whisper.recognise(&pcm, &hint, &Waited::by(&|| true));
    assert_eq!(gone.map_err(|error| error.kind), Err(ErrorKind::Closed));
    let after = whisper.recognise(&pcm, &hint, &Waited::by(&WAITED)).expect("it hears again");
    assert!(after.text.to_lowercase().contains("fail better"), "{}", after.text);
}
