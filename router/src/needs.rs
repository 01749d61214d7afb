//! What a request needs of its target beside words, and which of that a target is known to lack.
//!
//! Only what is known counts: a target that nobody knows lacks nothing. Lists of models are out of date sooner or later, and tokens are
//! estimated, so a target that lacks something is asked last, not never.

use std::cell::OnceCell;

use models::Prompt;

use crate::catalogue::Ability;
use crate::cost::prompt_tokens;
use crate::measure::{Measure, measure};
use crate::{Lack, TargetFact};

/// What a prompt needs, counted when it is first asked for.
pub(crate) struct Needs<'p> {
    prompt: &'p Prompt,
    measured: OnceCell<Measure>,
    tokens: OnceCell<u64>,
}

impl<'p> Needs<'p> {
    pub(crate) fn of(prompt: &'p Prompt) -> Needs<'p> {
        Needs { prompt, measured: OnceCell::new(), tokens: OnceCell::new() }
    }

    /// What of it a target is known to lack.
    pub(crate) fn lacking(&self, fact: TargetFact) -> impl Iterator<Item = Lack> {
        Lack::ALL.into_iter().filter(move |lack| match lack {
            Lack::Dialogue => fact.dialogue == Some(false),
            Lack::Context => fact.context.is_some_and(|most| *self.tokens.get_or_init(|| prompt_tokens(self.prompt)) > most),
            Lack::Images => self.misses(&fact, Ability::ImageInput, |measured| measured.images),
            Lack::Audio => self.misses(&fact, Ability::AudioInput, |measured| measured.audio),
            Lack::Files => self.misses(&fact, Ability::FileInput, |measured| measured.files),
            Lack::Tools => !self.prompt.tools.is_empty() && fact.abilities.is_some_and(|can| !can.has(Ability::Tools)),
        })
    }

    fn misses(&self, fact: &TargetFact, ability: Ability, needed: fn(&Measure) -> usize) -> bool {
        fact.abilities.is_some_and(|can| !can.has(ability)) && needed(self.measured.get_or_init(|| measure(self.prompt))) > 0
    }
}

#[cfg(test)]
mod tests {
    use models::{Message, Part, Role, Tool};
    use serde_json::{Map, json};

    use super::*;
    use crate::catalogue::Abilities;

    #[test]
    fn what_a_target_lacks_is_what_is_needed_and_known_to_be_missing() {
        let words = Prompt { messages: vec![Message::text(Role::User, "word ".repeat(100))], ..Prompt::default() };
        let with = |kind: &str| {
            let mut prompt = words.clone();
            prompt.messages[0].parts.push(Part::Other(json!({ "type": kind })));
            prompt
        };
        let tool = Tool { name: "look".to_owned(), description: None, parameters: None, extra: Map::new() };
        let tools = Prompt { tools: vec![tool], ..words.clone() };
        let unknown = TargetFact::default();
        let nothing = TargetFact { abilities: Some(Abilities::default()), context: Some(100), dialogue: Some(false), ..unknown };
        let able: Abilities = [Ability::ImageInput, Ability::AudioInput, Ability::FileInput, Ability::Tools].into_iter().collect();
        let all = TargetFact { abilities: Some(able), context: Some(200_000), dialogue: Some(true), ..unknown };
        for (prompt, lacked) in [
            (&words, &[][..]),
            (&with("image_url"), &[Lack::Images]),
            (&with("input_audio"), &[Lack::Audio]),
            (&with("file"), &[Lack::Files]),
            (&tools, &[Lack::Tools]),
        ] {
            let lacking = |fact: &TargetFact| Needs::of(prompt).lacking(*fact).collect::<Vec<_>>();
            assert_eq!((lacking(&unknown), lacking(&all)), (Vec::new(), Vec::new()));
            assert_eq!(lacking(&nothing), [&[Lack::Dialogue, Lack::Context], lacked].concat());
        }
    }
}
