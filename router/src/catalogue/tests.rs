//! The list in the program, and files over it.

use std::time::{Duration, Instant};

use models::{Service, Usage};

use super::*;
use crate::Cost;

fn tokens(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}

#[test]
fn every_line_can_be_read_and_found() {
    let catalogue = Catalogue::default();
    let ids: Vec<&str> = catalogue.ids().collect();
    assert!(ids.is_sorted() && ids.len() == LIST.lines().filter(|line| line.starts_with('"')).count());
    assert!(ids.len() < usize::from(NO_LINE) && LIST.len() < u32::MAX as usize);
    let mut chat = 0;
    for id in &ids {
        let card = catalogue.card(id).unwrap_or_else(|| panic!("{id} is not found"));
        assert_eq!(&*card.id, *id);
        assert!(card.prices.is_some() || card.characters.is_some() || card.hour.is_some(), "{id} has no price");
        assert!(card.tiers.is_sorted_by_key(|tier| tier.above));
        assert!(matches!(catalogue.find(model_of(id)), Found::One(_) | Found::Several(_)), "{id} is not found by its name");
        chat += usize::from(card.kind == Kind::Chat);
    }
    assert!(chat >= 400, "{chat} chat models");
    let whole: Table = toml::from_str(LIST).expect("the list is TOML");
    assert_eq!(whole.len(), ids.len());
}

#[test]
fn listed_models_cost_what_their_providers_say() {
    let catalogue = Catalogue::default();
    for (id, usage, nano) in [
        // $2.50 and $10; 400 of 1,000 at $1.25.
        ("openai/gpt-4o", Usage { cached_tokens: 400, ..tokens(1_000, 100) }, 600 * 2_500 + 400 * 1_250 + 100 * 10_000),
        // $3 and $15; $0.30 and $3.75 for the cache.
        (
            "anthropic/claude-sonnet-4-5",
            Usage { cached_tokens: 500, cache_write_tokens: 200, ..tokens(1_000, 10) },
            300 * 3_000 + 500 * 300 + 200 * 3_750 + 10 * 15_000,
        ),
        // $6 for what is kept for an hour.
        (
            "anthropic/claude-sonnet-4-5",
            Usage { cache_write_tokens: 200, cache_write_hour_tokens: 50, ..tokens(200, 0) },
            150 * 3_750 + 50 * 6_000,
        ),
        // $0.625 and $5 at leisure; $2.50 and $20 before others; in a long prompt $2.50 and $11.25 at leisure.
        ("openai/gpt-5", Usage { service: Service::Flex, ..tokens(1_000, 100) }, 1_000 * 625 + 100 * 5_000),
        ("openai/gpt-5", Usage { service: Service::Priority, ..tokens(1_000, 100) }, 1_000 * 2_500 + 100 * 20_000),
        ("openai/gpt-5.4", Usage { service: Service::Flex, ..tokens(300_000, 100) }, 300_000 * 2_500 + 100 * 11_250),
        // $1.25 and $10 up to 200,000 tokens; $2.50 and $15 for the whole of a longer prompt.
        ("gemini/gemini-2.5-pro", tokens(200_000, 100), 200_000 * 1_250 + 100 * 10_000),
        ("gemini/gemini-2.5-pro", tokens(200_001, 100), 200_001 * 2_500 + 100 * 15_000),
        ("google/gemini-2.5-pro", Usage { cached_tokens: 1, ..tokens(200_001, 0) }, 200_000 * 2_500 + 250),
        // Three tiers.
        ("dashscope/qwen3-max", tokens(100_000, 1), 100_000 * 2_400 + 12_000),
        ("qwen/qwen3-max", tokens(200_000, 1), 200_000 * 3_000 + 15_000),
        ("ollama/llama3", tokens(1_000, 1_000), 0),
    ] {
        let priced = catalogue.card(id).unwrap_or_else(|| panic!("{id} is not listed")).tokens(&usage);
        assert_eq!((priced.cost.nano_usd(), priced.estimated), (nano, false), "{id}");
    }
    let flex = catalogue.cost("anthropic/claude-sonnet-4-5", &Usage { service: Service::Flex, ..tokens(1_000, 0) });
    assert_eq!(flex.map(|priced| (priced.cost.nano_usd(), priced.estimated)), Some((3_000_000, true)), "no such service is listed");
    let card = |id: &str| catalogue.card(id).unwrap_or_else(|| panic!("{id} is not listed"));
    assert_eq!(card("openai/whisper-1").sound(Duration::from_secs(60)), Some(Cost::from_nano_usd(6_000_000)));
    assert_eq!(card("openai/tts-1").characters(2_000), Some(Cost::from_nano_usd(30_000_000)));
    assert!(card("openai/tts-1").tokens(&tokens(1, 1)).estimated);
    assert_eq!(catalogue.cost("openai/gpt-4o", &tokens(1, 0)).map(|priced| priced.cost), Some(Cost::from_nano_usd(2_500)));
    assert_eq!(catalogue.cost("nobody/knows", &tokens(1, 0)), None);
}

