//! Calls as scripts: what happens, and what the conversation asks for.

use super::*;

/// Plays a script of `ms event` lines through a call with semantic turns and compares what it asks for, in ms. `judged 0.9/60 words`: the
/// sound stood out of the room for 60 ms of the pause.
fn check(rules: Rules, script: &str, expected: &str) {
    let ms = |samples: Samples| samples.ms(Rate::MODEL);
    let at = |ms: u64| Rate::MODEL.samples_in_ms(ms);
    let id = |n: u32| ReplyId(NonZeroU32::new(n).expect("replies count from 1"));
    let mut conversation = Conversation::new(rules);
    let mut said = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let now = at(words.next().and_then(|w| w.parse().ok()).expect("a time"));
        let (what, rest) = (words.next().expect("an event"), words.next().unwrap_or_default());
        let number = || rest.parse().expect("a number");
        let input = match what {
            "start" => Input::Voice(ActivityEvent::Started { at: now, from: now }),
            "pause" => Input::Voice(ActivityEvent::Paused { at: now }),
            "resume" => Input::Voice(ActivityEvent::Resumed { at: now }),
            "end" => Input::Voice(ActivityEvent::Ended { at: now }),
            "window" => Input::Window(Probability::new(rest.parse().unwrap_or(1.0))),
            "words" => Input::Words((rest != "?").then(|| rest.to_owned())),
            "judged" => {
                let (over, words) = rest.split_once(' ').unwrap_or((rest, ""));
                let words = (!words.is_empty()).then(|| words.to_owned());
                let (over, tail) = over.split_once('/').unwrap_or((over, "0"));
                let over = Probability::new(over.parse().expect("a probability"));
                Input::Judged { over, words, tail: at(tail.parse().expect("ms")) }
            }
            "commit" => Input::Commit,
            "clear" => Input::Cleared,
            "reply" => Input::ReplyBegan(id(number())),
            "speaks" => Input::ReplySpeaks(id(number())),
            "ended" => Input::ReplyEnded(id(number())),
            other => panic!("no such event: {other}"),
        };
        for output in conversation.handle(now, input) {
            said.push(match output {
                Output::Hear { from } => format!("{} hear", ms(from)),
                Output::Announce { at } => format!("{} announce {}", ms(now), ms(at)),
                Output::Listen => format!("{} listen", ms(now)),
                Output::Draft => format!("{} draft", ms(now)),
                Output::Ask => format!("{} ask", ms(now)),
                Output::GoOn => format!("{} go on", ms(now)),
                Output::Prepare { at } => format!("{} prepare {}", ms(now), ms(at)),
                Output::EndTurn { at, respond } => format!("{} end {} {}", ms(now), ms(at), if respond { "respond" } else { "wait" }),
                Output::Answer => format!("{} answer", ms(now)),
                Output::Forget => format!("{} forget", ms(now)),
                Output::Hold(id) => format!("{} hold {}", ms(now), id.0),
                Output::Release(id) => format!("{} release {}", ms(now), id.0),
                Output::Interrupt(id) => format!("{} interrupt {}", ms(now), id.0),
            });
        }
    }
    let expected: Vec<&str> = expected.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
    assert_eq!(said, expected, "{script}");
}

const fn rules(ends: Ends) -> Rules {
    Rules { ends, respond: true, interrupt: true }
}

const SEMANTIC: Rules = rules(Ends::Judged { sure: Rate::MODEL.samples_in_ms(322), unsure: Rate::MODEL.samples_in_ms(1_600) });
const SILENCE: Rules = rules(Ends::Silence(Rate::MODEL.samples_in_ms(500)));

#[test]
fn a_sure_end_takes_little_silence_and_an_unsure_one_much() {
    let pause = "0 start\n1000 pause\n1064 window\n1212 window\n";
    let begins = "0 hear, 0 announce 0, 1064 draft, 1212 ask";
    check(SEMANTIC, &format!("{pause}1250 judged 0.99\n1330 window"), &format!("{begins}, 1330 end 1000 respond"));
    check(
        SEMANTIC,
        &format!("{pause}1250 judged 0.1\n1340 window\n1500 window\n1660 window\n2000 window"),
        &format!("{begins}, 1340 ask, 1500 ask, 1660 ask"),
    );
    // Doubt once told is not taken back within the pause.
    check(
        SEMANTIC,
        &format!("{pause}1250 judged 0.1\n1340 window\n1400 judged 0.99\n1500 window"),
        &format!("{begins}, 1340 ask, 1500 ask"),
    );
    check(SEMANTIC, &format!("{pause}2600 window"), &format!("{begins}, 2600 end 1000 respond"));
}

#[test]
fn unfinished_words_hold_the_turn_open() {
    let pause = "0 start\n1000 pause\n1064 window\n1212 window\n";
    let begins = "0 hear, 0 announce 0, 1064 draft, 1212 ask";
    check(SEMANTIC, &format!("{pause}1250 judged 0.95 I would like to go to the\n1340 window"), &format!("{begins}, 1340 ask"));
    check(
        SEMANTIC,
        &format!("{pause}1250 judged 0.95 I would like to go home.\n1330 window"),
        &format!("{begins}, 1250 prepare 1000, 1330 end 1000 respond"),
    );
}

