//! What answers cost: money as whole numbers, prices, and the rules by which tokens, characters and sound are billed.
//!
//! All arithmetic is on integers. A price is thousand-millionths of a dollar for a million units, a bill is summed in 128 bits and
//! rounded once, to the nearest thousand-millionth of a dollar. The module knows no model: which prices hold is the catalogue's matter.

mod estimate;

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

use models::Usage;

pub(crate) use estimate::Tally;
pub use estimate::{prompt_tokens, text_tokens};

/// Thousand-millionths in one dollar.
const NANO: u64 = 1_000_000_000;
/// What a price is for.
const MILLION: u128 = 1_000_000;
/// No price or amount is written in dollars above this; below it a binary fraction still tells every thousand-millionth.
const LARGEST_USD: f64 = 1_000_000.0;

/// Money: nano-USD, thousand-millionths of a US dollar. Sums stop at the largest number (18 thousand million dollars).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

impl Cost {
    /// Nothing.
    pub const ZERO: Cost = Cost(0);
    /// More than anybody owes.
    pub const MAX: Cost = Cost(u64::MAX);

    /// So many nano-USD.
    pub const fn from_nano_usd(nano: u64) -> Cost {
        Cost(nano)
    }

    /// In nano-USD.
    pub const fn nano_usd(self) -> u64 {
        self.0
    }

    /// An amount as people write it, in US dollars; `None` where it is negative, no number, or above a million.
    pub fn from_usd(usd: f64) -> Option<Cost> {
        nano(usd).map(Cost)
    }

    /// In US dollars, for people and for JSON: a binary fraction, not to be added up.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// What is left of it.
    pub const fn saturating_sub(self, other: Cost) -> Cost {
        Cost(self.0.saturating_sub(other.0))
    }
}

impl Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::ZERO, Add::add)
    }
}

impl fmt::Display for Cost {
    /// `$0.00123`: every digit that is not a trailing zero, at least two of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:09}", self.0 % NANO);
        let shown = digits.trim_end_matches('0').len().max(2);
        write!(f, "${}.{}", self.0 / NANO, &digits[..shown])
    }
}

/// The price of a million units (tokens or characters), in nano-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

impl Price {
    /// So many nano-USD for a million units.
    pub const fn from_nano_usd(nano: u64) -> Price {
        Price(nano)
    }

    /// In nano-USD for a million units.
    pub const fn nano_usd(self) -> u64 {
        self.0
    }

    /// A price as lists write it, in US dollars for a million units; `None` where it is negative, no number, or above a million.
    pub fn from_usd(usd: f64) -> Option<Price> {
        nano(usd).map(Price)
    }

    /// In US dollars for a million units, for people and for comparisons.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// What so many units cost.
    pub fn of(self, units: u64) -> Cost {
        let mut bill = Bill::default();
        bill.add(units, self);
        bill.total()
    }
}

/// The whole number of nano-USD in a decimal number of dollars. A decimal of up to 15 digits survives the way through `f64`.
fn nano(usd: f64) -> Option<u64> {
    (0.0..=LARGEST_USD).contains(&usd).then(|| (usd * NANO as f64).round() as u64)
}

/// A sum of units times prices, not rounded yet: nano-USD for a million.
#[derive(Clone, Copy, Default)]
struct Bill(u128);

impl Bill {
    fn add(&mut self, units: u64, price: Price) {
        // 64 bits times 64 bits cannot overflow, and the sum of a few of them is stopped at the end.
        self.0 = self.0.saturating_add(u128::from(units) * u128::from(price.0));
    }

    fn total(self) -> Cost {
        let rounded = (self.0.saturating_add(MILLION / 2)) / MILLION;
        Cost(u64::try_from(rounded).unwrap_or(u64::MAX))
    }
}

/// A cost, and whether it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priced {
    /// How much.
    pub cost: Cost,
    /// Whether a part of it is a guess: tokens that nobody counted, or a kind of token that the catalogue has no price for.
    pub estimated: bool,
}

