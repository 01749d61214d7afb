//! Calls as scripts: what happens, and what the conversation asks for.

use super::*;

/// Plays a script of `ms event` lines through a call with semantic turns and compares what it asks for, in ms.
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
            "window" => Input::Window,
            "judged" => {
                let (over, words) = rest.split_once(' ').unwrap_or((rest, ""));
                let words = (!words.is_empty()).then(|| words.to_owned());
                Input::Judged { over: Probability::new(over.parse().expect("a probability")), words }
            }
            "commit" => Input::Commit,
            "reply" => Input::ReplyBegan(id(number())),
            "speaks" => Input::ReplySpeaks(id(number())),
            "ended" => Input::ReplyEnded(id(number())),
            other => panic!("no such event: {other}"),
        };
        for output in conversation.handle(now, input) {
            said.push(match output {
                Output::Hear { from } => format!("{} hear", ms(from)),
                Output::Announce { at } => format!("{} announce {}", ms(now), ms(at)),
                Output::Draft => format!("{} draft", ms(now)),
                Output::Ask { .. } => format!("{} ask", ms(now)),
                Output::GoOn => format!("{} go on", ms(now)),
                Output::EndTurn { at, respond } => format!("{} end {} {}", ms(now), ms(at), if respond { "respond" } else { "wait" }),
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

const SEMANTIC: Rules = rules(Ends::Judged { sure: Rate::MODEL.samples_in_ms(160), unsure: Rate::MODEL.samples_in_ms(1_600) });
const SILENCE: Rules = rules(Ends::Silence(Rate::MODEL.samples_in_ms(500)));

#[test]
fn a_sure_end_takes_little_silence_and_an_unsure_one_much() {
    let pause = "0 start\n1000 pause\n1064 window\n1128 window\n";
    check(SEMANTIC, &format!("{pause}1170 judged 0.99"), "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1170 end 1000 respond");
    check(
        SEMANTIC,
        &format!("{pause}1140 judged 0.99\n1152 window\n1168 window"),
        "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1168 end 1000 respond",
    );
    check(
        SEMANTIC,
        &format!("{pause}1170 judged 0.1\n1300 window\n1430 window\n1650 window\n2000 window"),
        "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1300 ask, 1430 ask, 1650 ask",
    );
    check(SEMANTIC, &format!("{pause}2600 window"), "0 hear, 0 announce 0, 1064 draft, 1128 ask, 2600 end 1000 respond");
}

#[test]
fn unfinished_words_hold_the_turn_open() {
    let pause = "0 start\n1000 pause\n1064 window\n1128 window\n";
    check(
        SEMANTIC,
        &format!("{pause}1200 judged 0.95 I would like to go to the\n1300 window"),
        "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1300 ask",
    );
    check(
        SEMANTIC,
        &format!("{pause}1200 judged 0.95 I would like to go home."),
        "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1200 end 1000 respond",
    );
}

#[test]
fn speech_that_goes_on_voids_the_question() {
    check(
        SEMANTIC,
        "0 start\n1000 pause\n1064 window\n1128 window\n1150 resume\n1170 judged 0.99\n2000 pause\n2128 window\n2140 window",
        "0 hear, 0 announce 0, 1064 draft, 1128 ask, 1150 go on, 2128 draft, 2140 ask",
    );
}

#[test]
fn a_fixed_silence_ends_the_turn_and_the_words_are_asked_for_early() {
    check(SILENCE, "0 start\n1000 pause\n1210 window\n1480 window\n1504 window", "0 hear, 0 announce 0, 1210 ask, 1504 end 1000 respond");
}

#[test]
fn a_caller_who_goes_on_speaking_interrupts() {
    check(
        SEMANTIC,
        "0 reply 1\n100 speaks 1\n1000 start\n1100 window\n1256 window",
        "1000 hear, 1000 hold 1, 1256 announce 1000, 1256 interrupt 1",
    );
}

#[test]
fn a_cough_or_a_sound_of_listening_only_holds_the_answer() {
    check(
        SEMANTIC,
        "0 reply 1\n100 speaks 1\n1000 start\n1100 pause\n1164 window\n1230 window\n1310 window\n1400 ended 1",
        "1000 hear, 1000 hold 1, 1164 draft, 1230 ask, 1310 forget, 1310 release 1",
    );
    check(
        SEMANTIC,
        "0 reply 1\n100 speaks 1\n1000 start\n1200 pause\n1264 window\n1330 window\n1340 judged 0.9 Mm-hmm.",
        "1000 hear, 1000 hold 1, 1264 draft, 1330 ask, 1340 forget, 1340 release 1",
    );
}

#[test]
fn an_answer_that_may_not_be_interrupted_is_finished_first() {
    let rules = Rules { interrupt: false, ..SEMANTIC };
    check(
        rules,
        "0 reply 1\n100 speaks 1\n1000 start\n2000 pause\n2064 window\n2130 window\n2200 judged 0.99\n3000 ended 1",
        "1000 hear, 1000 announce 1000, 2064 draft, 2130 ask, 2200 end 2000 wait, 3000 end 2000 respond",
    );
}

#[test]
fn a_client_that_commits_decides_alone() {
    let rules = Rules { ends: Ends::Manual, ..SEMANTIC };
    check(rules, "0 start\n1000 pause\n3000 window\n3100 commit", "0 hear, 0 announce 0, 3100 end 3100 wait");
}

#[test]
fn what_is_stale_is_ignored() {
    check(SEMANTIC, "0 judged 0.9\n10 pause\n20 resume\n30 end\n40 ended 7\n50 speaks 7", "");
}