#[test]
fn silence_is_counted_from_where_the_sound_sinks() {
    let pause = "0 start\n1000 pause\n1064 window\n1212 window\n1230 judged 0.99/";
    let begins = "0 hear, 0 announce 0, 1064 draft, 1212 ask";
    for (tail, ends) in [(0, ", 1330 end 1000 respond"), (130, ", 1330 end 1000 respond"), (160, ", 1340 ask, 1360 end 1000 respond")] {
        check(SEMANTIC, &format!("{pause}{tail}\n1330 window\n1340 window\n1360 window"), &format!("{begins}{ends}"));
    }
}

#[test]
fn who_pauses_long_in_the_middle_of_turns_is_given_longer() {
    // Rather not over: of a caller nobody knows, that takes 687 ms of silence.
    let unsure = |at: u64| format!("{at} pause\n{} window\n{} window\n{} judged 0.4\n", at + 64, at + 212, at + 230);
    check(
        SEMANTIC,
        &format!("0 start\n{}1600 window\n1690 window", unsure(1_000)),
        "0 hear, 0 announce 0, 1064 draft, 1212 ask, 1600 ask, 1690 end 1000 respond",
    );
    check(
        SEMANTIC,
        &format!("0 start\n1000 pause\n2900 resume\n3000 pause\n4900 resume\n{}5900 window\n6190 window", unsure(5_000)),
        "0 hear, 0 announce 0, 5064 draft, 5212 ask, 5900 ask, 6190 end 5000 respond",
    );
    // Who was cut off has paused, too; who speaks again later has not.
    let ended = "0 start\n1000 pause\n1064 window\n1212 window\n1250 judged 0.99\n1330 window\n";
    let first = "0 hear, 0 announce 0, 1064 draft, 1212 ask, 1330 end 1000 respond";
    check(
        SEMANTIC,
        &format!("{ended}1900 start\n{}2700 window\n2890 window", unsure(2_000)),
        &format!("{first}, 1900 hear, 1900 announce 1900, 2064 draft, 2212 ask, 2700 ask, 2890 end 2000 respond"),
    );
    check(
        SEMANTIC,
        &format!("{ended}2600 start\n{}3690 window", unsure(3_000)),
        &format!("{first}, 2600 hear, 2600 announce 2600, 3064 draft, 3212 ask, 3690 end 3000 respond"),
    );
}

#[test]
fn an_answer_is_prepared_where_the_turn_is_likely_over_and_its_words_are_known() {
    let pause = "0 start\n1000 pause\n1064 window\n1212 window\n";
    let begins = "0 hear, 0 announce 0, 1064 draft, 1212 ask";
    for (judged, prepared) in [
        ("0.6 I would like to go home.", ", 1230 prepare 1000"),
        ("0.5 Where is it?", ", 1230 prepare 1000"),
        ("0.4 I would like to go home.", ""),
        ("0.8 I would like to go to the", ""),
        ("0.6", ""),
    ] {
        check(SEMANTIC, &format!("{pause}1230 judged {judged}"), &format!("{begins}{prepared}"));
    }
    check(
        SILENCE,
        "0 start\n1000 pause\n1210 window\n1250 judged 0.5 Go home.\n1504 window",
        "0 hear, 0 announce 0, 1210 ask, 1250 prepare 1000, 1504 end 1000 respond",
    );
    // Not where another answer is in progress, and not where none is wanted.
    let silent = Rules { respond: false, ..SEMANTIC };
    check(silent, &format!("{pause}1230 judged 0.6 Go home."), begins);
    let uninterrupted = Rules { interrupt: false, ..SEMANTIC };
    check(uninterrupted, &format!("0 reply 1\n{pause}1230 judged 0.6 Go home."), begins);
}

#[test]
fn speech_that_goes_on_voids_the_question() {
    check(
        SEMANTIC,
        "0 start\n1000 pause\n1064 window\n1212 window\n1230 resume\n1240 judged 0.99\n2000 pause\n2128 window\n2220 window",
        "0 hear, 0 announce 0, 1064 draft, 1212 ask, 1230 go on, 2128 draft, 2220 ask",
    );
}

#[test]
fn a_fixed_silence_ends_the_turn_and_the_words_are_asked_for_early() {
    check(SILENCE, "0 start\n1000 pause\n1210 window\n1480 window\n1504 window", "0 hear, 0 announce 0, 1210 ask, 1504 end 1000 respond");
}

/// A call in which the caller speaks into an answer at 1000, and what follows.
fn over_an_answer(script: &str, expected: &str) {
    let expected = format!("1000 hear, 1000 hold 1, {expected}");
    check(SEMANTIC, &format!("0 reply 1\n100 speaks 1\n1000 start\n1100 window\n{script}"), expected.trim_end_matches([',', ' ']));
}

