//! The items of a conversation, in order, and the prompt that a model gets of them.

use models::mcp::McpError;
use models::{Message, Part, Prompt, Role, ToolCall, Word};
use router::cost::prompt_tokens;
use serde_json::json;
use web::call::{Content, Item, ItemContent, ItemId, McpCall, ResponseConfig, SessionConfig, Truncation};

/// Items kept at most: a call of an hour has a few hundred. The oldest are forgotten first.
const MOST_ITEMS: usize = 1_000;

/// The history of a call.
#[derive(Default)]
pub(super) struct Dialogue {
    items: Vec<Entry>,
}

struct Entry {
    item: Item,
    /// For spoken items of ours: where each word stands in the speech.
    words: Vec<Word>,
    /// The answer that it is of, where it is of one.
    answer: Option<String>,
    /// Whether models are not sent it any more.
    left_out: bool,
}

impl Dialogue {
    /// The named item.
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|entry| entry.item.id == id).map(|entry| &entry.item)
    }

    /// Adds an item at the end, or after the named one (`root`: at the front): the name of the item before it, or `None` where the named one is unknown.
    pub(super) fn add(&mut self, item: Item, after: Option<&str>) -> Option<Option<String>> {
        let at = match after {
            None => self.items.len(),
            Some("root") => 0,
            Some(id) => self.items.iter().position(|entry| entry.item.id == id)? + 1,
        };
        self.items.insert(at, Entry { item, words: Vec::new(), answer: None, left_out: false });
        if self.items.len() > MOST_ITEMS {
            self.items.remove(0);
        }
        Some(at.checked_sub(1).and_then(|before| self.items.get(before)).map(|entry| entry.item.id.clone()))
    }

    /// Puts the whole item of an answer in the place of its beginning.
    pub(super) fn replace(&mut self, item: Item, words: Vec<Word>, answer: &str) {
        if let Some(entry) = self.items.iter_mut().find(|entry| entry.item.id == item.id) {
            *entry = Entry { item, words, answer: Some(answer.to_owned()), left_out: entry.left_out };
        }
    }

    /// Puts a whole item in the place of its beginning; whether that is still there.
    pub(super) fn settle(&mut self, item: Item) -> bool {
        let entry = self.items.iter_mut().find(|entry| entry.item.id == item.id);
        entry.map(|entry| entry.item = item).is_some()
    }

    /// Changes the call of a tool that is in the named item: the item then, if it is there.
    pub(super) fn mcp_call(&mut self, id: &str, change: impl FnOnce(&mut McpCall)) -> Option<Item> {
        let entry = self.items.iter_mut().find(|entry| entry.item.id == id)?;
        let ItemContent::McpCall(call) = &mut entry.item.content else { return None };
        change(call);
        Some(entry.item.clone())
    }

    /// What became of the call of a tool that is in the named item: the item then, if it is there. Where others have spoken since, it stands
    /// behind what they said from now on: that is where the model has to answer it.
    pub(super) fn end_mcp_call(&mut self, id: &str, outcome: Result<String, McpError>) -> Option<Item> {
        let item = self.mcp_call(id, |call| call.outcome = Some(outcome))?;
        let at = self.items.iter().position(|entry| entry.item.id == id)?;
        if self.items[at..].iter().any(|entry| matches!(entry.item.content, ItemContent::Message { .. })) {
            let entry = self.items.remove(at);
            self.items.push(entry);
        }
        Some(item)
    }

    /// The message of an answer, if it has one that was spoken.
    pub(super) fn spoken_in(&self, answer: &str) -> Option<ItemId> {
        let spoken = |entry: &&Entry| entry.answer.as_deref() == Some(answer) && !entry.words.is_empty();
        self.items.iter().rev().find(spoken).map(|entry| entry.item.id.clone())
    }

    /// The item before the named one.
    pub(super) fn before(&self, id: &str) -> Option<String> {
        let at = self.items.iter().position(|entry| entry.item.id == id)?;
        at.checked_sub(1).and_then(|before| self.items.get(before)).map(|entry| entry.item.id.clone())
    }

    /// Forgets an item; whether there was one.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.items.len();
        self.items.retain(|entry| entry.item.id != id);
        self.items.len() != before
    }

    /// Fills in what the caller said.
    pub(super) fn transcribe(&mut self, id: &str, text: &str) {
        if let Some(entry) = self.items.iter_mut().find(|entry| entry.item.id == id)
            && let ItemContent::Message { parts, .. } = &mut entry.item.content
        {
            for part in parts {
                if let Content::Audio { transcript, pcm } = part {
                    *transcript = Some(text.to_owned());
                    *pcm = None;
                }
            }
        }
    }

    /// Cuts a spoken item to the words that begin before `ms`. An error says what is wrong with the request.
    pub(super) fn truncate(&mut self, id: &str, content_index: usize, ms: u64) -> Result<(), (&'static str, String)> {
        let Some(entry) = self.items.iter_mut().find(|entry| entry.item.id == id) else {
            return Err(("item_id", format!("there is no item {id:?} in this conversation")));
        };
        let ItemContent::Message { role: Role::Assistant, parts } = &mut entry.item.content else {
            return Err(("item_id", "only messages of the assistant can be truncated".to_owned()));
        };
        let Some(Content::Audio { transcript, .. }) = parts.get_mut(content_index) else {
            return Err(("content_index", format!("part {content_index} of item {id:?} is no audio; its audio is part 0")));
        };
        let end = entry.words.last().map_or(0, |word| word.end.as_millis() as u64);
        // Clients count what they received, silence after the last word included.
        if !entry.words.is_empty() && ms > end + 2_000 {
            return Err(("audio_end_ms", format!("the audio of item {id:?} is only {end} ms long")));
        }
        if !entry.words.is_empty() {
            *transcript = Some(heard(&entry.words, ms));
            entry.words.retain(|word| (word.start.as_millis() as u64) < ms);
        }
        Ok(())
    }

    /// Leaves the oldest items out of what models are sent, where there are more than may be. An item once left out stays so: what is sent
    /// keeps its beginning for as long as it can, which providers' caches need. The turn that is to be answered is never left out.
    pub(super) fn truncate_to(&mut self, truncation: Truncation) {
        let Truncation::Retain { ratio, most } = truncation else { return };
        let tokens = |entry: &Entry| {
            let mut messages = Vec::new();
            add_messages(&mut messages, [&entry.item]);
            prompt_tokens(&Prompt { messages, ..Prompt::default() })
        };
        let is_kept = |item: &Item| matches!(&item.content, ItemContent::Message { role: Role::System, .. });
        let mut left: u64 = self.items.iter().filter(|entry| !entry.left_out).map(tokens).sum();
        if left <= most {
            return;
        }
        let goal = (most as f64 * f64::from(ratio)) as u64;
        let asked = |entry: &Entry| matches!(&entry.item.content, ItemContent::Message { role: Role::User, .. });
        let last = self.items.iter().rposition(asked).unwrap_or(self.items.len());
        let mut cut = false;
        for entry in self.items[..last].iter_mut().filter(|entry| !entry.left_out && !is_kept(&entry.item)) {
            // What a function returned goes with its call.
            let is_output = matches!(entry.item.content, ItemContent::FunctionCallOutput { .. });
            if left <= goal && !(cut && is_output) {
                break;
            }
            left -= tokens(entry).min(left);
            entry.left_out = true;
            cut = true;
        }
    }

    /// What a model is asked.
    pub(super) fn prompt(&self, config: &SessionConfig, response: &ResponseConfig, input: Option<&[Item]>) -> Prompt {
        let mut messages = Vec::new();
        let instructions = response.instructions.as_deref().unwrap_or(&config.instructions);
        if !instructions.is_empty() {
            messages.push(Message::text(Role::System, instructions));
        }
        match input {
            Some(items) => add_messages(&mut messages, items),
            None => add_messages(&mut messages, self.items.iter().filter(|entry| !entry.left_out).map(|entry| &entry.item)),
        }
        if let Some(silence) = response.silence {
            let text = format!("(The caller has said nothing for {} seconds.)", silence.as_secs());
            messages.push(Message::text(Role::User, text));
        }
        Prompt {
            model: config.model.clone(),
            messages,
            tools: response.tools.as_ref().unwrap_or(&config.tools).functions.clone(),
            tool_choice: response.tool_choice.clone().or_else(|| config.tool_choice.clone()),
            sampling: models::Sampling {
                max_tokens: response.max_tokens.or(config.max_tokens),
                temperature: config.temperature,
                ..models::Sampling::default()
            },
            ..Prompt::default()
        }
    }
}

