//! Engines with their real weights, where they have been fetched.

use std::time::Duration;

use audio::Rate;
use futures::StreamExt;
use futures::stream;

use super::*;
use crate::{Spoken, Word};

fn engine(name: &str) -> Option<Arc<dyn Synthesizer>> {
    let weights = Weights::new(Weights::default_folder());
    let engine = ENGINES.iter().find(|engine| engine.name == name).expect("the engine is in this build");
    (engine.build)(&weights, 1).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

/// All that is said of `text` by the engine's first voice: PCM at [`Rate::SPEECH`], and words.
fn speak(engine: &dyn Synthesizer, text: &str, speed: f32) -> (Vec<f32>, Vec<Word>) {
    speak_as(engine, text, Voice { speed, ..Voice::new(engine.voices()[0].clone()) })
}

fn speak_as(engine: &dyn Synthesizer, text: &str, voice: Voice) -> (Vec<f32>, Vec<Word>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let pieces: Vec<Spoken> =
        runtime.block_on(engine.speak(stream::iter([text.to_owned()]).boxed(), voice).map(|piece| piece.expect("it is said")).collect());
    let rate = pieces.first().expect("something is said").frame.rate;
    let pcm: Vec<f32> = pieces.iter().flat_map(|piece| piece.frame.pcm.iter().copied()).collect();
    let pcm = if rate == Rate::SPEECH { pcm } else { audio::resample(&pcm, rate, Rate::SPEECH) };
    (pcm, pieces.into_iter().flat_map(|piece| piece.words).collect())
}

/// Checks what is true of every voice; the texts are in a language it speaks.
fn check(name: &str) {
    let Some(engine) = engine(name) else { return };
    let text = "Hello there, my friend. It is 10:30 now, and the train leaves soon.";
    let (pcm, words) = speak(engine.as_ref(), text, 1.0);
    let duration = audio::Samples(pcm.len() as u64).duration(Rate::SPEECH);
    let loudest = pcm.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    assert!((0.05..=1.0).contains(&loudest), "{loudest}");
    let first = pcm.iter().position(|sample| sample.abs() > 0.01 * loudest).expect("something is heard");
    assert!(first < 960, "the first sound comes at sample {first} of 24,000 a second");
    let last = pcm.len() - pcm.iter().rposition(|sample| sample.abs() > 0.01 * loudest).expect("something is heard");
    assert!(last < 2_880, "{last} samples of silence at the end");
    assert!(duration > Duration::from_secs(2) && duration < Duration::from_secs(8), "{duration:?}");

    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(texts.join(" "), text);
    let mut before = Duration::ZERO;
    for word in &words {
        assert!(word.start >= before && word.end > word.start && word.end <= duration, "{word:?} after {before:?} of {duration:?}");
        before = word.end;
    }

    let slower = speak(engine.as_ref(), text, 0.7).0.len() as f32 / pcm.len() as f32;
    let faster = speak(engine.as_ref(), text, 1.6).0.len() as f32 / pcm.len() as f32;
    assert!((1.2..1.7).contains(&slower) && (0.5..0.8).contains(&faster), "{slower} {faster}");
}

#[cfg(feature = "hibari")]
#[test]
fn hibari_speaks() {
    check("hibari");
}

#[cfg(feature = "kokoro")]
#[test]
#[ignore = "eight seconds of computing; run by `cargo test -- --ignored`"]
fn kokoro_speaks() {
    check("kokoro");
}

#[cfg(feature = "espeak")]
#[test]
fn espeak_speaks() {
    check("espeak");
}

/// What Kokoro says is heard back by Whisper: the words named here must be among those heard.
#[cfg(all(feature = "kokoro", feature = "espeak", feature = "whisper"))]
#[test]
#[ignore = "a minute of computing; run by `cargo test -- --ignored`"]
fn kokoro_is_understood_in_other_languages() {
    use crate::stt::{Recogniser, Whisper};
    use crate::{Hint, Language, Waited};

    let weights = Weights::new(Weights::default_folder());
    let Some(engine) = engine("kokoro") else { return };
    let Ok(mut whisper) = Whisper::load(&weights).inspect_err(|error| eprintln!("skipped: {error}")) else { return };
    for (name, code, text, expected) in [
        ("ef_dora", "es", "Mañana por la mañana vamos a comprar pan en la ciudad.", &["comprar", "pan", "ciudad"][..]),
        ("ff_siwis", "fr", "Demain matin, nous allons acheter du pain dans la ville.", &["demain", "acheter", "pain", "ville"]),
        ("if_sara", "it", "Domani mattina andiamo a comprare il pane in città.", &["domani", "comprare", "pane", "città"]),
        ("pf_dora", "pt", "Amanhã de manhã vamos comprar pão na cidade.", &["manhã", "comprar", "pão", "cidade"]),
        // Whisper writes spoken Hindi in either of its scripts; said alike, "bahut" and "desh" are the words of both.
        ("hf_alpha", "hi", "भारत एक बहुत बड़ा देश है।", &["बहुत|بہت", "देश|دیش"]),
    ] {
        if !engine.voices().iter().any(|voice| voice == name) {
            eprintln!("skipped: {name} was not fetched, or eSpeak NG is not installed");
            continue;
        }
        let (pcm, words) = speak_as(engine.as_ref(), text, Voice::new(name));
        assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "), text);
        let pcm = audio::resample(&pcm, Rate::SPEECH, Rate::MODEL);
        let hint = Hint { language: Language::new(code), ..Hint::default() };
        let heard = whisper.recognise(&pcm, &hint, &Waited::by(&|| false)).expect("it hears").text.to_lowercase();
        println!("{code}: {heard}");
        let said = |words: &str| words.split('|').any(|word| heard.contains(word));
        assert!(expected.iter().all(|words| said(words)), "{code}: {heard}");
    }
}

/// Words are heard where a voice of ours says it put them.
#[cfg(all(feature = "hibari", feature = "moonshine", feature = "whisper"))]
#[test]
fn words_are_heard_when_they_are_spoken() {
    use crate::stt::{Moonshine, Recogniser, Whisper};
    use crate::{Hint, Waited};

    let weights = Weights::new(Weights::default_folder());
    let Some(voice) = engine("hibari") else { return };
    let (Ok(mut moonshine), Ok(mut whisper)) = (Moonshine::load(&weights, 1), Whisper::load(&weights)) else { return };
    let text = "The old man walked slowly along the river until he came to a small wooden bridge. There he stopped, looked at the water, \
                and thought about his brother for a long time.";
    let (pcm, spoken) = speak(voice.as_ref(), text, 1.0);
    let pcm = audio::resample(&pcm, Rate::SPEECH, Rate::MODEL);
    let hint = Hint { word_times: crate::WordTimes::Needed, ..Hint::default() };
    let by_moonshine = moonshine[0].recognise(&pcm, &hint, &Waited::by(&|| false)).expect("it hears").words;
    let by_whisper = whisper.recognise(&pcm, &hint, &Waited::by(&|| false)).expect("it hears").words;
    for (heard, most_at_start, most_at_end) in [(by_moonshine, 60, 80), (by_whisper, 100, 140)] {
        let texts = |words: &[Word]| words.iter().map(|word| word.text.to_lowercase()).collect::<Vec<_>>();
        assert_eq!(texts(&heard), texts(&spoken));
        let apart = |of: fn(&Word) -> Duration| {
            let mut apart: Vec<u128> = heard.iter().zip(&spoken).map(|(a, b)| of(a).abs_diff(of(b)).as_millis()).collect();
            apart.sort_unstable();
            (apart[apart.len() / 2], apart[apart.len() * 9 / 10])
        };
        let bias = heard.iter().zip(&spoken).map(|(a, b)| a.start.as_secs_f64() - b.start.as_secs_f64()).sum::<f64>() / heard.len() as f64;
        let (starts, ends) = (apart(|word| word.start), apart(|word| word.end));
        assert!(
            starts.0 <= most_at_start && ends.0 <= most_at_end,
            "median and nine tenths of the starts {starts:?}, of the ends {ends:?} ms, bias {bias}"
        );
        assert!(heard.iter().all(|word| word.confidence.is_some_and(|sure| sure.get() > 0.1)), "{heard:?}");
    }
}
