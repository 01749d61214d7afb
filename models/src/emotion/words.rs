//! Feelings that words name: short lists, English. In other languages the voice speaks alone.

/// Words that show how somebody feels.
const PLEASANT: &[&str] = &[
    "thanks",
    "thank",
    "great",
    "good",
    "love",
    "lovely",
    "perfect",
    "wonderful",
    "excellent",
    "nice",
    "happy",
    "glad",
    "awesome",
    "amazing",
    "fantastic",
    "brilliant",
    "cool",
    "yay",
    "delighted",
    "pleased",
    "enjoy",
    "beautiful",
    "best",
];
const UNPLEASANT: &[&str] = &[
    "bad",
    "hate",
    "awful",
    "terrible",
    "horrible",
    "wrong",
    "sad",
    "sorry",
    "angry",
    "upset",
    "worst",
    "unhappy",
    "disappointed",
    "annoyed",
    "annoying",
    "problem",
    "fail",
    "failed",
    "lost",
    "cry",
    "afraid",
    "worried",
    "miserable",
    "disgusting",
    "stupid",
];
/// Complaint and repetition: stems and phrases, looked for in the text between single spaces.
const FRUSTRATED: &[&str] = &[
    " again and again",
    " ridiculous",
    " frustrat",
    " not working",
    " doesn't work",
    " does not work",
    " fed up",
    " sick of",
    " useless",
    " waste of time",
    " how many times",
    " i already told",
    " i told you",
    " already said",
    " still not",
    " still hasn't",
    " unacceptable",
    " come on",
    " for the third time",
    " for the last time",
    " nobody answers",
    " cancel my",
    " speak to a human",
    " speak to a manager",
];
/// The words in lower case without punctuation at their ends; hyphens stay, they mark a word that was broken off.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.to_lowercase().trim_matches(|c: char| !c.is_alphanumeric() && c != '-').to_owned())
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect()
}

/// What the words of a turn say of how the speaker feels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mood {
    /// Pleasant words less unpleasant ones.
    pub(super) tone: f32,
    /// Whether they complain of something, or of having to say it again.
    pub(super) complains: bool,
}

impl Mood {
    /// Of `words`, as [`words`] gives them.
    pub(super) fn of(words: &[String]) -> Mood {
        let named = |list: &[&str]| words.iter().filter(|word| list.contains(&word.as_str())).count() as f32;
        let negated =
            words.windows(2).filter(|pair| matches!(pair[0].as_str(), "not" | "isn't" | "no") && PLEASANT.contains(&pair[1].as_str()));
        let spoken = format!(" {}", words.join(" "));
        let complaints = FRUSTRATED.iter().filter(|phrase| spoken.contains(**phrase)).count() as f32;
        let tone = named(PLEASANT) - 2.0 * negated.count() as f32 - named(UNPLEASANT) - complaints;
        Mood { tone, complains: complaints > 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_feelings() {
        for (text, tone, complains) in [
            ("The train leaves at nine.", 0.0, false),
            ("Thank you, that is wonderful!", 2.0, false),
            ("That is not good", -1.0, false),
            ("This is terrible, I hate it", -2.0, false),
            ("It is STILL not working, I already told you", -3.0, true),
        ] {
            assert_eq!(Mood::of(&words(text)), Mood { tone, complains }, "{text}");
        }
    }
}