/// The words of a speech that begin before `ms`.
pub(super) fn heard(words: &[Word], ms: u64) -> String {
    let words: Vec<&str> = words.iter().filter(|word| (word.start.as_millis() as u64) < ms).map(|word| word.text.as_str()).collect();
    words.join(" ")
}

/// Adds what a model is told of these items. What tools said follows the calls of the same answer, which stand in one message.
fn add_messages<'a>(messages: &mut Vec<Message>, items: impl IntoIterator<Item = &'a Item>) {
    let mut said = Vec::new();
    for item in items {
        match &item.content {
            ItemContent::Message { role, parts } => {
                messages.append(&mut said);
                let parts: Vec<Part> = parts.iter().filter_map(part).collect();
                if !parts.is_empty() {
                    messages.push(Message { parts, ..Message::text(*role, "") });
                }
            }
            ItemContent::FunctionCall { call_id, name, arguments } => add_call(messages, call_id, name, arguments),
            ItemContent::FunctionCallOutput { call_id, output } => {
                messages.append(&mut said);
                messages.push(Message { tool_call_id: Some(call_id.clone()), ..Message::text(Role::Tool, output.clone()) });
            }
            ItemContent::McpCall(call) => {
                // A call is never told without what it came to: providers refuse that.
                add_call(messages, &item.id, &call.called, &call.arguments);
                let output = match &call.outcome {
                    Some(Ok(output)) => output.clone(),
                    Some(Err(error)) => format!("Error: {error}"),
                    None => "(There is no result yet.)".to_owned(),
                };
                said.push(Message { tool_call_id: Some(item.id.clone()), ..Message::text(Role::Tool, output) });
            }
            ItemContent::McpTools { .. } | ItemContent::McpApprovalRequest { .. } | ItemContent::McpApprovalResponse { .. } => {}
        }
    }
    messages.append(&mut said);
}

