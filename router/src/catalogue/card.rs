//! What the catalogue says of one model.

use std::ops::Range;
use std::time::Duration;

use models::{Service, Usage};
use serde::{Deserialize, Deserializer};
use toml::Table;

use crate::Amount;
use crate::cost::{self, Cost, Price, Priced, Prices};

/// What a model is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Dialogue.
    #[default]
    Chat,
    /// Dialogue, over OpenAI's Responses only.
    Responses,
    /// A text to be continued.
    Completion,
    /// Texts as vectors.
    Embedding,
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Speech,
    /// A call.
    Realtime,
}

/// Something that a model takes, gives or can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Takes images.
    ImageInput,
    /// Takes sound.
    AudioInput,
    /// Takes video.
    VideoInput,
    /// Takes documents.
    FileInput,
    /// Gives sound.
    AudioOutput,
    /// Gives images.
    ImageOutput,
    /// Calls functions.
    Tools,
    /// Calls several functions at once.
    ParallelTools,
    /// Keeps to a JSON schema.
    Schema,
    /// Thinks before it answers.
    Reasoning,
    /// Has a prompt cache with a price of its own.
    Cache,
    /// Searches the web by itself.
    WebSearch,
}

/// In the order of the bits; `takes`, `gives` and `can` are ranges of it.
const ABILITIES: [(Ability, &str); 12] = [
    (Ability::ImageInput, "image"),
    (Ability::AudioInput, "audio"),
    (Ability::VideoInput, "video"),
    (Ability::FileInput, "file"),
    (Ability::AudioOutput, "audio"),
    (Ability::ImageOutput, "image"),
    (Ability::Tools, "tools"),
    (Ability::ParallelTools, "parallel_tools"),
    (Ability::Schema, "schema"),
    (Ability::Reasoning, "reasoning"),
    (Ability::Cache, "cache"),
    (Ability::WebSearch, "web_search"),
];
const TAKES: Range<usize> = 0..4;
const GIVES: Range<usize> = 4..6;
const CAN: Range<usize> = 6..12;

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(u16);

impl Abilities {
    /// Whether it is one of them.
    pub fn has(self, ability: Ability) -> bool {
        ABILITIES.iter().position(|(known, _)| *known == ability).is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    /// Whether all of `others` are among them.
    pub fn include(self, others: Abilities) -> bool {
        self.0 & others.0 == others.0
    }

    /// What is taken beside text, in words: `image`, `audio`, `video`, `file`.
    pub fn takes(self) -> impl Iterator<Item = &'static str> {
        self.words(TAKES)
    }

    /// What is given beside text, in words: `audio`, `image`.
    pub fn gives(self) -> impl Iterator<Item = &'static str> {
        self.words(GIVES)
    }

    /// What can be done, in words: `tools`, `parallel_tools`, `schema`, `reasoning`, `cache`, `web_search`.
    pub fn can(self) -> impl Iterator<Item = &'static str> {
        self.words(CAN)
    }

    fn words(self, range: Range<usize>) -> impl Iterator<Item = &'static str> {
        range.filter(move |bit| self.0 & 1 << bit != 0).map(|bit| ABILITIES[bit].1)
    }

    fn add(&mut self, key: &str, words: &[String], range: Range<usize>) -> Result<(), String> {
        for word in words {
            let Some(bit) = range.clone().find(|bit| ABILITIES[*bit].1 == word) else {
                let known: Vec<&str> = range.map(|bit| ABILITIES[bit].1).collect();
                return Err(format!("`{key}` knows no {word:?}; allowed are {}", known.join(", ")));
            };
            self.0 |= 1 << bit;
        }
        Ok(())
    }
}

impl FromIterator<Ability> for Abilities {
    fn from_iter<I: IntoIterator<Item = Ability>>(abilities: I) -> Abilities {
        let bit = |ability| ABILITIES.iter().position(|(known, _)| *known == ability).map_or(0, |bit| 1 << bit);
        Abilities(abilities.into_iter().fold(0, |bits, ability| bits | bit(ability)))
    }
}

/// The prices of long prompts: of the whole request, not of what goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// They hold where the prompt has more tokens than this.
    pub above: u64,
    /// The prices.
    pub prices: Prices,
}

/// The prices of another service than the usual one.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePrices {
    /// Which.
    pub service: Service,
    /// The prices of tokens.
    pub prices: Prices,
    /// Other prices for long prompts, the shortest first.
    pub tiers: Box<[Tier]>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// `provider/model`.
    pub id: Box<str>,
    /// What it is asked for.
    pub kind: Kind,
    /// Prices of tokens; `None` where it is not paid by tokens.
    pub prices: Option<Prices>,
    /// Other prices for long prompts, the shortest first.
    pub tiers: Box<[Tier]>,
    /// Prices of other services.
    pub services: Box<[ServicePrices]>,
    /// Price of a million characters to be spoken.
    pub characters: Option<Price>,
    /// Price of an hour of sound, heard or spoken.
    pub hour: Option<Cost>,
    /// Most tokens of a prompt, where known.
    pub context: Option<u64>,
    /// Most tokens of an answer, where known.
    pub max_output: Option<u64>,
    /// What it takes, gives and can do.
    pub abilities: Abilities,
}

impl Card {
    /// What an answer costs by its tokens; a guess of nothing where the model is not paid by tokens, and of the usual price where a service
    /// has none of its own.
    pub fn tokens(&self, usage: &Usage) -> Priced {
        let service = self.services.iter().find(|other| other.service == usage.service);
        let (prices, tiers) = match service {
            Some(service) => (Some(&service.prices), &service.tiers),
            None => (self.prices.as_ref(), &self.tiers),
        };
        let tier = tiers.iter().rev().find(|tier| usage.input_tokens > tier.above);
        let priced = tier.map(|tier| &tier.prices).or(prices).map(|prices| prices.of(usage));
        match priced {
            Some(priced) if service.is_some() || usage.service == Service::Standard => priced,
            priced => priced.unwrap_or_default().guessed(),
        }
    }

