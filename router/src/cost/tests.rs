//! Invoices worked out by hand, and what must hold for every one.

use proptest::prelude::*;

use super::*;

fn usd(usd: f64) -> Price {
    Price::from_usd(usd).expect("a price")
}

/// $3 read, $15 written, $0.30 and $3.75 for the cache: the shape of Anthropic's lists.
fn cached() -> Prices {
    Prices { input: usd(3.0), output: usd(15.0), cache_read: Some(usd(0.3)), cache_write: Some(usd(3.75)), ..Prices::default() }
}

/// $4 and $16 for words, $32 and $64 for sound, $0.40 for anything cached: the shape of OpenAI's realtime lists.
fn spoken() -> Prices {
    Prices {
        input: usd(4.0),
        output: usd(16.0),
        cache_read: Some(usd(0.4)),
        audio_input: Some(usd(32.0)),
        audio_output: Some(usd(64.0)),
        audio_cache_read: Some(usd(0.4)),
        ..Prices::default()
    }
}

#[test]
fn invoices_come_out_as_by_hand() {
    let flat = Prices { input: usd(2.5), output: usd(10.0), ..Prices::default() };
    let thinking = Prices { reasoning: Some(usd(3.5)), ..flat };
    let none = Usage::default();
    let of = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..none };
    for (prices, usage, nano, estimated) in [
        (flat, none, 0, false),
        // 1,000 x $2.50/M + 500 x $10/M.
        (flat, of(1_000, 500), 2_500_000 + 5_000_000, false),
        // One token of $2.50/M is 2,500 nano-USD.
        (flat, of(1, 0), 2_500, false),
        // No price for the cache: as read.
        (flat, Usage { cached_tokens: 400, ..of(1_000, 0) }, 2_500_000, false),
        // 200 new x $3 + 700 read x $0.30 + 100 written x $3.75 + 50 x $15.
        (cached(), Usage { cached_tokens: 700, cache_write_tokens: 100, ..of(1_000, 50) }, 600_000 + 210_000 + 375_000 + 750_000, false),
        // Of the 100 written 60 for an hour, for which there is no price here.
        (cached(), Usage { cache_write_tokens: 100, cache_write_hour_tokens: 60, ..of(100, 0) }, 375_000, true),
        // All of it cached.
        (cached(), Usage { cached_tokens: 1_000, ..of(1_000, 0) }, 300_000, false),
        // More cached than read cannot be: the whole counts.
        (cached(), Usage { cached_tokens: 5_000, cache_write_tokens: 9_000, ..of(1_000, 0) }, 300_000, false),
        // Reasoning is a part of what is written: 300 x $10, or 100 x $10 + 200 x $3.50.
        (flat, Usage { reasoning_tokens: 200, ..of(0, 300) }, 3_000_000, false),
        (thinking, Usage { reasoning_tokens: 200, ..of(0, 300) }, 1_000_000 + 700_000, false),
        // 60 words x $4 + 40 of sound x $32, and 10 words x $16 + 90 of sound x $64.
        (
            spoken(),
            Usage { audio_input_tokens: 40, audio_output_tokens: 90, ..of(100, 100) },
            240_000 + 1_280_000 + 160_000 + 5_760_000,
            false,
        ),
        // 80 cached: the 60 words and 20 of the sound, at $0.40; 20 of sound x $32.
        (spoken(), Usage { cached_tokens: 80, audio_input_tokens: 40, ..of(100, 0) }, 32_000 + 640_000, false),
        // Three searches at $10 a thousand; without a price they are a guess.
        (Prices { search: Some(usd(10.0)), ..flat }, Usage { searches: 3, ..of(1, 0) }, 2_500 + 30_000_000, false),
        (flat, Usage { searches: 3, ..of(1, 0) }, 2_500, true),
        // Sound without a price of its own is a guess.
        (flat, Usage { audio_output_tokens: 10, ..of(0, 10) }, 100_000, true),
        (flat, Usage { audio_input_tokens: 10, ..of(10, 0) }, 25_000, true),
    ] {
        let priced = prices.of(&usage);
        assert_eq!((priced.cost.nano_usd(), priced.estimated), (nano, estimated), "{prices:?} {usage:?}");
    }
}

#[test]
fn a_bill_is_rounded_once_and_never_overflows() {
    // $0.0375/M is 37.5 nano-USD a token: one rounds up, two are exact.
    assert_eq!((usd(0.0375).of(1), usd(0.0375).of(2)), (Cost(38), Cost(75)));
    // A tenth and two tenths, a million times: no binary fraction in between.
    let prices = Prices { input: usd(0.1), output: usd(0.2), ..Prices::default() };
    assert_eq!(prices.of(&Usage { input_tokens: 3_000_001, output_tokens: 7, ..Usage::default() }).cost, Cost(300_000_100 + 1_400));
    let all = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
    assert_eq!(Prices { input: Price(u64::MAX), output: Price(u64::MAX), ..prices }.of(&all).cost, Cost::MAX);
    assert_eq!(Cost::MAX + Cost(1), Cost::MAX);
}

#[test]
fn sound_is_billed_by_its_length() {
    // $0.36 an hour is $0.006 a minute.
    let hour = Cost::from_usd(0.36).expect("a price");
    assert_eq!(sound(hour, Duration::from_secs(60)), Cost(6_000_000));
    assert_eq!(sound(hour, Duration::from_millis(1_500)), Cost(150_000));
    assert_eq!(sound(Cost::MAX, Duration::MAX), Cost::MAX);
    assert_eq!(usd(15.0).of(1_000), Cost(15_000_000));
}