impl Priced {
    /// The same, known to be a guess.
    #[must_use]
    pub fn guessed(self) -> Priced {
        Priced { estimated: true, ..self }
    }
}

impl Add for Priced {
    type Output = Priced;

    fn add(self, other: Priced) -> Priced {
        Priced { cost: self.cost + other.cost, estimated: self.estimated || other.estimated }
    }
}

impl Sum for Priced {
    fn sum<I: Iterator<Item = Priced>>(costs: I) -> Priced {
        costs.fold(Priced::default(), Add::add)
    }
}

/// The prices of tokens. A kind without one of its own costs what the wider kind costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Tokens read.
    pub input: Price,
    /// Tokens written.
    pub output: Price,
    /// Tokens read from the provider's cache; else as `input`.
    pub cache_read: Option<Price>,
    /// Tokens read and written to the provider's cache; else as `input`.
    pub cache_write: Option<Price>,
    /// The same to be kept for an hour; else as `cache_write`, which is a guess.
    pub cache_write_hour: Option<Price>,
    /// Sound read; else as `input`, which is a guess.
    pub audio_input: Option<Price>,
    /// Sound written; else as `output`, which is a guess.
    pub audio_output: Option<Price>,
    /// Sound read from the provider's cache; else as `cache_read`, which is a guess.
    pub audio_cache_read: Option<Price>,
    /// Tokens of reasoning; else as `output`.
    pub reasoning: Option<Price>,
    /// Web searches of the provider's own, for a million thousandths of one: lists write it for a thousand searches. Else nothing, which is
    /// a guess.
    pub search: Option<Price>,
}

impl Prices {
    /// What an answer costs. Tokens that are a part of others (cached, sound, reasoning) are billed once, at their own price; where the
    /// parts exceed the whole, the whole counts. Which cached tokens are sound no provider's usage here tells: words are taken to be
    /// cached first, since what prompts begin with are instructions.
    pub fn of(&self, usage: &Usage) -> Priced {
        let sound = usage.audio_input_tokens.min(usage.input_tokens);
        let words = usage.input_tokens - sound;
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let cached_words = cached.min(words);
        let cached_sound = cached - cached_words;
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached).min(words - cached_words);
        let hour = usage.cache_write_hour_tokens.min(written);
        let spoken = usage.audio_output_tokens.min(usage.output_tokens);
        let reasoned = usage.reasoning_tokens.min(usage.output_tokens - spoken);
        let cache_read = self.cache_read.unwrap_or(self.input);
        let mut bill = Bill::default();
        bill.add(words - cached_words - written, self.input);
        bill.add(cached_words, cache_read);
        let cache_write = self.cache_write.unwrap_or(self.input);
        bill.add(written - hour, cache_write);
        bill.add(hour, self.cache_write_hour.unwrap_or(cache_write));
        bill.add(sound - cached_sound, self.audio_input.unwrap_or(self.input));
        bill.add(cached_sound, self.audio_cache_read.unwrap_or(cache_read));
        bill.add(usage.output_tokens - spoken - reasoned, self.output);
        bill.add(reasoned, self.reasoning.unwrap_or(self.output));
        bill.add(spoken, self.audio_output.unwrap_or(self.output));
        bill.add(usage.searches.saturating_mul(1_000), self.search.unwrap_or_default());
        let guessed = (sound > cached_sound && self.audio_input.is_none())
            || (cached_sound > 0 && self.audio_cache_read.is_none())
            || (spoken > 0 && self.audio_output.is_none())
            || (hour > 0 && self.cache_write_hour.is_none())
            || (usage.searches > 0 && self.search.is_none());
        Priced { cost: bill.total(), estimated: guessed }
    }
}

/// What sound of this length costs, where an hour costs `hour`.
pub fn sound(hour: Cost, length: Duration) -> Cost {
    let hour_ns = Duration::from_secs(3_600).as_nanos();
    let bill = u128::from(hour.0).checked_mul(length.as_nanos());
    Cost(bill.map_or(u64::MAX, |bill| u64::try_from((bill + hour_ns / 2) / hour_ns).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