    /// What it costs to have so many characters spoken, where that is how it is paid.
    pub fn characters(&self, characters: u64) -> Option<Cost> {
        self.characters.map(|price| price.of(characters))
    }

    /// What sound of this length costs, where that is how it is paid.
    pub fn sound(&self, length: Duration) -> Option<Cost> {
        self.hour.map(|hour| cost::sound(hour, length))
    }

    /// What an amount costs; `None` where it is not paid by anything like it. Who is paid by tokens bills sound by tokens too: the price of
    /// an hour, where there is one beside, is then a guess.
    pub fn price(&self, amount: Amount<'_>) -> Option<Priced> {
        let cost = match amount {
            Amount::Tokens(usage) => return Some(self.tokens(usage)),
            Amount::Heard(sound) => self.sound(sound),
            Amount::Spoken { characters, sound } => self.characters(characters).or_else(|| self.sound(sound)),
        };
        cost.map(|cost| Priced { cost, estimated: self.prices.is_some() })
    }

    /// Reads what stands after an id.
    pub(super) fn read(id: &str, entry: Table) -> Result<Card, String> {
        let written: Written = entry.try_into().map_err(|error: toml::de::Error| error.message().trim().to_owned())?;
        let mut abilities = Abilities::default();
        abilities.add("takes", &written.takes, TAKES)?;
        abilities.add("gives", &written.gives, GIVES)?;
        abilities.add("can", &written.can, CAN)?;
        let prices = written.prices.over(&Prices::default());
        let services = [(Service::Flex, &written.flex), (Service::Priority, &written.priority), (Service::Batch, &written.batch)];
        let services = services.into_iter().filter_map(|(service, written)| {
            let written = written.as_ref()?;
            let prices = written.prices.over(&prices);
            Some(ServicePrices { service, prices, tiers: tiers(&written.above, &prices) })
        });
        Ok(Card {
            id: id.into(),
            kind: written.kind,
            prices: written.prices.any().then_some(prices),
            tiers: tiers(&written.above, &prices),
            services: services.collect(),
            characters: written.characters,
            hour: written.hour.map(|price| Cost::from_nano_usd(price.nano_usd())),
            context: written.context,
            max_output: written.max_output,
            abilities,
        })
    }
}

fn tiers(written: &[WrittenTier], base: &Prices) -> Box<[Tier]> {
    let mut tiers: Vec<Tier> = written.iter().map(|tier| Tier { above: tier.tokens, prices: tier.prices.over(base) }).collect();
    tiers.sort_by_key(|tier| tier.above);
    tiers.into()
}

/// An entry as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    kind: Kind,
    #[serde(flatten)]
    prices: WrittenPrices,
    above: Vec<WrittenTier>,
    flex: Option<WrittenService>,
    priority: Option<WrittenService>,
    batch: Option<WrittenService>,
    #[serde(deserialize_with = "usd")]
    characters: Option<Price>,
    #[serde(deserialize_with = "usd")]
    hour: Option<Price>,
    context: Option<u64>,
    max_output: Option<u64>,
    takes: Vec<String>,
    gives: Vec<String>,
    can: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    tokens: u64,
    #[serde(flatten)]
    prices: WrittenPrices,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenService {
    #[serde(flatten)]
    prices: WrittenPrices,
    above: Vec<WrittenTier>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenPrices {
    #[serde(deserialize_with = "usd")]
    input: Option<Price>,
    #[serde(deserialize_with = "usd")]
    output: Option<Price>,
    #[serde(deserialize_with = "usd")]
    cache_read: Option<Price>,
    #[serde(deserialize_with = "usd")]
    cache_write: Option<Price>,
    #[serde(deserialize_with = "usd")]
    cache_write_hour: Option<Price>,
    #[serde(deserialize_with = "usd")]
    audio_input: Option<Price>,
    #[serde(deserialize_with = "usd")]
    audio_output: Option<Price>,
    #[serde(deserialize_with = "usd")]
    audio_cache_read: Option<Price>,
    #[serde(deserialize_with = "usd")]
    reasoning: Option<Price>,
    #[serde(deserialize_with = "usd")]
    search: Option<Price>,
}

impl WrittenPrices {
    fn any(&self) -> bool {
        self.input.or(self.output).or(self.audio_input).or(self.audio_output).is_some()
    }

    fn over(&self, base: &Prices) -> Prices {
        Prices {
            input: self.input.unwrap_or(base.input),
            output: self.output.unwrap_or(base.output),
            cache_read: self.cache_read.or(base.cache_read),
            cache_write: self.cache_write.or(base.cache_write),
            cache_write_hour: self.cache_write_hour.or(base.cache_write_hour),
            audio_input: self.audio_input.or(base.audio_input),
            audio_output: self.audio_output.or(base.audio_output),
            audio_cache_read: self.audio_cache_read.or(base.audio_cache_read),
            reasoning: self.reasoning.or(base.reasoning),
            search: self.search.or(base.search),
        }
    }
}

/// A number of dollars.
fn usd<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Price>, D::Error> {
    let usd = f64::deserialize(from)?;
    let price = Price::from_usd(usd);
    price.map(Some).ok_or_else(|| serde::de::Error::custom(format!("{usd} is no price; write US dollars, between 0 and 1000000")))
}