#[test]
fn money_is_written_in_dollars() {
    for (nano, text) in [(0, "$0.00"), (1, "$0.000000001"), (2_500_000, "$0.0025"), (1_000_000_000, "$1.00"), (12_340_000_000, "$12.34")] {
        assert_eq!(Cost(nano).to_string(), text);
    }
    for (usd, nano) in [(0.000_000_001, Some(1)), (0.1, Some(100_000_000)), (999_999.999_999_999, Some(999_999_999_999_999))] {
        assert_eq!(Cost::from_usd(usd).map(Cost::nano_usd), nano);
    }
    for wrong in [-0.1, f64::NAN, f64::INFINITY, 1_000_000.1] {
        assert_eq!(Cost::from_usd(wrong), None);
    }
}

#[test]
fn one_guess_makes_the_sum_a_guess() {
    let sure = Priced { cost: Cost(1), estimated: false };
    assert_eq!([sure, sure.guessed()].into_iter().sum::<Priced>(), Priced { cost: Cost(2), estimated: true });
}

/// Prices where no discount is dearer than the full price.
fn prices() -> impl Strategy<Value = Prices> {
    let price = 0..100_000_000_000_u64;
    (price.clone(), price.clone(), price.clone(), price, 0..=100_u64, 0..=100_u64).prop_map(
        |(input, output, sound, spoken, read, heard)| Prices {
            input: Price(input),
            output: Price(output),
            cache_read: Some(Price(input / 100 * read)),
            cache_write: Some(Price(input + input / 4)),
            cache_write_hour: Some(Price(input * 2)),
            audio_input: Some(Price(input + sound)),
            audio_output: Some(Price(spoken)),
            audio_cache_read: Some(Price(input / 100 * read.max(heard))),
            reasoning: None,
            search: None,
        },
    )
}

/// Usage whose parts fit: words cached, words written to the cache, other words, sound; reasoning, sound, other words.
fn usage() -> impl Strategy<Value = Usage> {
    let tokens = 0..1_000_000_u64;
    (tokens.clone(), tokens.clone(), tokens.clone(), tokens.clone(), tokens.clone(), tokens.clone(), tokens).prop_map(
        |(cached, written, words, sound, reasoned, spoken, other)| Usage {
            input_tokens: cached + written + words + sound,
            cached_tokens: cached,
            cache_write_tokens: written,
            cache_write_hour_tokens: written / 3,
            audio_input_tokens: sound,
            output_tokens: reasoned + spoken + other,
            reasoning_tokens: reasoned,
            audio_output_tokens: spoken,
            ..Usage::default()
        },
    )
}

proptest! {
    #[test]
    fn two_bills_are_one_bill(prices in prices(), a in usage(), b in usage()) {
        let both = Usage {
            input_tokens: a.input_tokens + b.input_tokens,
            cached_tokens: a.cached_tokens + b.cached_tokens,
            cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
            cache_write_hour_tokens: a.cache_write_hour_tokens + b.cache_write_hour_tokens,
            audio_input_tokens: a.audio_input_tokens + b.audio_input_tokens,
            output_tokens: a.output_tokens + b.output_tokens,
            reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens,
            audio_output_tokens: a.audio_output_tokens + b.audio_output_tokens,
            ..Usage::default()
        };
        let apart = prices.of(&a).cost + prices.of(&b).cost;
        // Each of the three is rounded once.
        prop_assert!(apart.nano_usd().abs_diff(prices.of(&both).cost.nano_usd()) <= 1);
    }

    #[test]
    fn more_tokens_never_cost_less(prices in prices(), usage in usage(), more in 0..1_000_000_u64) {
        let cost = prices.of(&usage).cost;
        let costs = [
            Usage { input_tokens: usage.input_tokens + more, ..usage },
            Usage { output_tokens: usage.output_tokens + more, ..usage },
            Usage { input_tokens: usage.input_tokens + more, cached_tokens: usage.cached_tokens + more, ..usage },
            Usage { input_tokens: usage.input_tokens + more, cache_write_tokens: usage.cache_write_tokens + more, ..usage },
        ].map(|usage| prices.of(&usage).cost);
        prop_assert!(costs.iter().all(|dearer| *dearer >= cost), "{cost} {costs:?}");
        let none_written = Usage { cache_write_tokens: 0, ..usage };
        let cheaper = prices.of(&Usage { cached_tokens: usage.cached_tokens.saturating_add(more), ..none_written }).cost;
        let full = prices.of(&none_written).cost;
        prop_assert!(cheaper <= full, "{cheaper} {full}");
    }

    #[test]
    fn no_count_of_any_provider_breaks_a_bill(prices in prices(), tokens in prop::array::uniform8(any::<u64>())) {
        let [input_tokens, cached_tokens, cache_write_tokens, cache_write_hour_tokens, audio_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens] = tokens;
        let usage = Usage {
            input_tokens, cached_tokens, cache_write_tokens, cache_write_hour_tokens, audio_input_tokens, output_tokens, reasoning_tokens,
            audio_output_tokens, searches: input_tokens, service: models::Service::Standard,
        };
        let _ = prices.of(&usage);
    }

    #[test]
    fn a_decimal_price_is_exact(nano in 0..=1_000_000_000_000_000_u64) {
        let text = format!("{}.{:09}", nano / NANO, nano % NANO);
        prop_assert_eq!(Price::from_usd(text.parse().expect("a number")), Some(Price(nano)));
    }
}
