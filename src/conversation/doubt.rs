//! Sound over an answer: whether it is meant to interrupt.

/// How much like speech a sound must be all along to interrupt: of recorded noises, laughs and sighs few are, of speech nearly all.
const VOICE: f32 = 0.6;
/// The same where its only word is one that sentences begin with: recognisers write "the" and "but" for sighs, too.
const CLEAR_VOICE: f32 = 0.9;

/// What is known of a sound over our answer that may be meant for us or not. Once it is, there is no doubt, and the client is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Doubt {
    /// Windows of it.
    pub(super) windows: u16,
    /// Sum of their likelihoods of speech.
    pub(super) speech: f32,
    /// How often its words were asked for.
    pub(super) asked: u8,
}

impl Doubt {
    /// Whether it is like speech all along.
    pub(super) fn is_voice(&self) -> bool {
        self.is_like_speech(VOICE)
    }

    /// By its words, where they are known, and by its sound.
    pub(super) fn is_meant(&self, words: Option<&str>) -> bool {
        words.map_or(Some(VOICE), voice_for).is_some_and(|least| self.is_like_speech(least))
    }

    fn is_like_speech(&self, least: f32) -> bool {
        self.speech >= least * f32::from(self.windows)
    }
}

/// How much like speech a sound must be to mean these words: sounds of listening, and what recognisers make of a cough and a laugh, mean
/// nothing, whatever they are like.
fn voice_for(words: &str) -> Option<f32> {
    const LISTENING: &[&str] = &[
        "claro",
        "eh",
        "er",
        "hai",
        "hey",
        "huh",
        "ja",
        "ok",
        "okay",
        "oui",
        "right",
        "si",
        "sure",
        "sí",
        "vale",
        "yeah",
        "yep",
        "yes",
        "うん",
        "ええ",
        "はい",
        "嗯",
        "啊",
        "네",
        "हाँ",
    ];
    const BEGINNINGS: &[&str] = &[
        "a", "an", "and", "but", "i", "in", "is", "it", "its", "so", "that", "thats", "the", "there", "they", "this", "to", "we", "well",
        "you",
    ];
    let letters = |word: &str| word.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
    let words: Vec<String> = words.split_whitespace().map(letters).filter(|word| !word.is_empty()).collect();
    // "Haha", "mm-hmm", "ooh", "uh-huh".
    let is_sound = |word: &str| word.chars().all(|letter| "ahmou".contains(letter));
    if words.iter().all(|word| is_sound(word) || LISTENING.contains(&word.as_str())) {
        return None;
    }
    let begins = matches!(&words[..], [word] if BEGINNINGS.contains(&word.as_str()));
    Some(if begins { CLEAR_VOICE } else { VOICE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_has_words_or_a_voice() {
        let like = |speech: f32| Doubt { windows: 10, speech: 10.0 * speech, asked: 1 };
        for (words, least) in [
            (Some("Wait a"), Some(VOICE)),
            (Some("No."), Some(VOICE)),
            (Some("你好"), Some(VOICE)),
            (Some("But"), Some(CLEAR_VOICE)),
            (Some("You,"), Some(CLEAR_VOICE)),
            (Some("But you"), Some(VOICE)),
            (Some("Mm-hmm."), None),
            (Some("Ha ha, yeah!"), None),
            (Some("Hahahaha"), None),
            (Some("Ooh, ooh"), None),
            (Some("..."), None),
            (Some(""), None),
            // Where nobody can tell the words, the voice decides.
            (None, Some(VOICE)),
        ] {
            let at_least = |least: f32| (like(least).is_meant(words), like(least - 0.01).is_meant(words));
            match least {
                Some(least) => assert_eq!(at_least(least), (true, false), "{words:?}"),
                None => assert!(!like(1.0).is_meant(words), "{words:?}"),
            }
        }
    }
}
