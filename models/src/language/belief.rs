//! What is believed of the language that a caller speaks: a Bayesian filter over turns, without sound and models.
//!
//! What was heard earlier in a call counts in the next turn, less the chance that a caller changes the language between two turns: one turn
//! that only sounds like another language changes nothing, two do.

use super::Language;

/// How likely a caller changes the language from one turn to the next. Where callers do it at all, they do it once or twice in a call of
/// some twenty turns.
const CHANGES: f32 = 0.05;
/// No evidence is worth more than this against any other language: recognisers are surer than they should be.
const STRONGEST: f32 = 1e-3;

/// Languages that callers often speak: the larger ones of those that Whisper was trained on, in the order of its list.
const WIDELY_SPOKEN: [&str; 38] = [
    "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "nl", "ar", "sv", "it", "id", "hi", "fi", "vi", "he", "uk", "el", "ms",
    "cs", "ro", "da", "hu", "ta", "no", "th", "bn", "te", "tl", "fa", "bg", "hr", "sk", "ca", "sr",
];
/// The others that Whisper has learnt.
const RARELY_SPOKEN: [&str; 59] = [
    "mi", "ml", "cy", "lt", "la", "lv", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw", "gl",
    "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo", "ht", "ps", "tk",
    "nn", "mt", "sa", "lb", "my", "bo", "mg", "as", "tt", "haw", "ln", "ha", "ba", "jv", "su",
];
/// How likely a stranger speaks English, a dozen times as likely as any other language: nobody should have to repeat it. Of 125 English
/// recordings and 60 others, two seconds each (2026-11), no English was lost, and four others were told for it.
const ENGLISH: f32 = 0.2;
/// How much less likely one of the other languages is than one of the widely spoken.
const RARE: f32 = 0.03;
/// Urdu sounds like Hindi, which three times as many speak: it is told by what surrounds a caller, not by the ear.
const URDU: f32 = 0.3;

/// How likely a caller speaks each language: none below nought, one together. Those that are not there are not spoken; where none is there,
/// nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief(Vec<(Language, f32)>);

impl Belief {
    /// Of so much for each; what is not above nought is left out.
    pub fn new(weights: impl IntoIterator<Item = (Language, f32)>) -> Belief {
        let mut kept: Vec<(Language, f32)> = weights.into_iter().filter(|(_, weight)| *weight > 0.0 && weight.is_finite()).collect();
        let sum: f32 = kept.iter().map(|(_, weight)| weight).sum();
        kept.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Belief(kept)
    }

    /// Before a call of somebody of whom nothing is known.
    pub fn usual() -> Belief {
        let widely = WIDELY_SPOKEN.iter().map(|code| (*code, 1.0)).chain([("ur", URDU)]);
        let rare = RARELY_SPOKEN.iter().map(|code| (*code, RARE));
        let others: Vec<(Language, f32)> = widely.chain(rare).filter_map(|(code, weight)| Some((Language::new(code)?, weight))).collect();
        let sum: f32 = others.iter().map(|(_, weight)| weight).sum();
        let others = others.into_iter().map(|(language, weight)| (language, weight / sum * (1.0 - ENGLISH)));
        Belief::new(others.chain([(Language::ENGLISH, ENGLISH)]))
    }

    /// Before a call in which only these are expected: one is as likely as another.
    pub fn among(expected: &[Language]) -> Belief {
        Belief::new(expected.iter().map(|language| (*language, 1.0)))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How likely this one is spoken.
    pub fn of(&self, language: Language) -> f32 {
        self.0.iter().find(|(known, _)| *known == language).map_or(0.0, |(_, likely)| *likely)
    }

    /// The likeliest, and how likely it is.
    pub fn likeliest(&self) -> Option<(Language, f32)> {
        self.0.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// With `evidence`: how much likelier what was heard is in a language than in another, in any measure.
    #[must_use]
    pub fn heard(&self, evidence: impl Fn(Language) -> f32) -> Belief {
        let strengths: Vec<f32> = self.0.iter().map(|(language, _)| evidence(*language)).collect();
        let most = strengths.iter().copied().fold(0.0, f32::max);
        if most <= 0.0 {
            return self.clone();
        }
        Belief::new(
            self.0.iter().zip(strengths).map(|((language, likely), strength)| (*language, likely * (strength / most).max(STRONGEST))),
        )
    }

    /// Before the next turn, if `expected` was believed before the call.
    #[must_use]
    pub fn next_turn(&self, expected: &Belief) -> Belief {
        Belief::new(expected.0.iter().map(|(language, before)| (*language, (1.0 - CHANGES) * self.of(*language) + CHANGES * before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        Language::new(code).expect("a code")
    }

    /// A call of turns, each `code sureness` as an identifier would say; what is believed after each.
    fn check(expected: &[&str], turns: &str, believed: &str) {
        let codes: Vec<Language> = expected.iter().map(|code| language(code)).collect();
        let before = Belief::among(&codes);
        let (mut belief, mut said) = (before.clone(), Vec::new());
        for (at, turn) in turns.split(", ").enumerate() {
            let (code, sure) = turn.split_once(' ').expect("a code and how sure");
            let sure: f32 = sure.parse().expect("a number");
            let rest = (1.0 - sure) / (codes.len() - 1) as f32;
            if at > 0 {
                belief = belief.next_turn(&before);
            }
            belief = belief.heard(|heard| if heard == language(code) { sure } else { rest });
            said.push(belief.likeliest().map_or("?".to_owned(), |(language, _)| language.to_string()));
        }
        assert_eq!(said.join(" "), believed, "{turns}");
    }

    #[test]
    fn a_call_is_followed() {
        let four = &["en", "de", "fr", "hi"];
        check(four, "de 0.4", "de");
        check(four, "en 0.9, en 0.9, en 0.9", "en en en");
        // One turn that only seems to be another language changes nothing ...
        check(four, "en 0.9, en 0.9, de 0.7, en 0.9", "en en en en");
        // ... two do, and one that is beyond doubt.
        check(four, "en 0.9, en 0.9, de 0.8, de 0.8, de 0.8", "en en en de de");
        check(four, "en 0.9, en 0.9, de 0.999", "en en de");
        check(four, "de 0.95, de 0.95, en 0.95, en 0.95", "de de de en");
        // Who is sure at first and wrong is put right.
        check(four, "fr 1, de 0.9, de 0.9", "fr fr de");
    }

    #[test]
    fn only_what_is_expected_is_believed() {
        let before = Belief::among(&[language("en"), language("hi")]);
        let urdu = before.heard(|heard| match heard.code() {
            "ur" => 0.8,
            "hi" => 0.15,
            _ => 0.01,
        });
        assert_eq!(urdu.likeliest().map(|(language, _)| language.to_string()).as_deref(), Some("hi"));
        assert_eq!(urdu.of(language("ur")), 0.0);
        assert_eq!(before.heard(|_| 0.0), before);
        assert!(Belief::among(&[]).is_empty() && Belief::default().likeliest().is_none());
        assert!(Belief::new([(language("en"), f32::NAN), (language("de"), -1.0)]).is_empty());
    }
}
