//! What clients and operators of a gateway count on, point by point, and which test shows each: over real sockets, with providers and
//! callers that behave badly on purpose. A point without a test is not claimed: the table says what is missing.

#[allow(unreachable_pub, dead_code)]
mod support;

#[path = "conformance/cache.rs"]
mod cache;
#[path = "conformance/callers.rs"]
mod callers;
#[path = "conformance/failover.rs"]
mod failover;
#[path = "conformance/framing.rs"]
mod framing;
#[path = "conformance/operations.rs"]
mod operations;
#[path = "conformance/providers.rs"]
mod providers;
#[path = "conformance/surface.rs"]
mod surface;
#[path = "conformance/tools.rs"]
mod tools;
#[path = "conformance/usage.rs"]
mod usage;

use std::path::Path;

/// How a point stands.
enum Shown {
    /// These tests show it, each as `file: function`.
    By(&'static [&'static str]),
    /// It does not hold yet, and this is why.
    NotYet(&'static str),
}

use Shown::{By, NotYet};

const POINTS: [(&str, Shown); 55] = [
    // A: surface.
    ("chat completions are answered", By(&["tests/conformance/surface.rs: a_chat_is_answered"])),
    ("chat completions are streamed", By(&["tests/conformance/surface.rs: a_chat_is_streamed"])),
    ("responses are answered and streamed", By(&["tests/conformance/surface.rs: a_response_is_answered_and_streamed"])),
    ("messages are answered and streamed", By(&["tests/conformance/surface.rs: a_message_is_answered_and_streamed"])),
    ("tokens of a message are counted", By(&["tests/conformance/surface.rs: tokens_are_counted_without_asking_anybody"])),
    ("embeddings come as floats and as base64", By(&["tests/conformance/surface.rs: texts_become_vectors_as_numbers_and_as_base64"])),
    (
        "models are listed",
        By(&["tests/conformance/surface.rs: models_are_listed_in_the_shapes_of_both_apis_and_found_by_any_spelling_of_their_path"]),
    ),
    (
        "text is spoken and recordings are transcribed",
        By(&["web/tests/http.rs: text_is_spoken_in_every_format", "web/tests/http.rs: a_recording_is_transcribed_in_every_shape"]),
    ),
    (
        "unknown and rare parameters reach the provider",
        By(&["tests/conformance/surface.rs: unknown_and_rare_parameters_reach_the_provider_from_every_dialect"]),
    ),
    (
        "errors are in the caller's own dialect with the right status",
        By(&["tests/conformance/surface.rs: errors_speak_the_callers_dialect_with_the_right_status"]),
    ),
    ("a bad key is a 401, without any database", By(&["web/tests/dialects.rs: keys_pass_in_every_form_and_refusals_speak_the_dialect"])),
    ("x-request-id is taken and given", By(&["tests/conformance/surface.rs: a_request_has_its_callers_id_or_gets_one"])),
    // B: stream framing.
    ("all chunks have one id", By(&["tests/conformance/framing.rs: all_chunks_of_an_answer_have_one_id_and_one_time"])),
    (
        "usage is a chunk of its own with no choices, only if asked for",
        By(&["tests/conformance/framing.rs: tokens_are_told_in_a_chunk_of_their_own_and_only_if_asked_for"]),
    ),
    ("[DONE] never follows an error", By(&["tests/conformance/framing.rs: no_error_is_followed_by_a_happy_end"])),
    ("chunks are neither merged nor delayed", By(&["tests/conformance/framing.rs: each_token_goes_out_before_the_next_one_is_made"])),
    (
        "comments keep a stream alive before its first token",
        By(&["tests/conformance/framing.rs: a_stream_is_kept_alive_before_its_first_token"]),
    ),
    (
        "a caller who leaves cancels the provider within 100 ms",
        By(&["tests/conformance/framing.rs: the_provider_is_let_go_within_100_ms_of_its_caller"]),
    ),
    ("UTF-8 may be split across chunks", By(&["tests/conformance/framing.rs: letters_may_be_cut_anywhere"])),
    (
        "line ends of any kind and data of several lines are read",
        By(&["tests/conformance/framing.rs: events_are_read_however_the_standard_lets_them_be_written"]),
    ),
    (
        "streams are drained on SIGTERM",
        By(&["tests/conformance/framing.rs: a_stream_that_runs_is_finished_when_the_server_is_told_to_stop"]),
    ),
    // C: tools.
    (
        "parallel calls are numbered from 0",
        By(&["tests/conformance/tools.rs: parallel_calls_are_numbered_from_0_however_the_provider_counts_them"]),
    ),
    (
        "empty arguments are understood",
        By(&["tests/conformance/tools.rs: a_call_without_arguments_is_an_empty_object_where_the_dialect_says_object"]),
    ),
    ("results stand in one turn", By(&["tests/conformance/tools.rs: results_stand_in_one_turn_before_the_words_that_follow"])),
    ("the four tool choices are translated", By(&["tests/conformance/tools.rs: the_four_ways_to_choose_a_tool_have_their_twins"])),
    ("parallel calls can be turned off", By(&["tests/conformance/tools.rs: one_call_at_a_time_is_asked_for_in_both_dialects"])),
    ("is_error is not lost", By(&["tests/conformance/tools.rs: a_failed_tool_is_marked_or_said_to_have_failed"])),
    (
        "pieces before id and name are kept",
        By(&["tests/conformance/tools.rs: arguments_that_come_before_id_and_name_are_kept_for_their_call"]),
    ),
    (
        "arguments that are no JSON are passed on as they are",
        By(&["tests/conformance/tools.rs: arguments_that_are_no_json_go_on_as_they_came"]),
    ),
    // D: usage and cost.
    (
        "cache reads and writes are split both ways",
        By(&["tests/conformance/usage.rs: what_was_read_from_and_written_to_the_cache_is_part_of_the_input_or_beside_it"]),
    ),
    ("reasoning tokens are told", By(&["tests/conformance/usage.rs: tokens_of_reasoning_are_part_of_the_output_and_told"])),
    (
        "failed attempts and aborted streams have a cost",
        By(&["tests/conformance/usage.rs: failed_attempts_and_streams_that_nobody_read_to_the_end_cost_what_they_used"]),
    ),
    (
        "usage that no provider counted is estimated and flagged",
        By(&["tests/conformance/usage.rs: what_the_provider_did_not_count_is_estimated_and_flagged"]),
    ),
    // E: failover.
    (
        "429, 5xx, refused connections and timeouts before the first byte fall over",
        By(&["tests/conformance/failover.rs: another_target_takes_over_before_the_first_content"]),
    ),
    ("retry-after is told and used", By(&["tests/conformance/failover.rs: the_wait_a_provider_asks_for_is_told_and_kept"])),
    (
        "the limit to the first token counts to the first content",
        By(&["tests/conformance/failover.rs: signs_of_life_without_a_word_do_not_stop_the_clock"]),
    ),
    (
        "an error event before content falls over",
        By(&["tests/conformance/failover.rs: an_error_event_before_content_is_as_good_as_a_refusal"]),
    ),
    ("a cut stream is gone on with, or ends in a clean error", By(IN_THE_MIDDLE)),
    ("a malformed event, likewise", By(IN_THE_MIDDLE)),
    ("a stall, likewise", By(IN_THE_MIDDLE)),
    (
        "an error after content, likewise, and no text is lost or repeated",
        By(&[
            IN_THE_MIDDLE[0],
            IN_THE_MIDDLE[1],
            "router/src/race/tests.rs: wherever_it_is_cut_the_answer_is_whole",
            "router/src/race/tests.rs: what_cannot_be_continued_honestly_ends_with_an_error",
        ]),
    ),
    (
        "the chain of attempts is in the answer and in the log",
        By(&["tests/conformance/failover.rs: every_attempt_is_told_in_the_answer_and_written_down"]),
    ),
    (
        "nothing is tried again on a 400, a 401 or a content filter",
        By(&["tests/conformance/failover.rs: what_would_fail_everywhere_is_asked_only_once"]),
    ),
    (
        "all of this holds for messages and responses",
        By(&[IN_THE_MIDDLE[0], "tests/conformance/failover.rs: another_target_takes_over_before_the_first_content"]),
    ),
    ("a sticky variant survives a failover", By(&["tests/conformance/failover.rs: a_caller_keeps_their_variant_through_a_failover"])),
    // F: cache.
    (
        "the key holds model, tools, format, sampling, tenant and router version",
        By(&[
            "tests/conformance/cache.rs: whatever_changes_the_answer_makes_another_question",
            "tests/conformance/cache.rs: a_changed_router_starts_afresh",
        ]),
    ),
    ("only finished 200s are kept", By(&["tests/conformance/cache.rs: only_whole_answers_are_given_again"])),
    ("a hit streams properly and says so", By(&["tests/conformance/cache.rs: an_answer_given_again_is_a_proper_stream_and_says_so"])),
    ("one entry can be deleted", By(&["tests/conformance/cache.rs: one_answer_is_forgotten_by_its_key_and_by_its_owner_only"])),
    ("a hit is recorded at cost 0", By(&["tests/conformance/cache.rs: an_answer_given_again_costs_nothing_on_record"])),
    // G: operations.
    (
        "limits are right across two replicas",
        NotYet("counts are in memory until nodes share a store; each replica counts its own requests"),
    ),
    (
        "a record that cannot be written slows and fails nothing",
        By(&["tests/conformance/operations.rs: a_record_that_cannot_be_written_slows_and_fails_nothing"]),
    ),
    (
        "memory is flat, and back down after large bodies",
        By(&["tests/conformance/operations.rs: memory_stays_flat_and_comes_back_down_after_large_bodies"]),
    ),
    (
        "a change of routers drops no stream",
        By(&["tests/conformance/operations.rs: a_changed_router_acts_on_the_next_request_and_drops_no_stream"]),
    ),
    (
        "the first answer comes within a second of the start",
        By(&["tests/conformance/operations.rs: the_first_answer_comes_within_a_second_of_the_start"]),
    ),
];

/// Every fault after content: gone on with where another target is left, a clean error where none is.
const IN_THE_MIDDLE: &[&str] = &[
    "tests/gateway.rs: answers_outlive_their_providers_in_every_dialect",
    "tests/conformance/framing.rs: no_error_is_followed_by_a_happy_end",
];

#[test]
fn every_point_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut shown, mut wrong) = (0, Vec::new());
    for (number, (point, how)) in POINTS.iter().enumerate() {
        match how {
            By(tests) => {
                shown += 1;
                for test in *tests {
                    let (file, name) = test.split_once(": ").expect("file: function");
                    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
                    let place = text.find(&format!("fn {name}("));
                    // The attribute stands right above, or above another attribute.
                    if !place.is_some_and(|place| text[place.saturating_sub(160)..place].contains("test")) {
                        wrong.push(format!("{}. {point}: there is no test {name} in {file}", number + 1));
                    }
                }
            }
            NotYet(why) => println!("not yet: {}. {point}: {why}", number + 1),
        }
    }
    println!("{shown} of {} points are shown", POINTS.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
