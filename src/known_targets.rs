//! What is known of the configured targets: the catalogue's cards, found by the name of a target or of its provider's preset.

use std::collections::HashMap;

use router::{Amount, Catalogue, Priced, TargetFact, TargetFacts};

use crate::config::ProviderConfig;

/// Prices, sizes and abilities of targets. A provider may be called anything: `claude/claude-sonnet-4-5` is listed as
/// `anthropic/claude-sonnet-4-5`, because the preset says so.
#[derive(Clone, Debug)]
pub struct KnownTargets {
    catalogue: Catalogue,
    /// The presets of providers by their names, where the two differ.
    presets: HashMap<String, &'static str>,
}

impl KnownTargets {
    /// Of these providers.
    pub fn new(catalogue: Catalogue, providers: &[ProviderConfig]) -> KnownTargets {
        let differs = |provider: &ProviderConfig| {
            let preset = provider.preset.filter(|preset| *preset != provider.name)?;
            Some((provider.name.clone(), preset))
        };
        KnownTargets { catalogue, presets: providers.iter().filter_map(differs).collect() }
    }

    /// What an amount costs at a target, where the catalogue says; what runs in this process costs nothing.
    pub fn price(&self, target: &str, amount: Amount<'_>) -> Option<Priced> {
        let priced = self.look(target, |id| self.catalogue.price(id, amount));
        priced.or_else(|| target.starts_with("embedded/").then(Priced::default))
    }

    fn look<T>(&self, target: &str, of: impl Fn(&str) -> Option<T>) -> Option<T> {
        of(target).or_else(|| {
            let (provider, model) = target.split_once('/')?;
            of(&format!("{}/{model}", self.presets.get(provider)?))
        })
    }
}

impl TargetFacts for KnownTargets {
    fn of(&self, target: &str) -> TargetFact {
        self.look(target, |id| self.catalogue.fact(id)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use models::Usage;

    use super::*;
    use crate::config;

    #[test]
    fn a_provider_of_another_name_has_the_prices_of_its_preset() {
        let text = r#"
            [[provider]]
            name = "claude"
            preset = "anthropic"
            api_key_env = ""
            [[provider]]
            name = "fast"
            base_url = "https://api.groq.com/openai/v1"
            [[provider]]
            name = "here"
            base_url = "http://127.0.0.1:8000/v1"
        "#;
        let checked = config::read(text, "test", &[]).and_then(|written| written.check(&[])).expect("it is valid");
        let catalogue = Catalogue::with("\"claude/own\" = { input = 3 }\n\"here/tiny\" = { context = 2048 }").expect("it is valid");
        let known = KnownTargets::new(catalogue, &checked.providers);
        let usage = Usage { input_tokens: 1_000_000, ..Usage::default() };
        for (target, usd) in [
            ("claude/claude-haiku-4-5", Some(1.0)),
            ("anthropic/claude-haiku-4-5", Some(1.0)),
            ("claude/own", Some(3.0)),
            ("claude/nobody", None),
            ("here/gpt-4o", None),
        ] {
            assert_eq!(known.price(target, Amount::Tokens(&usage)).map(|priced| priced.cost.usd()), usd, "{target}");
            assert_eq!(known.of(target).price_input, usd, "{target}");
        }
        assert!(known.of("fast/llama-guard-3-8b").context.is_some());
        assert!(known.of("claude/claude-haiku-4-5").abilities.is_some_and(|can| can.has(router::catalogue::Ability::ImageInput)));
        let tiny = known.of("here/tiny");
        assert_eq!((tiny.context, tiny.abilities, tiny.dialogue), (Some(2_048), None, Some(true)));
    }
}