fn part(part: &Content) -> Option<Part> {
    match part {
        Content::Text(text) => Some(Part::Text(text.clone())),
        Content::Audio { transcript, .. } => transcript.clone().filter(|text| !text.is_empty()).map(Part::Text),
        Content::Image(url) => Some(Part::Other(json!({ "type": "image_url", "image_url": { "url": url } }))),
    }
}

/// Calls of one answer belong into one message.
fn add_call(messages: &mut Vec<Message>, id: &str, name: &str, arguments: &str) {
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    let call = ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), ..ToolCall::default() };
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
        _ => messages.push(Message { parts: Vec::new(), tool_calls: vec![call], ..Message::text(Role::Assistant, "") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use web::call::Status;

    fn said(id: &str, role: Role, text: &str) -> Item {
        let parts = vec![Content::Audio { transcript: Some(text.to_owned()), pcm: None }];
        Item { id: id.to_owned(), content: ItemContent::Message { role, parts }, status: Status::Completed }
    }

    #[test]
    fn items_stand_where_they_were_put() {
        let mut dialogue = Dialogue::default();
        assert_eq!(dialogue.add(said("b", Role::User, "two"), None), Some(None));
        assert_eq!(dialogue.add(said("c", Role::Assistant, "three"), Some("b")), Some(Some("b".into())));
        assert_eq!(dialogue.add(said("a", Role::User, "one"), Some("root")), Some(None));
        assert_eq!(dialogue.add(said("x", Role::User, "lost"), Some("nobody")), None);
        assert_eq!(dialogue.before("c"), Some("b".into()));
        assert!(dialogue.remove("b") && !dialogue.remove("b"));
    }

    #[test]
    fn a_long_conversation_loses_its_beginning_but_not_the_turn_to_be_answered() {
        let call = ItemContent::FunctionCall { call_id: "c".into(), name: "f".into(), arguments: "{}".into() };
        let output = ItemContent::FunctionCallOutput { call_id: "c".into(), output: "o".into() };
        let item = |id: &str, content: &ItemContent| Item { id: id.into(), content: content.clone(), status: Status::Completed };
        let long = "word ".repeat(100);
        // What is sent, and whether it can still be asked for.
        let sent = |truncation| {
            let mut dialogue = Dialogue::default();
            for item in [
                said("system", Role::System, &long),
                item("call", &call),
                item("output", &output),
                said("one", Role::User, &long),
                said("two", Role::Assistant, &long),
                said("three", Role::User, &long),
            ] {
                dialogue.add(item, None);
            }
            dialogue.truncate_to(truncation);
            assert!(dialogue.get("call").is_some(), "it can still be asked for");
            let prompt = dialogue.prompt(&SessionConfig::default(), &ResponseConfig::default(), None);
            prompt.messages.iter().map(|message| message.role).collect::<Vec<_>>()
        };
        let whole = sent(Truncation::Disabled);
        assert_eq!(whole.len(), 6);
        let within = |most| sent(Truncation::Retain { ratio: 1.0, most });
        assert_eq!(within(2_000), whole);
        let cut = (1..2_000).rev().map(within).find(|sent| *sent != whole);
        assert_eq!(cut, Some(vec![Role::System, Role::User, Role::Assistant, Role::User]), "an output goes with its call");
        assert_eq!(within(1), [Role::System, Role::User]);
        assert_eq!(sent(Truncation::Retain { ratio: 0.0, most: 100 }), [Role::System, Role::User]);
    }

    #[test]
    fn calls_of_tools_are_told_with_what_they_came_to() {
        let offered = |called: &str| McpCall {
            server: "home".into(),
            tool: called.into(),
            called: called.into(),
            arguments: String::new(),
            approval: None,
            outcome: None,
        };
        let item = |id: &str, content| Item { id: id.into(), content, status: Status::Completed };
        let mut dialogue = Dialogue::default();
        dialogue.add(said("ask", Role::User, "How is it?"), None);
        dialogue.add(item("a", ItemContent::McpCall(Box::new(offered("first")))), None);
        dialogue.add(item("b", ItemContent::McpCall(Box::new(offered("second")))), None);
        dialogue.add(item("f", ItemContent::FunctionCall { call_id: "f".into(), name: "third".into(), arguments: "{}".into() }), None);
        let told = |dialogue: &Dialogue| -> Vec<String> {
            let prompt = dialogue.prompt(&SessionConfig::default(), &ResponseConfig::default(), None);
            let short = |message: &Message| match &message.tool_call_id {
                Some(id) => format!("{id}: {}", message.words()),
                None => message.tool_calls.iter().fold(message.words(), |words, call| format!("{words}+{}{}", call.name, call.arguments)),
            };
            prompt.messages.iter().map(short).collect()
        };
        let calls = "+first{}+second{}+third{}";
        let none = "(There is no result yet.)";
        assert_eq!(told(&dialogue), ["How is it?", calls, &format!("a: {none}"), &format!("b: {none}")]);
        dialogue.end_mcp_call("a", Ok("fine".into()));
        assert_eq!(told(&dialogue), ["How is it?", calls, "a: fine", &format!("b: {none}")]);
        dialogue.add(said("more", Role::User, "Well?"), None);
        dialogue.end_mcp_call("b", Err(McpError::Execution { message: "no".into() }));
        assert_eq!(told(&dialogue), ["How is it?", "+first{}+third{}", "a: fine", "Well?", "+second{}", "b: Error: no"]);
        assert_eq!(dialogue.end_mcp_call("nobody", Ok(String::new())), None);
    }

    #[test]
    fn a_truncated_item_keeps_what_was_heard() {
        let mut dialogue = Dialogue::default();
        dialogue.add(said("a", Role::Assistant, "One two three."), None);
        let word = |text: &str, start: u64| Word {
            text: text.into(),
            start: Duration::from_millis(start),
            end: Duration::from_millis(start + 200),
            confidence: None,
        };
        dialogue.replace(said("a", Role::Assistant, "One two three."), vec![word("One", 0), word("two", 300), word("three.", 600)], "resp");
        assert_eq!(dialogue.truncate("a", 0, 500), Ok(()));
        let ItemContent::Message { parts, .. } = &dialogue.get("a").expect("it is there").content else { panic!("a message") };
        assert_eq!(parts[0], Content::Audio { transcript: Some("One two".into()), pcm: None });
        for (id, part, ms, field) in [("b", 0, 0, "item_id"), ("a", 1, 0, "content_index"), ("a", 0, 60_000, "audio_end_ms")] {
            assert_eq!(dialogue.truncate(id, part, ms).map_err(|e| e.0), Err(field));
        }
    }
}