#[test]
fn abilities_and_sizes_are_known() {
    let catalogue = Catalogue::default();
    let card = catalogue.card("openai/gpt-4o").expect("it is listed");
    assert_eq!((card.context, card.max_output, card.kind), (Some(128_000), Some(16_384), Kind::Chat));
    let wanted: Abilities = [Ability::Tools, Ability::Schema, Ability::ImageInput].into_iter().collect();
    assert!(card.abilities.include(wanted) && !card.abilities.has(Ability::AudioOutput));
    assert_eq!(card.abilities.can().collect::<Vec<_>>(), ["tools", "parallel_tools", "schema", "cache"]);
    let realtime = catalogue.card("openai/gpt-realtime").expect("it is listed").abilities;
    assert_eq!((realtime.takes().collect::<Vec<_>>(), realtime.gives().collect::<Vec<_>>()), (vec!["image", "audio"], vec!["audio"]));
}

#[test]
fn a_raw_name_is_one_model_or_several() {
    let catalogue = Catalogue::default();
    let one = |name: &str| match catalogue.find(name) {
        Found::One(card) => card.id.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(one("grok-4.20-experimental-beta-0304"), "xai/grok-4.20-experimental-beta-0304");
    assert_eq!(one("google/gemini-2.5-pro"), "gemini/gemini-2.5-pro");
    assert_eq!(one("Together_AI/meta-llama/Llama-3.3-70B-Instruct-Turbo"), "together/meta-llama/Llama-3.3-70B-Instruct-Turbo");
    let Found::Several(ids) = catalogue.find("gpt-4o") else { panic!("several sell gpt-4o") };
    assert!(ids.is_sorted() && ids.contains(&"openai/gpt-4o".to_owned()) && ids.contains(&"azure/gpt-4o".to_owned()), "{ids:?}");
    for nothing in ["", "/", "gpt", "openai/", "nobody/gpt-4o", "openai/gpt-4o/", "\"", "openai/gpt-4o\" = {"] {
        assert_eq!(catalogue.find(nothing), Found::Nothing, "{nothing}");
    }
}

#[test]
fn a_file_goes_over_the_list() {
    let file = r#"
        "openai/gpt-4o" = { input = 2 }
        "corp/finest" = { like = "google/gemini-2.5-pro", output = 9.5, can = ["tools"] }
        ["here/llama"]
        input = 0.000000001
        context = 4096
    "#;
    let catalogue = Catalogue::with(file).expect("a file that can be used");
    let card = |id: &str| catalogue.card(id).unwrap_or_else(|| panic!("{id} is there"));
    assert_eq!(card("openai/gpt-4o").tokens(&tokens(1_000, 100)).cost, Cost::from_nano_usd(1_000 * 2_000 + 100 * 10_000));
    assert_eq!(card("openai/gpt-4o").context, Some(128_000));
    assert_eq!(card("corp/finest").tokens(&tokens(10, 10)).cost, Cost::from_nano_usd(10 * 1_250 + 10 * 9_500));
    assert_eq!(card("corp/finest").abilities.can().collect::<Vec<_>>(), ["tools"]);
    assert_eq!(card("here/llama").tokens(&tokens(2_000_000, 0)).cost, Cost::from_nano_usd(2));
    assert!(matches!(catalogue.find("finest"), Found::One(card) if &*card.id == "corp/finest"));
    let fact = |id: &str| catalogue.fact(id).unwrap_or_else(|| panic!("{id} is there"));
    assert_eq!((fact("openai/gpt-4o").price_input, fact("openai/gpt-4o").price_output), (Some(2.0), Some(10.0)));
    assert!(fact("openai/gpt-4o").abilities.is_some_and(|can| can.has(Ability::ImageInput)));
    assert_eq!((fact("here/llama").abilities, fact("here/llama").dialogue), (None, Some(true)));
    assert_eq!(fact("openai/text-embedding-3-small").dialogue, Some(false));
    assert!(catalogue.fact("nobody/nothing").is_none());
    let listed = Catalogue::default().ids().count();
    assert_eq!(catalogue.ids().count(), listed + 2);
}

#[test]
fn a_file_that_is_wrong_says_where_and_what_is_allowed() {
    for (file, message) in [
        ("x", "expected"),
        ("\"gpt-4o\" = { input = 2 }", "provider's name, a slash"),
        ("\"a/b\" = 2", "in braces"),
        ("\"a/b\" = { inputs = 2 }", "inputs"),
        ("\"a/b\" = { input = -1 }", "between 0 and 1000000"),
        ("\"a/b\" = { input = \"2\" }", "invalid type"),
        ("\"a/b\" = { like = \"c/d\" }", "no listed model"),
        ("\"a/b\" = { can = [\"fly\"] }", "allowed are tools, parallel_tools"),
        ("\"a/b\" = { above = [{ token = 3 }] }", "tokens"),
        ("\"a/b\" = { kind = \"poem\" }", "chat"),
    ] {
        let error = Catalogue::with(file).expect_err(file).to_string();
        assert!(error.contains(message), "{file}: {error}");
    }
}

/// Printed, not judged: run with `--nocapture`.
#[test]
fn the_time_of_a_lookup_is_printed() {
    const ROUNDS: u32 = 100_000;
    let took = |work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    let catalogue = Catalogue::default();
    let first = took(&mut || assert!(catalogue.card("openai/gpt-4o").is_some()));
    let index = &catalogue.0.lines.index();
    let bytes =
        index.starts.len() * 4 + (index.by_hash.len() + index.by_name.len()) * 2 + index.cards.len() * size_of::<OnceLock<Arc<Card>>>();
    let again = took(&mut || (0..ROUNDS).for_each(|_| assert!(catalogue.card("openai/gpt-4o").is_some())));
    let alias = took(&mut || (0..ROUNDS).for_each(|_| assert!(catalogue.card("google/gemini-2.5-pro").is_some())));
    let ids: Vec<String> = catalogue.ids().map(str::to_owned).collect();
    let all = took(&mut || ids.iter().for_each(|id| assert!(catalogue.card(id).is_some())));
    let card = catalogue.card("openai/gpt-4o").expect("it is listed");
    let usage = Usage { cached_tokens: 400, ..tokens(1_000, 100) };
    let priced =
        took(&mut || (0..ROUNDS).for_each(|_| assert!(std::hint::black_box(&card).tokens(std::hint::black_box(&usage)).cost > Cost::ZERO)));
    eprintln!(
        "catalogue: {} models, {} KB of text, index {} KB; first lookup {first:?}, later {:?}, by another name {:?}; every line read {all:?}, {} KB of cards; one bill {:?}",
        ids.len(),
        LIST.len() / 1024,
        bytes / 1024,
        again / ROUNDS,
        alias / ROUNDS,
        ids.len() * size_of::<Card>() / 1024,
        priced / ROUNDS,
    );
}
