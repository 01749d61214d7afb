//! Pairs of questions, and how many of those that ask the same are taken for it.

use std::path::Path;

use models::embed::{MiniLm, similarity};
use models::{Embedder, EmbeddingRequest, Weights};
use proptest::prelude::*;

use super::super::CacheSettings;
use super::*;

/// A pair of questions, and whether they ask the same.
struct Pair {
    same: bool,
    a: String,
    b: String,
}

fn pairs(file: &str) -> Vec<Pair> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let pair = |line: &str| {
        let mut fields = line.split('\t');
        let (kind, a, b) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Pair { same: kind == "same", a: a.to_owned(), b: b.to_owned() })
    };
    text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("{line:?} is no pair"))).collect()
}

fn agree(a: &str, b: &str) -> bool {
    Wording::of(a).agrees(&Wording::of(b))
}

#[test]
fn no_pair_that_asks_for_something_else_agrees() {
    let mut wrong = Vec::new();
    for Pair { a, b, .. } in
        ["questions.tsv", "questions_more.tsv", "questions_held_out.tsv"].iter().flat_map(|file| pairs(file)).filter(|pair| !pair.same)
    {
        if agree(&a, &b) || agree(&b, &a) {
            wrong.push(format!("{a} | {b}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_question_agrees_with_itself_however_it_is_dressed() {
    for Pair { a, .. } in pairs("questions.tsv") {
        assert!(agree(&a, &a), "{a}");
        assert!(agree(&a, &format!("  {}  ", a.replace(' ', "  "))), "{a}");
    }
    for (a, b) in [("", ""), ("?", "?"), ("the", "a")] {
        assert!(!agree(a, b), "{a} | {b}");
    }
}

/// The rates at several thresholds, for the table in the documentation: `cargo test -p router rates -- --nocapture`.
#[tokio::test]
async fn rates_with_the_model() {
    let model = match MiniLm::load(&Weights::new(Weights::default_folder())) {
        Ok(model) => model,
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    for file in ["questions.tsv", "questions_more.tsv", "questions_held_out.tsv"] {
        let mut judged = Vec::new();
        for Pair { same, a, b } in pairs(file) {
            let request = EmbeddingRequest { texts: vec![a.clone(), b.clone()], ..EmbeddingRequest::default() };
            let vectors = model.embed(request).await.expect("it embeds").vectors;
            let (alike, agree) = (similarity(&vectors[0], &vectors[1]), agree(&a, &b));
            if same != agree {
                println!("{}\t{alike:.3}\t{a} | {b}", if same { "missed" } else { "FALSE" });
            }
            judged.push((same, alike, agree));
        }
        let share = |same: bool, hit: &dyn Fn(f32, bool) -> bool| {
            let all = judged.iter().filter(|(is, _, _)| *is == same).count();
            let hits = judged.iter().filter(|(is, alike, agree)| *is == same && hit(*alike, *agree)).count();
            format!("{hits}/{all}")
        };
        println!("{file}: threshold | true hits, false hits by the threshold alone | with the guard");
        for threshold in [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98] {
            let alone = |alike: f32, _: bool| alike >= threshold;
            let both = |alike: f32, agree: bool| alike >= threshold && agree;
            println!(
                "{threshold:.2} | {}, {} | {}, {}",
                share(true, &alone),
                share(false, &alone),
                share(true, &both),
                share(false, &both)
            );
        }
        let threshold = CacheSettings::default().threshold;
        let false_hits = judged.iter().filter(|(same, alike, agree)| !same && *agree && *alike >= threshold).count();
        assert_eq!(false_hits, 0, "{file}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_wording(text in "\\PC{0,120}") {
        let wording = Wording::of(&text);
        prop_assert_eq!(&wording, &Wording::of(&text));
    }

    /// One word of content put in the place of another is another question.
    #[test]
    fn another_word_is_another_question(words in proptest::collection::vec("[b-z]{5,8}", 2..6), other in "[b-z]{5,8}", at in 0..6_usize) {
        let at = at % words.len();
        let mut changed = words.clone();
        changed[at] = other;
        let canonical = |text: &String| {
            let mut word = Word::unknown(text);
            word.canonical();
            word.text
        };
        let same = words.iter().zip(&changed).all(|(a, b)| canonical(a) == canonical(b));
        prop_assert_eq!(agree(&words.join(" "), &changed.join(" ")), same);
    }
}
