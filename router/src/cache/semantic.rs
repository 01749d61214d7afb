//! Questions in other words: what was asked and kept, by everything that must be identical.
//!
//! A group holds the questions of one tenant that differ in nothing but the words of the last message: same model, same earlier messages,
//! same tools, same parameters. Within a group two questions share an answer where their vectors are close and their [`Wording`] agrees.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use models::{Part, Prompt, Role};

use super::CacheKey;
use super::wording::Wording;

/// Longest question that is looked for in other words, bytes: the model reads 256 tokens, and what it does not read could differ.
const LONGEST: usize = 600;
/// Most questions of one group that are looked at, the newest; looking at all of them takes less than a tenth of a millisecond.
const GROUP: usize = 1_024;

/// A question, as it is compared.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Everything else about the request.
    pub group: CacheKey,
    pub wording: Wording,
    /// Of length 1.
    pub vector: Arc<[f32]>,
}

/// A question whose answer is kept.
struct Asked {
    key: CacheKey,
    wording: Wording,
    vector: Arc<[f32]>,
}

/// The questions whose answers are kept.
#[derive(Default)]
pub(super) struct Questions {
    groups: HashMap<CacheKey, VecDeque<Asked>>,
    /// The group of each key.
    places: HashMap<CacheKey, CacheKey>,
}

impl Questions {
    /// Keys of the answers that `question` may share, the closest first, with their similarity.
    pub(super) fn find(&self, question: &Question, threshold: f32) -> Vec<(CacheKey, f32)> {
        let Some(group) = self.groups.get(&question.group) else { return Vec::new() };
        let alike = |asked: &Asked| -> f32 { asked.vector.iter().zip(question.vector.iter()).map(|(a, b)| a * b).sum() };
        // The guard first: it is the cheaper one and lets less through.
        let agreeing = group.iter().filter(|asked| asked.wording.agrees(&question.wording));
        let mut found: Vec<(CacheKey, f32)> =
            agreeing.map(|asked| (asked.key, alike(asked))).filter(|(_, alike)| *alike >= threshold).collect();
        found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        found
    }

    pub(super) fn put(&mut self, key: CacheKey, question: Question) {
        self.remove(&key);
        let group = self.groups.entry(question.group).or_default();
        group.push_back(Asked { key, wording: question.wording, vector: question.vector });
        self.places.insert(key, question.group);
        if group.len() > GROUP
            && let Some(oldest) = group.pop_front()
        {
            self.places.remove(&oldest.key);
        }
    }

    pub(super) fn remove(&mut self, key: &CacheKey) {
        let Some(place) = self.places.remove(key) else { return };
        if let Some(group) = self.groups.get_mut(&place) {
            group.retain(|asked| asked.key != *key);
            if group.is_empty() {
                self.groups.remove(&place);
            }
        }
    }
}

impl Question {
    /// Memory it takes up, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.vector.len() * size_of::<f32>() + self.wording.bytes() + size_of::<Asked>() + 2 * size_of::<CacheKey>()
    }
}

/// The place and the words of the message that a question in other words may differ in: the last one, if it is the user's, nothing but
/// text, and short enough to be read whole.
pub(super) fn question(prompt: &Prompt) -> Option<(usize, String)> {
    let last = prompt.messages.last()?;
    let plain = last.role == Role::User && last.parts.iter().all(|part| matches!(part, Part::Text(_)));
    let words = last.words();
    (plain && !words.trim().is_empty() && words.len() <= LONGEST).then(|| (prompt.messages.len() - 1, words))
}

#[cfg(test)]
mod tests {
    use models::Message;

    use super::super::Scope;
    use super::*;

    fn key(name: &str) -> CacheKey {
        CacheKey::of(&Scope { model: name, ..Scope::default() }, &Prompt::default(), &[])
    }

    fn asked(group: &str, words: &str, vector: [f32; 2]) -> Question {
        Question { group: key(group), wording: Wording::of(words), vector: vector.to_vec().into() }
    }

    #[test]
    fn both_the_guard_and_the_vector_must_agree_within_a_group() {
        let mut questions = Questions::default();
        questions.put(key("1"), asked("g", "How do I cancel my order?", [1.0, 0.0]));
        questions.put(key("2"), asked("g", "How do I track my order?", [1.0, 0.0]));
        for (group, words, vector, expected) in [
            ("g", "How can I cancel my order?", [0.9, 0.1], Some(key("1"))),
            ("g", "How can I cancel my order?", [0.5, 0.5], None),
            ("g", "How can I change my order?", [1.0, 0.0], None),
            ("other", "How can I cancel my order?", [1.0, 0.0], None),
        ] {
            let found = questions.find(&asked(group, words, vector), 0.75);
            assert_eq!(found.first().map(|(key, _)| *key), expected, "{group} {words} {vector:?}");
        }
        questions.remove(&key("1"));
        assert!(questions.find(&asked("g", "How can I cancel my order?", [1.0, 0.0]), 0.75).is_empty());
        questions.remove(&key("2"));
        assert!(questions.groups.is_empty() && questions.places.is_empty());
    }

    #[test]
    fn a_group_is_bounded() {
        let mut questions = Questions::default();
        for n in 0..GROUP + 10 {
            questions.put(key(&n.to_string()), asked("g", &format!("question {n}"), [1.0, 0.0]));
        }
        assert_eq!((questions.groups[&key("g")].len(), questions.places.len()), (GROUP, GROUP));
    }

    #[test]
    fn only_a_short_last_message_of_plain_words_is_a_question() {
        let prompt = |messages: Vec<Message>| Prompt { messages, ..Prompt::default() };
        let said = |role, words: &str| Message::text(role, words);
        let picture = Message { parts: vec![Part::Other(serde_json::json!({"type": "image_url"}))], ..said(Role::User, "") };
        for (messages, expected) in [
            (vec![said(Role::System, "Be brief."), said(Role::User, "Why?")], Some((1, "Why?".to_owned()))),
            (vec![said(Role::User, "Why?"), said(Role::Assistant, "Because.")], None),
            (vec![said(Role::User, " ")], None),
            (vec![said(Role::User, &"why ".repeat(200))], None),
            (vec![picture], None),
            (vec![], None),
        ] {
            assert_eq!(question(&prompt(messages)), expected);
        }
    }
}
