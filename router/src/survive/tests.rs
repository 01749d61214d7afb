//! Joining texts, and the prompts that ask for the rest.

use proptest::prelude::*;

use super::*;

fn prompt() -> Prompt {
    Prompt { messages: vec![Message::text(Role::User, "Tell me.")], ..Prompt::default() }
}

/// The whole text, where `new` comes after `sent` in pieces of `size` characters; or why it does not join.
fn joined(sent: &str, how: Continuation, new: &str, size: usize) -> Result<String, Unjoined> {
    let (_, stitch) = go_on(&prompt(), sent, how);
    play(stitch, sent, new, size)
}

fn play(mut stitch: Stitch, sent: &str, new: &str, size: usize) -> Result<String, Unjoined> {
    let characters: Vec<char> = new.chars().collect();
    let mut pieces = characters.chunks(size.max(1)).map(String::from_iter);
    let mut whole = sent.to_owned();
    let mut is_joined = false;
    for piece in pieces.by_ref() {
        if let Some(text) = stitch.push(&piece)? {
            whole.push_str(&text);
            is_joined = true;
            break;
        }
    }
    if !is_joined {
        whole.push_str(&stitch.end()?);
    }
    whole.extend(pieces);
    Ok(whole)
}

#[test]
fn new_words_are_joined_without_loss_or_repetition() {
    use Continuation::{Asked, Trailing};
    let story = "Once upon a time there was a fox. It lived under the old oak by the river";
    let told = |rest: &str| format!("{story}{rest}");
    for (sent, how, new, expected) in [
        // The very next characters.
        (story, Trailing, " and slept.", told(" and slept.")),
        ("Hel", Trailing, "lo world", "Hello world".to_owned()),
        ("It is very", Trailing, " very good", "It is very very good".to_owned()),
        ("again and again", Trailing, " and again!", "again and again and again!".to_owned()),
        // White space at the joint is neither lost nor doubled.
        ("One ", Trailing, "two", "One two".to_owned()),
        ("One ", Trailing, " two", "One two".to_owned()),
        ("One\n", Trailing, "\n\ntwo", "One\n\ntwo".to_owned()),
        ("One\n\n", Trailing, " two", "One\n\ntwo".to_owned()),
        ("if x:\n", Trailing, "\n    y", "if x:\n    y".to_owned()),
        ("One ", Trailing, "\n", "One \n".to_owned()),
        // The words asked for are repeated, or fewer, or more, with other white space.
        (story, Asked, "the old oak by the river and slept.", told(" and slept.")),
        (story, Asked, "\nby the river and slept.", told("\nby the river and slept.")),
        (story, Asked, "by the river and slept.", told(" and slept.")),
        (story, Asked, "It lived  under the\nold oak by the river and slept.", told(" and slept.")),
        (story, Asked, "Sure, here is the rest:\n\nunder the old oak by the river and slept.", told(" and slept.")),
        (story, Asked, "\"under the old oak by the river\" and slept.", told(" and slept.")),
        (story, Asked, "<<<the old oak by the river>>> and slept.", told(" and slept.")),
        (story, Asked, "Here: `the old oak by the river and slept.", told(" and slept.")),
        (story, Asked, "Here:\nthe old oak by the river", told("")),
        // The word that was cut is written again.
        ("Good morning, my fri", Asked, "friend", "Good morning, my friend".to_owned()),
        // Begun anew.
        (story, Asked, &told(" and slept."), told(" and slept.")),
        (story, Trailing, &told(" and slept."), told(" and slept.")),
        ("I", Asked, "I think so", "I think so".to_owned()),
        ("Hello ", Asked, "\n\nHello world", "Hello world".to_owned()),
        // It was whole already.
        (story, Asked, "", told("")),
        (story, Asked, "under the old oak by the river", told("")),
        // Nothing but white space was released.
        ("\n", Asked, "Hello", "\nHello".to_owned()),
        ("\n", Asked, "\nHello", "\nHello".to_owned()),
    ] {
        for size in [1, 3, 7, 1_000] {
            assert_eq!(joined(sent, how, new, size).as_deref(), Ok(expected.as_str()), "{sent:?} {new:?} by {size}");
        }
    }
}

