//! What a Claude model can do, by the version in its name.

use crate::Continuation;

/// Major and minor version of a Claude model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// Reads `claude-opus-4-20250514`, `claude-3-5-haiku-latest`, `anthropic.claude-sonnet-4-6`, ...; `None` for anything else that speaks
    /// the dialect.
    pub(super) fn of(model: &str) -> Option<Version> {
        let (_, rest) = model.split_once("claude")?;
        // A number of more than two digits is a date.
        let number = |word: &str| if word.len() <= 2 { word.parse::<u32>().ok() } else { None };
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric()).skip_while(|word| number(word).is_none());
        let major = number(words.next()?)?;
        Some(Version(major, words.next().and_then(number).unwrap_or(0)))
    }
}

/// The most tokens that a model may write where the caller does not say (Anthropic's table of models, November 2026).
pub(super) fn most_tokens(model: &str) -> u32 {
    match Version::of(model) {
        Some(Version(..=2, _) | Version(3, 0..=4)) => 4_096,
        Some(Version(3, 5..=6)) => 8_192,
        Some(Version(4, 0..=1)) if model.contains("opus") => 32_000,
        Some(_) => 64_000,
        None => 8_192,
    }
}

/// How a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinks {
    /// It does not.
    Never,
    /// Within a budget of tokens.
    Budget,
    /// As it sees fit, by effort.
    Adaptive,
}

/// How a model thinks.
pub(super) fn thinks(model: &str) -> Thinks {
    match Version::of(model) {
        Some(version) if version >= Version(4, 6) => Thinks::Adaptive,
        Some(version) if version < Version(3, 7) => Thinks::Never,
        _ => Thinks::Budget,
    }
}

/// Whether a model holds its answer to a JSON schema by itself (structured outputs: from 4.5, and Opus 4.1).
pub(super) fn holds_to_schema(model: &str) -> bool {
    let from = if model.contains("opus") { Version(4, 1) } else { Version(4, 5) };
    Version::of(model).is_some_and(|version| version >= from)
}

/// Whether a model can search the web by itself (from Claude 3.5).
pub(super) fn searches(model: &str) -> bool {
    Version::of(model).is_some_and(|version| version >= Version(3, 5))
}

/// How a model goes on with an answer that was begun elsewhere: from 4.6 on a trailing assistant message is an error, and of other models
/// that are served in this dialect nothing is known.
pub(super) fn continuation(model: &str) -> Continuation {
    match Version::of(model) {
        Some(version) if version <= Version(4, 5) => Continuation::Trailing,
        _ => Continuation::Asked,
    }
}

/// Which of the knobs of chance a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// Any together.
    All,
    /// `temperature` or `top_p`, not both.
    One,
    /// None: from Opus 4.7 a value other than the default is an error.
    None,
}

/// Which of the knobs of chance a model takes.
pub(super) fn chance(model: &str) -> Chance {
    match Version::of(model) {
        Some(version) if version >= Version(4, 7) => Chance::None,
        Some(version) if version >= Version(4, 1) => Chance::One,
        _ => Chance::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_way_of_naming() {
        for (model, version) in [
            ("claude-3-5-sonnet-20241022", Some(Version(3, 5))),
            ("claude-3-opus-latest", Some(Version(3, 0))),
            ("claude-opus-4-20250514", Some(Version(4, 0))),
            ("claude-sonnet-4.5", Some(Version(4, 5))),
            ("eu.anthropic.claude-opus-4-6-v1", Some(Version(4, 6))),
            ("claude-haiku-4-5@20251001", Some(Version(4, 5))),
            ("claude-fable-5", Some(Version(5, 0))),
            ("claude-next", None),
            ("kimi-k2", None),
        ] {
            assert_eq!(Version::of(model), version, "{model}");
        }
        assert_eq!((most_tokens("claude-3-haiku-20240307"), most_tokens("claude-opus-4-0"), most_tokens("glm")), (4_096, 32_000, 8_192));
    }
}