#[test]
fn a_caller_who_says_a_word_interrupts() {
    over_an_answer("1360 window\n1400 words Wait a", "1360 listen, 1400 announce 1000, 1400 interrupt 1");
    over_an_answer(
        "1360 window\n1400 words Mm-hmm.\n1810 window\n1850 words Mm-hmm, but",
        "1360 listen, 1810 listen, 1850 announce 1000, 1850 interrupt 1",
    );
    // Where nobody can tell the words, the voice decides.
    over_an_answer("1360 window\n1360 words ?", "1360 listen, 1360 announce 1000, 1360 interrupt 1");
    over_an_answer("1360 window\n1400 words Mm.\n3010 window", "1360 listen, 3010 announce 1000, 3010 interrupt 1");
    over_an_answer(
        "1250 pause\n1320 window\n1350 words Stop.\n1460 window\n1470 window\n1500 judged 0.99 Stop.\n1580 window",
        "1320 listen, 1350 announce 1000, 1350 interrupt 1, 1350 draft, 1470 ask, 1500 prepare 1250, 1580 end 1250 respond",
    );
}

#[test]
fn noise_does_not_interrupt_whatever_words_are_found_in_it() {
    let noise = "1132 window 0.3\n1164 window 0.5\n1360 window 0.2\n";
    over_an_answer(&format!("{noise}1400 words You know"), "1360 listen");
    over_an_answer(&format!("{noise}1400 words ?\n3100 window 0.4"), "1360 listen, 3100 listen");
    over_an_answer(&format!("{noise}1400 pause\n1410 words You know\n2010 window"), "1360 listen, 2010 forget, 2010 release 1");
}

#[test]
fn a_cough_or_a_sound_of_listening_only_holds_the_answer() {
    check(
        SEMANTIC,
        "0 reply 1\n100 speaks 1\n1000 start\n1100 pause\n1164 window\n1230 window\n1310 window\n1400 ended 1",
        "1000 hear, 1000 hold 1, 1164 draft, 1310 forget, 1310 release 1",
    );
    check(
        SEMANTIC,
        "0 reply 1\n100 speaks 1\n1000 start\n1200 pause\n1264 window\n1300 words Mm-hmm.\n1390 window\n1400 window",
        "1000 hear, 1000 hold 1, 1264 listen, 1400 forget, 1400 release 1",
    );
}

#[test]
fn an_answer_that_may_not_be_interrupted_is_finished_first() {
    let rules = Rules { interrupt: false, ..SEMANTIC };
    check(
        rules,
        "0 reply 1\n100 speaks 1\n1000 start\n2000 pause\n2064 window\n2212 window\n2250 judged 0.99\n2330 window\n3000 ended 1",
        "1000 hear, 1000 announce 1000, 2064 draft, 2212 ask, 2330 end 2000 wait, 3000 answer",
    );
}

#[test]
fn an_answer_that_is_owed_waits_for_a_caller_who_speaks_again() {
    let rules = Rules { interrupt: false, ..SEMANTIC };
    let turn = "0 reply 1\n100 speaks 1\n1000 start\n2000 pause\n2064 window\n2212 window\n2250 judged 0.99\n2330 window\n2500 start\n3000 ended 1";
    let expected = "1000 hear, 1000 announce 1000, 2064 draft, 2212 ask, 2330 end 2000 wait, 2500 hear, 2500 announce 2500";
    check(rules, turn, expected);
    let more = "\n3500 pause\n3564 window\n3712 window\n3750 judged 0.99\n3830 window";
    check(rules, &format!("{turn}{more}"), &format!("{expected}, 3564 draft, 3712 ask, 3830 end 3500 respond"));
}

#[test]
fn a_client_that_commits_decides_alone() {
    let rules = Rules { ends: Ends::Manual, ..SEMANTIC };
    check(rules, "0 start\n1000 pause\n3000 window\n3100 commit", "0 hear, 0 announce 0, 3100 end 3100 wait");
}

#[test]
fn nothing_is_held_for_good_when_the_client_ends_the_turn() {
    over_an_answer("1200 commit", "1200 announce 1000, 1200 interrupt 1, 1200 end 1200 wait");
    over_an_answer("1200 clear", "1200 release 1");
    let mut conversation = Conversation::new(SEMANTIC);
    let id = ReplyId(NonZeroU32::MIN);
    let at = Samples(16_000);
    for input in [Input::ReplyBegan(id), Input::ReplySpeaks(id), Input::Voice(ActivityEvent::Started { at, from: at })] {
        let _ = conversation.handle(at, input);
    }
    assert_eq!(conversation.follow(Rules { ends: Ends::Manual, ..SEMANTIC }), [Output::Release(id)]);
}

#[test]
fn what_is_stale_is_ignored() {
    check(SEMANTIC, "0 judged 0.9\n10 pause\n20 resume\n30 end\n40 ended 7\n50 speaks 7", "");
}