#[test]
fn what_does_not_join_is_refused() {
    let story = "Once upon a time there was a fox. It lived under the old oak by the river";
    for (new, expected) in [
        ("Once upon a time there was a fox. Its home was an oak.", Unjoined::OtherWords),
        ("Once upon a time there was a fox.", Unjoined::Shorter),
    ] {
        for size in [1, 4, 1_000] {
            assert_eq!(joined(story, Continuation::Asked, new, size), Err(expected), "{new}");
        }
    }
    let json = Prompt { extra: [("response_format".to_owned(), json!({"type": "json_schema"}))].into_iter().collect(), ..prompt() };
    for (new, expected) in [
        (r#"{"name": "Ada", "born": 1815}"#, Ok(r#"{"name":"Ada", "born": 1815}"#)),
        (r#"{"name":"Ada", "born": 1815}"#, Ok(r#"{"name":"Ada", "born": 1815}"#)),
        (r#"{"name":"Bob"}"#, Err(Unjoined::OtherWords)),
        (r#"{"name":"#, Err(Unjoined::Shorter)),
        ("", Err(Unjoined::Shorter)),
    ] {
        let sent = r#"{"name":"Ada", "#;
        let (_, stitch) = go_on(&json, sent, Continuation::Trailing);
        let expected = if new.contains(": \"A") { Err(Unjoined::OtherWords) } else { expected };
        assert_eq!(play(stitch, sent, new, 2), expected.map(str::to_owned), "{new}");
    }
}

#[test]
fn each_provider_is_asked_in_its_own_way() {
    let mut before = prompt();
    before.sampling.max_tokens = Some(100);
    let sent = "This is an answer that was cut after a good many words, here: ";
    for (how, messages, most) in [
        (Continuation::Trailing, 2, 84),
        (Continuation::Prefix, 2, 84),
        (Continuation::Final, 2, 84),
        // The words that are to be repeated come on top.
        (Continuation::Asked, 3, 90),
    ] {
        let (after, _) = go_on(&before, sent, how);
        assert_eq!(after.messages.len(), messages, "{how:?}");
        assert_eq!(after.messages[1].words(), sent.trim_end(), "a trailing message must not end with white space");
        assert_eq!(after.messages[1].extra.contains_key("prefix"), how == Continuation::Prefix);
        assert_eq!(after.extra.get("continue_final_message").is_some(), how == Continuation::Final);
        assert_eq!(after.sampling.max_tokens, Some(most), "{how:?}");
        assert_eq!(after.messages.last().map(|message| message.words().contains("<<<a good many words, here:>>>")), Some(messages == 3));
    }
    // A thinking model does not take a trailing message.
    before.extra.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": 1024}));
    assert_eq!(go_on(&before, sent, Continuation::Trailing).0.messages.len(), 3);
    before.extra.insert("thinking".to_owned(), json!({"type": "disabled"}));
    assert_eq!(go_on(&before, sent, Continuation::Trailing).0.messages.len(), 2);
    // The caller began the answer: one message, not two.
    before.messages.push(Message::text(Role::Assistant, "So: "));
    let (after, _) = go_on(&before, "yes", Continuation::Trailing);
    assert_eq!((after.messages.len(), after.messages[1].words()), (2, "So: yes".to_owned()));
}

#[test]
fn words_to_repeat_occur_once_where_they_can() {
    for (text, expected) in [
        ("Short.", "Short."),
        ("A cat sat on the mat and then it slept", "mat and then it slept"),
        ("one two three four five six seven, one two three four five six seven", "one two three four five six seven"),
    ] {
        let anchor = anchor(text);
        assert!(text.ends_with(anchor) && anchor.chars().count() <= LONGEST_ANCHOR.max(text.len().min(ANCHOR)), "{anchor}");
        assert!(anchor.contains(expected) || expected.contains(anchor), "{anchor}");
    }
    let word = "x".repeat(1_000);
    assert_eq!(anchor(&word).len(), LONGEST_ANCHOR);
    assert_eq!(anchor(&"ha ".repeat(500)).trim_end().len() % 3, 2);
}

/// What the second model does.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// It goes on at once.
    Next,
    /// It repeats so many characters, from wherever that is.
    Characters(usize),
    /// It repeats so many words.
    Words(usize),
    /// It repeats the words it was asked for, after a remark.
    Remark,
    /// It begins anew.
    Anew,
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        Just(Habit::Next),
        (REPEATED..200_usize).prop_map(Habit::Characters),
        (2_usize..20).prop_map(Habit::Words),
        Just(Habit::Remark),
        Just(Habit::Anew),
    ]
}

/// Texts of words that differ, parted by all kinds of white space.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof!["[a-zäöü]{1,9}", "[A-Z][a-z]{2,8}[.,!?]", "[一-十]{2,6}", "[0-9]{1,4}"];
    let gap = prop_oneof![6 => Just(" "), 1 => Just("\n"), 1 => Just("\n\n"), 1 => Just("  "), 1 => Just("\n    ")];
    proptest::collection::vec((word, gap), 8..80).prop_map(|words| {
        let words = words.into_iter().enumerate().map(|(n, (word, gap))| format!("{word}{}{gap}", n * 7 % 97));
        words.collect::<String>().trim_end().to_owned()
    })
}

proptest! {
    #[test]
    fn the_joined_text_is_the_intended_one(
        text in text(),
        cut in 0.02_f64..1.0,
        habit in habit(),
        how in prop_oneof![Just(Continuation::Trailing), Just(Continuation::Asked)],
        size in 1_usize..12,
        lines in any::<bool>(),
    ) {
        let characters: Vec<char> = text.chars().collect();
        let cut = ((characters.len() as f64 * cut) as usize).max(1);
        let sent: String = characters[..cut].iter().collect();
        let said = sent.trim_end();
        let (asked, stitch) = go_on(&prompt(), &sent, how);
        let rest = &text[said.len()..];
        // "ha" and then "ha": nobody can tell whether the half of a word came again or the other half is like it.
        let half = said.rsplit(char::is_whitespace).next().unwrap_or_default();
        prop_assume!(!rest.starts_with(half));
        let new = match habit {
            Habit::Next => rest.to_owned(),
            Habit::Anew => text.clone(),
            Habit::Remark if how == Continuation::Asked && squeeze(said).len() >= REPEATED => {
                let order = asked.messages.last().map(Message::words).unwrap_or_default();
                let anchor = order.split("<<<").nth(1).and_then(|rest| rest.split(">>>").next()).unwrap_or_default();
                format!("Of course. Here it goes on:\n{anchor}{rest}")
            }
            Habit::Characters(n) => {
                let mut starts = said.char_indices().rev().map(|(at, _)| at);
                let from = starts.find(|at| squeeze(&said[*at..]).len() >= n).unwrap_or(0);
                text[from..].trim_start().to_owned()
            }
            Habit::Words(n) => {
                let words: Vec<&str> = said.split_whitespace().collect();
                let again = words[words.len().saturating_sub(n)..].join(if lines { "\n" } else { " " });
                format!("{again}{rest}")
            }
            Habit::Remark => rest.to_owned(),
        };
        prop_assert_eq!(play(stitch, &sent, &new, size), Ok(text));
    }

    #[test]
    fn any_texts_are_joined_without_a_panic_and_nothing_released_is_taken_back(
        sent in "[ab \n]{0,40}", new in "[ab \n]{0,60}", size in 1_usize..9, asked in any::<bool>(),
    ) {
        let how = if asked { Continuation::Asked } else { Continuation::Trailing };
        if let Ok(whole) = joined(&sent, how, &new, size) {
            prop_assert!(whole.starts_with(&sent));
            prop_assert!(whole.len() <= sent.len() + new.len());
        }
    }
}
